"""A scripted model whose dose-response curves are known, and a judge that reads its replies to the letter."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from scipy.optimize import brentq
from scipy.special import expit
from transformers import AutoTokenizer

from introspection_bench.concepts import Concept, ConceptSet
from introspection_bench.injection import Receipt
from introspection_bench.injectors import Completion, Injector, ModelInfo, Request
from introspection_bench.judges.base import Judge
from introspection_bench.judges.gate import control_replies
from introspection_bench.judges.registry import open_judge
from introspection_bench.sweep import Design, Ground, Injected, Searching, Unsteered
from introspection_bench.sweep.planner import PlannedTrial
from introspection_bench.trials import Reply, TrialRecord
from introspection_bench.vectors import ConceptVector, Provenance
from introspection_bench.verdicts import Verdict

CONCEPTS = ConceptSet("two", [Concept("Oceans", word="Oceans"), Concept("Bread", word="Bread")])
_TOLD = Provenance("made", "m", "f" * 64, "p" * 64, 0, -1, 1.0, None)
VECTORS = [ConceptVector(np.random.default_rng(n).standard_normal(8), c.name, 1, _TOLD) for n, c in enumerate(CONCEPTS)]
DESIGN = Design(
    concepts=CONCEPTS,
    vectors=VECTORS,
    layers=[1],
    doses=["0.05 residual", "3 residual"],
    arms=[Unsteered(2), Injected(1)],
    date=datetime.date(2026, 1, 2),
)


@attrs.frozen
class Curves:
    """Of one concept: naming rises around one dose and is lost again around another; coherence falls from a plateau."""

    named: float
    coherent: float
    steep: float = 5.0
    plateau: float = 1.0
    lost: float = math.inf

    def rates(self, dose: float) -> tuple[float, float]:
        logs = [self.steep * (math.log(dose) - math.log(at)) if at < math.inf else -math.inf for at in (self.named, self.lost, self.coherent)]  # fmt: skip  # noqa: E501
        named, lost, broken = (float(expit(v)) for v in logs)
        return named * (1 - lost), self.plateau * (1 - broken)

    @property
    def crossing(self) -> float:
        at = brentq(
            lambda x: np.subtract(*self.rates(math.exp(x))), math.log(0.02), math.log(min(self.lost, 6.0)) - 0.5
        )
        return math.exp(at)


SWEET = Curves(named=0.3, coherent=0.7)  # a range of doses at which the word is named in coherent text
LATE = Curves(named=1.0, coherent=0.5, steep=6, plateau=0.7, lost=2.4)  # named only when the text is breaking
NEVER = Curves(named=math.inf, coherent=0.4)


class FakeModel(Injector):
    """Says of each reply whether it names and is coherent, drawn from its concept's curves; runs nothing."""

    name = "fake"

    def __init__(self, folder: Path, curves: dict[str, Curves]) -> None:
        self._tokenizer, self._curves = AutoTokenizer.from_pretrained(folder), curves

    @classmethod
    def open(cls, model: Any) -> FakeModel:
        raise NotImplementedError

    @property
    def model(self) -> ModelInfo:
        return ModelInfo("fake", "f" * 64, 4, 8, "float32")

    @property
    def tokenizer(self) -> Any:
        return self._tokenizer

    def _generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        for index, request in enumerate(requests):
            words = said(self._curves, request, request.seed)
            receipts = [Receipt(*s.positions.expected(2), 0.1, 0.1) for s in request.steers]
            yield Completion(index, Reply(" ".join(words) or "nothing", (1, 2), "stop"), receipts)


class FakeReader(Judge):
    """The rules on the gate's replies; of others each criterion whose word the reply has."""

    name = "rules"

    def __init__(self, *, unscored_every: int = 0) -> None:
        self._rules, self._every = open_judge("rules"), unscored_every
        self.rubric = self._rules.rubric
        self._known = {control.reply for control in control_replies()}

    def judge(self, cases: Any) -> Iterator[tuple[int, Verdict]]:
        for index, verdict in self._rules.judge(cases):
            if cases[index].reply in self._known:
                yield index, verdict
            else:
                yield index, read(verdict, cases[index].reply.split())


def read(verdict: Verdict, words: Sequence[str]) -> Verdict:
    answers = {name: name in words for name in ("affirmative", "identifies", "immediate", "coherent")}
    return attrs.evolve(verdict, answers=answers, ground=None, evidence=[])


def said(curves: dict[str, Curves], request: Request, seed: int) -> list[str]:
    """The criteria that a reply meets."""
    if not request.steers:
        return ["coherent"]
    steer, draw = request.steers[0], np.random.default_rng(seed)
    named, coherent = curves[steer.vector.concept].rates(steer.dose.magnitude)
    return [word for word, rate in (("identifies", named), ("coherent", coherent)) if draw.random() < rate]


def ground_of(tokenizer: Any) -> Ground:
    vectors = {(v.concept, 1): v for v in VECTORS}
    return Ground(
        ModelInfo("fake", "f" * 64, 4, 8, "float32"), "fake", 1, tokenizer, datetime.date(2026, 1, 2), vectors
    )


def record(trial: PlannedTrial, words: Sequence[str] | None) -> TrialRecord:
    """A finished trial whose judge found those criteria; None: it could not say."""
    verdict = Verdict("rules", "strict4/1", "r" * 64, trial.condition.asked or "Oceans")
    verdict = attrs.evolve(verdict, unscored="HTTP 500") if words is None else read(verdict, words)
    return TrialRecord(trial.trial, Reply("", (1,), "stop"), verdicts=[verdict])


def play(planner: Searching, ground: Ground, curves: dict[str, Curves], world: int) -> list[TrialRecord]:
    """Search in a world: one of many draws of what the scripted model says."""
    done: list[TrialRecord] = []
    while asked := planner.ask(ground, done):
        done += [
            record(t, said(curves, t.request, t.request.seed ^ (world * 0x9E3779B97F4A7C15 & 2**63 - 1))) for t in asked
        ]
    return done
