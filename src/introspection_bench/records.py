"""Trial records as plain JSON values and back, without loss; the one layout behind JSONL and Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import attrs

from .boundaries import guarded
from .digests import canonical_json
from .effects import Effects, FoundDose
from .errors import ResultsFormatError, explain
from .freezing import frozen_mapping, frozen_tuple
from .results import Results
from .structuring import plain, strict_converter, worded
from .trials import TrialRecord
from .untrusted import parse_json

T = TypeVar("T")

#: Every exported record says what it is; a reader refuses versions that it doesn't know.
FORMAT = "introspection_bench.trial"
#: What stands beside the records: one object that says what they are the results of.
HEADER_FORMAT = "introspection_bench.results"
FORMAT_VERSION = 3
_OLDER = range(1, FORMAT_VERSION)


@guarded(ResultsFormatError)
@attrs.frozen
class Header:
    """What an export says of its records as a whole: see :class:`~introspection_bench.results.Results`.

    ``trials`` is how many records follow, so that a file that was cut off between two of them is known.
    """

    name: str
    trials: int
    spec: Mapping[str, Any] = attrs.field(converter=frozen_mapping, hash=False)
    notes: tuple[str, ...] = attrs.field(converter=frozen_tuple)
    effects: Effects = attrs.field(factory=Effects)
    doses: tuple[FoundDose, ...] = attrs.field(converter=frozen_tuple, default=())

    @classmethod
    def of(cls, results: Results) -> Header:
        """The header of some results."""
        return cls(results.name, len(results), results.spec, results.notes, results.effects, results.doses)


def to_json(record: TrialRecord) -> str:
    """Return one record as one line of canonical JSON (ASCII, sorted keys, no NaN)."""
    return _written(FORMAT, "record", record)


def from_json(text: str | bytes, where: str) -> TrialRecord:
    """Return the record of one line.

    Unknown fields are ignored, so that a later version may add some; a missing field or one of the wrong type
    raises :class:`ResultsFormatError`, which begins with ``where`` and names the field.
    """
    return _read(text, where, FORMAT, "record", TrialRecord)


def header_to_json(header: Header) -> str:
    """Return the header as one line of canonical JSON."""
    return _written(HEADER_FORMAT, "results", header)


def header_from_json(text: str | bytes, where: str) -> Header:
    """Return the header of one line; as :func:`from_json`."""
    return _read(text, where, HEADER_FORMAT, "results", Header)


def is_header(line: bytes) -> bool:
    """Say whether a line of an export is a header, by how it begins."""
    return line.startswith(f'{{"format":"{HEADER_FORMAT}"'.encode())


def _written(name: str, field: str, value: Any) -> str:
    try:
        return canonical_json({"format": name, "version": FORMAT_VERSION, field: plain(value)})
    except (TypeError, ValueError) as error:
        raise ResultsFormatError(
            explain(field, required="values that JSON can hold", got=str(error), hint="Leave such values out.")
        ) from error


def _read(text: str | bytes, where: str, name: str, field: str, kind: type[T]) -> T:
    try:
        data = parse_json(text)
    except ValueError as error:
        raise ResultsFormatError(
            explain(where, required="one JSON object", got=str(error), hint="The file is cut off or damaged.")
        ) from error
    if isinstance(data, Mapping) and data.get("format") == name and data.get("version") in _OLDER:
        raise ResultsFormatError(
            explain(
                where,
                required=f"an export of version {FORMAT_VERSION}",
                got=f"version {data['version']}, whose trials have another kind of key",
                hint="Read it with the version of introspection-bench that wrote it; a Parquet export can also be read "
                "as a table (the docs' page other_results).",
            )
        )
    if not isinstance(data, Mapping) or data.get("format") != name or data.get("version") != FORMAT_VERSION:
        got = {k: data.get(k) for k in ("format", "version")} if isinstance(data, Mapping) else type(data).__name__
        raise ResultsFormatError(
            explain(
                where,
                required=f"an object with format {name!r}, version {FORMAT_VERSION} and {field}",
                got=got,
                hint="The line is no export of ours, or of a later version.",
            )
        )
    with worded(
        ResultsFormatError,
        where,
        root=field,
        required=f"the fields of a {kind.__name__}, in their types",
        hint="The file was changed by hand, or is of another version.",
        also=(TypeError, ValueError, AttributeError),
    ):
        return _CONVERTER.structure(data.get(field), kind)


_CONVERTER = strict_converter(forbid_extra_keys=False)
