"""Two runs side by side: what differs in how they were made, and what differs in the outcome."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import pandas as pd
from scipy.stats import fisher_exact

from ..boundaries import checked, guarded
from ..conditions import CELL_COLUMNS
from ..errors import AnalysisError
from ..results import Results
from .binomial import check_probability, percent
from .cells import groups
from .rates import outcome_interval
from .selection import check_grouping, check_outcomes, require_columns, shown_of

#: By which cells are matched unless told otherwise: two runs are often of two models.
MATCHED = tuple(c for c in CELL_COLUMNS if c != "model")
_ABSENT = "(not stated)"


@guarded(AnalysisError)
@attrs.frozen
class Comparison:
    """What differs between two runs.

    ``spec`` has one row per field that differs: ``field first second``; fields of the specification bear
    their dotted path, facts read from the trials themselves begin with ``trials.``. ``cells`` has one row per
    matching cell and outcome: the columns matched on, ``outcome``, ``k_first n_first rate_first``, the same for
    the second, ``difference`` (second minus first) with Newcombe's interval ``low`` to ``high``, Fisher's exact
    ``p`` and ``p_holm``, adjusted over the cells of that outcome. ``only_first`` and ``only_second`` are cells
    without a partner. ``unjudged`` names those of the two that no judge has seen: then ``cells`` is empty.
    """

    first: str
    second: str
    spec: pd.DataFrame = attrs.field(eq=False, repr=False)
    cells: pd.DataFrame = attrs.field(eq=False, repr=False)
    only_first: pd.DataFrame = attrs.field(eq=False, repr=False)
    only_second: pd.DataFrame = attrs.field(eq=False, repr=False)
    confidence: float
    unjudged: tuple[str, ...] = ()

    @cells.validator
    def _check_cells(self, _: object, cells: pd.DataFrame) -> None:
        if not cells.empty:
            require_columns(cells, ["outcome", "p_holm"])

    @property
    def sentence(self) -> str:
        """The result in words."""
        if self.unjudged:
            return (
                f"{self.first} against {self.second}: {len(self.spec)} fields differ; outcomes are not compared, "
                f"since there is no verdict in {' and '.join(self.unjudged)} (introspection-bench judge RUN)."
            )
        if self.cells.empty:
            return f"{self.first} and {self.second} have no cell in common."
        tests = int(self.cells["p_holm"].notna().sum())
        distinct = int((self.cells["p_holm"] <= 1 - self.confidence).sum())
        matched = len(self.cells) // self.cells["outcome"].nunique()
        return (
            f"{self.first} against {self.second}: {len(self.spec)} fields differ; over {matched} matching cells, "
            f"{distinct} of {tests} differences of rates stand after Holm's adjustment "
            f"(per outcome, at {percent(1 - self.confidence)})."
        )


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
) -> Comparison:
    """Compare two runs, or two results files.

    Args:
        first: from :func:`introspection_bench.read_results`.
        second: likewise.
        judge: whose verdicts are compared; None where each trial has only one verdict.
        rubric: likewise.
        on: the columns by which cells are matched. Leave ``layers`` out to set one layer against another; ``model`` is
            not among them unless it is named, since two runs are often of two models.
        outcomes: which rates; None: ``strict`` and the criteria that some verdict answers.
        confidence: of the intervals.

    Raises:
        AnalysisError: unknown columns, or magnitudes that would be pooled over units.
        SpecError: several verdicts of a trial match.

    Source: Newcombe 1998, Statistics in Medicine 17, method 10 (statsmodels); Fisher's exact test, two-sided
    (scipy); Holm 1979 (statsmodels).
    """
    check_probability("confidence", confidence)
    frames = [r.frame(judge, rubric) for r in (first, second)]
    both = pd.concat(frames, ignore_index=True)
    check_grouping(both, on)
    outcomes = shown_of(both) if outcomes is None else outcomes
    check_outcomes(both, outcomes)
    unjudged = tuple(r.name for r in (first, second) if len(r) and not r.judges)
    parts = [{_identity(g): (g, p) for g, p in groups(f, on)} for f in frames]
    shared = [key for key in parts[0] if key in parts[1]]
    rows = [
        {**parts[0][key][0], "outcome": outcome, **_difference(parts[0][key][1], parts[1][key][1], outcome, confidence)}
        for outcome in outcomes
        for key in shared
        if not unjudged
    ]
    names = [
        "k_first",
        "n_first",
        "rate_first",
        "k_second",
        "n_second",
        "rate_second",
        "difference",
        "low",
        "high",
        "p",
    ]
    cells = pd.DataFrame(rows, columns=[*on, "outcome", *names])
    cells["p_holm"] = cells.groupby("outcome", sort=False)["p"].transform(_holm) if len(cells) else math.nan
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
    )


@checked(AnalysisError)
def spec_differences(first: Results, second: Results) -> pd.DataFrame:
    """Return the fields in which two runs differ: ``field first second``, sorted by field.

    Nested mappings are compared leaf by leaf under dotted paths, lists as a whole. Facts that the trials state
    themselves (model, backend, judges, magnitudes, ...) are compared too, under ``trials.``, so that runs
    whose specifications have different layouts can be compared.
    """
    leaves = [dict(_leaves({**r.spec, "trials": r.facts})) for r in (first, second)]
    rows = [
        {"field": f, "first": leaves[0].get(f, _ABSENT), "second": leaves[1].get(f, _ABSENT)}
        for f in sorted({*leaves[0], *leaves[1]})
        if f not in leaves[0] or f not in leaves[1] or leaves[0][f] != leaves[1][f]
    ]
    return pd.DataFrame(rows, columns=["field", "first", "second"], dtype=object)


def _leaves(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in mapping.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value


def _identity(group: Mapping[str, Any]) -> tuple[object, ...]:
    # NA is not equal to itself; as a key it must be.
    return tuple(None if pd.isna(v) else v for v in group.values())


def _difference(first: pd.DataFrame, second: pd.DataFrame, outcome: str, confidence: float) -> dict[str, float]:
    a, b = outcome_interval(first, outcome), outcome_interval(second, outcome)
    low, high, p = math.nan, math.nan, math.nan
    if a.n and b.n:
        from statsmodels.stats.proportion import confint_proportions_2indep

        low, high = confint_proportions_2indep(b.k, b.n, a.k, a.n, method="newcomb", alpha=1 - confidence)
        p = float(fisher_exact([[a.k, a.n - a.k], [b.k, b.n - b.k]]).pvalue)
    return {
        "k_first": a.k,
        "n_first": a.n,
        "rate_first": a.rate,
        "k_second": b.k,
        "n_second": b.n,
        "rate_second": b.rate,
        "difference": b.rate - a.rate,
        "low": float(low),
        "high": float(high),
        "p": p,
    }


def _holm(p_values: pd.Series[float]) -> pd.Series[float]:
    from statsmodels.stats.multitest import multipletests

    adjusted = p_values.copy()
    there = p_values.notna()
    if there.any():
        adjusted[there] = multipletests(p_values[there].to_numpy(), method="holm")[1]
    return adjusted
