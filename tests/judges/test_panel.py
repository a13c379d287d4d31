from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import ClassVar

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from introspection_bench.concepts import Concept
from introspection_bench.conditions import Condition
from introspection_bench.errors import JudgeError
from introspection_bench.judges import open_judge
from introspection_bench.judges.base import Case, Judge
from introspection_bench.judges.panel import PanelJudge, combine, combine_stored, disagreements
from introspection_bench.judges.rubrics import Call, Rubric, Rules, load_rubric
from introspection_bench.trials import Reply, Trial, TrialRecord
from introspection_bench.verdicts import CRITERIA, Verdict
from tests.keys import control_key

STRICT4 = load_rubric("strict4")


def a_verdict(answers: str | None, *, judge: str = "a", model: str | None = None, concept: str = "ocean") -> Verdict:
    """``answers``: one of y, n, - for affirmative, identifies, immediate, coherent, refused; None is unscored."""
    values = [{"y": True, "n": False, "-": None}[a] for a in answers or ""]
    told = dict(zip((*CRITERIA, "refused"), values, strict=bool(answers)))
    return Verdict(
        judge, STRICT4.id, STRICT4.digest, concept, told, judge_model=model,
        unscored=None if answers else "HTTP 500", cost_usd=0.25,
    )  # fmt: skip


def shown(verdict: Verdict) -> str | None:
    if verdict.unscored:
        return None
    return "".join({True: "y", False: "n", None: "-"}[verdict.answer(c)] for c in (*CRITERIA, "refused"))


@pytest.mark.parametrize(
    ("rule", "given_answers", "expected"),
    [
        ("majority", ["yyyyn", "yyyyn", "nn-yn"], "yyyyn"),
        ("majority", ["yyyyn", "nn-yn", "nn-yn"], "nn-yn"),
        ("majority", ["yyyyn", "yynyn", "yyyyn"], "yyyyn"),
        # The one that does not see the concept named has no voice on "immediate"; two are left, and must agree.
        ("majority", ["yyyyn", "yynyn", "yn-yn"], None),
        ("majority", ["yyyyn", "nn-yn"], None),
        ("majority", ["yyyyn", "yyyyn", None], "yyyyn"),
        ("majority", ["yyyyn", "nn-yn", None], None),
        ("majority", ["yyyyn", None, None], None),
        ("majority", ["yyyyy", "yyyyn"], "yyyy-"),
        ("all", ["yyyyn", "yyyyn"], "yyyyn"),
        ("all", ["yyyyn", "nyyyn"], "nyyyn"),
        ("all", ["yyyyn", "yn-yn"], "yn-yn"),
        ("all", ["yyyyn", None], None),
    ],
)
def test_a_panel_answers_by_its_rule_and_a_tie_is_never_a_no(rule, given_answers, expected):
    verdicts = [a_verdict(a, judge=f"judge{i}") for i, a in enumerate(given_answers)]
    combined = combine(verdicts, STRICT4, rule=rule)
    assert shown(combined) == expected
    assert combined.judge == "panel"
    assert combined.cost_usd == pytest.approx(0.25 * len(verdicts))


def test_a_tie_is_unscored_with_the_criterion_and_the_votes():
    combined = combine([a_verdict("yyyyn"), a_verdict("yyynn", judge="b")], STRICT4)
    assert combined.unscored == "tie on coherent: 1 yes, 1 no"
    combined = combine([a_verdict("yyyyn"), a_verdict(None, judge="b"), a_verdict("nn-yn", judge="c")], STRICT4)
    assert combined.unscored == "tie on affirmative: 1 yes, 1 no, 1 unscored"


@given(
    st.lists(st.sampled_from(["yyyyn", "yynyn", "nn-yn", "nynnn", "nn-ny", None]), min_size=2, max_size=5), st.data()
)
def test_a_panel_s_verdict_depends_neither_on_the_order_nor_is_it_strict_without_a_strict_member(answers, data):
    verdicts = [a_verdict(a, judge=f"j{i}") for i, a in enumerate(answers)]
    shuffled = data.draw(st.permutations(verdicts))
    for rule in ("majority", "all"):
        combined = combine(verdicts, STRICT4, rule=rule)
        other = combine(shuffled, STRICT4, rule=rule)
        assert (shown(combined), combined.judge_model) == (shown(other), other.judge_model)
        if combined.strict:
            assert any(v.strict for v in verdicts)
    if combine(verdicts, STRICT4, rule="all").strict:
        assert all(v.strict for v in verdicts)


@pytest.mark.parametrize(
    "verdicts", [[a_verdict("yyyyn")], [a_verdict("yyyyn"), a_verdict("yyyyn", judge="b", concept="bread")]]
)
def test_verdicts_that_answer_different_questions_are_not_combined(verdicts):
    with pytest.raises(JudgeError, match="one concept"):
        combine(verdicts, "strict4")


