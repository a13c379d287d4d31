"""What a terminal shows of a run: what it would be, and how it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..notebook import Bars
from ..sweep.running import Watcher
from . import console

if TYPE_CHECKING:
    from ..measures import Reading
    from ..sweep import RunSpec, Sweep
    from ..sweep.making import Maker
    from ..trials import TrialRecord
    from ..verdicts import Verdict


class TerminalWatcher(Watcher):
    """Shows a run in the terminal; ``limit`` is that of a smoke test."""

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._workers: Callable[[], str] = str

    def workers(self, maker: Maker) -> None:
        """Keep what tells of the workers."""
        self._workers = maker.describe

    @contextmanager
    def working(self, what: str) -> Iterator[object]:
        """Show that something goes on."""
        with console.working(what) as phase:
            yield phase

    @contextmanager
    def planning(self) -> Iterator[bool | Bars]:
        """Show how far the extraction is."""
        with console.working("Vectors and plan") as phase:
            yield Bars(lambda bar: phase.tell(repr(bar)))

    @contextmanager
    def generating(self, sweep: Sweep) -> Iterator[Callable[[TrialRecord], None] | None]:
        """Show the live view of what is left to run."""
        from ..sweep.generating import pending_trials
        from ..sweep.judging import case_maker
        from ..sweep.moving import told_of_tokens

        with sweep.open_store() as store:
            recorded, case_of = store.records(), case_maker(store)
        done = {record.key.digest for record in recorded}
        pending = pending_trials(sweep.planned, done, self._limit)
        left = [t.condition.cell for t in pending]
        console.say(
            f"{len(sweep.planned)} trials planned, {len(done)} recorded, on {sweep.injector.model.name} "
            f"({sweep.injector.name}), in {sweep.directory}"
        )
        if self._limit is not None:
            console.say(f"Smoke test: {len(left)} trials now, spread over the cells. Without --limit the run goes on.")
        if not left:
            yield None
            return
        with console.run_view(len(recorded) + len(left), recorded, left, case_of, self._workers) as view:
            view.trials.longest = max(t.key.sampling.max_new_tokens for t in pending)
            with told_of_tokens(sweep.injector, view.on_tokens):
                yield view.on_trial

    @contextmanager
    def judging(self, name: str) -> Iterator[Callable[[Verdict], None] | None]:
        """Count verdicts."""
        with console.working(f"Judging with {name}") as phase:
            yield phase.count("judged")

    @contextmanager
    def measuring(self, name: str) -> Iterator[Callable[[Reading], None] | None]:
        """Count readings."""
        with console.working(f"Measuring {name}") as phase:
            yield phase.count("measured")

    def say(self, text: str) -> None:
        """Print a line."""
        console.say(text)


def tell_plan(spec: RunSpec, rate: float | None, dollars_per_hour: float | None) -> None:
    """Print what a run would be."""
    from ..sweep.outline import outline

    console.quiet_libraries()
    console.make_model(spec.model.name)
    found = outline(spec)
    # It ends once it has said enough.
    most = "" if spec.search is None and spec.stopping is None else "At most "
    console.table(
        f"{most}{found.total} trials on {found.model} ({spec.model.backend}, {found.layers} layers)",
        ["arm", "trials"],
        sorted(found.trials.items()),
    )
    console.tell(f"{found.prompt_tokens:,} prompt tokens, at most {found.reply_tokens:,} tokens of replies")
    if rate is None:
        console.tell("Time and money: give --tokens-per-second, and --dollars-per-hour.")
    else:
        hours = found.hours(rate)
        cost = "" if dollars_per_hour is None else f", {hours * dollars_per_hour:,.2f} dollars"
        console.tell(f"At {rate:g} tokens/s and replies of full length: {hours:.2f} hours of generation{cost}")
    for sentence in (*(judge.sentence for judge in found.judging), *found.injected.sentences):
        console.tell(sentence)
