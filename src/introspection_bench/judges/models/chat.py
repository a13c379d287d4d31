"""ChatJudge: any OpenAI-compatible endpoint (a local vLLM server, say) through the ``openai`` package."""

from __future__ import annotations

import os
import re
from typing import Any, ClassVar, Literal

import openai

from ...errors import JudgeError, explain
from ..rubrics import Rubric
from .asking import ModelJudge
from .costs import Price, Usage
from .interview import Answer
from .ledger import Ledger
from .prompting import Prompt
from .service import key_from_environment, open_client, secret_headers

LIMIT_PARAMETERS = ("max_tokens", "max_completion_tokens", None)
_UNFIT = re.compile(
    "un(supported|recogni[sz]ed|known|expected)|(not|n't) (supported|support|permitted|allowed)|extra|only the default",
    re.IGNORECASE,
)
FORMATS = ("json_schema", "json_object", "text")


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
        max_cost_usd: as for :class:`~introspection_bench.judges.models.claude.ClaudeJudge`; needs ``price``.
        price: dollars per million tokens; None: the cost is not known.
        max_tokens: what an answer may take at most.
        limit_parameter: under which name the endpoint takes ``max_tokens``. None: ``max_completion_tokens`` at
            OpenAI itself, whose newer models take no other, and ``max_tokens`` elsewhere.
        answer_format: how the answer's form is asked for: by ``json_schema``, as any ``json_object``, or not at all
            (``text``), for endpoints that know less. The answer is checked against the rubric in any case.
        max_retries: how often a call is repeated after 408, 409, 429, 5xx, a timeout or a cut connection.
        max_wait_s: how long, in seconds, is waited at most before a call is repeated, whatever the service asks for.
        timeout_s: seconds until a call counts as failed.
        ledger: as for :class:`~introspection_bench.judges.models.claude.ClaudeJudge`.

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
        limit_parameter: Literal["max_tokens", "max_completion_tokens"] | None = None,
        answer_format: Literal["json_schema", "json_object", "text"] = "json_schema",
        max_retries: int = 5,
        max_wait_s: float = 120.0,
        timeout_s: float = 120.0,
        ledger: Ledger | None = None,
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
            max_retries=max_retries,
            max_wait_s=max_wait_s,
            timeout_s=timeout_s,
            ledger=ledger,
            secrets=(key, *secret_headers("OPENAI_CUSTOM_HEADERS", os.environ)),
        )
        chosen = {"limit_parameter": (limit_parameter, LIMIT_PARAMETERS), "answer_format": (answer_format, FORMATS)}
        for name, (value, known) in chosen.items():
            if value not in known:
                raise JudgeError(explain(name, required=f"one of {known}", got=value, hint=""))
        if temperature is not None and not 0 <= temperature <= 2:
            raise JudgeError(explain("temperature", required="a number from 0 to 2, or none", got=temperature, hint=""))
        self.temperature = temperature
        self.answer_format = answer_format
        self.limit_parameter = limit_parameter or ("max_completion_tokens" if base_url is None else "max_tokens")
        # The client insists on a key; a local server ignores it.
        self._client = open_client(
            openai.OpenAI,
            openai.DefaultHttpxClient,
            base_url=base_url or "https://api.openai.com/v1",
            api_key=key or "none",
            timeout_s=timeout_s,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _send(self, prompt: Prompt) -> Answer:
        parameters: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}],
            self.limit_parameter: self.max_tokens,
        }
        if self.answer_format == "json_schema":
            schema = {"name": self.rubric.name, "strict": True, "schema": prompt.schema}
            parameters["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif self.answer_format == "json_object":
            parameters["response_format"] = {"type": "json_object"}
        if self.temperature is not None:
            parameters["temperature"] = self.temperature
        return read_completion(self._client.chat.completions.create(**parameters))

    def _refused_option(self, message: str) -> str | None:
        # Servers word it differently; that a parameter of ours is named, and called unfit as such, is in all of them.
        if not re.search(
            r"un(supported|recogni[sz]ed|known|expected)|not (supported|support|permitted|allowed)|extra", message, re.I
        ):
            return None
        if "max_tokens" in message or "max_completion_tokens" in message:
            other = next(name for name in LIMIT_PARAMETERS if name not in (None, self.limit_parameter))
            return f"Judge with limit_parameter = {other!r} (--option limit_parameter={other})."
        if "temperature" in message:
            return "Judge with temperature = 'none' (--option temperature=none)."
        if "response_format" in message or "json_schema" in message:
            return "Judge with answer_format = 'json_object' or 'text' (--option answer_format=text)."
        return None


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
    """What the server reported, None where it is no whole numbers; whether it can be true is asked elsewhere."""
    given, made = getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None)
    if not (isinstance(given, int) and isinstance(made, int)):
        return None
    cached = getattr(getattr(usage, "prompt_tokens_details", None), "cached_tokens", None)
    cached = cached if isinstance(cached, int) and 0 <= cached <= given else 0
    return Usage(input=given - cached, output=made, cache_read=cached)
