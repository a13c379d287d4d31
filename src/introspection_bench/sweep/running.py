"""A specification from the file to the results: what the command ``run`` does, for callers in Python too."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import attrs

from ..boundaries import checked
from ..errors import SpecError, explain
from ..judges.base import Judge
from ..judges.registry import open_judge
from ..plans import FrozenPlan
from ..results import Results
from .generating import OnTrial, generating, pending_trials
from .judging import OnVerdict, judge_run
from .measuring import OnReading, measure_run
from .spec import JudgeSpec, RunSpec
from .store import Store
from .sweep import Sweep


class Watcher:
    """What whoever runs a specification may watch; each method does nothing by default."""

    def working(self, what: str) -> AbstractContextManager[object]:  # noqa: ARG002  # for subclasses
        """Enter while something takes its time."""
        return nullcontext()

    def planned(self, sweep: Sweep) -> None:
        """Hear of the plan, before anything is generated."""

    def generating(self, sweep: Sweep) -> AbstractContextManager[OnTrial | None]:  # noqa: ARG002  # for subclasses
        """Enter while replies are generated; what is returned is called with each record."""
        return nullcontext()

    def judging(self, name: str) -> AbstractContextManager[OnVerdict | None]:  # noqa: ARG002  # for subclasses
        """Enter while replies are judged; what is returned is called with each verdict."""
        return nullcontext()

    def measuring(self, name: str) -> AbstractContextManager[OnReading | None]:  # noqa: ARG002  # for subclasses
        """Enter while replies are measured; what is returned is called with each reading."""
        return nullcontext()

    def say(self, text: str) -> None:
        """Hear what was done."""


@checked(SpecError)
def run_spec(
    spec: str | Path | RunSpec,
    *,
    overrides: Sequence[str] = (),
    backend: str | None = None,
    directory: str | Path | None = None,
    judge: bool = True,
    trust_remote_code: bool = False,
    frozen: str | Path | None = None,
    limit: int | None = None,
    watcher: Watcher | None = None,
) -> Results:
    """Run a specification: open its model, plan, generate, judge and measure; run it again to go on.

    Args:
        spec: a TOML file (docs/sweeps.md), or a specification.
        overrides: ``design.arms.injected.n=5`` and the like, which take the place of what the file says.
        backend: to run on, instead of the file's.
        directory: the run directory, instead of the file's.
        judge: whether to judge the replies when all are there.
        trust_remote_code: let Python code that comes with the checkpoint run.
        frozen: the frozen plan's file that the run is begun under, instead of the one that the specification names.
        limit: a smoke test: at most so many trials, spread over the cells (:meth:`Sweep.generate`), judged and
            measured like any other; the run goes on later without it.
        watcher: hears of what is done.

    Returns:
        What the run holds at the end.

    Raises:
        SpecError: for what is wrong in the file, or in that of the frozen plan, before a model is loaded, and whatever
            the stages raise.
    """
    watch = watcher or Watcher()
    pending_trials((), (), limit)  # a limit that is none should be known of before a model is loaded
    stated = spec if isinstance(spec, RunSpec) else RunSpec.from_toml(spec, overrides)
    model = attrs.evolve(
        stated.model,
        backend=backend or stated.model.backend,
        trust_remote_code=trust_remote_code or stated.model.trust_remote_code,
    )
    if frozen is not None:
        stated = attrs.evolve(stated, frozen=FrozenPlan.read(frozen))
    stated = attrs.evolve(stated, model=model, directory=str(directory or stated.directory or "runs/run"))
    place = Path(str(stated.directory))
    if judge and stated.design.concepts is None:
        raise SpecError(
            explain(
                "design.concepts",
                required="the concepts that judges are asked about",
                got="none",
                hint="Name a concept set, or run without judging (--no-judge).",
            )
        )
    if Store.is_begun(place):
        with generating(place):
            pass  # another process at work there should be known of before a model is loaded
    # Opened before the model: a judge that can't work should not cost a GPU hour first.
    judging = open_judge(stated.judge.name, **stated.judge.options) if judge else None
    further = [(told, open_judge(told.name, **told.options)) for told in stated.also_judged if judge]
    with watch.working(f"Opening {model.name}"):
        injector = model.open()
    with injector:
        with watch.working("Vectors and plan"):
            sweep = Sweep(stated.planner, injector, place, spec=stated)
        watch.planned(sweep)
        for measure in stated.measures:
            sweep.check_measure(measure)
        if judging is not None:
            sweep.check_judge(judging)
        with watch.generating(sweep) as on_trial:
            sweep.generate(on_trial, limit=limit)
        # Where verdicts decide what is run next, the two stages alternate; else the model is closed before judging.
        check = True
        while judging is not None and stated.planner.judge is not None:
            _judge(place, judging, stated.judge, watch, check=check)
            check = False  # once it has passed the control replies
            if limit is not None or not sweep.go_on():
                break
            with watch.generating(sweep) as on_trial:
                sweep.generate(on_trial, limit=limit)
        for measure in stated.measures:
            with watch.measuring(measure.name) as on_reading, Store.open(place) as store:
                measured = measure_run(store, measure, injector, on_reading=on_reading)
            watch.say(f"{measure.name}: {measured.measured} measured, {measured.kept} kept")
    if judging is not None and stated.planner.judge is None:
        _judge(place, judging, stated.judge, watch)
    for told, opened in further:
        _judge(place, opened, told, watch)
    return sweep.results()


def _judge(place: Path, judge: Judge, told: JudgeSpec, watch: Watcher, *, check: bool = True) -> None:
    with watch.judging(judge.name) as on_verdict, Store.open(place) as store:
        summary = judge_run(store, judge, check=check, part=told.judged, asked=told.asked, on_verdict=on_verdict)
    about = "" if told.asked == "own" else ", about another concept"
    what = f"{summary.judge}/{summary.rubric}{about}"
    watch.say(f"{what}: {summary.judged} judged, {summary.unscored} unscored, {summary.kept} kept")
