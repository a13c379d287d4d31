from __future__ import annotations

import signal
import sqlite3

import pytest
from batch_judging import OCEAN, REPLIES, STRICT, a_judge, assert_right, cases_of, judged, run_child

from introspection_bench.errors import JudgeError, StoreError
from introspection_bench.judges.base import Case
from introspection_bench.judges.models.ledger import Ledger
from introspection_bench.judges.models.prompting import render


def test_replies_are_judged_in_batches_at_half_the_price(services):
    judge = a_judge(services)
    found = judged(judge)
    assert_right(found)
    assert len(services.batches) == 2
    assert set(services.billed.values()) == {1}
    assert found[REPLIES[0]].cost_usd == pytest.approx(0.0045 / 2)
    assert judge.spent.usd == pytest.approx(7 * 0.0045 / 2)


def test_a_judge_that_is_asked_directly_sends_no_batch(services):
    judge = a_judge(services)
    assert_right(judged(judge.live()))
    assert services.batches == {}
    assert judge.spent.calls == 7


@pytest.mark.parametrize("rubric", ["paper2", "stages2"])
def test_a_rubric_of_several_calls_takes_one_round_of_batches_for_each_stage(services, rubric):
    found = judged(a_judge(services, rubric=rubric, batch_size=100))
    assert_right(found)
    assert len(services.batches) == 2
    assert set(services.billed.values()) == {1}


@pytest.mark.parametrize("kind", ["errored", "expired", "canceled"])
def test_a_request_that_failed_within_a_batch_is_tried_again_in_another(services, kind):
    services.fault("NAME 4", kind, kind)
    services.fault("AFFIRM 1", kind)
    assert_right(judged(a_judge(services, batch_attempts=3)))
    assert set(services.billed.values()) == {1}


def test_a_request_that_keeps_failing_is_unscored_after_the_stated_attempts(services):
    services.fault("NAME 4", *["expired"] * 9)
    services.fault("AFFIRM 1", *["errored"] * 9)
    found = judged(a_judge(services, batch_attempts=3))
    assert found["AFFIRM NAME 4"].unscored == "batch request without an answer: expired"
    assert found["AFFIRM 1"].unscored == "batch request errored: api_error: scripted"
    assert found["AFFIRM NAME 4"].answer("affirmative") is None
    assert (services.replies_asked["AFFIRM NAME 4"], services.replies_asked["AFFIRM 1"]) == (3, 3)
    assert_right({r: v for r, v in found.items() if v.unscored is None})


def test_a_request_that_the_service_calls_invalid_is_not_sent_again(services):
    services.fault("NAME 4", *["invalid"] * 9)
    found = judged(a_judge(services))
    assert "invalid_request_error" in found["AFFIRM NAME 4"].unscored
    assert services.replies_asked["AFFIRM NAME 4"] == 1


@pytest.mark.parametrize("fault", ["says:refusal", "says:max_tokens", "says:yes", "says:"])
def test_an_answer_that_is_none_is_unscored_in_a_batch_too(services, fault):
    services.fault("NAME 4", *[fault] * 9)
    found = judged(a_judge(services))
    assert found["AFFIRM NAME 4"].unscored
    assert found["AFFIRM NAME 4"].answer("coherent") is None
    assert_right({r: v for r, v in found.items() if r != "AFFIRM NAME 4"})


PASSING = {
    "create": ["429", "529", "500", "cut", "slow", "not-json", "created:500", "created:cut", "created:slow",
               "created:half-json", "created:empty-object"],
    "retrieve": ["429", "500", "cut", "slow", "half-json"],
    "results": ["429", "500", "cut", "cut-midway", "short"],
}  # fmt: skip


@pytest.mark.parametrize(("endpoint", "fault"), [(e, f) for e, faults in PASSING.items() for f in faults])
def test_a_fault_that_passes_costs_neither_a_verdict_nor_a_second_payment(services, endpoint, fault):
    # Once for creation, after which the judge itself waits a second before it tries again.
    services.endpoint_faults[endpoint].extend([fault] * (1 if endpoint == "create" else 2))
    # Only a service that never answers is given up on soon, and asked often: a slow machine is no fault.
    patience = {"timeout_s": 1.0, "max_retries": 20} if fault.endswith("slow") else {"max_retries": 3}
    assert_right(judged(a_judge(services, **patience)))
    assert set(services.billed.values()) == {1}
    assert len(services.batches) == 2


def test_a_lost_batch_is_found_again_among_foreign_ones(services):
    judge = a_judge(services)
    foreign = Case("x", "Another question", "AFFIRM", OCEAN)
    request = judge._parameters(render(judge.rubric, judge.rubric.calls[0], foreign))
    services.add_batch([{"custom_id": f"foreign-{i}", "params": request} for i in range(4)])
    services.endpoint_faults["create"].append("created:cut")
    services.on_event = lambda event: (
        services.add_batch([{"custom_id": f"other-{i}", "params": request} for i in range(4)])
        if event == "create after" and len(services.batches) < 4
        else None
    )
    assert_right(judged(judge))
    assert set(services.billed.values()) == {1}
    assert len(services.batches) == 4


def test_a_lost_batch_is_not_taken_for_an_earlier_one_with_the_same_requests(services):
    for reply in REPLIES[:3]:
        services.fault(reply, "expired")
    services.endpoint_faults["create"].extend(["", "created:cut"])
    assert_right(judged(a_judge(services), REPLIES[:3]))
    assert len(services.batches) == 2
    assert set(services.billed.values()) == {1}


