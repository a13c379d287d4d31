"""A model that answers everything under an injection."""

from __future__ import annotations

import attrs
import pytest

import introspection_bench as ib
from introspection_bench.errors import LayerError, SilentInjectionError, SpecError, VectorFileError
from introspection_bench.harness.steered_model import SteeredModel
from introspection_bench.injectors.torch import TorchInjector

GREEDY = ib.Sampling(0.0, max_new_tokens=6)


class FakeMuteInjector(TorchInjector):
    """Steers as it should, and proves it for every question but those that say "mute"."""

    def _generate(self, requests):
        for completion in super()._generate(requests):
            mute = "mute" in requests[completion.index].prompt.text
            yield attrs.evolve(completion, receipts=()) if mute else completion


def question(text):
    return ib.Scaffold("task", [ib.Turn("user", text)], filled=True)


@pytest.fixture(scope="module")
def steered(tiny_path, vector_path):
    made = SteeredModel.open(str(tiny_path), vector=vector_path, dose="4 residual", options={"device": "cpu"})
    yield made
    made.injector.close()


def test_every_answer_is_what_a_request_of_the_same_injection_gives(steered, vector_path):
    (injection,) = steered.injections
    assert (injection.layer, str(injection.dose), str(injection.span)) == (2, "4 residual", "all")
    prompt = question("Two and two?").render(steered.injector.tokenizer)
    expected = [
        next(steered.injector.generate([ib.Request.of(prompt, some, GREEDY)])).reply for some in ((injection,), ())
    ]
    (found,) = steered.answers([steered.ask(question("Two and two?"), GREEDY)])
    (plain,) = (bare := SteeredModel(steered.injector)).answers([bare.ask(question("Two and two?"), GREEDY)])
    assert [found.reply, plain.reply] == expected
    assert found.reply != plain.reply
    assert steered.identity != bare.identity == SteeredModel(steered.injector, [zero(injection)]).identity


def zero(injection):
    return attrs.evolve(injection, dose="0 residual")


def test_draws_differ_unless_a_seed_is_given(steered):
    asked = steered.ask(question("Say something."), ib.Sampling(max_new_tokens=12))
    replies = [a.reply.text for a in steered.answers([asked.drawn(n) for n in (0, 1, 0)])]
    assert replies[0] == replies[2] != replies[1]
    seeded = steered.ask(question("Say something."), ib.Sampling(max_new_tokens=12), 7)
    assert seeded.request.seed == seeded.drawn(5).request.seed == 7


def test_an_answer_without_proof_is_an_error_and_costs_none_beside_it(tiny_path, vector_path):
    with FakeMuteInjector.open(str(tiny_path), device="cpu") as injector:
        steered = SteeredModel.open(injector, vector=vector_path, dose="4 residual")
        texts = ["one", "mute", "two", "mute too", "three"]
        found = steered.answers([steered.ask(question(text), GREEDY) for text in texts])
    assert [isinstance(answer, SilentInjectionError) for answer in found] == ["mute" in text for text in texts]
    assert all(answer.receipts for answer in found if not isinstance(answer, Exception))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"dose": "1 residual"}, SpecError),
        ({"layer": 1}, SpecError),
        ({"vector": True}, SpecError),
        ({"vector": True, "dose": "1 residual", "concept": "Oceans"}, SpecError),
        ({"vector": "nowhere.safetensors", "dose": "1 residual"}, VectorFileError),
        ({"vector": True, "dose": "1 residual", "layer": "9"}, LayerError),
        ({"vector": True, "dose": "1 kl"}, ib.errors.InjectionError),
        ({"concept": "Nothing", "dose": "1 residual"}, ib.errors.UnknownNameError),
    ],
)
def test_half_an_injection_or_a_wrong_one_is_an_error(steered, vector_path, options, error):
    given = options | ({"vector": vector_path} if options.get("vector") is True else {})
    with pytest.raises(error):
        SteeredModel.open(steered.injector, **given)
