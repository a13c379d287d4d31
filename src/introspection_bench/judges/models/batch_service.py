"""The Message Batches API as it answers, and as it may misbehave: each call once or repeated, nothing trusted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import anthropic
import attrs
from anthropic.types.messages import MessageBatchIndividualResponse

from ...untrusted import parse_json
from .service import Tries, describe, same_origin, worth_repeating

T = TypeVar("T")

#: A batch that is not found counts as gone only after so many looks.
_LEAST_LOOKS = 3


class ReadError(RuntimeError):
    """Something of the service could not be read; the text is without the key."""


@attrs.define
class Absence:
    """How long something has not been found. It is gone once that lasted ``settle_s`` seconds and several looks."""

    settle_s: float
    looks: int = 0
    since: float = 0.0

    def lasts(self) -> bool:
        """Take in one more look that found nothing; returns whether it counts as gone by now."""
        if self.looks == 0:
            self.since = time.monotonic()
        self.looks += 1
        return self.looks >= _LEAST_LOOKS and time.monotonic() - self.since >= self.settle_s


@attrs.frozen
class Listed:
    """What the service says of a batch."""

    id: str
    ended: bool
    size: int
    results_url: str | None

    @classmethod
    def of(cls, batch: Any) -> Listed:
        """Take in the client's object, which nobody has validated; raises where it is not as documented."""
        counts = batch.request_counts
        size = counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
        return cls(str(batch.id), batch.processing_status == "ended", int(size), batch.results_url)


@attrs.frozen
class BatchResults:
    """A batch's results file: a result by request id, ids with contradicting results, and lines that can't be read."""

    found: dict[str, Any]
    contradictory: frozenset[str]
    unread: int


@attrs.frozen
class BatchService:
    """The service's endpoints for batches. ``secrets``, the key among them, are kept out of reasons."""

    client: anthropic.Anthropic
    tries: Tries
    secrets: Sequence[str] = attrs.field(repr=False)

    def create(self, requests: list[dict[str, Any]]) -> tuple[str | None, Exception | None]:
        """Send a batch, once; returns its id, or what went wrong (None: an answer came, without an id)."""
        body: Any = requests
        try:
            batch = self.client.messages.batches.create(requests=body)
        except Exception as error:  # whatever went wrong, the batch may exist: the caller looks for it
            return None, error
        batch_id = getattr(batch, "id", None)  # the client does not validate what the service sends
        return (batch_id, None) if isinstance(batch_id, str) and batch_id else (None, None)

    def retrieve(self, batch_id: str) -> Listed | None:
        """Return a batch; None where it is not found, or no longer kept. Raises :class:`ReadError`."""

        def look() -> Listed | None:
            batch = self.client.messages.batches.retrieve(batch_id)
            return None if batch.archived_at is not None else Listed.of(batch)

        return self._read(look)

    def listed(self, since: float) -> list[Listed]:
        """Return the batches created since a time (seconds since 1970), newest first. Raises :class:`ReadError`."""

        def look() -> list[Listed]:
            found = []
            for batch in self.client.messages.batches.list(limit=100):
                if batch.created_at.timestamp() < since:
                    break
                found.append(Listed.of(batch))
            return found

        return self._read(look) or []

    def results(self, batch: Listed) -> BatchResults | None:
        """Return an ended batch's results; None where they are not found. Raises :class:`ReadError`."""
        # The key goes to no other place than the endpoint, whatever address the service gives (behind a gateway, its
        # own).
        url = batch.results_url
        if url is None or not same_origin(url, str(self.client.base_url)):
            url = f"/v1/messages/batches/{quote(batch.id, safe='')}/results"
        content = self._read(lambda: self.client.get(url, cast_to=bytes))
        return None if content is None else _parsed(content)

    def _read(self, look: Callable[[], T]) -> T | None:
        tried = 0
        while True:
            tried += 1
            try:
                return look()
            except anthropic.NotFoundError:
                return None
            except Exception as caught:  # the client lets its transport's and its parser's exceptions through
                error = caught
            if not (worth_repeating(error) and self.tries.again(error, tried)):
                # Outside of the block above: what is raised must not hold the request with its key.
                raise ReadError(describe(error, self.secrets))


def _parsed(content: bytes) -> BatchResults:
    lines: dict[str, Any] = {}
    contradictory: set[str] = set()
    unread = 0
    for raw in filter(bytes.strip, content.split(b"\n")):
        try:
            line = parse_json(raw)
            custom_id = line["custom_id"]
            if not (isinstance(custom_id, str) and isinstance(line["result"], dict)):
                raise TypeError("no line of results")
        except (ValueError, TypeError, KeyError):
            unread += 1
            continue
        if lines.setdefault(custom_id, line) != line:
            contradictory.add(custom_id)
    found = {c: MessageBatchIndividualResponse.construct(**line).result for c, line in lines.items()}
    return BatchResults(found, frozenset(contradictory), unread)
