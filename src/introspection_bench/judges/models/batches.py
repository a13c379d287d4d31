"""Message Batches: submit, poll, read, and find again after a crash.

What can go wrong is where money is lost, so the order is fixed. An intent is stored before a batch is sent, with what
it may cost, and its id once the service gave one. Creation is never repeated blindly: after a timeout nobody knows
whether the batch exists, and trying again would pay twice. Such an intent (and one that a killed process left) is
looked up in the service's list of batches instead: created since the intent, with as many requests, and with our
request ids among its results. Only then is it sent again. A batch that is not found counts as gone once that lasted.
"""

from __future__ import annotations

import json
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from ...errors import IntrospectionBenchWarning
from .batch_service import Absence, BatchResults, BatchService, Listed, ReadError
from .costs import Purse, Ticket, Usage
from .interview import Answer, redact
from .ledger import OpenBatch, batch_entry
from .service import FATAL, FatalAnswerError, Tries, describe, rejected, status_of

_AGAIN = frozenset({429, 529})
#: How far the service's clock may stand behind ours, in seconds, when looking for a lost batch: a clock that shows
#: another zone's time is off by hours, and a batch that is not found is paid for again.
_CLOCK_MARGIN = 86_400.0
#: A batch may hold 100,000 requests or 256 MB; well below both, counted as ASCII JSON.
_MOST_BYTES = 100_000_000

_UNSURE = "a batch may have been sent and can't be looked up now; judging again looks first"


@attrs.define
class Watch:
    """A batch whose results are waited for: looks that failed in a row, and what was read of them so far."""

    batch: OpenBatch
    absence: Absence
    failures: int = 0
    problem: str = ""
    results: BatchResults | None = None
    gone: bool = False


