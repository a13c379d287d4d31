"""What docs/judges.md tells a reader to type works as it stands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from introspection_bench.judges import load_rubric, open_judge
from introspection_bench.judges.gate import control_report

PAGE = (Path(__file__).parents[2] / "docs" / "judges.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_first_example_judges_its_reply_as_a_success(capsys):
    exec(blocks("python")[0], {})  # noqa: S102  # the page's own code is what is tested
    assert capsys.readouterr().out == "0 True None\n"


def test_the_example_rubrics_load(tmp_path):
    for text, name in (
        (blocks("markdown")[0], "lenient.md"),
        (blocks("toml")[1], "mine.toml"),
        (blocks("toml")[2], "apology.toml"),
    ):
        path = tmp_path / name
        path.write_text(text)
        assert load_rubric(path).id == f"{path.stem}/1"


def test_the_example_options_open_a_judge(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    judge = tomllib.loads(blocks("toml")[0])["judge"]
    assert open_judge(judge["name"], **judge["options"]).model == "gpt-something-new"


def test_the_example_judge_is_one_and_fails_the_control_replies_as_the_page_says():
    space: dict = {}
    exec(blocks("python")[-1], space)  # noqa: S102  # the page's own code is what is tested
    assert not control_report(space["KeywordJudge"]()).passed
