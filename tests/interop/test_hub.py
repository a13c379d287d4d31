"""The folder for the Hugging Face hub, read back by pyarrow and by the hub's own card class."""

from __future__ import annotations

import os
import subprocess
import sys

import attrs
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard

from introspection_bench import ConceptVector, Results, read_results
from introspection_bench.errors import OutputError, SpecError
from introspection_bench.interop import write_hub
from tests.odd_values import made_vector, make_records

NASTY = "a|b\n<script>alert(1)</script> [x](javascript:y) \ud800 --- \x1b[2J"


@pytest.fixture
def results() -> Results:
    return Results("my run", make_records(), {"seed": 3}, notes=["what was unknown"])


def test_trials_vectors_and_design_come_back_from_the_folder(tmp_path, results):
    vectors = [made_vector(1), -made_vector(1), made_vector(2)]
    folder = write_hub(results, tmp_path / "hub", license="cc-by-4.0", vectors=vectors, tables={"rates.csv": "a\n1\n"})
    found = read_results(folder / "data" / "trials.parquet")
    assert (found.records, dict(found.spec), found.name) == (results.records, {"seed": 3}, "my run")
    assert pq.read_table(folder / "data" / "trials.parquet").num_rows == len(results)
    kept = [ConceptVector.load(path) for path in (folder / "vectors").iterdir()]
    assert sorted(kept, key=lambda v: v.digest) == sorted(vectors, key=lambda v: v.digest)
    assert (folder / "tables" / "rates.csv").read_text() == "a\n1\n"
    assert "@software{introspection_bench," in (folder / "citation.bib").read_text()


def test_the_hub_s_own_class_reads_the_card_with_its_licence_and_the_trials_place(tmp_path, results):
    folder = write_hub(results, tmp_path / "hub", license="cc-by-4.0", tables={"rates.md": "| a |\n|---|\n| 1 |"})
    card = DatasetCard.load(folder / "README.md")
    assert card.data.license == "cc-by-4.0"
    (config,) = card.data.configs
    assert (folder / config["data_files"]).is_file()
    assert "| 1 |" in card.text
    assert "what was unknown" in card.text


def test_names_and_tables_of_others_are_text_in_the_card_and_no_markup(tmp_path, results):
    nasty = attrs.evolve(results, name=NASTY, notes=[NASTY])
    folder = write_hub(nasty, tmp_path / "hub", license="other", tables={"rates.md": NASTY})
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "<script" not in DatasetCard(text).text
    assert "\x1b" not in DatasetCard(text).text.split("## rates.md")[0]
    assert "[x](" not in text.split("## rates.md")[0].split("---\n")[2]


@pytest.mark.parametrize("licence", ["", "CC BY 4.0", "mit\ntags: [x]", "a" * 61])
def test_what_is_no_licence_identifier_is_refused_and_nothing_is_written(tmp_path, results, licence):
    with pytest.raises(SpecError, match="license"):
        write_hub(results, tmp_path / "hub", license=licence)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../rates.csv", "rates.html", "a/b.csv", ".csv"])
def test_a_table_s_name_leads_nowhere_else(tmp_path, results, name):
    with pytest.raises(SpecError, match="tables"):
        write_hub(results, tmp_path / "hub", license="mit", tables={name: ""})


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, results):
    (tmp_path / "notes.txt").write_text("private")
    with pytest.raises(OutputError, match="empty folder"):
        write_hub(results, tmp_path, license="mit")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_real_datasets_reads_the_folder(tmp_path, results):
    pytest.importorskip("datasets", reason="not installed: pip install datasets")
    folder = write_hub(results, tmp_path / "hub", license="cc-by-4.0", vectors=[made_vector()])
    code = (
        "import sys; from datasets import load_dataset; d = load_dataset(sys.argv[1], 'trials', split='train');"
        "print(d.num_rows, sum(x is True for x in d['affirmative']))"
    )
    private = {**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run([sys.executable, "-c", code, folder], env=private, capture_output=True, text=True, check=False)
    affirmative = sum(record.verdicts[0].answers["affirmative"] is True for record in results)
    assert run.stdout.split() == [str(len(results)), str(affirmative)], run.stderr
