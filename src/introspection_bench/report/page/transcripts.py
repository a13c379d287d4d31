"""The transcript browser's data: every trial of a run as compact JSON that is safe inside an HTML page."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import pandas as pd

from ...analysis.cells import cell_name, dose_text, is_dosed, rank, telling
from ...conditions import CELL_COLUMNS, INJECTED, Condition, place
from ...trials import Reply, TrialRecord
from ...untrusted import encodable
from ...verdicts import CRITERIA, FURTHER, Verdict

PAYLOAD_VERSION = 3
#: What ``assets/report.js`` reads of a condition, by name.
_TOLD = ("name", "scaffold", "arm", "concept", "layers", "span", "beside", "model", "dose")


class _Pool:
    """Numbers for values that occur again and again (conditions, judges, prompts), in order of first use."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._index: dict[Any, int] = {}

    def number(self, value: Any) -> int:
        if value not in self._index:
            self._index[value] = len(self.values)
            self.values.append(value)
        return self._index[value]


def judge_label(verdict: Verdict) -> str:
    """Return how a report names the source of a verdict: judge, rubric, judge model, blinding, and what it read."""
    model = f" · {verdict.judge_model}" if verdict.judge_model else ""
    read = "" if verdict.judged == "answer" else " · reasoning and answer"
    about = "" if verdict.asked == "own" else " · asked about another concept"
    return f"{verdict.judge} / {verdict.rubric}{model}{'' if verdict.blinded else ' · not blinded'}{read}{about}"


class Transcripts:
    """The trials of a run as the browser reads them, made one by one.

    ``prompts`` maps scaffolds' and items' names to conversations as text. Offsets of evidence are converted from
    Python's code points to the UTF-16 units by which a browser counts. A NaN or infinite number becomes null,
    because JSON has neither. Trials come in the order of scaffold, arm (injections first), cell, item and draw.
    """

    def __init__(
        self, records: Sequence[TrialRecord], prompts: Mapping[tuple[str, str | None], str] | None = None
    ) -> None:
        self._shared = list({id(r.condition): r.condition for r in records}.values())
        cells = {id(c): c.columns for c in self._shared}
        plain = [{k: encodable(v) if isinstance(v, str) else v for k, v in row.items()} for row in cells.values()]
        # Of text that holds no half of a surrogate pair:
        self._further = telling(pd.DataFrame(plain, columns=[*CELL_COLUMNS]))
        self._criteria = _criteria(records)
        ranks = {number: _order(columns) for number, columns in cells.items()}
        self._records = sorted(records, key=lambda r: (ranks[id(r.condition)], r.trial.item or "", r.trial.draw))
        self._prompts = prompts or {}
        self._judges, self._models, self._texts, self._conditions = (_Pool() for _ in range(4))

    def rows(self) -> Iterator[list[Any]]:
        """Yield what the browser is told of each trial; a second time the same."""
        numbers: dict[int, int] = {}
        for record in self._records:
            condition, key, reply = record.condition, record.key, record.reply.parted
            if id(condition) not in numbers:
                numbers[id(condition)] = self._conditions.number(_told(condition, self._further))
            prompt = self._prompts.get((record.scaffold, record.trial.item))
            yield [
                key.digest[:16],
                numbers[id(condition)],
                record.trial.item,
                record.trial.draw,
                self._models.number(f"{condition.model} · {key.backend}"),
                None if record.seed is None else str(record.seed),  # a 63-bit seed does not fit a browser's number
                record.reply.finish_reason,
                len(record.reply.token_ids),
                _receipts(record),
                [_verdict(v, reply, self._judges, self._criteria) for v in record.verdicts],
                reply.text,
                reply.reasoning,
                -1 if prompt is None else self._texts.number(prompt),
            ]

    def payload(self, trials: Sequence[Any]) -> dict[str, Any]:
        """Return the browser's data around ``trials``; complete once all rows were made."""
        return {
            "version": PAYLOAD_VERSION,
            "conditions": [dict(zip(_TOLD, told, strict=True)) for told in self._conditions.values],
            "further": [c for c in self._further if c in ("span", "beside", "model")],
            "doses": _doses(self._shared),
            "judges": self._judges.values,
            "models": self._models.values,
            "criteria": list(self._criteria),
            "marks": [i for i, c in enumerate(self._criteria) if c not in ("strict", *FURTHER)],
            "prompts": self._texts.values,
            "trials": trials,
        }


