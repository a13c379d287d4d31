"""Trial records as plain JSON values and back, without loss; the one layout behind JSONL and Parquet."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import attrs
import cattrs

from ..digests import canonical_json
from ..errors import ResultsFormatError, explain
from ..trials import TrialRecord

#: Every exported record says what it is; a reader refuses versions that it doesn't know.
FORMAT = "introspection_bench.trial"
FORMAT_VERSION = 1


def to_json(record: TrialRecord) -> str:
    """Return one record as one line of canonical JSON (ASCII, sorted keys, no NaN)."""
    return canonical_json({"format": FORMAT, "version": FORMAT_VERSION, "record": attrs.asdict(record)})


def from_json(text: str | bytes, where: str) -> TrialRecord:
    """Return the record of one line.

    Unknown fields are ignored, so that a later version may add some; a missing field or one of the wrong type
    raises :class:`ResultsFormatError`, which begins with ``where`` and names the field.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ResultsFormatError(
            explain(where, required="one JSON object", got=str(error), hint="The file is cut off or damaged.")
        ) from error
    if not isinstance(data, Mapping) or data.get("format") != FORMAT or data.get("version") != FORMAT_VERSION:
        got = {k: data.get(k) for k in ("format", "version")} if isinstance(data, Mapping) else type(data).__name__
        raise ResultsFormatError(
            explain(
                where,
                required=f"an object with format {FORMAT!r}, version {FORMAT_VERSION} and record",
                got=got,
                hint="The line is no export of ours, or of a later version.",
            )
        )
    try:
        return _CONVERTER.structure(data.get("record"), TrialRecord)
    except (cattrs.BaseValidationError, TypeError, ValueError, AttributeError) as error:
        problems = "; ".join(cattrs.transform_error(error, path="record"))
        raise ResultsFormatError(
            explain(where, required="the fields of a TrialRecord", got=problems, hint="Compare with docs/formats.md.")
        ) from error


def _strict(*kinds: type) -> Any:
    # cattrs would turn "no" into True and 3 into "3": a slip in a file must not become a result.
    def hook(value: Any, target: type) -> Any:
        if type(value) not in kinds or (isinstance(value, float) and not math.isfinite(value)):
            raise TypeError(f"required {target.__name__}, got {value!r:.100}")
        return target(value)

    return hook


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_structure_hook(str, _strict(str))
    converter.register_structure_hook(bool, _strict(bool))
    converter.register_structure_hook(int, _strict(int))
    converter.register_structure_hook(float, _strict(int, float))
    return converter


_CONVERTER = _converter()
