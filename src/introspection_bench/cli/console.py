"""What all commands print with: two consoles, plain text, tables, and the live view of a run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..trials import TrialRecord

out = Console()
err = Console(stderr=True)


def plain(text: str) -> str:
    """Return text that rich prints as it is: replies, names and paths may hold brackets and control characters."""
    shown = "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)
    return escape(shown)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; every cell as plain text."""
    shown = Table(
        *columns, title=plain(title), title_justify="left", header_style="bold", box=None, padding=(0, 1, 0, 0)
    )
    for row in rows:
        shown.add_row(*(plain(str(cell)) for cell in row))
    out.print(shown)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show a spinner while something without progress of its own goes on, then how long it took."""
    started = time.monotonic()
    with err.status(plain(what)):
        yield
    err.print(f"{plain(what)}: {time.monotonic() - started:.0f} s", highlight=False)


@contextmanager
def interruptible() -> Iterator[None]:
    """Say at Ctrl-C that nothing finished is lost, and end with exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        err.print("Interrupted. What was finished is recorded; the same command goes on from there.")
        raise typer.Exit(130) from None


def quiet_libraries() -> None:
    """Switch off what transformers prints while it loads."""
    # Progress bars of weight loading would tear our own display.
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


class RunView:
    """The live view of a run: cells, trials, tokens per second, time left, and rates so far.

    The rates are the rules judge's, for the eye only: judging is a stage of its own, and nothing of this is stored.
    """

    def __init__(self, progress: Progress, total: int, done: int, cells: Sequence[object]) -> None:
        self._progress = progress
        self._left = Counter(cells)
        self._cells = len(self._left)
        self._tokens = 0
        self._started: float | None = None
        self._affirmed: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._preview = _Preview()
        self._task = progress.add_task("trials", total=total, completed=done, note="")
        self._starting = time.monotonic()

    def on_trial(self, record: TrialRecord) -> None:
        """Take in one recorded trial."""
        self._left[record.cell] -= 1
        self._tokens += len(record.reply.token_ids)
        self._seen[record.arm] += 1
        self._affirmed[record.arm] += self._preview.affirmative(record)
        elapsed = max(time.monotonic() - self._starting, 1e-9)
        finished = self._cells - sum(n > 0 for n in self._left.values())
        rates = ", ".join(f"{arm} {self._affirmed[arm]}/{n}" for arm, n in sorted(self._seen.items()))
        note = f"cells {finished}/{self._cells} · {self._tokens / elapsed:.1f} tokens/s · affirmative so far: {rates}"
        self._progress.update(self._task, advance=1, note=note)


class _Preview:
    def __init__(self) -> None:
        from ..judges.registry import open_judge

        self._judge = open_judge("rules")

    def affirmative(self, record: TrialRecord) -> bool:
        from ..concepts import Concept
        from ..judges.base import Case

        # Affirmation does not depend on the concept, so a name that occurs nowhere will do.
        case = Case(record.key.digest, "", record.reply.text, Concept("preview", word="preview"))
        return any(verdict.affirmative is True for _, verdict in self._judge.judge([case]))


@contextmanager
def run_view(total: int, done: int, cells: Sequence[object]) -> Iterator[RunView]:
    """Show the live view while a run goes on."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=err) as progress:
        yield RunView(progress, total, done, cells)
