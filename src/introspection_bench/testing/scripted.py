"""An injector without a model: it answers by the seed after a stated time, with honest receipts.

For what is measured or tried of everything around a model: pools, recording, progress.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

import attrs
import numpy as np
import numpy.typing as npt

from ..digests import digest
from ..injection import Receipt
from ..injectors.base import Injector, ModelInfo
from ..injectors.requests import Completion, Request
from ..prompts import RenderedPrompt
from ..trials import Reply

_REPLIES = ("No, I do not detect anything.", "Yes, I detect an injected thought. It is about bread.")


@attrs.frozen
class _Characters:
    """One token for each character; no chat template."""

    chat_template: Any = None
    bos_token: str | None = None

    def __call__(self, text: str, **_: Any) -> Any:
        """Return ids and offsets."""
        return {"input_ids": [ord(c) for c in text], "offset_mapping": [(n, n + 1) for n in range(len(text))]}

    def apply_chat_template(self, conversation: Any, **_: Any) -> Any:
        """Raise: there is none."""
        raise NotImplementedError


class ScriptedInjector(Injector):
    """See the module. It answers one request after the other, each after ``latency_s`` seconds."""

    name: ClassVar[str] = "scripted"

    def __init__(self, model: str, latency_s: float) -> None:
        self._model, self._latency_s = model, latency_s

    @classmethod
    def open(cls, model: Any, *, latency_s: float = 0.0) -> Self:
        """Open nothing under a name, which stands in the fingerprint."""
        return cls(str(model), latency_s)

    @property
    def model(self) -> ModelInfo:
        """Four blocks of width 8."""
        return ModelInfo(self._model, digest("scripted", 1, self._model), n_layers=4, hidden_size=8, dtype="float32")

    @property
    def tokenizer(self) -> Any:
        """One token for each character."""
        return _Characters()

    def answer(self, request: Request) -> Reply:
        """Return the reply to a request, by its seed alone."""
        text = _REPLIES[request.seed % len(_REPLIES)][: request.sampling.max_new_tokens]
        return Reply(text, tuple(ord(c) for c in text), "stop")

    def _generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        for index, request in enumerate(requests):
            time.sleep(self._latency_s)
            reply = self.answer(request)
            receipts = [
                Receipt(*steer.positions.expected(len(reply.token_ids)), steer.dose.magnitude, steer.dose.magnitude)
                for steer in request.steers
            ]
            yield Completion(index, reply, receipts)

    def _capture(self, prompts: Sequence[RenderedPrompt], layers: Sequence[int]) -> npt.NDArray[np.float32]:
        rows = [
            [np.random.default_rng([int(p.digest[:8], 16), layer]).standard_normal(8) for layer in layers]
            for p in prompts
        ]
        return np.array(rows, np.float32)
