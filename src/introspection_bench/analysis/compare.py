"""Two runs side by side: what differs in how they were made, and what differs in the outcome."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import pandas as pd

from ..boundaries import checked, guarded
from ..conditions import CELL_COLUMNS
from ..errors import AnalysisError
from ..freezing import frozen_tuple
from ..results import Results
from ..showing import plural
from .binomial import check_probability, percent
from .by_concept import ByConcept, by_concept
from .cells import groups
from .changes import Change, spec_differences
from .contrast import Contrast, contrast_pairs, excludes_zero, in_words, unexcluded
from .intervals import ConceptCounts
from .selection import check_grouping, check_outcomes, require_columns, shown_of

#: By which cells are matched unless told otherwise: two runs are often of two models.
MATCHED = tuple(c for c in CELL_COLUMNS if c != "model")

_CHANGED = ["field", "first", "second"]


@guarded(AnalysisError)
@attrs.frozen
class Comparison:
    """What differs between two runs.

    ``spec`` has one row per difference in how they were made: ``field first second``
    (:func:`~introspection_bench.analysis.spec_differences`); :attr:`changes` says each in words.

    ``cells`` has one row per matching cell and outcome: the columns matched on; ``outcome``; ``k_first n_first
    rate_first`` and the same for the second; ``difference`` (second less first) with its interval ``low`` to ``high``
    on these concepts and ``low_like`` to ``high_like`` on concepts like these (NaN where the cell has too few);
    ``low_whatever`` to ``high_whatever``, on these concepts, whatever the ``unscored`` trials would have been (NaN
    where all are scored); Fisher's exact ``p``, and ``p_holm``, adjusted over the cells of that outcome; ``verdict``.
    Where a cell has several concepts a rate is their mean, and both runs are compared on the concepts that both have.

    ``verdict``, on these concepts: with a margin ``equivalent``, ``different`` or ``neither``; else ``a difference is
    shown`` or ``no difference shown, up to x points not excluded``. A difference takes both the interval without zero
    and ``p_holm``, since there are many cells to find one in; equivalence is said of each cell by itself.

    ``pooled`` has one row per arm, outcome and estimand over all matching cells of the arm: ``arm outcome estimand
    matched k_first ... high low_whatever high_whatever unscored p verdict``.

    ``only_first`` and ``only_second`` are cells without a partner. ``unjudged`` names those of the two that no judge
    has seen: then ``cells`` is empty. ``said`` are the sentences about the pooled cells.
    """

    first: str
    second: str
    spec: pd.DataFrame = attrs.field(eq=False, repr=False)
    cells: pd.DataFrame = attrs.field(eq=False, repr=False)
    only_first: pd.DataFrame = attrs.field(eq=False, repr=False)
    only_second: pd.DataFrame = attrs.field(eq=False, repr=False)
    confidence: float
    unjudged: tuple[str, ...] = attrs.field(default=(), converter=frozen_tuple)
    margin: float | None = None
    pooled: pd.DataFrame = attrs.field(factory=pd.DataFrame, eq=False, repr=False)
    said: tuple[str, ...] = attrs.field(default=(), converter=frozen_tuple)

    @spec.validator
    def _check_spec(self, _: object, spec: pd.DataFrame) -> None:
        if not spec.empty:
            require_columns(spec, _CHANGED)

    @cells.validator
    def _check_cells(self, _: object, cells: pd.DataFrame) -> None:
        if not cells.empty:
            require_columns(cells, ["outcome", "rate_first", "rate_second", "p_holm", "verdict"])

    @property
    def sentence(self) -> str:
        """What was compared, and in how many cells it differs, in words."""
        differences = plural(len(self.spec), "difference")
        made = f"{self.first} against {self.second}: {differences} in how they were made"
        if self.unjudged:
            return (
                f"{made}; outcomes are not compared, "
                f"since there is no verdict in {' and '.join(self.unjudged)} (introspection-bench judge RUN)."
            )
        if self.cells.empty:
            return f"{self.first} and {self.second} have no cell in common."
        tests = int(self.cells["p_holm"].notna().sum())
        distinct = int((self.cells["p_holm"] <= 1 - self.confidence).sum())
        matched = len(self.cells) // self.cells["outcome"].nunique()
        counted = (
            f"{made}; over {matched} matching cells, "
            f"{distinct} of {tests} differences of rates stand after Holm's adjustment "
            f"(per outcome, at {percent(1 - self.confidence)})."
        )
        if self.margin is None:
            return counted
        same = int((self.cells["verdict"] == "equivalent").sum())
        return (
            f"{counted} {same} of {tests} are equivalent within {self.margin * 100:.3g} points, each taken by itself."
        )

    @property
    def changes(self) -> tuple[Change, ...]:
        """The rows of ``spec``, each with what differs inside the field: ``str(change)`` is that in words."""
        if self.spec.empty:
            return ()
        return tuple(Change(*row) for row in self.spec[_CHANGED].itertuples(index=False, name=None))

    @property
    def differing(self) -> pd.DataFrame:
        """The rows of ``cells`` whose rates differ, or which only one run has an answer to."""
        if self.cells.empty:
            return self.cells
        first, second = self.cells["rate_first"], self.cells["rate_second"]
        return self.cells[(first != second) & (first.notna() | second.notna())]

    @property
    def sentences(self) -> tuple[str, ...]:
        """:attr:`sentence`, then what is said of all matching cells of an arm together, for each outcome."""
        return (self.sentence, *self.said)


@checked(AnalysisError)
def compare(
    first: Results,
    second: Results,
    *,
    judge: str | None = None,
    rubric: str | None = None,
    on: Sequence[str] = MATCHED,
    outcomes: Sequence[str] | None = None,
    confidence: float = 0.95,
    margin: float | None = None,
) -> Comparison:
    """Compare two runs, or two results files; with a margin, say whether they are the same.

    "The same on two models, injectors or quantisations" is this with ``margin``, one run each.

    Args:
        first: from :func:`introspection_bench.read_results`.
        second: likewise.
        judge: whose verdicts are compared; None where each trial has only one verdict.
        rubric: likewise.
        on: the columns by which cells are matched. Leave ``layers`` out to set one layer against another; ``model`` is
            not among them unless it is named, since two runs are often of two models.
        outcomes: which rates; None: ``strict`` and the criteria that some verdict answers.
        confidence: of the intervals; 1 less the error of each one-sided test of equivalence.
        margin: the largest difference of rates that counts as none, given before the data; between 0 and 1. None claims
            no equivalence.

    Raises:
        AnalysisError: unknown columns, magnitudes that would be pooled over units, or a margin out of range.
        SpecError: several verdicts of a trial match.

    Source: :func:`difference` and :func:`equivalence`; Fisher's exact test, two-sided (scipy), stratified by concept
    where a cell has several; Holm 1979 (statsmodels).
    """
    check_probability("confidence", confidence)
    frames = [r.frame(judge, rubric) for r in (first, second)]
    both = pd.concat(frames, ignore_index=True)
    check_grouping(both, on)
    outcomes = shown_of(both) if outcomes is None else outcomes
    check_outcomes(both, outcomes)
    unjudged = tuple(r.name for r in (first, second) if len(r) and not r.judges)
    parts = [{_identity(g): (g, p) for g, p in groups(f, on)} for f in frames]
    shared = [] if unjudged else [key for key in parts[0] if key in parts[1]]
    if margin is not None:
        check_probability("margin", margin)
    rows, found = [], []
    arms: dict[tuple[str, str], list[tuple[ByConcept, ByConcept]]] = {}
    for outcome in outcomes:
        for key in shared:
            here = [p[key][1] for p in parts]
            pair = [by_concept(part, outcome) for part in here]
            found.append(_contrast([pair], margin, confidence))
            rows.append({**parts[0][key][0], "outcome": outcome, **_numbers(found[-1], pair, here)})
            for arm, each in _by_arm(here, pair, outcome, on):
                arms.setdefault((arm, outcome), []).append(each)
    cells = pd.DataFrame(rows, columns=[*on, "outcome", *_NUMBERS])
    cells["p_holm"] = cells.groupby("outcome", sort=False)["p"].transform(holm) if len(cells) else math.nan
    cells["verdict"] = [_verdict(c, holm <= 1 - confidence) for c, holm in zip(found, cells["p_holm"], strict=True)]
    pooled = {where: _contrast(pairs, margin, confidence) for where, pairs in arms.items()}
    types = {c: both[c].dtype for c in on}
    lonely = [
        pd.DataFrame(
            [{**group, "n_all": len(part)} for key, (group, part) in mine.items() if key not in other],
            columns=[*on, "n_all"],
        ).astype(types)
        for mine, other in (parts, parts[::-1])
    ]
    return Comparison(
        first.name,
        second.name,
        spec_differences(first, second),
        cells.astype(types),
        lonely[0],
        lonely[1],
        confidence,
        unjudged,
        margin,
        _pooled(pooled, {where: len(pairs) for where, pairs in arms.items()}),
        [_said((first.name, second.name), *where, len(arms[where]), c) for where, c in pooled.items() if c],
    )


def _identity(group: Mapping[str, Any]) -> tuple[object, ...]:
    # NA is not equal to itself; as a key it must be.
    return tuple(None if pd.isna(v) else v for v in group.values())


_Pair = Sequence[ByConcept | None]
_COUNTED = ("k_first", "n_first", "rate_first", "k_second", "n_second", "rate_second")
_WHATEVER = ("low_whatever", "high_whatever", "unscored")
#: The columns of numbers of ``cells``; those of ``pooled`` have the estimand in a column of its own.
_NUMBERS = (*_COUNTED, "difference", "low", "high", "low_like", "high_like", *_WHATEVER, "p")
_POOLED = ("arm", "outcome", "estimand", "matched", *_COUNTED, "difference", "low", "high", *_WHATEVER, "p", "verdict")


def _contrast(pairs: Sequence[_Pair], margin: float | None, confidence: float) -> Contrast | None:
    """Return the second run less the first over cells; None where a run has no verdict on the outcome."""
    there = [(second, first) for first, second in pairs if first is not None and second is not None]
    return contrast_pairs(there, margin=margin, confidence=confidence) if there else None


def _by_arm(
    parts: Sequence[pd.DataFrame], pair: _Pair, outcome: str, on: Sequence[str]
) -> Iterator[tuple[str, tuple[ByConcept, ByConcept]]]:
    """Yield a cell's arms, each with the outcome in both runs, where both have it."""
    if "arm" in on:
        split = {str(parts[0]["arm"].iloc[0]): pair}
    else:
        alike = [arm for arm in parts[0]["arm"].unique() if (parts[1]["arm"] == arm).any()]
        split = {str(arm): [by_concept(p[p["arm"] == arm], outcome) for p in parts] for arm in alike}
    for arm, (first, second) in split.items():
        if first is not None and second is not None:
            yield arm, (first, second)


