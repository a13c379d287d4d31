"""Commands that say what there is: backends, concepts."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated

import typer

from . import completing, console

if TYPE_CHECKING:
    from ..concepts import Concept
    from ..plugins import Lazy


#: What is listed of an injector or a judge.
BACKEND_COLUMNS = ("kind", "name", "version", "from", "available")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog="Example: `introspection-bench backends`")(backends)
    app.command(epilog="Example: `introspection-bench concepts lindsey2026`")(concepts)


def backends(*, wide: console.WideOption = False) -> None:
    """List injectors and judges: version, where they come from, and why one isn't available."""
    console.show_wide(wide=wide)
    console.table("Backends and judges", BACKEND_COLUMNS, backend_rows())


def backend_rows() -> list[list[str]]:
    """Return a row of :data:`BACKEND_COLUMNS` for each injector and judge, built in and installed."""
    from ..injectors import registry as injectors
    from ..judges import registry as judges
    from ..plugins import registered

    rows = []
    for kind, group, builtin in (
        ("injector", injectors.GROUP, injectors.BUILTIN),
        ("judge", judges.GROUP, judges.BUILTIN),
    ):
        table: Mapping[str, Lazy] = builtin
        for name, reference in table.items():
            shown, why = _availability(name, reference)
            rows.append([kind, name, shown, "built in", why])
        for name, point in registered(group, builtin).items():
            rows.append([kind, name, *_plugin(point)])
    return rows


def _availability(name: str, reference: Lazy) -> tuple[str, str]:
    from ..errors import BackendUnavailableError

    try:
        shown = version(reference.package) if reference.package else ""
    except PackageNotFoundError:
        shown = ""
    try:
        reference.load(name)
    except BackendUnavailableError as error:
        return shown, f"no: {error}"
    return shown, "yes"


def _plugin(point: EntryPoint) -> tuple[str, str, str]:
    source = point.dist.name if point.dist else "unknown"
    shown = point.dist.version if point.dist else ""
    try:
        point.load()
    except Exception as error:  # a plugin may raise anything; the list must still be printed
        return shown, source, f"no: {type(error).__name__}: {error}"
    return shown, source, "yes"


def concepts(
    name: Annotated[
        str | None,
        typer.Argument(help="A set's name or TOML file; without it, the sets.", autocompletion=completing.concept_sets),
    ] = None,
    *,
    wide: console.WideOption = False,
) -> None:
    """List the concept sets, or the concepts of one."""
    from ..concepts import BUILTIN, load_concepts
    from ..plugins import registered

    console.show_wide(wide=wide)
    if name is None:
        names = [*BUILTIN, *registered("introspection_bench.concepts", BUILTIN)]
        sets = [load_concepts(n) for n in names]
        console.table(
            "Concept sets",
            ["name", "concepts", "baseline words", "source"],
            [[s.name, len(s), len(s.baseline), s.source] for s in sets],
        )
        return
    found = load_concepts(name)
    console.table(
        f"{found.name}: {found.source}",
        ["concept", "recipe", "aliases"],
        [[c.name, _made_from(c), ", ".join(c.aliases)] for c in found],
    )


def _made_from(concept: Concept) -> str:
    word, pairs = ["word"] * bool(concept.word), [f"{len(concept.pairs)} pairs"] * bool(concept.pairs)
    return " or ".join([*word, *pairs])
