"""Which concept a judge is asked about, so that it can't tell the arms apart."""

from __future__ import annotations

from collections.abc import Sequence

from ..blinding import decoy_name
from ..concepts import Concept
from ..errors import UnknownNameError, explain
from ..trials import TrialRecord


def asked_about(record: TrialRecord, concepts: Sequence[Concept]) -> Concept:
    """Return the concept to ask a judge about: the one that the trial's condition says.

    Results read from elsewhere may say none: then it is the injected one, and a decoy where none was.

    Raises :class:`UnknownNameError` where it is not among ``concepts``, :class:`ConceptError` where a decoy has to be
    drawn from none.
    """
    condition = record.condition
    injected = condition.concept if condition.truth != "nothing" else None
    name = condition.asked or injected or decoy_name(record.key.digest, [c.name for c in concepts])
    for concept in concepts:
        if concept.name == name:
            return concept
    raise UnknownNameError(
        explain(
            "concepts",
            required=f"the concept that the trial's judges are asked about, {name!r}",
            got=sorted(c.name for c in concepts),
            hint="Give the concept set that the run was made with.",
        )
    )
