"""The commands study and compare --by on two tiny models."""

from __future__ import annotations

import pytest
from cli_samples import command

from introspection_bench.testing import save_tiny_model

STUDY = """
directory = "made"
[[models]]
name = "llama"
facts = {family = "Llamas", tuning = "base"}
[[models]]
name = "gpt2"
facts = {family = "GPTs", tuning = "base"}
[design]
arms = [{arm = "unsteered", n = 2}]
concepts = "pairs"
[design.sampling]
max_new_tokens = 4
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("study")
    for name in ("llama", "gpt2"):
        save_tiny_model(name, made / name)
    # Names of models count from where the command runs, and a dot makes them paths.
    (made / "study.toml").write_text(STUDY.replace('name = "', 'name = "./'))
    planned = command("study", "study.toml", "--plan", cwd=made)
    assert " ".join(planned.stdout.split()).count("2 trials on ./") == 2
    assert not (made / "made").exists()
    command("study", "study.toml", "--no-judge", cwd=made)
    return made


def test_a_study_is_told_before_it_is_run_and_reports_each_model_in_a_folder_of_its_own(folder) -> None:
    made = sorted(p.name.partition("-")[0] for p in (folder / "made").iterdir())
    assert made == ["gpt2", "llama"]
    assert len(list((folder / "made").glob("*/report.html"))) == 2


def test_compare_by_a_factor_says_what_cannot_be_told_apart_and_refuses_what_it_would_ignore(folder) -> None:
    shown = command("compare", "study.toml", "--by", "family", cwd=folder).stdout
    assert "Llamas and GPTs differ also in size: what of a difference is due to the family can't be said." in shown
    assert "can't be said: no cell of both has a verdict" in " ".join(shown.split())
    for words, says in (
        (["--by", "family", "--on", "arm"], "none of --on, --all and --out beside it"),
        ([], "two runs"),
    ):
        failed = command("compare", "study.toml", *words, cwd=folder, check=False)
        assert failed.returncode == 1
        assert says in " ".join(failed.stderr.split())
