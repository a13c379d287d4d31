"""A judge that finds something in a tiny model's gibberish, always the same in the same reply."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import attrs

from introspection_bench.digests import digest
from introspection_bench.judges.base import Case, Judge
from introspection_bench.judges.gate import control_replies
from introspection_bench.judges.registry import open_judge
from introspection_bench.verdicts import Verdict


class FakePicky(Judge):
    """Answers by the rules on the gate's replies, and by a trial's digest on others, coherent or not."""

    name: ClassVar[str] = "picky"

    def __init__(self, *, coherent: bool = True) -> None:
        self._rules, self._coherent = open_judge("rules"), coherent
        self.rubric = self._rules.rubric
        self._known = {control.reply for control in control_replies()}

    def judge(self, cases: Sequence[Case]) -> Iterator[tuple[int, Verdict]]:
        for index, verdict in self._rules.judge(cases):
            case, answers = cases[index], dict(verdict.answers)
            if case.reply not in self._known:
                drawn = int(digest("picky", 1, [case.trial])[:4], 16)
                answers = dict.fromkeys(answers, drawn % 3 > 0) | {"coherent": self._coherent}
            yield (
                index,
                attrs.evolve(verdict, judge=self.name, judge_model=None, answers=answers, ground=None, evidence=[]),
            )
