"""ClaudeJudge: Claude through the ``anthropic`` package, one message at a time or in batches."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import anthropic
import attrs

from ..digests import digest
from ..errors import JudgeError, explain
from ..trials import Verdict
from . import costs
from ._batches import Batches
from ._interview import Answer
from ._model import FatalAnswerError, ModelJudge, Unit, key_from_environment
from ._prompting import Prompt, render
from .costs import Price, Usage
from .ledger import BatchLedger, in_memory_ledger
from .rubrics import Call, Rubric

DEFAULT_MODEL = "claude-sonnet-4-6"


class ClaudeJudge(ModelJudge):
    """Claude as a judge, with structured output.

    The key comes from the environment variable ``ANTHROPIC_API_KEY`` and from nowhere else.

    Args:
        rubric: a built-in rubric's name, a path, or a :class:`Rubric`.
        model: the model's id; its price is looked up in the package's table (``judges/prices.toml``).
        blinded: whether cases come without disclosure.
        batch: use the Message Batches API: half the price, an answer within 24 hours, mostly within one.
        ledger: where batches are remembered; a :class:`~introspection_bench.judges.ledger.SqliteBatchLedger` on the
            run's store makes judging survive a crash. None keeps them in memory.
        concurrency: messages under way at once (without ``batch``).
        max_cost_usd: judging raises :class:`CostLimitError` before it starts if the estimate is above this, and
            stops asking (the rest is unscored) before it could be exceeded. Inside one batch only the estimate holds.
        price: dollars per million tokens, for a model that the table does not have.
        max_tokens: what an answer may take at most; models that think before they answer need room for that.
        max_retries: how often the client repeats a call after 408, 409, 429, 5xx, a timeout or a cut connection.
        timeout_s: seconds until a call counts as failed.
        base_url: another address of the same service; the client also reads ``ANTHROPIC_BASE_URL``.
        poll_s: seconds between looks at a batch.
        settle_s: how long, in seconds, a batch may take to show in the service's list.
        batch_attempts: in how many batches a request is tried that errored, expired or was cancelled.
        batch_size: most requests in one batch (the service allows 100,000).

    Raises:
        JudgeError: without a key, or for an option out of range.
        CostLimitError: for ``max_cost_usd`` with a model whose price is not known.
    """

    name: ClassVar[str] = "claude"

    def __init__(
        self,
        *,
        rubric: str | Rubric = "strict4",
        model: str = DEFAULT_MODEL,
        blinded: bool = True,
        batch: bool = False,
        ledger: BatchLedger | None = None,
        concurrency: int = 8,
        max_cost_usd: float | None = None,
        price: Price | None = None,
        max_tokens: int = 2048,
        max_retries: int = 5,
        timeout_s: float = 120.0,
        base_url: str | None = None,
        poll_s: float = 30.0,
        settle_s: float = 30.0,
        batch_attempts: int = 3,
        batch_size: int = 10_000,
    ) -> None:
        key = key_from_environment("ANTHROPIC_API_KEY", required=True, environment=os.environ)
        price = price or costs.price_of(model)
        super().__init__(
            rubric=rubric,
            model=model,
            blinded=blinded,
            concurrency=concurrency,
            max_tokens=max_tokens,
            max_cost_usd=max_cost_usd,
            price=price,
            secret=key,
        )
        if batch_attempts < 1 or not 1 <= batch_size <= 100_000:
            raise JudgeError(
                explain(
                    "batch_attempts and batch_size",
                    required="at least 1, and 1 to 100,000",
                    got=(batch_attempts, batch_size),
                    hint="",
                )
            )
        self.batch = batch
        self._client = anthropic.Anthropic(api_key=key, base_url=base_url, max_retries=max_retries, timeout=timeout_s)
        self._ledger = ledger or in_memory_ledger()
        self._batches = Batches(
            client=self._client,
            ledger=self._ledger,
            read=lambda message: read_message(message, share=costs.batch_share()),
            secret=key,
            poll_s=poll_s,
            settle_s=settle_s,
            attempts=batch_attempts,
            size=batch_size,
            max_retries=max_retries,
        )

    @property
    def cost_share(self) -> float:
        """A batch's calls cost half."""
        return costs.batch_share() if self.batch else 1.0

    def live(self) -> ClaudeJudge:
        """Return this judge without batches: same client, same budget."""
        judge = copy.copy(self)
        judge.batch = False
        return judge

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _parameters(self, prompt: Prompt) -> dict[str, Any]:
        system: dict[str, Any] = {"type": "text", "text": prompt.system}
        minimum = self._purse.price.cache_minimum if self._purse.price else None
        if minimum is not None and costs.estimate_tokens(prompt.system) >= minimum:
            system["cache_control"] = {"type": "ephemeral"}
        return {
            "model": self.model,
            "max_tokens": self.max_tokens,
            "system": [system],
            "messages": [{"role": "user", "content": prompt.user}],
            "output_config": {"format": {"type": "json_schema", "schema": prompt.schema}},
        }

    def _ask(self, prompt: Prompt) -> Answer:
        try:
            message = self._client.messages.create(**self._parameters(prompt))
        except Exception as error:  # one call's failure, of whatever kind, is one unscored verdict
            return self._failure(error)
        return read_message(message, share=1.0)

    def _judge(self, units: list[Unit]) -> Iterator[tuple[int, Verdict]]:
        return self._judge_in_batches(units) if self.batch else super()._judge(units)

    def _judge_in_batches(self, units: list[Unit]) -> Iterator[tuple[int, Verdict]]:
        pending = units
        asked: dict[int, list[str]] = {id(unit): [] for unit in units}
        started = False
        while pending:
            requests: dict[str, dict[str, Any]] = {}
            wanted: dict[str, list[tuple[Unit, Call]]] = {}
            outstanding: Counter[int] = Counter()
            for unit in pending:
                for call in unit.interview.due():
                    parameters = self._parameters(render(self.rubric, call, unit.case))
                    # The id is the digest of the whole request: what was asked before is known again by it.
                    custom_id = digest("judge_request", 1, parameters)
                    requests[custom_id] = parameters
                    wanted.setdefault(custom_id, []).append((unit, call))
                    asked[id(unit)].append(custom_id)
                    outstanding[id(unit)] += 1
            refusal: str | None = None
            try:
                if not self._purse.affords(self._expected(requests)):
                    refusal = "cost limit reached: not asked"
                for custom_id, answer in self._batches.ask(requests) if refusal is None else ():
                    self._purse.settle(Usage(), answer.usage)
                    for number, (unit, call) in enumerate(wanted[custom_id]):
                        # Two cases can share one request; it was billed once.
                        heard = answer if number == 0 else attrs.evolve(answer, usage=None)
                        unit.interview.hear(call, heard)
                        outstanding[id(unit)] -= 1
                        if outstanding[id(unit)] == 0 and not unit.interview.due():
                            started = True
                            yield from self._verdicts(unit)
                            if unit.interview.lasting:
                                # Only now: the caller asked on, so it has stored the verdict.
                                self._ledger.delivered(asked[id(unit)])
            except FatalAnswerError as error:
                if not started:
                    raise self._rejected(error) from None
                refusal = str(error)
            pending = [unit for unit in pending if outstanding[id(unit)] or unit.interview.due()]
            if refusal is not None:
                for unit in pending:
                    unit.interview.problem = refusal
                    yield from self._verdicts(unit)
                return

    def _expected(self, requests: Mapping[str, Mapping[str, Any]]) -> Usage:
        tokens = sum(
            costs.request_tokens(r["system"][0]["text"], r["messages"][0]["content"]) for r in requests.values()
        )
        return Usage(input=tokens, output=len(requests) * costs.EXPECTED_OUTPUT, share=self.cost_share)


def read_message(message: Any, *, share: float) -> Answer:
    """Return what a message says: its text, or why it can't be used.

    The client does not validate what the service sends, so nothing is taken for granted here.
    """
    usage = _usage(getattr(message, "usage", None), share)
    reason = getattr(message, "stop_reason", None)
    content = getattr(message, "content", None)
    if not isinstance(content, list):
        return Answer(problem="malformed response: no content", usage=usage)
    text = "".join(str(getattr(block, "text", "")) for block in content if getattr(block, "type", None) == "text")
    if reason == "end_turn":
        return Answer(text=text, usage=usage, problem=None if text else "malformed answer: empty")
    if reason == "refusal":
        category = getattr(getattr(message, "stop_details", None), "category", None)
        return Answer(text=text, problem=f"the judge refused ({category or 'no category given'})", usage=usage)
    return Answer(text=text, problem=f"the answer was cut off: stop_reason {reason}", usage=usage)


def _usage(usage: Any, share: float) -> Usage | None:
    counts = [
        getattr(usage, name, None) or 0
        for name in ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    ]
    if usage is None or not all(isinstance(count, int) for count in counts):
        return None
    return Usage(counts[0], counts[1], counts[2], counts[3], share)
