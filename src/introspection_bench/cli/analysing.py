"""Commands that calculate: table, compare, power."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import console

if TYPE_CHECKING:
    import pandas as pd

#: How a table may be written.
FORMATS = ("text", "markdown", "latex", "csv")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog="Example: `introspection-bench table runs/demo --by concept --by magnitude --format markdown`")(
        table
    )
    app.command(epilog="Example: `introspection-bench compare runs/torch runs/vllm`")(compare)
    app.command(epilog="Example: `introspection-bench power --rate 0.2 --power 0.9`")(power)


def table(
    run: Annotated[Path, typer.Argument(metavar="RUN_OR_FILE", help="Run directory or results file.")],
    *,
    by: Annotated[list[str] | None, typer.Option(help="Column to group by; repeat it. By default, cells.")] = None,
    format: Annotated[str, typer.Option(help=", ".join(FORMATS))] = "text",  # noqa: A002  # the word users type
    judge: Annotated[str | None, typer.Option(help="Whose verdicts.")] = None,
    rubric: Annotated[str | None, typer.Option(help="Of which rubric.")] = None,
    method: Annotated[str, typer.Option(help="clopper-pearson or wilson.")] = "clopper-pearson",
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
) -> None:
    """Print counts and rates with exact intervals, and every denominator."""
    from ..analysis import CELL_COLUMNS
    from ..interop import read_results

    found = read_results(run)
    frame = rates_table(
        found.frame(judge, rubric),
        by=by or list(CELL_COLUMNS),
        method=method,
        confidence=confidence,
        exact=format == "csv",
    )
    typer.echo(rendered(frame, format))
    for note in found.notes:
        console.err.print(f"note: {console.plain(note)}", highlight=False)


def rates_table(
    frame: pd.DataFrame,
    *,
    by: list[str],
    method: str = "clopper-pearson",
    confidence: float = 0.95,
    exact: bool = False,
) -> pd.DataFrame:
    """Return the table that people read: per group n and, per outcome, "k/n rate [low, high]"; or all numbers."""
    import pandas as pd

    from ..analysis import OUTCOMES, rates

    long = rates(frame, by=by, interval=method, confidence=confidence)  # type: ignore[arg-type]  # checked by rates
    if exact:
        return long
    columns = {outcome: long[long["outcome"] == outcome].reset_index(drop=True) for outcome in OUTCOMES}
    first = next(iter(columns.values()))
    shown = pd.DataFrame({name: first[name].astype("string").fillna("") for name in by})
    # Beside the trials of the group: those with a verdict, and those that the judge found coherent.
    shown = shown.assign(n_all=first["n_all"], n_scored=first["n_scored"], n_coherent=columns["coherent"]["k"])
    for outcome, part in columns.items():
        numbers = zip(part["k"], part["n"], part["low"], part["high"], strict=True)
        shown[outcome] = [
            f"{k}/{n} = {k / n:.0%} [{low:.1%}, {high:.1%}]" if n else "0/0" for k, n, low, high in numbers
        ]
    return shown


def rendered(frame: pd.DataFrame, format: str) -> str:  # noqa: A002  # the option's name
    """Return a frame as text, Markdown, LaTeX or CSV; raises :class:`SpecError` for another format."""
    from ..errors import SpecError, explain

    match format:
        case "text":
            return frame.to_string(index=False)
        case "csv":
            return frame.to_csv(index=False)
        case "markdown":
            return _markdown(frame)
        case "latex":
            return _latex(frame)
        case _:
            raise SpecError(explain("--format", required=f"one of {list(FORMATS)}", got=format, hint=""))


def _markdown(frame: pd.DataFrame) -> str:
    # A cell may hold a bar or a line break, since concept and scaffold names come from files.
    rows = [[str(c).replace("|", "\\|").replace("\n", " ") for c in row] for row in frame.itertuples(index=False)]
    lines = [list(map(str, frame.columns)), ["---"] * len(frame.columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


_LATEX_SPECIAL = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)


def _latex(frame: pd.DataFrame) -> str:
    def escaped(cell: object) -> str:
        return str(cell).replace("\\", r"\textbackslash ").translate(_LATEX_SPECIAL)

    rows = [" & ".join(map(escaped, row)) + r" \\" for row in frame.itertuples(index=False)]
    head = " & ".join(map(escaped, frame.columns)) + r" \\"
    columns = "l" * len(frame.columns)
    return "\n".join(
        [rf"\begin{{tabular}}{{{columns}}}", r"\hline", head, r"\hline", *rows, r"\hline", r"\end{tabular}"]
    )


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Run directory or results file.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    *,
    on: Annotated[list[str] | None, typer.Option(help="Column to match cells by; repeat it.")] = None,
    judge: Annotated[str | None, typer.Option(help="Whose verdicts.")] = None,
    rubric: Annotated[str | None, typer.Option(help="Of which rubric.")] = None,
    format: Annotated[str, typer.Option(help=", ".join(FORMATS))] = "text",  # noqa: A002  # the word users type
) -> None:
    """Compare two runs: what differs in the specification, and what in the outcome."""
    from ..analysis import CELL_COLUMNS
    from ..analysis import compare as compare_results
    from ..interop import read_results

    found = compare_results(
        read_results(first), read_results(second), judge=judge, rubric=rubric, on=on or list(CELL_COLUMNS)
    )
    typer.echo(found.sentence)
    sections = {
        "What differs in the specification": found.spec,
        "What differs in the outcome": found.cells,
        f"Cells of {found.first} alone": found.only_first,
        f"Cells of {found.second} alone": found.only_second,
    }
    for title, frame in sections.items():
        if len(frame):
            typer.echo(f"\n{title}\n{rendered(frame, format)}")


def power(
    *,
    rate: Annotated[float, typer.Option(help="The true rate to find, or to exclude.")],
    power: Annotated[float, typer.Option(help="Probability of finding it.")] = 0.9,
    confidence: Annotated[float, typer.Option(help="Of the bound that a clean null gives.")] = 0.95,
    at_least: Annotated[int, typer.Option(help="Successes that count as found.")] = 1,
    cells: Annotated[int, typer.Option(help="Cells that the exclusion must hold for at once.")] = 1,
) -> None:
    """Say how many trials per cell find a rate with given power, and how many without a success exclude it."""
    from ..analysis import plan

    typer.echo(plan(rate, power=power, at_least=at_least, confidence=confidence, cells=cells).sentence)
