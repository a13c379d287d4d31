"""The command that goes from one protocol to another: bridge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from . import completing, console

if TYPE_CHECKING:
    from ..protocols import Bridged, Protocol


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="Example: `introspection-bench bridge lindsey2026 llama405b2026 --model demo --concepts lindsey2026`"
    )(bridge)


def bridge(
    first: Annotated[
        str,
        typer.Argument(
            metavar="A", help="A protocol's name, or a TOML file of yours.", autocompletion=completing.protocols
        ),
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.", autocompletion=completing.protocols)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help='Fields of both protocols, or of one: sampling.max_new_tokens=40, a.doses=["4 raw"], b.outcome=strict',
        ),
    ] = None,
    *,
    model: Annotated[str, typer.Option(help="Model to run on.")],
    backend: Annotated[str, typer.Option(help="Backend to run on.", autocompletion=completing.backends)] = "torch",
    how: Annotated[
        Literal["both ends", "factorial"],
        typer.Option(help="Change each factor alone from either end, or run a fraction of all settings."),
    ] = "both ends",
    directory: Annotated[Path | None, typer.Option(help="Where the settings' run directories go.")] = None,
    concepts: Annotated[
        str | None,
        typer.Option(help="A concept set for both ends, by name or file.", autocompletion=completing.concept_sets),
    ] = None,
    trials: Annotated[int, typer.Option(help="Injected trials of each concept in each cell.")] = 1,
    controls: Annotated[int, typer.Option(help="Trials without an injection, for each scaffold.")] = 20,
    resolution: Annotated[int | None, typer.Option(help="Of the factorial: 4, or 5 to tell pairs apart.")] = None,
    together: Annotated[
        list[str] | None,
        typer.Option(metavar="FACTOR,FACTOR", help="Factors that change as one step; repeat it for another group."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of orders and random draws.")] = 0,
    confidence: Annotated[float, typer.Option(help="Of each interval.")] = 0.95,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would be run.")] = False,
) -> None:
    """Say where the difference between two protocols' results comes from, by running what lies between them.

    What is read off the same replies comes first (rubric, conditioning, outcome), then what takes new ones. Run it
    again to go on after an interruption.
    """
    from ..files import file_stem
    from ..protocols import bridge as between
    from ..protocols import load_protocol, run_bridge
    from ..protocols.telling import write_bridge
    from ..sweep.spec import ModelSpec
    from .watching import TerminalWatcher

    given = overrides or []
    planned = between(
        overridden(load_protocol(first), given, "a"),
        overridden(load_protocol(second), given, "b"),
        how,
        concepts=concepts,
        trials=trials,
        controls=controls,
        resolution=resolution,
        together=[group.split(",") for group in together or []],
    )
    console.tell(repr(planned))
    if plan:
        return
    place = directory or Path("runs") / f"{file_stem(planned.a.name)}-to-{file_stem(planned.b.name)}"
    console.quiet_libraries()
    console.make_model(model)
    with console.interruptible():
        found = run_bridge(
            planned, ModelSpec(model, backend), place, seed=seed, confidence=confidence, watcher=TerminalWatcher()
        )
    tell(found)
    console.tell(f"Page: {write_bridge(found, place / 'bridge.html')}")


def overridden(protocol: Protocol, overrides: list[str], end: str) -> Protocol:
    """Return a protocol with what overrides say of both ends, or of this one."""
    from ..protocols import derived
    from ..sweep.tables import override

    told: dict[str, Any] = {}
    for text in overrides:
        _check(text)
        side, _, rest = text.strip().partition(".")
        if side not in ("a", "b"):
            override(told, text)
        elif side == end:
            override(told, rest)
    return derived(protocol, told) if told else protocol


def _check(text: str) -> None:
    from ..errors import SpecError, explain

    key, equals, _ = (part.strip() for part in text.partition("="))
    if not equals or not all(key.split(".")):
        raise SpecError(
            explain(
                "override", required='KEY=VALUE, as in a.doses=["4 raw"]', got=text, hint="See the docs' page bridge."
            )
        )


def tell(found: Bridged) -> None:
    """Print every rate, and the effects."""
    from ..protocols.telling import EFFECT_COLUMNS, effect_rows

    rates = found.rates().drop(columns=["rate", "concepts"])
    console.table("Injected trials and controls", list(rates.columns), rates.itertuples(index=False))
    for said, each in (*found.free, *found.generated):
        console.table(f"Points, {said}", list(EFFECT_COLUMNS), effect_rows(each))
        console.tell(each.sentence)
    console.tell(f"{found.bridge.b.name} less {found.bridge.a.name}, each as it reads itself: {found.whole.sentence}")
