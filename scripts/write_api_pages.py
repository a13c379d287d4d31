"""Write docs/api/*.md, one page per room of the package, and docs/cli.md, the command line from its own commands.

Run it after adding, renaming or removing a module, a command or an option: ``tests/test_architecture.py`` and
``tests/test_docs.py`` fail until then.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

from introspection_bench.cli import app

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "introspection_bench"

#: Page: (title, introduction, first parts of the module names; the values stand in the order of a trial's way).
PAGES = {
    "values": (
        "Values",
        "What travels through the package: frozen objects without behaviour of their own beyond algebra, parsing and\n"
        "identity. The common names are also names of the package itself: `introspection_bench.Span` is\n"
        "`introspection_bench.spans.Span`.",
        "doses effects vectors nearest background names concepts items labelled recipes prompts spans injection "
        "templates rendering scaffolds marking conditions identity model_facts mentions measures reasoning verdicts "
        "blinding trials plans records results frames showing notebook digests files databases credentials untrusted "
        "boundaries freezing structuring toml_lines options plugins errors",
    ),
    "injectors": (
        "Injectors",
        "The port, the registry, the backends, the demo's model, and models of known truth.",
        "injectors loading model_names gemma_model demo_model adapters known",
    ),
    "judges": ("Judges", "The port, the registry, rubrics, blinding, and the judges.", "judges"),
    "harness": (
        "Under other harnesses",
        "A steered model as Inspect's tasks ask it.",
        "harness",
    ),
    "services": (
        "Extraction, dosing, sweeps, protocols and experiments",
        "From concepts to vectors, from a design to a run directory, and from a published recipe to a design.",
        "extraction dosing reads_out trying sweep protocols experiments",
    ),
    "analysis": ("Analysis", "Pure functions over trial records.", "analysis"),
    "report": ("Figures and report", "From records to figures and to one HTML file.", "report"),
    "interop": ("Readers and writers", "Other people's result files, and exports.", "interop"),
    "testing": (
        "Testing and control",
        "For authors of backends and judges, for this project's own tests, and for a run on models of known truth.",
        "testing control",
    ),
    "cli": (
        "Modules of the command line",
        "The commands and their options are in [Command line](../cli.md); these are the modules behind them.",
        "cli",
    ),
}


def public_modules() -> list[str]:
    """Return the names of all modules that define a class or a function and have no private part in their name."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts).removesuffix("__init__").rstrip(".")
        body = ast.parse(path.read_text(encoding="utf-8")).body
        defines = any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in body)
        if name and defines and not any(part.startswith("_") for part in name.split(".")):
            found.append(name)
    return found


#: What stands above the commands.
COMMAND_LINE = """\
# Command line

Every command with its arguments and options, written from the commands themselves by `scripts/write_api_pages.py`.
`introspection-bench COMMAND --help` says the same in a terminal. Exit codes: 0, 1 for an error that is told in one
line, 2 for a command that is written wrongly, 130 after Ctrl-C.
"""


def command_line() -> str:
    """Return the page of the command line, as typer documents it, a section for each command."""
    command = get_command(app)
    told = get_docs_for_click(obj=command, ctx=typer.Context(command), name="introspection-bench")
    # Typer's list of commands cuts each sentence off, and the page has headings.
    told = re.sub(r"\*\*Commands\*\*:\n\n(\* .*\n)+\n", "", told)
    told = re.sub(r"\* `--help`: .*\n", "", told)
    told = re.sub(r"\*\*Options\*\*:\n\n(?!\*)", "", told)
    told = re.sub(r"^(#+) `(.*)`$", r"\1 \2", told, flags=re.MULTILINE)
    told = re.sub(r"docs/(\w+\.md)", r"[docs/\1](\1)", told)
    told = told.replace("# introspection-bench\n", COMMAND_LINE, 1)
    return re.sub(r"\n{3,}", "\n\n", told).strip() + "\n"


def main() -> None:
    """Write every page; raise for a module that belongs to none."""
    (ROOT / "docs" / "cli.md").write_text(command_line(), encoding="utf-8")
    modules = public_modules()
    homeless = set(modules)
    for page, (title, introduction, rooms) in PAGES.items():
        order = rooms.split()
        mine = [m for m in modules if m.split(".")[0] in order]
        # Ports and registries come before what is registered.
        mine.sort(key=lambda m: (order.index(m.split(".")[0]), not m.endswith(".base"), not m.endswith(".registry"), m))
        sections = [f"## {m}\n\n```{{eval-rst}}\n.. automodule:: introspection_bench.{m}\n```\n" for m in mine]
        text = "\n".join([f"# {title}\n", f"{introduction}\n", *sections])
        (ROOT / "docs" / "api" / f"{page}.md").write_text(text, encoding="utf-8")
        homeless -= set(mine)
    if homeless:
        raise SystemExit(f"No page for {sorted(homeless)}: add them to PAGES.")


if __name__ == "__main__":
    main()
