"""A page over several runs: what each is, how far it is and what it found, with a link to its report."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from urllib.parse import quote

import attrs
from markupsafe import Markup

from ...boundaries import checked, guarded
from ...errors import AnalysisError, OutputError, explain
from ...files import write_file
from ...freezing import frozen_tuple
from ...untrusted import regular_file
from ..wording import plural
from .assets import asset, source_hash, templates

#: How often the page of runs that go on loads itself again, in seconds.
RELOAD_S = 30
#: What stands in the head of such a page, and of no report.
_OURS = b'<meta name="generator" content="introspection_bench view">'
_HEAD_BYTES = 4096


@guarded(AnalysisError)
@attrs.frozen
class ListedRun:
    """One run in a list of runs.

    ``run`` is where it lies, ``spec`` the protocol or the scaffolds, ``recorded`` how many of its ``planned`` trials
    are there, ``judged`` how many of them a judge has scored, ``headline`` successes and controls in a line. ``report``
    is its report's file, None where there is none. ``error`` says why a run can't be read; then the rest is not known.
    """

    run: str
    model: str | None = None
    spec: str | None = None
    planned: int | None = None
    recorded: int | None = None
    judged: int | None = None
    headline: str | None = None
    report: Path | None = None
    error: str | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing is left to generate, as far as can be told."""
        return self.error is not None or self.recorded == self.planned


@guarded(AnalysisError)
@attrs.frozen
class _Shown:
    """A run as the page shows it; ``link`` is its report's address, seen from the page."""

    run: ListedRun
    link: str | None
    parts: tuple[str, ...] = attrs.field(converter=frozen_tuple)


@checked(AnalysisError)
def write_run_index(runs: Sequence[ListedRun], path: str | Path, *, title: str = "Runs") -> Path:
    """Write a page over some runs as one HTML file that makes no network request.

    Links to reports are relative: the page moves together with the folder of the runs. While one of them is not
    finished the page loads itself again every 30 seconds, unless the reader switches that off; whoever writes it must
    write it again (``introspection-bench view --watch`` does). A script does that and no ``meta`` element: those can't
    be switched off, and so are a fault to WCAG 2.2.1.

    Args:
        runs: in the order in which they are shown.
        path: the file; its folder is made. An older such page is replaced at once, never half.
        title: the page's heading.

    Raises:
        OutputError: the file can't be written, or is there and no such page.
    """
    path = Path(path)
    _check_ours(path)
    shown = [_Shown(run, _link(run.report, path), run.headline.split(", ") if run.headline else []) for run in runs]
    style, script = asset("report.css"), asset("runs.js")
    page = (
        templates()
        .get_template("runs.html.j2")
        .render(
            title=title,
            counted=plural(len(runs), "run"),
            shown=shown,
            goes_on=not all(run.finished for run in runs),
            reload=RELOAD_S,
            written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
            version=metadata.version("introspection-bench"),
            style=Markup(style),  # noqa: S704  # our own asset; autoescape would break it
            script=Markup(script),  # noqa: S704  # our own asset
            style_hash=source_hash(style),
            script_hash=source_hash(script),
        )
    )
    return write_file(path, page.encode("utf-8", "xmlcharrefreplace"))


def _link(report: Path | None, page: Path) -> str | None:
    if report is None:
        return None
    return quote(os.fsencode(os.path.relpath(report.absolute(), page.absolute().parent)))


def _check_ours(path: Path) -> None:
    try:
        with regular_file(path, sys.maxsize).open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, ValueError):  # not there; or not to be written either, which the writer says
        return
    if _OURS not in head:
        raise OutputError(
            explain(str(path), required="no file yet, or an older such page", got="another file", hint="Name one.")
        )
