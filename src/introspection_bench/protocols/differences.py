"""In what two protocols differ, field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import attrs

from ..boundaries import checked, guarded
from ..concepts import ConceptSet
from ..doses import Depth
from ..errors import SpecError
from ..freezing import frozen_tuple
from ..identity import Sampling
from ..items import Item
from ..measures.base import Measure
from ..recipes import Recipe
from ..scaffolds import Scaffold
from ..spans import Span
from ..sweep.arms import Arm
from .ablation import Ablation
from .protocol import FACTORS, Judging, Protocol

#: What a field of a protocol may hold.
Value = ConceptSet | Recipe | Ablation | Span | Sampling | Judging | tuple[Any, ...] | Mapping[str, Span] | str | None


@guarded(SpecError)
@attrs.frozen
class Difference:
    """One field that differs: its factor, and what it holds in each of both; ``doubt_*`` is what remarks say of it."""

    factor: str
    field: str
    a: Value
    b: Value
    doubt_a: str | None = None
    doubt_b: str | None = None

    @property
    def told(self) -> tuple[str, str]:
        """Both values as a table shows them."""
        return _doubted(shown(self.a), self.doubt_a), _doubted(shown(self.b), self.doubt_b)


@guarded(SpecError)
@attrs.frozen(repr=False)
class Differences:
    """The fields in which two protocols differ; printed, a table."""

    a: str
    b: str
    rows: tuple[Difference, ...] = attrs.field(converter=frozen_tuple)

    @property
    def factors(self) -> tuple[str, ...]:
        """The factors that differ, each once, in their own order."""
        return tuple(dict.fromkeys(row.factor for row in self.rows))

    def __iter__(self) -> Iterator[Difference]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        if not self.rows:
            return f"{self.a} and {self.b} differ in nothing"
        lines = [("field", self.a, self.b), *((row.field, *row.told) for row in self.rows)]
        widths = [max(len(line[n]) for line in lines) for n in range(2)]
        return "\n".join(f"{f.ljust(widths[0])}  {a.ljust(widths[1])}  {b}" for f, a, b in lines)


@checked(SpecError)
def diff(a: Protocol, b: Protocol) -> Differences:
    """Return the fields in which two protocols differ: those of the experiment, not names, sources and remarks."""
    rows = [
        Difference(factor, field, getattr(a, field), getattr(b, field), a.remark(field), b.remark(field))
        for factor, fields in FACTORS.items()
        for field in fields
        if getattr(a, field) != getattr(b, field)
    ]
    return Differences(a.name, b.name, rows)


def shown(value: Any) -> str:  # noqa: PLR0911  # one line for each kind of value
    """Return a field's value as a line of a table."""
    if value is None or (isinstance(value, tuple) and not value):
        return "none"
    if isinstance(value, ConceptSet):
        return f"{value.name} ({len(value)} concepts)"
    if isinstance(value, Scaffold):
        return f"{value.name} [{value.digest[:6]}{''.join(f', {a.name} {a.offset:+d}' for a in value.anchors)}]"
    if isinstance(value, Recipe):
        return value.written
    if isinstance(value, Sampling):
        filters = f"top-p {value.top_p:g}, top-k {value.top_k}"
        return f"temperature {value.temperature:g}, {filters}, {value.max_new_tokens} tokens"
    if isinstance(value, Depth):
        return str(Fraction(value.fraction).limit_denominator(1000))
    if isinstance(value, Arm | Measure | Item):
        told = {f.name: getattr(value, f.name) for f in attrs.fields(type(value)) if f.init}  # type: ignore[arg-type]  # subclasses are attrs classes
        kept = ", ".join(f"{k} {v}" for k, v in told.items() if isinstance(v, str | int) and k != "name")
        return f"{value.name}" + (f" ({kept})" if kept else "")
    if isinstance(value, Mapping):
        return "; ".join(f"{k}: {shown(v)}" for k, v in value.items())
    if isinstance(value, tuple):
        return _several(value)
    return str(value)


def _several(values: tuple[Any, ...]) -> str:
    if all(isinstance(v, str) for v in values) and len(values) > 5:
        return f"{len(values)} words"
    if all(isinstance(v, Item) for v in values):
        return f"{len(values)} items ({', '.join(v.name for v in values[:3])}{', …' * (len(values) > 3)})"
    told = (v[0] if isinstance(v, tuple) and len(v) == 1 else v for v in values)
    return ", ".join(f"({shown(v)})" if isinstance(v, tuple) else shown(v) for v in told)


def _doubted(text: str, doubt: str | None) -> str:
    return text if doubt is None else f"{text} ({'unknown: ours' if doubt == 'unknown' else doubt})"
