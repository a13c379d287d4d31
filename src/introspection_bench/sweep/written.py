"""How the parts of a specification are written as plain data, and read from it: one strict reader, one writer.

A file says much by name (a scaffold, a concept set, an arm, a recipe); a run's store says the same in full. Both are
read here: what is a text is looked up, what is a table is taken as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import cattrs

from ..concepts import ConceptSet, load_concepts
from ..doses import Depth, Dose
from ..errors import IntrospectionBenchError, VectorError, explain
from ..items import Battery, Item, load_battery
from ..measures import (
    ConceptLens,
    Continuations,
    Cosines,
    Lens,
    Measure,
    Naming,
    Observer,
    Residuals,
    TokenLogprobs,
    YesNo,
)
from ..plans import FrozenPlan
from ..plugins import Lazy, resolve
from ..recipes import Recipe, recipe_named
from ..scaffolds import Scaffold, load_scaffold
from ..spans import Span
from ..structuring import plain, strict_converter
from ..vectors import ConceptVector
from .arms import ARMS, Arm
from .arms import GROUP as ARMS_GROUP
from .bands import Band, Block, Blocks
from .choosing import Confirmation
from .sharding import Shard

MEASURES_GROUP = "introspection_bench.measures"
#: The built-in measures by name.
MEASURES: Mapping[str, Lazy] = MappingProxyType(
    {
        m.name: Lazy(m.__module__, m.__name__)
        for m in (TokenLogprobs, YesNo, Continuations, Naming, Observer, Cosines, Lens, ConceptLens, Residuals)
    }
)
#: What a scaffold's table holds besides its fields, for people and for judges of runs that others made.
_TOLD = ("transcript", "digest")


def write(value: Any) -> Any:
    """Return a part of a specification as JSON has it: vectors by digest; arms, recipes and measures by name."""
    for kind, written in _WRITERS.items():
        if isinstance(value, kind):
            return written(value)
    if attrs.has(type(value)):
        return _fields(value)
    if isinstance(value, Mapping):
        return {name: write(item) for name, item in value.items()}
    return [write(item) for item in value] if isinstance(value, tuple | list) else plain(value)


def _fields(value: Any) -> dict[str, Any]:
    return {f.name: write(getattr(value, f.name)) for f in attrs.fields(type(value)) if f.init}


def _word(arm: Arm, table: Mapping[str, Lazy]) -> str:
    """Return the word that a specification has for an arm: of a class that isn't built in, the arm's name."""
    kind = type(arm)
    return next(
        (w for w, lazy in table.items() if (lazy.module, lazy.attribute) == (kind.__module__, kind.__name__)), arm.name
    )


_WRITERS: Mapping[type, Callable[[Any], Any]] = MappingProxyType(
    {
        ConceptVector: lambda v: {"digest": v.digest, "concept": v.concept, "layer": v.layer},
        Dose: str,
        Span: str,
        Arm: lambda v: {"arm": _word(v, ARMS), **_fields(v)},
        Measure: lambda v: {"measure": v.name, **_fields(v)},
        Recipe: lambda v: {"name": v.name, **_fields(v)},
        Scaffold: lambda v: {**plain(v), "transcript": v.transcript, "digest": v.digest},
    }
)


def reader(beside: Path, vectors: Mapping[str, ConceptVector]) -> cattrs.Converter:
    """Return the strict converter for parts of a specification.

    ``beside`` is the folder that relative paths count from; ``vectors`` are those that a table may name by digest.
    """
    converter = strict_converter()

    def hook(kind: type, read: Callable[[Any], Any]) -> None:
        # For the very class: a hook registered by class would also be its subclasses', which arms and measures are.
        converter.register_structure_hook_func(lambda asked: asked is kind, lambda value, _: read(value))

    hook(Dose, lambda v: Dose.parse(_text("a dose as '0.3 residual'", v)))
    hook(Span, lambda v: Span.parse(_text("a span as 'from(trial)'", v)))
    hook(Depth, _depth)
    hook(Shard, lambda v: Shard(_text("a shard as '3/16'", v)))
    hook(Scaffold, lambda v: _scaffold(v, plain_converter))
    converter.register_structure_hook_func(
        lambda kind: kind == tuple[Item, ...], lambda v, _: _items(v, beside, plain_converter)
    )
    hook(Battery, lambda v: _battery(v, beside, plain_converter))
    hook(ConceptSet, lambda v: _concepts(v, beside, plain_converter))
    hook(ConceptVector, lambda v: _vector(v, beside, vectors))
    hook(FrozenPlan, lambda v: _frozen(v, beside))
    hook(Recipe, lambda v: _kind(v, "name", recipe_named, converter))
    hook(Arm, lambda v: _kind(v, "arm", lambda word: resolve(ARMS_GROUP, ARMS, word), converter))
    hook(Measure, lambda v: _kind(v, "measure", lambda word: resolve(MEASURES_GROUP, MEASURES, word), converter))
    converter.register_structure_hook_func(
        lambda kind: kind == attrs.fields(Confirmation).trials.type, lambda v, _: _numbers(v)
    )
    converter.register_structure_hook_func(lambda kind: kind == Block, lambda v, _: _block(v))
    converter.register_structure_hook_func(
        lambda kind: kind == Block | None, lambda v, _: None if v is None else _block(v)
    )
    converter.register_structure_hook_func(lambda kind: kind == Band, lambda v, _: _band(v))
    converter.register_structure_hook_func(
        lambda kind: kind == Span | dict[str, Span],
        lambda v, _: converter.structure(v, dict[str, Span] if isinstance(v, Mapping) else Span),
    )
    plain_converter = strict_converter()
    return converter


def arms_listed(tables: Mapping[str, Any]) -> list[Any]:
    """Return a file's tables of arms, [design.arms.injected] and so on, as the list that a store has."""
    return [{"arm": word, **table} if isinstance(table, Mapping) else table for word, table in tables.items()]


