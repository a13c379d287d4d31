"""Commands about published protocols: list, show, diff."""

from __future__ import annotations

from typing import Annotated

import typer

from . import completing, console

_commands = typer.Typer(
    no_args_is_help=True,
    help="Published protocols by name: what they fix, and how they differ.",
    epilog="Example: `introspection-bench protocols list`",
)
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A protocol's name, or a TOML file of yours.", autocompletion=completing.protocols
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    _commands.command("list", epilog="Example: `introspection-bench protocols list`")(list_)
    _commands.command(epilog="Example: `introspection-bench protocols show macar2026/forced`")(show)
    _commands.command(epilog="Example: `introspection-bench protocols diff lindsey2026 llama405b2026`")(diff)
    app.add_typer(_commands, name="protocols")


def list_(*, wide: console.WideOption = False) -> None:
    """List the protocols, built in and installed."""
    from ..protocols import load_protocol, protocol_names

    console.show_wide(wide=wide)
    found = [load_protocol(name) for name in protocol_names()]
    console.table("Protocols", ["name", "what it is", "source"], [[p.name, p.title, p.source] for p in found])


def show(name: Name, *, wide: console.WideOption = False) -> None:
    """Show a protocol: each field, what is not known of it, and what the library does otherwise."""
    from ..protocols import FACTORS, load_protocol, shown

    console.show_wide(wide=wide)
    found = load_protocol(name)
    rows = []
    for factor, fields in FACTORS.items():
        for field in fields:
            remarks = [
                f"{kind}: {told[field]}"
                for kind, told in (
                    ("unknown", found.unknown),
                    ("unverified", found.unverified),
                    ("departs", found.departures),
                )
                if field in told
            ]
            rows.append([factor, field, shown(getattr(found, field)), "; ".join(remarks)])
    console.table(f"{found.name}: {found.title}", ["factor", "field", "value", "remarks"], rows)
    console.tell(f"Source: {found.source}")
    for scaffold in found.scaffolds:
        span = found.span[scaffold.name] if isinstance(found.span, dict) else found.span
        console.tell(f"\n{scaffold.name} ({span}):\n{scaffold.transcript}")
    if found.published:
        console.tell("\nReported:")
    for statement in found.published:
        console.tell(f"- {statement}")


def diff(
    first: Annotated[
        str,
        typer.Argument(
            metavar="A", help="A protocol's name, or a TOML file of yours.", autocompletion=completing.protocols
        ),
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.", autocompletion=completing.protocols)],
    *,
    wide: console.WideOption = False,
) -> None:
    """List the fields in which two protocols differ."""
    from ..protocols import diff as between
    from ..protocols import load_protocol

    console.show_wide(wide=wide)
    found = between(load_protocol(first), load_protocol(second))
    rows = [[row.factor, row.field, *row.told] for row in found]
    console.table(f"{found.a} and {found.b}", ["factor", "field", found.a, found.b], rows)