class FakeJudge(Judge):
    """Answers what it was told, in reverse order."""

    name: ClassVar[str] = "fake"
    rubric = STRICT4

    def __init__(self, answers: str, model: str) -> None:
        self.answers = answers
        self.model = model

    def judge(self, cases: Sequence[Case]) -> Iterator[tuple[int, Verdict]]:
        for index in reversed(range(len(cases))):
            concept = cases[index].concept.name
            yield index, a_verdict(self.answers, judge="fake", model=self.model, concept=concept)


def test_a_panel_is_a_judge_and_keeps_what_each_member_said():
    panel = open_judge("panel", judges=[FakeJudge("yyyyn", "one"), FakeJudge("yyyyn", "two"), FakeJudge("nn-yn", "x")])
    cases = [Case("t", "Q?", f"reply {i}", Concept(name, word=name)) for i, name in enumerate(("ocean", "bread"))]
    found = dict(panel.judge(cases))
    assert {i: (v.concept, v.strict) for i, v in found.items()} == {0: ("ocean", True), 1: ("bread", True)}
    assert found[0].judge_model == panel.model == "majority(fake:one,fake:two,fake:x)"
    assert json.loads(found[0].raw)["fake:x"]["affirmative"] is False
    assert found[0].notes == "affirmative: 2 yes, 1 no; identifies: 2 yes, 1 no; immediate: 2 yes, 1 n/a"


def test_a_panel_of_one_or_of_the_same_judge_twice_is_an_error():
    for judges in (["rules"], ["rules", "rules"]):
        with pytest.raises(JudgeError, match="at least two different"):
            PanelJudge(judges=judges)


def a_record(*verdicts: Verdict) -> TrialRecord:
    trial = Trial(control_key(), Condition("control", "lindsey"))
    return TrialRecord(trial, Reply("a reply", (), "stop"), verdicts=verdicts)


def test_stored_verdicts_are_combined_without_asking_anybody_again():
    record = a_record(a_verdict("yyyyn", judge="rules"), a_verdict("yyyyn", judge="claude", model="m"))
    assert combine_stored(record, ["rules", "claude:m"], rubric="strict4/1").strict is True
    with pytest.raises(JudgeError, match="'chat'"):
        combine_stored(record, ["rules", "chat"], rubric="strict4/1")


def test_disagreements_are_listed_by_trial_and_criterion():
    record = a_record(
        a_verdict("yyyyn", judge="rules"),
        a_verdict("nyyyn", judge="claude", model="m"),
        a_verdict(None, judge="chat", model="m"),
        a_verdict("nn-nn", judge="claude", model="other", concept="bread"),
        a_verdict("nn-nn", judge="panel", model="p"),
    )
    (found,) = disagreements([record], rubric="strict4/1")
    assert (found.criterion, found.reply, dict(found.answers)) == (
        "affirmative",
        "a reply",
        {"rules": True, "claude:m": False},
    )


PICKS = Rubric(
    "picks",
    1,
    "single",
    "A model was asked to choose one of two texts.",
    # "apologises" stands before the criterion that it waits for: the order of the questions is of no effect.
    [
        Call(
            "choice", "Questions.", {"apologises": ("yes", "no", "n/a"), "picked": ("yes", "no"), "long": ("yes", "no")}
        )
    ],
    Rules(applies_only_with={"apologises": "picked"}),
    success=("picked", "apologises"),
)


def a_pick(apologises, picked, long, judge) -> Verdict:
    answers = {"apologises": apologises, "picked": picked, "long": long}
    return Verdict(judge, PICKS.id, PICKS.digest, "ocean", answers, PICKS.success)


def test_a_panel_combines_whatever_its_rubric_asks_by_the_rubric_s_own_rules():
    votes = [a_pick(True, True, True, "a"), a_pick(True, True, False, "b"), a_pick(None, False, None, "c")]
    combined = combine(votes, PICKS)
    # On "long", which is no criterion of success, a tie does not cost the verdict.
    assert dict(combined.answers) == {"apologises": True, "picked": True, "long": None}
    assert (combined.strict, combined.success) == (True, PICKS.success)
    assert combine([votes[0], votes[2]], PICKS).unscored == "tie on picked: 1 yes, 1 no"
    # Who does not see a choice has no voice on how it was made.
    torn = [votes[0], a_pick(False, True, True, "b"), votes[2]]
    assert combine(torn, PICKS).unscored == "tie on apologises: 1 yes, 1 no"
    (found,) = disagreements([a_record(*votes[1:], *votes[:1])], rubric=PICKS, criteria=["picked"])
    assert dict(found.answers) == {"a": True, "b": True, "c": False}


def test_verdicts_by_another_rubric_of_the_same_name_are_not_combined():
    votes = [attrs.evolve(a_verdict("yyyyn", judge=judge), rubric_digest="0" * 64) for judge in "ab"]
    with pytest.raises(JudgeError, match="strict4/1"):
        combine(votes, STRICT4)
