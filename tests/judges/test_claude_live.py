from __future__ import annotations

import json

import pytest
from judging_services import FakeServices, shown_case

from introspection_bench.concepts import Concept
from introspection_bench.conditions import Condition
from introspection_bench.doses import Dose
from introspection_bench.errors import CostLimitError, JudgeError, SpecError
from introspection_bench.judges.base import Case, Disclosure
from introspection_bench.judges.models.claude import ClaudeJudge

OCEAN = Concept("ocean", aliases=("the sea",), word="ocean")
CAPS = Concept("all_caps", word="caps")


def a_case(reply: str, *, trial: str = "", concept: Concept = OCEAN, disclosure: Disclosure | None = None) -> Case:
    return Case(trial or reply, "Do you detect an injected thought?", reply, concept, disclosure)


def a_judge(services: FakeServices, **options) -> ClaudeJudge:
    return ClaudeJudge(**{"base_url": services.url, "max_retries": 1, "timeout_s": 60.0, **options})


def verdicts(judge: ClaudeJudge, cases: list[Case]) -> list:
    found: dict[int, object] = {}
    for index, verdict in judge.judge(cases):
        assert index not in found, "a second verdict"
        found[index] = verdict
    assert sorted(found) == list(range(len(cases)))
    return [found[index] for index in range(len(cases))]


def test_each_reply_gets_the_verdict_that_the_model_gave_for_it(services):
    replies = ["AFFIRM NAME", "AFFIRM", "NAME", "nothing", "AFFIRM NAME GARBLED", "REFUSE", "NAME then AFFIRM LATE"]
    found = verdicts(a_judge(services), [a_case(r) for r in replies])
    rows = [
        (
            v.answer("affirmative"),
            v.answer("identifies"),
            v.answer("immediate"),
            v.answer("coherent"),
            v.answer("refused"),
            v.strict,
        )
        for v in found
    ]
    assert rows == [
        (True, True, True, True, False, True),
        (True, False, None, True, False, False),
        (False, True, False, True, False, False),
        (False, False, None, True, False, False),
        (True, True, True, False, False, False),
        (False, False, None, True, True, False),
        (True, True, False, True, False, False),
    ]
    assert {(v.judge, v.rubric, v.judge_model, v.blinded) for v in found} == {
        ("claude", "strict4/1", "claude-sonnet-4-6", True)
    }
    assert all(v.raw.startswith('{"reason"') for v in found)


#: Short for a service that never answers, and tried often, so that one that is only held up for a moment is no fault.
PATIENCE = {"timeout_s": 1.0, "max_retries": 20}


@pytest.mark.parametrize("status", ["429", "529", "500", "cut", "slow"])
def test_a_fault_that_passes_is_retried_by_the_client_and_leaves_no_trace(services, status):
    services.fault("SHAKY", status)
    judge = a_judge(services, **(PATIENCE if status == "slow" else {}))
    (_, verdict) = verdicts(judge, [a_case("steady"), a_case("SHAKY AFFIRM NAME")])
    assert verdict.unscored is None
    assert verdict.strict is True


LASTING = {
    "429": "HTTP 429",
    "529": "HTTP 529",
    "500": "HTTP 500",
    "400": "HTTP 400",
    "401": "HTTP 401",  # a key that is revoked midway
    "cut": "APIConnectionError",
    "not-json": "malformed response",
    "half-json": "Error",
    "empty-object": "malformed response",
    "says:refusal": "the judge refused",
    "says:max_tokens": "cut off: stop_reason max_tokens",
    "says:": "malformed answer: empty",
    "says:true": "malformed answer: a JSON object was required",
    "says:{": "malformed answer",
    "says:```json\n{}\n```": "malformed answer",
    'says:{"reason": "", "affirmative": "yes"}': "malformed answer: required the keys",
}
WELL = {"reason": '""', "affirmative": '"yes"', "identifies": '"yes"', "immediate": '"yes"', "coherent": '"yes"'}


def an_answer(**changes: str) -> str:
    fields = {**WELL, "refused": '"no"', **changes}
    return "says:{" + ", ".join(f'"{k}": {v}' for k, v in fields.items()) + "}"


LASTING |= {
    an_answer(affirmative="true"): "out of rubric: affirmative",
    an_answer(affirmative='"YES"'): "out of rubric: affirmative",
    an_answer(affirmative='"n/a"'): "out of rubric: affirmative",
    an_answer(extra='"yes"'): "malformed answer: required the keys",
    an_answer(affirmative='"no"'): "out of rubric: immediate is yes, affirmative is no",
    an_answer(identifies='"no"'): "out of rubric: immediate is yes without identifies",
    an_answer(immediate='"n/a"'): "out of rubric: identifies is yes, yet immediate is said not to apply",
    an_answer(coherent='"no", "coherent": "yes"'): "malformed answer: 'coherent' stands twice",
}


