"""What docs/judges.md tells a reader to type works as it stands."""

from __future__ import annotations

import re
from pathlib import Path

from introspection_bench.judges import load_rubric
from introspection_bench.judges.check import control_report

PAGE = (Path(__file__).parents[2] / "docs" / "judges.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_first_example_judges_its_reply_as_a_success(capsys):
    exec(blocks("python")[0], {})  # noqa: S102  # the page's own code is what is tested
    assert capsys.readouterr().out == "0 True None\n"


def test_the_example_rubrics_load(tmp_path):
    for language, name in (("markdown", "lenient.md"), ("toml", "mine.toml")):
        path = tmp_path / name
        path.write_text(blocks(language)[0])
        assert load_rubric(path).id == f"{path.stem}/1"


def test_the_example_judge_is_one_and_fails_the_control_replies_as_the_page_says():
    space: dict = {}
    exec(blocks("python")[-1], space)  # noqa: S102  # the page's own code is what is tested
    assert not control_report(space["KeywordJudge"]()).passed
