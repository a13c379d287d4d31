"""Commands on finished trials: report, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import completing, console

if TYPE_CHECKING:
    from ..analysis.tables import Format
    from ..results import Results

#: How files of tables end, and what is in them.
_ENDINGS: dict[str, Format] = {"csv": "csv", "md": "markdown", "tex": "latex"}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog="Example: `introspection-bench report runs/demo --figures`")(report)
    app.command("import", epilog="Example: `introspection-bench import layer84.judged.json --to runs/405b`")(import_)
    app.command(epilog="Example: `introspection-bench export runs/demo --to demo.parquet`")(export)


def write_outputs(run: Path, *, beside: Path | None = None) -> Path:
    """Write a run's report and figures into its directory, print where they are and the headline table.

    ``beside`` is the run of a model whose truth is known, for the report.
    """
    from ..files import make_own_folder
    from ..interop import read_results
    from ..report import write_figures, write_report

    found = read_results(run)
    with console.working("Report and figures"):
        known = None if beside is None else read_results(beside)
        written = write_report(found, run / "report.html", beside=known)
        figures = write_figures(found, make_own_folder(run / "figures"), formats=("png", "svg", "pdf"))
    print_rates(found)
    console.tell(f"{len(figures)} figure files in {run / 'figures'}")
    console.tell(f"Report: {written}")
    tell_beside(written)
    return written


def tell_beside(page: Path) -> None:
    """Print where a large report's transcripts lie; nothing where they are in the page."""
    from ..report.page.parts import folder_beside

    folder = folder_beside(page)
    if folder.is_dir():
        console.tell(f"Its transcripts: {folder}; keep the two together")


def print_rates(found: Results) -> None:
    """Print the table of cells; nothing is judged, nothing is printed."""
    from ..analysis import narrow_table
    from ..analysis.tables import chosen_note

    if not found.judges:
        return
    first = found.judges[0]
    shared, shown = narrow_table(found.frame(first.judge, first.rubric))
    title = f"{first}; {shared}; k/n and exact 95 % interval in %, for these concepts"
    console.table(title, list(shown.columns), shown.itertuples(index=False))
    if note := chosen_note(len(shown)):
        console.tell(note)


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN_OR_FILE", help="Run directory or results file.")],
    *,
    to: Annotated[Path | None, typer.Option(help="The HTML file; by default report.html in the run.")] = None,
    judge: Annotated[str | None, typer.Option(help="Whose verdicts to show.", autocompletion=completing.judges)] = None,
    rubric: Annotated[str | None, typer.Option(help="Of which rubric.", autocompletion=completing.rubrics)] = None,
    beside: Annotated[
        Path | None,
        typer.Option(help="The run of a model whose truth is known, to show beside (the docs' page control)."),
    ] = None,
    figures: Annotated[bool, typer.Option("--figures", help="Also write PNG, SVG and PDF figures beside it.")] = False,
) -> None:
    """Write the HTML report of a run, or of anybody's results file."""
    from ..files import make_own_folder
    from ..interop import read_results
    from ..report import write_figures, write_report

    found = read_results(run)
    target = to or (run / "report.html" if run.is_dir() else Path(f"{run.stem}-report.html"))
    with console.working("Report"):
        known = None if beside is None else read_results(beside)
        written = write_report(found, target, judge=judge, rubric=rubric, beside=known)
        if figures:
            write_figures(found, make_own_folder(target.parent / "figures"), judge=judge, rubric=rubric)
    console.tell(str(written))
    tell_beside(written)


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN_OR_FILE", help="Run directory or results file.")],
    place: Annotated[
        Path | None, typer.Argument(metavar="[PLACE]", help="For hub a new or empty folder, for inspect a file *.eval.")
    ] = None,
    *,
    to: Annotated[Path, typer.Option(help="The file to write, or hub (Hugging Face), or inspect (a log of Inspect).")],
    format: Annotated[  # noqa: A002  # the word users type
        str | None, typer.Option(help="jsonl, parquet or csv; by default what the file's ending says.")
    ] = None,
    license: Annotated[  # noqa: A002  # the card's own word
        str | None, typer.Option(help="For hub: the data's licence as the hub calls it, such as cc-by-4.0.")
    ] = None,
) -> None:
    """Export trials with replies, receipts, verdicts and readings, and the run's specification."""
    from ..errors import SpecError, explain
    from ..interop import read_results, writer_for
    from ..interop.inspect_log import write_inspect

    kind = str(to) if str(to) in ("hub", "inspect") else "file"
    if (kind == "file") != (place is None) or (kind == "hub") != (license is not None) or (place and format):
        raise SpecError(
            explain(
                "--to",
                required="a file; or hub, a folder and --license; or inspect and a file; --format with the first alone",
                got=f"--to {to}, place {place}, --license {license}, --format {format}",
                hint="As in: export RUN --to hub DIR --license cc-by-4.0, or: export RUN --to inspect run.eval",
            )
        )
    write = writer_for(to, format) if place is None else write_inspect
    found = read_results(run)
    if place is not None and license is not None:
        _write_for_hub(run, found, place, license)
    else:
        write(found, place or to)
    console.tell(f"{len(found)} trials in {place or to}")


