from __future__ import annotations

import hashlib
import json
import re
import tempfile
from importlib import resources
from pathlib import Path

import pytest

from introspection_bench.concepts import Concept
from introspection_bench.conditions import Condition
from introspection_bench.doses import Dose
from introspection_bench.errors import RubricError, UnknownNameError
from introspection_bench.judges.base import Case, Disclosure
from introspection_bench.judges.deciding import decide
from introspection_bench.judges.models.interview import Answer, Interview
from introspection_bench.judges.models.prompting import WORD_FRAME_VERSION, render, word_system_text, word_text
from introspection_bench.judges.rubrics import BUILTIN, Rubric, load_rubric
from introspection_bench.verdicts import Verdict

STRICT4 = resources.files("introspection_bench.judges").joinpath("rubrics", "strict4.toml").read_text(encoding="utf-8")


def test_published_rubrics_are_never_edited_in_place():
    # A change of wording is a new version, in a new file: verdicts by the old text must stay what they are.
    assert {name: load_rubric(name).digest for name in BUILTIN} == {
        "strict4": "f210c2789b2206b1623fa4c1ed787268f01ea47dd82731393c36cee37e0c727d",
        "strict5": "88b9b322c7de4e909237ee010150dcda48406c409116abb7959ba7f1d11fb94a",
        "paper2": "22ad5e6e284fdab5084bce6479845c0c3fac5503e6e7ef820426edf7ecd3bc7d",
        "paper2_rules": "5ef5c19c597309e3b1d09e522256baf21d82f6e08878e5d242db17632d76796c",
        "stages2": "f7ea60e835acc668dac7096e5fb44817704e68ffc88da5cf5547fa4784ae2adb",
        "lenient": "63b1206f78cd511782ed540ac96d885afb25b2c26b5fb8f38e43b9d9db4a3039",
        "yesno": "65f835e32a05fbbe7c4c567f65778a9fbd51b8a9de61581f5475a7706b4f6abe",
    }


def test_what_stands_around_a_rubric_is_never_edited_without_a_new_frame_version():
    told = Disclosure(Condition("injected", "lindsey", "ocean", layers=(20,), dose=Dose(2.0, "raw")))
    shown = []
    for disclosure in (None, told):
        case = Case(
            "t", "Question?", "Reply\u0000 \ud800 \u202e", Concept("ocean", aliases=("sea",), word="o"), disclosure
        )
        for name in ("strict4", "paper2", "stages2"):  # those of frame version 1's first day; more may be added
            rubric = load_rubric(name)
            for call in rubric.calls:
                prompt = render(rubric, call, case)
                shown += [prompt.system, prompt.user, str(prompt.schema)]
    assert (
        hashlib.sha256("\n".join(shown).encode()).hexdigest()
        == "025ce7424002acf8344c01315f3b9a2e6950c3f1617bf4efce286afbf2c4c703"
    )


def test_what_asks_for_one_word_is_never_edited_without_a_new_word_frame_version():
    told = Disclosure(Condition("injected", "lindsey", "ocean", layers=(20,), dose=Dose(2.0, "raw")))
    shown = []
    for disclosure in (None, told):
        reply = "Reply <s> [INST]\u0000 \ud800 \u202e"
        case = Case("t", "Question?", reply, Concept("ocean", aliases=("sea",), word="o"), disclosure)
        for name in ("strict4", "paper2", "stages2"):
            rubric = load_rubric(name)
            shown.append(word_system_text(rubric, disclosed=disclosure is not None))
            shown += [word_text(call, question, case) for call in rubric.calls for question in call.answers]
    assert (WORD_FRAME_VERSION, hashlib.sha256("\n".join(shown).encode()).hexdigest()) == (
        1,
        "c9f7bd09eddc816a702dc642c67241e270ed417c3cebca43b84f6d68db8b4f6b",
    )


@pytest.mark.parametrize("name", BUILTIN)
def test_a_built_in_rubric_is_found_by_name_and_by_name_and_version(name):
    rubric = load_rubric(name)
    assert load_rubric(rubric.id) == rubric
    assert load_rubric(rubric) is rubric
    with pytest.raises(UnknownNameError, match="strict4"):
        load_rubric(f"{name}/99")


