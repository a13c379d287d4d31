"""Two arms of one run held against each other, or two rises, cell by cell: what rules on explanations decide by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import pandas as pd

from ..conditions import (
    EDITED_INPUT,
    EDITED_INPUT_CLEAN,
    MENTION,
    NEUTRAL_LABELS_CLEAN,
    NO_QUESTIONS_CLEAN,
    YES_QUESTIONS_CLEAN,
)
from ..freezing import frozen_tuple
from .by_concept import ByConcept, by_concept
from .cells import groups
from .contrast import contrast_pairs
from .intervals import Equivalence, Estimate
from .rises import rise_contrast

#: Trials, an arm among them, and an outcome of it; None where there are no such verdicts.
AS_TOLD = tuple[pd.DataFrame | None, str, str]
#: Arms that inject nothing, whose trials are about the concept asked about all the same.
_ABOUT = (
    MENTION,
    EDITED_INPUT,
    EDITED_INPUT_CLEAN,
    NO_QUESTIONS_CLEAN,
    YES_QUESTIONS_CLEAN,
    NEUTRAL_LABELS_CLEAN,
)
_SETTING = ("model", "base")
_DOSE = ("layers", "magnitude", "unit")


@attrs.frozen
class Compared:
    """A difference with its verdicts; ``rate`` is the mean over its ``arms``, ``per_concept`` their trials of one."""

    these: Estimate
    like: Estimate | None
    whatever: Estimate
    verdicts: tuple[Equivalence, ...] = attrs.field(converter=frozen_tuple)
    rate: float
    per_concept: int
    arms: int = 2


def held_against(first: AS_TOLD, second: AS_TOLD, *, margin: float | None, confidence: float) -> Compared | None:
    """Return the first arm less the second over the cells that both have; None where they have none.

    Cells are of one model and base scaffold, and of the same layers and dose asked for where both arms have a dose. Of
    an arm without one each trial counts once: it stands against all doses of the other together.
    """
    pairs = matched_cells(first, second)
    if not pairs:
        return None
    found = contrast_pairs(pairs, margin=margin, confidence=confidence)
    arms_ = [arm for pair in pairs for arm in pair]
    return Compared(found.these, found.like, found.whatever, found.verdicts, *sized(arms_))


def matched_cells(first: AS_TOLD, second: AS_TOLD) -> list[tuple[ByConcept, ByConcept]]:
    """Return both arms by concept in each cell that both have (:func:`held_against`)."""
    pairs = []
    for one, other in _cells(*map(_part, (first, second))):
        arms = (by_concept(one, first[2]), by_concept(other, second[2]))
        if arms[0] is not None and arms[1] is not None:
            pairs.append((arms[0], arms[1]))
    return pairs


def rises_against(
    first: tuple[AS_TOLD, AS_TOLD], second: tuple[AS_TOLD, AS_TOLD], *, margin: float | None, confidence: float
) -> Compared | None:
    """Return how much more the first arm rises over its base than the second; None where one of them has no trials.

    The two arms are those of the cells that both have; the four are then pooled over cells, concept by concept, within
    the models and base scaffolds that all have.
    """
    arms = matched_rises(first, second)
    if arms is None:
        return None
    a, b, c, d = arms
    found = rise_contrast((a, b), (c, d), margin=margin, confidence=confidence)
    return Compared(found.these, found.like, found.whatever, found.verdicts, *sized([a, c]), 4)


def matched_rises(
    first: tuple[AS_TOLD, AS_TOLD], second: tuple[AS_TOLD, AS_TOLD]
) -> tuple[ByConcept, ByConcept, ByConcept, ByConcept] | None:
    """Return an arm, its base, the other arm and its base by concept (:func:`rises_against`); None where one lacks."""
    cells = list(_cells(_part(first[0]), _part(second[0])))
    bases = [_part(first[1]), _part(second[1])]
    if not cells or any(base.empty for base in bases):
        return None
    parts = [pd.concat([cell[side] for cell in cells]) for side in (0, 1)]
    places = set.intersection(*(set(_places(part)) for part in (*parts, *bases)))
    kept = [part[[place in places for place in _places(part)]] for part in (parts[0], bases[0], parts[1], bases[1])]
    told = [by_concept(part, of[2]) for part, of in zip(kept, (*first, *second), strict=True)]
    a, b, c, d = told
    if a is None or b is None or c is None or d is None:
        return None
    return a, b, c, d


def counted(of: AS_TOLD) -> ByConcept | None:
    """Return an arm's outcome by concept; None where no trial is scored for it."""
    part = _part(of)
    return None if part.empty else by_concept(part, of[2])


def _part(of: AS_TOLD) -> pd.DataFrame:
    """Return an arm's trials with the design's scaffold as ``base``, and the concept that they are about."""
    frame, arm, _ = of
    if frame is None:
        return pd.DataFrame()
    part = frame[frame["arm"] == arm]
    about = part["asked"] if arm in _ABOUT else part["concept"]
    return part.assign(base=part["scaffold"].str.split(":").str[0], concept=about)


def _places(part: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(part["model"].astype(str), part["base"].astype(str), strict=True))


def _cells(first: pd.DataFrame, second: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    if first.empty or second.empty:
        return
    dosed = all(part["layers"].notna().any() or part["unit"].notna().any() for part in (first, second))
    by = (*_SETTING, *(_DOSE if dosed else ()))
    others = {_key(cell): part for cell, part in groups(second, by)}
    for cell, part in groups(first, by):
        if _key(cell) in others:
            yield part, others[_key(cell)]


def _key(cell: dict[str, object]) -> tuple[object, ...]:
    return tuple(None if pd.isna(value) else value for value in cell.values())  # type: ignore[call-overload]  # a scalar


def sized(arms: Sequence[ByConcept]) -> tuple[float, int]:
    """Return the mean rate of some arms, and how many trials of one concept they have."""
    rate = sum(arm.counts.rate for arm in arms) / len(arms)
    each = [n for arm in arms if any(arm.concepts) for n in arm.counts.trials] or [1]
    return rate, max(1, round(sum(each) / len(each)))
