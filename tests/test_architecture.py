"""The design's rules, read from the sources: who may import whom, and what no module may do."""

from __future__ import annotations

import ast
import re
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

# Rooms of DESIGN.md. A module belongs to the first room whose pattern matches its whole name.
ROOMS = {
    "errors": r"errors|_version",
    "foundations": r"digests|files|databases|freezing|structuring|options|plugins|untrusted|boundaries|credentials",
    "values": "arms|frames|concepts|vectors|injection|identity|templates|scaffolds|reasoning|names|"
    "trials|records|results",
    "ports": r"injectors|injectors\.(base|registry)|judges|judges\.(base|registry|rubrics|blinding|gate)",
    "adapters": r"injectors\..*|judges\..*|demo_model",
    "services": r"extraction|sweep(\..*)?",
    "analysis": r"analysis(\..*)?",
    "report": r"report(\..*)?",
    "interop": r"interop(\..*)?",
    "testing": r"testing(\..*)?",
    "top": r"__init__|__main__|cli(\..*)?|demo(\..*)?",
}
LOWER = {"errors", "foundations", "values"}
MAY_SEE = {
    "errors": {"errors"},
    "foundations": {"errors", "foundations"},
    "values": LOWER,
    "ports": LOWER | {"ports"},
    "adapters": LOWER | {"ports", "adapters"},
    "services": LOWER | {"ports", "services"},
    "analysis": LOWER | {"analysis"},
    "report": LOWER | {"analysis", "report"},
    "interop": LOWER | {"interop"},  # and the store: see ALLOWED
    "testing": LOWER | {"ports", "adapters", "services", "testing"},
    "top": {"*"},
}
#: Single imports beyond their room, each with its reason.
ALLOWED = {
    ("interop", "sweep.store"): "reading a run directory is reading its store",
    ("report", "judges.labels"): "a person's verdicts on a run's replies lie in a file beside its store",
    ("services", "demo_model"): "finds the demo model's folder, which any backend opens",
}


def room(module: str) -> str:
    return next(name for name, pattern in ROOMS.items() if re.fullmatch(pattern, module))


def imports(module: str) -> Iterator[tuple[str, int]]:
    """Every module of ours that a module imports, anywhere in it (inside functions as well), with the line."""
    path = MODULES[module]
    parts = [] if module == "__init__" else module.split(".")
    package = parts if path.name == "__init__.py" else parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names if a.name.split(".")[0] == "introspection_bench"]
            yield from ((name.partition(".")[2] or "__init__", node.lineno) for name in names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            elif node.module and node.module.split(".")[0] == "introspection_bench":
                base = node.module.split(".")[1:]
            else:
                continue
            for alias in node.names:
                target = ".".join([*base, alias.name])
                yield (target if target in MODULES else ".".join(base) or "__init__"), node.lineno


def test_every_module_belongs_to_a_room() -> None:
    homeless = [m for m in MODULES if not any(re.fullmatch(p, m) for p in ROOMS.values())]
    assert homeless == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_the_design_lets_it_see(module: str) -> None:
    mine = room(module)
    wrong = [
        f"{module}:{line} imports {target} ({room(target)})"
        for target, line in imports(module)
        if "*" not in MAY_SEE[mine] and room(target) not in MAY_SEE[mine] and (mine, target) not in ALLOWED
    ]
    assert wrong == []


#: What is known of Hugging Face checkpoints and of any model of theirs: no injector's own, so judges may see it too.
CHECKPOINTS = {f"injectors.hf.{name}" for name in ("loading", "fingerprint", "limits", "caches")} | {"demo_model"}


def test_one_adapter_does_not_import_another_kind() -> None:
    wrong = [
        f"{module}:{line} imports {target}"
        for module in MODULES
        if room(module) == "adapters" and module != "demo_model"
        for target, line in imports(module)
        if room(target) in ("ports", "adapters") and target.split(".")[0] != module.split(".")[0]
        if target not in CHECKPOINTS
    ]
    assert wrong == []


def test_the_import_reader_sees_relative_imports_inside_functions() -> None:
    found = {target for target, _ in imports("scaffolds")}
    assert {"plugins", "injection", "errors"} <= found


@pytest.mark.parametrize("module", MODULES)
def test_a_module_stays_readable_in_length(module: str) -> None:
    lines = MODULES[module].read_text(encoding="utf-8").count("\n")
    assert lines <= 400, f"{module} has {lines} lines: split it"


def test_no_module_is_a_drawer_for_everything() -> None:
    assert [m for m in MODULES if set(m.split(".")) & {"utils", "util", "helpers", "common", "misc"}] == []


def source_files() -> list[Path]:
    folders = ("src", "tests", "examples", "benchmarks", "scripts", "docs")
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
    ("judges.registry", "open_judge"): "hands its options to the explicit signature of the judge's class",
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
    folders = ("src", "tests", "examples", "benchmarks", "scripts", "docs", ".ci")
    files = [p for f in folders for p in (ROOT / f).rglob("*") if p.is_file() and "_build" not in p.parts]
    files += [p for p in ROOT.iterdir() if p.is_file()]
    texts = [p for p in files if p.suffix in suffixes or p.name in ("Makefile", "run")]
    assert [str(p.relative_to(ROOT)) for p in texts if private.search(p.read_text(encoding="utf-8"))] == []
