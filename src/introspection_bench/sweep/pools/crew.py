"""The workers of a pool on Ray as the run's process sees them: what each has to do, and what becomes of the dead."""

from __future__ import annotations

import re
import time
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from ... import errors
from ...errors import IntrospectionBenchError, IntrospectionBenchWarning, WorkerError, explain
from ...injectors.base import Injector
from ...injectors.requests import Completion
from ..making import Made, Maker
from ..planner import PlannedTrial
from ..sessions import Process
from .connecting import connect, room_for
from .shards import Shards
from .worker import Failure, Opened, Opening, SentRequest, Worker, identity

if TYPE_CHECKING:
    from .ray_pool import RayPool

#: Shards that a worker has at a time, so that it doesn't wait for the next one; a quick one takes what isn't begun.
_IN_FLIGHT = 2
#: Seconds until the cluster must have room for the first worker.
PATIENCE_S = 600.0
_LOOK_S = 1.0
#: About so many trials are handed on together where they come faster than they are recorded.
_AT_ONCE = 256
#: The rates of so many workers are told one by one.
_LISTED = 4
#: A worker that died so often in a row without finishing anything is given up.
_MOST_BARREN = 3


@attrs.define(eq=False)
class _Sent:
    """A shard at a worker: the stream of what it makes, and the trials that have not come yet."""

    stream: Any
    trials: list[int]
    left: set[int]
    recalled: bool = False


@attrs.define(eq=False)
class _Hand:
    """A worker: the actor, what it is doing, and how it went so far."""

    actor: Any = None
    placing: Any = None
    opening: Any = None
    process: Process | None = None
    shards: deque[_Sent] = attrs.field(factory=deque)
    barren: int = 0
    made: int = 0
    since: float = 0.0

    @property
    def waits_for(self) -> list[Any]:
        """What of it may be ready next."""
        if self.process is None:
            return [ref for ref in (self.placing or self.opening,) if ref is not None]
        return [shard.stream for shard in self.shards]


