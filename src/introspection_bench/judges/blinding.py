"""Which concept a judge is asked about, so that it can't tell the arms apart."""

from __future__ import annotations

from collections.abc import Sequence

from ..blinding import decoy_name
from ..concepts import Concept
from ..errors import ConceptError, UnknownNameError, explain
from ..trials import TrialRecord
from ..verdicts import Asked


def asked_about(record: TrialRecord, concepts: Sequence[Concept], asked: Asked = "own") -> Concept:
    """Return the concept to ask a judge about: the one that the trial's condition says.

    Results read from elsewhere may say none: then it is the injected one, and a decoy where none was.

    ``asked`` "mismatched" gives another one in its place, drawn by the trial's digest from those of ``concepts`` that
    are neither it nor the injected one.

    Raises :class:`UnknownNameError` where it is not among ``concepts``, :class:`ConceptError` where a decoy has to be
    drawn from none.
    """
    if asked == "mismatched":
        involved = {asked_about(record, concepts).name, record.condition.concept}
        others = [c for c in concepts if c.name not in involved]
        if not others:
            raise ConceptError(
                explain(
                    "asked",
                    required="a run with another concept than the trial's own, for 'mismatched'",
                    got=sorted(c.name for c in concepts),
                    hint="Run it on more concepts.",
                )
            )
        name = decoy_name(record.key.digest, [c.name for c in others])
        return next(c for c in others if c.name == name)
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
