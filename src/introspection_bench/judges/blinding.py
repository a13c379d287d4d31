"""Which concept a judge is asked about, so that it can't tell the arms apart."""

from __future__ import annotations

from collections.abc import Sequence

from ..arms import CONTROL, INJECTED, RANDOM
from ..concepts import Concept
from ..digests import digest
from ..errors import ConceptError, UnknownNameError, explain
from ..trials import TrialRecord


def decoy(trial_digest: str, concepts: Sequence[Concept]) -> Concept:
    """Return the concept that a judge is asked about where none was injected.

    Drawn from the run's own concepts by the trial's digest, so that it is the same for every judge and after every
    restart; it depends neither on the order of ``concepts`` nor on anything but their names. Raises
    :class:`ConceptError` without concepts.
    """
    if not concepts:
        raise ConceptError(
            explain("concepts", required="the run's concepts, at least one", got="none", hint="Name a concept set.")
        )
    # The highest of independent draws: a concept that joins the run changes only the trials that it wins.
    return max(concepts, key=lambda concept: digest("decoy", 1, [trial_digest, concept.name]))


def asked_about(record: TrialRecord, concepts: Sequence[Concept]) -> Concept:
    """Return the concept to ask a judge about: the trial's own, a decoy on controls, random vectors and without one.

    Raises :class:`UnknownNameError` where the trial's concept is not among ``concepts``.
    """
    if record.arm in (CONTROL, RANDOM) or (record.arm != INJECTED and record.concept is None):
        return decoy(record.key.digest, concepts)
    for concept in concepts:
        if concept.name == record.concept:
            return concept
    raise UnknownNameError(
        explain(
            "concepts",
            required=f"the trial's concept {record.concept!r}",
            got=sorted(c.name for c in concepts),
            hint="Give the concept set that the run was made with.",
        )
    )
