"""A specification from the file to the results: what the command ``run`` does, for callers in Python too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import attrs

from ..boundaries import checked
from ..errors import SpecError, explain
from ..judges.base import Judge
from ..judges.registry import open_judge
from ..notebook import Bars
from ..plans import FrozenPlan
from ..results import Results
from .generating import OnTrial, generating, pending_trials
from .judging import OnVerdict, judge_run
from .making import Maker, Pool, started
from .measuring import OnReading, measure_run
from .outline import check_early
from .preparing import begin_shard, prepare
from .sharding import Shard
from .spec import JudgeSpec, RunSpec
from .store import Store
from .sweep import Sweep


class Watcher:
    """What whoever runs a specification may watch; each method does nothing by default."""

    def working(self, what: str) -> AbstractContextManager[object]:  # noqa: ARG002  # for subclasses
        """Enter while something takes its time."""
        return nullcontext()

    @contextmanager
    def planning(self) -> Iterator[bool | Bars]:
        """Enter while a sweep is planned; what is returned hears how far its extraction is."""
        with self.working("Vectors and plan"):
            yield False

    def planned(self, sweep: Sweep) -> None:
        """Hear of the plan, before anything is generated."""

    def workers(self, maker: Maker) -> None:
        """Hear of what generates, before it does."""

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
    on: Pool | None = None,
    shard: Shard | str | None = None,
    prepared: str | Path | None = None,
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
        on: the pool whose workers generate (:class:`~introspection_bench.RayPool`), by default this process.
        shard: the shard to run, ``3/16``, of the prepared run in ``prepared`` (:func:`.begin_shard`); its directory is
            by default the specification's with the shard in its name.
        prepared: the run directory that :func:`prepare_spec` made; needed with ``shard``, and only then.
        watcher: hears of what is done. Without one a notebook shows bars, and nothing is shown elsewhere.

    Returns:
        What the run holds at the end.

    Raises:
        SpecError: for what is wrong in the file, or in that of the frozen plan, before a model is loaded, and whatever
            the stages raise. What is wrong with layers, scaffolds and spans is known before its weights are loaded.
    """
    watch, shown = watcher or Watcher(), Bars(wanted=watcher is None)
    pending_trials((), (), limit)  # a limit that is none should be known of before a model is loaded
    stated = _stated(spec, overrides, backend, trust_remote_code=trust_remote_code, frozen=frozen)
    stated, place = _placed(stated, directory, shard, prepared)
    model = stated.model
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
    if not Store.is_begun(place):  # what was begun was planned on this model
        with watch.working("Checking layers and prompts"):
            check_early(stated)
    with watch.working(f"Opening {model.name}"):
        injector = model.open()
    with injector:
        with watch.planning() as heard:
            sweep = Sweep(stated.planner, injector, place, spec=stated, progress=shown if watcher is None else heard)
        watch.planned(sweep)
        for measure in stated.measures:
            sweep.check_measure(measure)
        if judging is not None:
            sweep.check_judge(judging)
        if on is not None and not stated.measures and stated.effects is None and stated.planner.judge is None:
            injector.close()  # planned is all there is: an engine that fills a GPU makes room for a worker's
        with started(on, injector) as maker:
            watch.workers(maker)
            with watch.generating(sweep) as on_trial:
                sweep.generate(on_trial, limit=limit, on=maker, progress=shown)
            # Where verdicts decide what is run next, the two stages alternate; else the model is closed before judging.
            check = True
            while judging is not None and stated.planner.judge is not None:
                _judge(place, judging, stated.judge, watch, shown, check=check)
                check = False  # once it has passed the control replies
                if limit is not None or not sweep.go_on():
                    break
                with watch.generating(sweep) as on_trial:
                    sweep.generate(on_trial, limit=limit, on=maker, progress=shown)
        for measure in stated.measures:
            with watch.measuring(measure.name) as on_reading, Store.open(place) as store:
                measured = measure_run(store, measure, injector, on_reading=on_reading, progress=shown)
            watch.say(f"{measure.name}: {measured.measured} measured, {measured.kept} kept")
    if judging is not None and stated.planner.judge is None:
        _judge(place, judging, stated.judge, watch, shown)
    for told, opened in further:
        _judge(place, opened, told, watch, shown)
    return sweep.results()


