"""The command that shows the runs of a folder as a page: view."""

from __future__ import annotations

import os
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import console
from .overview import rows_of

if TYPE_CHECKING:
    from ..report.page.runs import ListedRun


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog="Example: `introspection-bench view runs --watch`")(view)


def view(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with runs, at any depth.")] = Path("runs"),
    *,
    to: Annotated[Path | None, typer.Option(help="The HTML file; by default index.html in DIR.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Write it anew every 30 s until all is finished.")] = False,
    browser: Annotated[bool, typer.Option(help="Open it in a browser.")] = True,
) -> None:
    """Write and open a page over the runs in a folder: one file, no server, with links to their reports.

    It says of each run what `runs` lists: model, what was asked, trials done, judged, and strict successes with
    controls. While a run goes on the page loads itself again; `--watch` keeps it up to date, until Ctrl-C.
    """
    from ..report import write_run_index
    from ..report.page.runs import RELOAD_S

    target = to or directory / "index.html"
    listed = _listed(directory)
    written = write_run_index(listed, target, title=f"Runs in {directory}")
    console.tell(str(written))
    if browser:
        open_page(written)
    left = [run.run for run in listed if not run.finished]
    if left and not watch:
        console.say(f"{len(left)} not finished; --watch keeps the page up to date.")
    while watch and left:
        console.clock.wait(threading.Event(), RELOAD_S)
        listed = _listed(directory)
        write_run_index(listed, target, title=f"Runs in {directory}")
        left = [run.run for run in listed if not run.finished]


def open_page(page: Path) -> None:
    """Open a page in the browser, where somebody looks: nobody does in CI or on a machine without a display."""
    display = os.name != "posix" or os.uname().sysname == "Darwin" or os.environ.get("DISPLAY")
    if display and not os.environ.get("CI"):
        webbrowser.open(page.resolve().as_uri())


def _listed(directory: Path) -> list[ListedRun]:
    return [_run(directory, row) for row in rows_of(directory)]


def _run(directory: Path, row: dict[str, Any]) -> ListedRun:
    from ..report import ListedRun

    report = Path(row["run"]) / "report.html"
    told = {name: row[name] for name in ("model", "spec", "planned", "recorded", "judged", "headline", "error")}
    name = os.path.relpath(row["run"], directory)
    return ListedRun(str(directory) if name == "." else name, **told, report=report if report.is_file() else None)
