"""A tiny real model and a small design, for sweeps that take a second."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from introspection_bench.concepts import Concept, ConceptSet
from introspection_bench.injectors.torch.injector import TorchInjector
from introspection_bench.sweep import Design, Injected, PlannedTrial, Sweep, Unsteered
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
def design() -> Design:
    return Design(
        concepts=CONCEPTS,
        layers=[1],
        doses=["0.5 residual", "2 residual"],
        arms=[Unsteered(6), Injected(5)],
        sampling=Sampling(max_new_tokens=8),
    )


def planned(design: Design, injector: TorchInjector) -> list[PlannedTrial]:
    """The plan of a design on a model, in no run."""
    return Sweep(design, injector, Path("/no/such/run")).planned


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
        for path in [Path(name), *Path(name).rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)
