"""The difference between two ends, attributed to the factors in which they differ, and what is left over."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import attrs
import pandas as pd

from ..boundaries import checked, guarded
from ..errors import AnalysisError, explain
from ..freezing import frozen_tuple
from .binomial import check_probability
from .by_concept import ByConcept, only
from .contrast import LIKE, THESE, in_words, points
from .fractions import Fraction, told
from .intervals import ConceptCounts, Estimand, Estimate
from .intervals.weighted import weighted_sum

#: What an effect is: the whole difference; a factor changed alone with the others as in A, or as in B; the mean of
#: both, or over a factorial's settings; how much it hangs on other factors; what no factor alone accounts for.
Kind = Literal["whole", "from A", "from B", "main", "pair", "with the rest", "unexplained"]

#: The settings of a bridge: which factors stand as in B, and the outcome there by concept (None: nothing to count).
Settings = Mapping[frozenset[str], ByConcept | None]
#: The controls of each setting: which draws they are (settings that share a prompt share them), and their outcome.
Controls = Mapping[frozenset[str], tuple[str, ByConcept | None]]
_Weights = dict[frozenset[str], float]
#: Why readings of one set of replies have no interval on these concepts.
SAME_REPLIES = "the settings share their replies: what differs between them was counted, and not sampled"


@guarded(AnalysisError)
@attrs.frozen
class Effect:
    """One part of the difference, in shares: B less A.

    ``factors`` are its own, ``aliased`` the effects that the settings can't tell from it: then the number is their sum.
    ``these`` is about these concepts, ``like`` about concepts like these. ``concepts`` are compared, being in each
    setting that it takes; ``lacking`` says why there is no number, where a setting has no trial to count.
    """

    kind: Kind
    factors: tuple[str, ...] = attrs.field(converter=frozen_tuple)
    these: Estimate | None = None
    like: Estimate | None = None
    concepts: int = 0
    aliased: tuple[tuple[str, ...], ...] = attrs.field(converter=frozen_tuple, default=())
    lacking: str = ""

    @property
    def name(self) -> str:
        """What it is called: its factors, and those of what it can't be told from."""
        if self.kind in ("whole", "unexplained"):
            return "whole difference" if self.kind == "whole" else "unexplained"
        own = f"{told(self.factors[:1])} × the rest" if self.kind == "with the rest" else told(self.factors)
        return " = ".join([own, *map(told, self.aliased)])

    @property
    def sentence(self) -> str:
        """The estimate in words, for these concepts and for concepts like these."""
        name = self.name if self.kind in ("whole", "unexplained") else f"{self.name} ({self.kind})"
        if self.these is None or self.like is None:
            return f"{name}: can't be said: {self.lacking}."
        these = in_words(self.these)
        if self.these.needs == SAME_REPLIES:
            these = f"{points(self.these.estimate)} points, counted on the same replies."
        return f"{name}: {these} {in_words(self.like)}"


