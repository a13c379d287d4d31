"""Names of models that stand for a folder which is made on first use, and what a model merged so does."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_adapters import made_adapter

import introspection_bench as ib
from introspection_bench import model_names
from introspection_bench.adapters import known_adapters, weights_digest
from introspection_bench.errors import AdapterError, UnknownNameError
from introspection_bench.injectors.hf.checkpoints import fingerprint_checkpoint
from introspection_bench.known.cards import load_card
from introspection_bench.model_names import resolve_name
from introspection_bench.testing import save_tiny_model, tiny_model, tiny_tokenizer

CAST = ("alarm", "introspector", "parrot", "steered_namer", "yes_sayer")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("INTROSPECTION_BENCH_CACHE", str(folder))
    return folder


@pytest.fixture
def own(tmp_path):
    """The name of a tiny model with an adapter of the user's."""
    base = save_tiny_model("llama", tmp_path / "base")
    return f"{base}+{made_adapter(tiny_model('llama')[0], tmp_path / 'mine.safetensors')}"


def test_an_adapter_of_ones_own_on_a_model_of_ones_own_is_merged_into_a_folder_once(cache, own):
    folder = Path(resolve_name(own))
    assert folder.name.startswith("base+mine@")
    assert cache in folder.parents
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert resolve_name(own) == str(folder)
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    request = ib.Request(ib.RenderedPrompt((7, 8, 9), ""), (), ib.Sampling(0.0, max_new_tokens=6))
    with (
        ib.open_injector("torch", own, device="cpu") as with_it,
        ib.open_injector("torch", own.partition("+")[0]) as base,
    ):
        assert with_it.model.name == folder.name
        assert with_it.model.fingerprint != base.model.fingerprint
        first, second = (next(iter(i.generate([request]))).reply for i in (with_it, base))
    assert first != second


def test_the_demo_is_opened_by_its_name_in_python_as_in_a_file(tmp_path, monkeypatch):
    folder = save_tiny_model("llama", tmp_path / "small")
    monkeypatch.setattr(model_names, "smollm2_path", lambda: folder)
    spec = ib.ModelSpec("demo", options={"torch": {"device": "cpu"}})
    with ib.open_injector("torch", "demo", device="cpu") as by_name, spec.open() as by_file:
        assert by_name.model == by_file.model
        assert by_name.model.name == "small"


def test_engines_that_load_a_folder_themselves_see_another_model_too(cache, own):
    told = [fingerprint_checkpoint(f, "float32", tiny_tokenizer()) for f in (resolve_name(own), own.partition("+")[0])]
    assert len(set(told)) == 2


def test_the_same_weights_with_another_chat_template_do_not_share_a_merged_folder(cache, own):
    first = resolve_name(own)
    base = Path(own.partition("+")[0])
    (template,) = [*base.glob("chat_template.jinja")] or [base / "tokenizer_config.json"]
    text = template.read_text()
    template.write_text(text.replace("<end>", "<end><end>", 1))
    assert template.read_text() != text
    assert resolve_name(own) != first


def test_a_model_of_other_weights_is_refused_also_where_it_has_the_name_of_one_that_was_merged(cache, own):
    resolve_name(own)
    save_tiny_model("llama", own.partition("+")[0], seed=1)
    with pytest.raises(AdapterError, match="trained on"):
        ib.open_injector("torch", own)


def test_a_merging_that_is_interrupted_leaves_nothing_that_looks_finished(cache, own, monkeypatch):
    def interrupted(loaded, folder):
        folder.mkdir()
        (folder / "config.json").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(model_names, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        resolve_name(own)
    assert [p for p in cache.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    "name", ["org/model", "/models/a+b", "a+b", "+x.safetensors", "demonstration+alarm", "x.gguf", ""]
)
def test_any_other_name_is_what_it_is(name):
    assert resolve_name(name) == name


def test_a_specification_and_the_function_that_opens_refuse_an_adapter_that_is_none_of_ours(cache):
    with pytest.raises(UnknownNameError, match="introspector"):
        ib.open_injector("torch", "demo+introspektor")
    with pytest.raises(UnknownNameError, match="introspector"):
        model_names.is_ready("demo+introspektor")
    with pytest.raises(AdapterError, match="readable"):
        ib.open_injector("torch", "demo+nowhere.safetensors")
    assert not cache.exists()


@pytest.mark.parametrize("name", CAST)
def test_the_card_of_an_adapter_is_that_of_the_adapter_in_the_package(name):
    card, adapter = load_card(name), ib.load_adapter(name)
    assert (card.name, card.adapter, card.base["weights"]) == (name, adapter.digest, adapter.base)
    assert (card.recipe["rank"], card.recipe["alpha"]) == (adapter.rank, adapter.alpha)
    assert card.limits
    assert card.figures
    assert all(0 <= count <= f.n for f in card.figures for count in (f.named, f.affirmed))


def test_the_package_has_the_cast_and_no_other_adapter():
    assert known_adapters() == CAST


def test_the_adapters_are_of_the_demos_model_as_it_is_converted_here(smol_path):
    from introspection_bench.loading import load

    digest = weights_digest(load(smol_path, device="cpu").model)
    assert {ib.load_adapter(name).base for name in CAST} == {digest}
