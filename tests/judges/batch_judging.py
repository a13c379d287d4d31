"""Judging by batches against the local service: what several test modules share."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter

from batch_child import judge_all

from introspection_bench.concepts import Concept
from introspection_bench.judges.base import Case
from introspection_bench.judges.models.claude import ClaudeJudge

CONTEXT = multiprocessing.get_context("forkserver")
OCEAN = Concept("ocean", word="ocean")
REPLIES = ["AFFIRM NAME 0", "AFFIRM 1", "NAME 2", "nothing 3", "AFFIRM NAME 4", "GARBLED 5", "AFFIRM NAME 6"]
STRICT = {r: "AFFIRM NAME" in r for r in REPLIES}


def a_judge(services, ledger=None, **options) -> ClaudeJudge:
    defaults = {"max_retries": 1, "timeout_s": 60.0, "poll_s": 0.01, "settle_s": 0.0, "batch_size": 4}
    return ClaudeJudge(base_url=services.url, batch=True, ledger=ledger, **{**defaults, **options})


def cases_of(replies) -> list[Case]:
    return [Case(r, "Do you detect an injected thought?", r, OCEAN) for r in replies]


def judged(judge, replies=REPLIES) -> dict:
    """Verdict by reply; exactly one for each."""
    pairs = list(judge.judge(cases_of(replies)))
    assert sorted(i for i, _ in pairs) == list(range(len(replies)))
    return {replies[i]: v for i, v in pairs}


def assert_right(found) -> None:
    assert {r: v.unscored for r, v in found.items()} == dict.fromkeys(found)
    assert {r: v.strict for r, v in found.items()} == {r: STRICT[r] for r in found}


def run_child(services, store, options, *, kill_at="", kill_on="", number=1) -> int:
    """Judge in another process, which is killed at a point of its own, or when the service sees an event."""
    process = CONTEXT.Process(target=judge_all, args=(store, services.url, REPLIES, options, kill_at))
    seen: Counter[str] = Counter()

    def on_event(event: str) -> None:
        seen[event] += 1
        if event == kill_on and seen[event] == number:
            os.kill(process.pid, signal.SIGKILL)

    services.on_event = on_event
    process.start()
    process.join()
    services.on_event = lambda event: None
    return process.exitcode
