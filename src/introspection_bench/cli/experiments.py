"""Commands on experiments: experiments list, experiments show; and what run --experiment runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import completing, console

if TYPE_CHECKING:
    from ..sweep import RunSpec


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        no_args_is_help=True,
        help="The experiments of the field as designs (the docs' page experiments); `run --experiment NAME` runs one.",
    )
    group.command("list", epilog="Example: `introspection-bench experiments list`")(list_)
    group.command(epilog="Example: `introspection-bench experiments show localisation`")(show)
    app.add_typer(group, name="experiments")


def list_(*, wide: console.WideOption = False) -> None:
    """List the experiments."""
    from ..experiments import EXPERIMENTS

    console.show_wide(wide=wide)
    console.table(
        "Experiments", ["name", "what it is", "source"], [[e.name, e.title, e.source] for e in EXPERIMENTS.values()]
    )


def show(
    name: Annotated[str, typer.Argument(help="The experiment's name.", autocompletion=completing.experiments)],
) -> None:
    """Show an experiment: what is asked, the outcome, the chance level, the arms and the prompts."""
    from ..experiments import load_experiment

    found = load_experiment(name)
    design = found.design()
    console.tell(f"{found.title} ({found.name}); {found.source}")
    for told, text in (("Asks", found.asks), ("Outcome", found.outcome), ("Chance", found.chance)):
        console.tell(f"{told}: {text}")
    console.tell(
        f"By default: layers {', '.join(' '.join(map(str, band)) for band in found.layers)}; "
        f"doses {', '.join(found.doses) or 'none'}; {found.trials} trials of each of {len(design.concepts or ())} "
        f"concepts in each cell"
    )
    console.table(
        "Arms",
        ["arm", "trials in a cell", "what is true there"],
        [[arm.name, arm.n, arm.truth] for arm in design.arms],
    )
    for scaffold in design.scaffolds:
        console.tell(f"\n{scaffold.name}, steered over {design.span_of(scaffold.name)}\n{scaffold.transcript}")


def experiment_spec(
    name: str, model: str | None, settings: Sequence[str], *, backend: str | None, directory: Path | None
) -> RunSpec:
    """Return what ``run --experiment NAME`` runs; ``settings`` are written ``trials=2``, each a TOML value.

    Raises :class:`~introspection_bench.errors.SpecError` for a setting that there isn't, or of another type.
    """
    from ..experiments import load_experiment, read_settings

    return load_experiment(name).spec(
        model or "demo",
        backend=backend or "torch",
        directory=None if directory is None else str(directory),
        settings=read_settings(settings),
    )
