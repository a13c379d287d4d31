"""A run beside one of a model whose truth is known."""

from __future__ import annotations

import html

import pytest

from introspection_bench.errors import AnalysisError
from introspection_bench.report import write_report
from introspection_bench.results import Results
from tests.report.report_samples import make_record

YES = {"affirmative": True, "identifies": True, "immediate": True, "coherent": True}


def own(magnitude: float = 0.4) -> Results:
    records = [make_record(n, magnitude=dose) for dose in (magnitude, 0.8) for n in range(6)]
    return Results("a run", [*records, *(make_record(n, arm="control", concept=None) for n in range(5))])


def known(verdicts: tuple[()] | None = None, **changes: object) -> Results:
    common = {"model": "m+introspector", "verdicts": verdicts}
    records = [make_record(n, **common, **YES, **changes) for n in range(4)]
    clean = [make_record(n, arm="control", concept=None, **common) for n in range(3)]
    return Results("known", [*records, *clean])


def test_a_report_shows_what_the_same_chain_finds_on_a_model_of_known_truth_at_the_doses_that_both_have(tmp_path):
    page = html.unescape(write_report(own(), tmp_path / "r.html", beside=known()).read_text())
    assert "Would we have seen it?" in page
    section = page.split('id="h-known"')[1].split("<h2")[0]
    assert "4/4" in section  # strict, of the known model
    assert "0/6" in section  # of the run's own twelve, those at the dose of the other
    assert "0/12" not in section
    assert "0/5" in section
    assert "m+introspector is known" in section


def test_a_report_without_one_has_no_such_section(tmp_path):
    assert 'id="h-known"' not in write_report(own(), tmp_path / "r.html").read_text()


def test_runs_that_share_no_dose_or_have_no_verdicts_are_not_shown_beside_each_other(tmp_path):
    with pytest.raises(AnalysisError, match="a layer and dose that both runs have"):
        write_report(own(), tmp_path / "r.html", beside=known(magnitude=0.5))
    with pytest.raises(AnalysisError, match="without a verdict"):
        write_report(own(), tmp_path / "r.html", beside=known(verdicts=()))
    assert not (tmp_path / "r.html").exists()
