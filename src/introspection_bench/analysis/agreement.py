"""How far two judges agree on the same replies: raw agreement, Cohen's kappa, and the confusion table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

from ..boundaries import checked, guarded
from ..errors import AnalysisError, explain
from ..freezing import frozen_tuple
from ..trials import TrialRecord
from ..verdicts import CRITERIA, FURTHER, Verdict
from .binomial import Interval, check_draws, check_probability, interval

#: What "not applicable" counts as: not met (as in the strict rate), a category of its own, or left out.
NotApplicable = Literal["not met", "category", "leave out"]


@guarded(AnalysisError)
@attrs.frozen
class Confusion:
    """The agreement of two sets of verdicts on one criterion.

    ``categories`` are True, False and, with "category", None; ``table[i][j]`` counts the replies that the first judge
    puts into category i and the second into j. ``agreement`` is the share of equal answers; ``kappa`` Cohen's,
    with the bootstrap interval ``low`` to ``high`` over replies; all three NaN where both judges use one and the
    same category throughout (there is then nothing to agree on beyond chance). ``undefined_resamples`` is the share of
    resamples in which kappa does not exist; they are left out of the interval.
    """

    criterion: str
    categories: tuple[bool | None, ...] = attrs.field(converter=frozen_tuple)
    table: tuple[tuple[int, ...], ...] = attrs.field(converter=frozen_tuple)
    agreement: Interval
    kappa: float
    low: float
    high: float
    left_out: int
    undefined_resamples: float

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
        """Return one row per criterion: counts, raw agreement and kappa with their intervals."""
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
    resamples: int = 10_000,
    seed: int = 0,
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
        resamples: bootstrap resamples of replies behind the interval of kappa.
        seed: of the resampling.

    Raises:
        AnalysisError: the two sets share no scored reply, or an argument is unknown.

    Source: Cohen 1960, Educational and Psychological Measurement 20; percentile bootstrap.
    """
    check_probability("confidence", confidence)
    check_draws("resamples", resamples, seed)
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
    rng = np.random.default_rng(seed)
    return Agreement(
        tuple(
            _confusion(c, scored, not_applicable, confidence=confidence, resamples=resamples, rng=rng) for c in criteria
        ),
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
    answered = {c for c in there if any(_said(v, c) is not None for v in scored)}
    if "identifies" in answered and not any(v.answer("identifies") for v in scored):
        answered.add("immediate")
    return tuple(c for c in there if c in answered)


def _said(verdict: Verdict, criterion: str) -> bool | None:
    return verdict.strict if criterion == "strict" else verdict.answers.get(criterion)


def _confusion(
    criterion: str,
    pairs: Sequence[tuple[Verdict, Verdict]],
    not_applicable: NotApplicable,
    *,
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
) -> Confusion:
    answers = [(_said(a, criterion), _said(b, criterion)) for a, b in pairs]
    if not_applicable == "not met":
        answers = [(a is True, b is True) for a, b in answers]
    elif not_applicable == "leave out":
        answers = [(a, b) for a, b in answers if a is not None and b is not None]
    categories: tuple[bool | None, ...] = (True, False, None) if not_applicable == "category" else (True, False)
    table = np.zeros((len(categories), len(categories)), dtype=np.int64)
    for a, b in answers:
        table[categories.index(a), categories.index(b)] += 1
    low = high = undefined = math.nan
    kappa = float(cohen_kappa(table)) if answers else math.nan
    if not math.isnan(kappa):
        # Resampling replies with replacement is one multinomial draw of the table.
        drawn = rng.multinomial(len(answers), table.ravel() / len(answers), size=resamples)
        kappas = cohen_kappa(drawn.reshape(resamples, *table.shape))
        undefined = float(np.isnan(kappas).mean())
        low, high = (float(q) for q in np.nanquantile(kappas, [(1 - confidence) / 2, (1 + confidence) / 2]))
    return Confusion(
        criterion,
        categories,
        tuple(tuple(int(c) for c in row) for row in table),
        interval(int(np.trace(table)), len(answers), confidence=confidence),
        kappa,
        low,
        high,
        left_out=len(pairs) - len(answers),
        undefined_resamples=undefined,
    )


def cohen_kappa(tables: npt.NDArray[np.int64]) -> Any:
    """Return Cohen's kappa of confusion tables of shape (..., c, c); NaN where chance agreement is complete."""
    tables = np.asarray(tables, dtype=np.float64)
    n = tables.sum(axis=(-2, -1))
    observed = np.trace(tables, axis1=-2, axis2=-1) / n
    chance = (tables.sum(axis=-1) * tables.sum(axis=-2)).sum(axis=-1) / n**2
    with np.errstate(divide="ignore", invalid="ignore"):
        # Rounding may leave 1 - chance at 1e-16 where it is 0.
        return np.where(1 - chance > 1e-12, (observed - chance) / (1 - chance), np.nan)