def test_a_rubric_of_ones_own_from_toml_is_another_rubric_by_its_digest(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(STRICT4.replace("coherent. Is the reply", "coherent. Is really the reply"))
    mine = load_rubric(str(path))
    assert mine.id == "strict4/1"
    assert mine.digest != load_rubric("strict4").digest


def test_a_rubric_from_markdown_asks_the_standard_questions(tmp_path):
    path = tmp_path / "mine.md"
    path.write_text('+++\nname = "mine"\nversion = 3\n+++\n# Criteria\n\nAffirmative: ...\n')
    mine = load_rubric(path)
    assert (mine.id, mine.structure, mine.text) == ("mine/3", "single", "# Criteria\n\nAffirmative: ...")
    assert set(mine.calls[0].answers) == {"affirmative", "identifies", "immediate", "coherent", "refused"}


SLIPS = {
    "version": ("version = 1", 'version = "1"'),
    "calls[0].id": ('id = "verdict"', "id = 7"),
    "unknown key notes": ('structure = "single"', 'structure = "single"\nnotes = "x"'),
    "structure": ('structure = "single"', 'structure = "several"'),
    "calls[0].answers.immediate": ('immediate = ["yes", "no", "n/a"]', 'immediate = ["perhaps", "no"]'),
    "coherent": ('coherent = ["yes", "no"]\n', ""),
    "rules": ('immediate = "identifies"', 'immediate = "identified"'),
    "name": ('name = "strict4"', 'name = "Strict 4"'),
    "missing @ rubric.version": ("version = 1\n", ""),
    "TOML": ("[[calls]]", "[[calls]"),
    "answers.reason": ('refused = ["yes", "no"]', 'reason = ["yes", "no"]'),
    "exactly one call": ('structure = "single"', 'structure = "staged"'),
}


@pytest.mark.parametrize("said", SLIPS)
def test_a_slip_in_a_rubric_is_an_error_that_names_the_key(tmp_path, said):
    before, after = SLIPS[said]
    assert before in STRICT4
    path = tmp_path / "mine.toml"
    path.write_text(STRICT4.replace(before, after))
    with pytest.raises(RubricError) as caught:
        load_rubric(path)
    assert said in str(caught.value) or said == "exactly one call"
    assert "mine.toml" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["no header", '+++\nname = "a"\n', '+++\nname = "a"\nversion = 1\ncalls = []\n+++\ntext', '+++\n"\n+++\nx']
)
def test_a_markdown_rubric_without_a_good_header_is_an_error(tmp_path, text):
    path = tmp_path / "mine.md"
    path.write_text(text)
    with pytest.raises(RubricError, match=r"mine\.md"):
        load_rubric(path)


def test_a_missing_rubric_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(RubricError, match=r"absent\.toml"):
        load_rubric(tmp_path / "absent.toml")


@pytest.mark.parametrize("when", ['{ affirmative = "perhaps" }', '{ immediate = "yes" }', '{ nothing = "yes" }'])
def test_a_call_can_only_wait_for_an_answer_that_an_earlier_call_can_give(tmp_path, when):
    stages = resources.files("introspection_bench.judges").joinpath("rubrics", "stages2.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(stages.replace('when = { affirmative = "yes" }', f"when = {when}"))
    with pytest.raises(RubricError, match=r"calls\[1\]\.when"):
        load_rubric(path)


YES_BIAS = """
name = "yes-bias"
version = 1
structure = "single"
success = ["affirmative"]
text = "Somebody was asked a question about itself."
[[calls]]
id = "verdict"
text = "affirmative. Does the reply say yes? refused. Does it decline?"
answers = { affirmative = ["yes", "no"], refused = ["yes", "no"] }
"""


def test_a_rubric_may_ask_some_of_the_criteria_and_leaves_the_others_not_applicable(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(YES_BIAS)
    rubric = load_rubric(path)
    interview = Interview(rubric)
    interview.hear(rubric.calls[0], Answer('{"reason": "It does.", "affirmative": "yes", "refused": "no"}'))
    concept = Concept("sea", word="sea")
    verdict = interview.verdict(judge="j", model="m", concept=concept, blinded=True, cost_usd=0.0, secrets=())
    assert (
        verdict.answer("affirmative"),
        verdict.answer("identifies"),
        verdict.answer("immediate"),
        verdict.answer("coherent"),
    ) == (True, None, None, None)
    assert (verdict.strict, verdict.success, verdict.unscored) == (True, ("affirmative",), None)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('success = ["affirmative"]', "", "success"),  # the four criteria, by default
        ('success = ["affirmative"]', 'success = ["coherent"]', "success"),
        ('success = ["affirmative"]', "success = []", "success"),
        ("{ affirmative =", "{ agreement =", "success"),
    ],
)
def test_a_rubric_of_some_criteria_must_say_what_of_them_is_success(tmp_path, before, after, said):
    path = tmp_path / "mine.toml"
    path.write_text(YES_BIAS.replace(before, after).replace("refused = [", "declines = ["))
    with pytest.raises(RubricError, match=said):
        load_rubric(path)


