"""How a judge did against labels: what a correction for its error is made from."""

from __future__ import annotations

import attrs

from ..boundaries import guarded
from ..errors import AnalysisError, explain
from .binomial import Interval, interval


@guarded(AnalysisError)
@attrs.frozen
class JudgeAccuracy:
    """How a judge did against labels: of ``positives`` true cases it found ``true_positives``, and so on.

    Counts are of replies in a labelled sample that was drawn without regard to the judge's verdicts. Raises
    :class:`AnalysisError` for counts that can't be.
    """

    true_positives: int
    positives: int
    true_negatives: int
    negatives: int

    def __attrs_post_init__(self) -> None:
        for found, of in ((self.true_positives, self.positives), (self.true_negatives, self.negatives)):
            if not 0 <= found <= of <= 10**9:
                raise AnalysisError(
                    explain(
                        "true_positives, positives, true_negatives, negatives",
                        required="counts from 0 to 1,000,000,000, of each kind no more found than there are",
                        got=(self.true_positives, self.positives, self.true_negatives, self.negatives),
                        hint="",
                    )
                )

    @property
    def sensitivity(self) -> Interval:
        """The share of true cases that it calls true."""
        return interval(self.true_positives, self.positives)

    @property
    def specificity(self) -> Interval:
        """The share of false cases that it calls false."""
        return interval(self.true_negatives, self.negatives)
