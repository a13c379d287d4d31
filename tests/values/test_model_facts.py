"""Facts of a model: what is stated, what is found, and what a reader is shown of them."""

from __future__ import annotations

import pytest

from introspection_bench.errors import SpecError
from introspection_bench.model_facts import ModelFacts
from introspection_bench.model_names import known_facts


@pytest.mark.parametrize(
    ("parameters", "size"),
    [
        (134_515_008, "135M"),
        (268_098_176, "268M"),
        (1_711_376_384, "1.71B"),
        (999_700_000, "1B"),
        (405_853_388_800, "406B"),
        (3_000, "3K"),
        (7, "7"),
        (None, None),
    ],
)
def test_a_size_is_the_number_of_parameters_to_three_digits(parameters, size) -> None:
    assert ModelFacts(parameters=parameters).size == size


def test_what_is_stated_stands_before_what_was_found() -> None:
    found = ModelFacts(architecture="llama", parameters=100, quantisation="none", chat_template=True)
    stated = ModelFacts(family="SmolLM2", quantisation="Q4_1")
    assert stated.or_else(found) == ModelFacts("SmolLM2", "llama", 100, None, "Q4_1", True)  # a field


def test_a_stated_size_may_be_rounded_and_must_not_be_another_models() -> None:
    found = ModelFacts(parameters=134_515_008, chat_template=False)
    ModelFacts(parameters=135_000_000).check(found, "m")
    with pytest.raises(SpecError, match=r"facts of m.*134515008.*360000000"):
        ModelFacts(parameters=360_000_000).check(found, "m")
    with pytest.raises(SpecError, match="chat_template"):
        ModelFacts(chat_template=True).check(found, "m")


def test_facts_in_somebodys_results_are_read_strictly() -> None:
    assert ModelFacts.of_spec({}) == ModelFacts()
    told = {"model": {"facts": {"family": "A"}}, "found": {"facts": {"family": "B", "parameters": 5}}}
    assert ModelFacts.of_spec(told) == ModelFacts("A", parameters=5)
    for wrong in ({"parameters": "5"}, {"tuning": "chat"}, {"familly": "A"}, [1]):
        with pytest.raises(SpecError, match="facts"):
            ModelFacts.of_spec({"model": {"facts": wrong}})


def test_the_facts_of_our_own_models_are_known_by_name_folder_and_with_an_adapter_and_nobody_elses() -> None:
    smol = known_facts("demo")
    assert (smol.family, smol.tuning, smol.quantisation) == ("SmolLM2", "instruct", "Q4_1")
    for name in ("demo+introspector", "/cache/SmolLM2-135M-Instruct.Q4_1", "SmolLM2-135M-Instruct.Q4_1+alarm@68912229"):
        assert known_facts(name) == smol
    assert known_facts("gemma3-270m").tuning == "base"
    assert known_facts("somebody/demo") == ModelFacts()