@checked(SpecError)
def prepare_spec(
    spec: str | Path | RunSpec,
    directory: str | Path,
    *,
    overrides: Sequence[str] = (),
    backend: str | None = None,
    trust_remote_code: bool = False,
    frozen: str | Path | None = None,
    watcher: Watcher | None = None,
) -> Path:
    """Make what a specification's shards share, in a run directory without a trial, and return that directory.

    The arguments are those of :func:`run_spec`. Raises :class:`SpecError`, before a model is loaded, for a run that
    can't be split because it asks on by what it has seen, and what :func:`.prepare` raises.
    """
    watch = watcher or Watcher()
    stated = _stated(spec, overrides, backend, trust_remote_code=trust_remote_code, frozen=frozen)
    _ = attrs.evolve(stated, shard=Shard("1/1")).planner
    with watch.working("Checking layers and prompts"):
        check_early(stated)
    with watch.working(f"Opening {stated.model.name}"):
        injector = stated.model.open()
    with injector, watch.planning() as told:
        sweep = Sweep(stated.planner, injector, directory, spec=stated, progress=watcher is None or told)
        made = prepare(sweep)
    watch.say(f"{len(sweep.planned)} trials planned, {len(sweep.vectors)} vectors, in {made}")
    return made


def _stated(
    spec: str | Path | RunSpec,
    overrides: Sequence[str],
    backend: str | None,
    *,
    trust_remote_code: bool,
    frozen: str | Path | None,
) -> RunSpec:
    """Return a specification with what a caller says in place of what the file does."""
    stated = spec if isinstance(spec, RunSpec) else RunSpec.from_toml(spec, overrides)
    model = attrs.evolve(
        stated.model,
        backend=backend or stated.model.backend,
        trust_remote_code=trust_remote_code or stated.model.trust_remote_code,
    )
    plan = stated.frozen if frozen is None else FrozenPlan.read(frozen)
    return attrs.evolve(stated, model=model, frozen=plan)


def _placed(
    stated: RunSpec, directory: str | Path | None, shard: Shard | str | None, prepared: str | Path | None
) -> tuple[RunSpec, Path]:
    """Return a specification, of the shard where one is asked for, and its directory, which a shard's is then begun."""
    if (shard is None) != (prepared is None):
        raise SpecError(
            explain(
                "shard, prepared",
                required="both, or neither: shards take vectors and doses of one prepared run",
                got=f"shard {shard}, prepared {prepared}",
                hint="Prepare once (--prepare DIR), then run each shard with --shard 3/16 --prepared DIR.",
            )
        )
    place = Path(directory or stated.directory or "runs/run")
    if shard is None or prepared is None:
        return stated, place
    shard = Shard(shard) if isinstance(shard, str) else shard
    place = place if directory else place.with_name(f"{place.name}-shard-{shard.number}-of-{shard.of}")
    begun = begin_shard(prepared, shard, place, spec=stated)
    return attrs.evolve(stated, shard=begun.shard, whole=begun.whole), place


def _judge(place: Path, judge: Judge, told: JudgeSpec, watch: Watcher, shown: Bars, *, check: bool = True) -> None:
    with watch.judging(judge.name) as on_verdict, Store.open(place) as store:
        summary = judge_run(
            store, judge, check=check, part=told.judged, asked=told.asked, on_verdict=on_verdict, progress=shown
        )
    about = "" if told.asked == "own" else ", about another concept"
    what = f"{summary.judge}/{summary.rubric}{about}"
    watch.say(f"{what}: {summary.judged} judged, {summary.unscored} unscored, {summary.kept} kept")
