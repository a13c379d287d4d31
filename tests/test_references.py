"""What the package tells its users names no file that only the repository has."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import introspection_bench

PACKAGE = Path(introspection_bench.__file__).parent
#: A path into the repository, but not within a URL.
ELSEWHERE = re.compile(r"(?<![\w./])(?:\.\./)?(?:docs|examples|scripts|benchmarks|tests|training|shared)/[\w*<{]")
#: Where a set of words is from: a value that recorded runs hold, which a new text would make another one.
KEPT = {"control/cast.py: docs/known.md"}


def told(path):
    """The texts of a module that a user may see: all strings but docstrings, and those of commands, which are help."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    silent = set()
    for node in ast.walk(tree):
        if isinstance(node, documented) and ("cli" not in path.parts or isinstance(node, ast.Module)):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                silent.add(first.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in silent:
            yield node.value


def test_no_text_that_users_see_names_a_file_of_the_repository():
    found = {
        f"{path.relative_to(PACKAGE)}: {text[:100]}"
        for path in PACKAGE.rglob("*.py")
        for text in told(path)
        if ELSEWHERE.search(text)
    }
    assert found == KEPT
