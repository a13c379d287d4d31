"""Commands that calculate: table, excludes, explain, power."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import completing, console

if TYPE_CHECKING:
    import pandas as pd

#: How a table may be written.
FORMATS = ("text", "markdown", "latex", "csv")
#: What a table may be of.
OF = ("verdicts", "log-odds", "naming", "wordings")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog="Example: `introspection-bench table runs/demo --by concept --by magnitude --format markdown`")(
        table
    )
    app.command(epilog="Example: `introspection-bench excludes runs/demo --outcome strict`")(excludes)
    app.command(epilog="Example: `introspection-bench explain runs/demo --margin 0.15`")(explain)
    app.command(epilog="Example: `introspection-bench power --rate 0.2 --concepts 36`")(power)


def table(
    run: Annotated[Path, typer.Argument(metavar="RUN_OR_FILE", help="Run directory or results file.")],
    *,
    of: Annotated[str, typer.Option(help=", ".join(OF))] = "verdicts",
    by: Annotated[list[str] | None, typer.Option(help="Column to group by; repeat it. By default, cells.")] = None,
    format: Annotated[  # noqa: A002  # the word users type
        str,
        typer.Option(help=", ".join(FORMATS), autocompletion=completing.table_formats),
    ] = "text",
    judge: Annotated[str | None, typer.Option(help="Whose verdicts.", autocompletion=completing.judges)] = None,
    rubric: Annotated[str | None, typer.Option(help="Of which rubric.", autocompletion=completing.rubrics)] = None,
    method: Annotated[str, typer.Option(help="clopper-pearson, or wilson (79 % at worst).")] = "clopper-pearson",
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    wide: console.WideOption = False,
) -> None:
    """Print counts and rates with exact intervals, and every denominator.

    Intervals are for these concepts, and where a row is of five or more, for concepts like these as well. What they
    are about stands on the error output, so that the table can be redirected. With `--of` the tables of the report on
    what measures read and on wordings of the question, with the report's sentences on the error output.
    """
    console.show_wide(wide=wide)
    if of != "verdicts":
        _table_of(run, of, format, judge, rubric)
        return
    from ..analysis import CELL_COLUMNS, rates, rates_table, render
    from ..analysis.tables import table_heading
    from ..interop import read_results

    found = read_results(run)
    trials, columns = found.frame(judge, rubric), by or list(CELL_COLUMNS)
    if format == "csv":  # for programs: a line per outcome, numbers apart
        shown = rates(trials, columns, interval=method, confidence=confidence)  # type: ignore[arg-type]  # rates checks it
    else:
        shown = rates_table(trials, columns, method=method, confidence=confidence)  # type: ignore[arg-type]  # as above
        console.say(table_heading(shown, method=method, confidence=confidence))  # type: ignore[arg-type]  # as above
    if format == "text":
        _tell_cells(shown, columns, wide=wide)
    else:
        typer.echo(render(shown, format), nl=False)  # type: ignore[arg-type]  # render checks it
    for note in found.notes:
        console.say(f"note: {note}")


def _tell_cells(shown: pd.DataFrame, by: list[str], *, wide: bool) -> None:
    """Print a table of rates for people; what is the same in every row stands before it once."""
    from ..analysis.tables import short

    same = [name for name in by if name in shown and len(shown) > 1 and shown[name].nunique() == 1]
    if same and not wide:
        # Of controls some are not known: they have no layer and no span.
        told = [f"{name} {short(shown[name].dropna().iloc[0])}" for name in same]
        console.say(f"In every row that has one: {', '.join(told)}")
        shown = shown.drop(columns=same)
    console.frame(shown, keys=sum(name in by for name in shown.columns))


def _table_of(run: Path, of: str, format: str, judge: str | None, rubric: str | None) -> None:  # noqa: A002  # as above
    """Print a section of the report: its sentences on the error output, its tables one after the other."""
    import pandas as pd

    from ..analysis import render
    from ..errors import AnalysisError, explain
    from ..interop import read_results
    from ..report.page.html import measured_sections
    from ..report.page.judged import choose_judge, verdict_frame

    results = read_results(run).of_part()
    chosen = choose_judge(results, judge, rubric)
    if of not in OF:
        raise AnalysisError(explain("of", required=f"one of {list(OF)}", got=of, hint=""))
    section = measured_sections(results, verdict_frame(results, chosen), chosen)[of]
    if section is None:
        hint = "The docs' page report says what it needs: sweep.measure(...), or a design of several wordings."
        raise AnalysisError(explain("of", required=f"a run with {of}", got=f"none in {run}", hint=hint))
    for sentence in section.sentences:
        console.say(sentence)
    for table in section.tables:
        console.say(table.caption)
        shown = pd.DataFrame(table.rows, columns=table.columns)
        if format == "text":
            console.frame(shown)
        else:
            typer.echo(render(shown, format), nl=False)  # type: ignore[arg-type]  # render checks it
    for note in results.notes:
        console.say(f"note: {note}")


def excludes(
    run: Annotated[Path, typer.Argument(metavar="RUN_OR_FILE", help="Run directory or results file.")],
    *,
    outcome: Annotated[str, typer.Option(help="Which rate: a criterion, or strict.")] = "strict",
    judge: Annotated[str | None, typer.Option(help="Whose verdicts.", autocompletion=completing.judges)] = None,
    rubric: Annotated[str | None, typer.Option(help="Of which rubric.", autocompletion=completing.rubrics)] = None,
    confidence: Annotated[float, typer.Option(help="Of each bound.")] = 0.95,
    format: Annotated[  # noqa: A002  # the word users type
        str,
        typer.Option(
            help="text: sentences; as a table: markdown, latex, csv.", autocompletion=completing.table_formats
        ),
    ] = "text",
) -> None:
    """Say which rates the injected trials exclude, on these concepts and over concepts like these.

    All of it comes a second time over the cells whose dose is live, where the run measured that.
    """
    from ..analysis import excludes as excluded
    from ..analysis import render
    from ..interop import read_results

    results = read_results(run)
    found = excluded(results.frame(judge, rubric), outcome, confidence=confidence, effects=results.effects)
    if format == "text":
        for sentence in found.sentences:
            console.tell(sentence)
    else:
        if found.liveness is not None:
            console.say(found.liveness.sentence)
        typer.echo(render(found.table(), format), nl=False)  # type: ignore[arg-type]  # render checks it
    for note in results.notes:
        console.say(f"note: {note}")


def explain(
    run: Annotated[Path, typer.Argument(metavar="RUN_OR_FILE", help="Run directory or results file.")],
    *,
    judge: Annotated[str | None, typer.Option(help="Whose verdicts.", autocompletion=completing.judges)] = None,
    rubric: Annotated[
        str | None, typer.Option(help="Of which rubric, on reports.", autocompletion=completing.rubrics)
    ] = None,
    margin: Annotated[float, typer.Option(help="Largest difference of rates that counts as none.")] = 0.1,
    confidence: Annotated[float, typer.Option(help="Of each interval.")] = 0.95,
) -> None:
    """Say what would explain the reports away: a bias, a disturbance, a parrot, a dead dose; and what was not run.

    Noticing and naming are told apart. An explanation is said to hold, or not to, only where an interval decides it.
    """
    from ..interop import read_results
    from ..report.page.explained import told_by
    from ..report.page.judged import choose_judge

    results = read_results(run).of_part()
    found = told_by(results, choose_judge(results, judge, rubric)).explained(margin=margin, confidence=confidence)
    for each in found:
        for sentence in each.sentences:
            console.tell(sentence)
    if not found:
        console.tell("No injected trial has a verdict on affirming or naming: there is nothing to explain.")
    for note in results.notes:
        console.say(f"note: {note}")


def power(
    *,
    rate: Annotated[float, typer.Option(help="The true rate to find, or to exclude.")],
    power: Annotated[float, typer.Option(help="Probability of finding it.")] = 0.9,
    confidence: Annotated[float, typer.Option(help="Of the bound that a clean null gives.")] = 0.95,
    at_least: Annotated[int, typer.Option(help="Successes that count as found.")] = 1,
    cells: Annotated[int, typer.Option(help="Cells that the exclusion must hold for at once.")] = 1,
    concepts: Annotated[int | None, typer.Option(help="Say what a null on so many bounds over others.")] = None,
    trials: Annotated[int, typer.Option(help="Trials of each concept.")] = 20,
    icc: Annotated[float, typer.Option(help="How much concepts vary, as intra-class correlation.")] = 0.1,
    margin: Annotated[float | None, typer.Option(help="Say what equivalence within this margin takes.")] = None,
) -> None:
    """Say how many trials per cell find a rate with given power, and how many without a success exclude it.

    With `--concepts`, also what a clean null on so many concepts says of others like them, and with `--margin` what it
    takes to show two arms of that rate equivalent.
    """
    from ..analysis import plan_concepts, plan_equivalence, sample_size

    found = sample_size(rate, power=power, at_least=at_least, confidence=confidence, cells=cells)
    typer.echo(found.sentence)
    if concepts is not None:
        planned = plan_concepts(rate, concepts, trials=trials, icc=icc, confidence=confidence)
        typer.echo("\n".join(planned.sentences))
    if margin is not None:
        with console.working("Simulating"):
            equal = plan_equivalence(
                rate, margin, power=power, confidence=confidence, trials_per_concept=trials, icc=icc
            )
        typer.echo(equal.sentence)
