"""One door for every format: which reader takes what, plugins, and our own store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from introspection_bench.concepts import Concept, ConceptSet
from introspection_bench.conditions import Condition
from introspection_bench.errors import PluginError, ResultsFormatError, StoreError, UnknownNameError
from introspection_bench.interop import read_results
from introspection_bench.measures import Reading
from introspection_bench.results import Results
from introspection_bench.sweep import import_results
from introspection_bench.trials import Reply, Trial, TrialRecord
from introspection_bench.verdicts import Verdict
from tests.keys import control_key


@pytest.mark.parametrize(
    ("name", "content"),
    [("notes.txt", b"hello"), ("run.csv", b"a,b\n1,2\n"), ("list.json", b"[1]"), ("empty.bin", b"")],
)
def test_a_file_of_no_known_format_is_an_error_that_lists_the_formats(tmp_path, name, content) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ResultsFormatError, match="llama405b"):
        read_results(tmp_path / name)


def test_a_missing_path_and_a_folder_without_a_store_are_errors_that_name_them(tmp_path) -> None:
    with pytest.raises(ResultsFormatError, match="nowhere"):
        read_results(tmp_path / "nowhere.jsonl")
    with pytest.raises(ResultsFormatError, match=r"store\.sqlite"):
        read_results(tmp_path)


def test_an_unknown_format_name_is_an_error_with_the_names_there_are(tmp_path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(UnknownNameError, match="jsonl"):
        read_results(tmp_path / "x", format="excel")


def test_a_named_format_is_used_whatever_the_file_is_called(write, study) -> None:
    path = write(study, "results.bak")
    with pytest.raises(ResultsFormatError):
        read_results(path)
    assert len(read_results(path, format="llama405b")) == 4


def test_something_else_under_the_store_s_name_is_an_error(tmp_path) -> None:
    (tmp_path / "store.sqlite").write_bytes(b"SQLite format 3\0 and then rubbish" * 100)
    with pytest.raises(StoreError):
        read_results(tmp_path)


@pytest.mark.parametrize("name", ["", "store.sqlite"])
def test_a_run_is_read_by_its_folder_and_by_its_store(tmp_path, name) -> None:
    trial = Trial(control_key(), Condition("control", "lindsey", asked="Love", model="m"))
    answers = {"affirmative": False, "identifies": False, "coherent": True}
    record = TrialRecord(
        trial,
        Reply("No.", (1, 2), "stop"),
        verdicts=[Verdict("rules", "strict4", "d", "Love", answers)],
        readings=[Reading("yes", "d", {"set": ("yes",)}, [-1], "m", "torch", 1, "float32")],
        source="somewhere",
    )
    run = tmp_path / "my run"
    import_results(
        [Results("some", [record], {"whose": "ours"})], run, ConceptSet("own", [Concept("Love", word="Love")])
    ).close()
    results = read_results(run / name)
    assert results.records == (record,)
    assert (results.name, results.spec["imported"][0]["whose"]) == ("my run", "ours")


def test_a_file_is_read_without_loading_sweeps_or_torch(write, study) -> None:
    code = (
        "import sys; from introspection_bench.interop import read_results; read_results(sys.argv[1]);"
        "print([m for m in ('torch', 'introspection_bench.sweep') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(write(study))]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"


PLUGIN = """
from introspection_bench.results import Results

class Reader:
    def claims(self, path, head):
        return head.startswith(b"TALLY")

    def read(self, path):
        return Results("from the plugin", [], {}, str(path))

NOT_A_READER = 3
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution with one reader into a folder of its own, as pip would."""

    def installed(name: str, target: str) -> None:
        site = tmp_path / "site"
        info = site / "tally_reader-1.0.dist-info"
        info.mkdir(parents=True)
        (site / "tally_reader.py").write_text(PLUGIN)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tally-reader\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[introspection_bench.readers]\n{name} = tally_reader:{target}\n")
        monkeypatch.syspath_prepend(site)

    return installed


@pytest.fixture
def tally(tmp_path) -> Path:
    path = tmp_path / "x.tally"
    path.write_text("TALLY 1")
    return path


def test_an_installed_plugin_reads_what_no_built_in_reader_claims(install, tally) -> None:
    install("tally", "Reader")
    assert read_results(tally).name == "from the plugin"
    assert read_results(tally, format="tally").name == "from the plugin"


def test_a_plugin_may_not_take_a_built_in_s_name(install, tally) -> None:
    install("jsonl", "Reader")
    with pytest.raises(PluginError, match="tally-reader"):
        read_results(tally)


def test_a_plugin_that_is_no_reader_is_an_error_that_names_it(install, tally) -> None:
    install("tally", "NOT_A_READER")
    with pytest.raises(PluginError, match="tally"):
        read_results(tally)
