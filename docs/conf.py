"""Sphinx configuration: MyST pages, docstrings by autodoc and napoleon; every warning is an error."""

from __future__ import annotations

import ast
import builtins
import importlib
import re
from hashlib import sha256
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import attrs
from sphinx.addnodes import pending_xref
from sphinx.util.nodes import make_refnode

project = "introspection_bench"
author = "The introspection_bench team"
copyright = "2026, The introspection_bench team"
version = release = installed_version("introspection-bench")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
if not tags.has("check"):  # noqa: F821  # Sphinx gives the name; 250 pages of source take longer than all others
    extensions.append("sphinx.ext.viewcode")

exclude_patterns = ["_build"]
source_suffix = {".md": "myst-nb"}

# A page with code cells is a notebook: its cells run while the pages are built, and an error in one fails the build.
# What came out is kept until a cell or the package's code changes.
_SOURCES = sorted((Path(__file__).parent.parent / "src").rglob("*.py"))
nb_execution_mode = "cache"
nb_execution_cache_path = str(
    Path(__file__).parent / "_build" / "notebooks" / sha256(b"".join(p.read_bytes() for p in _SOURCES)).hexdigest()[:16]
)
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 300
nb_output_stderr = "remove"  # libraries' bars; what fails is raised

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3

autodoc_typehints = "signature"
# Long signatures have a line for each parameter, and types without the module that they are of.
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
# Backends whose packages are extras: their modules are documented without being installed.
autodoc_mock_imports = ["inspect_ai", "triton", "vllm", "vllm_lens"]
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# The build needs no network, so other projects' inventories are not fetched: their names are not looked up. Ours are:
# a broken reference to a name of the package fails the build.
_FOREIGN = (
    "abc aiohttp anthropic argparse asyncio attr attrs cattrs click collections concurrent contextlib "
    "dataclasses datetime enum functools hypothesis importlib inspect_ai io json logging matplotlib nn nnsight np npt "
    "numpy openai os pa pandas pathlib pd pyarrow pytest _pytest ray re rich safetensors scipy sklearn snowballstemmer "
    "sqlite3 "
    "statsmodels tokenizers torch transformers triton typer types typing typing_extensions vllm vllm_lens"
)
# A default is shown as it is written: that of run_control is a page of values.
autodoc_preserve_defaults = True
nitpick_ignore_regex = [
    ("py:.*", rf"({'|'.join(_FOREIGN.split())})(\..*)?"),
    ("py:.*", "|".join([*dir(builtins), "[A-Z]"])),  # [A-Z]: type variables
    ("py:class", r"introspection_bench\.(.*\.)?_.*"),  # private base classes
    ("py:class", "Figure|Axes|Path|Tensor"),  # imported for type checkers alone
]

html_theme = "furo"
html_title = f"introspection_bench {version}"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_js_files = ["docs.js"]


def _find(target: str, module: str | None, owner: str | None) -> Any:
    """Return the object of ours that a reference means, seen from where it stands; None if there is none."""
    homes = [f"{module}.{owner}", module, "introspection_bench", "introspection_bench.errors", ""]
    for home in filter(None, homes) if not target.startswith("introspection_bench") else [""]:
        path = f"{home}.{target}".strip(".").split(".")
        for cut in range(len(path), 0, -1):
            try:
                found: Any = importlib.import_module(".".join(path[:cut]))
                for name in path[cut:]:
                    found = getattr(found, name)
            except (ImportError, AttributeError):
                continue
            return found
    return None


def _resolve_own_name(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Resolve a name of ours that Sphinx can't: without its module, or by the package that re-exports it.

    What exists but has no entry of its own in the reference (a field, a constant) is accepted without a link; what
    does not exist stays a warning, and so fails the build.
    """
    if node.get("refdomain") != "py":
        return None
    target = node.get("reftarget", "").removeprefix("ib.")
    documented = env.domaindata["py"]["objects"]
    found = _find(target, node.get("py:module"), node.get("py:class"))
    names = [f"{getattr(found, '__module__', None)}.{getattr(found, '__qualname__', None)}"]
    module = node.get("reftype") == "mod"
    alike = [
        name
        for name, entry in documented.items()
        if name.endswith(f".{target}") and (entry.objtype == "module") == module
    ]
    names += alike if len(alike) == 1 else []
    for name in names:
        if name in documented:
            entry = documented[name]
            return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, name)
    return contnode if found is not None else None


def _see_from_its_module(app: Any, doctree: Any) -> None:
    # A type in a signature would be looked up by its last part, and be ambiguous where two modules have the name.
    for node in doctree.findall(pending_xref):
        node.attributes.pop("refspecific", None)


_COLON = "\ue000"


def _hide_colons(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    # Napoleon takes what stands before the first colon for a type: in the docstring of an attribute or property, and
    # in a Returns section. Here both are prose; types are in the annotations.
    prose = what in ("attribute", "data", "property")
    returns = False
    for number, line in enumerate(lines):
        if line and not line[0].isspace():
            returns = line.strip() in ("Returns:", "Yields:")
        if prose or (returns and line[:1].isspace()):
            lines[number] = line.replace(":", _COLON)


def _show_colons(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def _plain(value: Any) -> str:
    try:
        ast.literal_eval(repr(value))
    except (ValueError, SyntaxError):
        return "..."
    return repr(value)


def _show_defaults(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    # attrs writes the default of a field as a place in a dictionary of its own.
    if signature and "attr_dict[" in signature:
        defaults = {field: _plain(it.default) for field, it in attrs.fields_dict(obj).items()}
        signature = re.sub(r"attr_dict\['(\w+)'\]\.default", lambda found: defaults[found[1]], signature)
    return signature, returned


def setup(app: Any) -> None:
    """Register the resolver, and the two steps around napoleon (which runs at priority 500)."""
    app.connect("doctree-read", _see_from_its_module)
    app.connect("missing-reference", _resolve_own_name)
    app.connect("autodoc-process-signature", _show_defaults)
    app.connect("autodoc-process-docstring", _hide_colons, priority=400)
    app.connect("autodoc-process-docstring", _show_colons, priority=600)
