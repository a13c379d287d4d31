"""The page on control arms says what works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from introspection_bench.items import load_battery
from introspection_bench.sweep import Questions, RunSpec
from introspection_bench.sweep.arms import ARMS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "explaining_arms.md").read_text()
BLOCKS = re.findall(r"```(python|toml)\n(.*?)```", PAGE, re.DOTALL)


def blocks(language: str, word: str) -> str:
    (found,) = [text for kind, text in BLOCKS if kind == language and word in text]
    return found


def test_its_arms_can_be_made_and_have_the_names_that_it_tells():
    names: dict[str, Any] = {}
    exec(blocks("python", "controls"), names)  # noqa: S102  # our own page
    told = " ".join(re.findall(r"^\| `\w+` \| (.*?) \|", PAGE, re.MULTILINE))
    for arm in names["controls"]:
        assert arm.name in told or arm.name.endswith("questions_clean")


def test_its_files_are_read(tmp_path):
    text = f'directory = "r"\n[model]\nname = "m"\n{blocks("toml", "wordings")}'
    text += f'concepts = "pairs"\nlayers = [1]\ndoses = ["1 raw"]\n{blocks("toml", "clean_questions")}'
    (tmp_path / "s.toml").write_text(text)
    (tmp_path / "mine.toml").write_text(blocks("toml", "basalt"))
    design = RunSpec.from_toml(tmp_path / "s.toml").design
    assert [arm.name for arm in design.arms] == [
        "mention", "no_questions", "no_questions_clean", "random", "random_covariance", "random_impact",
        "projected_out", "projected_out@25",
    ]  # fmt: skip
    assert len(design.items) == 8
    assert Questions(1, battery=str(tmp_path / "mine.toml")).battery.name == "my_questions"


@pytest.mark.parametrize("name", ["questions", "mentions", "paragraphs", "labels", "wordings"])
def test_each_battery_has_the_slots_that_its_table_tells(name):
    (told,) = re.findall(rf"^\| `{name}` \| .*? \| (.*?) \|$", PAGE, re.MULTILINE)
    slots = set(re.findall(r"`(\w+)`", told)) - {"yes", "no"}
    assert {frozenset(i.slots) for i in load_battery(name).items} == {frozenset(slots)}
    assert {"questions", "mention", "edited_input", "third_person", "neutral_labels"} <= set(ARMS)
