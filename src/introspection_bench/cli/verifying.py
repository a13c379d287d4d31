"""The command that generates stored trials again: verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import completing, console

if TYPE_CHECKING:
    from ..sweep import VerifiedTrial


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog="Example: `introspection-bench verify runs/demo --sample 20`")(verify)


def verify(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    *,
    sample: Annotated[int, typer.Option(help="How many trials, drawn at random.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    backend: Annotated[
        str | None, typer.Option(help="Backend to verify on, instead of the run's.", autocompletion=completing.backends)
    ] = None,
    model: Annotated[str | None, typer.Option(help="Where the run's model lies here, instead of the run's.")] = None,
    progress: console.ProgressOption = None,
) -> None:
    """Generate some stored trials again and compare replies and receipts. The run is only read.

    Exit status 1 where one differs.
    """
    import attrs

    from ..sweep import Store, verify_run

    console.show_progress(progress)
    console.quiet_libraries()
    with Store.open(run) as store, console.interruptible():
        told = store.run_spec().model
        chosen = attrs.evolve(told, name=model or told.name, backend=backend or told.backend)
        console.make_model(chosen.name)
        with console.working(f"Opening {chosen.name}"):
            injector = chosen.open()
        with injector, console.working("Generating again") as phase:
            found = verify_run(store, injector, sample=sample, seed=seed, on_trial=phase.count("compared"))
    for verified in found.different:
        console.tell(f"{verified.trial}: {_difference(verified)}")
    console.tell(str(found))
    if found.different:
        raise typer.Exit(1)


def _difference(verified: VerifiedTrial) -> str:
    reply = [] if verified.differs_at is None else [f"another reply from token {verified.differs_at} on"]
    return " and ".join([*reply, *([] if verified.receipts else ["other receipts"])])
