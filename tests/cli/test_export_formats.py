"""The formats of `export` that are folders, or no files of ours."""

from __future__ import annotations

import attrs
import pandas as pd
from cli_samples import command
from huggingface_hub import DatasetCard

from introspection_bench.interop import read_results, write_jsonl


def test_export_to_hub_takes_the_run_s_trials_vectors_and_tables(place, tmp_path):
    folder = tmp_path / "hub"
    told = command("export", "run", "--to", "hub", folder, "--license", "cc-by-4.0", cwd=place)
    run = read_results(place / "run")
    assert f"{len(run)} trials" in told.stdout + told.stderr
    assert read_results(folder / "data" / "trials.parquet").records == run.records
    names = {path.name for path in (place / "run" / "vectors").iterdir()}
    assert names
    assert {path.name for path in (folder / "vectors").iterdir()} == names
    assert {path.suffix for path in (folder / "tables").iterdir()} == {".csv", ".md", ".tex"}
    card = DatasetCard.load(folder / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert f"Judge: {run.judges[0]}" in card.text


def test_export_to_hub_asks_for_a_licence_and_a_folder_and_files_take_neither(place, tmp_path):
    for words in (["hub", tmp_path / "a"], ["hub", "--license", "mit"], ["a.csv", "--license", "mit"], ["a.csv", "b"]):
        done = command("export", "run", "--to", *words, cwd=place, check=False)
        assert done.returncode == 1
        assert "--license cc-by-4.0" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_export_to_csv_has_a_row_for_each_trial_and_verdict(place, tmp_path):
    command("export", "run", "--to", tmp_path / "run.csv", cwd=place)
    run = read_results(place / "run")
    assert len(pd.read_csv(tmp_path / "run.csv")) == sum(max(len(record.verdicts), 1) for record in run)


def test_exports_compare_as_the_runs_that_they_are_of_design_included(place, tmp_path):
    run = read_results(place / "run")
    design = {**run.spec["design"], "doses": ["0.7 residual"]}
    other = attrs.evolve(run, name="other", spec={**run.spec, "design": design}, records=run.records[::2])
    write_jsonl(other, tmp_path / "other")
    of_run = command("compare", place / "run", tmp_path / "other", "--all", cwd=tmp_path).stdout
    assert "design.doses[0]: 0.5 residual → 0.7 residual" in of_run
    for ending in ("jsonl", "parquet", "csv"):
        command("export", place / "run", "--to", f"run.{ending}", cwd=tmp_path)
        command("export", "other", "--to", f"other.{ending}", cwd=tmp_path)
        assert command("compare", f"run.{ending}", f"other.{ending}", "--all", cwd=tmp_path).stdout == of_run, ending
