"""A page of sections alone: sentences and tables, without figures, transcripts or script."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from markupsafe import Markup

from ...boundaries import checked
from ...errors import AnalysisError
from ...files import write_file
from ..tables import Section
from .assets import asset, source_hash, templates


@checked(AnalysisError)
def write_sections(
    path: str | Path,
    title: str,
    sections: Sequence[Section],
    *,
    facts: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write sections as one HTML file that makes no network request and runs no script; returns the path.

    Args:
        path: the file to write; an older one is replaced at once, never half.
        title: the page's heading.
        sections: sentences and tables, in their order; all text in them is escaped.
        facts: terms and texts that stand at the top.
    """
    style = asset("report.css")
    page = (
        templates()
        .get_template("sections.html.j2")
        .render(
            title=title,
            facts=list(facts),
            sections=list(enumerate(sections)),
            version=metadata.version("introspection-bench"),
            style=Markup(style),  # noqa: S704  # our own asset; autoescape would break it
            style_hash=source_hash(style),
        )
    )
    return write_file(Path(path), page.encode("utf-8", "xmlcharrefreplace"))
