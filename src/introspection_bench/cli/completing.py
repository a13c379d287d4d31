"""What the shell completes: the names that options and arguments take. Each function returns those with a beginning.

Whoever presses the tab key gets nothing, and no error, where names can't be had: a plugin that is broken, say.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

import typer

from ..errors import IntrospectionBenchError

Completer = Callable[[str], list[str]]


def _of(names: Callable[[], Iterable[str]]) -> Completer:
    @functools.wraps(names, assigned=("__name__", "__doc__"))
    def complete(incomplete: str) -> list[str]:
        try:
            return [name for name in names() if name.startswith(incomplete)]
        except IntrospectionBenchError:
            return []

    # Typer tells by the annotation what a completer wants.
    complete.__annotations__ = {"incomplete": str, "return": list[str]}
    del complete.__wrapped__  # or typer would read the signature behind it
    return complete


@_of
def backends() -> Iterable[str]:
    """Return injectors, built in and installed."""
    from ..injectors import registry
    from ..plugins import registered

    return [*registry.BUILTIN, *registered(registry.GROUP, registry.BUILTIN)]


@_of
def judges() -> Iterable[str]:
    """Return judges, built in and installed."""
    from ..judges import registry
    from ..plugins import registered

    return [*registry.BUILTIN, *registered(registry.GROUP, registry.BUILTIN)]


@_of
def rubrics() -> Iterable[str]:
    """Return the built-in rubrics."""
    from ..judges.rubrics import BUILTIN

    return BUILTIN


@_of
def concept_sets() -> Iterable[str]:
    """Return concept sets, built in and installed."""
    from ..concepts import concept_set_names

    return concept_set_names()


@_of
def protocols() -> Iterable[str]:
    """Return protocols with their variants, built in and installed."""
    from ..protocols import protocol_names

    return protocol_names()


@_of
def experiments() -> Iterable[str]:
    """Return the experiments."""
    from ..experiments import EXPERIMENTS

    return EXPERIMENTS


@_of
def table_formats() -> Iterable[str]:
    """Return the forms of a table."""
    return ("text", "markdown", "latex", "csv")


def concepts(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the concepts of the set that the command line names, by default Lindsey 2026's."""
    from ..concepts import load_concepts

    def names() -> Iterable[str]:
        return [c.name for c in load_concepts(str(ctx.params.get("concepts") or "lindsey2026"))]

    return _of(names)(incomplete)


def overrides(incomplete: str) -> list[str]:
    """Return keys of a specification whose values are names, and then these names."""
    from ..scaffolds import BUILTIN

    values: dict[str, Callable[[str], list[str]]] = {
        "model.backend=": backends,
        "judge.name=": judges,
        "design.concepts=": concept_sets,
        "design.scaffolds=": _of(lambda: [f'["{name}"]' for name in BUILTIN]),
    }
    for key, complete in values.items():
        if incomplete.startswith(key):
            return [key + value for value in complete(incomplete.removeprefix(key))]
    return [key for key in values if key.startswith(incomplete)]
