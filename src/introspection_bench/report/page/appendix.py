"""What a printed report has in place of the transcript browser: the replies that met all of the rubric's criteria."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pandas as pd

from ...analysis.cells import cell_name
from ...trials import TrialRecord
from ..wording import plural

#: More would be a book; the page says of how many these are the first.
MOST_SUCCESSES = 40


@attrs.frozen
class Success:
    """A trial by name and address, and its reply."""

    name: str
    address: str
    reply: str


@attrs.frozen
class Appendix:
    """The first successes of a run, and a sentence that says of how many."""

    note: str
    successes: tuple[Success, ...]


def appendix(records: Sequence[TrialRecord], frame: pd.DataFrame) -> Appendix:
    """Return the strict successes of a run; ``frame`` holds the verdicts that count."""
    met = frame.loc[frame["strict"].fillna(value=False), "trial"]
    wanted = dict.fromkeys(met.head(MOST_SUCCESSES))
    found = {r.key.digest: r for r in records if r.key.digest in wanted} if wanted else {}
    if not wanted:
        return Appendix("No trial met all criteria of the rubric (strict).", ())
    these = "All of them follow" if len(met) == len(found) else f"The first {len(found)} follow"
    said = f"{plural(len(met), 'trial')} met all criteria of the rubric (strict). {these}; the page has every reply."
    return Appendix(said, tuple(_success(found[digest]) for digest in wanted))


def _success(record: TrialRecord) -> Success:
    item = [] if record.trial.item is None else [record.trial.item]
    name = " · ".join([cell_name(record.condition.columns), *item, f"no {record.trial.draw}"])
    return Success(name, f"#trial={record.key.digest[:16]}", record.reply.parted.text)