def _counted(counts: ConceptCounts | None) -> tuple[int, int, float]:
    return (sum(counts.successes), sum(counts.trials), counts.rate) if counts else (0, 0, math.nan)


def _numbers(found: Contrast | None, pair: _Pair, parts: Sequence[pd.DataFrame]) -> dict[str, float]:
    if found is None:
        arms = [_counted(arm.counts if arm else None) for arm in pair]
        unscored = sum(int(part["unscored"].notna().sum()) for part in parts)
        bounds = [*[math.nan] * 7, unscored, math.nan]
    else:
        arms = [_counted(arm) for arm in (found.second, found.first)]
        like = (found.like.low, found.like.high) if found.like else (math.nan, math.nan)
        bounds = [found.these.estimate, found.these.low, found.these.high, *like, *_whatever(found), found.p]
    return dict(zip(_NUMBERS, [*arms[0], *arms[1], *bounds], strict=True))


def _whatever(found: Contrast) -> tuple[float, float, int]:
    ends = (found.whatever.low, found.whatever.high) if found.unscored else (math.nan, math.nan)
    return (*ends, found.unscored + found.lost)


def _verdict(found: Contrast | None, beyond_chance: bool) -> str:
    """Return a cell's verdict in words; ``beyond_chance`` says whether its p stands among those of the other cells."""
    if found is None:
        return "not compared"
    if found.verdicts:
        verdict = found.verdicts[0].verdict
        return "neither" if verdict == "different" and not beyond_chance else verdict
    if excludes_zero(found.these) and beyond_chance:
        return "a difference is shown"
    return f"no difference shown, up to {unexcluded(found.these)} points not excluded"


