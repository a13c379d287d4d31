"""A judging process that can be killed at any point: what test_claude_batches.py starts by fork server."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import anthropic

from introspection_bench.cli import app
from introspection_bench.concepts import Concept
from introspection_bench.judges.base import Case
from introspection_bench.judges.models.claude import ClaudeJudge
from introspection_bench.judges.models.ledger import Ledger
from introspection_bench.sweep import Store

OCEAN = Concept("ocean", word="ocean")
# The client imports most of itself on first use; the fork server does that once for all children.
_ = anthropic.Anthropic(api_key="unused").messages.batches.create


def run_command(arguments: list[str], kill_after: int) -> None:
    """Run the command line as a user does, but without waiting half a minute between looks at a batch.

    With a number it kills itself (SIGKILL) as soon as so many verdicts are recorded.
    """
    add, left = Store.add_verdict, iter(range(kill_after - 1, -1, -1))

    def strike(*args):
        add(*args)
        if next(left, None) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    Store.add_verdict = strike
    os.environ["ANTHROPIC_API_KEY"] = "sk-ant-secret-0123456789"
    defaults = ClaudeJudge.__init__.__kwdefaults__
    defaults.update(poll_s=0.05, settle_s=0.0)
    app(arguments, standalone_mode=False)


class KillingLedger(Ledger):
    """Kills its process (SIGKILL) just before or after the n-th call of a method."""

    def __init__(self, store: Path, kill_at: str) -> None:
        super().__init__(store)
        self._when, self._method, number = (kill_at or "never x 0").split()
        self._left = int(number)

    def _point(self, when: str, method: str) -> None:
        if (when, method) == (self._when, self._method):
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def intend(self, *arguments):
        self._point("before", "intend")
        batch = super().intend(*arguments)
        self._point("after", "intend")
        return batch

    def submitted(self, intent, batch_id):
        self._point("before", "submitted")
        super().submitted(intent, batch_id)
        self._point("after", "submitted")

    def failed(self, intent, custom_ids):
        self._point("before", "failed")
        super().failed(intent, custom_ids)
        self._point("after", "failed")

    def delivered(self, custom_ids):
        self._point("before", "delivered")
        super().delivered(custom_ids)
        self._point("after", "delivered")


def judge_all(store: Path, url: str, replies: list[str], options: dict, kill_at: str) -> None:
    """Judge what has no verdict yet; a second verdict on a reply would be an integrity error."""
    os.environ["ANTHROPIC_API_KEY"] = "sk-ant-secret-0123456789"  # the fork server has the environment of its start
    ledger = KillingLedger(store, kill_at)
    db = sqlite3.connect(store, timeout=30)
    db.execute("CREATE TABLE IF NOT EXISTS verdicts (reply TEXT PRIMARY KEY, strict INT, unscored TEXT, cost REAL)")
    db.commit()
    there = {row[0] for row in db.execute("SELECT reply FROM verdicts WHERE unscored IS NULL")}
    db.execute("DELETE FROM verdicts WHERE unscored IS NOT NULL")
    db.commit()
    cases = [Case(r, "Do you detect an injected thought?", r, OCEAN) for r in replies if r not in there]
    judge = ClaudeJudge(
        base_url=url,
        batch=True,
        ledger=ledger,
        timeout_s=60.0,
        **{"max_retries": 1, "poll_s": 0.01, "settle_s": 0.0, "batch_size": 4, **options},
    )
    for index, verdict in judge.judge(cases):
        ledger._point("before", "record")
        db.execute(
            "INSERT INTO verdicts VALUES (?, ?, ?, ?)",
            (cases[index].reply, verdict.strict, verdict.unscored, verdict.cost_usd),
        )
        db.commit()
        ledger._point("after", "record")
