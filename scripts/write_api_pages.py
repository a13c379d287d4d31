"""Write docs/api/*.md: one page per room of the package, one section per public module that defines something.

Run it after adding, renaming or removing a module; ``tests/test_architecture.py`` fails until then.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "introspection_bench"

#: Page: (title, introduction, first parts of the module names; the values stand in the order of a trial's way).
PAGES = {
    "values": (
        "Values",
        "What travels through the package: frozen objects without behaviour of their own beyond algebra, parsing and\n"
        "identity. The common names are also names of the package itself: `introspection_bench.Span` is\n"
        "`introspection_bench.spans.Span`.",
        "doses effects vectors background names concepts items labelled recipes prompts spans injection templates "
        "rendering scaffolds marking conditions identity model_facts mentions measures reasoning verdicts blinding "
        "trials plans records results frames showing digests files databases credentials untrusted boundaries freezing "
        "structuring options plugins errors",
    ),
    "injectors": (
        "Injectors",
        "The port, the registry, the backends, the demo's model, and models of known truth.",
        "injectors loading model_names gemma_model demo_model adapters known",
    ),
    "judges": ("Judges", "The port, the registry, rubrics, blinding, and the judges.", "judges"),
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
        "Command line",
        "`introspection-bench --help` shows the commands with examples; these are the modules behind them.",
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


def main() -> None:
    """Write every page; raise for a module that belongs to none."""
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