class Crew(Maker):
    """The workers of one pool, started when there is something to make. The run's process alone uses it."""

    def __init__(self, pool: RayPool, injector: Injector, opening: Opening) -> None:
        self._pool, self._opening, self._identity = pool, opening, identity(injector)
        self._ray: Any = None
        self._own_ray = False
        self._wanted = pool.n
        self._hands: list[_Hand] = []
        self._needs: dict[str, float] = {}
        #: Why workers could not be opened or died, each text with how many.
        self._told: Counter[str] = Counter()

    def make(self, pending: Sequence[PlannedTrial]) -> Iterator[list[Made]]:
        """Yield each trial once, as a worker finishes it, with those that came meanwhile; see :meth:`Maker.make`.

        Raises :class:`WorkerError` where no worker is left, and for a trial at which one worker after another died.
        """
        if not pending:
            return
        self._start()
        work = _Work(self._ray, pending, self._pool.shard)
        try:
            while work.missing:
                self._feed(work)
                try:
                    self._next(work)
                finally:  # what came before something failed, too
                    made, work.made = work.made, []
                    if made:
                        yield made
        finally:
            # Where it is broken off: what these still make would be taken for the next call's.
            for hand in [h for h in self._hands if any(s.left for s in h.shards)]:
                self._ray.kill(hand.actor)
                self._hands.remove(hand)
            for hand in self._hands:
                hand.shards.clear()

    def describe(self) -> str:
        """Return a few words on the workers: how many are at work, and the rate of each in trials/s."""
        rates = [h.made / max(time.monotonic() - h.since, 1e-9) for h in self._hands if h.process is not None]
        if not rates:
            return f"{self._pool.n} workers are starting"
        told = [f"{rate:.2g}" for rate in rates]
        each = ", ".join(told) if len(told) <= _LISTED else f"each {min(rates):.2g} to {max(rates):.2g}"
        return f"{len(rates)} of {self._pool.n} workers: {each} trials/s"

    def stop(self) -> None:
        """End the workers, and the Ray that was started for them."""
        for hand in self._hands:
            self._ray.kill(hand.actor)
        self._hands.clear()
        if self._own_ray:
            self._ray.shutdown()
        self._ray, self._own_ray = None, False

    def _start(self) -> None:
        if self._ray is None:
            self._ray, self._own_ray = connect(self._pool.address, self._pool.n * self._pool.num_cpus)
            self._needs = room_for(self._ray, self._pool.n, self._pool.num_cpus, self._pool.num_gpus)
        for hand in (_Hand() for _ in range(self._wanted - len(self._hands))):
            self._hands.append(hand)
            self._employ(hand)

    def _employ(self, hand: _Hand) -> None:
        """Start a worker's process, in place of the last one if there was one."""
        actor = self._ray.remote(Worker).options(
            num_cpus=self._needs["CPU"],
            num_gpus=self._needs["GPU"],
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        )
        hand.actor, hand.process, hand.shards = actor.remote(), None, deque()
        hand.since, hand.made = time.monotonic(), 0
        hand.placing = hand.actor.place.remote()
        hand.opening = hand.actor.open.remote(self._opening)

    def _feed(self, work: _Work) -> None:
        """Send shards to those that have fewer than they should, and recall one for a worker that has none."""
        ready = [hand for hand in self._hands if hand.process is not None]
        for fill in range(1, _IN_FLIGHT + 1):
            for hand in ready:
                if len(hand.shards) < fill and work.shards.left:
                    hand.shards.append(work.send(hand.actor, len(self._hands)))
        if not work.shards.left and any(not hand.shards for hand in ready):
            waiting = [s for hand in ready for s in list(hand.shards)[1:] if not s.recalled and len(s.left) > 0]
            if waiting:
                shard = max(waiting, key=lambda s: len(s.left))
                shard.recalled = True
                self._ray.cancel(shard.stream)

    def _next(self, work: _Work) -> None:
        """Wait for something to be ready, and take in what is."""
        waits = self._waits()
        ready, _ = self._ray.wait(list(waits), num_returns=1, timeout=_LOOK_S)
        some = ready
        while some and len(work.made) < _AT_ONCE:
            for ref in some:
                hand = waits[ref]
                if ref not in hand.waits_for:
                    continue  # another stream told already that it died
                if hand.process is None:
                    self._open(hand, ref)
                else:
                    self._collect(hand, ref, work)
            waits = self._waits()
            some, _ = self._ray.wait(list(waits), num_returns=len(waits), timeout=0) if waits else ([], [])
        if not ready and all(hand.placing is not None and hand.process is None for hand in self._hands):
            waited = time.monotonic() - min(hand.since for hand in self._hands)
            if waited > PATIENCE_S:
                raise WorkerError(
                    explain(
                        "workers",
                        required=f"room for one within {PATIENCE_S:g} s",
                        got=f"none; free now: {self._ray.available_resources()}",
                        hint="Others use the cluster: wait, or ask for less.",
                    )
                )

    def _waits(self) -> dict[Any, _Hand]:
        return {ref: hand for hand in self._hands for ref in hand.waits_for}

    def _open(self, hand: _Hand, ref: Any) -> None:
        """Take in that a worker has a place, or that it opened its model, or that it could not."""
        try:
            found = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            self._dismiss(hand, f"its process died while it opened the model: {_words(error)}")
            return
        if hand.placing is not None:
            hand.placing = None
        elif isinstance(found, Opened) and found.identity == self._identity:
            hand.process, hand.opening, hand.since = found.process, None, time.monotonic()
        elif isinstance(found, Opened):
            mine, theirs = (f"{name} (numerics {n}), fingerprint {p[:12]}" for name, n, p in (
                self._identity, found.identity))  # fmt: skip
            self._dismiss(hand, f"it opened another model: {theirs}, where the run has {mine}")
        else:
            self._dismiss(hand, f"{found.kind}: {found.text}", found.trace)

    def _collect(self, hand: _Hand, stream: Any, work: _Work) -> None:
        """Take in what one stream has ready; where its worker died, what it had made before, too."""
        shard = next(s for s in hand.shards if s.stream is stream)
        exceptions = self._ray.exceptions
        try:
            item = self._ray.get(next(stream))
        except StopIteration:
            hand.shards.remove(shard)
            work.shards.give_back(sorted(shard.left))
        except exceptions.TaskCancelledError:
            hand.shards.remove(shard)
            work.shards.give_back(sorted(shard.left))
        except exceptions.RayTaskError as error:
            raise WorkerError(f"A worker failed outside of its model: {error}") from error
        except exceptions.RayError as error:
            self._bury(hand, shard, _words(error), work)
        else:
            self._take(hand, shard, item, work)

    def _take(self, hand: _Hand, shard: _Sent, item: list[Completion] | Failure, work: _Work) -> None:
        if isinstance(item, Failure):
            raise _raised(item, shard.trials)
        hand.barren = 0
        for completion in item:
            place = shard.trials[completion.index]
            shard.left.discard(place)
            if place in work.missing:
                hand.made += 1
                work.done(Made(place, completion.reply, completion.receipts, hand.process))

    def _bury(self, hand: _Hand, first: _Sent, how: str, work: _Work) -> None:
        """Take in that a worker died: send its trials to others, and start another one in its place."""
        for shard in list(hand.shards):
            # What it had sent before it died is there still.
            while shard is not first and self._ray.wait([shard.stream], timeout=0)[0]:
                try:
                    item = self._ray.get(next(shard.stream))
                except (StopIteration, self._ray.exceptions.RayError):
                    break
                self._take(hand, shard, item, work)
        unfinished = [s for s in hand.shards if s.left]
        self._ray.kill(hand.actor)
        lost = hand.process is not None and hand.process.worker is not None and not self._is_alive(
            hand.process.worker.node)  # fmt: skip
        hand.shards = deque()
        for shard in reversed(unfinished[0 if lost else 1 :]):
            work.shards.give_back(sorted(shard.left))
        if unfinished and not lost:
            work.shards.died(sorted(unfinished[0].left), how)
        hand.barren += 1
        if hand.barren > _MOST_BARREN:
            self._dismiss(hand, f"its process died {hand.barren} times before it had made anything: {how}")
        else:
            self._employ(hand)

    def _is_alive(self, node: str) -> bool:
        return any(n["NodeID"] == node and n["Alive"] for n in self._ray.nodes())

    def _dismiss(self, hand: _Hand, why: str, trace: str = "") -> None:
        """Give a worker up: a warning while others are there, the first of its kind; an error once none is."""
        self._ray.kill(hand.actor)
        self._hands.remove(hand)
        self._wanted -= 1
        self._told[why] += 1
        if not self._hands:
            told = "; ".join(f"{why} ({n} of {self._pool.n} workers)" for why, n in self._told.items())
            error = WorkerError(
                explain(
                    "workers",
                    required="at least one that opens the model and stays",
                    got=f"none of {self._pool.n}",
                    hint=f"{told}. What was recorded stays: mend this and run it again.",
                )
            )
            if trace:
                error.add_note(f"On the worker:\n{trace}")
            raise error
        if self._told[why] == 1:
            _warn(f"A worker is given up, and {len(self._hands)} go on: {why}")


