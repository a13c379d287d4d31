"""What every page is made with: its templates, its style, and what admits exactly these into a browser."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

import jinja2


def templates() -> jinja2.Environment:
    """Return the templates; whatever is put into them is escaped."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("introspection_bench.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        finalize=lambda value: value.replace(" %", "\u00a0%") if type(value) is str else value,  # "95 %" stays whole
    )


def asset(name: str) -> str:
    """Return the text of one of our own files."""
    return resources.files("introspection_bench.report").joinpath("assets", name).read_text(encoding="utf-8")


def source_hash(text: str) -> str:
    """Return the Content-Security-Policy source that admits exactly this inline text."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
