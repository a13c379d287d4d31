"""The Llama-3.1-405B study's result files (``*.judged.json``, and the unjudged files beside them).

Source of the layout: github.com/elsehow/lindsey-405b-replication (MIT). What the files say is kept as it is; what
they don't say is marked as unknown, and nothing is guessed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import attrs

from ..digests import digest
from ..errors import IntrospectionBenchError, ResultsFormatError, explain
from ..injection import Unit
from ..results import Results
from ..scaffolds import BUILTIN, LINDSEY_405B, THINKING_ABOUT, Scaffold, Turn
from ..trials import CRITERIA, Arm, Reply, Sampling, SteerKey, TrialKey, TrialRecord, Verdict
from ..untrusted import MOST_FILE, parse_json, read_text

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
        keys: dict[str, int] = {}
        indices: dict[tuple[str, float], int] = {}
        records = []
        for index, entry in enumerate(entries):
            record = self._record(top, _Fields(entry, f"{self.path}: results[{index}]"), index, indices)
            first = keys.setdefault(record.key.digest, index)
            if first != index:
                raise ResultsFormatError(
                    explain(
                        f"{self.path}: results[{index}]",
                        required="another label, magnitude and trial_idx than every entry before",
                        got=f"those of results[{first}]",
                        hint="Two files may have been joined: read them one by one.",
                    )
                )
            records.append(record)
        spec = {k: v for k, v in self.data.items() if k not in ("results", "aggregates")}
        spec |= {"backend": BACKEND, "unit": Unit.UPDATE.value, "span": "all", "judge": JUDGE, "rubric": RUBRIC}
        name = self.path.name.removesuffix(".json").removesuffix(".judged")
        return Results(name, records, spec, str(self.path), _NOTES)

    def _record(self, top: _Fields, entry: _Fields, index: int, indices: dict[tuple[str, float], int]) -> TrialRecord:
        label = entry.take("label", str)
        magnitude = entry.number("magnitude")
        scaffold, digest_of_wording = _scaffold(top, label, entry.where)
        concept = label.partition("_")[2]
        if not concept:
            raise entry.wrong("label", "lindsey_… or alt_…, followed by a concept or 'control'", label)
        if concept == "control" and magnitude != 0:
            raise entry.wrong("magnitude", "0 on a control", magnitude)
        arm: Arm = "control" if magnitude == 0 else "injected"
        counted = indices.get((label, magnitude), 0)
        indices[label, magnitude] = counted + 1
        injected = concept != "control"
        layer = top.whole("layer")
        model = top.take("model_path", str)
        load = [model, top.optional("timestamp", str), top.optional("tp_size", int)]
        steer = SteerKey(
            vector=digest("published_vector", 1, [load, layer, concept]),
            layer=layer,
            magnitude=magnitude,
            unit=Unit.UPDATE.value,
            start=0,
            stop=None,
        )
        key = TrialKey(
            # The weights' fingerprint is not in the file: each load of the model counts as a model of its own.
            model=digest("published_model", 1, load),
            backend=BACKEND,
            numerics=0,
            prompt=digest("published_prompt", 1, digest_of_wording),
            steers=(steer,) if injected else (),
            sampling=Sampling(
                temperature=top.number("temperature"),
                top_p=top.number("top_p"),
                max_new_tokens=top.whole("max_new_tokens"),
            ),
            draw=entry.whole("trial_idx") if "trial_idx" in entry.data else counted,
        )
        return TrialRecord(
            key=key,
            arm=arm,
            concept=concept if injected else None,
            scaffold=scaffold,
            model_name=PurePosixPath(model).name or model,
            reply=Reply(entry.take("response", str), (), "unknown").parted,
            verdicts=_verdicts(entry, concept if injected else "", top.optional("judge_model", str)),
            source=f"{self.path.name}: results[{index}]",
            span="all" if injected else None,
            scaffold_digest=digest_of_wording,
        )


def _verdicts(entry: _Fields, concept: str, model: str | None) -> tuple[Verdict, ...]:
    if entry.data.get("judge") is None:
        return ()
    judged = _Fields(entry.take("judge", dict), f"{entry.where}.judge")
    published = partial(
        Verdict,
        judge=JUDGE,
        rubric=RUBRIC,
        rubric_digest=digest("published_rubric", 1, RUBRIC),
        concept=concept,
        judge_model=model,
        blinded=False,
    )
    if "_error" in judged.data:
        return (published(unscored=f"the published judge failed: {judged.data['_error']}"),)
    criteria = {c: judged.take(c, bool) for c in CRITERIA}
    return (published(**criteria, notes=judged.optional("notes", str) or ""),)


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
    wording = Scaffold(builtin.name, turns, builtin.span).digest
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
