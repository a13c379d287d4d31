"""Message Batches: submit, poll, read, and find again after a crash.

What can go wrong is where money is lost, so the order is fixed. An intent is stored before a batch is sent, its id
once the service gave one. The client's own retries are off for creation: after a timeout nobody knows whether the
batch exists, and trying again would pay twice. Such an intent (and one that a killed process left) is looked up in
the service's list of batches instead: created since the intent, with as many requests, and with our request ids
among its results. Only then is it sent again.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import anthropic
import attrs

from ._interview import Answer
from ._model import FATAL, FatalAnswerError, describe, status_of
from .ledger import BatchLedger, OpenBatch

#: Statuses after which a batch certainly was not created.
_REJECTED = frozenset({400, 401, 402, 403, 404, 405, 413, 415, 422, 429, 529})
_AGAIN = frozenset({429, 529})
#: How far the service's clock may stand behind ours, in seconds, when looking for a lost batch.
_CLOCK_MARGIN = 600.0
#: A batch may hold 100,000 requests or 256 MB; well below both, counted as ASCII JSON.
_MOST_BYTES = 100_000_000


_UNSURE = "a batch may have been sent and can't be looked up now; judging again looks first"


class ReadError(RuntimeError):
    """A batch's results could not be read to their end."""


@attrs.define
class Batches:
    """Asks requests in batches.

    ``read`` turns a message into an answer; ``secret`` is the key, to be kept out of reasons. ``poll_s``: seconds
    between looks at a batch. ``settle_s``: how long a batch may take to show in the service's list. ``attempts``: in
    how many batches a request may be that errored, expired or was cancelled. ``patience``: failed looks in a row
    after which a batch is left for the next run.
    """

    client: anthropic.Anthropic
    ledger: BatchLedger
    read: Callable[[Any], Answer]
    secret: str = attrs.field(repr=False)
    poll_s: float
    settle_s: float
    attempts: int
    size: int
    max_retries: int
    patience: int = 10

    def ask(self, requests: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Answer]]:
        """Yield each request's id and answer once; ``requests`` maps ids to the parameters of a message.

        Answers of earlier batches that were never delivered are used before anything is sent. Raises
        :class:`FatalAnswerError` where the service accepts no batch at all.
        """
        missing = dict.fromkeys(requests)
        tries: Counter[str] = Counter()
        while missing:
            lost: dict[str, str] = {}
            running = self._running(missing, lost)
            covered = {c for batch in running for c in batch.undelivered} | set(lost)
            for ids in self._chunks([c for c in missing if c not in covered], requests):
                started, problem = self._create(ids, requests)
                if started is None:
                    lost.update(dict.fromkeys(ids, problem))
                else:
                    running.append(started)
            for custom_id, answer in self._collect(running, tries, lost):
                del missing[custom_id]
                yield custom_id, answer
            for custom_id, problem in lost.items():
                del missing[custom_id]
                yield custom_id, Answer(problem=problem, lasting=False)

    def _running(self, wanted: Iterable[str], lost: dict[str, str]) -> list[OpenBatch]:
        """Return the batches of earlier rounds and runs that hold wanted requests, each request once."""
        free = set(wanted)
        found: list[OpenBatch] = []
        for batch in self.ledger.open():
            mine = [c for c in batch.undelivered if c in free]
            if not mine:
                continue
            batch_id = batch.batch_id
            if batch_id is None:
                try:
                    batch_id = self._look_for(batch)
                except (anthropic.AnthropicError, ReadError) as error:
                    problem = f"{_UNSURE}: {describe(error, self.secret)}"
                    lost.update(dict.fromkeys(mine, problem))
                    free -= set(mine)
                    continue
                if batch_id is None:
                    self.ledger.withdraw(batch.intent)
                    continue
                self.ledger.submitted(batch.intent, batch_id)
            free -= set(mine)
            found.append(attrs.evolve(batch, batch_id=batch_id, undelivered=tuple(mine)))
        return found

    def _chunks(self, ids: Sequence[str], requests: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
        chunk: list[str] = []
        held = 0
        for custom_id in ids:
            weight = len(json.dumps(requests[custom_id]))
            if chunk and (len(chunk) >= self.size or held + weight > _MOST_BYTES):
                yield chunk
                chunk, held = [], 0
            chunk.append(custom_id)
            held += weight
        if chunk:
            yield chunk

    def _create(self, ids: Sequence[str], requests: Mapping[str, Mapping[str, Any]]) -> tuple[OpenBatch | None, str]:
        """Send a batch; returns it, or None and why there is none."""
        intent = self.ledger.intend(ids)
        entry = next(b for b in self.ledger.open() if b.intent == intent)
        body: Any = [{"custom_id": c, "params": dict(requests[c])} for c in ids]
        tried = 0
        while True:
            batch_id, error = self._send(body)
            if batch_id is None:
                problem = describe(error, self.secret) if error else "no id came back"
                status = status_of(error) if error else None
                if status in FATAL:
                    self.ledger.withdraw(intent)
                    raise FatalAnswerError(problem)
                if status not in _REJECTED:
                    try:
                        batch_id = self._look_for(entry)
                    except (anthropic.AnthropicError, ReadError):
                        # The intent stays: the next run looks again before it sends anything.
                        return None, f"{_UNSURE}: {problem}"
            if batch_id is not None:
                self.ledger.submitted(intent, batch_id)
                return attrs.evolve(entry, batch_id=batch_id), ""
            if tried >= self.max_retries or (status in _REJECTED and status not in _AGAIN):
                self.ledger.withdraw(intent)
                return None, f"batch not accepted: {problem}"
            tried += 1
            time.sleep(_pause(error, tried))

    def _send(self, body: Any) -> tuple[str | None, Exception | None]:
        try:
            batch = self.client.with_options(max_retries=0).messages.batches.create(requests=body)
        except Exception as error:  # whatever went wrong, the batch may exist: the caller looks for it
            return None, error
        batch_id = getattr(batch, "id", None)  # the client does not validate what the service sends
        return (batch_id, None) if isinstance(batch_id, str) and batch_id else (None, None)

    def _look_for(self, batch: OpenBatch) -> str | None:
        """Return the id of the batch that an intent led to, None if there is none."""
        time.sleep(max(0.0, batch.created + self.settle_s - time.time()))
        known = self.ledger.known()
        ours = set(batch.undelivered)
        candidates = []
        for listed in self._listed():
            if listed.created_at.timestamp() < batch.created - _CLOCK_MARGIN:
                break  # the list is newest first
            counts = listed.request_counts
            size = counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
            if listed.id not in known and size == batch.size:
                candidates.append((listed.processing_status != "ended", str(listed.id)))
        # Those that have ended first: somebody else's may take a day.
        for _, batch_id in sorted(candidates):
            while (state := self._state(batch_id)) == "running":
                time.sleep(self.poll_s)
            # A request's id is the digest of all that it asks: one of ours makes the batch ours.
            if state == "ended" and any(line.custom_id in ours for line in self._lines(batch_id)):
                return batch_id
        return None

    def _collect(
        self, running: Sequence[OpenBatch], tries: Counter[str], lost: dict[str, str]
    ) -> Iterator[tuple[str, Answer]]:
        """Wait for batches and yield their answers; what is worth another batch is left out."""
        waiting = list(running)
        failures: Counter[str] = Counter()
        while waiting:
            for batch in list(waiting):
                try:
                    results = self._results(batch)
                except (anthropic.AnthropicError, ReadError) as error:
                    failures[batch.intent] += 1
                    if failures[batch.intent] >= self.patience:
                        problem = describe(error, self.secret)
                        reason = f"batch {batch.batch_id} can't be read now; judging again fetches it: {problem}"
                        lost.update(dict.fromkeys(batch.undelivered, reason))
                        waiting.remove(batch)
                    continue
                if results is None:
                    failures[batch.intent] = 0
                    continue
                waiting.remove(batch)
                for custom_id in batch.undelivered:
                    answer, again = self._outcome(results[custom_id])
                    tries[custom_id] += 1
                    if again and tries[custom_id] < self.attempts:
                        self.ledger.failed(batch.intent, [custom_id])
                    else:
                        yield custom_id, answer
            if waiting:
                time.sleep(self.poll_s)

    def _results(self, batch: OpenBatch) -> dict[str, Any] | None:
        """Return the result of each undelivered request, None for those that are gone; None while it is processed."""
        batch_id = batch.batch_id or ""
        state = self._state(batch_id)
        if state == "running":
            return None
        results: dict[str, Any] = {}
        if state == "gone":
            return dict.fromkeys(batch.undelivered)
        for line in self._lines(batch_id):
            results.setdefault(line.custom_id, line.result)
        absent = sum(c not in results for c in batch.undelivered)
        if absent:
            # Cut short, most likely. Taking it for "no answer" would pay for those requests again.
            raise ReadError(f"{absent} of {len(batch.undelivered)} results are not in the batch's file")
        return results

    def _state(self, batch_id: str) -> Literal["running", "ended", "gone"]:
        try:
            with _reading():
                batch = self.client.messages.batches.retrieve(batch_id)
                archived, status = batch.archived_at, batch.processing_status
        except anthropic.NotFoundError:
            return "gone"
        if archived is not None:
            return "gone"
        return "ended" if status == "ended" else "running"

    def _listed(self) -> Iterator[Any]:
        with _reading():
            yield from self.client.messages.batches.list(limit=100)

    def _lines(self, batch_id: str) -> Iterator[Any]:
        with _reading():
            for line in self.client.messages.batches.results(batch_id):
                if isinstance(getattr(line, "custom_id", None), str):
                    yield line

    def _outcome(self, result: Any) -> tuple[Answer, bool]:
        """Return a result's answer, and whether asking again may give a better one."""
        kind = getattr(result, "type", None)
        if kind == "succeeded":
            return self.read(getattr(result, "message", None)), False
        if kind == "errored":
            error = getattr(getattr(result, "error", None), "error", None)
            name, message = getattr(error, "type", "unknown"), getattr(error, "message", "")
            return Answer(problem=f"batch request errored: {name}: {message}"), name != "invalid_request_error"
        reason = "results are no longer kept" if kind is None else str(kind)
        return Answer(problem=f"batch request without an answer: {reason}"), True


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except (anthropic.AnthropicError, ReadError, GeneratorExit):
        raise
    except Exception as error:  # the client lets its transport's and its JSON parser's exceptions through
        raise ReadError(f"{type(error).__name__}: {error}") from None


def _pause(error: Exception | None, tried: int) -> float:
    """Seconds to wait before trying again: what the service asks for, else 1, 2, 4, ... up to 30."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            return min(float(headers.get(name, "")) * unit, 120.0)
        except ValueError:
            continue
    return float(min(2 ** (tried - 1), 30))
