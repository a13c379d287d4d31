"""Trial records as plain JSON values and back, without loss; the one layout behind JSONL and Parquet."""

from __future__ import annotations

from collections.abc import Mapping

import cattrs

from .digests import canonical_json
from .errors import ResultsFormatError, explain
from .structuring import plain, problems, strict_converter
from .trials import TrialRecord
from .untrusted import parse_json

#: Every exported record says what it is; a reader refuses versions that it doesn't know.
FORMAT = "introspection_bench.trial"
FORMAT_VERSION = 3
_OLDER = range(1, FORMAT_VERSION)


def to_json(record: TrialRecord) -> str:
    """Return one record as one line of canonical JSON (ASCII, sorted keys, no NaN)."""
    return canonical_json({"format": FORMAT, "version": FORMAT_VERSION, "record": plain(record)})


def from_json(text: str | bytes, where: str) -> TrialRecord:
    """Return the record of one line.

    Unknown fields are ignored, so that a later version may add some; a missing field or one of the wrong type
    raises :class:`ResultsFormatError`, which begins with ``where`` and names the field.
    """
    try:
        data = parse_json(text)
    except ValueError as error:
        raise ResultsFormatError(
            explain(where, required="one JSON object", got=str(error), hint="The file is cut off or damaged.")
        ) from error
    if isinstance(data, Mapping) and data.get("format") == FORMAT and data.get("version") in _OLDER:
        raise ResultsFormatError(
            explain(
                where,
                required=f"an export of version {FORMAT_VERSION}",
                got=f"version {data['version']}, whose trials have another kind of key",
                hint="Read it with the version of introspection-bench that wrote it; a Parquet export can also be read "
                "as a table (docs/other_results.md).",
            )
        )
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
        raise ResultsFormatError(
            explain(
                where,
                required="the fields of a TrialRecord, in their types",
                got=problems(error, "record"),
                hint="The file was changed by hand, or is of another version.",
            )
        ) from error


_CONVERTER = strict_converter(forbid_extra_keys=False)
