"""Keys of trials and verdicts: everything that can alter a reply or an answer, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from random import Random
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import introspection_bench as ib
from introspection_bench.digests import canonical_json, digest, digest_bytes
from introspection_bench.errors import SpecError
from introspection_bench.testing import strategies
from introspection_bench.verdicts import verdict_key

STEER = ib.SteerKey(vector="b" * 64, layer=19, magnitude=2, unit="residual", start=527, stop=None)
KEY = ib.TrialKey(
    model="a" * 64,
    backend="torch",
    numerics=1,
    prompt="d" * 64,
    steers=(STEER,),
    sampling=ib.Sampling(temperature=1, top_p=1, top_k=0, max_new_tokens=100),
    draw=7,
)


def test_the_key_of_a_trial_is_pinned() -> None:
    # If this changes, no recorded run can be resumed: raise KEY_VERSION and say so in the changelog.
    assert KEY.digest == "75b382942522527a82b53cdc29a394491c90c82451da25f07ef36109d21cc585"
    written = (
        '["trial",2,{"backend":"torch","draw":7,"forced":null,"given_seed":null,"model":"' + "a" * 64
        + '","numerics":1,"prompt":"' + "d" * 64
        + '","sampling":{"max_new_tokens":100,"temperature":1.0,"top_k":0,"top_p":1.0},"steers":[{"layer":19,'
        + '"magnitude":2.0,"start":527,"stop":null,"unit":"residual","vector":"' + "b" * 64 + '"}]}]'
    )  # fmt: skip
    assert hashlib.sha256(written.encode()).hexdigest() == KEY.digest


OTHER: dict[str, Any] = {
    "model": "x",
    "backend": "vllm-lens",
    "numerics": 2,
    "prompt": "x",
    "steers": (),
    "sampling": ib.Sampling(temperature=0.5),
    "draw": 8,
    "forced": (1, 2),
    "given_seed": 3,
}
OTHER_STEER = {"vector": "x", "layer": 20, "magnitude": 2.5, "unit": "raw", "start": 538, "stop": 540}


def test_every_field_of_a_key_and_of_its_steers_is_in_its_digest() -> None:
    assert set(OTHER) == {f.name for f in attrs.fields(ib.TrialKey)}
    assert set(OTHER_STEER) == {f.name for f in attrs.fields(ib.SteerKey)}
    steers = [attrs.evolve(STEER, **{name: value}) for name, value in OTHER_STEER.items()]
    keys = [attrs.evolve(KEY, **{name: value}) for name, value in OTHER.items()]
    keys += [attrs.evolve(KEY, steers=(steer,)) for steer in steers] + [attrs.evolve(KEY, steers=(STEER, *steers))]
    assert len({KEY.digest, *(key.digest for key in keys)}) == len(keys) + 1


@given(st.lists(strategies.steer_keys(), max_size=4), st.randoms())
def test_a_key_of_the_same_steers_is_the_same_key_in_any_order(steers: list[ib.SteerKey], random: Random) -> None:
    shuffled = random.sample(steers, len(steers))
    assert attrs.evolve(KEY, steers=shuffled) == attrs.evolve(KEY, steers=steers)
    assert attrs.evolve(KEY, steers=shuffled).digest == attrs.evolve(KEY, steers=steers).digest


def key_in(scaffold: ib.Scaffold, tokenizer: Any, vector: ib.ConceptVector) -> ib.TrialKey:
    prompt = scaffold.render(tokenizer)
    steers = ib.resolve([ib.Injection(vector, 3, "2 raw", "from(trial)")], prompt)
    return attrs.evolve(KEY, prompt=prompt.digest, steers=[s.key for s in steers])


def test_an_anchor_that_moves_makes_another_trial_and_one_that_is_renamed_does_not(
    smol_tokenizer: Any, make_vector: Callable[..., ib.ConceptVector]
) -> None:
    moved = attrs.evolve(ib.LINDSEY, anchors=[ib.Anchor("trial", "Do you detect")])
    one, other = (key_in(scaffold, smol_tokenizer, make_vector()) for scaffold in (ib.LINDSEY, moved))
    assert one.prompt == other.prompt
    assert one.digest != other.digest
    assert one.seed != other.seed
    same = attrs.evolve(ib.LINDSEY, anchors=[ib.Anchor("trial", "\n\nTrial 1: Do")], name="mine", source="me")
    assert key_in(same, smol_tokenizer, make_vector()) == one


def test_a_seed_that_a_key_holds_is_the_seed() -> None:
    assert attrs.evolve(KEY, given_seed=3).seed == 3


@pytest.mark.parametrize("change", [{"temperature": 0.9}, {"top_p": 0.9}, {"top_k": 20}, {"max_new_tokens": 99}])
def test_every_setting_of_sampling_is_in_the_key(change: dict[str, Any]) -> None:
    assert len(change) == 1
    assert attrs.evolve(KEY, sampling=attrs.evolve(KEY.sampling, **change)).digest != KEY.digest


def key_of(magnitude: Any) -> ib.TrialKey:
    return attrs.evolve(KEY, steers=(attrs.evolve(STEER, magnitude=magnitude),))


@pytest.mark.parametrize("magnitude", [2, 2.0, np.float64(2), np.float32(2), np.int64(2)])
def test_one_magnitude_has_one_key_however_it_is_typed(magnitude: Any) -> None:
    assert key_of(magnitude).digest == KEY.digest


def test_a_negative_zero_is_a_zero() -> None:
    assert key_of(-0.0).digest == key_of(0).digest
    assert canonical_json(attrs.asdict(ib.Sampling(temperature=-0.0))) == canonical_json(
        attrs.asdict(ib.Sampling(temperature=0))
    )


def test_seeds_are_spread_over_their_range_and_belong_to_the_trial() -> None:
    seeds = [attrs.evolve(KEY, draw=n).seed for n in range(2000)]
    assert len(set(seeds)) == 2000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert np.mean(seeds) / 2**63 == pytest.approx(0.5, abs=0.03)
    assert KEY.seed == int(KEY.digest[:16], 16) // 2


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_p": 0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"top_k": 2.5},
        {"top_k": True},
        {"max_new_tokens": 0},
        {"max_new_tokens": 10.0},
    ],
)
def test_sampling_that_means_nothing_is_an_error_that_names_the_setting(change: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=rf"sampling\.{next(iter(change))}"):
        ib.Sampling(**change)


def test_the_key_of_a_verdict_is_pinned_and_holds_all_that_can_alter_it() -> None:
    given = {"concept": "love", "blinded": True}
    base = verdict_key("t" * 64, "rules", "r" * 64, None, **given)
    assert base == "c7676ff1fac79a4949b137aa635af4d4664dbe0929dc5470ed2d2e08a5090de7"
    written = '["verdict",2,["' + "t" * 64 + '","rules","' + "r" * 64 + '",null,"love",true,"answer"]]'
    assert hashlib.sha256(written.encode()).hexdigest() == base
    others = {
        verdict_key("u" * 64, "rules", "r" * 64, None, **given),
        verdict_key("t" * 64, "claude", "r" * 64, None, **given),
        verdict_key("t" * 64, "rules", "s" * 64, None, **given),
        verdict_key("t" * 64, "rules", "r" * 64, "model", **given),
        verdict_key("t" * 64, "rules", "r" * 64, None, **(given | {"concept": "hate"})),
        verdict_key("t" * 64, "rules", "r" * 64, None, **(given | {"blinded": False})),
        verdict_key("t" * 64, "rules", "r" * 64, None, **given, judged="whole"),
    }
    assert len(others | {base}) == 8
    assert ib.Verdict("rules", "strict4", "r" * 64, "love", {"coherent": True}).key("t" * 64) == base


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(JSON, JSON)
def test_canonical_json_is_one_text_per_value(a: Any, b: Any) -> None:
    assert json.loads(canonical_json(a)) == a
    assert canonical_json(a).isascii()
    if canonical_json(a) == canonical_json(b):
        assert a == b


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_the_order_of_keys_does_not_matter(mapping: dict[str, int]) -> None:
    assert digest("x", 1, mapping) == digest("x", 1, dict(reversed(mapping.items())))


def test_kind_and_version_separate_digests_of_equal_content() -> None:
    assert len({digest("a", 1, 0), digest("b", 1, 0), digest("a", 2, 0)}) == 3
    assert len({digest_bytes("a", 1, b""), digest_bytes("b", 1, b""), digest_bytes("a", 2, b"")}) == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")]])
def test_a_number_that_json_can_not_write_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(value)
