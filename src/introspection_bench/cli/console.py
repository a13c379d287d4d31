"""What all commands print with: two consoles, plain text, tables, and the signs of life of whatever takes long.

On a terminal those are a spinner and a bar. Elsewhere (a log, a pipe, CI, Slurm) they are plain lines on stderr: one
when a phase begins, one every :data:`EVERY_S` seconds while it goes on, one when it is done. ``--progress`` chooses
(:func:`show_progress`).
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from ..errors import SpecError, explain
from ..untrusted import visible
from .tables import fitted

if TYPE_CHECKING:
    import pandas as pd

    from ..judges.base import Case
    from ..trials import TrialRecord

#: How progress is shown: a spinner and a bar, plain lines, or not at all.
ProgressStyle = Literal["rich", "plain", "none"]
ProgressOption = Annotated[
    ProgressStyle | None,
    typer.Option(
        "--progress",
        help="Bars (rich), a line every 30 s (plain), or none; by default bars on a terminal, else lines.",
    ),
]

out = Console()
err = Console(stderr=True)


def plain(text: str) -> str:
    """Return text that rich prints as it is: replies, names and paths may hold brackets and control characters."""
    return escape(visible(text, keep="\n\t"))


def tell(text: str) -> None:
    """Print text on stdout as it is: no markup, no control sequence, no line broken."""
    out.print(plain(text), highlight=False, soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Iterable[object]], *, keys: int = 1) -> None:
    """Print a table within the output's width, 80 where it is no terminal; every cell as plain text.

    Where it is wider its columns come in blocks, each behind the first ``keys`` of them; ``--wide`` prints it as it is.
    """
    texts = [[plain(str(cell)) for cell in row] for row in rows]
    made = fitted([plain(name) for name in columns], texts, None if _layout.wide else out.width, keys)
    if title:
        out.print(plain(title), style="italic", highlight=False, soft_wrap=_layout.wide)
    for number, part in enumerate(made):
        if number:
            out.print()
        # Beyond its own width rich would cut.
        on = Console(width=max(out.width, out.measure(part, options=_UNBOUND).maximum)) if _layout.wide else out
        on.print(part)


def frame(shown: pd.DataFrame, *, keys: int = 1) -> None:
    """Print a frame as :func:`table` does, – for NA and three significant digits of floats."""
    from ..analysis.tables import short

    table("", list(shown.columns), [map(short, row) for row in shown.itertuples(index=False, name=None)], keys=keys)


class _Layout:
    """How tables are laid out: as was asked for last."""

    wide = False


_layout = _Layout()
_UNBOUND = out.options.update(width=10**6)
WideOption = Annotated[
    bool, typer.Option("--wide", help="Tables as wide as they are, not within the terminal's width.")
]


def show_wide(*, wide: bool) -> None:
    """Lay tables out from now on as wide as they are, or within the output's width."""
    _layout.wide = wide


class _Progress:
    """How progress is shown: as was asked for last, or else as the output allows."""

    asked: ProgressStyle | None = None
    phase: Phase | None = None

    def tell(self, note: str) -> None:
        """Say of the phase that goes on, if any does, how far it is."""
        if self.phase is not None:
            self.phase.tell(note)

    @property
    def style(self) -> ProgressStyle:
        return self.asked or ("rich" if err.is_terminal else "plain")


_progress = _Progress()


def show_progress(style: ProgressStyle | None) -> None:
    """Show progress so from now on; None chooses by whether stderr is a terminal.

    Raises :class:`~introspection_bench.errors.SpecError` for bars where there is no terminal: a file would be full of
    control characters.
    """
    if style == "rich" and not err.is_terminal:
        raise SpecError(
            explain(
                "--progress",
                required="a terminal on stderr for 'rich'",
                got="none",
                hint="Use plain; or set TTY_COMPATIBLE=1 where the log shows colours and bars.",
            )
        )
    _progress.asked = style


class Clock:
    """The time, and waiting for it to pass; tests put their own in :data:`clock`'s place."""

    def now(self) -> float:
        """Return seconds since some moment."""
        return time.monotonic()

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        """Wait for ``stop``, at most so long; return whether it came."""
        return stop.wait(seconds)


#: Seconds between two plain lines.
EVERY_S = 30.0
clock = Clock()


def say(text: str) -> None:
    """Print one plain line on stderr, at once."""
    err.print(plain(text), highlight=False, soft_wrap=True)


