"""Running a bridge: each setting as a sweep of its own, judged, and the difference attributed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import attrs
import pandas as pd

from ..analysis import controls, injected
from ..analysis.attribution import Attribution, Controls, Effect, attribute_both_ends, attribute_factorial
from ..analysis.binomial import check_probability
from ..analysis.by_concept import ByConcept
from ..analysis.counting import counted_by_concept
from ..analysis.fractions import fraction
from ..boundaries import checked, guarded
from ..digests import digest
from ..errors import SpecError, explain
from ..files import file_stem
from ..freezing import frozen_mapping
from ..injectors.base import Injector
from ..judges.base import Judge
from ..judges.registry import open_judge
from ..results import Results
from ..sweep.judging import judge_run
from ..sweep.running import Watcher
from ..sweep.spec import JudgeSpec, ModelSpec, RunSpec
from ..sweep.store import Store
from ..sweep.sweep import Sweep
from .bridge import Bridge, Scoring, Setting

#: A rate of a setting: its outcome in the injected trials by concept, and on the controls.
Rate = tuple[ByConcept | None, ByConcept | None]


@guarded(SpecError)
@attrs.frozen
class Bridged:
    """What a bridge found: the trials of each setting, with their verdicts.

    ``confidence`` is that of every interval, one at a time. Raises :class:`SpecError` where a setting is missing.
    """

    bridge: Bridge
    results: Mapping[Setting, Results] = attrs.field(converter=frozen_mapping, hash=False)
    confidence: float = 0.95

    def __attrs_post_init__(self) -> None:
        check_probability("confidence", self.confidence)
        missing = [sorted(s) for s in self.bridge.settings if s not in self.results]
        if missing:
            raise SpecError(
                explain("results", required="those of every setting", got=f"none of {missing[:3]}", hint="run_bridge()")
            )

    @checked(SpecError)
    def rate(self, setting: Collection[str], scoring: Scoring) -> Rate:
        """Return a setting's outcome by concept, and that of its controls, as a scoring reads them.

        Raises :class:`SpecError` for a setting that was not run, and
        :class:`~introspection_bench.errors.AnalysisError` for verdicts that there aren't.
        """
        wanted = frozenset(setting)
        if wanted not in self.results:
            raise SpecError(
                explain("setting", required="one that was run", got=sorted(wanted), hint="See Bridge.settings.")
            )
        return read_rate(self.results[wanted], scoring)

    @property
    def free(self) -> tuple[tuple[str, Attribution], ...]:
        """The difference that reading the same replies as B does makes, on the replies of A and of B."""
        if not self.bridge.free:
            return ()
        ends = {f"on the replies of {self.bridge.a.name}": frozenset[str]()}
        ends[f"on the replies of {self.bridge.b.name}"] = self._whole
        return tuple((said, read_free(self.bridge, self.results[end], self.confidence)) for said, end in ends.items())

    @property
    def generated(self) -> tuple[tuple[str, Attribution], ...]:
        """The difference that other replies make, read as A does and as B does.

        Where some control counts, once more of the rates above the controls.
        """
        if not self.bridge.generated:
            return ()
        found = []
        for scoring in dict.fromkeys(self.bridge.scorings):
            found.append((f"read as {scoring}", self._generated(scoring, {})))
            beside = {s: (self._draws(s), self.rate(s, scoring)[1]) for s in self.bridge.settings}
            if any(arm is None or any(arm.counts.successes) for _, arm in beside.values()):
                found.append((f"above the controls, read as {scoring}", self._generated(scoring, beside)))
        return tuple(found)

    def _draws(self, setting: Setting) -> str:
        """Return which controls a setting has: those of one prompt and sampling are the same replies."""
        records = self.results[setting].records
        return digest("controls", 1, sorted(r.key.digest for r in records if r.condition.truth == "nothing"))

    @property
    def _whole(self) -> Setting:
        return frozenset(s.name for s in self.bridge.generated)

    def _generated(self, scoring: Scoring, beside: Controls) -> Attribution:
        settings = {s: self.rate(s, scoring)[0] for s in self.bridge.settings}
        if self.bridge.plan is not None:
            return attribute_factorial(settings, self.bridge.plan, controls=beside, confidence=self.confidence)
        names = [s.name for s in self.bridge.generated]
        return attribute_both_ends(settings, names, controls=beside, confidence=self.confidence)

    @property
    def whole(self) -> Effect:
        """B as it reads itself less A as it reads itself."""
        a, b = self.bridge.scorings
        ends = {frozenset[str](): self.rate(frozenset(), a)[0], frozenset(["B"]): self.rate(self._whole, b)[0]}
        same = not self.bridge.generated
        return attribute_both_ends(ends, ["B"], same_replies=same, confidence=self.confidence).whole

    def rates(self) -> pd.DataFrame:
        """Return one row per setting and scoring of an end: ``setting scoring k n rate concepts controls``."""
        rows = []
        for setting in self.bridge.settings:
            for scoring in dict.fromkeys(self.bridge.scorings):
                found, beside = self.rate(setting, scoring)
                k, n = _counts(found)
                alarms, clean = _counts(beside)
                rows.append(
                    {
                        "setting": self.name_of(setting),
                        "read as": str(scoring),
                        "k": k,
                        "n": n,
                        "rate": None if found is None else found.counts.rate,
                        "concepts": 0 if found is None else found.counts.concepts,
                        "controls": f"{alarms}/{clean}",
                    }
                )
        return pd.DataFrame(rows)

    @checked(SpecError)
    def name_of(self, setting: Collection[str]) -> str:
        """Return a setting in words: A, B, or A with some steps of B."""
        if not setting:
            return self.bridge.a.name
        if frozenset(setting) == self._whole:
            return self.bridge.b.name
        return f"{self.bridge.a.name} with {', '.join(sorted(setting))} of {self.bridge.b.name}"

    def table(self) -> pd.DataFrame:
        """Return all effects: ``part`` says which replies and reading, the rest is :meth:`Attribution.table`."""
        parts = [found.table().assign(part=said) for said, found in (*self.free, *self.generated)]
        table = pd.concat(parts, ignore_index=True)
        return table[["part", *(c for c in table.columns if c != "part")]]


@checked(SpecError)
def run_bridge(
    planned: Bridge,
    model: str | ModelSpec | Injector,
    directory: str | Path,
    *,
    seed: int = 0,
    confidence: float = 0.95,
    watcher: Watcher | None = None,
) -> Bridged:
    """Run each setting of a bridge that isn't recorded yet, judge it, and return what was found.

    Each setting is a sweep in a directory of its own within ``directory``: run it again to go on. The model is opened
    once. All replies get the verdicts of both ends.

    Args:
        planned: from :func:`~introspection_bench.bridge`.
        model: a name (on the backend ``torch``), a specification, or an open injector, which is left open.
        directory: where the settings' run directories go.
        seed: of the designs.
        confidence: of the intervals.
        watcher: hears of what is done.

    Raises:
        SpecError: and what the stages of a sweep raise (:func:`~introspection_bench.sweep.run_spec`).
    """
    check_probability("confidence", confidence)
    watch, place = watcher or Watcher(), Path(directory)
    # Opened before the model: a judge that can't work should not cost a GPU hour first.
    judges = [open_judge(judge, rubric=rubric) for judge, rubric in planned.rubrics]
    if isinstance(model, Injector):
        found = {s: _run(planned, s, place, seed, (model, None, judges, watch)) for s in planned.settings}
        return Bridged(planned, found, confidence)
    spec = ModelSpec(model) if isinstance(model, str) else model
    with watch.working(f"Opening {spec.name}"):
        injector = spec.open()
    with injector:
        found = {s: _run(planned, s, place, seed, (injector, spec, judges, watch)) for s in planned.settings}
    return Bridged(planned, found, confidence)


_By = tuple[Injector, ModelSpec | None, Sequence[Judge], Watcher]


def _run(planned: Bridge, setting: Setting, directory: Path, seed: int, by: _By) -> Results:
    """Run one setting, or what is left of it, and have it judged."""
    injector, model, judges, watch = by
    protocol, place = planned.protocol(setting), directory / folder_of(planned, setting)
    number = planned.settings.index(setting)
    watch.say(f"setting {number + 1} of {len(planned.settings)}: {protocol.name}")
    judge, rubric = planned.rubrics[0]
    design = protocol.design(model=injector, seed=seed)
    spec = None if model is None else RunSpec(design, model, JudgeSpec(judge, options={"rubric": rubric}))
    with watch.planning() as told:
        sweep = Sweep(design, injector, place, spec=spec, progress=told)
    watch.planned(sweep)
    with watch.generating(sweep) as on_trial:
        sweep.generate(on_trial)
    for opened in judges:
        with watch.judging(f"{opened.name}/{opened.rubric.name}") as on_verdict, Store.open(place) as store:
            judge_run(store, opened, check=number == 0, on_verdict=on_verdict)
    return sweep.results()


def folder_of(planned: Bridge, setting: Setting) -> str:
    """Return the name of a setting's run directory: A's and B's own, or what is as in B with digits that tell it."""
    if not setting:
        return "a"
    if setting == frozenset(s.name for s in planned.generated):
        return "b"
    return f"a-with-{file_stem('-'.join(sorted(setting)))[:60]}-{digest('bridge_setting', 1, sorted(setting))[:6]}"


