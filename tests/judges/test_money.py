"""What a judge spends: nothing is sent that could exceed the limit, and nothing that may be billed goes uncounted."""

from __future__ import annotations

import os
import signal
import sqlite3
import time

import pytest

from introspection_bench.concepts import Concept
from introspection_bench.errors import CostLimitError, JudgeError
from introspection_bench.judges.base import Case
from introspection_bench.judges.models.chat import ChatJudge
from introspection_bench.judges.models.claude import ClaudeJudge
from introspection_bench.judges.models.costs import Price, Usage, counted
from introspection_bench.judges.models.ledger import Ledger
from introspection_bench.judges.panel import PanelJudge

OCEAN = Concept("ocean", word="ocean")
PRICE = Price(input=3.0, output=15.0)
ONE = (1000 * 3 + 100 * 15) / 1e6


def a_claude(services, **options) -> ClaudeJudge:
    defaults = {"max_retries": 1, "timeout_s": 1.0, "poll_s": 0.01, "settle_s": 0.0, "max_tokens": 200}
    return ClaudeJudge(base_url=services.url, **{**defaults, **options})


def a_chat(services, **options) -> ChatJudge:
    defaults = {"max_retries": 1, "timeout_s": 1.0, "price": PRICE, "max_tokens": 200}
    return ChatJudge(model="m", base_url=f"{services.url}/v1", **{**defaults, **options})


JUDGES = {"claude": a_claude, "chat": a_chat}


def judged(judge, replies) -> list:
    cases = [Case(r, "Do you detect an injected thought?", r, OCEAN) for r in replies]
    found = dict(judge.judge(cases))
    return [found[i] for i in range(len(cases))]


def most_of(judge) -> float:
    """What one call may cost at most."""
    from introspection_bench.judges.models.prompting import render

    case = Case("t", "Do you detect an injected thought?", "reply 00", OCEAN)
    usage = judge._at_most(render(judge.rubric, judge.rubric.calls[0], case))
    return usage.usd(judge._purse.price)


NAN, HUGE = float("nan"), 10**18
UNUSABLE = {
    "absent": None,
    "no object": "many",
    "empty": {},
    "zero": {"input_tokens": 0, "output_tokens": 0, "prompt_tokens": 0, "completion_tokens": 0},
    "negative": {"input_tokens": -9, "output_tokens": -90, "prompt_tokens": -9, "completion_tokens": -90},
    "NaN": {"input_tokens": NAN, "output_tokens": NAN, "prompt_tokens": NAN, "completion_tokens": NAN},
    "absurd": {"input_tokens": HUGE, "output_tokens": 1, "prompt_tokens": HUGE, "completion_tokens": 1},
    "too few": {"input_tokens": 3, "output_tokens": 1, "prompt_tokens": 3, "completion_tokens": 1},
    "text": {"input_tokens": "900", "output_tokens": "90", "prompt_tokens": "900", "completion_tokens": "90"},
    "truth": {"input_tokens": True, "output_tokens": True, "prompt_tokens": True, "completion_tokens": True},
    "half": {"input_tokens": 900, "prompt_tokens": 900},
    "cache": {"input_tokens": 900, "output_tokens": 90, "cache_read_input_tokens": -5000},
}


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize("usage", UNUSABLE.values(), ids=UNUSABLE)
def test_a_call_whose_usage_can_not_be_true_counts_with_the_most_that_it_can_have_cost(services, name, usage):
    services.usage = usage
    judge = JUDGES[name](services)
    (verdict,) = judged(judge, ["reply 00"])
    assert verdict.unscored is None
    assert verdict.cost_usd == pytest.approx(most_of(judge))
    assert judge.spent.usd == pytest.approx(most_of(judge))
    assert (judge.spent.calls, judge.spent.assumed) == (1, 1)


@pytest.mark.parametrize("batch", [False, True])
def test_a_limit_holds_where_no_usage_is_reported(services, batch):
    services.usage = None
    judge = a_claude(services, batch=batch, batch_size=4)
    limit = most_of(judge) * 7.5
    judge = a_claude(services, batch=batch, batch_size=4, max_cost_usd=limit)
    found = judged(judge, [f"reply {i:02d}" for i in range(10)])
    assert sum(v.unscored is None for v in found) == 7
    assert all("cost limit reached: not asked" in v.unscored for v in found if v.unscored)
    assert judge.spent.usd <= limit