@guarded(AnalysisError)
@attrs.frozen
class Attribution:
    """Where the difference between A and B comes from.

    ``whole`` is all of it. ``effects`` are those of factors and pairs; ``unexplained`` what the whole is more than the
    sum of the single factors, one for each way of summing. ``sentence`` says what was run.
    """

    whole: Effect
    effects: tuple[Effect, ...] = attrs.field(converter=frozen_tuple)
    unexplained: tuple[tuple[str, Effect], ...] = attrs.field(converter=frozen_tuple)
    sentence: str = ""

    @property
    def lines(self) -> tuple[tuple[str, Effect], ...]:
        """All effects, each with what it is, in the order of the tables."""
        named = [(_SAID.get(e.kind, e.kind), e) for e in self.effects]
        return (("B less A", self.whole), *named, *self.unexplained)

    def table(self) -> pd.DataFrame:
        """Return one row per effect.

        Columns: ``effect``, ``what``, ``points`` (a difference of shares times 100), ``low high`` on these concepts,
        ``low_like_these high_like_these`` (NaN where that can't be said), ``concepts``, ``needs`` (why not).
        """
        return pd.DataFrame([_row(what, effect) for what, effect in self.lines])

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was run, then each effect in words."""
        said = [f"{what}: {effect.sentence}" for what, effect in self.unexplained]
        return (self.sentence, self.whole.sentence, *(e.sentence for e in self.effects), *said)


_SAID = {
    "from A": "changed alone, the rest as in A",
    "from B": "changed last, the rest as in B",
    "main": "mean over the others",
    "pair": "half of what the one does to the other's effect",
    "with the rest": "what it does more as in B than as in A",
}


def _row(what: str, effect: Effect) -> dict[str, object]:
    these, like = effect.these, effect.like
    nothing = dict.fromkeys(("points", "low", "high", "low_like_these", "high_like_these"), math.nan)
    row: dict[str, object] = {"effect": effect.name, "what": what, **nothing}
    needs = effect.lacking
    if these is not None and like is not None:
        row |= {"points": these.estimate * 100, "low": these.low * 100, "high": these.high * 100}
        row |= {"low_like_these": like.low * 100, "high_like_these": like.high * 100}
        needs = like.needs
    return {**row, "concepts": effect.concepts, "needs": needs}


@checked(AnalysisError)
def attribute_both_ends(
    settings: Settings,
    factors: Sequence[str],
    *,
    controls: Controls | None = None,
    same_replies: bool = False,
    confidence: float = 0.95,
) -> Attribution:
    """Attribute the difference of two ends to factors, each changed alone from either end.

    A factor's effect ``from A`` is that of changing it first, with all others as in A, ``from B`` of changing it last;
    ``main`` is their mean. Where the two differ, it hangs on other factors (``with the rest``): on which, one factor at
    a time does not say. What is ``unexplained`` is how much the whole differs from the sum over factors.

    Args:
        settings: the outcome by concept in A (no factor as in B), in B (all of them), and with each factor alone as in
            B and alone as in A.
        factors: in which the ends differ, each once.
        controls: of each setting; then its rate is that above its controls. What settings share cancels.
        same_replies: the settings judge and count one set of replies; then nothing is sampled between them, and no
            interval on these concepts is given.
        confidence: of each interval, one at a time.

    Returns:
        Effects in shares, B less A. Each is computed on the concepts that all of its settings have; settings without a
        concept in common (other concepts being a factor) are not paired.

    Raises:
        AnalysisError: a setting is missing, or an argument is out of range.
    """
    check_probability("confidence", confidence)
    names = _distinct(factors)
    ends = frozenset(names)
    _check_there(settings, [frozenset(), ends, *(frozenset([f]) for f in names), *(ends - {f} for f in names)])
    whole = _sum({ends: 1.0}, {frozenset(): -1.0})
    first = {f: _sum({frozenset([f]): 1.0}, {frozenset(): -1.0}) for f in names}
    last = {f: _sum({ends: 1.0}, {ends - {f}: -1.0}) for f in names}
    means = {f: _sum(_times(first[f], 0.5), _times(last[f], 0.5)) for f in names}
    made = _Maker(settings, confidence, same_replies, controls or {})
    effects = []
    for f in names:
        effects += [made.effect("from A", (f,), first[f]), made.effect("from B", (f,), last[f])]
        if len(names) > 1:
            effects.append(made.effect("main", (f,), means[f]))
            effects.append(made.effect("with the rest", (f,), _sum(last[f], _times(first[f], -1))))
    ways = {"B less A less the sum of changes from A": first, "the same from B": last, "the same of the means": means}
    left = [
        (what, made.effect("unexplained", (), _sum(whole, *(_times(w, -1) for w in each.values()))))
        for what, each in ways.items()
    ]
    said = f"Both ends: {len(set(settings))} settings, each of {len(names)} factors changed alone from A and from B."
    return Attribution(made.effect("whole", tuple(names), whole), effects, left if len(names) > 1 else (), said)


@checked(AnalysisError)
def attribute_factorial(
    settings: Settings,
    plan: Fraction,
    *,
    controls: Controls | None = None,
    same_replies: bool = False,
    confidence: float = 0.95,
) -> Attribution:
    """Attribute the difference of two ends to factors and pairs of them, by the settings of a factorial.

    ``main`` is a factor's effect, the mean over the settings of the others. ``pair`` is half of how much more the one
    does where the other is as in B than where it is as in A: of two factors alone, changing one first gives its main
    effect less the pair's, changing it last its main effect plus it. Effects that the settings can't tell apart are one
    row, which is their sum. The whole difference is the sum of the main effects and of the effects of three, five and
    so on together: those are ``unexplained``.

    Args:
        settings: the outcome by concept in each run of the plan, and in both ends.
        plan: from :func:`~introspection_bench.analysis.fraction`.
        controls: as :func:`attribute_both_ends`.
        same_replies: as there.
        confidence: of each interval, one at a time.

    Raises:
        AnalysisError: a setting is missing, or an argument is out of range.
    """
    check_probability("confidence", confidence)
    ends = frozenset(plan.factors)
    _check_there(settings, [frozenset(), ends, *plan.runs])
    half = len(plan.runs) / 2
    weights = {term: {run: plan.sign(term, run) / half for run in plan.runs} for term in plan.aliased}
    made = _Maker(settings, confidence, same_replies, controls or {})
    effects = [
        made.effect("main" if len(term) == 1 else "pair", term, weights[term], others) for term, others in plan.distinct
    ]
    whole = _sum({ends: 1.0}, {frozenset(): -1.0})
    left = _sum(whole, *(_times(weights[(f,)], -1) for f in plan.factors))
    return Attribution(
        made.effect("whole", plan.factors, whole),
        effects,
        [("B less A less the sum of the main effects", made.effect("unexplained", (), left))],
        plan.sentence,
    )


@attrs.frozen
class _Maker:
    """Makes effects of one set of settings."""

    settings: Settings
    confidence: float
    same_replies: bool
    controls: Controls

    def effect(
        self, kind: Kind, factors: Sequence[str], weights: _Weights, aliased: Sequence[tuple[str, ...]] = ()
    ) -> Effect:
        """Return the weighted sum of some settings as an effect."""
        used = {s: w for s, w in weights.items() if abs(w) > 1e-12}
        missing = [s for s in used if self.settings[s] is None]
        if missing:
            lacking = f"no trial to count in the setting {said(missing[0])}"
            return Effect(kind, factors, aliased=aliased, lacking=lacking)
        if not used:  # nothing is left over by construction: of one factor, or of two changed from either end
            return Effect(kind, factors, aliased=aliased, lacking="it is zero by construction")
        arms = [arm for s in used if (arm := self.settings[s]) is not None]
        blocks = _blocks(arms)
        common = {b: _common(arms, blocks, b) for b in blocks}
        kept = [only(arm, [c for c in arm.concepts if c in common[b]]) for arm, b in zip(arms, blocks, strict=True)]
        beside = self._beside(used)
        if isinstance(beside, str):
            return Effect(kind, factors, aliased=aliased, lacking=beside)
        numbers = [*(arm.counts for arm in kept), *(counts for counts, _ in beside)]
        weighed = [*used.values(), *(weight for _, weight in beside)]
        blocks += [len(arms) + n for n in range(len(beside))]

        def estimate(estimand: Estimand) -> Estimate:
            found = weighted_sum(numbers, weighed, estimand=estimand, blocks=blocks, confidence=self.confidence)
            # Arms that share their trials are not independent; sums within concepts hold all the same.
            counted = self.same_replies and estimand == THESE
            return attrs.evolve(found, low=math.nan, high=math.nan, needs=SAME_REPLIES) if counted else found

        concepts = len({c for arm in kept for c in arm.concepts})
        return Effect(kind, factors, estimate(THESE), estimate(LIKE), concepts, aliased)

    def _beside(self, used: _Weights) -> list[tuple[ConceptCounts, float]] | str:
        """Return the controls' counts, each draw once, with what is left of its weight; or why there are none."""
        if not self.controls:
            return []
        weights: dict[str, float] = {}
        counts: dict[str, ConceptCounts] = {}
        for setting, weight in used.items():
            name, arm = self.controls.get(setting, ("", None))
            if arm is None:
                return f"no control to count in the setting {said(setting)}"
            weights[name] = weights.get(name, 0.0) - weight
            counts[name] = arm.counts.pooled
        return [(counts[name], weight) for name, weight in weights.items() if abs(weight) > 1e-12]


