"""Which concept a judge is asked about where none was injected, so that it can't tell the arms apart."""

from __future__ import annotations

from collections.abc import Sequence

from .digests import digest
from .errors import ConceptError, explain


def decoy_name(trial_digest: str, concepts: Sequence[str]) -> str:
    """Return the name of the concept that a judge is asked about where none was injected.

    Drawn from the run's own concepts by the trial's digest, so that it is the same for every judge and after every
    restart; it depends neither on the order of ``concepts`` nor on anything but their names. Raises
    :class:`ConceptError` without concepts.
    """
    if not concepts:
        raise ConceptError(
            explain("concepts", required="the run's concepts, at least one", got="none", hint="Name a concept set.")
        )
    # The highest of independent draws: a concept that joins the run changes only the trials that it wins.
    return max(concepts, key=lambda name: digest("decoy", 1, [trial_digest, name]))