def test_many_workers_do_not_exceed_the_limit_where_answers_cost_more_than_was_expected(services):
    services.tokens = (3000, 190)
    replies = [f"reply {i:02d}" for i in range(60)]
    limit = a_claude(services).estimate([Case(r, "Do you detect an injected thought?", r, OCEAN) for r in replies]).usd
    judge = a_claude(services, max_cost_usd=limit, concurrency=16)
    found = judged(judge, replies)
    assert judge.spent.usd <= limit
    # What was set aside is given back: all that the limit allows is asked.
    cost = (3000 * 3 + 190 * 15) / 1e6
    assert sum(v.unscored is None for v in found) >= int(limit / cost) - 5


def test_a_service_that_bills_more_than_is_possible_exceeds_the_limit_by_one_call_not_by_all_under_way(services):
    services.tokens = (60_000, 200)
    one = (60_000 * 3 + 200 * 15) / 1e6
    judge = a_claude(services, max_cost_usd=5 * one, concurrency=16)
    judged(judge, [f"reply {i:02d}" for i in range(40)])
    assert judge.spent.usd <= 5 * one


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize("fault", ["500", "slow", "cut", "not-json", "half-json"])
def test_a_call_that_was_sent_and_failed_counts_as_if_it_was_answered(services, name, fault):
    services.fault("SHAKY", *[fault] * 9)
    judge = JUDGES[name](services, timeout_s=0.3)
    found = judged(judge, ["SHAKY 00"])
    tries = len(services.bodies)
    assert tries == (1 if "json" in fault else 2)
    assert (judge.spent.calls, judge.spent.assumed) == (tries, tries)
    assert judge.spent.usd == pytest.approx(tries * most_of(judge))
    assert found[0].cost_usd == pytest.approx(judge.spent.usd)


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize("fault", ["400", "413", "429", "529"])
def test_a_call_that_the_service_rejected_costs_nothing(services, name, fault):
    services.fault("SHAKY", *[fault] * 9)
    judge = JUDGES[name](services)
    judged(judge, ["SHAKY 00"])
    assert judge.spent.calls == 0
    assert judge.spent.usd == 0
    assert judge._purse.ledger.total() == 0


@pytest.mark.parametrize("name", JUDGES)
def test_an_endpoint_that_nobody_listens_at_costs_nothing(services, name):
    services.url = "http://127.0.0.1:9"
    judge = JUDGES[name](services, max_retries=0)
    (verdict,) = judged(judge, ["reply 00"])
    assert "ConnectError" in verdict.unscored
    assert judge._purse.ledger.total() == 0


def test_repeated_calls_stay_within_the_limit(services):
    services.fault("SHAKY", *["500"] * 99)
    most = most_of(a_claude(services))
    judge = a_claude(services, max_retries=50, max_wait_s=0.001, max_cost_usd=3.5 * most)
    (verdict,) = judged(judge, ["SHAKY 00"])
    assert len(services.bodies) == 3
    assert "cost limit reached" in verdict.unscored


@pytest.mark.parametrize("batch", [False, True])
def test_a_limit_holds_over_all_judgings_of_a_run(services, tmp_path, batch):
    run = tmp_path / "run.sqlite"
    most = most_of(a_claude(services, batch=batch))
    share = 0.5 if batch else 1.0
    limit = most + 4.5 * ONE * share
    replies = [f"reply {i:02d}" for i in range(12)]
    asked = 0
    for _ in range(4):
        judge = a_claude(services, batch=batch, max_cost_usd=limit, ledger=Ledger(run), batch_size=1)
        found = [v for r in replies for v in judged_or_refused(judge, [r])]
        asked += sum(v.unscored is None for v in found)
        replies = replies[len([v for v in found if v.unscored is None]) :]
    assert asked in (4, 5)
    assert Ledger(run).total() == pytest.approx(asked * ONE * share)
    assert Ledger(run).total() <= limit


def judged_or_refused(judge, replies) -> list:
    try:
        return judged(judge, replies)
    except CostLimitError:
        return []


def test_what_was_under_way_when_a_judge_was_killed_counts_as_spent(services, tmp_path):
    run = tmp_path / "run.sqlite"
    most = most_of(a_claude(services))
    services.fault("reply 00", "slow")  # never answered
    child = os.fork()
    if child == 0:
        list(a_claude(services, timeout_s=60, ledger=Ledger(run)).judge([Case("t", "q", "reply 00", OCEAN)]))
        os._exit(0)
    deadline = time.monotonic() + 60
    while not services.bodies and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert Ledger(run).total() == pytest.approx(most, rel=0.01)
    with pytest.raises(CostLimitError, match="spent already"):
        a_claude(services, ledger=Ledger(run), max_cost_usd=most * 1.001).judge([Case("t", "q", "reply 00", OCEAN)])


