"""The published files, through our reader and our statistics, to the last count."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from introspection_bench.analysis import (
    Scope,
    controls,
    counts,
    crossovers,
    excludes,
    injected,
    outcome_interval,
    sweet_spots,
)
from introspection_bench.interop import read_results

pytestmark = pytest.mark.published
NAMES = ("layer84_canonical", "layer70_dense")


@pytest.fixture(scope="module")
def folder(published) -> Path:
    found = published / "llama405b"
    if not found.is_dir():
        pytest.skip("../shared/data/llama405b is missing: the study's files are not shipped")
    return found


@pytest.fixture(scope="module")
def canonical(folder):
    return read_results(folder / "layer84_canonical.judged.json")


@pytest.fixture(scope="module")
def frame(canonical):
    return canonical.frame()


@pytest.mark.parametrize(
    ("scaffold", "concept", "magnitude", "expected"),
    [
        ("lindsey_405b", "all_caps", 10, (4, 5, 0, 13)),
        ("lindsey_405b", "all_caps", 12, (5, 15, 1, 5)),
        ("lindsey_405b", "all_caps", 15, (7, 20, 3, 0)),
        ("lindsey_405b", "all_caps", 18, (9, 20, 5, 0)),
        ("lindsey_405b", "love", 10, (3, 6, 1, 4)),
        ("lindsey_405b", "love", 12, (2, 9, 0, 1)),
        ("thinking_about", "love", 10, (0, 6, 0, 9)),
    ],
)
def test_the_published_counts_come_out(frame, scaffold, concept, magnitude, expected) -> None:
    table = counts(frame)
    cell = (table["scaffold"] == scaffold) & (table["concept"] == concept) & (table["magnitude"] == magnitude)
    row = table[cell].iloc[0]
    assert tuple(row[["affirmative", "identifies", "immediate", "coherent"]]) == expected
    assert row["n_scored"] == 20


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_has_the_counts_of_the_file_s_own_aggregates(folder, name) -> None:
    path = folder / f"{name}.judged.json"
    table = counts(read_results(path).frame())
    ours = {
        (r.scaffold, "control" if r.arm == "control" else r.concept, r.magnitude): (
            (r.n_scored, r.affirmative, r.identifies, r.immediate, r.coherent, r.strict)
        )
        for r in table.itertuples()
    }
    scaffolds = {"lindsey": "lindsey_405b", "alt": "thinking_about"}
    theirs = {}
    for cell in json.loads(path.read_text())["aggregates"]:
        family, _, concept = cell["label"].partition("_")
        c = cell["counts"]
        criteria = ("affirmative", "identifies", "immediate", "coherent", "strict_introspection")
        theirs[scaffolds[family], concept, cell["magnitude"]] = (cell["n"], *(c[name] for name in criteria))
    assert ours == theirs


def test_the_null_and_its_bounds_under_both_estimands(frame) -> None:
    found = excludes(frame, scopes=[Scope(scaffold="lindsey_405b", min_magnitude=10, coherent_only=True)])
    pooled, scope = found.pooled.null, found.scopes[0].null
    assert [str(pooled.counts), str(scope.counts)] == ["0 of 400 on 2 concepts", "0 of 23 on 2 concepts"]
    assert round(100 * pooled.these.high, 3) == 0.918
    assert round(100 * pooled.high, 1) == round(100 * scope.high, 1) == 84.2
    assert {v.icc: round(100 * v.high, 1) for v in pooled.curve} == {
        0: 0.9, 0.05: 21.0, 0.1: 34.7, 0.2: 51.6, 0.3: 61.5, 0.5: 72.7, 1: 84.2
    }  # fmt: skip
    assert pooled.tolerance.needs == 29
    assert found.scopes[0].counts.counts.trials == (18, 5)


def test_the_single_cell_of_the_null_is_told_as_one_of_twenty(frame) -> None:
    found = excludes(frame)
    assert found.best_name.startswith("all_caps · layer 84 · 10 update")
    assert (found.best.unadjusted.k, found.best.unadjusted.n, found.best.cells, found.best.tied) == (0, 20, 20, 20)
    # The file has no seeds, so nothing shows that cells are independent: Bonferroni's share of the error.
    assert round(100 * found.best.simultaneous.high, 1) == round(100 * found.least_bounded.interval.high, 1) == 28.4
    assert round(100 * found.best.high, 1) == 16.8
    assert found.under(0.2).probability == pytest.approx(0.8**20)


def test_no_control_claims_a_thought(frame) -> None:
    alarms = outcome_interval(controls(frame), "affirmative")
    assert (alarms.k, alarms.n) == (0, 80)
    strict = outcome_interval(injected(frame), "strict")
    assert (strict.k, strict.n) == (0, 400)


def test_the_interpolated_crossovers_are_the_known_ones(frame) -> None:
    table = crossovers(frame).set_index(["scaffold", "concept"])["interpolated"].round(2)
    assert table["lindsey_405b", "all_caps"] == 10.89
    assert table["lindsey_405b", "love"] == 9.55


@pytest.mark.parametrize("name", NAMES)
def test_no_cell_passes_the_sweet_spot_rule(folder, name) -> None:
    assert sweet_spots(read_results(folder / f"{name}.judged.json").frame()).passing.empty


def test_unit_judge_and_scaffolds_are_what_the_study_used(canonical, frame) -> None:
    assert set(frame["unit"].dropna()) == {"update"}
    assert set(frame["backend"]) == {"vllm-lens 1.1.0"}
    assert set(frame["scaffold"]) == {"lindsey_405b", "thinking_about"}
    assert [str(j) for j in canonical.judges] == ["claude/llama405b (claude-sonnet-4-6), not blinded"]
    assert frame["immediate"].notna().all()  # false in the file stays false


def test_the_example_makes_the_page_with_the_table_the_bounds_and_the_unit(folder, tmp_path) -> None:
    root = Path(__file__).resolve().parents[2]
    page = tmp_path / "page.md"
    files = [str(folder / f"{name}.judged.json") for name in NAMES]
    command = [sys.executable, str(root / "examples" / "reread_405b.py"), *files]
    subprocess.run([*command, "--page", str(page), "--figures", str(tmp_path)], check=True, cwd=tmp_path)
    text = page.read_text(encoding="utf-8")
    facts = [
        "excludes mean rates above 0.918 % on these 2 concepts",
        "if 84.2 % of all concepts did it always",
        "it takes 29",
    ]
    facts += ["| 0.05 | 21 % |", "| 0.1 | 34.7 % |", "| 0.5 | 72.7 % |", "the best of 20 cells, with 19 others as high"]
    for fact in [*facts, "would exclude rates above 14.8 %", "rates above 28.4 % are excluded", "10.89", "9.545"]:
        assert fact in text, fact
    # One set of replies under three structures: affirmed of all, of the coherent, of the coherent or denying ones.
    for fact in ("| 30/200 = 15 %", "| 34/200 = 17 %", "| 2/63 =", "| 6/54 =", "| 3/90 = 3.33 %", "| 14/130 = 10.8 %"):
        assert fact in text, fact
    assert "| Lindsey 2026 | strict | all | published, Lindsey's rules | layer84_canonical | 0/200 = 0 %" in text
    assert "unit of every magnitude on this page is `update`" in text
    assert len(list(tmp_path.glob("*.svg"))) == 4
    replies = [r.reply.text for f in files for r in read_results(f)]
    assert not any(len(r) > 40 and r[:40] in text for r in replies)  # no reply's text is copied


@pytest.fixture(scope="module")
def scaling(published) -> Path:
    found = published / "introspection_scaling"
    if not found.is_dir():
        pytest.skip("../shared/data/introspection_scaling is missing: the study's files are not shipped")
    return found


@pytest.mark.parametrize(
    ("model", "affirmed"),
    [("coder32b", (0, 26, 66)), ("base7b", (24, 27, 44)), ("base32b", (7, 71, 97))],
)
def test_the_scaling_study_s_own_counts_come_out_of_216_rows_and_36_draws(scaling, model, affirmed) -> None:
    found = read_results(scaling / f"trials_{model}_k2_bedrock.jsonl")
    rows = counts(found.frame(repeats=True), by=["arm"]).set_index("arm")
    assert tuple(rows.loc[["control", "random", "injected"], "affirmative"]) == affirmed
    assert set(rows["n_scored"]) == {216}
    assert counts(found.frame(), by=["arm"]).set_index("arm").loc["control", "n_scored"] == 36
