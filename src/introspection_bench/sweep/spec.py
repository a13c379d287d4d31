"""A sweep as a TOML file: what it may say, and errors that name the key."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import attrs
import cattrs

from ..concepts import ConceptSet, load_concepts
from ..demo_model import resolve_name
from ..errors import SpecError, explain
from ..extraction import Recipe, extract, random_controls
from ..injection import Span, Unit
from ..injectors.base import Injector
from ..injectors.registry import BUILTIN, GROUP, open_injector
from ..plugins import check_name
from ..scaffolds import load_scaffold
from ..structuring import problems, strict_converter
from ..trials import Part, Sampling
from ..untrusted import parse_toml, read_text
from ..vectors import ConceptVector
from .grid import Grid, check_numbers
from .runner import run_date, run_vectors


@attrs.frozen
class ModelSpec:
    """``[model]``: ``name`` is a hub id, folder, GGUF file or "demo"; ``options`` holds a table per backend.

    ``trust_remote_code`` lets code that comes with the checkpoint run; it never does otherwise.
    """

    name: str
    backend: str = "torch"
    options: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    trust_remote_code: bool = False


@attrs.frozen
class ConceptsSpec:
    """``[concepts]``: a set by name or TOML path, the names taken from it, the layers to extract at.

    ``recipe`` is needed where a concept has both a word and pairs. ``vectors`` lists .safetensors files instead of
    extracting; their concepts must be in the set.
    """

    set: str
    names: list[str] | None = None
    layers: list[int] | None = None
    recipe: Recipe | None = None
    vectors: list[str] = attrs.field(factory=list)
    random: int = 0


@attrs.frozen
class GridSpec:
    """``[grid]``: see :class:`~introspection_bench.sweep.grid.Grid`."""

    magnitudes: list[float]
    unit: str
    scaffolds: list[str] = attrs.field(factory=lambda: ["lindsey"])
    layers: list[int] | None = None
    trials: int = 20
    controls: int = 20
    span: str | None = None
    date: datetime.date | None = None


@attrs.frozen
class JudgeSpec:
    """``[judge]``: a judge by name and its options; ``judged`` is what it reads of a reply ("answer" or "whole")."""

    name: str = "rules"
    judged: Part = "answer"
    options: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class SweepSpec:
    """A whole file. ``directory`` is relative to the file."""

    directory: str
    model: ModelSpec
    concepts: ConceptsSpec
    grid: GridSpec
    sampling: Sampling = attrs.field(factory=Sampling)
    judge: JudgeSpec = attrs.field(factory=JudgeSpec)

    @classmethod
    def from_toml(cls, path: str | Path) -> SweepSpec:
        """Read and check a file, without loading any model.

        Raises :class:`SpecError` that names line (syntax) or key (unknown keys, wrong types, missing values), and
        :class:`UnknownNameError` for the options of a backend that is neither built in nor installed.
        """
        path = Path(path)
        try:
            data = parse_toml(read_text(path))
        except (OSError, ValueError) as error:
            raise SpecError(
                explain(str(path), required="a readable TOML file", got=str(error), hint="See docs/sweeps.md.")
            ) from error
        try:
            spec = _CONVERTER.structure(data, cls)
        except cattrs.BaseValidationError as error:
            raise SpecError(
                explain(
                    str(path),
                    required="the keys and types of docs/sweeps.md",
                    got=problems(error, "file"),
                    hint="Mend these keys; nothing was run.",
                )
            ) from error
        # What needs no model is checked before one is loaded.
        for backend in spec.model.options:
            check_name(GROUP, BUILTIN, backend, "model.options")  # a misspelt table would be options that nobody gets
        Unit.parse(spec.grid.unit)
        check_numbers(spec.grid.trials, spec.grid.controls, spec.grid.magnitudes)
        return attrs.evolve(spec, directory=str(path.parent / spec.directory))

    def concept_set(self, beside: Path = Path()) -> ConceptSet:
        """The concepts that the file names; a relative TOML path is looked for beside the file."""
        name = self.concepts.set
        found = load_concepts(beside / name if name.endswith(".toml") else name)
        return found if self.concepts.names is None else found.select(*self.concepts.names)

    def open_injector(self, backend: str | None = None) -> Injector:
        """Open the model, on another backend than the file's if one is given."""
        backend = backend or self.model.backend
        name = resolve_name(self.model.name)
        # Only where it is asked for: a backend that has no such option never runs such code.
        trust = {"trust_remote_code": True} if self.model.trust_remote_code else {}
        return open_injector(backend, name, **{**self.model.options.get(backend, {}), **trust})

    def build_grid(self, injector: Injector, concepts: ConceptSet, beside: Path = Path()) -> Grid:
        """Return the grid with its vectors: from files, from the run that is there, and extracted what is missing.

        Vectors are results of a run: one that goes on extracts none again.
        """
        vectors = [ConceptVector.load(beside / p) for p in self.concepts.vectors]
        if not vectors:
            layers = self.concepts.layers or self.grid.layers
            if not layers:
                raise SpecError(
                    explain("concepts.layers", required="layers to extract at", got="none", hint="layers = [19]")
                )
            day, known = self.grid.date or run_date(self.directory), run_vectors(self.directory)
            vectors = extract(injector, concepts, layers, recipe=self.concepts.recipe, date=day, known=known)
        randoms = [r for n in range(self.concepts.random) for r in random_controls(vectors, seed=n * len(vectors))]
        return Grid(
            vectors=[*vectors, *randoms],
            concepts=tuple(concepts),
            magnitudes=self.grid.magnitudes,
            unit=self.grid.unit,
            scaffolds=[load_scaffold(s) for s in self.grid.scaffolds],
            layers=self.grid.layers,
            trials=self.grid.trials,
            controls=self.grid.controls,
            sampling=self.sampling,
            span=None if self.grid.span is None else Span.parse(self.grid.span),
            date=self.grid.date,
        )


def _options(value: Any, _: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"required a table, got {value!r}")
    return value


def _date(value: Any, _: Any) -> datetime.date:
    if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
        raise TypeError(f"required a date, as 2026-07-26 without quotes, got {value!r}")
    return value


# Options are checked by the backend's or judge's own signature.
_CONVERTER = strict_converter()
_CONVERTER.register_structure_hook(datetime.date, _date)
_CONVERTER.register_structure_hook_func(lambda kind: kind == dict[str, Any], _options)
