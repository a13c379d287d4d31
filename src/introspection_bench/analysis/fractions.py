"""Fractions of a two-level factorial: which settings are run, and which effects they can't tell apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from itertools import combinations

import attrs
import numpy as np
import numpy.typing as npt

from ..boundaries import checked, guarded
from ..errors import AnalysisError, explain
from ..freezing import frozen_mapping, frozen_tuple

#: Up to so many factors every setting is run where no resolution is asked for.
FEW_FACTORS = 3
#: More factors than this make no plan that anybody runs, and the search for the best fraction long.
MOST_FACTORS = 8

#: An effect: of one factor, or of two together.
Term = tuple[str, ...]


def _terms(values: Mapping[Term, Sequence[Term]]) -> Mapping[Term, tuple[Term, ...]]:
    return frozen_mapping({term: tuple(others) for term, others in values.items()})


@guarded(AnalysisError)
@attrs.frozen
class Fraction:
    """A two-level design: ``runs`` are the settings, each the factors that stand at their second level.

    ``aliased`` says of each effect of one factor or of two which others the runs can't tell from it: what is estimated
    is their sum. ``resolution`` R: an effect of p factors is told apart from those of fewer than R - p; None where all
    settings are run, and every effect is told from every other.
    """

    factors: tuple[str, ...] = attrs.field(converter=frozen_tuple)
    runs: tuple[frozenset[str], ...] = attrs.field(converter=frozen_tuple)
    resolution: int | None
    aliased: Mapping[Term, tuple[Term, ...]] = attrs.field(converter=_terms, hash=False)

    def __attrs_post_init__(self) -> None:
        known = set(self.factors)
        strange = [set(run) - known for run in self.runs] + [set(term) - known for term in self.aliased]
        lacking = [f for f in self.factors if (f,) not in self.aliased]
        if not self.runs or any(strange) or lacking or len(known) < len(self.factors):
            raise AnalysisError(
                explain(
                    "factors, runs, aliased",
                    required="each factor once, at least one run, and each factor's effect, of these factors alone",
                    got=(list(self.factors)[:8], len(self.runs), lacking[:8]),
                    hint="Make it with fraction(factors).",
                )
            )

    @checked(AnalysisError)
    def sign(self, term: Sequence[str], run: Collection[str]) -> int:
        """Return +1 or -1: the product of the levels of the term's factors in a run."""
        return -1 if sum(f not in run for f in term) % 2 else 1

    @property
    def sentence(self) -> str:
        """How many settings are run, and what can't be told apart, in words."""
        whole = 2 ** len(self.factors)
        if self.resolution is None:
            return f"All {whole} settings of {len(self.factors)} factors: every effect is told from every other."
        pairs = [told(t) + " = " + " = ".join(map(told, others)) for t, others in self.distinct if others]
        said = f"{len(self.runs)} of {whole} settings, resolution {self.resolution}"
        rest = f"an effect of one factor can't be told from one of {self.resolution - 1} or more together"
        return f"{said}: {rest}" + (f"; {'; '.join(pairs)}." if pairs else "; no two effects of pairs are mixed.")

    @property
    def distinct(self) -> tuple[tuple[Term, tuple[Term, ...]], ...]:
        """Each effect that the runs can tell from the others before it, with those that are the same."""
        seen: set[Term] = set()
        found = []
        for term, others in self.aliased.items():
            if term not in seen:
                found.append((term, others))
                seen.update(others)
        return tuple(found)


@checked(AnalysisError)
def fraction(factors: Sequence[str], resolution: int | None = None) -> Fraction:
    """Return the smallest fraction of a factorial that has a resolution, out of pyDOE3's best of each size.

    Args:
        factors: their names, 2 to 8, each once.
        resolution: 3 or more; at 4 no effect of one factor is mixed with one of a pair, at 5 no pair with another pair.
            More than there are factors: all settings. None: all settings of up to three factors, else 4.

    Raises:
        AnalysisError: too few or too many factors, one twice, or a resolution below 3.
    """
    names = list(factors)
    if not 2 <= len(names) <= MOST_FACTORS or len(set(names)) < len(names):
        raise AnalysisError(
            explain("factors", required=f"2 to {MOST_FACTORS} names, each once", got=names, hint="how='both ends'")
        )
    if resolution is not None and resolution < 3:
        raise AnalysisError(
            explain("resolution", required="3 or more", got=resolution, hint="4 keeps single factors clear of pairs.")
        )
    wanted = (len(names) + 1 if len(names) <= FEW_FACTORS else 4) if resolution is None else resolution
    levels = _levels(len(names), wanted)
    runs = [frozenset(f for f, level in zip(names, row, strict=True) if level > 0) for row in levels]
    return Fraction(names, runs, _resolution(levels), _aliased(names, levels))


@lru_cache
def _levels(factors: int, wanted: int) -> npt.NDArray[np.float64]:
    from pyDOE3 import ff2n, fracfact, fracfact_opt

    for erased in range(factors - 2, 0, -1):
        try:
            levels = np.asarray(fracfact(fracfact_opt(factors, erased)[0]), dtype=np.float64)
        except ValueError:  # fewer runs than factors, or a saturated plan, which the library does not search for
            continue
        found = _resolution(levels)
        # Counted and not taken from the library, whose fracfact_by_res gives 4 where it is asked for 5 of 8 factors.
        if found is not None and found >= wanted:
            return levels
    return np.asarray(ff2n(factors), dtype=np.float64)


def _resolution(levels: npt.NDArray[np.float64]) -> int | None:
    """Return the smallest number of factors whose product is the same in all runs; None where there are none."""
    factors = levels.shape[1]
    for size in range(1, factors + 1):
        for columns in combinations(range(factors), size):
            if abs(np.prod(levels[:, list(columns)], axis=1).sum()) == len(levels):
                return size
    return None


def _aliased(names: Sequence[str], levels: npt.NDArray[np.float64]) -> dict[Term, list[Term]]:
    terms: list[Term] = [(f,) for f in names] + list(combinations(names, 2))
    place = {f: n for n, f in enumerate(names)}
    columns = {t: np.prod([levels[:, place[f]] for f in t], axis=0) for t in terms}
    # The generators have no minus signs: what is mixed has equal columns, never opposite ones.
    return {term: [o for o in terms if o != term and columns[term] @ columns[o] == len(levels)] for term in terms}


def told(term: Term) -> str:
    """Return an effect as it is written: ``prompt × dose``."""
    return " × ".join(term)
