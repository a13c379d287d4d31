"""Commands that judge: judge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import console


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog="Example: `introspection-bench judge runs/demo --judge claude --batch --max-cost 2`")(judge)


def judge(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    *,
    name: Annotated[str, typer.Option("--judge", help="Judge: rules, claude, chat, or a plugin's.")] = "rules",
    rubric: Annotated[str, typer.Option(help="Rubric by name, or path of a file.")] = "strict4",
    model: Annotated[str | None, typer.Option(help="The judge's model.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Address of the judge's endpoint (claude, chat).")] = None,
    batch: Annotated[bool, typer.Option("--batch", help="Message Batches: half price (claude).")] = False,
    blinded: Annotated[bool, typer.Option("--blinded/--unblinded", help="Hide arm, magnitude and layer.")] = True,
    max_cost: Annotated[float | None, typer.Option(help="Most dollars to spend; nothing is sent above it.")] = None,
    retry_unscored: Annotated[bool, typer.Option("--retry-unscored", help="Judge again what failed.")] = False,
    check: Annotated[bool, typer.Option(help="First judge the control replies that every judge must pass.")] = True,
) -> None:
    """Judge a run's replies. Judging again never generates again; what is scored already is kept."""
    from ..judges.registry import open_judge
    from ..sweep import Store
    from ..sweep.judging import judge_run

    options: dict[str, Any] = {"rubric": rubric}
    given = {"model": model, "base_url": base_url, "max_cost_usd": max_cost}
    options |= {key: value for key, value in given.items() if value is not None}
    options |= {"batch": True} if batch else {}
    options |= {} if blinded else {"blinded": False}
    with Store.open(run) as store:
        if batch:
            from ..judges.ledger import SqliteBatchLedger

            options["ledger"] = SqliteBatchLedger(store.path)
        with console.working(f"Judging with {name}"):
            opened = open_judge(name, **options)
            summary = judge_run(store, opened, retry_unscored=retry_unscored, check=check)
    cost = f", {summary.cost_usd:.4f} USD" if summary.cost_usd else ""
    console.out.print(
        f"{summary.judge}/{summary.rubric}: {summary.judged} judged, {summary.unscored} unscored, "
        f"{summary.kept} there already{cost}",
        highlight=False,
    )
    if summary.unscored:
        console.out.print("Judge the unscored ones again with --retry-unscored.", highlight=False)