def transcripts_payload(
    records: Sequence[TrialRecord], *, prompts: Mapping[tuple[str, str | None], str] | None = None
) -> dict[str, Any]:
    """Return the browser's data, with every trial in it, as plain lists and dictionaries; see :class:`Transcripts`."""
    transcripts = Transcripts(records, prompts)
    return transcripts.payload(list(transcripts.rows()))


def script_json(payload: Any) -> str:
    """Return ``payload`` as JSON that can stand inside a ``<script type="application/json">`` element.

    ASCII only, with ``<``, ``>`` and ``&`` as escapes: no text in it can end the element or open a comment, and
    lone surrogates and U+2028 survive. Source: HTML standard, "Restrictions for contents of script elements".
    """
    text = json.dumps(payload, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _told(condition: Condition, columns: Sequence[str]) -> tuple[Any, ...]:
    """Return what the browser is told of a condition, in the order of :data:`_TOLD`."""
    row = condition.columns
    name = cell_name(row, [c for c in columns if c != "scaffold"])
    dose = dose_text(row) if is_dosed(row) else None
    return (name, *(row[c] for c in _TOLD[1:-1]), dose)


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    ranked = [rank(column, row[column]) for column in CELL_COLUMNS if column not in ("scaffold", "arm")]
    # Injections first: they are what a reader looks for.
    return (row["scaffold"], row["arm"] != INJECTED, place(row["arm"]), *ranked)


def _doses(conditions: Iterable[Condition]) -> list[str]:
    """Return the doses as the filter lists them: by unit, then by magnitude."""
    there = {c.dose for c in conditions if c.dose is not None}
    return list(map(str, sorted(there, key=lambda dose: (dose.unit, dose.magnitude))))


def _criteria(records: Iterable[TrialRecord]) -> tuple[str, ...]:
    there = dict.fromkeys(c for r in records for v in r.verdicts for c in v.answers)
    return tuple(dict.fromkeys([*(c for c in CRITERIA if c in there), *(["strict"] if there else []), *there]))


def _receipts(record: TrialRecord) -> list[list[Any]]:
    """Return for each steer where and how much, and what its receipt says, null without one."""
    told = []
    for number, steer in enumerate(record.key.steers):
        receipt = record.receipts[number] if number < len(record.receipts) else None
        where = "layer not stated" if steer.layer is None else f"layer {steer.layer}"
        measured = None
        if receipt is not None:
            counts = receipt.prompt_positions, receipt.generation_positions
            measured = [_finite(receipt.mean_ratio), _finite(receipt.max_ratio), *counts]
        told.append([f"{where}, {dose_text({'magnitude': steer.magnitude, 'unit': steer.unit})}", measured])
    return told


def _verdict(verdict: Verdict, reply: Reply, judges: _Pool, criteria: Sequence[str]) -> list[Any]:
    evidence = []
    if verdict.evidence:
        # Places count in the text that was judged, in which the answer may stand behind the reasoning.
        before = len(reply.to_judge(verdict.judged)[0]) - len(reply.text)
        evidence = [
            attrs.evolve(e, start=max(0, e.start - before), stop=max(0, e.stop - before)) for e in verdict.evidence
        ]
    answers = {**verdict.answers, "strict": verdict.strict}
    places = _utf16_offsets(reply.text, (p for e in evidence for p in (e.start, e.stop)))
    return [
        judges.number(judge_label(verdict)),
        [answers.get(name) for name in criteria],
        verdict.unscored,
        verdict.concept,
        verdict.notes,
        [[e.criterion, places[e.start], places[e.stop], e.why] for e in evidence],
    ]


def _utf16_offsets(text: str, offsets: Iterable[int]) -> dict[int, int]:
    offsets = set(offsets)
    if not offsets or text.isascii():
        return {o: o for o in offsets}
    wide = [i for i, character in enumerate(text) if ord(character) > 0xFFFF]
    return {o: o + bisect_left(wide, o) for o in offsets}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
