"""Planted effects come back: of single factors, of a pair, and what no single factor accounts for."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from pyDOE3 import fracfact_aliasing

from introspection_bench.analysis.attribution import attribute_both_ends, attribute_factorial
from introspection_bench.analysis.by_concept import ByConcept
from introspection_bench.analysis.fractions import fraction
from introspection_bench.analysis.intervals import ConceptCounts
from introspection_bench.errors import AnalysisError

NAMES = [f"concept{n}" for n in range(8)]
FACTORS = ("prompt", "dose", "span", "judge")


def rate(setting: frozenset[str]) -> float:
    """Planted: prompt +0.2, dose +0.3, and 0.2 more where both are as in B."""
    return 0.1 + 0.2 * ("prompt" in setting) + 0.3 * ("dose" in setting) + 0.2 * ({"prompt", "dose"} <= setting)


def arm(share: float, concepts=NAMES, n: int = 100) -> ByConcept:
    """Exactly that share of each concept's trials."""
    counts = ConceptCounts([round(share * n)] * len(concepts), [n] * len(concepts))
    return ByConcept(concepts, counts, [0] * len(concepts), 0)


def settings(runs, planted=rate) -> dict[frozenset[str], ByConcept]:
    ends = [frozenset(), frozenset(FACTORS)]
    return {run: arm(planted(run)) for run in [*ends, *runs]}


def both_ends():
    alone = [frozenset([f]) for f in FACTORS]
    return [*alone, *(frozenset(FACTORS) - one for one in alone)]


def by_name(found, kind):
    return {e.factors: e for e in found.effects if e.kind == kind}


def test_both_ends_find_each_factor_alone_and_that_two_of_them_hang_on_the_rest() -> None:
    found = attribute_both_ends(settings(both_ends()), FACTORS)
    assert found.whole.these.estimate == pytest.approx(0.7)
    first, last = by_name(found, "from A"), by_name(found, "from B")
    assert [first[(f,)].these.estimate for f in FACTORS] == pytest.approx([0.2, 0.3, 0, 0])
    assert [last[(f,)].these.estimate for f in FACTORS] == pytest.approx([0.4, 0.5, 0, 0])
    rest = by_name(found, "with the rest")
    assert rest[("prompt",)].these.estimate == pytest.approx(0.2)
    assert rest[("prompt",)].these.low > 0
    assert found.whole.like.low > 0
    assert rest[("span",)].these.estimate == pytest.approx(0)
    left = {what.split()[-1]: effect for what, effect in found.unexplained}
    assert [e.these.estimate for _, e in found.unexplained] == pytest.approx([0.2, -0.2, 0])
    assert left["A"].these.low > 0  # the changes from A alone don't add up to the whole


def test_a_factorial_finds_the_pair_itself() -> None:
    plan = fraction(FACTORS, resolution=5)
    found = attribute_factorial(settings(plan.runs), plan)
    main, pair = by_name(found, "main"), by_name(found, "pair")
    assert [main[(f,)].these.estimate for f in FACTORS] == pytest.approx([0.3, 0.4, 0, 0])
    shown = {factors: e.these.estimate for factors, e in pair.items() if e.these.low > 0 or e.these.high < 0}
    assert shown == pytest.approx({("prompt", "dose"): 0.1})
    # Of concepts like these eight hardly anything can be said of a pair: it could be anything from -1 to 1 in others.
    assert pair[("prompt", "dose")].like.low < 0 < main[("dose",)].like.high
    ((_, left),) = found.unexplained
    assert left.these.estimate == pytest.approx(0)


def test_what_three_factors_do_together_only_is_unexplained() -> None:
    plan = fraction(("prompt", "dose", "span"))

    def three(run):
        return 0.1 + 0.6 * ({"prompt", "dose", "span"} <= run)

    found = attribute_factorial({run: arm(three(run)) for run in plan.runs}, plan)
    ((_, left),) = found.unexplained
    assert left.these.estimate == pytest.approx(0.6 - 3 * 0.15)
    assert left.these.low > 0


def test_effects_that_a_fraction_cannot_tell_apart_are_one_row_that_names_both() -> None:
    plan = fraction(FACTORS)  # resolution 4 in 8 runs
    found = attribute_factorial(settings(plan.runs), plan)
    pairs = [e for e in found.effects if e.kind == "pair"]
    (mixed,) = [e for e in pairs if e.these.low > 0]
    assert len(plan.runs) == 8
    assert len(pairs) == 3
    assert mixed.name == "prompt × dose = span × judge"
    assert "prompt × dose = span × judge" in plan.sentence
    assert all(not e.aliased for e in found.effects if e.kind == "main")


