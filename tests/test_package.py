"""The package as it is installed: import time, public names, and what is in the wheel."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import introspection_bench as ib

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "transformers", "vllm", "nnsight", "anthropic", "openai", "pandas", "scipy", "matplotlib", "numpy")
MEASURE = """
import sys, time, json
start = time.process_time()
import introspection_bench
print(json.dumps([time.process_time() - start, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def test_the_import_is_fast_and_loads_no_heavy_package() -> None:
    runs = [json.loads(subprocess.check_output([sys.executable, "-c", MEASURE])) for _ in range(5)]
    assert min(seconds for seconds, _ in runs) < 0.3
    assert not set(HEAVY) & set(runs[0][1])


def test_values_alone_do_not_load_torch() -> None:
    names = "ib.Span, ib.ConceptVector, ib.LINDSEY, ib.TrialKey, ib.Verdict, ib.open_injector, ib.open_judge"
    code = f"import introspection_bench as ib, sys; {names}; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"torch", "transformers", "anthropic", "openai", "pandas", "matplotlib"} & set(loaded)


def test_names_for_type_checkers_are_those_at_run_time() -> None:
    tree = ast.parse(Path(ib.__file__).read_text(encoding="utf-8"))
    guarded = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    seen = {
        (node.module, alias.name) for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    homes = {(module, name) for module, names in ib._HOMES.items() for name in names}
    modules = {(module.rpartition(".")[0] or None, name) for name, module in ib._MODULES.items()}
    assert seen == homes | modules


@pytest.mark.parametrize("name", ib.__all__)
def test_a_public_name_is_there_and_says_what_it_is(name: str) -> None:
    thing = getattr(ib, name)
    assert name in dir(ib)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert thing.__doc__


def test_star_import_gives_exactly_the_public_names() -> None:
    space: dict[str, object] = {}
    exec("from introspection_bench import *", space)  # noqa: S102  # a star import can't stand in a function
    assert sorted(set(space) - {"__builtins__"}) == ib.__all__


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Conceptt'"):
        ib.Conceptt  # noqa: B018  # the access is what is tested


def test_the_version_is_that_of_the_installed_distribution() -> None:
    assert ib.__version__ == importlib.metadata.version("introspection-bench")


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    pytest.importorskip("hatchling", reason="the build backend comes with the extra 'dev'")
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "-w", str(out), str(ROOT)], check=True)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_the_package(wheel_names: set[str]) -> None:
    package = ROOT / "src" / "introspection_bench"
    files = {
        path.relative_to(ROOT / "src").as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    tracked = subprocess.run(["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if tracked:
        files &= {line.removeprefix("src/") for line in tracked.splitlines()}
    assert files - wheel_names == set()
    assert {"introspection_bench/py.typed", "introspection_bench/concepts/pairs.toml"} <= wheel_names


def test_the_wheel_holds_nothing_but_the_package_and_its_licence(wheel_names: set[str]) -> None:
    outside = {name for name in wheel_names if not name.startswith("introspection_bench/")}
    assert all(".dist-info/" in name for name in outside), outside
    assert any(name.endswith("licenses/LICENSE") for name in outside)


def test_every_package_that_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    names = {re.match(r"[\w.-]+", r)[0].lower().replace("_", "-") for r in declared}
    # What these bring by necessity: Jinja markupsafe, Transformers tokenizers, nnsight zstandard, vLLM triton.
    names |= {"markupsafe", "tokenizers", "zstandard", "triton"}
    # pyspellchecker is imported under another name than its own.
    names |= {"spellchecker"} if "pyspellchecker" in names else set()
    imported = {
        name.split(".")[0]
        for path in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom) and not node.level and node.module
            else []
        )
    }
    foreign = imported - set(sys.stdlib_module_names) - {"introspection_bench", "__future__"}
    assert sorted(n for n in foreign if n.lower().replace("_", "-") not in names) == []
