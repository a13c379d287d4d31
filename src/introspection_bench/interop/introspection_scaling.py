"""The trials of the introspection-scaling study: one JSONL file a model.

Source of the layout: github.com/bamdadd/introspection-scaling (MIT), July 2026. Vectors by repeng's ``pca_center``,
doses in the unit ``absolute``, one random vector of the same norm, Lindsey's prompt with straight quotation marks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from ..errors import ResultsFormatError, explain
from ..results import Results
from ..scaffolds import LINDSEY
from .rows import jsonl_rows
from .tabular import TableLayout, records_of

JUDGE = "claude"
RUBRIC = "introspection_scaling"

_LAYOUT = TableLayout(
    columns={
        "reply": "transcript",
        "arm": "condition",
        "concept": "concept",
        "layers": "layer",
        "magnitude": "alpha",
        "model": "model_id",
        "scaffold": "scaffold",
        "draw": "draw",
        "unscored": "unscored",
    },
    criteria={
        "affirmative": "affirmative",
        "coherent": "coherent",
        "immediate": "detects_before_naming",
        "identifies": "correct_identification",
        "names_as_thought": "correct_identification",
    },
    arms={"injected": "injected", "random_direction": "random", "no_injection": "control"},
    unit="absolute",
    judge=JUDGE,
    judge_model="Claude Sonnet 4",
    rubric=RUBRIC,
)
_NOTES = (
    "The judge, Claude Sonnet 4, was told the concept, also on controls.",
    "Its identifies asks for the concept as the injected thought, which is our names_as_thought; immediate is its "
    "detects_before_naming, which is true also where nothing is named.",
    "The file holds the same clean replies under each of six concepts, with the same seeds: they are one draw each.",
    "The random vectors of one seed are shared by the concepts as well, so the random trials of different concepts are "
    "not independent.",
    "Controls state the dose of the injected trials beside them; nothing was injected.",
)


class IntrospectionScalingReader:
    """Reader of the study's files; see :mod:`introspection_bench.interop.readers` for the port."""

    def claims(self, path: Path, head: bytes) -> bool:
        """Say whether the first line has the study's own fields."""
        fields = (b'"model_id"', b'"condition"', b'"dose_fraction"', b'"detects_before_naming"')
        return not path.is_dir() and all(field in head for field in fields)

    def read(self, path: Path) -> Results:
        """Read one model's file; raises :class:`ResultsFormatError` that names row and column."""
        found = records_of(_prepared(path), _LAYOUT, path)
        return attrs.evolve(found, notes=(*found.notes, *_NOTES))


def _prepared(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, row in jsonl_rows(path):
        try:
            drawn = f"{row['seed']}/{row['trial']}" if row["condition"] == "no_injection" else None
            failed = "the published judge's answer could not be read" if row["parse_error"] else None
        except KeyError as error:
            raise ResultsFormatError(
                explain(f"{path}: row {number}", required=f"the field {error}", got=sorted(row), hint="")
            ) from error
        yield number, {**row, "draw": drawn, "unscored": failed, "scaffold": LINDSEY.name}