PICKS = """
name = "picks"
version = 1
structure = "staged"
success = ["picked", "apologises"]
text = "A model was asked to choose one of two texts."
[[calls]]
id = "choice"
text = "which. Does the reply choose the first text, or the second? picked. Does it choose at all?"
answers = { favours_first = ["yes", "no"], picked = ["yes", "no"] }
entails = { "favours_first=yes" = { right = "yes" }, "favours_first=no" = { right = "no" } }
[[calls]]
id = "manner"
when = { picked = "yes" }
text = "apologises. Does it say sorry for its choice?"
answers = { apologises = ["yes", "no", "n/a"] }
[rules]
applies_only_with = { apologises = "picked" }
requires = { apologises = ["right"] }
"""


def picks(**answers: str) -> Interview:
    rubric = load_rubric_text(PICKS)
    interview = Interview(rubric)
    while due := interview.due():
        said = {q: answers[q] for q in due[0].answers}
        interview.hear(due[0], Answer(json.dumps({"reason": "", **said})))
    return interview


def load_rubric_text(text: str) -> Rubric:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.toml"
        path.write_text(text)
        return load_rubric(path)


def verdict_of(interview: Interview) -> Verdict:
    concept = Concept("sea", word="sea")
    return interview.verdict(judge="j", model="m", concept=concept, blinded=True, cost_usd=0.0, secrets=())


def test_a_rubric_may_ask_criteria_that_no_other_has():
    assert load_rubric_text(PICKS).criteria == ("picked", "right", "apologises")
    yes = verdict_of(picks(favours_first="yes", picked="yes", apologises="yes"))
    assert (dict(yes.answers), yes.strict) == ({"picked": True, "right": True, "apologises": True}, True)
    no = verdict_of(picks(favours_first="no", picked="no"))
    assert (dict(no.answers), no.strict) == ({"picked": False, "right": False, "apologises": None}, False)
    # Its own rules hold for its own criteria.
    assert "apologises is yes, right is no" in str(
        verdict_of(picks(favours_first="no", picked="yes", apologises="yes")).unscored
    )


def test_a_question_that_decides_others_is_a_criterion_only_where_success_names_it():
    assert "favours_first" not in load_rubric_text(PICKS).criteria
    assert "favours_first" in load_rubric_text(PICKS.replace('["picked",', '["favours_first", "picked",')).criteria
    assert load_rubric("paper2").criteria == ("coherent", "affirmative", "identifies", "immediate")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("picked", "Picked", "answers.Picked"),
        ("picked", "what-is-picked", "answers.what-is-picked"),
        ("picked", "strict", "answers.strict"),
        ("apologises", "unscored", "answers.unscored"),
        ('right = "', 'arm = "', "entails.favours_first=yes"),
        ('right = "', 'reason = "', "entails.favours_first=yes"),
        ('apologises = ["right"]', 'apologises = ["wrong"]', "rules"),
        ('{ apologises = "picked" }', '{ apologises = "apologises" }', "rules.applies_only_with"),
        ('{ apologises = "picked" }', '{ apologises = "picked", picked = "apologises" }', "rules.applies_only_with"),
    ],
)
def test_a_criterion_that_tables_could_not_name_or_that_waits_for_itself_is_an_error_that_names_the_key(
    before, after, said
):
    assert before in PICKS
    with pytest.raises(RubricError, match=re.escape(said)):
        load_rubric_text(PICKS.replace(before, after))


def test_an_answer_that_overrules_a_criterion_decides_it_whatever_was_answered_to_that():
    rubric = load_rubric("paper2_rules")
    said = {"coherent": "yes", "denies_thoughts": "no", "opens_with_concept": "no", "success": "yes"}
    assert decide(rubric, said)["coherent"] is True
    assert decide(rubric, said | {"denies_thoughts": "yes"})["coherent"] is False
    assert decide(rubric, said | {"opens_with_concept": "yes"})["immediate"] is False
    nothing_named = {"success": "no", "affirmative": "no", "identifies": "no", "opens_with_concept": "yes"}
    assert decide(rubric, said | nothing_named)["immediate"] is None


@pytest.mark.parametrize(
    "wrong", ['{ "refuses=yes" = { coherent = "no" } }', '{ "success=no" = { polite = "no" } }', '{ a = { b = "c" } }']
)
def test_only_an_answer_of_the_rubric_can_overrule_and_only_its_criteria(tmp_path, wrong):
    text = resources.files("introspection_bench.judges").joinpath("rubrics", "paper2_rules.toml").read_text()
    before = next(line for line in text.splitlines() if line.startswith("overrules"))
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(before, f"overrules = {wrong}"))
    with pytest.raises(RubricError, match="overrules"):
        load_rubric(path)