def _text(what: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"required {what}, got {value!r}")
    return value


def _frozen(value: Any, beside: Path) -> FrozenPlan:
    return FrozenPlan.read(beside / value) if isinstance(value, str) else FrozenPlan.from_told(value, "frozen")


def _numbers(value: Any) -> Any:
    told = list(value.values()) if isinstance(value, Mapping) else [value]
    if value is not None and any(type(n) is not int for n in told):
        raise TypeError(f"required a whole number, or one by the arm's name, got {value!r}")
    return value


def _depth(value: Any) -> Depth:
    if isinstance(value, Mapping) and set(value) == {"fraction"}:
        return Depth(value["fraction"])
    try:
        return Depth(float(Fraction(_text("a depth as '2/3'", value))))
    except (ValueError, ZeroDivisionError) as error:
        raise TypeError(f"required a depth as '2/3', got {value!r}") from error


def _block(value: Any) -> int | Depth:
    if isinstance(value, bool) or not isinstance(value, int | str | Mapping):
        raise TypeError(f"required a layer's index, or its depth as '2/3', got {value!r}")
    return value if isinstance(value, int) else _depth(value)


def _band(value: Any) -> Band:
    return tuple(_blocks(v) for v in value) if isinstance(value, list | tuple) else (_blocks(value),)


def _blocks(value: Any) -> Block | Blocks:
    """Read a block, or all from one to another: ``1/3 to 2/3``, ``20 to 25``."""
    ends: list[Any] = []
    if isinstance(value, Mapping) and set(value) == {"first", "last"}:
        ends = [value["first"], value["last"]]
    elif isinstance(value, str) and " to " in value:
        ends = [int(end) if end.strip().isdecimal() else end.strip() for end in value.split(" to ", 1)]
    return Blocks(*map(_block, ends)) if ends else _block(value)


def _scaffold(value: Any, converter: cattrs.Converter) -> Scaffold:
    if isinstance(value, str):
        return load_scaffold(value)
    if isinstance(value, Mapping) and "scaffold" in value:
        asked = converter.structure(value, _ScaffoldAsking)
        return load_scaffold(asked.scaffold).asking(asked.name or f"{asked.scaffold}_asking", asked.question)
    told = {k: v for k, v in value.items() if k not in _TOLD} if isinstance(value, Mapping) else value
    return converter.structure(told, Scaffold)


@attrs.frozen
class _ScaffoldAsking:
    scaffold: str
    question: str
    name: str | None = None


def _items(value: Any, beside: Path, converter: cattrs.Converter) -> tuple[Item, ...]:
    if isinstance(value, str):
        return _battery(value, beside, converter).items
    return converter.structure(value, tuple[Item, ...])


def _battery(value: Any, beside: Path, converter: cattrs.Converter) -> Battery:
    if isinstance(value, str):
        return load_battery(beside / value if value.endswith(".toml") else value)
    return converter.structure(value, Battery)


def _concepts(value: Any, beside: Path, converter: cattrs.Converter) -> ConceptSet:
    if isinstance(value, str):
        value = {"set": value}
    if isinstance(value, Mapping) and "set" in value:
        asked = converter.structure(value, _ConceptsByName)
        found = load_concepts(beside / asked.set if asked.set.endswith(".toml") else asked.set)
        return found if asked.names is None else found.select(*asked.names)
    return converter.structure(value, ConceptSet)


@attrs.frozen
class _ConceptsByName:
    set: str
    names: list[str] | None = None


def _vector(value: Any, beside: Path, known: Mapping[str, ConceptVector]) -> ConceptVector:
    if isinstance(value, str):
        return ConceptVector.load(beside / value)
    wanted = str(value.get("digest")) if isinstance(value, Mapping) else str(value)
    if wanted not in known:
        raise VectorError(
            explain(
                "vector",
                required="the path of a .safetensors file, or the digest of a vector of this run",
                got=wanted[:12],
                hint="Vectors lie in the run's store; the specification alone can't bring them.",
            )
        )
    found = known[wanted]
    return attrs.evolve(found, concept=value["concept"], layer=value["layer"])


def _kind(value: Any, tag: str, find: Callable[[str], Any], converter: cattrs.Converter) -> Any:
    """Return the value of the class that a table's tag names; a text is the tag alone."""
    table = {tag: value} if isinstance(value, str) else value
    if not isinstance(table, Mapping) or not isinstance(table.get(tag), str):
        raise TypeError(f"required a table with {tag!r}, got {value!r}")
    kind = find(table[tag])
    rest = {name: item for name, item in table.items() if name != tag}
    try:
        return converter.structure(rest, kind)
    except IntrospectionBenchError as error:
        raise TypeError(str(error)) from error