class _Work:
    """One call's trials: which are not made yet, and the vectors that they need, each put to Ray once."""

    def __init__(self, ray: Any, pending: Sequence[PlannedTrial], most: int) -> None:
        self._ray, self._pending = ray, pending
        self.shards = Shards(pending, most)
        self.missing = set(range(len(pending)))
        #: What came and was not handed on yet.
        self.made: list[Made] = []
        self._uses = Counter(digest for trial in pending for digest in _vectors(trial))
        self._put: dict[str, Any] = {}

    def send(self, actor: Any, workers: int) -> _Sent:
        """Send the next shard to a worker."""
        trials = self.shards.take(workers)
        requests = [SentRequest.of(self._pending[place].request) for place in trials]
        for place in trials:
            for digest, vector in _vectors(self._pending[place]).items():
                if digest not in self._put:
                    self._put[digest] = self._ray.put(vector.to_bytes())
        wanted = {steer.vector: self._put[steer.vector] for request in requests for steer in request.steers}
        stream = actor.generate.options(num_returns="streaming").remote(requests, wanted)
        return _Sent(stream, trials, set(trials))

    def done(self, made: Made) -> None:
        """Take in what is made; vectors that none needs any more are let go."""
        self.made.append(made)
        self.missing.discard(made.index)
        for digest in _vectors(self._pending[made.index]):
            self._uses[digest] -= 1
            if not self._uses[digest]:
                self._put.pop(digest, None)


def _vectors(trial: PlannedTrial) -> Mapping[str, Any]:
    return {steer.vector.digest: steer.vector for steer in trial.request.steers}


def _raised(failure: Failure, trials: Sequence[int]) -> Exception:
    """Return a worker's exception: one of the package's as it was, with the trial's place in the call."""
    kind = getattr(errors, failure.kind, None)
    error: Any = WorkerError(f"A worker failed: {failure.kind}: {failure.text}")
    if isinstance(kind, type) and issubclass(kind, IntrospectionBenchError):
        error = kind(failure.text)
    if failure.request is not None:
        error.request = trials[failure.request]
    error.add_note(f"On the worker:\n{failure.trace}")
    return error  # type: ignore[no-any-return]  # an exception of the package


def _words(error: BaseException) -> str:
    """Return what Ray says of a death, without its lists of names and possible causes."""
    text = " ".join(str(error).split())
    detail = re.search(r"Worker exit detail: (.*?)( Some common causes|$)", text)
    return (detail[1] if detail else text)[:200]


def _warn(text: str) -> None:
    warnings.warn(text, IntrospectionBenchWarning, stacklevel=3)
