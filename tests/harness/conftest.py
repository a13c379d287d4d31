"""A tiny model on disk, and one vector of its width."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import introspection_bench as ib
from introspection_bench.testing import save_tiny_model
from introspection_bench.vectors import Provenance


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model("llama", tmp_path_factory.mktemp("harness") / "llama")


@pytest.fixture(scope="session")
def vector_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = np.random.default_rng(0).standard_normal(64).astype(np.float32)
    made = Provenance("word", "tiny", "0", "0", 1, -1, 1.0, None)
    return ib.ConceptVector(values, "Oceans", 2, made).save(tmp_path_factory.mktemp("vector") / "oceans.safetensors")
