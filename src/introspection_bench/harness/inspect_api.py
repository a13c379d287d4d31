"""The provider ``introspection_bench`` of Inspect (https://inspect.aisi.org.uk): any task, under an injection.

Inspect finds it by the entry point ``inspect_ai``: ``inspect eval TASK --model introspection_bench/demo -M …``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import attrs
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from ..doses import Dose
from ..errors import SpecError, explain
from ..injectors.base import Injector
from ..injectors.requests import Completion
from ..spans import Span
from ..structuring import plain
from ..untrusted import encodable
from ..vectors import ConceptVector
from .inspect_messages import as_sampling, as_scaffold
from .steered_model import Asked, SteeredModel

#: Most new tokens where a task doesn't say, as Inspect's own providers have it.
_MOST_TOKENS = 2048
#: How Inspect calls what ended a reply.
_STOPPED = {"stop": "stop", "length": "max_tokens", "unknown": "unknown"}


@attrs.define(eq=False)
class _Waiting:
    """A question that waits for its batch, and later its answer."""

    asked: Asked
    answer: Completion | Exception | None = None


class SteeredAPI(ModelAPI):  # type: ignore[misc]  # Inspect is not installed where types are checked
    """A steered model that generates text, and nothing else: no tools, no media, no log probabilities.

    Questions that come while others are being answered are answered together, as many as there are. Each reply's
    receipts are checked; a reply without proof is an error and no reply. The output's metadata hold what was injected
    at which positions, the receipts, the seed and the trial's identity.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  # Inspect's own signature
        *,
        backend: str | type[Injector] = "torch",
        vector: str | Path | ConceptVector | None = None,
        concept: str | None = None,
        concepts: str = "lindsey2026",
        layer: int | str | None = None,
        dose: str | Dose | None = None,
        span: str | Span | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Open the model; what the model args mean, and what they raise, is in :meth:`SteeredModel.open`."""
        if base_url is not None or api_key is not None:
            raise SpecError(
                explain("base_url and api_key", required="none: the model runs here", got="one", hint="Leave it out.")
            )
        super().__init__(model_name, config=config)
        self.steered = SteeredModel.open(
            model_name,
            backend=backend,
            vector=vector,
            concept=concept,
            concepts=concepts,
            layer=layer,
            dose=dose,
            span=span,
            options=options,
        )
        # Inspect's cache knows a model by its name and this: without it the unsteered model would answer for this one.
        self.base_url = f"introspection_bench:{self.steered.identity}"
        self._waiting: list[_Waiting] = []
        self._draws: Counter[str] = Counter()
        self._busy = anyio.Lock()

    def close(self) -> None:
        """Free what the backend holds."""
        self.steered.injector.close()

    def max_tokens(self) -> int:
        """Most new tokens where a task doesn't say."""
        return _MOST_TOKENS

    def auto_reasoning_history(self) -> str:
        """Earlier turns are given without their reasoning, as the models' own templates have it."""
        return "none"

    async def generate(
        self,
        input: list[ChatMessage],  # noqa: A002  # Inspect's own signature
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Return one reply; raises the house's errors for what can't be carried and for a reply without proof."""
        sampling, seed = as_sampling(config)
        asked = self.steered.ask(as_scaffold(input, tools, tool_choice), sampling, seed)
        alike = asked.key.digest
        mine = _Waiting(asked.drawn(self._draws[alike]))
        self._draws[alike] += 1
        self._waiting.append(mine)
        try:
            async with self._busy:
                # Whoever comes first takes along all that came meanwhile: theirs is there when their turn comes.
                if mine.answer is None:
                    batch, self._waiting = self._waiting, []
                    await anyio.to_thread.run_sync(self._answer, batch)
        finally:
            if mine in self._waiting:  # given up, by a time limit, before its turn
                self._waiting.remove(mine)
        if not isinstance(mine.answer, Completion):
            raise mine.answer or RuntimeError("a batch ended without an answer")
        return self._output(mine.asked, mine.answer)

    def _answer(self, batch: list[_Waiting]) -> None:
        # Within the thread, which goes on where a time limit ends the one that waits for it.
        for waiting, answer in zip(batch, self.steered.answers([w.asked for w in batch]), strict=True):
            waiting.answer = answer

    def _output(self, asked: Asked, completion: Completion) -> ModelOutput:
        reply, model = completion.reply.parted, self.steered.injector.model
        content = [ContentText(text=encodable(reply.text))]
        if reply.reasoning is not None:
            content = [ContentReasoning(reasoning=encodable(reply.reasoning)), *content]
        message = ChatMessageAssistant(content=content, model=self.model_name, source="generate")
        read, written = len(asked.request.prompt.token_ids), len(reply.token_ids)
        return ModelOutput(
            model=self.model_name,
            choices=[ChatCompletionChoice(message=message, stop_reason=_STOPPED[reply.finish_reason])],
            usage=ModelUsage(input_tokens=read, output_tokens=written, total_tokens=read + written),
            metadata={
                "trial": asked.key.digest,
                # As text: a browser's numbers, as in inspect view, hold 53 bits of its 63.
                "seed": str(asked.request.seed),
                "draw": asked.key.draw,
                "steers": [
                    plain(steer.key) | {"concept": encodable(steer.vector.concept), "span": str(steer.injection.span)}
                    for steer in asked.request.steers
                ],
                "receipts": plain(completion.receipts),
                "sampling": plain(asked.key.sampling),
                "model_fingerprint": model.fingerprint,
                "backend": asked.key.backend,
                "numerics": asked.key.numerics,
            },
        )


# Not as a decorator, which would leave a function in the place of the class.
modelapi(name="introspection_bench")(SteeredAPI)
