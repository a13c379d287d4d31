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
from rich.table import Table

from ..errors import SpecError, explain
from ..untrusted import visible

if TYPE_CHECKING:
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


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; every cell as plain text."""
    shown = Table(
        *map(plain, columns),
        title=plain(title),
        title_justify="left",
        header_style="bold",
        box=None,
        padding=(0, 1, 0, 0),
    )
    for row in rows:
        shown.add_row(*(plain(str(cell)) for cell in row))
    out.print(shown)


class _Progress:
    """How progress is shown: as was asked for last, or else as the output allows."""

    asked: ProgressStyle | None = None

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
        self._started = clock.now()

    def describe(self) -> str:
        """Return what, for how long so far, and the note."""
        return f"{self.what}: {clock.now() - self._started:.0f} s{', ' * bool(self.note)}{self.note}"

    def count(self, what: str) -> Callable[[object], None]:
        """Return a function that counts its calls in the note: "3 judged"."""
        calls = itertools.count(1)

        def one_more(_: object) -> None:
            self.note = f"{next(calls)} {what}"

        return one_more


@contextmanager
def working(what: str) -> Iterator[Phase]:
    """Show that something goes on, then how long it took."""
    phase = Phase(what)
    if _progress.style == "none":
        yield phase
        return
    if _progress.style == "rich":
        with err.status(plain(what)):
            yield phase
    else:
        say(f"{what} …")
        with signs_of_life(phase.describe):
            yield phase
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
    """Switch off what transformers prints while it loads."""
    # Progress bars of weight loading would tear our own display.
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


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
    ) -> None:
        from ..judges.registry import open_judge

        self._total, self._done_before, self._new = total, len(recorded), 0
        self._left = Counter(cells)
        self._cells = len(self._left)
        self._tokens = 0
        self._at: object = None
        self._affirmed: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._judge, self._case_of = open_judge("rules"), case_of
        self._show = show
        self._started = clock.now()
        for record in recorded:
            self._count(record)

    def on_trial(self, record: TrialRecord) -> None:
        """Take in one recorded trial."""
        self._new += 1
        self._at = record.condition.cell
        self._left[self._at] -= 1
        self._tokens += len(record.reply.token_ids)
        self._count(record)
        rates = ", ".join(f"{arm} {self._affirmed[arm]}/{n}" for arm, n in sorted(self._seen.items()))
        self._show(f"cells {self._finished()}/{self._cells} · {self._speed()} · affirmative so far (rules): {rates}")

    def _count(self, record: TrialRecord) -> None:
        from ..judges.base import verdicts_on

        self._seen[record.arm] += 1
        verdicts = verdicts_on(self._judge, [self._case_of(record)])
        self._affirmed[record.arm] += any(verdict.answer("affirmative") is True for _, verdict in verdicts)

    def describe(self) -> str:
        """Return one plain line: trials done and planned, cells done and where it is, speed, time left."""
        done = self._done_before + self._new
        left = (self._total - done) * self._elapsed() / self._new if self._new else None
        at = "" if self._at is None else f" (at {self._at})"
        cells = f"cells: {self._finished()} of {self._cells}{at}"
        return f"trials: {done} of {self._total}, {cells}, {self._speed()}, {_time_left(left)}"

    def _finished(self) -> int:
        return self._cells - sum(n > 0 for n in self._left.values())

    def _elapsed(self) -> float:
        return max(clock.now() - self._started, 1e-9)

    def _speed(self) -> str:
        return f"{self._tokens / self._elapsed():.1f} tokens/s"


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return "time left not known yet"
    minutes, rest = divmod(round(seconds), 60)
    return f"about {minutes} min {rest} s left" if minutes else f"about {rest} s left"


@contextmanager
def run_view(
    total: int, recorded: Sequence[TrialRecord], cells: Sequence[object], case_of: Callable[[TrialRecord], Case]
) -> Iterator[RunView]:
    """Show the live view while a run goes on.

    ``total`` trials are planned, ``recorded`` those that are there, ``cells`` the cell of each that is not; ``case_of``
    is :func:`~introspection_bench.sweep.judging.case_maker`'s.
    """
    if _progress.style != "rich":
        view = RunView(total, recorded, cells, case_of, show=lambda _: None)
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
        yield RunView(total, recorded, cells, case_of, show=lambda note: progress.update(task, advance=1, note=note))
