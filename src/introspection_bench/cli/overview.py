"""Commands that say what runs there are and how far they are: runs, status."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from . import console

if TYPE_CHECKING:
    from ..conditions import Condition
    from ..results import Results
    from ..sweep import Store
    from ..trials import TrialRecord

FormatOption = Annotated[Literal["table", "json"], typer.Option("--format", help="For people, or for programs.")]
#: Keys of a specification under which a run asks on by what it saw: only running it tells whether it is done.
_ASKS_ON = ("confirm", "stopping", "search")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog="Example: `introspection-bench runs runs --format json`")(runs)
    app.command(epilog="Example: `introspection-bench status runs/demo`")(status)


def runs(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with runs, at any depth.")] = Path("runs"),
    *,
    format: FormatOption = "table",  # noqa: A002  # the word users type
    wide: console.WideOption = False,
) -> None:
    """List the runs in a folder: model, what was asked, trials done, judged, and strict successes with controls."""
    console.show_wide(wide=wide)
    rows = rows_of(directory)
    if format == "json":
        _tell_json(rows)
        return
    console.table(
        f"{len(rows)} runs in {directory}",
        ["run", "model", "spec", "done", "judged", "headline"],
        [
            [
                row["run"],
                row["model"],
                row["spec"],
                f"{row['recorded']}/{row['planned']}",
                row["judged"],
                row["headline"],
            ]
            if row["error"] is None
            else [row["run"], "", "", "", "", row["error"]]
            for row in rows
        ],
    )


def rows_of(directory: Path) -> list[dict[str, Any]]:
    """Return what is listed of each run in a folder, at any depth; raises SpecError where there is none."""
    from ..errors import SpecError, explain
    from ..sweep.store import FILE_NAME

    try:
        found = sorted(path.parent for path in directory.rglob(FILE_NAME))
    except OSError as error:  # a name too long for a folder, say
        raise SpecError(
            explain("directory", required="a folder with runs", got=error.strerror, hint="Check the path.")
        ) from error
    if not found:
        raise SpecError(
            explain("directory", required="a folder with runs", got=f"none in {directory}", hint="Run a sweep first.")
        )
    return [_row(path) for path in found]


def _row(path: Path) -> dict[str, Any]:
    """Return what is listed of a run; of one that can't be read, why: it must not hide the others."""
    from ..errors import IntrospectionBenchError
    from ..sweep import Store

    told = dict.fromkeys(("model", "backend", "spec", "planned", "recorded", "judged", "headline", "error"))
    try:
        with Store.open(path) as store:
            spec, planned, results = store.spec(), store.planned(), store.results()
            scaffolds = dict.fromkeys(t.condition.scaffold for t in planned.values())
            told |= {
                "model": spec["found"]["name"],
                "backend": spec["model"]["backend"],
                "spec": spec.get("protocol") or ", ".join(scaffolds),
                "planned": len(planned),
                "recorded": len(results),
                "judged": max(_verdicts(results).values(), default=0),
                "headline": _headline(results),
            }
    except (IntrospectionBenchError, OSError) as error:
        told["error"] = " ".join(str(error).split())
    return {"run": str(path), **told}


def _headline(results: Results) -> str:
    """Return the strict successes of each arm in which a concept was injected or nothing done: both in one line."""
    from ..analysis import counts

    if not results.judges:
        return "not judged"
    first = results.judges[0]
    frame = results.frame(first.judge, first.rubric)
    if not frame["unscored"].isna().any():
        return "no trial scored"
    shown = frame[frame["truth"] != "other"]
    rows = counts(shown, ["arm"]).to_dict("records")
    told = [f"{row['arm']} {row['strict']:.0f}/{row['n_scored']:.0f}" for row in rows]
    return f"strict ({first.judge}): {', '.join(told)}"


def status(
    run_directory: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    *,
    format: FormatOption = "table",  # noqa: A002  # the word users type
    wide: console.WideOption = False,
) -> None:
    """Show what of a run is planned, recorded, judged and measured, per cell, and the command that goes on."""
    from ..sweep import Store

    console.show_wide(wide=wide)
    with Store.open(run_directory) as store:
        told = _status(store)
    if format == "json":
        _tell_json(told)
        return
    # A column that is the same everywhere says nothing of a cell.
    cells = told["cells"]
    shown = [c for c in cells[0] if len({str(row[c]) for row in cells}) > 1 or c in _ALWAYS] if cells else [*_ALWAYS]
    console.table(
        f"{run_directory}: {told['model']} on {told['backend']}, {told['recorded']} of {told['planned']} trials",
        shown,
        [["" if row[c] is None else row[c] for c in shown] for row in cells],
    )
    for name, count in told["judged"].items():
        console.tell(f"{name}: {count} of {told['recorded']} scored")
    for name, count in told["measured"].items():
        console.tell(f"{name}: {count} of {told['recorded']} measured")
    if told["note"]:
        console.tell(told["note"])
    if told["go_on"]:
        console.tell(f"go on: {told['go_on']}")


#: Columns of a cell that are shown even where they are the same everywhere.
_ALWAYS = ("arm", "planned", "recorded")


def _status(store: Store) -> dict[str, Any]:
    """Return all that status says, as JSON values."""
    from ..conditions import CELL_COLUMNS
    from ..sweep.sessions import sessions_note

    planned, recorded, spec = store.planned(), store.recorded(), store.spec()
    of_cell: dict[Condition, Counter[str]] = {}
    for key, trial in planned.items():
        of_cell.setdefault(trial.condition.cell, Counter()).update(planned=1, recorded=int(key in recorded))
    records = store.records()
    verdicts = _verdicts(records)
    return {
        "run": str(store.directory),
        "model": spec["found"]["name"],
        "backend": spec["model"]["backend"],
        "planned": len(planned),
        "recorded": len(recorded),
        "cells": [
            {**{c: cell.columns[c] for c in CELL_COLUMNS}, "planned": n["planned"], "recorded": n["recorded"]}
            for cell, n in of_cell.items()
        ],
        "judged": dict(sorted(verdicts.items())),
        "measured": dict(sorted(Counter(r.measure for record in records for r in record.readings).items())),
        "note": sessions_note(store.sessions()),
        "go_on": _goes_on(store, complete=len(recorded) == len(planned), judged=bool(verdicts)),
    }


def _verdicts(records: Iterable[TrialRecord]) -> Counter[str]:
    """Return how many replies each judge has scored."""
    found: Counter[str] = Counter()
    for record in records:
        for verdict in record.verdicts:
            name = f"{verdict.judge}/{verdict.rubric}{'' if verdict.asked == 'own' else ' (mismatched)'}"
            found[name] += verdict.unscored is None
    return found


def _goes_on(store: Store, *, complete: bool, judged: bool) -> str | None:
    """Return the command that does what is left of a run; None where nothing is."""
    where = shlex.quote(str(store.directory))
    if not complete or any(store.spec().get(name) for name in _ASKS_ON):
        return f"introspection-bench run {where}"
    return None if judged else f"introspection-bench judge {where}"


def _tell_json(value: object) -> None:
    # As it is: a line broken for the terminal would break a text in it.
    typer.echo(json.dumps(value, indent=2))
