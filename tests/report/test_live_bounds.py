"""What a null excludes over live cells alone: on the page, in its first sentences and in the command's."""

from __future__ import annotations

import attrs
import pytest
from report_samples import make_record

from introspection_bench import Dose, DoseEffect, Effects, Results
from introspection_bench.analysis import ConceptCounts, excludes, liveness, null_bound, records_frame
from introspection_bench.errors import AnalysisError
from introspection_bench.report import write_report
from introspection_bench.report.page.headlines import headlines
from introspection_bench.report.page.sections import null_section
from tests.sample_trials import MODEL


def effect(concept: str, magnitude: float = 0.4, *, live: bool = True) -> DoseEffect:
    """The effect of a dose whose concept gains more than every random vector does, or less."""
    return DoseEffect(
        concept, [19], Dose(magnitude, "residual"), ["v"], "p", 0, [0.5] * 3, [3.0] * 3, [2.0] * 3,
        [1.0 if live else 0.1] * 3, [0.3, 0.2], [0.2, 0.4], model=MODEL,
    )  # fmt: skip


def trials(hits: int = 0) -> list:
    """Three cells: 20 trials of love, 30 of bread and 10 of dust; successes are those of bread."""
    sizes = {"love": 20, "bread": 30, "dust": 10}
    yes = {"affirmative": True, "identifies": True, "immediate": True}
    return [
        make_record(i, concept=name, **(yes if name == "bread" and i < hits else {}))
        for name, n in sizes.items()
        for i in range(n)
    ]


SOME = Effects([effect("love"), effect("bread", live=False)])  # dust was not measured
COUNT = "1 of 3 cells is live, with 20 of 60 scored injected trials (1 with 10 of them were not measured)."


def test_every_bound_comes_a_second_time_over_live_cells_with_how_many_these_are():
    found = excludes(records_frame(trials(hits=3)), effects=SOME)
    assert found.liveness.sentence == COUNT
    assert found.pooled.counts.counts == ConceptCounts([3, 0, 0], [30, 10, 20])
    assert found.live.pooled.counts.counts == ConceptCounts([0], [20])
    first, *apart = found.live_sentences
    assert first == COUNT
    assert apart == [f"Over live cells alone: {s}" for s in found.live.sentences]
    assert any("0 of 20: rates above 16.8 % are excluded" in s for s in apart)
    scopes = found.table()["scope"].tolist()
    assert "live cells: all injected trials" in scopes
    assert found.table()["k"].iloc[scopes.index("live cells: coherent trials")] == 0


@pytest.mark.parametrize(
    ("effects", "said"),
    [
        ([effect("love"), effect("bread"), effect("dust")], "All 3 cells of the 60 scored injected trials are live"),
        ([effect("love", live=False), effect("bread", live=False)], "No cell is live, of 3 with 60"),
        ([], "was not measured, so nothing is stated over live cells alone: sweep.measure_effects()"),
        ([effect("love", 0.8), effect("another")], "was not measured, so nothing"),
    ],
)
def test_where_all_cells_are_live_or_none_or_none_was_measured_that_is_said_and_no_second_bound(effects, said):
    found = excludes(records_frame(trials()), effects=Effects(effects))
    assert found.live is None
    (only,) = found.live_sentences
    assert said in only
    assert not found.table()["scope"].str.startswith("live").any()
    section = null_section(records_frame(trials()), effects=Effects(effects))
    assert not any(s.startswith("Over live cells alone") for s in section.sentences)
    # Each of these sentences is false in the other cases.
    others = {"All 3 cells", "No cell is live", "was not measured, so"} - {o for o in [said] if o in said}
    assert sum(o in only for o in others) == 1


def test_a_bound_over_live_cells_counts_trials_without_a_verdict_as_all_bounds_do():
    lost = [attrs.evolve(r, verdicts=()) for r in trials()[:2]]
    found = excludes(records_frame([*lost, *trials()[2:]]), effects=SOME)
    assert (found.liveness.live_trials, found.live.pooled.counts.missing) == (18, (2,))


def test_the_first_sentences_bound_a_null_over_live_cells_and_say_nothing_of_it_where_there_is_no_null():
    frame = records_frame(trials())
    (said,) = [s for s in headlines(frame, effects=SOME) if s.startswith(COUNT)]
    first, *_ = null_bound(ConceptCounts([0], [20])).sentences
    assert f"Over live cells alone, {first}" in said
    assert not [s for s in headlines(records_frame(trials(hits=1)), effects=SOME) if "live" in s]
    assert [s for s in headlines(frame, effects=Effects()) if "sweep.measure_effects()" in s]


def test_the_page_has_the_bounds_over_live_cells_in_its_box(tmp_path):
    section = null_section(records_frame(trials()), effects=SOME)
    scopes = [row[0] for row in section.tables[0].rows]
    assert scopes.index("live cells: all injected trials") > scopes.index("coherent trials")
    assert "0.2" not in section.sentences[-1]
    assert section.sentences[-1].startswith(
        "Over live cells alone: in the one cell: If the true rate were 20 %, 0 of 20"
    )
    page = write_report(Results("r", trials(), effects=SOME), tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count(COUNT) == 2


def test_counts_of_cells_that_exceed_the_whole_are_refused():
    with pytest.raises(AnalysisError, match="parts"):
        attrs.evolve(liveness(records_frame(trials()), SOME), live_cells=3)
