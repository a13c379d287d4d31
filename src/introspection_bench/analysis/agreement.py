"""How far two judges agree on the same replies: raw agreement, Cohen's kappa, and the confusion table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

from ..boundaries import checked, guarded
from ..errors import AnalysisError, explain
from ..freezing import frozen_tuple
from ..trials import TrialRecord
from ..verdicts import CRITERIA, FURTHER, Verdict
from .binomial import Interval, check_probability, interval, percent
from .intervals import PairAgreement, PairTable, pair_agreement

#: What "not applicable" counts as: not met (as in the strict rate), a category of its own, or left out.
NotApplicable = Literal["not met", "category", "leave out"]
#: From this prevalence index on, and this bias index, a sentence says what they do.
SKEWED = 0.8
BIASED = 0.1

# A tenth of a second each; computed where it is asked for, and kept.
_pair_agreement = lru_cache(maxsize=256)(pair_agreement)


@guarded(AnalysisError)
@attrs.frozen
class Confusion:
    """The agreement of two sets of verdicts on one criterion.

    ``categories`` are True, False and, with "category", None; ``table[i][j]`` counts the replies that the first judge
    puts into category i and the second into j. ``agreement`` is the share of equal answers, with its interval;
    ``kappa`` Cohen's, NaN where both judges use one and the same category throughout (there is then nothing to agree
    on beyond chance).

    Raises :class:`AnalysisError` for a table of another shape than the categories', or of other replies than
    ``agreement`` counts.
    """

    criterion: str
    categories: tuple[bool | None, ...] = attrs.field(converter=frozen_tuple)
    table: tuple[tuple[int, ...], ...] = attrs.field(converter=frozen_tuple)
    agreement: Interval
    kappa: float
    left_out: int

    def __attrs_post_init__(self) -> None:
        size = len(self.categories)
        rows = [len(row) for row in self.table]
        cells = [n for row in self.table for n in row]
        if rows != [size] * size or min(cells, default=0) < 0 or sum(cells) != self.agreement.n:
            raise AnalysisError(
                explain(
                    "table",
                    required=f"{size} rows of {size} counts >= 0 that sum to {self.agreement.n}",
                    got=self.table,
                    hint="Make it with agreement(first, second).",
                )
            )

    @property
    def pair(self) -> PairAgreement | None:
        """Kappa and AC1 with intervals, prevalence and bias index; None without a reply, or with a third category.

        Their confidence is that of ``agreement``.
        """
        if not self.n or len(self.categories) != 2:
            return None
        (both, first_only), (second_only, neither) = self.table
        return _pair_agreement(PairTable(both, first_only, second_only, neither), confidence=self.agreement.confidence)

    @property
    def low(self) -> float:
        """Where kappa's interval begins; NaN without :attr:`pair`."""
        return self.pair.kappa.low if self.pair else math.nan

    @property
    def high(self) -> float:
        """Where kappa's interval ends; NaN without :attr:`pair`."""
        return self.pair.kappa.high if self.pair else math.nan

    @property
    def sentences(self) -> tuple[str, ...]:
        """What kappa, AC1 and the two indices say, in words; none without :attr:`pair`."""
        p = self.pair
        if p is None:
            return ()
        level = percent(p.agreement.confidence)
        kappa = (
            f"{self.criterion}: kappa {_number(p.kappa.estimate)} ({level} {_number(p.kappa.low)} to "
            f"{_number(p.kappa.high)}), Gwet's AC1 {_number(p.ac1.estimate)} ({_number(p.ac1.low)} to "
            f"{_number(p.ac1.high)}), {self.n:,} replies."
            if not math.isnan(self.kappa)
            else f"{self.criterion}: kappa does not exist, since each judge gives one answer throughout; Gwet's AC1 "
            f"{_number(p.ac1.estimate)} ({level} {_number(p.ac1.low)} to {_number(p.ac1.high)}), {self.n:,} replies."
        )
        said = [kappa]
        if abs(p.prevalence_index) >= SKEWED:
            often = "yes" if p.prevalence_index > 0 else "no"
            said.append(
                f"Nine in ten answers or more are {often} (prevalence index {_number(p.prevalence_index)}): kappa is "
                "lower there at the same agreement."
            )
        if abs(p.bias_index) >= BIASED:
            more = "first" if p.bias_index > 0 else "second"
            said.append(f"The {more} judge said yes to more of these replies (bias index {_number(p.bias_index)}).")
        return tuple(said)

    @property
    def n(self) -> int:
        """The replies compared."""
        return self.agreement.n

    def frame(self) -> pd.DataFrame:
        """Return the confusion table with the first judge's answers as rows and the second's as columns."""
        names = ["not applicable" if c is None else str(c).lower() for c in self.categories]
        return pd.DataFrame(self.table, index=pd.Index(names, name="first"), columns=pd.Index(names, name="second"))


