"""A tiny real model, its vectors and a small grid, for sweeps that take a second."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from introspection_bench.concepts import Concept, ConceptSet
from introspection_bench.extraction import extract
from introspection_bench.injectors.torch.injector import TorchInjector
from introspection_bench.sweep import Grid
from introspection_bench.testing import save_tiny_model
from introspection_bench.trials import Sampling

CONCEPTS = ConceptSet(
    "tiny",
    [Concept("Oceans", word="Oceans"), Concept("Bread", word="Bread")],
    baseline=["Desks", "Jackets", "Clouds"],
)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model("llama", tmp_path_factory.mktemp("tiny") / "llama")


@pytest.fixture(scope="session")
def injector(tiny_folder: Path) -> Iterator[TorchInjector]:
    with TorchInjector.open(str(tiny_folder), device="cpu", batch_size=4) as opened:
        yield opened


@pytest.fixture(scope="session")
def grid(injector: TorchInjector) -> Grid:
    return Grid(
        vectors=extract(injector, CONCEPTS, [1]),
        concepts=CONCEPTS.concepts,
        magnitudes=[0.5, 2.0],
        unit="residual",
        trials=5,
        controls=6,
        sampling=Sampling(max_new_tokens=8),
    )


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
        for path in [Path(name), *Path(name).rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)
