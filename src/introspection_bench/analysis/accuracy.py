"""What a judge is worth: its agreement with verdicts that are known, and its rates corrected for its error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import pandas as pd

from ..boundaries import checked, guarded
from ..errors import AnalysisError
from ..freezing import frozen_tuple
from ..verdicts import Verdict
from .agreement import Agreement, Confusion, agreement
from .binomial import Interval, interval
from .calibration import JudgeAccuracy
from .intervals import ConceptCounts, Estimate, judged_rate


@guarded(AnalysisError)
@attrs.frozen
class AssessedRate:
    """A criterion's rate among all that a judge scored, and the same corrected for the judge's error.

    ``corrected`` is None where no correction can be made, and ``why`` then says why.
    """

    criterion: str
    judged: Interval
    corrected: Estimate | None
    why: str = ""


@guarded(AnalysisError)
@attrs.frozen
class Assessment:
    """A judge (first) against known verdicts (second): their agreement, and the judge's rates, by criterion."""

    agreement: Agreement
    rates: tuple[AssessedRate, ...] = attrs.field(converter=frozen_tuple)

    def table(self) -> pd.DataFrame:
        """Return one row per criterion: :meth:`Agreement.table`, then the rate as judged and corrected (or NaN)."""
        found = [
            {
                "judged": rate.judged.rate,
                "corrected": rate.corrected and rate.corrected.estimate,
                "corrected_low": rate.corrected and rate.corrected.low,
                "corrected_high": rate.corrected and rate.corrected.high,
            }
            for rate in self.rates
        ]
        return pd.concat([self.agreement.table(), pd.DataFrame(found, dtype="float64")], axis=1)


@checked(AnalysisError)
def assess(
    judged: Mapping[str, Verdict], known: Mapping[str, Verdict], *, criteria: Sequence[str] | None = None
) -> Assessment:
    """Return what a judge's verdicts are worth by known ones.

    Args:
        judged: the judge's verdicts by trial digest, on all replies whose rates are wanted.
        known: verdicts that are held to be right, on a sample of these replies that was drawn without regard to what
            the judge says of them.
        criteria: see :func:`agreement`.

    Returns:
        Agreement on the sample, and for each criterion the rate among all replies that the judge scored, corrected by
        :func:`judged_rate` (Rogan and Gladen 1978) as if the judge erred in all arms alike; :func:`judge_error`
        corrects each arm by its own labels. "Not applicable" counts as not met.

    Raises:
        AnalysisError: the two share no scored reply.
    """
    agreed = agreement(judged, known, criteria=criteria)
    scored = [verdict for verdict in judged.values() if verdict.unscored is None]
    return Assessment(agreed, [_rate(confusion, scored) for confusion in agreed.criteria])


def _rate(confusion: Confusion, scored: Sequence[Verdict]) -> AssessedRate:
    criterion = confusion.criterion
    met = sum(v.outcome(criterion) is True for v in scored)
    rate = interval(met, len(scored))
    (tp, fp), (fn, tn) = confusion.table
    try:
        corrected = judged_rate(ConceptCounts([met], [len(scored)]), JudgeAccuracy(tp, tp + fn, tn, tn + fp))
    except AnalysisError as error:
        return AssessedRate(criterion, rate, None, str(error))
    return AssessedRate(criterion, rate, corrected)