def test_a_batch_under_way_is_not_reckoned_twice_against_the_limit(services, tmp_path):
    run = tmp_path / "run.sqlite"
    services.usage = None  # so that what was set aside is what it costs
    limit = 4.2 * most_of(a_claude(services, batch=True))
    replies = [f"reply {i:02d}" for i in range(4)]
    running = a_claude(services, batch=True, ledger=Ledger(run), max_cost_usd=limit).judge(
        [Case(r, "Do you detect an injected thought?", r, OCEAN) for r in replies]
    )
    next(running)
    running.close()
    found = judged(a_claude(services, batch=True, ledger=Ledger(run), max_cost_usd=limit), replies)
    assert [v.unscored for v in found] == [None] * 4
    assert services.batches_made == 1
    assert Ledger(run).total() <= limit


def test_a_panel_s_limit_holds_for_all_its_members_together(services, tmp_path):
    options = {"base_url": services.url, "max_retries": 0, "max_tokens": 200}
    members = [{"name": "claude", **options}, {"name": "claude", "model": "claude-sonnet-5", **options}]
    cases = [Case(f"t{i}", "Do you detect an injected thought?", f"reply {i:02d}", OCEAN) for i in range(20)]
    expected = sum(member.estimate(cases).usd for member in PanelJudge(judges=members).members)
    services.tokens = (1900, 190)
    panel = PanelJudge(judges=members, max_cost_usd=expected)
    panel.remember_in(tmp_path / "run.sqlite")
    found = [verdict for _, verdict in panel.judge(cases)]
    assert Ledger(tmp_path / "run.sqlite").total() <= expected
    assert any(v.unscored is None for v in found)
    assert any("1 unscored" in (v.unscored or "") for v in found)
    services.bodies.clear()
    with pytest.raises(CostLimitError, match="others"):
        list(PanelJudge(judges=members, max_cost_usd=expected * 0.9).judge(cases))
    assert services.bodies == []


def test_a_panel_s_control_replies_count_in_the_run_s_ledger_and_so_does_what_follows(services, tmp_path):
    members = [{"name": "claude", "base_url": services.url, "model": m} for m in ("claude-sonnet-4-6", "claude-opus-5")]
    panel = PanelJudge(judges=members, max_cost_usd=1.0)
    panel.remember_in(tmp_path / "run.sqlite")
    judged(panel.live(), ["reply 00"])
    first = Ledger(tmp_path / "run.sqlite").total()
    assert first > 0
    judged(panel, ["reply 01"])
    assert Ledger(tmp_path / "run.sqlite").total() == pytest.approx(2 * first)


def test_costs_of_other_judges_and_other_runs_count_against_a_limit_too(services, tmp_path):
    first, second = tmp_path / "1.sqlite", tmp_path / "2.sqlite"
    chat = a_chat(services)
    chat.remember_in(first)
    judged(chat, ["reply 00"])
    judge = a_claude(services, max_cost_usd=1.0)
    judge.remember_in(first)
    judged(judge, ["reply 01"])
    assert Ledger(first).total() == pytest.approx(ONE + (900 * 3 + 90 * 15) / 1e6)
    judge.remember_in(second)
    assert judge.spent.usd == pytest.approx(ONE)
    assert judge._purse._limit() == pytest.approx(1.0 - ONE)


@pytest.mark.parametrize("limit", [-1.0, float("nan"), float("inf")])
def test_a_limit_that_is_no_amount_of_money_is_an_error(services, limit):
    with pytest.raises(CostLimitError, match="max_cost_usd"):
        a_claude(services, max_cost_usd=limit)


@pytest.mark.parametrize("dollars", [-1.0, float("nan"), "3", True])
def test_a_price_that_is_no_amount_of_money_is_an_error(dollars):
    with pytest.raises(JudgeError, match=r"price\.input"):
        Price(input=dollars, output=1.0)


def test_a_count_that_can_be_true_is_kept_as_it_is():
    most = Usage(input=8000, output=2048)
    for used in (Usage(900, 90), Usage(10, 90, 0, 1500), Usage(300_000, 20_000)):
        assert counted(used, most) == used


def test_the_ledger_is_part_of_the_run_and_holds_no_text(services, tmp_path):
    judge = a_claude(services)
    judge.remember_in(tmp_path / "run.sqlite")
    judged(judge, ["a reply that nobody else may read"])
    with sqlite3.connect(tmp_path / "run.sqlite") as connection:
        dump = "\n".join(connection.iterdump())
    assert "claude-sonnet-4-6" in dump
    assert "nobody else" not in dump
    assert "secret" not in dump
