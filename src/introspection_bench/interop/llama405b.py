"""The Llama-3.1-405B study's result files (``*.judged.json``, and the unjudged files beside them).

Source of the layout: github.com/elsehow/lindsey-405b-replication (MIT). What the files say is kept as it is; what
they don't say is marked as unknown, and nothing is guessed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import attrs

from ..conditions import CONTROL, INJECTED, Condition
from ..digests import digest
from ..doses import Dose, Unit
from ..errors import IntrospectionBenchError, ResultsFormatError, explain
from ..results import Results
from ..scaffolds import BUILTIN, LINDSEY_405B, THINKING_ABOUT, Scaffold, Turn
from ..trials import Reply, Sampling, SteerKey, Trial, TrialKey, TrialRecord
from ..untrusted import MOST_FILE, parse_json, read_text
from ..verdicts import CRITERIA, Verdict

JUDGE = "claude"
RUBRIC = "llama405b"
BACKEND = "vllm-lens 1.1.0"

_NOTES = (
    "The magnitudes are in the unit 'update': vllm-lens 1.1.0 matched the norm of the MLP half of the fused "
    "residual, not of the residual stream.",
    "The judge was not blinded: it was told concept, arm and magnitude.",
    "On controls the judge was told that identifies and immediate must be false, so strict on controls is 0 by "
    "construction; affirmative on controls is the false-alarm rate.",
    "immediate is false, not 'not applicable', where no concept is named: its denominator is every scored trial.",
    "Token ids, seeds, finish reasons, vector digests, receipts and the weights' fingerprint are not in the file: each "
    "load of the model (timestamp) counts as a model of its own.",
)


class Llama405bReader:
    """Reader of the study's files; see :mod:`introspection_bench.interop.readers` for the port."""

    def claims(self, path: Path, head: bytes) -> bool:
        """Say whether the file looks like one of the study's: a JSON object, in a file called ``*.json``."""
        return path.suffix == ".json" and head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")

    def read(self, path: Path) -> Results:
        """Read one file of the study.

        Args:
            path: a ``*.judged.json``, or the sweep's own ``*.json`` without verdicts.

        Returns:
            One record per entry of ``results``. Labels ``lindsey_…`` come under the scaffold ``lindsey_405b``,
            ``alt_…`` under ``thinking_about``, each followed by a digest where the file's wording is not the
            built-in one. The unit is ``update``. Verdicts carry the judge ``claude``, the rubric ``llama405b`` and
            ``blinded`` False; an entry whose ``judge`` holds ``_error`` is unscored with that reason. Trials of two
            loads of the model (``timestamp``) never share a key. ``notes`` says what the numbers rest on.

        Raises:
            ResultsFormatError: the file is not JSON, or an entry lacks a field or has it in another type; the
                message names entry and field. Unknown further fields are ignored.
        """
        try:
            data = parse_json(read_text(path, MOST_FILE))
        except (OSError, ValueError) as error:
            raise ResultsFormatError(
                explain(str(path), required="a readable JSON file", got=str(error), hint="It may be cut off.")
            ) from error
        try:
            return _File(path, data).results()
        except ResultsFormatError:
            raise
        except IntrospectionBenchError as error:  # a value that our own classes refuse: say which file it is in
            raise ResultsFormatError(f"{path}: {error}") from error


@attrs.frozen
class _File:
    path: Path
    data: Any

    def results(self) -> Results:
        top = _Fields(self.data, str(self.path))
        entries = top.take("results", list)
        first: dict[tuple[str, float, int], int] = {}
        counts: Counter[tuple[str, float]] = Counter()
        unsteered: Counter[str] = Counter()
        records = []
        for index, entry in enumerate(entries):
            fields = _Fields(entry, f"{self.path}: results[{index}]")
            label, magnitude = fields.take("label", str), fields.number("magnitude")
            counted = counts[label, magnitude]
            counts[label, magnitude] += 1
            number = fields.whole("trial_idx") if "trial_idx" in fields.data else counted
            earlier = first.setdefault((label, magnitude, number), index)
            if earlier != index:
                raise ResultsFormatError(
                    explain(
                        f"{self.path}: results[{index}]",
                        required="another label, magnitude and trial_idx than every entry before",
                        got=f"those of results[{earlier}]",
                        hint="Two files may have been joined: read them one by one.",
                    )
                )
            condition = _condition(top, fields, label, magnitude)
            draw = number
            if condition.arm == CONTROL:  # whatever label they stand under, they are draws of one thing
                draw = unsteered[condition.wording]
                unsteered[condition.wording] += 1
            trial = Trial(_key(top, condition, draw), condition, draw=number)
            records.append(self._record(top, fields, trial, index))
        spec = {k: v for k, v in self.data.items() if k not in ("results", "aggregates")}
        spec |= {"backend": BACKEND, "unit": Unit.UPDATE.value, "span": "all", "judge": JUDGE, "rubric": RUBRIC}
        name = self.path.name.removesuffix(".json").removesuffix(".judged")
        return Results(name, records, spec, str(self.path), _NOTES)

    def _record(self, top: _Fields, entry: _Fields, trial: Trial, index: int) -> TrialRecord:
        return TrialRecord(
            trial=trial,
            reply=Reply(entry.take("response", str), (), "unknown").parted,
            verdicts=_verdicts(entry, trial.condition.asked, top.optional("judge_model", str)),
            source=f"{self.path.name}: results[{index}]",
        )


