"""Batches that are not found for a moment, and results files that are not what they should be."""

from __future__ import annotations

import json

import pytest
from batch_judging import REPLIES, a_judge, assert_right, cases_of, judged, run_child

from introspection_bench.errors import IntrospectionBenchWarning
from introspection_bench.judges.models.ledger import Ledger

ONE = 0.00225


@pytest.mark.parametrize("endpoint", ["retrieve", "results"])
def test_a_batch_that_is_not_found_for_a_moment_is_waited_for_and_paid_once(services, endpoint):
    services.endpoint_faults[endpoint].extend(["404"] * 6)
    judge = a_judge(services, batch_size=100, settle_s=2.0)
    assert_right(judged(judge))
    assert services.batches_made == 1
    assert judge.spent.usd == pytest.approx(7 * ONE)
    assert judge._purse.ledger.total() == pytest.approx(7 * ONE)


def test_a_batch_that_stays_lost_is_asked_anew_and_still_counts_with_all_that_it_may_have_cost(services):
    services.usage = None
    services.on_event = lambda event: services.batches.clear() if event == "create after" else None
    judge = a_judge(services, batch_size=100, batch_attempts=2)
    services.endpoint_faults["create"].append("")
    found = judged(judge, REPLIES[:2])
    assert services.batches_made == 2
    assert all("no longer kept" in v.unscored for v in found.values())
    assert (judge.spent.calls, judge.spent.assumed) == (4, 4)
    assert sum(v.cost_usd for v in found.values()) == pytest.approx(judge._purse.ledger.total())


def test_a_judge_killed_while_its_batch_is_not_found_goes_on_with_it(services, tmp_path, fork_server):
    store = tmp_path / "run.sqlite"
    options = {"settle_s": 1.0, "batch_size": 100}
    services.endpoint_faults["retrieve"].extend(["404"] * 8)
    assert run_child(services, store, options, kill_on="retrieve", number=3) < 0
    assert run_child(services, store, options, kill_on="retrieve", number=3) < 0
    assert run_child(services, store, options) == 0
    assert services.batches_made == 1
    assert Ledger(store).total() == pytest.approx(7 * ONE)


def test_a_lost_batch_is_found_in_a_list_that_lags_behind(services):
    services.endpoint_faults["create"].append("created:cut")
    services.endpoint_faults["list"].extend(["lagging"] * 4)
    judge = a_judge(services, batch_size=100, settle_s=2.0)
    assert_right(judged(judge))
    assert services.batches_made == 1
    assert judge._purse.ledger.total() == pytest.approx(7 * ONE)


def test_a_lost_batch_whose_candidate_is_not_found_for_a_moment_is_found(services):
    services.endpoint_faults["create"].append("created:cut")
    services.endpoint_faults["retrieve"].extend(["404"] * 4)
    assert_right(judged(a_judge(services, batch_size=100, settle_s=2.0)))
    assert services.batches_made == 1


def without(word: str, services):
    """Results from which the line of one reply is missing."""

    def rewrite(lines):
        asked = {c: r for b in services.batches.values() for c, r in b["said"].items()}
        return [line for line in lines if word not in asked[json.loads(line)["custom_id"]]]

    return rewrite


def test_one_request_that_is_missing_from_the_results_costs_no_other_verdict(services, tmp_path):
    ledger = Ledger(tmp_path / "run.sqlite")
    services.rewrite_results = without("NAME 2", services)
    judge = a_judge(services, ledger, batch_size=100)
    first = judged(judge)
    assert first["NAME 2"].unscored.startswith("batch msgbatch_0000 can't be read now; judging again looks once more")
    assert_right({r: v for r, v in first.items() if r != "NAME 2"})
    assert services.batches_made == 1
    # The file was cut for a while: nothing is paid again.
    services.rewrite_results = lambda lines: lines
    assert_right(judged(a_judge(services, ledger), ["NAME 2"]))
    assert services.batches_made == 1
    assert ledger.total() == pytest.approx(7 * ONE)


def test_a_request_that_is_missing_in_two_judgings_is_asked_again_alone(services, tmp_path):
    ledger = Ledger(tmp_path / "run.sqlite")
    services.rewrite_results = lambda lines: without("NAME 2", services)(lines) if len(lines) > 1 else lines
    assert judged(a_judge(services, ledger, batch_size=100))["NAME 2"].unscored
    judge = a_judge(services, ledger)
    assert_right(judged(judge, ["NAME 2"]))
    assert services.batches_made == 2
    assert services.replies_asked == {**dict.fromkeys(REPLIES, 1), "NAME 2": 2}
    # The first time may have been billed too.
    assert judge.spent.assumed == 1
    assert ledger.total() > 8 * ONE


