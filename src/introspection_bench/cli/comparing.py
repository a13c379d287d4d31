"""The command that sets runs beside each other: compare."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import errors
from . import console
from .analysing import FORMATS

if TYPE_CHECKING:
    import pandas as pd

    from ..analysis import Comparison, FactorComparison

#: Columns of rates that would make a table for people too wide.
_FOR_PROGRAMS = [f"{name}_coherent" for name in ("k", "n", "rate", "low", "high")] + ["n_all", "n_scored"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog="Example: `introspection-bench compare runs/torch runs/vllm-lens --out compare.html`")(compare)


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="A B", help="Run directories, results files or studies.")],
    *,
    by: Annotated[str | None, typer.Option(help="Compare models by model, family, size, tuning, ...")] = None,
    on: Annotated[list[str] | None, typer.Option(help="Column to match cells by; repeat it.")] = None,
    judge: Annotated[str | None, typer.Option(help="Whose verdicts.")] = None,
    rubric: Annotated[str | None, typer.Option(help="Of which rubric.")] = None,
    margin: Annotated[float | None, typer.Option(help="Largest difference of rates that counts as none.")] = None,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    alike: Annotated[bool, typer.Option("--all", help="Also cells whose rates are equal.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write an HTML page as well: compare.html.")] = None,
    format: Annotated[str, typer.Option(help=", ".join(FORMATS))] = "text",  # noqa: A002  # the word users type
) -> None:
    """Compare two runs, or their exports: what differs inside each field of the specification, and in the outcome.

    With `--by family`, compare the models of a study's file, or of several runs, by what they are (docs' page studies).
    """
    from ..analysis import compare as compare_results
    from ..analysis import compare_models
    from ..analysis.compare import MATCHED
    from ..interop import read_results
    from ..report import write_comparison

    if by is not None and (on is not None or alike or out is not None):
        raise errors.AnalysisError(
            errors.explain(
                "--by",
                required="none of --on, --all and --out beside it",
                got=f"--on {on}, --all {alike}, --out {out}",
                hint="Models match by depth and dose, and all of them are shown.",
            )
        )
    results = [read_results(run) for run in runs]
    if by is not None:
        _tell_models(
            compare_models(results, by=by, judge=judge, rubric=rubric, margin=margin, confidence=confidence), format
        )
        return
    if len(results) != 2:
        raise errors.AnalysisError(
            errors.explain("A B", required="two runs", got=f"{len(runs)}", hint="For several models, add --by model.")
        )
    first, second = results
    found = compare_results(
        first, second, judge=judge, rubric=rubric, on=on or MATCHED, margin=margin, confidence=confidence
    )
    _tell(found, format, alike=alike)
    if out is not None:
        console.tell(str(write_comparison(found, out, alike=alike)))


def _tell(found: Comparison, format: str, *, alike: bool) -> None:  # noqa: A002  # as above
    """Print a comparison: for people in words and narrow tables, for programs with every column."""
    from ..report import compared_tables

    for sentence in found.sentences:
        console.tell(sentence)
    if format != "text":
        sections = {
            "What differs in the specification": found.spec,
            "What differs in the outcome": (found.cells if alike else found.differing).dropna(
                axis="columns", how="all"
            ),
            f"Cells of {found.first} alone": found.only_first,
            f"Cells of {found.second} alone": found.only_second,
        }
        _print(sections, format)
        return
    if found.changes:
        console.tell("\nWhat differs in the specification")
    for change in found.changes:
        console.tell(str(change))
    _print(compared_tables(found, alike=alike), format)


def _tell_models(found: FactorComparison, format: str) -> None:  # noqa: A002  # as above
    """Print what can't be told apart, each contrast in words, and the tables."""
    for sentence in found.said:
        console.tell(sentence)
    sections = {
        "Models": found.models,
        f"Rates by {found.factor}": found.rates if format == "csv" else found.rates.drop(columns=_FOR_PROGRAMS),
        f"Differences by {found.factor}": found.contrasts,
    }
    _print({title: frame.dropna(axis="columns", how="all") for title, frame in sections.items()}, format)


def _print(sections: Mapping[str, pd.DataFrame], format: str) -> None:  # noqa: A002  # as above
    from ..analysis import render

    for title, frame in sections.items():
        if len(frame):
            console.tell(f"\n{title}")
            typer.echo(render(frame, format), nl=False)  # type: ignore[arg-type]  # render checks it
