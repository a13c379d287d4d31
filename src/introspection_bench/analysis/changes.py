"""What differs between the specifications of two runs: down to the entry of a list and the sentence of a prompt."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import attrs
import pandas as pd

from ..boundaries import checked
from ..errors import AnalysisError
from ..results import Results
from ..structuring import plain

ABSENT = "(not stated)"
#: A line of a change: ``-`` only in the first run, ``+`` only in the second, a blank in both.
Line = tuple[Literal["-", "+", " "], str]
#: Longer texts are set against each other sentence by sentence.
_SHORT = 60
#: Longer lists are told as what only one of them has, longer texts whole: aligning takes the square of their length,
#: and a results file may hold any.
_MOST_ALIGNED = 1000
_SENTENCE = re.compile(r"(?<=[.!?:])[ \t]+(?=\S)|\n")
#: What tells one entry of a list from another, whatever else differs within.
_NAMES = ("name", "arm")


@attrs.frozen
class Change:
    """One difference: the ``field``'s path, and what stands there in either run (:data:`ABSENT` where nothing does).

    Of lists too long to be aligned, and of what trials say, ``first`` and ``second`` are lists of what only that run
    has.
    """

    field: str
    first: Any
    second: Any

    @property
    def lines(self) -> tuple[Line, ...]:
        """The change line by line; of long texts the sentences that differ, with those around them."""
        if isinstance(self.first, str) and isinstance(self.second, str) and ABSENT not in (self.first, self.second):
            pieces = [_SENTENCE.split(text) for text in (self.first, self.second)]
            longest = max(len(self.first), len(self.second))
            if longest > _SHORT and max(map(len, pieces)) <= _MOST_ALIGNED:
                return tuple(_unified(*pieces))
        told = [("-", self.first), ("+", self.second)]
        return tuple((sign, _told(value)) for sign, value in told if value != [])  # type: ignore[misc]  # the signs above

    def __str__(self) -> str:
        lines = self.lines
        if [sign for sign, _ in lines] == ["-", "+"] and all(len(text) <= _SHORT for _, text in lines):
            return f"{self.field}: {lines[0][1]} → {lines[1][1]}"
        return "\n".join([f"{self.field}:", *(f"  {sign} {text}" for sign, text in lines)])


@checked(AnalysisError)
def spec_differences(first: Results, second: Results) -> pd.DataFrame:
    """Return what differs between how two runs were made: ``field first second``, sorted by field.

    A field's path goes down to what differs: ``design.sampling.temperature``, ``design.doses[2]``,
    ``design.scaffolds[0].turns[1].content``. Entries of lists are matched by their name, or else as they are, in
    order; what only one run has is :data:`~introspection_bench.analysis.changes.ABSENT` in the other. Facts that the
    trials state themselves (model, backend, judges, magnitudes, ...) are compared too, under ``trials.``, so that runs
    whose specifications have different layouts can be compared: as a list of what only the first run has, and one of
    what only the second has. :attr:`Comparison.changes` says each difference in words.

    Source: the alignment of lists and sentences is Python's ``difflib``.
    """
    facts = [r.facts for r in (first, second)]
    told = [
        *_changes(plain(first.spec), plain(second.spec), ""),
        *(
            _apart(f"trials.{name}", *(f.get(name, []) for f in facts))
            for name in {*facts[0], *facts[1]}
            if facts[0].get(name, []) != facts[1].get(name, [])
        ),
    ]
    rows = [(c.field, c.first, c.second) for c in sorted(told, key=lambda c: _in_order(c.field))]
    return pd.DataFrame(rows, columns=["field", "first", "second"], dtype=object)


def _in_order(field: str) -> list[tuple[int, str]]:
    """Return what a path is sorted by: ``[2]`` comes before ``[10]``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"\[(\d{1,9})\]", field)]


def _changes(first: Any, second: Any, path: str) -> Iterator[Change]:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for name in dict.fromkeys([*first, *second]):
            at = f"{path}.{name}" if path else str(name)
            yield from _changes(first.get(name, ABSENT), second.get(name, ABSENT), at)
    elif isinstance(first, list) and isinstance(second, list):
        yield from _of_lists(first, second, path)
    elif type(first) is not type(second) or first != second:
        yield Change(path, first, second)


def _of_lists(first: list[Any], second: list[Any], path: str) -> Iterator[Change]:
    if first == second:
        return
    if max(len(first), len(second)) > _MOST_ALIGNED:
        yield _apart(path, first, second)
        return
    names = [[_name(entry) for entry in entries] for entries in (first, second)]
    for kind, i, i_end, j, j_end in difflib.SequenceMatcher(None, names[0], names[1], autojunk=False).get_opcodes():
        if kind == "equal" or i_end - i == j_end - j:
            for n in range(i_end - i):
                yield from _changes(first[i + n], second[j + n], f"{path}[{i + n}]")
            continue
        yield from (Change(f"{path}[{n}]", first[n], ABSENT) for n in range(i, i_end))
        yield from (Change(f"{path}[{n}]", ABSENT, second[n]) for n in range(j, j_end))


def _apart(path: str, first: Sequence[Any], second: Sequence[Any]) -> Change:
    """Return what only one of two lists holds."""
    told = [{_told(value): value for value in values} for values in (first, second)]
    only = [[value for key, value in mine.items() if key not in other] for mine, other in (told, told[::-1])]
    # The same entries in another order, or another number of times: then the lists themselves say more.
    return Change(path, *(only if any(only) else (list(first), list(second))))


def _name(entry: Any) -> str:
    if isinstance(entry, Mapping):
        for key in _NAMES:
            if isinstance(entry.get(key), str):
                return f"{key}={entry[key]}"
    return _told(entry)


def _told(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(map(_told, value)) if value else "(none)"
    return json.dumps(value, ensure_ascii=False, default=str)


def _unified(first: Sequence[str], second: Sequence[str]) -> Iterator[Line]:
    for line in list(difflib.unified_diff(first, second, lineterm="", n=1))[2:]:
        if line.startswith("@@"):
            if not line.startswith(("@@ -1 ", "@@ -1,")):
                yield " ", "…"
        else:
            yield line[0], line[1:] or "(an empty line)"  # type: ignore[misc]  # difflib's signs are ours
