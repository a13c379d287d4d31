"""ChatJudge: any OpenAI-compatible endpoint (a local vLLM server, say) through the ``openai`` package."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import openai

from ..errors import JudgeError, explain
from ._interview import Answer
from ._model import ModelJudge, key_from_environment
from ._prompting import Prompt
from .costs import Price, Usage
from .rubrics import Rubric


class ChatJudge(ModelJudge):
    """A model behind an OpenAI-compatible chat-completions endpoint, with output by JSON schema.

    The key comes from the environment variable ``OPENAI_API_KEY``; an endpoint named by ``base_url`` (or by
    ``OPENAI_BASE_URL``) may need none. The key, where there is one, is sent to that endpoint.

    Args:
        model: the model's name at that endpoint.
        base_url: the endpoint, as in ``http://localhost:8000/v1``; None is OpenAI's own.
        rubric: a built-in rubric's name, a path, or a :class:`Rubric`.
        blinded: whether cases come without disclosure.
        concurrency: calls under way at once.
        temperature: sampling temperature; None leaves it out, for models that accept none.
        max_cost_usd: as for :class:`~introspection_bench.judges.claude.ClaudeJudge`; needs ``price``.
        price: dollars per million tokens; None: the cost is not known.
        max_tokens: what an answer may take at most.
        max_retries: how often the client repeats a call after 408, 409, 429, 5xx, a timeout or a cut connection.
        timeout_s: seconds until a call counts as failed.

    Raises:
        JudgeError: without a key where one is needed, or for an option out of range.
        CostLimitError: for ``max_cost_usd`` without ``price``.
    """

    name: ClassVar[str] = "chat"

    def __init__(
        self,
        *,
        model: str,
        base_url: str | None = None,
        rubric: str | Rubric = "strict4",
        blinded: bool = True,
        concurrency: int = 8,
        temperature: float | None = 0.0,
        max_cost_usd: float | None = None,
        price: Price | None = None,
        max_tokens: int = 2048,
        max_retries: int = 5,
        timeout_s: float = 120.0,
    ) -> None:
        if not model.strip():
            raise JudgeError(explain("model", required="the model's name at the endpoint", got=model, hint=""))
        base_url = base_url or os.environ.get("OPENAI_BASE_URL") or None
        key = key_from_environment("OPENAI_API_KEY", required=base_url is None, environment=os.environ)
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
        self.temperature = temperature
        # The client insists on a key; a local server ignores it.
        self._client = openai.OpenAI(
            api_key=key or "none", base_url=base_url, max_retries=max_retries, timeout=timeout_s
        )
        # OpenAI's newer models take only the second name, many local servers only the first.
        self._limit_name = "max_completion_tokens" if base_url is None else "max_tokens"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask(self, prompt: Prompt) -> Answer:
        parameters: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": self.rubric.name, "strict": True, "schema": prompt.schema},
            },
            self._limit_name: self.max_tokens,
        }
        if self.temperature is not None:
            parameters["temperature"] = self.temperature
        try:
            completion = self._client.chat.completions.create(**parameters)
        except Exception as error:  # one call's failure, of whatever kind, is one unscored verdict
            return self._failure(error)
        return read_completion(completion)


def read_completion(completion: Any) -> Answer:
    """Return what a chat completion says: its text, or why it can't be used.

    The client does not validate what the server sends, so nothing is taken for granted here.
    """
    usage = _usage(getattr(completion, "usage", None))
    choices = getattr(completion, "choices", None)
    if not isinstance(choices, list) or not choices:
        return Answer(problem="malformed response: no choices", usage=usage)
    message = getattr(choices[0], "message", None)
    content, refusal = getattr(message, "content", None), getattr(message, "refusal", None)
    text = content if isinstance(content, str) else ""
    reason = getattr(choices[0], "finish_reason", None)
    if refusal:
        return Answer(text=text, problem=f"the judge refused: {refusal}", usage=usage)
    if reason != "stop":
        return Answer(text=text, problem=f"the answer was cut off: finish_reason {reason}", usage=usage)
    return Answer(text=text, problem=None if text else "malformed answer: empty", usage=usage)


def _usage(usage: Any) -> Usage | None:
    given, made = getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None)
    if not (isinstance(given, int) and isinstance(made, int)):
        return None
    cached = getattr(getattr(usage, "prompt_tokens_details", None), "cached_tokens", None)
    cached = cached if isinstance(cached, int) and 0 <= cached <= given else 0
    return Usage(input=given - cached, output=made, cache_read=cached)
