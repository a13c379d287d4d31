"""ClaudeJudge: Claude through the ``anthropic`` package, one message at a time or in batches."""

from __future__ import annotations

import copy
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

import anthropic
import attrs

from ...digests import digest
from ...errors import JudgeError, explain
from ...verdicts import Verdict
from ..base import Case
from ..rubrics import Call, Rubric
from . import costs
from .asking import ModelJudge
from .batch_service import BatchService
from .batches import Batches
from .costs import Price, Usage
from .interview import Answer
from .ledger import Ledger
from .prompting import Prompt, render
from .service import FatalAnswerError, key_from_environment, open_client, secret_headers
from .sharing import SharedCase

DEFAULT_MODEL = "claude-sonnet-4-6"


class ClaudeJudge(ModelJudge):
    """Claude as a judge, with structured output.

    The key comes from the environment variable ``ANTHROPIC_API_KEY`` and from nowhere else.

    Args:
        rubric: a built-in rubric's name, a path, or a :class:`Rubric`.
        model: the model's id; its price is looked up in the package's table (``judges/models/prices.toml``).
        blinded: whether cases come without disclosure.
        batch: use the Message Batches API: half the price, an answer within 24 hours, mostly within one.
        ledger: where batches and costs are remembered; None: in the run's store once a run is judged
            (:meth:`remember_in`), else in memory.
        concurrency: messages under way at once (without ``batch``).
        max_cost_usd: the most that everything in the ledger may cost, this run's earlier judging included. Judging
            raises :class:`CostLimitError` before it starts if the estimate leads above this, and makes no call, in
            a batch or not, whose highest possible cost could (the rest is unscored).
        price: dollars per million tokens, for a model that the table does not have.
        max_tokens: what an answer may take at most; models that think before they answer need room for that.
        max_retries: how often a call is repeated after 408, 409, 429, 5xx, a timeout or a cut connection.
        max_wait_s: how long, in seconds, is waited at most before a call is repeated, whatever the service asks for.
        timeout_s: seconds until a call counts as failed.
        base_url: another address of the same service; None is ``ANTHROPIC_BASE_URL`` or the service's own.
        poll_s: seconds between looks at a batch.
        settle_s: how long, in seconds, the service may take until a batch that it accepted shows, in its list and
            under its id. Until then a batch that is not found is looked for, not sent again.
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
        ledger: Ledger | None = None,
        concurrency: int = 8,
        max_cost_usd: float | None = None,
        price: Price | None = None,
        max_tokens: int = 2048,
        max_retries: int = 5,
        max_wait_s: float = 120.0,
        timeout_s: float = 120.0,
        base_url: str | None = None,
        poll_s: float = 30.0,
        settle_s: float = 300.0,
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
            max_retries=max_retries,
            max_wait_s=max_wait_s,
            timeout_s=timeout_s,
            ledger=ledger,
            secrets=(key, *secret_headers("ANTHROPIC_CUSTOM_HEADERS", os.environ)),
        )
        ranges: dict[str, tuple[float, int, int]] = {
            "batch_attempts": (batch_attempts, 1, 100),
            "batch_size": (batch_size, 1, 100_000),
        }
        ranges |= {"poll_s": (poll_s, 0, 86_400), "settle_s": (settle_s, 0, 86_400)}
        for name, (value, least, most) in ranges.items():
            if not least <= value <= most:
                raise JudgeError(explain(name, required=f"a number from {least} to {most}", got=value, hint=""))
        self.batch = batch
        self._client = open_client(
            anthropic.Anthropic,
            anthropic.DefaultHttpxClient,
            base_url=base_url or os.environ.get("ANTHROPIC_BASE_URL") or "https://api.anthropic.com",
            api_key=key,
            timeout_s=timeout_s,
        )
        self._batches = Batches(
            service=BatchService(self._client, self._tries, self._secrets),
            purse=self._purse,
            most=lambda request: _at_most(request, self.max_tokens),
            read=lambda message: read_message(message, share=costs.batch_share()),
            poll_s=poll_s,
            settle_s=settle_s,
            attempts=batch_attempts,
            size=batch_size,
            tries=self._tries,
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

    def _send(self, prompt: Prompt) -> Answer:
        return read_message(self._client.messages.create(**self._parameters(prompt)), share=1.0)

    def _unpaid(self, cases: Sequence[Case]) -> Sequence[Case]:
        if not self.batch:
            return cases
        asked = {c for batch in self._purse.ledger.open() for c in batch.undelivered}
        return [
            case
            for case in cases
            if not any(
                _request_id(self._parameters(render(self.rubric, call, case))) in asked for call in self.rubric.calls
            )
        ]

    def _judge(self, shared: list[SharedCase]) -> Iterator[tuple[int, Verdict]]:
        return self._judge_in_batches(shared) if self.batch else super()._judge(shared)

    def _judge_in_batches(self, shared: list[SharedCase]) -> Iterator[tuple[int, Verdict]]:
        self._tries.stopped.clear()
        pending = shared
        asked: dict[int, list[str]] = {id(one): [] for one in shared}
        started = False
        while pending:
            requests: dict[str, dict[str, Any]] = {}
            wanted: dict[str, list[tuple[SharedCase, Call]]] = {}
            outstanding: Counter[int] = Counter()
            for one in pending:
                for call in one.interview.due():
                    parameters = self._parameters(render(self.rubric, call, one.case))
                    custom_id = _request_id(parameters)
                    requests[custom_id] = parameters
                    wanted.setdefault(custom_id, []).append((one, call))
                    asked[id(one)].append(custom_id)
                    outstanding[id(one)] += 1
            refusal: str | None = None
            try:
                for custom_id, answer in self._batches.ask(requests):
                    for number, (one, call) in enumerate(wanted[custom_id]):
                        # Two cases can share one request; it was billed once.
                        heard = answer if number == 0 else attrs.evolve(answer, charged=())
                        one.interview.hear(call, heard)
                        outstanding[id(one)] -= 1
                        if outstanding[id(one)] == 0 and not one.interview.due():
                            started = True
                            yield from self._verdicts(one)
                            if one.interview.lasting:
                                # Only now: the caller asked on, so it has stored the verdict.
                                self._purse.ledger.delivered(asked[id(one)])
            except FatalAnswerError as error:
                if not started:
                    raise self._rejected(error) from None
                refusal = str(error)
            pending = [one for one in pending if outstanding[id(one)] or one.interview.due()]
            if refusal is not None:
                for one in pending:
                    one.interview.problem = refusal
                    yield from self._verdicts(one)
                return


def _request_id(parameters: Mapping[str, Any]) -> str:
    # The id is the digest of the whole request: what was asked before is known again by it.
    return digest("judge_request", 1, parameters)


def _at_most(request: Mapping[str, Any], max_tokens: int) -> Usage:
    schema = json.dumps(request["output_config"])
    tokens = costs.most_tokens(request["system"][0]["text"], request["messages"][0]["content"], schema)
    return Usage(input=tokens, output=max_tokens, share=costs.batch_share())


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
    """What the service reported, None where it is no four whole numbers; whether it can be true is asked elsewhere."""
    names = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    read, made, written, cached = (getattr(usage, name, None) for name in names)
    written, cached = written or 0, cached or 0  # services without a cache leave these out
    if not all(isinstance(count, int) for count in (read, made, written, cached)):
        return None
    return Usage(cast("int", read), cast("int", made), written, cached, share)