@guarded(AnalysisError)
@attrs.frozen
class Agreement:
    """The agreement of two sets of verdicts over the same replies.

    ``criteria`` holds one :class:`Confusion` for each; ``both_scored`` replies have a verdict from both judges;
    ``unscored_first`` and ``unscored_second`` were shown to both, but one judge failed (a reply that both failed
    on counts in both); ``only_first`` and ``only_second`` are in one set only. ``not_applicable`` says how
    "not applicable" was counted.
    """

    criteria: tuple[Confusion, ...] = attrs.field(converter=frozen_tuple)
    both_scored: int
    unscored_first: int
    unscored_second: int
    only_first: int
    only_second: int
    not_applicable: NotApplicable
    confidence: float

    def __getitem__(self, criterion: str) -> Confusion:
        for confusion in self.criteria:
            if confusion.criterion == criterion:
                return confusion
        raise AnalysisError(
            explain("criterion", required=f"one of {[c.criterion for c in self.criteria]}", got=criterion, hint="")
        )

    def table(self) -> pd.DataFrame:
        """Return one row per criterion: counts; raw agreement, kappa and AC1 with intervals; both indices."""
        rows = [
            {
                "criterion": c.criterion,
                "n": c.n,
                "agreement": c.agreement.rate,
                "agreement_low": c.agreement.low,
                "agreement_high": c.agreement.high,
                "kappa": c.kappa,
                "kappa_low": c.low,
                "kappa_high": c.high,
                "ac1": c.pair.ac1.estimate if c.pair else math.nan,
                "ac1_low": c.pair.ac1.low if c.pair else math.nan,
                "ac1_high": c.pair.ac1.high if c.pair else math.nan,
                "prevalence_index": c.pair.prevalence_index if c.pair else math.nan,
                "bias_index": c.pair.bias_index if c.pair else math.nan,
                "true_true": c.table[0][0],
                "true_false": c.table[0][1],
                "false_true": c.table[1][0],
                "false_false": c.table[1][1],
                "left_out": c.left_out,
            }
            for c in self.criteria
        ]
        return pd.DataFrame(rows)


@checked(AnalysisError)
def verdicts_of(
    records: Iterable[TrialRecord], judge: str | None = None, rubric: str | None = None
) -> dict[str, Verdict]:
    """Return one judge's verdicts by trial digest; trials that it has not judged are left out.

    Raises :class:`~introspection_bench.errors.SpecError` where several verdicts of a trial match.
    """
    found = ((r.key.digest, r.verdict(judge, rubric)) for r in records)
    return {trial: verdict for trial, verdict in found if verdict is not None}


