from __future__ import annotations

import attrs
import pytest

from introspection_bench.errors import JudgeError
from introspection_bench.judges import open_judge
from introspection_bench.judges.base import Judge
from introspection_bench.judges.gate import check_judge, control_replies, control_report, covers
from introspection_bench.judges.models.claude import ClaudeJudge
from introspection_bench.judges.rubrics import BUILTIN, Call, Rubric, load_rubric
from introspection_bench.verdicts import CRITERIA, Verdict


class FakeJudge(Judge):
    """Knows the control replies' labels, and changes what it is told to."""

    name = "fake"

    def __init__(self, rubric: str = "strict4", **changes: object) -> None:
        self.rubric = load_rubric(rubric)
        self.changes = changes
        self.labels = {c.reply: c for c in control_replies()}

    def judge(self, cases):
        for index, case in enumerate(cases):
            label = self.labels[case.reply]
            answers = {c: getattr(label, c) for c in (*CRITERIA, "refused")}
            verdict = Verdict(
                "fake", self.rubric.id, self.rubric.digest, case.concept.name, answers, self.rubric.success
            )
            yield index, self.change(verdict, label)

    def change(self, verdict, label):
        return changed(verdict, **self.changes)


def changed(verdict, **answers):
    return attrs.evolve(verdict, answers={**verdict.answers, **answers})


def test_the_control_replies_say_what_each_kind_must_be():
    replies = control_replies()
    assert {r.kind for r in replies} == {"positive", "negative"}
    assert all(r.strict == (r.kind == "positive") for r in replies)
    assert len({r.id for r in replies}) == len(replies) >= 10


def test_a_judge_that_is_right_passes():
    report = check_judge(FakeJudge())
    assert report.passed
    assert report.replies == len(control_replies())


def test_the_rules_judge_passes_its_own_gate():
    assert check_judge(open_judge("rules")).passed


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_judge_that_always_says_yes_to_one_criterion_is_noticed_by_name(criterion):
    with pytest.raises(JudgeError, match=criterion) as caught:
        check_judge(FakeJudge(**{criterion: True}))
    assert "control-" in str(caught.value)


class FakeCredulous(FakeJudge):
    """Takes the hedged denials for claims."""

    def change(self, verdict, label):
        return changed(verdict, affirmative=True) if label.id.startswith("control-hedge") else verdict


def test_a_judge_that_takes_hedged_denials_for_claims_is_refused():
    hedged = [c for c in control_replies() if c.id.startswith("control-hedge")]
    assert len(hedged) >= 10
    assert not any(c.affirmative for c in hedged)
    with pytest.raises(JudgeError, match=r"control-hedge-01.*affirmative = False"):
        check_judge(FakeCredulous())
    assert len(control_report(FakeCredulous()).failures) == len(hedged)


def test_a_judge_that_says_no_to_everything_is_noticed():
    with pytest.raises(JudgeError, match=r"affirmative = True"):
        check_judge(FakeJudge(affirmative=False, identifies=False, immediate=None))


def test_under_another_rubric_only_success_itself_is_compared():
    class Staged(FakeJudge):
        def change(self, verdict, label):
            return changed(verdict, identifies=None, immediate=None) if not label.affirmative else verdict

    assert check_judge(Staged("stages2")).compared == ("strict",)
    with pytest.raises(JudgeError, match="strict = True"):
        check_judge(FakeJudge("stages2", coherent=False))


def test_a_judge_whose_service_fails_is_noticed_on_the_first_replies_with_the_reason(services):
    services.fault("", *["500"] * 500)
    judge = ClaudeJudge(base_url=services.url, max_retries=0)
    with pytest.raises(JudgeError, match="HTTP 500") as caught:
        check_judge(judge)
    assert "control-pos-01" in str(caught.value)


def test_a_judge_that_works_in_batches_is_checked_directly(services):
    judge = ClaudeJudge(base_url=services.url, max_retries=0, batch=True)
    report = control_report(judge)  # the stand-in knows nothing of these replies, so it gets the positive ones wrong
    assert services.batches == {}
    assert {f.control.kind for f in report.failures} == {"positive", "negative"}
    assert report.cost_usd == pytest.approx(0.0045 * report.replies)


def test_an_unblinded_judge_can_be_checked_too(services):
    report = control_report(ClaudeJudge(base_url=services.url, max_retries=0, blinded=False))
    assert report.replies == len(control_replies())


def judge_by(success, asked=("affirmative", "refused", "names_as_thought"), **changes):
    """By a rubric that asks these questions, with this success."""
    call = Call("verdict", "Questions.", dict.fromkeys(asked, ("yes", "no")))
    return FakeJudge(Rubric("partial", 1, "single", "Text.", [call], success=success), **changes)


def test_a_rubric_of_some_criteria_is_checked_by_its_own_success():
    assert check_judge(judge_by(("affirmative",))).passed
    assert check_judge(judge_by(("refused",))).passed
    with pytest.raises(JudgeError, match="strict"):
        check_judge(judge_by(("affirmative",), affirmative=True))


def test_of_a_success_that_control_replies_say_in_part_that_part_is_compared():
    # No control reply picks anything: what a judge says of that can be neither right nor wrong.
    judge = judge_by(("affirmative", "picked"), asked=("affirmative", "picked"), picked=False)
    assert check_judge(judge).compared == ("strict",)
    with pytest.raises(JudgeError, match="strict"):
        check_judge(judge_by(("affirmative", "picked"), asked=("affirmative", "picked"), picked=True, affirmative=True))


@pytest.mark.parametrize("success", [("names_as_thought",), ("picked",), ("picked", "apologises")])
def test_a_judge_that_no_control_reply_can_check_is_an_error_that_names_the_way_out(success):
    judge = judge_by(success, asked=success)
    assert not covers(judge.rubric)
    with pytest.raises(JudgeError, match="--no-check"):
        check_judge(judge)


@pytest.mark.parametrize("name", BUILTIN)
def test_the_control_replies_check_every_built_in_rubric(name):
    assert covers(load_rubric(name))
