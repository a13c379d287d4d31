"""What is found of real models, and the second one that packages carry, where somebody has installed it."""

from __future__ import annotations

from pathlib import Path

import pytest

import introspection_bench as ib
from introspection_bench import gemma_model
from introspection_bench.errors import ModelError, ModelNotFoundError
from introspection_bench.injectors.hf.telling import facts_of
from introspection_bench.loading import load


def test_the_demos_model_tells_its_size_and_the_package_the_rest(smol_path: Path) -> None:
    loaded = load(smol_path, device="cpu")
    found = facts_of(loaded.model, loaded.tokenizer)
    assert (found.architecture, found.parameters, found.chat_template) == ("llama", 134_515_008, True)
    assert ib.ModelSpec("demo").facts.or_else(found).quantisation == "Q4_1"


@pytest.fixture(scope="module")
def gemma() -> Path:
    """The converted model; whoever installed it accepted its terms, so that no test does."""
    try:
        gemma_model.gemma_parts()
    except ModelNotFoundError as error:
        pytest.skip(str(error))
    return gemma_model.gemma_path()


@pytest.mark.slow
def test_the_second_model_is_dequantised_so_that_it_answers_sensibly(gemma: Path) -> None:
    loaded = load(gemma, device="cpu")
    ids = loaded.tokenizer("Q: What is the capital of France?\nA:", return_tensors="pt")
    said = loaded.model.generate(**ids, max_new_tokens=8, do_sample=False)
    assert "Paris" in loaded.tokenizer.decode(said[0])
    assert loaded.model.num_parameters() == 268_098_176
    assert loaded.model.config.layer_types.count("full_attention") == 3
    assert loaded.tokenizer("Hello world").input_ids == [2, 9259, 1902]
    assert not loaded.tokenizer.chat_template


def test_parts_that_are_not_the_published_file_are_refused_and_leave_nothing(tmp_path: Path, monkeypatch) -> None:
    for package, name in gemma_model._PARTS.items():
        (tmp_path / package / "data").mkdir(parents=True)
        (tmp_path / package / "__init__.py").write_text("raise ImportError('nothing of a package may run')")
        (tmp_path / package / "data" / name).write_bytes(b"GGUF" + name.encode())
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("INTROSPECTION_BENCH_CACHE", str(tmp_path / "cache"))
    assert [p.name[-1] for p in gemma_model.gemma_parts()] == list("0123")
    with pytest.raises(ModelError, match=r"SHA-256 a5fd3b62230a"):
        gemma_model.gemma_path()
    assert not gemma_model.gemma_is_converted()
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_the_wheels_it_is_said_how_they_come_and_under_which_terms(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("INTROSPECTION_BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ModelNotFoundError, match=r"0 of 4 parts.*\[gemma\].*ai.google.dev/gemma/terms"):
        ib.ModelSpec("gemma3-270m").open()
