"""The command line on a tiny real model."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from cli_samples import command, write_sweep

from introspection_bench.__main__ import main as loaded
from introspection_bench.cli import main
from introspection_bench.interop import read_results

GATED = Path(__file__).parent / "gated_command.py"


def test_run_leaves_a_judged_run_with_report_figures_vectors_and_manifest(place):
    run = place / "run"
    assert {"store.sqlite", "manifest.json", "report.html", "figures", "vectors"} <= {p.name for p in run.iterdir()}
    assert "<html" in (run / "report.html").read_text()
    assert {p.suffix for p in (run / "figures").iterdir()} == {".png", ".svg", ".pdf", ".txt"}
    assert len(list((run / "vectors").iterdir())) == 2
    manifest = json.loads((run / "manifest.json").read_text())
    assert [s["stage"] for s in manifest["sessions"]] == ["generate", "judge"]
    assert manifest["sessions"][0]["versions"]["introspection-bench"]


def test_running_again_generates_nothing_and_says_so(place):
    again = command("run", "sweep.toml", cwd=place)
    assert "20 trials planned, 20 recorded" in again.stderr
    assert "0 judged, 0 unscored, 20 kept" in again.stderr


def test_a_plan_says_trials_tokens_time_and_money_loads_no_weights_and_writes_nothing(place, tmp_path, monkeypatch):
    folder = write_sweep(tmp_path)
    for weights in (folder / "model").glob("*.safetensors"):
        weights.unlink()
    before = sorted(folder.rglob("*"))
    words = ("run", "sweep.toml", "design.arms.injected.n=3", "--plan", "--tokens-per-second", "16")
    shown = command(*words, "--dollars-per-hour", "36", cwd=folder).stdout
    assert "18 trials" in shown
    assert re.search(r"injected +6", shown)
    assert f"at most {18 * 8} tokens of replies" in shown
    assert "0.00 hours of generation, 0.09 dollars" in shown
    assert sorted(folder.rglob("*")) == before
    other = command("run", "sweep.toml", "--plan", "--backend", "nnsight", cwd=folder).stdout
    assert "(nnsight, 4 layers)" in " ".join(other.split())
    assert command("run", "sweep.toml", "--plan", "--tokens-per-second", "0", cwd=folder, check=False).returncode == 1


def test_measuring_reads_every_trial_once_and_the_table_of_exports_holds_it(place, tmp_path):
    run = shutil.copytree(place / "run", tmp_path / "run")
    what = '{measure = "continuations", texts = {yes = "Yes", no = "No"}}'
    assert "continuations: 20 measured, 0 there already" in command("measure", "run", what, cwd=tmp_path).stdout
    assert "continuations: 0 measured, 20 there already" in command("measure", "run", what, cwd=tmp_path).stdout
    assert "continuations: 20 of 20 measured" in command("status", "run", cwd=tmp_path).stdout
    assert {len(r.readings) for r in read_results(run)} == {1}
    assert command("measure", "run", "{measure = 3}", cwd=tmp_path, check=False).returncode == 1


def test_status_counts_planned_and_recorded_trials_of_each_cell(place):
    shown = command("status", "run", cwd=place).stdout
    assert "20 of 20 trials" in shown
    assert "rules/strict4/1: 20 of 20 scored" in shown
    assert shown.count("random") == 1


def test_exports_hold_every_trial_and_read_back(place):
    command("export", "run", "--to", "trials.jsonl", cwd=place)
    command("export", "run", "--to", "trials.parquet", "--format", "parquet", cwd=place)
    assert len((place / "trials.jsonl").read_text().splitlines()) == 1 + 20
    assert len(pd.read_parquet(place / "trials.parquet")) == 20
    tables = [
        command("table", f, "--format", "csv", cwd=place).stdout for f in ("run", "trials.jsonl", "trials.parquet")
    ]
    assert tables[0] == tables[1] == tables[2]


@pytest.mark.parametrize(("form", "mark"), [("markdown", "|---|"), ("latex", r"\begin{tabular}"), ("text", "strict")])
def test_a_table_comes_in_the_form_that_is_asked_for(place, form, mark):
    assert mark in command("table", "run", "--by", "arm", "--format", form, cwd=place).stdout


def test_excludes_says_how_little_a_run_excludes_over_concepts_and_how_the_cell_was_chosen(place):
    shown = command("excludes", "run", "--outcome", "identifies", cwd=place).stdout
    assert "All injected trials, " in shown
    assert "95 % two-sided" in shown
    lines = command("excludes", "run", "--confidence", "0.9", "--format", "csv", cwd=place).stdout.splitlines()
    assert lines[0].startswith("scope,outcome,k,n,concepts,rate,low,high,high_like_these,")
    assert {line.split(",")[1] for line in lines[1:]} == {"strict"}
    table = command("excludes", "run", "--format", "markdown", cwd=place)
    assert "|---|" in table.stdout
    for said in (shown, table.stderr):
        assert "was not measured, so nothing is stated over live cells alone: sweep.measure_effects()" in " ".join(
            said.split()
        )


def test_comparing_a_run_with_itself_finds_no_difference(place):
    shown = command("compare", "run", "run", cwd=place).stdout
    assert "0 differences in how they were made" in shown
    assert "What differs in the specification" not in shown
    assert "No difference shown, up to" in shown
    assert "quivalent" not in shown  # nobody gave a margin


def test_compare_shows_the_cells_that_differ_and_with_all_every_cell_and_writes_them_as_a_page(place, tmp_path):
    shown = command("compare", "run", "run", "--out", tmp_path / "compare.html", cwd=place).stdout
    assert "injected" in shown
    assert "Oceans · " not in shown
    assert "Oceans · " in command("compare", "run", "run", "--all", cwd=place).stdout
    assert "All rates that were compared are equal." in (tmp_path / "compare.html").read_text()
    refused = command("compare", "run", "run", "--by", "model", "--all", cwd=place, check=False)
    assert "--all and --out beside it" in refused.stderr


def test_comparing_with_a_margin_says_whether_two_runs_are_the_same_within_it(place):
    shown = command("compare", "run", "run", "--margin", "0.99", "--confidence", "0.9", cwd=place).stdout
    assert "Equivalent within 99 points" in shown
    assert "(90 % " in shown
    failed = command("compare", "run", "run", "--margin", "2", cwd=place, check=False)
    assert "margin" in failed.stderr


def test_power_answers_with_the_exact_numbers():
    assert "11 trials per cell" in command("power", "--rate", "0.2", "--power", "0.9", cwd=Path.cwd()).stdout


def test_power_over_concepts_says_both_estimands_and_what_equivalence_takes():
    words = ("power", "--rate", "0.2", "--concepts", "6", "--trials", "20", "--icc", "0.1", "--margin", "0.3")
    shown = command(*words, cwd=Path.cwd()).stdout
    assert "No success on 6 concepts of 20 trials each" in shown
    assert "45.9 % however they vary" in shown
    assert "may stop at any moment" in shown
    assert "the same within 30 points" in shown


def test_a_table_says_what_its_intervals_are_about_and_that_no_cell_is_adjusted(place):
    said = command("table", "run", cwd=place).stderr
    assert "for these concepts" in said
    assert "no interval is adjusted for choosing among them" in said


def test_an_imported_export_can_be_judged_and_reported_like_a_run(place):
    command("export", "run", "--to", "other.jsonl", cwd=place)
    command("import", "other.jsonl", "--to", "imported", "--concepts", "concepts.toml", cwd=place)
    assert "20 there already" in command("judge", "imported", cwd=place).stdout
    command("report", "imported", cwd=place)
    assert (place / "imported" / "report.html").is_file()


def test_importing_without_the_concepts_that_judges_need_is_an_error(place):
    command("export", "run", "--to", "third.jsonl", cwd=place)
    failed = command("import", "third.jsonl", "--to", "nowhere", "--concepts", "pairs", cwd=place, check=False)
    assert failed.returncode == 1
    assert "Oceans" in failed.stderr
    assert not (place / "nowhere").exists()


def test_labels_made_in_the_terminal_measure_a_judge(place):
    answers = "\n".join(["n", "n", "n", "y", "n"] * 20 + ["q"])
    command("label", "run", "--labeller", "ada", "--n", "5", cwd=place, stdin=answers)
    labels = [json.loads(line) for line in (place / "run" / "labels.jsonl").read_text().splitlines()]
    assert 1 <= len(labels) <= 5
    checked = command("judge-check", "rules", "--against", "run/labels.jsonl", cwd=place)
    assert "agreement" in checked.stdout


def test_backends_say_what_is_there_and_what_to_install(place):
    shown = command("backends", cwd=place).stdout
    assert "torch" in shown
    assert "rules" in shown


def test_concepts_lists_the_sets_and_their_concepts(place):
    assert "lindsey2026" in command("concepts", cwd=place).stdout
    assert "Dirigibles" in command("concepts", "lindsey2026", cwd=place).stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "missing.toml"), "missing.toml"),
        (("status", "nowhere"), "Run the sweep first"),
        (("judge", "run", "--judge", "nobody"), "one of"),
        (("export", "run", "--to", "x", "--format", "xml"), "--format"),
        (("table", "run", "--by", "colour"), "colour"),
        (("table", "run", "--format", "pdf"), "format: required one of"),
        (("excludes", "run", "--outcome", "colour"), "colour"),
        (("excludes", "run", "--format", "pdf"), "format: required one of"),
        (("concepts", "nothing"), "lindsey2026"),
        (("check", "torch", "--model", "demo", "--expect-failure", "x"), "CHECK=REASON"),
        (("check", "torch", "--model", "demo", "--option", "device=cpu"), "Text stands in quotes"),
        (("judge-check", "rules", "--against", "sweep.toml"), "Name it with --run"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do_and_exit_code_1(place, words, told):
    failed = command(*words, cwd=place, check=False)
    assert failed.returncode == 1
    assert told in failed.stderr
    assert "Traceback" not in failed.stderr


def test_every_command_shows_an_example_in_its_help():
    root = command("--help", cwd=Path.cwd()).stdout
    names = ["demo", "run", "status", "judge", "judge-check", "label", "report", "export", "import", "table"]
    for name in [*names, "excludes", "explain", "compare", "power", "check", "backends", "concepts"]:
        assert name in root
        assert f"introspection-bench {name}" in command(name, "--help", cwd=Path.cwd()).stdout


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_finished_and_exits_130(tmp_path):
    folder = write_sweep(tmp_path)
    process = subprocess.Popen(
        [sys.executable, GATED, "5", "run", "sweep.toml"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout.readline() == "recorded\n", process.stderr.read()
            process.send_signal(signal.SIGINT)
            _, told = process.communicate()
        finally:
            process.kill()
    assert process.returncode == 130, told
    assert "goes on from there" in told
    finished = command("run", "sweep.toml", cwd=folder)
    assert "20 trials planned, 5 recorded" in finished.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_name_that_the_terminal_s_encoding_lacks_is_printed_as_an_escape(place, tmp_path, monkeypatch, encoding):
    run = tmp_path / "Schn\u00e9e \u6d77"
    run.symlink_to(place / "run")
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "argv", ["introspection-bench", "status", str(run)])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    with pytest.raises(SystemExit) as ended:
        main()
    sys.stdout.flush()
    assert ended.value.code == 0
    assert r"\u6d77" in raw.getvalue().decode(encoding)


def test_ctrl_c_while_the_command_is_loaded_ends_it_with_130_and_no_traceback(monkeypatch, capsys):
    class Interrupted:
        def find_spec(self, name, *_):
            if name == "introspection_bench.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "introspection_bench.cli")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        loaded()
    assert ended.value.code == 130
    assert capsys.readouterr() == ("", "")