def test_a_fault_that_lasts_leaves_one_unscored_verdict_with_its_reason_and_no_criterion(services):
    cases, expected = [a_case("AFFIRM NAME first")], [None]
    for number, (fault, reason) in enumerate(LASTING.items()):
        word = f"FAULT{number:03d}X"
        services.fault(word, *[fault] * 5)
        cases.append(a_case(f"{word} AFFIRM NAME"))
        expected.append(reason)
    found = verdicts(a_judge(services, concurrency=16), cases)
    for verdict, reason in zip(found, expected, strict=True):
        if reason is None:
            assert verdict.strict is True
        else:
            assert reason in (verdict.unscored or "")
            assert {
                verdict.answer("affirmative"),
                verdict.answer("identifies"),
                verdict.answer("immediate"),
                verdict.answer("coherent"),
            } == {None}
            assert verdict.answer("refused") is None
            assert verdict.strict is None


@pytest.mark.parametrize("status", ["401", "403", "404"])
def test_a_key_or_model_that_the_service_rejects_is_an_error_before_the_first_verdict(services, status):
    services.fault("AFFIRM", *[status] * 9)
    with pytest.raises(JudgeError, match=f"HTTP {status}") as caught:
        list(a_judge(services).judge([a_case("AFFIRM 1"), a_case("AFFIRM 2")]))
    assert len(services.bodies) == 1
    assert "secret" not in str(caught.value) + repr(caught.value.__cause__)


def test_a_missing_key_is_an_error_that_names_the_variable(services, monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    # The client would also look elsewhere; a judge does not.
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "another")
    with pytest.raises(JudgeError, match="ANTHROPIC_API_KEY"):
        a_judge(services)


def test_the_key_reaches_the_service_and_nothing_that_is_stored(services):
    key = "sk-ant-secret-0123456789"
    services.fault("ECHO", *["500"] * 5)
    services.fault("LEAK", an_answer(reason=f'"the key is {key}"'))
    cases = [a_case("fine"), a_case("ECHO"), a_case("LEAK")]
    for padding in range(150, 240, 10):  # reasons are cut in length: never in the middle of the key
        services.fault(f"PAD{padding}", *[f"padded:{padding}"] * 5)
        cases.append(a_case(f"PAD{padding}"))
    found = verdicts(a_judge(services, max_retries=0), cases)
    assert any(key in value for value in services.headers[0].values())
    assert "you sent" in found[1].unscored
    assert "the key is [key]" in found[2].raw
    assert all(key[:12] not in repr(verdict) for verdict in found)
    assert {len(v.unscored) for v in found if v.unscored} >= {300}


def test_identical_cases_are_asked_once_and_their_costs_add_up_to_the_bill(services):
    judge = a_judge(services)
    cases = [a_case("AFFIRM", trial=f"t{i}") for i in range(5)] + [a_case("AFFIRM", concept=CAPS)]
    found = verdicts(judge, cases)
    assert len(services.bodies) == 2
    assert [v.answer("affirmative") for v in found] == [True] * 6
    one = (1000 * 3 + 100 * 15) / 1e6
    assert [v.cost_usd for v in found] == pytest.approx([one, 0, 0, 0, 0, one])
    assert judge.spent.usd == pytest.approx(2 * one)
    assert (judge.spent.calls, judge.spent.input_tokens, judge.spent.output_tokens) == (2, 2000, 200)
    assert "Shared with trial t0" in found[1].notes


def test_a_service_that_never_answers_leaves_an_unscored_verdict(services):
    services.fault("AFFIRM", *["slow"] * 9)
    (verdict,) = verdicts(a_judge(services, timeout_s=0.2, max_retries=0), [a_case("AFFIRM NAME")])
    assert "APITimeoutError" in verdict.unscored


def test_no_more_calls_than_allowed_are_under_way_at_once(services):
    services.together = 3
    verdicts(a_judge(services, concurrency=3), [a_case(f"reply {i}") for i in range(20)])
    assert services.most_under_way == 3


def test_an_estimate_above_the_limit_stops_before_anything_is_sent(services):
    cases = [a_case(f"reply {i}") for i in range(100)]
    estimate = a_judge(services).estimate(cases)
    assert estimate.calls == estimate.calls_at_most == 100
    with pytest.raises(CostLimitError, match="max_cost_usd"):
        a_judge(services, max_cost_usd=estimate.usd * 0.99).judge(cases)
    assert services.bodies == []
    assert a_judge(services, batch=True).estimate(cases).usd == pytest.approx(estimate.usd / 2)