def _blocks(arms: Sequence[ByConcept]) -> list[int]:
    """Return which arms are about the same concepts: those that have some in common with all of their block."""
    blocks: list[set[str]] = []
    found = []
    for arm in arms:
        mine = set(arm.concepts)
        place = next((n for n, block in enumerate(blocks) if block & mine), len(blocks))
        if place == len(blocks):
            blocks.append(mine)
        blocks[place] &= mine
        found.append(place)
    return found


def _common(arms: Sequence[ByConcept], blocks: Sequence[int], block: int) -> set[str]:
    return set.intersection(*(set(arm.concepts) for arm, b in zip(arms, blocks, strict=True) if b == block))


def _sum(*parts: _Weights) -> _Weights:
    found: _Weights = {}
    for part in parts:
        for setting, weight in part.items():
            found[setting] = found.get(setting, 0.0) + weight
    return found


def _times(weights: _Weights, factor: float) -> _Weights:
    return {setting: weight * factor for setting, weight in weights.items()}


def _distinct(factors: Sequence[str]) -> list[str]:
    names = list(factors)
    if not names or len(set(names)) < len(names):
        raise AnalysisError(explain("factors", required="at least one, each once", got=names, hint=""))
    return names


def _check_there(settings: Settings, needed: Sequence[frozenset[str]]) -> None:
    missing = [s for s in dict.fromkeys(needed) if s not in settings]
    if missing:
        raise AnalysisError(
            explain(
                "settings",
                required="every setting that is compared",
                got=f"none for {', '.join(map(said, missing))}",
                hint="Run them first; an outcome that can't be counted there is None.",
            )
        )


def said(setting: frozenset[str]) -> str:
    """Return a setting as it is written: ``A with dose, prompt of B``, or ``A``."""
    return f"A with {', '.join(sorted(setting))} of B" if setting else "A"