@contextmanager
def signs_of_life(describe: Callable[[], str]) -> Iterator[None]:
    """Where progress is shown in plain lines, say every :data:`EVERY_S` seconds what ``describe`` returns.

    From a thread, since a phase may sit in one call of a library for minutes.
    """
    if _progress.style != "plain":
        yield
        return
    stop = threading.Event()

    def beat() -> None:
        while not clock.wait(stop, EVERY_S):
            say(describe())

    thread = threading.Thread(target=beat, name="signs of life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class Phase:
    """Something that goes on: what, since when, and a ``note`` on how far it is."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.note = ""
        #: Called when there is a new note.
        self.show: Callable[[], None] = lambda: None
        self._started = clock.now()

    def describe(self) -> str:
        """Return what, for how long so far, and the note."""
        return f"{self.what}: {clock.now() - self._started:.0f} s{', ' * bool(self.note)}{self.note}"

    def tell(self, note: str) -> None:
        """Say how far it is."""
        self.note = note
        self.show()

    def count(self, what: str) -> Callable[[object], None]:
        """Return a function that counts its calls in the note: "3 judged"."""
        calls = itertools.count(1)

        def one_more(_: object) -> None:
            self.tell(f"{next(calls)} {what}")

        return one_more


@contextmanager
def working(what: str) -> Iterator[Phase]:
    """Show that something goes on, then how long it took."""
    before, _progress.phase = _progress.phase, Phase(what)
    try:
        with _shown(_progress.phase):
            yield _progress.phase
    finally:
        _progress.phase = before


@contextmanager
def _shown(phase: Phase) -> Iterator[None]:
    what = phase.what
    if _progress.style == "none":
        yield
        return
    if _progress.style == "rich":
        with err.status(plain(what)) as status:
            phase.show = lambda: status.update(plain(phase.describe()))
            yield
    else:
        say(f"{what} …")
        with signs_of_life(phase.describe):
            yield
    say(phase.describe())


@contextmanager
def interruptible() -> Iterator[None]:
    """Say at Ctrl-C that nothing finished is lost, and end with exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        say("Interrupted. What was finished is recorded; the same command goes on from there.")
        raise typer.Exit(130) from None


def quiet_libraries() -> None:
    """Switch off what transformers prints while it loads, and have the phase that goes on say how far that is."""
    # Progress bars of weight loading would tear our own display.
    from transformers.utils import logging

    from .weights import tell_of_weights

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    tell_of_weights(_progress.tell)


def make_model(name: str) -> None:
    """Make the folder that a model's name stands for if it is not there yet, as a phase of its own."""
    from ..model_names import is_ready, resolve_name

    if not is_ready(name):
        with working(f"Making the model {name}, once"):
            resolve_name(name)


class RunView:
    """The live view of a run: cells, trials, tokens per second, time left, and rates so far.

    The rates are over all that is recorded, and are what the rules judge will say of it: it is shown what the judging
    stage shows. Nothing of this is stored.
    """

    def __init__(
        self,
        total: int,
        recorded: Sequence[TrialRecord],
        cells: Sequence[object],
        case_of: Callable[[TrialRecord], Case],
        show: Callable[[str], None],
        *,
        workers: Callable[[], str] = str,
    ) -> None:
        from ..judges.registry import open_judge
        from ..sweep.moving import Moving

        self.trials = Moving(total, len(recorded))
        self._left = Counter(cells)
        self._cells = len(self._left)
        self._note = ""
        self._at: object = None
        self._affirmed: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._judge, self._case_of = open_judge("rules"), case_of
        self._workers, self._show = workers, show
        self._started = clock.now()
        for record in recorded:
            self._count(record)

    def on_trial(self, record: TrialRecord) -> None:
        """Take in one recorded trial."""
        self.trials.on_trial(record)
        self._at = record.condition.cell
        self._left[self._at] -= 1
        self._count(record)
        rates = ", ".join(f"{arm} {self._affirmed[arm]}/{n}" for arm, n in sorted(self._seen.items()))
        self._note = f"affirmative so far (rules): {rates}"
        self._tell()

    def on_tokens(self, count: int) -> None:
        """Take in so many tokens, of replies that are not finished too."""
        self.trials.on_tokens(count)
        self._tell()

    def _tell(self) -> None:
        told = f"cells {self._finished()}/{self._cells}", self._speed(), self._note
        self._show(" · ".join(part for part in told if part))

    def _count(self, record: TrialRecord) -> None:
        from ..judges.base import verdicts_on

        self._seen[record.arm] += 1
        verdicts = verdicts_on(self._judge, [self._case_of(record)])
        self._affirmed[record.arm] += any(verdict.answer("affirmative") is True for _, verdict in verdicts)

    def describe(self) -> str:
        """Return one plain line: trials done and planned, cells done and where it is, speed, time left."""
        trials = self.trials
        new = trials.position - trials.done + trials.new
        left = (trials.total - trials.position) * self._elapsed() / new if new else None
        at = "" if self._at is None else f" (at {self._at})"
        cells = f"cells: {self._finished()} of {self._cells}{at}"
        return f"trials: {trials.done} of {trials.total}, {cells}, {self._speed()}, {_time_left(left)}"

    def _finished(self) -> int:
        return self._cells - sum(n > 0 for n in self._left.values())

    def _elapsed(self) -> float:
        return max(clock.now() - self._started, 1e-9)

    def _speed(self) -> str:
        workers = self._workers()
        return f"{self.trials.tokens / self._elapsed():.1f} tokens/s{f' ({workers})' if workers else ''}"


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return "time left not known yet"
    minutes, rest = divmod(round(seconds), 60)
    return f"about {minutes} min {rest} s left" if minutes else f"about {rest} s left"


@contextmanager
def run_view(
    total: int,
    recorded: Sequence[TrialRecord],
    cells: Sequence[object],
    case_of: Callable[[TrialRecord], Case],
    workers: Callable[[], str] = str,
) -> Iterator[RunView]:
    """Show the live view while a run goes on.

    ``total`` trials are planned, ``recorded`` those that are there, ``cells`` the cell of each that is not; ``case_of``
    is :func:`~introspection_bench.sweep.judging.case_maker`'s, ``workers`` a few words on those of a pool.
    """
    if _progress.style != "rich":
        view = RunView(total, recorded, cells, case_of, workers=workers, show=lambda _: None)
        if _progress.style == "none":
            yield view
            return
        say(view.describe())
        with signs_of_life(view.describe):
            yield view
        say(view.describe())
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=err) as progress:
        task = progress.add_task("trials", total=total, completed=len(recorded), note="")
        view = RunView(
            total,
            recorded,
            cells,
            case_of,
            workers=workers,
            show=lambda note: progress.update(task, completed=view.trials.position, note=note),
        )
        yield view