def changed(line: str) -> str:
    data = json.loads(line)
    text = data["result"]["message"]["content"][0]["text"]
    data["result"]["message"]["content"][0]["text"] = text.replace('"yes"', '"no"')
    return json.dumps(data) + "\n"


EXPIRED = '{"custom_id": "%s", "result": {"type": "expired"}}\n'
CONTRADICTIONS = {
    "another answer after": lambda line: [line, changed(line)],
    "another answer before": lambda line: [changed(line), line],
    "none after": lambda line: [line, EXPIRED % json.loads(line)["custom_id"]],
    "none before": lambda line: [EXPIRED % json.loads(line)["custom_id"], line],
}


@pytest.mark.parametrize("two", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_two_results_for_one_request_that_contradict_each_other_leave_it_unscored(services, two):
    services.rewrite_results = lambda lines: [*two(lines[0]), *lines[1:]]
    found = judged(a_judge(services, batch_size=100))
    unscored = {r: v for r, v in found.items() if v.unscored}
    (verdict,) = unscored.values()
    assert "contradict each other" in verdict.unscored
    assert verdict.answer("affirmative") is None
    assert_right({r: v for r, v in found.items() if r not in unscored})
    assert services.batches_made == 1


def test_a_result_that_stands_twice_is_used_once(services):
    services.rewrite_results = lambda lines: [*lines, *lines]
    judge = a_judge(services, batch_size=100)
    assert_right(judged(judge))
    assert judge.spent.usd == pytest.approx(7 * ONE)


NOT_USED = {
    "a foreign id": ('{"custom_id": "foreign", "result": {"type": "expired"}}\n', "1 for requests.*'foreign'"),
    "no JSON": ("{{{\n", "1 lines that can't be read"),
    "no object": ("[1, 2]\n", "1 lines that can't be read"),
    "no id": ('{"result": {"type": "expired"}}\n', "1 lines that can't be read"),
    "an id that is no text": ('{"custom_id": 5, "result": {"type": "expired"}}\n', "1 lines that can't be read"),
    "a key twice": ('{"custom_id": "a", "custom_id": "b", "result": {}}\n', "1 lines that can't be read"),
    "deeply nested": ("[" * 100_000 + "\n", "1 lines that can't be read"),
    "not UTF-8": ("\udcff\n", "1 lines that can't be read"),
}


@pytest.mark.parametrize(("line", "told"), NOT_USED.values(), ids=NOT_USED)
def test_a_line_that_is_no_result_of_ours_is_left_out_and_reported(services, line, told):
    services.rewrite_results = lambda lines: [*lines[:2], line, *lines[2:]]
    with pytest.warns(IntrospectionBenchWarning, match=told):
        assert_right(judged(a_judge(services, batch_size=100)))
    assert services.batches_made == 1


def test_a_broken_line_in_place_of_a_result_costs_that_verdict_alone(services):
    services.rewrite_results = lambda lines: [lines[0], lines[1][: len(lines[1]) // 2] + "\n", *lines[2:]]
    with pytest.warns(IntrospectionBenchWarning, match="1 lines that can't be read"):
        found = judged(a_judge(services, batch_size=100))
    unscored = {r: v for r, v in found.items() if v.unscored}
    assert len(unscored) == 1
    assert_right({r: v for r, v in found.items() if r not in unscored})
    assert services.batches_made == 1


@pytest.mark.parametrize("result", ['{"type": "succeeded"}', '{"type": "lost"}', '{"type": 5}', "{}"])
def test_a_malformed_result_is_unscored_counted_and_not_asked_again(services, result):
    def rewrite(lines):
        custom_id = json.loads(lines[0])["custom_id"]
        return [f'{{"custom_id": "{custom_id}", "result": {result}}}\n', *lines[1:]]

    services.rewrite_results = rewrite
    judge = a_judge(services, batch_size=100)
    found = judged(judge)
    (problem,) = [v.unscored for v in found.values() if v.unscored]
    assert "malformed" in problem
    assert services.batches_made == 1
    assert judge.spent.assumed == 1


def test_results_at_another_address_are_fetched_from_the_endpoint_alone(services):
    services.results_host = "http://127.0.0.1:9"
    assert_right(judged(a_judge(services)))


def test_a_batch_is_as_large_as_the_limit_allows_and_the_rest_follows_when_it_turned_out_cheaper(services):
    judge = a_judge(services, batch_size=100)
    most = judge._batches.most(judge._parameters(_prompt(judge))).usd(judge._purse.price)
    judge = a_judge(services, batch_size=100, max_cost_usd=3.5 * most)
    assert_right(judged(judge))
    assert services.batches_made in (2, 3)
    assert judge.spent.usd == pytest.approx(7 * ONE)


def _prompt(judge):
    from introspection_bench.judges.models.prompting import render

    return render(judge.rubric, judge.rubric.calls[0], cases_of(REPLIES)[0])
