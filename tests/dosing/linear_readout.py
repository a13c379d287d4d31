"""A model whose next-token distribution under injection is known in closed form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from introspection_bench import ConceptVector, Provenance
from introspection_bench.injectors.base import Injector, ModelInfo
from introspection_bench.injectors.receipts import make_receipt, unmeasured
from introspection_bench.injectors.requests import Completion, Request
from introspection_bench.measures.tokens import first_tokens
from introspection_bench.testing import tiny_tokenizer
from introspection_bench.trials import Reply

WIDTH = 8
TOKENIZER = tiny_tokenizer()
VOCABULARY = len(TOKENIZER)
BREAD = first_tokens(["Bread"], TOKENIZER)
SHARE = len(BREAD) / VOCABULARY


class FakeLinearReadout(Injector):
    """Has one block, whose output is as long as :meth:`norm` says, along the last direction, at every position.

    Its logits are 0 but for the first tokens of "Bread", which have what stands in the first direction, and for token
    0, which has what stands in the second. All others are orthogonal to the unembedding.
    """

    name = "linear"
    reads = frozenset(("residuals", "distribution"))

    def __init__(self, dtype: str = "float32") -> None:
        self.requests = 0
        self._dtype = dtype

    @classmethod
    def open(cls, model: object) -> FakeLinearReadout:
        return cls()

    @property
    def model(self) -> ModelInfo:
        return ModelInfo("linear", "f" * 64, 1, WIDTH, self._dtype)

    @property
    def tokenizer(self) -> object:
        return TOKENIZER

    @staticmethod
    def norm(ids: Sequence[int]) -> float:
        return 1 + (sum(ids) % 7) / 10

    def _generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        for index, request in enumerate(requests):
            self.requests += 1
            length = len(request.prompt.token_ids)
            norm = self.norm(request.prompt.token_ids)
            stream = np.tile(np.eye(WIDTH)[-1] * norm, (length, 1))
            receipts = []
            for steer in request.steers:
                where = slice(steer.positions.start, steer.positions.stop)
                vector = steer.vector.values.astype(np.float64)
                size = steer.dose.magnitude * {"raw": steer.vector.norm, "residual": norm}[steer.unit]
                stream[where] += size * vector / np.linalg.norm(vector)
                measured = unmeasured(length)
                measured[:, where] = [[norm], [abs(size)], [abs(size)]]
                receipts.append(make_receipt(measured, steer, dtype="float32"))
            logits = np.zeros((length, VOCABULARY))
            logits[:, 0] = stream[:, 1]
            logits[:, BREAD] = stream[:, :1]
            logprobs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
            readings = [logprobs[r.positions.start : r.positions.stop].astype(np.float32) for r in request.reads]
            yield Completion(index, Reply("", (), "length"), receipts, readings)


def along(place: int, concept: str = "Bread", length: float = 1.0) -> ConceptVector:
    """A vector along one direction: 0 says "Bread", 1 another token, the rest nothing."""
    provenance = Provenance("by hand", "linear", "", "", 0, -1, 1.0, None)
    return ConceptVector(np.eye(WIDTH)[place] * length, concept, 0, provenance)


def kl_of(shift: float) -> float:
    """The divergence where the logits of "Bread" rise by ``shift`` from a uniform distribution, in nats."""
    total = 1 - SHARE + SHARE * math.exp(shift)
    return SHARE * math.exp(shift) / total * shift - math.log(total)


def gain_of(shift: float) -> float:
    """How much the log-probability of "Bread" rises then."""
    return shift - math.log(1 - SHARE + SHARE * math.exp(shift))


def entropy_of(shift: float) -> float:
    """The entropy then."""
    return math.log(VOCABULARY * (1 - SHARE + SHARE * math.exp(shift))) - shift * SHARE * math.exp(shift) / (
        1 - SHARE + SHARE * math.exp(shift)
    )
