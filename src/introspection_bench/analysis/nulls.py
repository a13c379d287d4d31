"""What a null result excludes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
import pandas as pd
from scipy.stats import binom

from ..boundaries import checked, guarded
from ..conditions import CELL_COLUMNS
from ..effects import Effects
from ..errors import AnalysisError, explain
from ..freezing import frozen_tuple
from ..results import Results, frame_of
from .binomial import Sided, percent
from .by_concept import ByConcept, by_concept
from .cells import groups
from .chosen import CellBound, Cells, cells_of
from .intervals import BestCell, Estimate, NullBound, null_bound
from .live import Liveness, live_trials, liveness
from .selection import check_grouping, check_outcomes, coherent, injected, scored


@guarded(AnalysisError)
@attrs.frozen
class Scope:
    """Which injected trials a statement is about; None leaves a field open.

    ``min_magnitude`` keeps magnitudes >= it and needs a frame with one unit only. ``coherent_only`` keeps the
    trials judged coherent. ``name`` overrides the description that :meth:`__str__` makes of the fields.
    """

    scaffold: str | None = None
    arm: str | None = None
    concept: str | None = None
    layer: int | None = None
    min_magnitude: float | None = None
    coherent_only: bool = False
    name: str = ""

    def apply(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the scored injected trials within the scope.

        Raises :class:`AnalysisError` for ``min_magnitude`` over several units.
        """
        part = scored(self._within(frame))
        return coherent(part) if self.coherent_only else part

    def apply_with_unscored(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return them with the unscored trials that may belong to the scope: these may have been coherent.

        Raises as :meth:`apply`.
        """
        part = self._within(frame)
        return part[part["coherent"].fillna(value=False) | part["unscored"].notna()] if self.coherent_only else part

    def _within(self, frame: pd.DataFrame) -> pd.DataFrame:
        part = injected(frame)
        for column in ("scaffold", "arm", "concept", "layer"):
            value = getattr(self, column)
            if value is not None:
                part = part[(part[column] == value).fillna(value=False)]
        if self.min_magnitude is not None:
            check_grouping(part, ["magnitude"])
            part = part[part["magnitude"] >= self.min_magnitude]
        return part

    def __str__(self) -> str:
        if self.name:
            return self.name
        words = ["coherent trials" if self.coherent_only else "all injected trials"]
        words += [f"scaffold {self.scaffold}"] if self.scaffold is not None else []
        words += [f"arm {self.arm}"] if self.arm is not None else []
        words += [f"concept {self.concept}"] if self.concept is not None else []
        words += [f"layer {self.layer}"] if self.layer is not None else []
        words += [f"magnitude >= {self.min_magnitude:g}"] if self.min_magnitude is not None else []
        return ", ".join(words)


@guarded(AnalysisError)
@attrs.frozen
class Alternative:
    """How probable it is to see at most ``k`` of ``n`` where the true rate is ``rate``."""

    k: int
    n: int
    rate: float
    probability: float

    @property
    def sentence(self) -> str:
        """The result in words."""
        seen = f"{self.k}" if self.k == 0 else f"at most {self.k}"
        chance = percent(self.probability)
        return (
            f"If the true rate were {percent(self.rate)}, {seen} of {self.n} would come up with probability {chance}."
        )


@guarded(AnalysisError)
@attrs.frozen
class Bound:
    """What one set of trials says about a rate, on these concepts and over concepts like these.

    ``counts`` and ``null`` are None where the outcome applies to no trial. ``whatever`` is the interval for these
    concepts with all unscored trials counted as failures below and as successes above; None where all are scored.
    ``cells`` is how many cells the trials span.
    """

    scope: str
    outcome: str
    counts: ByConcept | None
    null: NullBound | None
    whatever: Estimate | None
    cells: int

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is excluded, each with what it is about and what it assumes."""
        scope = self.scope[:1].upper() + self.scope[1:]
        if self.counts is None or self.null is None:
            return (f"{scope}: no trial to which {self.outcome!r} applies, so nothing is excluded.",)
        these, several = self.null.these, self.null.counts.concepts > 1
        first, *others = self.null.sentences if several else self._of_one(self.null, self.counts.concepts[0])
        said = [f"{scope}, {first}"]
        if these.low > 0:
            about = "Mean rates on these concepts" if several else "Rates"
            said.append(f"{about} below {percent(these.low)} are excluded, too.")
        if self.whatever is not None:
            high, missing = self.whatever.high, sum(self.counts.missing)
            excluded = f"rates above {percent(high)} are excluded" if high < 1 else "no rate is excluded from above"
            about = " on these concepts" if several else ""
            said.append(f"With the unscored trials ({missing:,}) all counted as successes, {excluded}{about}.")
        if self.counts.lost:
            said.append(f"Unscored trials of concepts without a verdict ({self.counts.lost:,}) are left out.")
        return (*said, *others)

    @staticmethod
    def _of_one(null: NullBound, concept: str) -> tuple[str, ...]:
        sides = f"{percent(null.confidence)} {'two' if null.sided == 'two' else 'one'}-sided"
        high = null.these.high
        above = f"rates above {percent(high)} are excluded" if high < 1 else "no rate is excluded from above"
        if not concept:
            return (f"{null.counts}: {above} ({sides}); which concepts these are is not stated.",)
        return (f"{null.counts}: {above} on the one concept, {concept} ({sides}); that says nothing of others.",)


@guarded(AnalysisError)
@attrs.frozen
class Exclusion:
    """What the injected trials of a run exclude about one outcome.

    ``pooled``: all scored injected trials (the weakest cells dilute it: it bounds the average over cells, not any
    cell). ``coherent``: only those judged coherent. ``scopes``: those asked for. ``best``: the cell of the highest
    observed rate as one that was chosen; ``best_name`` its name; among equals it is the one that comes nearest, with
    the most coherent trials that claim a thought or name the concept, then the one with the most coherent trials.
    ``least_bounded``: the largest upper bound of any cell that holds for all cells at once. Both are None where there
    is no cell to choose from. ``mixed``: some cell has several concepts. ``paired``: trials of several cells share
    their random numbers. ``liveness``: how many cells have a live dose, None where effects were not given; ``live``:
    all of this over live cells alone, None unless some are live and others are not.
    """

    outcome: str
    pooled: Bound
    coherent: Bound
    scopes: tuple[Bound, ...] = attrs.field(converter=frozen_tuple, default=())
    best: BestCell | None = None
    best_name: str = ""
    least_bounded: CellBound | None = None
    mixed: bool = False
    paired: bool = False
    liveness: Liveness | None = None
    live: Exclusion | None = None

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """The bounds that were not chosen by their outcome, in the order in which they are shown."""
        return (self.pooled, self.coherent, *self.scopes)

    @property
    def cell_sentences(self) -> tuple[str, ...]:
        """What is said of single cells, and how the one was chosen."""
        best, least = self.best, self.least_bounded
        if best is None or least is None:
            return ()
        if best.cells == 1:
            return (f"There is one cell, {self.best_name}: none was chosen.",)
        said = [f"{self.best_name}: {best.sentence[:1].lower()}{best.sentence[1:]}"]
        if best.tied > 1:
            said.append(f"It is named since, of the {best.tied} as high, it comes nearest to success: {NEAREST}.")
        if self.paired:
            said.append("The correction takes cells as independent, but these share random numbers.")
        said.append(least.sentence)
        if self.mixed:
            said.append(
                "Cells mix concepts here: what is said of a cell is about its own concepts, each trial weighing "
                "the same."
            )
        return tuple(said)

    @property
    def live_sentences(self) -> tuple[str, ...]:
        """How many cells are live, and what is excluded over these alone where that is something else."""
        if self.liveness is None:
            return ()
        apart = () if self.live is None else self.live.over_all_cells
        return (self.liveness.sentence, *(f"Over live cells alone: {said}" for said in apart))

    @property
    def sentences(self) -> tuple[str, ...]:
        """All of it in plain sentences."""
        return (*self.over_all_cells, *self.live_sentences)

    @property
    def over_all_cells(self) -> tuple[str, ...]:
        """What is excluded over all cells, whether they are live or not."""
        shared = "Trials of several cells share their random numbers; bounds that pool them take them as independent."
        pooled = (*(s for b in self.bounds for s in b.sentences), *([shared] if self.paired else []))
        return (*pooled, *self.cell_sentences)

    def under(self, rate: float) -> Alternative:
        """Return the probability of the best cell's count, or a smaller one, were that cell's true rate ``rate``.

        Raises :class:`AnalysisError` where there is no cell, or for a rate outside 0 to 1.
        """
        if self.best is None:
            raise AnalysisError(explain("exclusion", required="a cell with an outcome", got="none", hint=""))
        return probability_under(self.best.unadjusted.k, self.best.unadjusted.n, rate)

    def table(self) -> pd.DataFrame:
        """Return one row per statement.

        ``scope outcome k n concepts rate``; ``low high``, for these concepts; ``high_like_these``, over concepts like
        these however they vary; ``high_whatever``, with all unscored trials as successes; ``corrected``, a chosen
        cell's rate corrected for the choice; ``method confidence sided cells``; and how it was ``chosen``. NaN and NA
        where something is not said. A single cell's ``low`` and ``high`` hold for all cells at once. The rows of
        :attr:`live` follow, their ``scope`` beginning with ``live cells:``.
        """
        rows = [_row(b) for b in self.bounds]
        best, least = self.best, self.least_bounded
        if best is not None and least is not None and best.cells > 1:
            tie = f"; of {best.tied} as high the nearest to success" if best.tied > 1 else ""
            for name, cell, chosen, corrected in (
                (self.best_name, best.simultaneous, f"highest of {best.cells} cells{tie}", best.corrected),
                (least.name, least.interval, f"bounded least of {least.cells} cells", None),
            ):
                rows.append(
                    {
                        "scope": name,
                        "k": cell.k,
                        "n": cell.n,
                        "rate": cell.rate,
                        "low": cell.low,
                        "high": cell.high,
                        "corrected": corrected,
                        "method": f"Clopper-Pearson, {'Šidák' if best.independent else 'Bonferroni'}",
                        "confidence": cell.confidence,
                        "sided": cell.sided,
                        "cells": 1,
                        "chosen": chosen,
                    }
                )
        own = pd.DataFrame(rows, columns=list(_DTYPES)).assign(outcome=self.outcome).astype(_DTYPES)
        if self.live is None:
            return own
        apart = self.live.table()
        return pd.concat([own, apart.assign(scope="live cells: " + apart["scope"])], ignore_index=True)


#: How one of several cells of the highest rate is named, in words.
NEAREST = "with the most coherent trials that claim a thought or name the concept, then with the most coherent trials"

_DTYPES = {
    "scope": "string",
    "outcome": "string",
    "k": "Int64",
    "n": "Int64",
    "concepts": "Int64",
    "rate": "float64",
    "low": "float64",
    "high": "float64",
    "high_like_these": "float64",
    "high_whatever": "float64",
    "corrected": "float64",
    "method": "string",
    "confidence": "float64",
    "sided": "string",
    "cells": "Int64",
    "chosen": "string",
}


@checked(AnalysisError)
def excludes(
    frame: pd.DataFrame | Results,
    outcome: str = "strict",
    *,
    scopes: Iterable[Scope] = (),
    by: Sequence[str] = CELL_COLUMNS,
    confidence: float = 0.95,
    sided: Sided = "two",
    effects: Effects | None = None,
) -> Exclusion:
    """Return what the injected trials exclude about the rate of ``outcome``; a count above 0 works too.

    A rate of several concepts is the mean of the concepts' rates, each weighing the same.

    Args:
        frame: from :func:`introspection_bench.analysis.records_frame`; unscored trials enter the bounds that say so.
        outcome: a criterion, ``strict`` or ``refused``.
        scopes: further sets of trials to state a bound for.
        by: what makes a cell.
        confidence: of each bound.
        sided: ``two`` or ``upper``; what is said of single cells is always two-sided.
        effects: what the run's doses do to neutral prompts (``Results.effects``). With it, all is also stated over the
            cells whose dose is live; without any measured, that it was not measured.

    Raises:
        AnalysisError: there is no scored injected trial, or an argument is out of range.
    """
    frame = frame_of(frame)
    check_outcomes(frame, [outcome])
    check_grouping(frame, by)
    scopes = tuple(scopes)
    for name, value, wrong, hint in (
        ("sided", sided, "lower", "A lower bound excludes nothing above it."),
        ("outcome", outcome, "unscored", "Unscored trials are counted by rates(frame)."),
    ):
        if value == wrong:
            allowed = "'two' or 'upper'" if name == "sided" else "a criterion of the verdicts"
            raise AnalysisError(explain(name, required=allowed, got=value, hint=hint))

    def bound(scope: Scope) -> Bound:
        cells = sum(1 for _ in groups(scope.apply(frame), by))
        found = by_concept(scope.apply_with_unscored(frame), outcome)
        if found is None:
            return Bound(str(scope), outcome, None, None, None, cells)
        null = null_bound(found.counts, confidence=confidence, sided=sided)
        whatever = found.whatever(confidence=confidence, sided=sided) if any(found.missing) else None
        return Bound(str(scope), outcome, found, null, whatever, cells)

    everything = Scope().apply(frame)
    if everything.empty:
        raise AnalysisError(
            explain("frame", required="at least one scored injected trial", got="none", hint="Judge the run first.")
        )
    cells: Cells = cells_of(everything, outcome, by=by, confidence=confidence)
    alive = None if effects is None else liveness(frame, effects)
    apart = None if effects is None or alive is None or not alive.some else live_trials(frame, effects)
    return Exclusion(
        outcome,
        pooled=bound(Scope()),
        coherent=bound(Scope(coherent_only=True)),
        scopes=[bound(s) for s in scopes],
        best=cells.best,
        best_name=cells.best_name,
        least_bounded=cells.least_bounded,
        mixed=cells.mixed,
        paired=cells.paired,
        liveness=alive,
        live=None
        if apart is None
        else excludes(apart, outcome, scopes=scopes, by=by, confidence=confidence, sided=sided),
    )


@checked(AnalysisError)
def probability_under(k: int, n: int, rate: float) -> Alternative:
    """Return the exact probability of at most ``k`` of ``n`` where the true rate is ``rate`` (0 to 1).

    0 of 20 under a rate of 20 % has 0.8**20 = 1.15 %. Raises :class:`AnalysisError` for impossible counts.
    """
    if not (0 <= k <= n and 0 <= rate <= 1):
        raise AnalysisError(explain("k, n, rate", required="0 <= k <= n, 0 <= rate <= 1", got=(k, n, rate), hint=""))
    return Alternative(k, n, rate, float(binom.cdf(k, n, rate)))


def _row(bound: Bound) -> dict[str, object]:
    row: dict[str, object] = {"scope": bound.scope, "cells": bound.cells, "chosen": "not by its outcome", "n": 0}
    if bound.counts is None or bound.null is None:
        return row
    these, counts = bound.null.these, bound.counts.counts
    return row | {
        "k": sum(counts.successes),
        "n": sum(counts.trials),
        "concepts": counts.concepts,
        "rate": counts.rate,
        "low": these.low,
        "high": these.high,
        "high_like_these": bound.null.high if counts.concepts > 1 else None,
        "high_whatever": None if bound.whatever is None else bound.whatever.high,
        "method": these.method,
        "confidence": these.confidence,
        "sided": these.sided,
    }
