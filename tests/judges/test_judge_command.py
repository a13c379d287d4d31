"""Judging 480 replies through batches is one command that survives being killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
from collections import Counter
from multiprocessing import forkserver
from pathlib import Path

import pytest
from batch_child import run_command

from introspection_bench.concepts import load_concepts
from introspection_bench.interop import read_results
from introspection_bench.judges import open_judge
from introspection_bench.judges.base import Case
from introspection_bench.judges.gate import control_replies
from introspection_bench.sweep import Store, import_results
from introspection_bench.sweep.judging import pending_cases

CONTEXT = multiprocessing.get_context("forkserver")
WORDS = {True: "yes", False: "no", None: "n/a"}


RULES = open_judge("rules")
CONCEPTS = {c.names[0]: c for name in ("lindsey2026", "pairs") for c in load_concepts(name)}


def by_rules(case: dict, schema: dict) -> str:
    """A model that answers as the rules judge does, so that every verdict is known and the controls are passed."""
    concept = CONCEPTS[case["concept"]["name"]]
    ((_, verdict),) = RULES.judge([Case("t", case["question"], case["reply"], concept)])
    answers = {q: WORDS[verdict.answer(q)] for q in schema["properties"] if q != "reason"}
    return json.dumps({"reason": "by the rules", **answers})


@pytest.mark.published
@pytest.mark.slow
def test_480_replies_are_judged_in_batches_by_a_command_that_is_killed_and_repeated(services, published, tmp_path):
    run = tmp_path / "run"
    source = read_results(published / "llama405b" / "layer84_canonical.judged.json")
    with import_results([source], run, load_concepts("pairs")) as store:
        cases, _ = pending_cases(store, RULES)
        path = store.path
    expected = {cases[i].trial: v for i, v in RULES.judge(cases)}
    assert len(expected) == 480
    services.grade = by_rules

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        CONTEXT.set_forkserver_preload(["batch_child", "pytest"])
        forkserver.ensure_running()
    command = ["judge", str(run), "--judge", "claude", "--batch", "--base-url", services.url, "--max-cost", "20"]

    def judge(kill_on: str = "", number: int = 1, verdicts: int = 0) -> int:
        process = CONTEXT.Process(target=run_command, args=(command, verdicts))
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

    asked_before = len(services.bodies)
    assert judge("create after") == -signal.SIGKILL
    assert judge("retrieve") == -signal.SIGKILL
    assert judge("results midway") == -signal.SIGKILL
    assert judge(verdicts=100) == -signal.SIGKILL
    assert recorded(path) == 100
    assert judge() == 0
    # The command's own check of the judge asks the control replies directly, each time it starts.
    assert len(services.bodies) - asked_before == 5 * len(control_replies())
    assert set(services.billed.values()) == {1}
    assert len(services.batches) == 1
    with Store.open(run) as store:
        found = {r.key.digest: [v for v in r.verdicts if v.rubric == "strict4/1"] for r in store.records()}
    assert all(len(verdicts) == 1 for verdicts in found.values())
    criteria = ("affirmative", "identifies", "immediate", "coherent", "refused")
    wrong = [
        trial
        for trial, (verdict,) in found.items()
        if expected[trial].unscored is None
        and [verdict.answer(c) for c in criteria] != [expected[trial].answer(c) for c in criteria]
    ]
    assert wrong == []


def recorded(path: Path) -> int:
    """Our verdicts in the store; those that came with the published file are by another rubric."""
    question = "SELECT count(*) FROM verdicts WHERE json_extract(verdict, '$.rubric') = 'strict4/1'"
    with sqlite3.connect(path, timeout=30) as connection:
        return connection.execute(question).fetchone()[0]
