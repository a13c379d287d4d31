"""Sphinx configuration: MyST pages, docstrings by autodoc and napoleon; every warning is an error."""

from __future__ import annotations

import builtins
from importlib.metadata import version as installed_version
from typing import Any

from sphinx.util.nodes import make_refnode

project = "introspection_bench"
author = "The introspection_bench team"
copyright = "2026, The introspection_bench team"
version = release = installed_version("introspection-bench")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]

exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
# Backends whose packages are extras: their modules are documented without being installed.
autodoc_mock_imports = ["vllm", "vllm_lens"]
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# The build needs no network, so other projects' inventories are not fetched: their names are not looked up. Ours are:
# a broken reference to a name of the package fails the build.
_FOREIGN = (
    "abc aiohttp anthropic argparse asyncio attr attrs cattrs click collections concurrent contextlib "
    "dataclasses datetime enum functools hypothesis importlib io json logging matplotlib nnsight np npt numpy "
    "openai os pandas pathlib pd pyarrow pytest re rich safetensors scipy sklearn snowballstemmer sqlite3 "
    "statsmodels tokenizers torch transformers typer types typing typing_extensions vllm vllm_lens"
)
nitpick_ignore_regex = [
    ("py:.*", rf"({'|'.join(_FOREIGN.split())})(\..*)?"),
    ("py:.*", "|".join([*dir(builtins), "[A-Z]"])),  # [A-Z]: type variables
]

html_theme = "furo"
html_title = f"introspection_bench {version}"
html_copy_source = False


def _resolve_bare_name(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Link a name that a docstring gives without its module, where one object of the package alone is called so."""
    if node.get("refdomain") != "py":
        return None
    target = node.get("reftarget", "").removeprefix("ib.")
    objects = env.domaindata["py"]["objects"]
    found = [name for name in objects if name.endswith(f".{target}")]
    if len(found) != 1:
        return None
    entry = objects[found[0]]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, found[0])


_COLON = "\ue000"


def _hide_colons(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    # Napoleon takes what stands before the first colon of an attribute's or property's docstring for its type.
    if what in ("attribute", "data", "property"):
        lines[:] = [line.replace(":", _COLON) for line in lines]


def _show_colons(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def setup(app: Any) -> None:
    """Register the resolver, and the two steps around napoleon (which runs at priority 500)."""
    app.connect("missing-reference", _resolve_bare_name)
    app.connect("autodoc-process-docstring", _hide_colons, priority=400)
    app.connect("autodoc-process-docstring", _show_colons, priority=600)