@pytest.mark.parametrize(("factors", "resolution"), [(3, 3), (4, 4), (5, 4), (5, 5), (6, 4), (7, 4)])
def test_a_fraction_has_the_resolution_and_the_aliases_that_it_states(factors, resolution) -> None:
    names = list("abcdefgh"[:factors])
    plan = fraction(names, resolution)
    levels = np.array([[1.0 if f in run else -1.0 for f in names] for run in plan.runs])
    assert plan.resolution >= resolution
    sums = {
        words: abs(np.prod(levels[:, list(words)], axis=1).sum())
        for size in range(1, plan.resolution)
        for words in combinations(range(factors), size)
    }
    assert max(sums.values()) == 0  # no product of fewer factors is constant
    library = {frozenset(told.split(" = ")) for told in fracfact_aliasing(levels)[0]}
    ours = {frozenset("".join(t) for t in (term, *others)) for term, others in plan.distinct}
    short = {frozenset(t for t in told if len(t) <= 2) for told in library}
    assert ours == {told for told in short if told}


def test_other_concepts_at_the_other_end_are_not_paired_and_concepts_without_trials_are_left_out() -> None:
    others = [f"other{n}" for n in range(6)]
    found = attribute_both_ends({frozenset(): arm(0.2), frozenset(["concepts"]): arm(0.6, others)}, ["concepts"])
    assert found.whole.concepts == 14
    assert found.whole.like.low > -1
    partly = attribute_both_ends({frozenset(): arm(0.2), frozenset(["dose"]): arm(0.6, NAMES[:5])}, ["dose"])
    assert partly.whole.concepts == 5


def test_few_concepts_or_a_setting_without_trials_say_why_there_is_nothing_to_say() -> None:
    few = {s: arm(rate(s), NAMES[:3]) for s in settings(both_ends())}
    found = attribute_both_ends(few, FACTORS)
    assert "3 concepts and it takes 5" in found.table()["needs"].iloc[0]
    nothing = settings(both_ends()) | {frozenset(["dose"]): None}
    table = attribute_both_ends(nothing, FACTORS).table().set_index(["effect", "what"])
    row = table.loc[("dose", "changed alone, the rest as in A")]
    assert np.isnan(row["points"])
    assert row["needs"] == "no trial to count in the setting A with dose of B"
    with pytest.raises(AnalysisError, match="none for A with dose of B"):
        attribute_both_ends({s: a for s, a in nothing.items() if s != frozenset(["dose"])}, FACTORS)


def test_the_table_says_points_with_both_intervals_and_the_sentences_say_the_same() -> None:
    found = attribute_both_ends(settings(both_ends()), FACTORS)
    first = found.table().iloc[0]
    assert first["points"] == pytest.approx(70)
    assert first["low"] < 70 < first["high"]
    assert first["low_like_these"] < 70 < first["high_like_these"]
    assert any("A difference is shown: +70 points" in s for s in found.sentences)


def test_a_rate_above_the_controls_loses_what_they_share_and_nothing_where_they_are_the_same_draws() -> None:
    clean = {"plain": only_controls(2, 40), "asked otherwise": only_controls(30, 40)}
    names = {run: "asked otherwise" if "prompt" in run else "plain" for run in settings(both_ends())}
    beside = {run: (name, clean[name]) for run, name in names.items()}
    found = attribute_both_ends(settings(both_ends()), FACTORS, controls=beside)
    plain = attribute_both_ends(settings(both_ends()), FACTORS)
    first, before = by_name(found, "from A"), by_name(plain, "from A")
    assert first[("dose",)] == before[("dose",)]  # its two settings have the same controls, reply by reply
    assert first[("prompt",)].these.estimate == pytest.approx(0.2 - 0.7)
    assert first[("prompt",)].these.high < 0
    assert found.whole.these.estimate == pytest.approx(0.7 - 0.7)
    missing = beside | {frozenset(["dose"]): ("none", None)}
    lacking = attribute_both_ends(settings(both_ends()), FACTORS, controls=missing)
    assert by_name(lacking, "from A")[("dose",)].lacking == "no control to count in the setting A with dose of B"


def only_controls(k: int, n: int) -> ByConcept:
    return ByConcept([""], ConceptCounts([k], [n]), [0], 0)
