"""How many trials a question needs: to find a rate, and to exclude it where nothing comes up."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from scipy.stats import binom

from ..boundaries import checked, guarded
from ..errors import AnalysisError, explain
from .binomial import Sided, check_probability, percent
from .intervals import ConceptCounts, NullBound, like_these, null_bound, tolerance_bound, trials_to_stop

#: The search ends beyond this many trials: no study of replies is that large.
MOST_TRIALS = 10**9
#: And beyond this many concepts.
MOST_CONCEPTS = 20_000


@checked(AnalysisError)
def trials_to_bound(rate: float, *, confidence: float = 0.95, sided: Sided = "two", k: int = 0) -> int:
    """Return the fewest trials after which ``k`` successes put the Clopper-Pearson upper bound at or below ``rate``.

    Args:
        rate: the rate to be excluded, between 0 and 1.
        confidence: of the bound.
        sided: ``two`` (as the intervals of the tables) or ``upper`` (all of the error above).
        k: how many successes may come up on the way; 0 plans for a clean null.

    Raises:
        AnalysisError: an argument is out of range, or more than :data:`MOST_TRIALS` would be needed.
    """
    check_probability("rate", rate)
    check_probability("confidence", confidence)
    if sided not in ("two", "upper") or k < 0:
        raise AnalysisError(explain("sided, k", required="'two' or 'upper', and a count >= 0", got=(sided, k), hint=""))
    error = (1 - confidence) / (2 if sided == "two" else 1)
    return _first(lambda n: bool(binom.cdf(k, n, rate) <= error), start=k + 1)


@checked(AnalysisError)
def trials_to_find(rate: float, *, power: float = 0.9, at_least: int = 1) -> int:
    """Return the fewest trials that show at least ``at_least`` successes with probability ``power``.

    Raises :class:`AnalysisError` as :func:`trials_to_bound` does.
    """
    check_probability("rate", rate)
    check_probability("power", power)
    if at_least < 1:
        raise AnalysisError(explain("at_least", required="a count >= 1", got=at_least, hint=""))
    return _first(lambda n: bool(binom.sf(at_least - 1, n, rate) >= power), start=at_least)


@checked(AnalysisError)
def power_to_find(rate: float, trials: int, *, at_least: int = 1) -> float:
    """Return the exact probability of at least ``at_least`` successes in ``trials`` at the true rate ``rate``."""
    if not 0 <= rate <= 1 or trials < 0 or at_least < 0:
        raise AnalysisError(
            explain(
                "rate, trials, at_least",
                required="a rate 0 to 1 and counts >= 0",
                got=(rate, trials, at_least),
                hint="",
            )
        )
    return float(binom.sf(at_least - 1, trials, rate))


@checked(AnalysisError)
def power_against(rate: float, trials: int, *, null_rate: float, error: float = 0.05) -> float:
    """Return the exact power of the one-sided binomial test of ``rate`` against ``null_rate``.

    The test rejects at the smallest count whose probability under ``null_rate`` is at most ``error``: use it
    where false alarms happen (``null_rate`` from the controls). Raises :class:`AnalysisError`.
    """
    check_probability("error", error)
    if not 0 <= null_rate <= rate <= 1 or trials < 1:
        raise AnalysisError(
            explain("rate", required="0 <= null_rate <= rate <= 1, trials >= 1", got=(null_rate, rate, trials), hint="")
        )
    critical = int(binom.isf(error, trials, null_rate)) + 1
    return float(binom.sf(critical - 1, trials, rate))


@guarded(AnalysisError)
@attrs.frozen
class SampleSize:
    """How many trials per cell a question needs.

    ``to_find`` shows at least ``at_least`` successes with probability ``power`` at the true rate ``rate``;
    ``to_bound`` is enough for a clean null to exclude ``rate`` at ``confidence`` (``sided``), for ``cells``
    cells at once.
    """

    rate: float
    power: float
    at_least: int
    confidence: float
    sided: Sided
    cells: int
    to_find: int
    to_bound: int

    @property
    def trials(self) -> int:
        """The trials per cell that answer both."""
        return max(self.to_find, self.to_bound)

    @property
    def sentence(self) -> str:
        """The result in words."""
        found = "one success" if self.at_least == 1 else f"{self.at_least} successes"
        at_once = f" in all {self.cells} cells at once" if self.cells > 1 else ""
        sides = "two-sided" if self.sided == "two" else "one-sided"
        return (
            f"At a true rate of {percent(self.rate)}, {self.to_find} trials per cell show at least {found} with "
            f"probability {percent(self.power)}; {self.to_bound} trials without any exclude that rate{at_once} "
            f"({percent(self.confidence)} {sides})."
        )


@checked(AnalysisError)
def sample_size(
    rate: float,
    *,
    power: float = 0.9,
    at_least: int = 1,
    confidence: float = 0.95,
    sided: Sided = "two",
    cells: int = 1,
) -> SampleSize:
    """Return the trials per cell needed to find ``rate``, and to exclude it if nothing comes up.

    ``cells`` > 1 makes the exclusion hold for all cells at once (Bonferroni). Raises :class:`AnalysisError`.
    """
    if cells < 1:
        raise AnalysisError(explain("cells", required="a count >= 1", got=cells, hint=""))
    check_probability("confidence", confidence)
    at_once = 1 - (1 - confidence) / cells
    return SampleSize(
        rate,
        power,
        at_least,
        confidence,
        sided,
        cells,
        to_find=trials_to_find(rate, power=power, at_least=at_least),
        to_bound=trials_to_bound(rate, confidence=at_once, sided=sided),
    )


@guarded(AnalysisError)
@attrs.frozen
class ConceptPlan:
    """What a clean null on some concepts would say of others like them, and what more would take.

    ``null`` is what no success in ``trials`` of each concept excludes, with its curve at ``icc`` alone. A clean null
    excludes a mean rate of ``rate`` over concepts like these, however they vary, on ``to_exclude`` concepts, and says
    that at least ``share`` of them lie below ``rate`` on ``to_bound_share``. A run that may stop at any trial of one
    cell may do so after ``to_stop`` without a success.
    """

    rate: float
    trials: int
    icc: float
    share: float
    null: NullBound
    to_exclude: int
    to_bound_share: int
    to_stop: int

    @property
    def sentences(self) -> tuple[str, ...]:
        """The plan in words."""
        null = self.null
        sides = f"{percent(null.confidence)} {'two' if null.sided == 'two' else 'one'}-sided"
        some = f"{null.counts.concepts} concept{'s' if null.counts.concepts > 1 else ''} of {self.trials} trials"
        return (
            f"No success on {some} each would exclude mean rates above {percent(null.these.high)} on these "
            f"concepts; over concepts like these above {percent(null.high)} however they vary, and above "
            f"{percent(null.curve[0].high)} if their intra-class correlation is at most {self.icc:g} ({sides}).",
            f"To exclude {percent(self.rate)} over concepts like these however they vary takes {self.to_exclude} "
            f"concepts ({sides}); to say that at least {percent(self.share)} of them lie below {percent(self.rate)} "
            f"takes {self.to_bound_share} of {self.trials} trials each ({percent(null.confidence)} one-sided).",
            f"A run of one cell that may stop at any moment has excluded {percent(self.rate)} after {self.to_stop} "
            f"trials without a success (anytime-valid, {percent(null.confidence)}).",
        )


@checked(AnalysisError)
def plan_concepts(
    rate: float,
    concepts: int,
    *,
    trials: int = 20,
    icc: float = 0.1,
    share: float = 0.9,
    confidence: float = 0.95,
    sided: Sided = "two",
) -> ConceptPlan:
    """Return what a clean null on so many concepts says of concepts like these, and how many a question takes.

    Args:
        rate: the rate to exclude, or below which concepts are to lie; between 0 and 1.
        concepts: how many there are.
        trials: of each concept.
        icc: how much concepts are taken to vary at most, 0 to 1.
        share: the share of concepts that is to lie below ``rate``.
        confidence: of each bound.
        sided: ``two`` or ``upper``.

    Raises:
        AnalysisError: an argument is out of range, or more than :data:`MOST_CONCEPTS` would be needed.
    """
    check_probability("rate", rate)
    for name, value in (("concepts", concepts), ("trials", trials)):
        if not 1 <= value <= MOST_CONCEPTS:
            raise AnalysisError(explain(name, required=f"1 to {MOST_CONCEPTS:,}", got=value, hint=""))

    def clean(number: int) -> ConceptCounts:
        return ConceptCounts([0] * number, [trials] * number)

    def excludes(number: int) -> bool:
        found = like_these(clean(number), confidence=confidence, sided=sided)
        return found.said and found.high <= rate

    def bounds_share(number: int) -> bool:
        return tolerance_bound(clean(number), share=share, at_rate=rate, confidence=confidence).below_it >= share

    return ConceptPlan(
        rate,
        trials,
        icc,
        share,
        null_bound(clean(concepts), confidence=confidence, sided=sided, correlations=[icc], share=share, at_rate=rate),
        _first(excludes, 1, MOST_CONCEPTS, "concepts"),
        _first(bounds_share, 1, MOST_CONCEPTS, "concepts"),
        trials_to_stop(rate, confidence=confidence, most=MOST_TRIALS),
    )


def _first(enough: Callable[[int], bool], start: int, most: int = MOST_TRIALS, of: str = "trials") -> int:
    high = start
    while not enough(high):
        high *= 2
        if high > most:
            raise AnalysisError(
                explain("rate", required=f"a rate that {most:,} {of} can settle", got="one too small", hint="")
            )
    low = max(start, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low
