"""The design's rules, read from the sources: who may import whom, and what no module may do."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "introspection_bench"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__") or "__init__": path
    for path in sorted(PACKAGE.rglob("*.py"))
}
MODULES["__init__"] = PACKAGE / "__init__.py"


def lint_imports(source: Path) -> subprocess.CompletedProcess[str]:
    """Check the package in a folder against the contracts in pyproject.toml."""
    command = [Path(sys.executable).with_name("lint-imports"), ROOT / "pyproject.toml", "--no-cache", "--no-logo"]
    env = {**os.environ, "PYTHONPATH": str(source)}
    return subprocess.run(command, cwd=source, env=env, capture_output=True, text=True)


def test_every_module_has_a_room_and_imports_only_what_the_design_lets_it_see() -> None:
    found = lint_imports(ROOT / "src")
    assert found.returncode == 0, found.stdout + found.stderr


def test_imports_against_the_design_are_found_within_functions_too(tmp_path: Path) -> None:
    package = tmp_path / PACKAGE.name
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "stray.py").touch()
    for module, line in (
        ("spans.py", "from . import scaffolds"),
        ("analysis/rates.py", "from ..judges import base"),
        ("interop/readers.py", "from ..sweep.store import Store"),
    ):
        with (package / module).open("a") as file:
            file.write(f"\n\ndef late():\n    {line}\n")
    told = lint_imports(tmp_path).stdout
    for words in (
        "introspection_bench.stray",
        ".spans -> .scaffolds",
        "introspection_bench.analysis.rates -> introspection_bench.judges.base",
        "introspection_bench.interop.readers -> introspection_bench.sweep.store",
    ):
        assert words in told.replace("\n", " ").replace("  ", " "), told


@pytest.mark.parametrize("module", MODULES)
def test_a_module_stays_readable_in_length(module: str) -> None:
    lines = MODULES[module].read_text(encoding="utf-8").count("\n")
    assert lines <= 400, f"{module} has {lines} lines: split it"


def test_no_module_is_a_drawer_for_everything() -> None:
    assert [m for m in MODULES if set(m.split(".")) & {"utils", "util", "helpers", "common", "misc"}] == []


def source_files() -> list[Path]:
    folders = ("src", "tests", "examples", "benchmarks", "training", "scripts", "docs")
    return [p for f in folders for p in sorted((ROOT / f).rglob("*.py")) if "_build" not in p.parts]


def test_every_suppressed_check_has_its_reason_beside_it() -> None:
    bare = []
    directive = re.compile(r"#\s*(noqa|type:\s*ignore)(:\s*[A-Z0-9, ]+|\[[\w, -]+\])?\s*(?P<rest>.*)")
    for path in source_files():
        with path.open("rb") as file:
            comments = [t for t in tokenize.tokenize(file.readline) if t.type == tokenize.COMMENT]
        for token in comments:
            match = directive.match(token.string)
            if match and not (match[2] and re.match(r"(#|--)\s*\S.{3,}", match["rest"])):
                bare.append(f"{path.relative_to(ROOT)}:{token.start[0]}: {token.string}")
    assert bare == []


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


#: The one file that may, with the reason.
PICKLES = {
    "src/introspection_bench/injectors/vllm_lens/injector.py": "vllm-lens passes hooks that way within its engine",
}


def test_nothing_loads_a_pickle() -> None:
    wrong = []
    for path in source_files():
        # Tests may pickle: they write hostile files, and stand in for other people's servers.
        if path.relative_to(ROOT).as_posix() in PICKLES or path.is_relative_to(ROOT / "tests"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            wrong += [f"{path}: import {n}" for n in names if n in {"pickle", "cPickle", "dill", "joblib", "shelve"}]
        for name, call in calls(path):
            given = {k.arg: ast.unparse(k.value) for k in call.keywords}
            unsafe = name.endswith("torch.load") and given.get("weights_only") != "True"
            unsafe |= given.get("allow_pickle") == "True" or name.endswith("read_pickle")
            wrong += [f"{path}:{call.lineno}: {name}"] if unsafe else []
    assert wrong == []


#: Where ** is the honest signature, with the reason.
OPEN_SIGNATURES = {
    ("injectors.registry", "open_injector"): "hands its options to the explicit signature of a backend's open()",
    (
        "injectors.vllm.worker",
        "SteeringWorker.__init__",
    ): "hands on what vLLM gives a worker",
    ("injectors.vllm.worker", "SteeringWorker.load_model"): "as its constructor",
    ("judges.registry", "open_judge"): "hands its options to the explicit signature of the judge's class",
    ("measures.readings", "Reading.at"): "takes the names of the reading's own axes, and refuses any other",
    ("templates", "Tokenizer.__call__"): "describes Hugging Face's own method",
    ("templates", "Tokenizer.apply_chat_template"): "describes Hugging Face's own method",
}


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name, node  # what is defined inside a function is not public
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.If | ast.Try | ast.With):
            yield from functions(node, prefix)


def test_no_public_signature_swallows_misspelt_options() -> None:
    wrong = []
    for module, path in MODULES.items():
        for name, node in functions(ast.parse(path.read_text(encoding="utf-8"))):
            private = any(
                part.startswith("_") and not part.startswith("__") for part in (*module.split("."), *name.split("."))
            )
            if node.args.kwarg and not private and (module, name) not in OPEN_SIGNATURES:
                wrong.append(f"{module}.{name}(**{node.args.kwarg.arg})")
    assert wrong == []


def test_every_module_postpones_its_annotations() -> None:
    without = [
        module
        for module, path in MODULES.items()
        if "from __future__ import annotations" not in (text := path.read_text(encoding="utf-8"))
        and re.search(r"^(class|def|async def) ", text, re.M)
    ]
    assert without == []


def test_every_public_module_is_in_the_api_reference() -> None:
    pages = "\n".join(p.read_text(encoding="utf-8") for p in sorted((ROOT / "docs" / "api").glob("*.md")))
    documented = set(re.findall(r"automodule:: introspection_bench\.?(\S*)", pages))
    # A package whose __init__ only re-exports is documented by its modules.
    public = {m for m, p in MODULES.items() if not any(part.startswith("_") for part in m.split(".")) and defines(p)}
    assert sorted(public - documented) == [], "run scripts/write_api_pages.py"


def defines(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for n in tree.body)


def test_no_committed_text_names_a_private_place() -> None:
    # Paths of the machine that wrote the code, and registries, say nothing to a reader.
    private = re.compile(r"/w[o]rk/|/r[o]ot/|pypi\.[o]rg/simple|files\.python[h]osted")
    suffixes = {".py", ".md", ".toml", ".txt", ".sh", ".yml", ".html", ".json"}
    folders = ("src", "tests", "examples", "benchmarks", "training", "scripts", "docs", ".ci")
    files = [p for f in folders for p in (ROOT / f).rglob("*") if p.is_file() and "_build" not in p.parts]
    files += [p for p in ROOT.iterdir() if p.is_file()]
    texts = [p for p in files if p.suffix in suffixes or p.name in ("Makefile", "run")]
    assert [str(p.relative_to(ROOT)) for p in texts if private.search(p.read_text(encoding="utf-8"))] == []