def _key(top: _Fields, condition: Condition, draw: int) -> TrialKey:
    # The weights' fingerprint is not in the file: each load of the model counts as a model of its own.
    load = [top.take("model_path", str), top.optional("timestamp", str), top.optional("tp_size", int)]
    return TrialKey(
        model=digest("published_model", 1, load),
        backend=BACKEND,
        numerics=0,
        prompt=digest("published_prompt", 1, condition.wording),
        steers=_steers(condition, load),
        sampling=Sampling(
            temperature=top.number("temperature"),
            top_p=top.number("top_p"),
            max_new_tokens=top.whole("max_new_tokens"),
        ),
        draw=draw,
    )


def _condition(top: _Fields, entry: _Fields, label: str, magnitude: float) -> Condition:
    scaffold, wording = _scaffold(top, label, entry.where)
    about = label.partition("_")[2]
    if not about:
        raise entry.wrong("label", "lindsey_… or alt_…, followed by a concept or 'control'", label)
    if about == CONTROL and magnitude != 0:
        raise entry.wrong("magnitude", "0 on a control", magnitude)
    layer, path = top.whole("layer"), top.take("model_path", str)
    shared = partial(
        Condition,
        scaffold=scaffold,
        asked=None if about == CONTROL else about,
        model=PurePosixPath(path).name or path,
        wording=wording,
    )
    if magnitude == 0:
        return shared(CONTROL)
    return shared(INJECTED, concept=about, layers=[layer], dose=Dose(magnitude, Unit.UPDATE), span="all")


def _steers(condition: Condition, load: object) -> tuple[SteerKey, ...]:
    return tuple(
        SteerKey(
            vector=digest("published_vector", 1, [load, layer, condition.concept]),
            layer=layer,
            magnitude=condition.dose.magnitude,
            unit=condition.dose.unit.value,
            start=0,
            stop=None,
        )
        for layer in condition.layers
        if condition.dose is not None
    )


def _verdicts(entry: _Fields, asked: str | None, model: str | None) -> tuple[Verdict, ...]:
    if entry.data.get("judge") is None:
        return ()
    judged = _Fields(entry.take("judge", dict), f"{entry.where}.judge")
    published = partial(
        Verdict,
        judge=JUDGE,
        rubric=RUBRIC,
        rubric_digest=digest("published_rubric", 1, RUBRIC),
        concept=asked or "",
        judge_model=model,
        blinded=False,
    )
    if "_error" in judged.data:
        return (published(unscored=f"the published judge failed: {judged.data['_error']}"),)
    answers = {c: judged.take(c, bool) for c in CRITERIA}
    return (published(answers=answers, notes=judged.optional("notes", str) or ""),)


def _scaffold(top: _Fields, label: str, where: str) -> tuple[str, str]:
    """Return (name, digest of the wording) of the scaffold that the label's first part stands for."""
    family = label.partition("_")[0]
    if family == "lindsey":
        setup, trial = top.optional("lindsey_setup", str), top.optional("lindsey_trial", str)
        turns = setup and trial and (Turn("user", setup), Turn("assistant", "Ok."), Turn("user", trial))
        builtin = LINDSEY_405B
    elif family == "alt":
        question = top.optional("alt_prompt", str)
        turns, builtin = question and (Turn("user", question),), THINKING_ABOUT
    else:
        raise ResultsFormatError(
            explain(f"{where}.label", required="a label that begins with lindsey_ or alt_", got=label, hint="")
        )
    if not turns:  # an older file that doesn't quote its prompts
        return builtin.name, digest("published_wording", 1, [family, "not in the file"])
    wording = Scaffold(builtin.name, turns).digest
    name = next((s.name for s in BUILTIN.values() if s.digest == wording), f"{builtin.name}~{wording[:8]}")
    return name, wording


@attrs.frozen
class _Fields:
    """A JSON object with its place in the file, read field by field."""

    data: Any
    where: str

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.data, Mapping):
            raise ResultsFormatError(
                explain(self.where, required="a JSON object", got=type(self.data).__name__, hint="")
            )

    def wrong(self, name: str, required: str, got: object) -> ResultsFormatError:
        return ResultsFormatError(
            explain(f"{self.where}, field {name!r}", required=required, got=got, hint="Mend or drop the entry.")
        )

    def take(self, name: str, kind: type) -> Any:
        value = self.data.get(name)
        # bool is a subclass of int: an exact comparison keeps true from being read as 1.
        if type(value) is not kind:
            raise self.wrong(name, f"a value of JSON type {_JSON_NAMES[kind]}", value if name in self.data else "none")
        return value

    def optional(self, name: str, kind: type) -> Any:
        return None if self.data.get(name) is None else self.take(name, kind)

    def number(self, name: str) -> float:
        value = self.data.get(name)
        if type(value) not in (int, float) or not math.isfinite(value):
            raise self.wrong(name, "a finite number", value if name in self.data else "none")
        return float(value)

    def whole(self, name: str) -> int:
        value = self.number(name)
        if value != int(value) or value < 0:
            raise self.wrong(name, "a whole number >= 0", value)
        return int(value)


_JSON_NAMES = {str: "string", dict: "object", list: "array", bool: "boolean", int: "number (whole)"}
