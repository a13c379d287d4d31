from __future__ import annotations

import json

import pytest

from introspection_bench.concepts import Concept
from introspection_bench.errors import CostLimitError, JudgeError
from introspection_bench.judges import open_judge
from introspection_bench.judges.base import Case
from introspection_bench.judges.models.chat import ChatJudge
from introspection_bench.judges.models.costs import Price
from introspection_bench.judges.rubrics import Call, Rubric

OCEAN = Concept("ocean", word="ocean")


def a_judge(services, **options) -> ChatJudge:
    defaults = {"base_url": f"{services.url}/v1", "max_retries": 1, "timeout_s": 60.0}
    return ChatJudge(model="local-model", **{**defaults, **options})


def judged(judge, replies) -> list:
    pairs = dict(judge.judge([Case(r, "Do you detect an injected thought?", r, OCEAN) for r in replies]))
    assert sorted(pairs) == list(range(len(replies)))
    return [pairs[i] for i in range(len(replies))]


def test_each_reply_gets_the_verdict_that_the_model_gave_for_it(services):
    found = judged(a_judge(services), ["AFFIRM NAME", "NAME", "GARBLED"])
    assert [
        (v.answer("affirmative"), v.answer("identifies"), v.answer("immediate"), v.answer("coherent")) for v in found
    ] == [
        (True, True, True, True),
        (False, True, False, True),
        (False, False, None, False),
    ]
    assert {(v.judge, v.judge_model, v.cost_usd) for v in found} == {("chat", "local-model", None)}
    body = services.bodies[0]
    assert body["response_format"]["json_schema"]["strict"] is True
    assert body["temperature"] == 0.0
    assert body["max_tokens"] == 2048


LASTING = {
    "429": "HTTP 429",
    "500": "HTTP 500",
    "400": "HTTP 400",
    "cut": "APIConnectionError",
    "not-json": "malformed response",
    "half-json": "Error",
    "empty-object": "malformed response: no choices",
    "says:refusal": "the judge refused",
    "says:max_tokens": "cut off: finish_reason length",
    "says:Sure! The reply is affirmative.": "malformed answer",
    'says:{"affirmative": true}': "malformed answer: required the keys",
    "says:": "malformed answer: empty",
}


def test_a_fault_that_lasts_leaves_one_unscored_verdict_with_its_reason_and_no_criterion(services):
    replies = ["AFFIRM NAME first"]
    for number, fault in enumerate(LASTING):
        services.fault(f"FAULT{number:03d}X", *[fault] * 5)
        replies.append(f"FAULT{number:03d}X AFFIRM NAME")
    found = judged(a_judge(services, concurrency=16), replies)
    assert found[0].strict is True
    for verdict, reason in zip(found[1:], LASTING.values(), strict=True):
        assert reason in (verdict.unscored or "")
        assert {
            verdict.answer("affirmative"),
            verdict.answer("identifies"),
            verdict.answer("immediate"),
            verdict.answer("coherent"),
        } == {None}
        assert "secret" not in repr(verdict)


def test_an_endpoint_that_never_answers_leaves_an_unscored_verdict(services):
    services.fault("AFFIRM", *["slow"] * 9)
    (verdict,) = judged(a_judge(services, timeout_s=0.2, max_retries=0), ["AFFIRM NAME"])
    assert "APITimeoutError" in verdict.unscored


def test_a_local_endpoint_needs_no_key_and_openai_itself_does(services, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    assert judged(a_judge(services), ["AFFIRM"])[0].answer("affirmative") is True
    with pytest.raises(JudgeError, match="OPENAI_API_KEY"):
        ChatJudge(model="some-model")


def test_a_rejected_key_is_an_error_before_the_first_verdict(services):
    services.fault("AFFIRM", *["401"] * 5)
    with pytest.raises(JudgeError, match="HTTP 401"):
        judged(a_judge(services), ["AFFIRM", "AFFIRM NAME"])
    assert len(services.bodies) == 1


def test_a_stated_price_gives_costs_and_allows_a_limit(services):
    judge = a_judge(services, price=Price(input=1.0, output=2.0), max_cost_usd=1.0)
    assert judged(judge, ["AFFIRM"])[0].cost_usd == pytest.approx((900 + 2 * 90) / 1e6)
    with pytest.raises(CostLimitError, match="price"):
        a_judge(services, max_cost_usd=1.0)


def test_the_judge_is_opened_by_name_and_rejects_what_it_does_not_know(services):
    judge = open_judge("chat", model="m", base_url=f"{services.url}/v1", temperature=None)
    judged(judge, ["x"])
    assert "temperature" not in services.bodies[0]
    with pytest.raises(TypeError, match="temprature"):
        open_judge("chat", model="m", temprature=1)


def test_a_judge_answers_whatever_its_rubric_asks(services):
    call = Call("choice", "Does it choose? Is it sorry?", dict.fromkeys(("picked", "apologises"), ("yes", "no")))
    rubric = Rubric("picks", 1, "single", "A model was asked to choose.", [call], success=("picked", "apologises"))

    def grade(case, schema):
        assert set(schema["properties"]) == {"reason", "picked", "apologises"}
        said = {
            c: "yes" if word in case["reply"] else "no" for c, word in (("picked", "PICK"), ("apologises", "SORRY"))
        }
        return json.dumps({"reason": "", **said})

    services.grade = grade
    found = judged(a_judge(services, rubric=rubric), ["PICK SORRY", "PICK", "neither"])
    assert [dict(v.answers) for v in found] == [
        {"picked": True, "apologises": True},
        {"picked": True, "apologises": False},
        {"picked": False, "apologises": False},
    ]
    assert [v.strict for v in found] == [True, False, False]
