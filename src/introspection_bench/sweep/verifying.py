"""Verifying: some stored trials generated again, and what comes compared with what was recorded. Nothing is written.

For whoever reads a publication: the store holds vectors, specification, seeds and receipts, so that on the same weights
each trial can be asked once more. A verified sample says of the whole run how many of its trials can differ at most.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np

from ..analysis.binomial import interval
from ..boundaries import checked, guarded
from ..errors import SpecError, explain
from ..freezing import frozen_tuple
from ..injectors.base import Injector
from ..injectors.requests import Completion
from ..trials import Trial, TrialRecord
from .again import planned_again, receipts_alike
from .store import Store


@guarded(SpecError)
@attrs.frozen
class VerifiedTrial:
    """One trial that was generated again.

    ``differs_at`` is the index of the first reply token that is another one, None where all are the same; ``receipts``
    whether each steer touched the recorded positions by the recorded ratio, to within 5 %. A reply that is longer or
    shorter touches other positions: where ``differs_at`` is set only the positions in the prompt count.
    """

    trial: Trial
    differs_at: int | None
    receipts: bool

    @property
    def same(self) -> bool:
        """Whether reply and receipts are those that were recorded."""
        return self.differs_at is None and self.receipts


@guarded(SpecError)
@attrs.frozen
class Verification:
    """What verifying a run found: ``trials`` in the order of the plan, of ``recorded`` in all."""

    trials: tuple[VerifiedTrial, ...] = attrs.field(converter=frozen_tuple)
    recorded: int

    @property
    def different(self) -> tuple[VerifiedTrial, ...]:
        """The trials whose reply or receipts are others."""
        return tuple(t for t in self.trials if not t.same)

    def __str__(self) -> str:
        n, k = len(self.trials), len(self.different)
        told = f"{n - k} of {n} trials came out as recorded, replies token for token and receipts"
        if n == self.recorded:
            return f"{told}; these are all trials of the run"
        most = interval(k, n, sided="upper").high
        return (
            f"{told}; of the run's {self.recorded} at most {100 * most:.1f} % differ (one-sided 95 %, a random sample)"
        )


@checked(SpecError)
def verify_run(
    store: Store,
    injector: Injector,
    *,
    sample: int = 20,
    seed: int = 0,
    on_trial: Callable[[VerifiedTrial], None] | None = None,
) -> Verification:
    """Generate some recorded trials of a run again and compare; the store is only read.

    Args:
        store: the run.
        injector: the run's model. Another backend samples otherwise and another dtype rounds otherwise, so that replies
            may part where two tokens are nearly as likely.
        sample: how many trials, drawn without replacement; all where the run has no more.
        seed: of the draw.
        on_trial: called with each trial as it is compared.

    Raises:
        SpecError: a sample below 1, a run without trials, an imported run, or another model than the run's (its
            fingerprint tells), and whatever :meth:`Injector.generate` raises.
    """
    records = _sampled(store, sample, seed)
    found = store.run_spec().found
    if found is None or found.fingerprint != injector.model.fingerprint:
        raise SpecError(
            explain(
                "injector",
                required=f"the run's model, {'of a run of ours' if found is None else found.fingerprint[:12]}",
                got=f"{injector.model.name} ({injector.model.fingerprint[:12]})",
                hint="Weights, configuration, tokenizer and dtype must be those of the run.",
            )
        )
    known = {t.key.digest: t for t in planned_again(store, injector.tokenizer)}
    strangers = [r.trial for r in records if r.key.digest not in known]
    if strangers:
        raise SpecError(
            explain(
                f"run {store.directory}",
                required="trials that its specification comes to",
                got=f"others, as {strangers[0]}",
                hint="The run was made with another version, or changed; see its manifest.json.",
            )
        )
    compared: dict[int, VerifiedTrial] = {}
    for completion in injector.generate([known[r.key.digest].request for r in records]):
        compared[completion.index] = verified = _compared(records[completion.index], completion)
        if on_trial is not None:
            on_trial(verified)
    return Verification([compared[n] for n in sorted(compared)], len(store.recorded()))


def _sampled(store: Store, sample: int, seed: int) -> list[TrialRecord]:
    records = store.records()
    if isinstance(sample, bool) or sample < 1 or not records or seed < 0:
        raise SpecError(
            explain(
                "sample and seed",
                required="at least one trial of a run that has some, and a seed >= 0",
                got=f"{sample} of {len(records)}, seed {seed}",
                hint="",
            )
        )
    drawn = np.random.default_rng(seed).choice(len(records), min(sample, len(records)), replace=False)
    return [records[n] for n in sorted(drawn)]


def _compared(record: TrialRecord, completion: Completion) -> VerifiedTrial:
    mine, other = record.reply.token_ids, completion.reply.token_ids
    parted = (n for n, (one, another) in enumerate(zip(mine, other, strict=False)) if one != another)
    differs_at = None if mine == other else next(parted, min(len(mine), len(other)))
    pairs = list(zip(record.receipts, completion.receipts, strict=True))
    if differs_at is None:
        alike = all(receipts_alike(one, another) for one, another in pairs)
    else:
        alike = all(one.prompt_positions == another.prompt_positions for one, another in pairs)
    return VerifiedTrial(record.trial, differs_at, alike)