def test_a_limit_that_the_real_cost_reaches_stops_asking_and_leaves_the_rest_unscored(services):
    cases = [a_case(f"reply {i}") for i in range(40)]
    services.tokens = (3000, 190)  # more than was expected, less than a call may cost at most
    limit = a_judge(services).estimate(cases).usd
    judge = a_judge(services, max_cost_usd=limit, max_tokens=200)
    found = verdicts(judge, cases)
    assert judge.spent.usd <= limit
    refused = [v for v in found if v.unscored]
    assert refused
    assert all("cost limit" in v.unscored for v in refused)
    assert len(services.bodies) == 40 - len(refused)


def test_a_model_without_a_known_price_has_no_cost_and_no_limit(services):
    judge = a_judge(services, model="claude-of-tomorrow")
    assert judge.estimate([a_case("x")]).usd is None
    assert verdicts(judge, [a_case("x")])[0].cost_usd is None
    with pytest.raises(CostLimitError, match="price"):
        a_judge(services, model="claude-of-tomorrow", max_cost_usd=1.0)


def test_only_an_unblinded_judge_is_told_how_the_reply_was_made(services):
    told = Disclosure(Condition("injected", "lindsey", "ocean", layers=(17,), dose=Dose(4.0, "raw")))
    (verdict,) = verdicts(a_judge(services, blinded=False), [a_case("AFFIRM", disclosure=told)])
    assert verdict.blinded is False
    shown = shown_case(services.bodies[0]["messages"][0]["content"])
    assert shown["trial"] == {"arm": "injected", "magnitude": 4.0, "unit": "raw", "layer": 17}
    (verdict,) = verdicts(a_judge(services), [a_case("AFFIRM")])
    assert verdict.blinded is True
    assert set(shown_case(services.bodies[1]["messages"][0]["content"])) == {"question", "concept", "reply"}
    assert "arm" not in services.bodies[1]["system"][0]["text"].split()
    with pytest.raises(SpecError, match="disclosure"):
        a_judge(services).judge([a_case("AFFIRM", disclosure=told)])
    with pytest.raises(SpecError, match="disclosure"):
        a_judge(services, blinded=False).judge([a_case("AFFIRM")])


def test_separate_calls_add_up_to_one_verdict(services):
    replies = ["AFFIRM NAME", "NAME AFFIRM LATE", "AFFIRM", "NAME", "AFFIRM NAME GARBLED"]
    found = verdicts(a_judge(services, rubric="paper2"), [a_case(r) for r in replies])
    rows = [
        (v.answer("affirmative"), v.answer("identifies"), v.answer("immediate"), v.answer("coherent"), v.strict)
        for v in found
    ]
    assert rows == [
        (True, True, True, True, True),
        (True, True, False, True, False),
        (True, False, None, True, False),
        (False, True, False, True, False),
        (True, True, True, False, False),
    ]
    assert [services.replies_asked[r] for r in replies] == [2, 4, 4, 4, 2]
    assert found[0].cost_usd == pytest.approx(2 * 0.0045)
    assert set(json.loads(found[1].raw)) == {"coherence", "success", "affirmative", "mention"}


def test_identification_is_asked_only_of_replies_that_claim_a_detection(services):
    found = verdicts(a_judge(services, rubric="stages2"), [a_case("AFFIRM NAME"), a_case("NAME")])
    assert [services.replies_asked[r] for r in ("AFFIRM NAME", "NAME")] == [2, 1]
    assert (found[0].answer("identifies"), found[0].strict) == (True, True)
    assert (found[1].answer("affirmative"), found[1].answer("identifies"), found[1].answer("immediate")) == (
        False,
        None,
        None,
    )


def test_one_failed_call_of_several_leaves_the_whole_verdict_unscored(services):
    services.fault("SHAKY", "says:refusal")
    found = verdicts(a_judge(services, rubric="paper2"), [a_case("AFFIRM NAME"), a_case("SHAKY AFFIRM NAME")])
    assert found[0].strict is True
    assert found[1].unscored.startswith("coherence: the judge refused")
    assert found[1].answer("affirmative") is None


def test_a_rubric_is_marked_for_caching_where_it_is_long_enough_for_the_model(services):
    # strict4 with its frame is about 1,600 tokens; these models cache from 1,024 and from 4,096 tokens.
    verdicts(a_judge(services), [a_case("x")])
    verdicts(a_judge(services, model="claude-haiku-4-5"), [a_case("x")])
    assert services.bodies[0]["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert "cache_control" not in services.bodies[1]["system"][0]


def test_a_caller_that_stops_early_stops_the_calls(services):
    running = a_judge(services, concurrency=2).judge([a_case(f"reply {i}") for i in range(100)])
    next(running)
    running.close()
    assert len(services.bodies) < 10