@attrs.define
class Batches:
    """Asks requests in batches.

    ``most`` says what a request may use at most; ``read`` turns a message into an answer. ``poll_s``: seconds
    between looks at a batch. ``settle_s``: how long a batch may take to show. ``attempts``: in how many batches a
    request may be that errored, expired or was cancelled. ``patience``: failed looks in a row after which a batch is
    left for the next run, or its results are taken as they are.
    """

    service: BatchService
    purse: Purse
    most: Callable[[Mapping[str, Any]], Usage]
    read: Callable[[Any], Answer]
    poll_s: float
    settle_s: float
    attempts: int
    size: int
    tries: Tries
    patience: int = 10

    def ask(self, requests: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Answer]]:
        """Yield each request's id and answer once; ``requests`` maps ids to the parameters of a message.

        Answers of earlier batches that were never delivered are used before anything is sent. What the limit does
        not allow now is sent when earlier batches turned out cheaper than they might have been. Raises
        :class:`FatalAnswerError` where the service accepts no batch at all.
        """
        missing = dict.fromkeys(requests)
        tries: Counter[str] = Counter()
        charged: dict[str, list[Usage]] = {c: [] for c in requests}
        while missing:
            lost: dict[str, str] = {}
            running = self._running(missing, lost)
            covered = {c for batch in running for c in batch.undelivered} | set(lost)
            fresh = [c for c in missing if c not in covered]
            while fresh and (batch := self._intend(fresh, requests)) is not None:
                sent = set(batch.undelivered)
                fresh = [c for c in fresh if c not in sent]
                batch_id, problem = self._create(batch, requests)
                if batch_id is None:
                    lost.update(dict.fromkeys(sent, problem))
                else:
                    running.append(attrs.evolve(batch, batch_id=batch_id))
            if fresh and not running:
                lost.update(dict.fromkeys(fresh, f"cost limit reached: not asked; {self.purse.left()}"))
            for custom_id, answer in self._collect(running, requests, tries, charged, lost):
                del missing[custom_id]
                yield custom_id, answer
            for custom_id, problem in lost.items():
                del missing[custom_id]
                yield custom_id, Answer(problem=problem, charged=tuple(charged[custom_id]), lasting=False)

    def _running(self, wanted: Iterable[str], lost: dict[str, str]) -> list[OpenBatch]:
        """Return the batches of earlier rounds and runs that hold wanted requests, each request once."""
        ledger = self.purse.ledger
        free = set(wanted)
        found: list[OpenBatch] = []
        for batch in ledger.open():
            mine = [c for c in batch.undelivered if c in free]
            if not mine:
                continue
            batch_id = batch.batch_id
            if batch_id is None:
                try:
                    batch_id = self._look_for(batch)
                except ReadError as error:
                    lost.update(dict.fromkeys(mine, f"{_UNSURE}: {error}"))
                    free -= set(mine)
                    continue
                if batch_id is None:
                    ledger.withdraw(batch.intent)
                    continue
                ledger.submitted(batch.intent, batch_id)
            free -= set(mine)
            found.append(attrs.evolve(batch, batch_id=batch_id, undelivered=tuple(mine)))
        return found

    def _intend(self, ids: Sequence[str], requests: Mapping[str, Mapping[str, Any]]) -> OpenBatch | None:
        """Record the next batch's intent; None where the limit allows not even one request."""
        chunk: dict[str, Usage] = {}
        held = 0
        for custom_id in ids:
            held += len(json.dumps(requests[custom_id]))
            if chunk and (len(chunk) >= self.size or held > _MOST_BYTES):
                break
            chunk[custom_id] = self.most(requests[custom_id])
        return self.purse.intend(chunk)

    def _create(self, batch: OpenBatch, requests: Mapping[str, Mapping[str, Any]]) -> tuple[str | None, str]:
        """Send an intended batch; returns its id, or None and why there is none."""
        ledger = self.purse.ledger
        body = [{"custom_id": c, "params": dict(requests[c])} for c in batch.undelivered]
        tried = 0
        while True:
            tried += 1
            batch_id, error = self.service.create(body)
            if batch_id is None:
                problem = describe(error, self.service.secrets) if error else "no id came back"
                status = status_of(error)
                refused = error is not None and rejected(error)
                if status is not None and (status in FATAL or 300 <= status < 400):
                    ledger.withdraw(batch.intent)
                    raise FatalAnswerError(problem)
                if not refused:
                    try:
                        batch_id = self._look_for(batch)
                    except ReadError:
                        # The intent stays: the next run looks again before it sends anything.
                        return None, f"{_UNSURE}: {problem}"
            if batch_id is not None:
                ledger.submitted(batch.intent, batch_id)
                return batch_id, ""
            if (refused and status is not None and status not in _AGAIN) or not self.tries.again(error, tried):
                ledger.withdraw(batch.intent)
                return None, f"batch not accepted: {problem}"

    def _look_for(self, batch: OpenBatch) -> str | None:
        """Return the id of the batch that an intent led to, None if there is none; it may take a while to show."""
        absence = Absence(self.settle_s)
        while (found := self._find(batch)) is None:
            if absence.lasts():
                return None
            time.sleep(self.poll_s)
        return found

    def _find(self, batch: OpenBatch) -> str | None:
        known = self.purse.ledger.known()
        ours = set(batch.undelivered)
        listed = self.service.listed(batch.created - _CLOCK_MARGIN)
        candidates = [b for b in listed if b.id not in known and b.size == batch.size]
        # Those that have ended first: somebody else's may take a day.
        for candidate in sorted(candidates, key=lambda b: (not b.ended, b.id)):
            results = self._awaited(candidate)
            # A request's id is the digest of all that it asks: one of ours makes the batch ours.
            if results is not None and ours & set(results.found):
                return candidate.id
        return None

    def _awaited(self, candidate: Listed) -> BatchResults | None:
        absence = Absence(self.settle_s)
        while True:
            state = self.service.retrieve(candidate.id)
            results = self.service.results(state) if state is not None and state.ended else None
            if results is not None or ((state is None or state.ended) and absence.lasts()):
                return results
            time.sleep(self.poll_s)

    def _collect(
        self,
        running: Sequence[OpenBatch],
        requests: Mapping[str, Mapping[str, Any]],
        tries: Counter[str],
        charged: Mapping[str, list[Usage]],
        lost: dict[str, str],
    ) -> Iterator[tuple[str, Answer]]:
        """Wait for batches and yield their answers; what is worth another batch is left out."""
        watches = [Watch(batch, Absence(self.settle_s)) for batch in running]
        while watches:
            for watch in list(watches):
                if not self._look(watch):
                    continue
                watches.remove(watch)
                batch = watch.batch
                for custom_id in batch.undelivered:
                    answer, again, billed = self._outcome(watch, custom_id)
                    if not answer.lasting:
                        lost[custom_id] = answer.problem or ""
                        continue
                    ticket = Ticket(batch_entry(batch.intent, custom_id), self.most(requests[custom_id]))
                    if billed:
                        charged[custom_id].append(self.purse.settle(ticket, answer.usage))
                    else:
                        self.purse.release(ticket)
                    tries[custom_id] += 1
                    if again and tries[custom_id] < self.attempts:
                        self.purse.ledger.failed(batch.intent, [custom_id])
                    else:
                        yield custom_id, attrs.evolve(answer, charged=tuple(charged[custom_id]))
            if watches:
                time.sleep(self.poll_s)

    def _look(self, watch: Watch) -> bool:
        """Look at a batch once; returns whether it need not be looked at again in this run."""
        batch = watch.batch
        try:
            state = self.service.retrieve(batch.batch_id or "")
            if state is not None and not state.ended:
                watch.failures, watch.absence = 0, Absence(self.settle_s)
                return False
            results = None if state is None else self.service.results(state)
        except ReadError as error:
            watch.problem = str(error)
            watch.failures += 1
            return watch.failures >= self.patience
        if results is None:
            watch.gone = watch.absence.lasts()
            return watch.gone
        if watch.results is None or len(results.found) >= len(watch.results.found):
            watch.results = results
        absent = [c for c in batch.undelivered if c not in watch.results.found]
        if not absent:
            self._report(batch, watch.results)
            return True
        # Cut short, most likely. Taking it for "no answer" would pay for those requests again.
        watch.problem = f"{len(absent)} of {len(batch.undelivered)} results are not in the batch's file"
        watch.failures += 1
        if watch.failures < self.patience:
            return False
        self._report(batch, watch.results)
        self.purse.ledger.missed(batch.intent, absent)
        return True

    def _outcome(self, watch: Watch, custom_id: str) -> tuple[Answer, bool, bool]:
        """Return a request's answer, whether asking again may give a better one, and whether it may be billed."""
        name, results = f"batch {watch.batch.batch_id}", watch.results
        if results is None or custom_id not in results.found:
            if watch.gone:
                return Answer(problem=f"{name} and its results are no longer kept"), True, True
            if results is not None and custom_id in watch.batch.missed:
                return Answer(problem=f"{name} has no result for this request, read in two judgings"), True, True
            when = "looks once more" if results else "fetches it"
            problem = f"{name} can't be read now; judging again {when}: {watch.problem}"
            return Answer(problem=problem, lasting=False), False, True
        if custom_id in results.contradictory:
            return Answer(problem=f"{name} has results for this request that contradict each other"), False, True
        return self._read_result(results.found[custom_id])

    def _read_result(self, result: Any) -> tuple[Answer, bool, bool]:
        kind = getattr(result, "type", None)
        if kind == "succeeded":
            return self.read(getattr(result, "message", None)), False, True
        if kind == "errored":
            error = getattr(getattr(result, "error", None), "error", None)
            name, message = getattr(error, "type", "unknown"), getattr(error, "message", "")
            problem = f"batch request errored: {name}: {message}"
            return Answer(problem=problem), name != "invalid_request_error", False
        if kind in ("expired", "canceled"):
            return Answer(problem=f"batch request without an answer: {kind}"), True, False
        return Answer(problem=f"malformed result in a batch: its type is {kind!r}"), False, True

    def _report(self, batch: OpenBatch, results: BatchResults) -> None:
        """Say what in a results file was not used."""
        unknown = sorted(set(results.found) - batch.asked)
        if unknown or results.unread:
            shown = ", ".join(repr(redact(c, self.service.secrets)[:64]) for c in unknown[:3])
            warnings.warn(
                f"batch {batch.batch_id}: not used of its results: {results.unread} lines that can't be read, "
                f"{len(unknown)} for requests that were not in it{': ' + shown if shown else ''}",
                IntrospectionBenchWarning,
                stacklevel=2,
            )
