"""The transcript browser's data: every trial of a run as compact JSON that is safe inside an HTML page."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from ...arms import BUILTIN, is_dosed, place
from ...trials import CRITERIA, FURTHER, Reply, TrialRecord, Verdict
from ..wording import dose

PAYLOAD_VERSION = 2
#: Order of the fields of one verdict in the payload; ``assets/report.js`` reads them by place.
VERDICT_FIELDS = (*CRITERIA, "strict", *FURTHER)


class _Pool:
    """Numbers for values that occur again and again (concepts, scaffolds, judges), in order of first use."""

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
    return f"{verdict.judge} / {verdict.rubric}{model}{'' if verdict.blinded else ' · not blinded'}{read}"


def transcripts_payload(records: Sequence[TrialRecord], *, prompts: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the browser's data as plain lists and dictionaries.

    ``prompts`` maps a scaffold's name to its conversation as text. Offsets of evidence are converted from
    Python's code points to the UTF-16 units by which a browser counts. A NaN or infinite number becomes null,
    because JSON has neither. Trials come in the order of scaffold, arm, concept, layer, magnitude and index.
    """
    scaffolds, arms, concepts, doses, units, judges, models = (_Pool() for _ in range(7))
    for unit, magnitude in sorted({(r.key.unit or "", r.key.magnitude) for r in records if _is_dosed(r)}):
        doses.number(dose(magnitude, unit))
    trials = []
    for record in sorted(records, key=_order):
        key, receipt, reply = record.key, record.receipt, record.reply.parted
        trials.append(
            [
                key.digest[:16],
                scaffolds.number(record.scaffold),
                arms.number(record.arm),
                -1 if record.concept is None else concepts.number(record.concept),
                key.layer,
                -1 if not _is_dosed(record) else doses.number(dose(key.magnitude, key.unit)),
                -1 if key.unit is None else units.number(key.unit),
                key.draw,
                models.number(f"{record.model_name} · {key.backend}"),
                None if record.seed is None else str(record.seed),  # a 63-bit seed does not fit a browser's number
                record.reply.finish_reason,
                len(record.reply.token_ids),
                None if receipt is None else [_finite(receipt.mean_ratio), _finite(receipt.max_ratio)],
                None if receipt is None else [receipt.prompt_positions, receipt.generation_positions],
                [_verdict(v, reply, judges) for v in record.verdicts],
                reply.text,
                reply.reasoning,
            ]
        )
    return {
        "version": PAYLOAD_VERSION,
        "scaffolds": scaffolds.values,
        "arms": arms.values,
        "concepts": concepts.values,
        "doses": doses.values,
        "units": units.values,
        "judges": judges.values,
        "models": models.values,
        "criteria": list(VERDICT_FIELDS),
        "prompts": dict(prompts or {}),
        "trials": trials,
    }


def script_json(payload: Any) -> str:
    """Return ``payload`` as JSON that can stand inside a ``<script type="application/json">`` element.

    ASCII only, with ``<``, ``>`` and ``&`` as escapes: no text in it can end the element or open a comment, and
    lone surrogates and U+2028 survive. Source: HTML standard, "Restrictions for contents of script elements".
    """
    text = json.dumps(payload, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _is_dosed(record: TrialRecord) -> bool:
    return is_dosed(record.arm, record.key.layer, record.key.unit)


def _order(record: TrialRecord) -> tuple[Any, ...]:
    key = record.key
    return (
        record.scaffold,
        # Injections first: they are what a reader looks for.
        (BUILTIN[::-1].index(record.arm), "") if record.arm in BUILTIN else place(record.arm),
        record.concept or "",
        -1 if key.layer is None else key.layer,
        key.unit or "",
        key.magnitude,
        key.draw,
    )


def _verdict(verdict: Verdict, reply: Reply, judges: _Pool) -> list[Any]:
    # Places count in the text that was judged, in which the answer may stand behind the reasoning.
    before = len(reply.to_judge(verdict.judged)[0]) - len(reply.text)
    evidence = [attrs.evolve(e, start=max(0, e.start - before), stop=max(0, e.stop - before)) for e in verdict.evidence]
    places = _utf16_offsets(reply.text, (p for e in evidence for p in (e.start, e.stop)))
    return [
        judges.number(judge_label(verdict)),
        [getattr(verdict, name) for name in VERDICT_FIELDS],
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