def _pooled(found: Mapping[tuple[str, str], Contrast | None], matched: Mapping[tuple[str, str], int]) -> pd.DataFrame:
    rows = []
    for (arm, outcome), c in found.items():
        if c is None:
            continue
        counted = [*_counted(c.second), *_counted(c.first)]
        for place, e in enumerate(each for each in (c.these, c.like) if each):
            whatever = _whatever(c) if e is c.these else (math.nan, math.nan, c.unscored + c.lost)
            words = c.verdicts[place].verdict if c.verdicts else in_words(e)
            p = c.p if e is c.these else math.nan
            bounds = [e.estimate, e.low, e.high, *whatever, p, words]
            rows.append(
                dict(zip(_POOLED, [arm, outcome, e.estimand, matched[arm, outcome], *counted, *bounds], strict=True))
            )
    return pd.DataFrame(rows, columns=_POOLED)


def _said(names: Sequence[str], arm: str, outcome: str, matched: int, found: Contrast) -> str:
    counts = [
        f"{name} {sum(arm.successes):,} of {sum(arm.trials):,}"
        for name, arm in zip(names, (found.second, found.first), strict=True)
    ]
    over = f" over {matched:,} matching cells" if matched > 1 else ""
    return f"{arm}, {outcome}: {counts[1]} less {counts[0]}{over}. {' '.join(found.sentences)}"


def holm(p_values: pd.Series[float]) -> pd.Series[float]:
    """Return p adjusted for their number by Holm's method (1979; statsmodels); NaN where there is none."""
    from statsmodels.stats.multitest import multipletests

    adjusted = p_values.copy()
    there = p_values.notna()
    if there.any():
        adjusted[there] = multipletests(p_values[there].to_numpy(), method="holm")[1]
    return adjusted
