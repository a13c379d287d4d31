"""Runs of several models as frames in which their cells have common names: depths for layers, templates, facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import pandas as pd

from ..boundaries import checked, guarded
from ..conditions import layers_text
from ..doses import Depth
from ..errors import AnalysisError, IntrospectionBenchError, explain
from ..freezing import frozen_mapping
from ..model_facts import ModelFacts
from ..results import Results

#: By what models can be compared. ``template`` is what the scaffold was written in, ``chat`` or ``transcript``.
FACTORS = ("model", "family", "architecture", "size", "tuning", "quantisation", "template")


@guarded(AnalysisError)
@attrs.frozen
class ModelRun:
    """One model's trials.

    ``name`` tells it from the other models. ``levels`` has what it is by each of :data:`FACTORS`, as text, None where
    that is not known. ``frame`` is that of its trials (:meth:`~introspection_bench.Results.frame`) with a column
    ``depth``: the layers as the design states them, so that those of two models have one name.
    """

    name: str
    facts: ModelFacts
    levels: Mapping[str, str | None] = attrs.field(converter=frozen_mapping, hash=False)
    frame: pd.DataFrame = attrs.field(eq=False, repr=False)
    design: Mapping[str, Any] = attrs.field(converter=frozen_mapping, factory=dict, hash=False, repr=False)


@checked(AnalysisError)
def model_runs(
    results: Results | Sequence[Results], *, judge: str | None = None, rubric: str | None = None
) -> tuple[ModelRun, ...]:
    """Return the runs of single models that results hold: each by itself, or those of a study.

    Raises :class:`AnalysisError` for results of several models that no study's specification tells apart, for facts
    that are malformed, and what :meth:`~introspection_bench.Results.frame` raises.
    """
    given = [results] if isinstance(results, Results) else results
    parts = [part for one in given for part in _parts(one, judge, rubric)]
    names = [str(frame["model"].iloc[0]) if len(frame) else "" for _, frame in parts]
    runs = []
    for place, (spec, frame) in enumerate(parts):
        facts, name = _facts(spec), names[place]
        # Quantisations of one checkpoint, or two backends, have one name.
        told = name if names.count(name) == 1 else f"{name} ({_apart(spec, place)})"
        levels = {
            "model": told,
            "family": facts.family,
            "architecture": facts.architecture,
            "size": facts.size,
            "tuning": facts.tuning,
            "quantisation": facts.quantisation,
            "template": _template(spec, facts),
        }
        runs.append(ModelRun(told, facts, levels, _with_depth(spec, frame), _table(spec, "design")))
    return tuple(runs)


def _parts(results: Results, judge: str | None, rubric: str | None) -> list[tuple[Mapping[str, Any], pd.DataFrame]]:
    """Return the specification and the trials of each model."""
    frame = results.frame(judge, rubric)
    study = results.spec.get("study")
    if study is None:
        if frame["model"].nunique() > 1:
            raise AnalysisError(
                explain(
                    f"results {results.name}",
                    required="those of one model, or of a study",
                    got=f"{frame['model'].nunique()} models",
                    hint="Give the runs one by one, or the study's file.",
                )
            )
        return [(results.spec, frame)]
    parts = []
    for spec in study:
        found, model = _table(spec, "found"), _table(spec, "model")
        mine = (frame["model_fingerprint"] == found.get("fingerprint")) & (frame["backend"] == model.get("backend"))
        parts.append((spec, frame[mine]))
    return parts


def _table(spec: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a table of a specification; results from elsewhere have none."""
    found = spec.get(name)
    return found if isinstance(found, Mapping) else {}


def _facts(spec: Mapping[str, Any]) -> ModelFacts:
    try:
        return ModelFacts.of_spec(spec)
    except IntrospectionBenchError as error:
        raise AnalysisError(str(error)) from error


def _apart(spec: Mapping[str, Any], place: int) -> str:
    found, model = _table(spec, "found"), _table(spec, "model")
    told = [model.get("backend"), found.get("dtype"), _facts(spec).quantisation, f"no. {place + 1}"]
    return ", ".join(str(each) for each in told if each and each != "none")


def _template(spec: Mapping[str, Any], facts: ModelFacts) -> str | None:
    """Return what the scaffolds were written in: what each states, and of "auto" what the tokenizer has."""
    own = None if facts.chat_template is None else "chat" if facts.chat_template else "transcript"
    scaffolds = [s for s in _table(spec, "design").get("scaffolds") or () if isinstance(s, Mapping)]
    stated = [s.get("template") for s in scaffolds]
    # "chat" on a tokenizer without a template is refused when a prompt is written, so that it says what was done.
    found = {own if template == "auto" else template for template in stated}
    return None if None in found or not found else " and ".join(sorted(map(str, found)))


def _with_depth(spec: Mapping[str, Any], frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with the layers as the design states them; an index is of one number of blocks."""
    n_layers = _table(spec, "found").get("n_layers")
    names: dict[str, str] = {}
    if isinstance(n_layers, int):
        names = {text: f"{text} of {n_layers}" for text in frame["layers"].dropna().unique()}
        for band in _table(spec, "design").get("layers") or ():
            depths = [Depth(b["fraction"]) for b in band if isinstance(b, Mapping)]
            if depths and len(depths) == len(band):
                resolved = layers_text([d.layer(n_layers) for d in depths])
                names[resolved] = ", ".join(str(d).removeprefix("depth ") for d in depths)
    told = frame["layers"].map(lambda text: names.get(text, text), na_action="ignore").astype("string")
    return frame.assign(depth=told)