def _write_for_hub(run: Path, found: Results, folder: Path, licence: str) -> None:
    """Write a run with its vectors, and a table of rates for each judge in the formats that papers take."""
    from ..analysis import rates_table, render
    from ..interop import write_hub
    from ..vectors import ConceptVector

    tables: dict[str, str] = {}
    for number, name in enumerate(found.judges, 1):
        if name.asked == "own":
            table = rates_table(found.frame(name.judge, name.rubric))
            tables |= {f"rates-{number}.{ending}": render(table, kind) for ending, kind in _ENDINGS.items()}
            tables[f"rates-{number}.md"] = f"Judge: {name}\n\n{tables[f'rates-{number}.md']}"
    vectors = [ConceptVector.load(path) for path in sorted((run / "vectors").glob("*.safetensors"))]
    write_hub(found, folder, license=licence, vectors=vectors, tables=tables)


def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Results files that ib.read_results reads.")],
    *,
    to: Annotated[Path, typer.Option(metavar="RUN", help="Run directory to make.")],
    concepts: Annotated[
        str,
        typer.Option(
            help="Concept set, by name or TOML file, that judges ask about.", autocompletion=completing.concept_sets
        ),
    ] = "pairs",
    columns: Annotated[str, typer.Option(help="Columns of a table of your own: reply=transcript,arm=group,…")] = "",
    arms: Annotated[str, typer.Option(help="Its words for the arms: clean=control,steered=injected,…")] = "",
    unit: Annotated[str | None, typer.Option(help="The unit of its magnitudes.")] = None,
    criteria: Annotated[str, typer.Option(help="Its columns with a judge's answers: affirmative=said_yes,…")] = "",
    success: Annotated[str, typer.Option(help="The criteria that count as success: affirmative,coherent,…")] = "",
) -> None:
    """Make a run of other people's results, to judge, label and report it like one of ours.

    A table of your own (CSV, JSONL or Parquet, one trial a row) is read with --columns and --arms.
    """
    from ..concepts import load_concepts
    from ..interop import TableLayout, read_results, read_table
    from ..sweep import import_results
    from ..verdicts import CRITERIA

    if columns or arms or unit is not None or criteria or success:
        layout = TableLayout(
            columns=_pairs("--columns", columns),
            arms=_pairs("--arms", arms),
            unit=unit,
            criteria=_pairs("--criteria", criteria),
            success=tuple(name.strip() for name in success.split(",") if name.strip()) or CRITERIA,
        )
        found_in = [read_table(f, layout) for f in files]
    else:
        found_in = [read_results(f) for f in files]
    with import_results(found_in, to, load_concepts(concepts)) as store:
        found = len(store.recorded())
    console.tell(f"{found} trials in {to}")


def _pairs(option: str, text: str) -> dict[str, str]:
    """Read ``a=b,c=d``."""
    from ..errors import SpecError, explain

    parts = [part.partition("=") for part in text.split(",") if part.strip()]
    found = {name.strip(): value.strip() for name, _, value in parts}
    if not all(name and value for name, value in found.items()) or len(found) != len(parts):
        raise SpecError(
            explain(option, required="name=value,name=value, each name once", got=text or "nothing", hint="")
        )
    return found