@pytest.mark.parametrize("status", ["401", "403", "404"])
def test_a_rejected_key_is_an_error_before_the_first_verdict(services, status):
    services.endpoint_faults["create"].append(status)
    with pytest.raises(JudgeError, match=f"HTTP {status}") as caught:
        judged(a_judge(services))
    assert "secret" not in str(caught.value)


def test_answers_that_cannot_be_read_now_are_unscored_and_fetched_by_the_next_run_without_paying_again(
    services, tmp_path
):
    services.endpoint_faults["results"].extend(["500"] * 40)
    ledger = Ledger(tmp_path / "run.sqlite")
    first = judged(a_judge(services, ledger, max_retries=0), REPLIES[:3])
    assert all("judging again fetches it" in v.unscored for v in first.values())
    services.endpoint_faults["results"].clear()
    assert_right(judged(a_judge(services, ledger), REPLIES[:3]))
    assert set(services.billed.values()) == {1}


def test_a_batch_that_may_exist_is_not_sent_again_before_it_can_be_looked_up(services, tmp_path):
    services.endpoint_faults["create"].append("created:cut")
    services.endpoint_faults["list"].extend(["500"] * 2)
    ledger = Ledger(tmp_path / "run.sqlite")
    first = judged(a_judge(services, ledger, max_retries=1), REPLIES[:3])
    assert all("may have been sent" in v.unscored for v in first.values())
    assert_right(judged(a_judge(services, ledger), REPLIES[:3]))
    assert len(services.batches) == 1


def test_what_was_unscored_and_recorded_is_asked_anew_when_judged_again(services, tmp_path):
    ledger = Ledger(tmp_path / "run.sqlite")
    services.fault("NAME 0", "says:refusal")
    assert judged(a_judge(services, ledger), REPLIES[:1])[REPLIES[0]].unscored
    assert_right(judged(a_judge(services, ledger), REPLIES[:1]))


@pytest.mark.parametrize("how", ["deleted", "archived"])
def test_results_that_the_service_no_longer_keeps_are_asked_anew(services, tmp_path, how):
    ledger = Ledger(tmp_path / "run.sqlite")
    running = a_judge(services, ledger).judge(cases_of(REPLIES[:3]))
    next(running)
    running.close()
    if how == "deleted":
        services.batches.clear()
    else:
        for batch in services.batches.values():
            batch["archived"] = True
    assert_right(judged(a_judge(services, ledger), REPLIES[:3]))


def test_a_ledger_in_a_file_that_is_no_database_is_an_error(tmp_path):
    path = tmp_path / "run.sqlite"
    path.write_bytes(b"not a database, but long enough to be read as one" * 50)
    with pytest.raises(StoreError, match=r"run\.sqlite"):
        Ledger(path)


def test_a_cost_limit_holds_between_rounds_of_batches(services):
    services.tokens = (100_000, 100)  # far above the estimate
    judge = a_judge(services, rubric="paper2", max_cost_usd=0.5, batch_size=100)
    found = judged(judge)
    assert found["AFFIRM NAME 0"].unscored is None  # two calls were enough for it
    assert "cost limit reached: not asked" in found["nothing 3"].unscored


# -- kill -9

SERVICE_POINTS = ["create before", "create after", "retrieve", "results before", "results midway", "list"]
CHILD_POINTS = [
    f"{when} {method} {number}"
    for method, numbers in {"intend": (1, 2), "submitted": (1, 2), "record": (1, 7), "delivered": (1, 7)}.items()
    for number in numbers
    for when in ("before", "after")
]


def assert_one_verdict_each(services, store) -> None:
    rows = sqlite3.connect(store).execute("SELECT reply, strict, unscored, cost FROM verdicts").fetchall()
    assert {row[0]: bool(row[1]) for row in rows} == STRICT
    assert len(rows) == len(REPLIES)
    assert all(row[2] is None and row[3] == pytest.approx(0.00225) for row in rows)
    assert set(services.billed.values()) == {1}, "paid twice"
    assert len(services.billed) == len(REPLIES)


@pytest.mark.parametrize("point", CHILD_POINTS)
def test_a_judge_killed_at_any_step_of_its_own_goes_on_without_loss_or_double_payment(
    services, tmp_path, fork_server, point
):
    store = tmp_path / "run.sqlite"
    assert run_child(services, store, {}, kill_at=point) == -signal.SIGKILL
    assert run_child(services, store, {}) == 0
    assert_one_verdict_each(services, store)


@pytest.mark.parametrize(("event", "number"), [(e, n) for e in SERVICE_POINTS[:5] for n in (1, 2)])
def test_a_judge_killed_while_the_service_works_goes_on_without_loss_or_double_payment(
    services, tmp_path, fork_server, event, number
):
    store = tmp_path / "run.sqlite"
    assert run_child(services, store, {}, kill_on=event, number=number) == -signal.SIGKILL
    assert run_child(services, store, {}) == 0
    assert_one_verdict_each(services, store)


def test_a_judge_killed_again_and_again_ends_with_one_verdict_for_each_reply(services, tmp_path, fork_server):
    store = tmp_path / "run.sqlite"
    services.fault("NAME 4", "expired")
    services.fault("AFFIRM 1", "errored")
    for kill in (
        {"kill_on": "create after"},
        {"kill_on": "list"},
        {"kill_on": "results midway"},
        {"kill_at": "after record 2"},
        {"kill_at": "after failed 1"},
        {"kill_on": "create after"},
        {"kill_at": "before delivered 2"},
    ):
        assert run_child(services, store, {}, **kill) == -signal.SIGKILL, kill
    assert run_child(services, store, {}) == 0
    assert_one_verdict_each(services, store)