@checked(AnalysisError)
def agreement(
    first: Mapping[str, Verdict],
    second: Mapping[str, Verdict],
    *,
    criteria: Sequence[str] | None = None,
    not_applicable: NotApplicable = "not met",
    confidence: float = 0.95,
) -> Agreement:
    """Return how far two sets of verdicts over the same replies agree.

    Args:
        first: verdicts by trial digest (:func:`verdicts_of`).
        second: the other judge's.
        criteria: criteria of either judge's rubric, or ``strict``; None: ``strict`` and those that both judges were
            asked, without ``refused`` and ``names_as_thought``.
        not_applicable: what None counts as: ``not met`` (false; the judge that answers false where another says
            "not applicable" agrees with it), ``category`` (a third answer), or ``leave out``.
        confidence: of the intervals.

    Raises:
        AnalysisError: the two sets share no scored reply, or an argument is unknown.

    Source: Cohen 1960, Educational and Psychological Measurement 20; the intervals are :func:`pair_agreement`'s.
    """
    check_probability("confidence", confidence)
    there = {*CRITERIA, *FURTHER, *(c for side in (first, second) for v in side.values() for c in v.answers)}
    if not_applicable not in ("not met", "category", "leave out") or not set(criteria or ()) <= {*there, "strict"}:
        raise AnalysisError(
            explain(
                "criteria, not_applicable",
                required=f"some of {sorted(there)} or 'strict'; 'not met', 'category' or 'leave out'",
                got=(criteria, not_applicable),
                hint="",
            )
        )
    shared = [trial for trial in first if trial in second]
    pairs = [(first[t], second[t]) for t in shared]
    scored = [(a, b) for a, b in pairs if a.unscored is None and b.unscored is None]
    if not scored:
        raise AnalysisError(
            explain(
                "second",
                required="verdicts on replies that the first judge scored too",
                got=f"{len(shared)} shared replies, none scored by both",
                hint="Verdicts are joined by the trial's digest: both must come from the same run.",
            )
        )
    if criteria is None:
        asked = [asked_of(side) for side in zip(*scored, strict=True)]
        criteria = [c for c in asked[0] if c in asked[1] and c not in FURTHER]
    return Agreement(
        tuple(_confusion(c, scored, not_applicable, confidence) for c in criteria),
        both_scored=len(scored),
        unscored_first=sum(a.unscored is not None for a, _ in pairs),
        unscored_second=sum(b.unscored is not None for _, b in pairs),
        only_first=len(first) - len(shared),
        only_second=len(second) - len(shared),
        not_applicable=not_applicable,
        confidence=confidence,
    )


def asked_of(verdicts: Iterable[Verdict]) -> tuple[str, ...]:
    """Return what a judge was asked, as its verdicts show, ``strict`` included; a rubric need not ask all.

    What was asked is True or False somewhere; ``immediate`` applies where the concept is named, and counts as asked
    where it is named nowhere.
    """
    scored = [v for v in verdicts if v.unscored is None]
    there = dict.fromkeys([*CRITERIA, "strict", *(c for v in scored for c in v.answers)])
    answered = {c for c in there if any(v.outcome(c) is not None for v in scored)}
    if "identifies" in answered and not any(v.answer("identifies") for v in scored):
        answered.add("immediate")
    return tuple(c for c in there if c in answered)


def _confusion(
    criterion: str, pairs: Sequence[tuple[Verdict, Verdict]], not_applicable: NotApplicable, confidence: float
) -> Confusion:
    answers = [(a.outcome(criterion), b.outcome(criterion)) for a, b in pairs]
    if not_applicable == "not met":
        answers = [(a is True, b is True) for a, b in answers]
    elif not_applicable == "leave out":
        answers = [(a, b) for a, b in answers if a is not None and b is not None]
    categories: tuple[bool | None, ...] = (True, False, None) if not_applicable == "category" else (True, False)
    table = np.zeros((len(categories), len(categories)), dtype=np.int64)
    for a, b in answers:
        table[categories.index(a), categories.index(b)] += 1
    return Confusion(
        criterion,
        categories,
        tuple(tuple(int(c) for c in row) for row in table),
        interval(int(np.trace(table)), len(answers), confidence=confidence),
        cohen_kappa(table) if answers else math.nan,
        left_out=len(pairs) - len(answers),
    )


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def cohen_kappa(table: npt.NDArray[np.int64]) -> float:
    """Return Cohen's kappa of a confusion table of any number of categories; NaN where chance agreement is complete."""
    n = float(table.sum())
    observed = float(np.trace(table)) / n
    chance = float((table.sum(axis=0) / n) @ (table.sum(axis=1) / n))
    # Rounding may leave 1 - chance at 1e-16 where it is 0.
    return (observed - chance) / (1 - chance) if 1 - chance > 1e-12 else math.nan
