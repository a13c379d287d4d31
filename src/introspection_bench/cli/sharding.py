"""Runs in many jobs that know nothing of each other: what run --prepare does, and the command merge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import console
from .watching import TerminalWatcher

if TYPE_CHECKING:
    from ..sweep import RunSpec

PrepareOption = Annotated[
    Path | None,
    typer.Option("--prepare", metavar="DIR", help="Only make what shards share, in DIR: plan, vectors, doses."),
]
PreparedOption = Annotated[
    Path | None, typer.Option("--prepared", metavar="DIR", help="The run directory of --prepare, for --shard.")
]
ShardOption = Annotated[
    str | None, typer.Option("--shard", metavar="K/N", help="Run one of N parts of the plan only, as 3/16.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog="Example: `introspection-bench merge runs/prepared runs/x-shard-* --into runs/x`")(merge)


def check_options(
    *,
    plan: bool,
    prepare: Path | None,
    shard: str | None,
    prepared: Path | None,
    directory: Path | None,
    limit: int | None,
) -> None:
    """Raise :class:`SpecError` for options of run that don't go together."""
    from ..errors import SpecError, explain
    from ..sweep import Shard

    told: dict[str, object] = {"--prepare": prepare, "--shard": shard, "--prepared": prepared}
    if prepare is not None:
        told |= {"--directory": directory, "--limit": limit}
    given = [name for name, value in told.items() if value is not None]
    if given not in ([], ["--prepare"], ["--shard", "--prepared"]) or (plan and given):
        raise SpecError(
            explain(
                "run",
                required="--prepare DIR alone, or --shard K/N with --prepared DIR, and neither with --plan",
                got=" ".join([*(["--plan"] if plan else []), *given]),
                hint="Each shard takes vectors and doses of the one prepared run (the docs' page shards).",
            )
        )
    if shard is not None:
        Shard(shard)


def prepare_shards(
    stated: RunSpec, directory: Path, *, backend: str | None, trust_remote_code: bool, frozen: Path | None
) -> None:
    """Make a prepared run, and tell how its shards are run."""
    from ..sweep import prepare_spec

    console.quiet_libraries()
    console.make_model(stated.model.name)
    with console.interruptible():
        made = prepare_spec(
            stated,
            directory,
            backend=backend,
            trust_remote_code=trust_remote_code,
            frozen=frozen,
            watcher=TerminalWatcher(),
        )
    console.tell(f"Prepared {made}. Run each shard with the same specification and --shard K/N --prepared {made}")


def merge(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories of one plan: shards, copies.")],
    *,
    into: Annotated[Path, typer.Option(help="Run directory for all of them, new or of an earlier merge.")],
    progress: console.ProgressOption = None,
) -> None:
    """Merge what runs of one plan recorded into one run: trials, verdicts, readings, effects, sessions.

    Runs of another model, plan or numerics are refused. Where two runs made the same trial and not the same reply,
    each is listed with both sessions, nothing is written, and the exit status is 1.
    """
    from ..errors import RunsDifferError
    from ..sweep import merge_runs

    console.show_progress(progress)
    try:
        with console.interruptible(), console.working(f"Merging into {into}"):
            merged = merge_runs(runs, into)
    except RunsDifferError as error:
        for difference in error.differences:
            console.say(difference)
        raise
    console.tell(str(merged))
    if merged.recorded < merged.planned:
        console.tell(f"{merged.planned - merged.recorded} trials are left; run them: introspection-bench run {into}")
