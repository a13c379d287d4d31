"""The best of many cells out of a frame, told as one that was chosen."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pandas as pd

from ..boundaries import guarded
from ..errors import AnalysisError
from .binomial import Interval, percent
from .cells import NAMED, cell_name, groups, telling
from .intervals import BestCell, best_of_many, each_of_many
from .selection import coherent


@guarded(AnalysisError)
@attrs.frozen
class CellBound:
    """The cell of the largest upper bound, at a confidence that holds for all ``cells`` at once.

    ``tied`` counts the cells with that bound, of which this is the first.
    """

    name: str
    interval: Interval
    cells: int
    tied: int = 1

    @property
    def sentence(self) -> str:
        """The bound in words."""
        i = self.interval
        seen = f"{self.name} with {i.k} of {i.n}"
        seen += f" and {self.tied - 1} other{'s' if self.tied > 2 else ''}" if self.tied > 1 else ""
        if i.high >= 1:
            return f"Not in every cell is a rate excluded from above: not in {seen}."
        sure = f"{percent(i.confidence)} for all {self.cells} cells at once"
        return f"In whatever cell, rates above {percent(i.high)} are excluded ({sure}; bounded least: {seen})."


@attrs.frozen
class Cells:
    """What is said of a frame's single cells; see :class:`~introspection_bench.analysis.Exclusion`."""

    best: BestCell | None
    best_name: str
    least_bounded: CellBound | None
    mixed: bool
    paired: bool


def cells_of(frame: pd.DataFrame, outcome: str, *, by: Sequence[str], confidence: float) -> Cells:
    """Return the best cell and the least bounded one of scored injected trials, over the cells with the outcome.

    Cells are taken as independent where every seed is known and none is in two cells, which a paired design has.
    """
    columns = telling(frame, [*NAMED, "scaffold"])
    found = [(cell_name(group, columns), part) for group, part in groups(frame, by) if part[outcome].notna().any()]
    # The nearest to success comes first: of equal rates the first is taken to be the best.
    cells = sorted(found, key=lambda cell: _nearness(cell[1]), reverse=True)
    if not cells:
        return Cells(None, "", None, mixed=False, paired=False)
    seeds = pd.concat([part["seed"].dropna().drop_duplicates() for _, part in cells])
    paired = bool(seeds.duplicated().any())
    independent = not paired and all(part["seed"].notna().all() for _, part in cells)
    k, n = [int(p[outcome].sum()) for _, p in cells], [int(p[outcome].notna().sum()) for _, p in cells]
    best = best_of_many(k, n, confidence=confidence, independent=independent, ties="ruled")
    each = each_of_many(k, n, confidence=confidence, independent=independent)
    highest = max(i.high for i in each)
    least = [place for place, i in enumerate(each) if i.high == highest]
    return Cells(
        best,
        cells[best.index][0],
        CellBound(cells[least[0]][0], each[least[0]], len(cells), len(least)),
        mixed=any(part["concept"].nunique() > 1 for _, part in cells),
        paired=paired,
    )


def _nearness(part: pd.DataFrame) -> tuple[int, int]:
    whole = coherent(part)
    claims, names = (whole[c].fillna(value=False) for c in ("affirmative", "identifies"))
    return int((claims | names).sum()), len(whole)