@checked(SpecError)
def read_free(planned: Bridge, results: Results, confidence: float = 0.95) -> Attribution:
    """Attribute what reading some replies as B does in place of A changes: all combinations of the free steps.

    The replies may be anybody's: of a run, or published ones that were imported, with the verdicts that both scorings
    name. Nothing is sampled between two readings of one set of replies, so that there are no intervals on these
    concepts; over concepts like these there are.

    Raises :class:`SpecError` for a bridge without free steps, and
    :class:`~introspection_bench.errors.AnalysisError` for results without the verdicts.
    """
    names = [s.name for s in planned.free]
    if not names:
        raise SpecError(
            explain("planned", required="ends that are read otherwise", got="one way of reading", hint="See its steps.")
        )
    settings = {s: read_rate(results, planned.scoring(s))[0] for s in planned.free_settings}
    if len(names) == 1:
        return attribute_both_ends(settings, names, same_replies=True, confidence=confidence)
    return attribute_factorial(settings, fraction(names, len(names) + 1), same_replies=True, confidence=confidence)


def read_rate(results: Results, scoring: Scoring) -> Rate:
    """Return an outcome by concept in the injected trials, and on the controls."""
    frame = results.frame(scoring.judge, scoring.rubric)
    alarms = controls(frame).assign(concept=None)
    return tuple(counted_by_concept(part, scoring.outcome, scoring.among) for part in (injected(frame), alarms))  # type: ignore[return-value]  # two parts, two entries


def _counts(arm: ByConcept | None) -> tuple[int, int]:
    return (0, 0) if arm is None else (sum(arm.counts.successes), sum(arm.counts.trials))
