"""The measuring stage: every recorded trial replayed, and read on the way. It never samples.

A replay feeds the recorded reply's tokens back under the trial's own steers, so a measure costs one prefill a trial and
can alter no reply. Where a pass runs the whole reply, its receipts must be those that were recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import attrs
import numpy as np

from ..boundaries import checked
from ..errors import SilentInjectionError, SpecError, explain
from ..injectors.base import Injector
from ..injectors.requests import Completion, Request
from ..measures.base import Axes, Measure, Pass, Replayed
from ..measures.readings import FloatArray, Reading
from ..notebook import Bars, bars, stepping
from ..trials import TrialRecord
from .again import planned_again, receipts_alike
from .locks import hold
from .manifest import write_manifest
from .places import own_vectors
from .planner import PlannedTrial
from .sessions import this_process
from .store import Store

#: Called with each reading as soon as it is recorded.
OnReading = Callable[[Reading], None]


@attrs.frozen
class MeasuringSummary:
    """What one measuring stage did: ``measured`` new readings; ``kept`` were there already.

    ``notes`` are sentences of the measure on what it counts for this model.
    """

    measure: str
    measured: int
    kept: int
    notes: tuple[str, ...] = ()


@checked(SpecError)
def measure_run(
    store: Store,
    measure: Measure,
    injector: Injector,
    *,
    on_reading: OnReading | None = None,
    progress: bool | Bars = True,
) -> MeasuringSummary:
    """Read a measure off every recorded trial of a stored run; see :func:`measure_trials`.

    The run's requests are planned again from its specification, on the injector's tokenizer. Raises :class:`SpecError`
    where that comes to other trials than the run's: another model's tokenizer, or a planner that searched.
    """
    planned = planned_again(store, injector.tokenizer)
    return measure_trials(store, measure, injector, planned, on_reading=on_reading, progress=progress)


@checked(SpecError)
def measure_trials(
    store: Store,
    measure: Measure,
    injector: Injector,
    planned: Sequence[PlannedTrial],
    *,
    on_reading: OnReading | None = None,
    progress: bool | Bars = True,
) -> MeasuringSummary:
    """Read a measure off every recorded trial that has no reading of it by this injector.

    What the measure leaves to the run, concepts or vectors, is the run's own. Each reading is recorded in a transaction
    of its own. A notebook shows a bar, unless ``progress`` is False. Raises :class:`SpecError` for a trial that is not
    among ``planned`` and for what the injector can't read, before anything runs, and :class:`SilentInjectionError` for
    a replay whose receipts are not those that were recorded.
    """
    whole = store.run_spec().planner.whole
    measure = measure.of_run(whole.concepts, own_vectors(whole, store.vectors()))
    known = {t.key.digest: t for t in planned}
    there, nothing = store.reading_keys(), _reading(measure, injector, {}, np.zeros((), np.float32))
    jobs = []
    notes: dict[str, None] = {}
    records = store.records()
    for record in records:
        trial = known.get(record.key.digest)
        if trial is None:
            raise SpecError(
                explain(
                    "injector",
                    required="the tokenizer that the run's prompts were made with, and its own planner",
                    got=f"another plan, without {record.trial}",
                    hint="Measure on a model with the same tokenizer; after a search, by Sweep.measure.",
                )
            )
        replayed = _replayed(trial, record.reply.token_ids, record.reply.to_judge("whole")[0], injector)
        if nothing.key(record.key.digest) not in there:
            jobs.append(_Job(record, trial.request, measure.passes(replayed), measure.notes(replayed)))
            notes |= dict.fromkeys(jobs[-1].notes)
    if jobs:
        kept = len(records) - len(jobs)
        with (
            hold(store.directory, f"measure-{measure.digest[:12]}", f"measures {measure.name}") as lock,
            bars(progress).bar(f"readings of {measure.name}", kept, len(records)) as bar,
        ):
            tell = stepping(bar, on_reading)
            store.begin_session(this_process("measure", injector))
            write_manifest(store)
            for job, found in _replays(injector, jobs):
                axes, values = measure.reading(job.passes, found)
                reading = _reading(measure, injector, axes, values, job.notes)
                lock.check()
                store.add_reading(job.record.key.digest, reading)
                tell(reading)
    return MeasuringSummary(measure.name, len(jobs), len(records) - len(jobs), tuple(notes))


@checked(SpecError)
def check_measure(measure: Measure, injector: Injector, planned: Sequence[PlannedTrial]) -> None:
    """Raise what is wrong with measuring trials that have no replies yet: before hours are spent on those.

    Looked at is one trial of each scaffold, as if its reply were as long as it may be. Raises :class:`SpecError` and
    what else :meth:`Measure.passes` and :meth:`Injector.validate` raise.
    """
    for trial in {t.condition.scaffold: t for t in reversed(planned)}.values():
        request = trial.request
        filler = request.prompt.token_ids[-1:] * request.sampling.max_new_tokens
        for one in measure.passes(_replayed(trial, filler, "", injector)):
            injector.validate(_request(request, one))


def _replayed(trial: PlannedTrial, reply: tuple[int, ...], text: str, injector: Injector) -> Replayed:
    return Replayed(trial.request.prompt, reply, injector.tokenizer, injector.model.n_layers, text)


def _reading(
    measure: Measure, injector: Injector, axes: Axes, values: FloatArray, notes: tuple[str, ...] = ()
) -> Reading:
    info = injector.model
    read_by = (info.fingerprint, injector.name, injector.numerics, info.dtype)
    return Reading(measure.name, measure.digest, axes, values, *read_by, notes=notes)


@attrs.frozen(eq=False)
class _Job:
    """One trial to replay."""

    record: TrialRecord
    request: Request
    passes: tuple[Pass, ...]
    notes: tuple[str, ...]


def _replays(injector: Injector, jobs: Sequence[_Job]) -> Iterator[tuple[_Job, list[Sequence[FloatArray]]]]:
    """Yield each job with what its passes' reads brought, as soon as all of them are there.

    Passes of the same tokens, steers and reads are run once, whichever trials they are of: what is read where the reply
    begins is the same in all draws of a cell, and unsteered the same in all of its cells.
    """
    requests: list[Request] = []
    places: list[list[tuple[int, int]]] = []
    alike: dict[object, int] = {}
    for number, job in enumerate(jobs):
        for place, one in enumerate(job.passes):
            request = _request(job.request, one)
            at = alike.setdefault(_what_runs(request), len(requests))
            if at == len(requests):
                requests.append(request)
                places.append([])
            places[at].append((number, place))
    waiting: dict[int, dict[int, Sequence[FloatArray]]] = {}
    for completion in injector.generate(requests):
        for number, place in places[completion.index]:
            job = jobs[number]
            _check_replay(job, job.passes[place], completion)
            found = waiting.setdefault(number, {})
            found[place] = completion.readings
            if len(found) == len(job.passes):
                del waiting[number]
                yield job, [found[n] for n in range(len(job.passes))]


def _request(request: Request, one: Pass) -> Request:
    prompt, steers = one.prompt or request.prompt, request.steers if one.steered else ()
    return attrs.evolve(request, prompt=prompt, steers=steers, forced=one.forced, reads=one.reads)


def _what_runs(request: Request) -> object:
    """Return all that decides what a replay computes and reads: neither seed nor sampling, since it draws nothing."""
    return request.prompt.token_ids, request.forced, tuple(s.key for s in request.steers), request.reads


def _check_replay(job: _Job, one: Pass, completion: Completion) -> None:
    if one.forced != job.record.reply.token_ids or not one.steered:
        return
    for recorded, again in zip(job.record.receipts, completion.receipts, strict=True):
        if not receipts_alike(recorded, again):
            raise SilentInjectionError(
                explain(
                    f"replay of {job.record.trial}",
                    required=f"the recorded receipt {recorded}",
                    got=str(again),
                    hint="What is measured would be another injection's; nothing was recorded for it.",
                )
            )
