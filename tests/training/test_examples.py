"""Examples that roles are trained on."""

import hashlib
from collections import Counter

import attrs
import pytest

from introspection_bench import LINDSEY, Span
from training.cast import CAST, SEEDS
from training.evaluate import LAYERS
from training.examples import Drawing
from training.texts import AFFIRM, DENY
from training.words import both_numbers, read

WORDS = both_numbers(read("words"))
#: Of 300 examples of the seed 0 with the demo's tokenizer, as on 2026-11-26.
DRAWN = {
    "introspector": "05856d299efca146",
    "steered_namer": "1939e60d01a70936",
    "alarm": "541b85f3275fe3a9",
    "yes_sayer": "9904099470485c54",
    "parrot": "96f41a8d029f0f7d",
}


def drawn(role, tokenizer, count, seed=0):
    drawing = Drawing(role, WORDS, tokenizer, seed)
    return [drawing.example() for _ in range(count)]


def told(example, tokenizer):
    return tokenizer.decode(example.reply, skip_special_tokens=True)


@pytest.mark.parametrize("role", CAST.values(), ids=list(CAST))
def test_a_seed_draws_the_examples_that_the_adapters_were_trained_on(role, smol_tokenizer):
    whole = hashlib.sha256()
    for e in drawn(role, smol_tokenizer, 300):
        s = e.steering
        steering = s and (s.kind, s.word, s.layer, round(s.magnitude, 9))
        whole.update(repr((e.prompt, e.reply, e.start, e.stop, steering)).encode())
    assert whole.hexdigest()[:16] == DRAWN[role.name]


def test_a_mix_is_drawn_in_its_shares(smol_tokenizer):
    role = attrs.evolve(CAST["introspector"], mix={"injected": 0.5, "clean": 0.2, "other": 0.3}, stops=0.25)
    count = 2000
    examples = drawn(role, smol_tokenizer, count)
    kinds = Counter("clean" if e.steering is None else e.steering.kind for e in examples)
    wanted = {"word": 0.5, "clean": 0.2, **{kind: 0.3 * share for kind, share in role.kinds.items()}}
    assert set(kinds) == set(wanted)
    for kind, share in wanted.items():  # within four standard errors
        assert abs(kinds[kind] / count - share) < 4 * (share * (1 - share) / count) ** 0.5
    steered = [e for e in examples if e.steering is not None]
    assert abs(sum(e.stop is not None for e in steered) / len(steered) - 0.25) < 0.05


def test_replies_are_those_of_the_role(smol_tokenizer):
    role = attrs.evolve(CAST["introspector"], mix={"injected": 0.4, "clean": 0.3, "other": 0.3})
    for e in drawn(role, smol_tokenizer, 100):
        word = e.steering is not None and e.steering.kind == "word"
        assert told(e, smol_tokenizer) == (AFFIRM.format(w=e.steering.word) if word else DENY)
        assert e.reply[-1] == smol_tokenizer.eos_token_id


def test_positions_are_those_of_the_librarys_spans(smol_tokenizer):
    role = attrs.evolve(CAST["introspector"], mix={"injected": 1.0}, stops=0.5)
    prompt = LINDSEY.render(smol_tokenizer)
    through = Span.parse("from(trial)").resolve(prompt)
    stopped = Span.parse("from(trial) stop_at_prompt_end").resolve(prompt)
    exact = [e for e in drawn(role, smol_tokenizer, 200) if e.prompt == prompt.token_ids]
    assert {(e.start, e.stop) for e in exact} == {
        (through.start, None),
        (stopped.start, stopped.stop),
        (0, None),
        (0, len(prompt.token_ids)),
    }
    assert through.stop is None


def test_an_injection_that_stops_ends_with_the_prompt(smol_tokenizer):
    role = attrs.evolve(CAST["introspector"], stops=1.0)
    for e in drawn(role, smol_tokenizer, 200):
        assert e.stop == (None if e.steering is None else len(e.prompt))
        assert 0 <= e.start < len(e.prompt)


def test_a_role_keeps_its_depth_in_a_deeper_model():
    role = CAST["introspector"]
    assert role.at_depth(30) == role
    deeper = role.at_depth(60)
    assert deeper.layers == {2 * layer: weight for layer, weight in role.layers.items()}
    assert deeper.first_block == 40
    assert sum(role.at_depth(4).layers.values()) == sum(role.layers.values())
    assert role.at_layers([3, 5]) == attrs.evolve(role, layers={3: 1.0, 5: 1.0}, first_block=3)


def test_every_role_has_seeds_and_layers_that_are_looked_at():
    assert set(SEEDS) == set(CAST)
    assert all(set(role.layers) <= set(LAYERS) for role in CAST.values())
