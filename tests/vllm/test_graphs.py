"""What only the backend ``vllm`` can get wrong: the prefix cache, its proofs, what is shared by many steers."""

from __future__ import annotations

import copy
import itertools

import attrs
import numpy as np
import pytest
from mixed_batches import mixed_batch, random_vector, same, tells_each_step
from torch import nn

from introspection_bench.errors import BackendUnavailableError, ModelError, SilentInjectionError, SpecError
from introspection_bench.identity import Sampling
from introspection_bench.injection import Injection
from introspection_bench.injectors import open_injector
from introspection_bench.injectors.requests import Request
from introspection_bench.injectors.vllm import cells, ops, probe, supported
from introspection_bench.injectors.vllm.pools import Arena
from introspection_bench.prompts import RenderedPrompt


@pytest.fixture(scope="module")
def injector(tiny_folder):
    with open_injector(
        "vllm",
        tiny_folder("llama"),
        dtype="float32",
        max_model_len=256,
        max_num_seqs=64,
        engine_args={"enforce_eager": True, "block_size": 32, "enable_prefix_caching": True},
    ) as opened:
        yield opened


def request(injector, *doses, seed=0, length=100, temperature=0.0):
    ids = [int(i) for i in np.random.default_rng(5).integers(6, 250, length)]
    steers = [Injection(random_vector(injector, 1, 3), 1, dose, "all") for dose in doses]
    return Request.of(RenderedPrompt(ids, ""), steers, Sampling(temperature, max_new_tokens=12), seed)


def only(injector, asked):
    (found,) = injector.generate([asked])
    return found


def worker(injector):
    return injector._engine.model_executor.driver_worker.worker


def cached(injector, monkeypatch):
    """A list that grows by how many tokens of each request came from the cache."""
    told = []
    real = injector._completion

    def looking(index, flight):
        told.append(flight.output.num_cached_tokens)
        return real(index, flight)

    monkeypatch.setattr(injector, "_completion", looking)
    return told


def test_trials_of_one_cell_share_a_prefill_and_each_has_the_whole_receipt(injector, monkeypatch):
    told = cached(injector, monkeypatch)
    first, second, *rest = (only(injector, request(injector, "0.8 residual", seed=n)) for n in range(3))
    together = list(injector.generate([request(injector, "0.7 residual", seed=n) for n in range(6)]))
    assert told[0] == 0
    assert min(told[1:3]) >= 96 - 32
    assert max(told[3:]) >= 96 - 32
    assert {c.receipts[0].prompt_positions for c in (first, second, *rest, *together)} == {100}
    assert first.receipts == second.receipts


def test_a_control_never_reads_a_steered_cache_nor_a_steered_request_a_controls(injector, monkeypatch):
    plain, steered = request(injector), request(injector, "1 residual")
    with monkeypatch.context() as patch:
        # Never shared with anybody: what each reply is.
        patch.setattr(injector._cells, "of", lambda asked: injector._cells._new())
        expected = [only(injector, asked).reply for asked in (plain, steered)]
    assert expected[0] != expected[1]
    told = cached(injector, monkeypatch)
    order = [steered, plain, steered, plain, plain, steered]
    assert [only(injector, asked).reply for asked in order] == [expected[asked is steered] for asked in order]
    assert max(told) > 0


def test_a_salt_that_all_requests_shared_would_be_caught(injector, monkeypatch):
    numbers = itertools.count()
    monkeypatch.setattr(
        injector._cells, "of", lambda _: cells.Cell("one for all", set(), []) if next(numbers) >= 0 else None
    )
    plain = only(injector, request(injector))
    with pytest.raises(SilentInjectionError):
        only(injector, request(injector, "1 residual"))
    assert plain.reply.token_ids


def test_a_request_given_up_leaves_the_proof_of_what_it_put_into_the_cache(injector):
    calls = injector.generate([request(injector, "0.9 residual", seed=n) for n in range(8)])
    next(calls)
    calls.close()
    assert not injector._flying
    assert not injector._ended
    again = only(injector, request(injector, "0.9 residual", seed=9))
    assert again.receipts[0].prompt_positions == 100


def test_64_different_steers_in_one_batch_are_those_of_each_alone(injector):
    asked = [attrs.evolve(r, reads=()) for r in mixed_batch(injector, lengths=[30] * 64, tokens=8)]
    alone = [attrs.evolve(only(injector, r), index=n) for n, r in enumerate(asked)]
    injector._cells = cells.Cells()
    # Salts begin anew, and with them what the cache holds would be taken for this batch's.
    injector._cells._numbers = itertools.count(10**6)
    same(list(injector.generate(asked)), alone)


def test_a_batch_that_has_ended_leaves_every_place_of_the_tables_free(injector):
    list(injector.generate(mixed_batch(injector, lengths=[9, 40, 12, 30, 5], tokens=6)))
    places = injector._places
    assert len(places._entries) == places.sizes.entries
    assert [arena.free for arena in places._arenas.values()] == [places.sizes.measured, places.sizes.captures]
    assert not any(places.vectors._users.values())
    assert not worker(injector)._tables.guests


def test_sampled_replies_are_those_of_the_torch_injector_at_odd_temperatures_and_filters(tiny_folder, injector):
    settings = [
        Sampling(1.0, max_new_tokens=20),
        Sampling(0.005, max_new_tokens=20),
        Sampling(3.0, top_k=40, max_new_tokens=7),
        Sampling(1.3, top_p=0.7, max_new_tokens=20),
        Sampling(0.0, max_new_tokens=20),
        Sampling(1.0, top_p=0.9, top_k=5, max_new_tokens=20),
    ]
    doses = (["0.6 residual"], [], ["2 raw", "0.3 residual"])
    asked = [
        attrs.evolve(request(injector, *doses[n % 3], seed=n, length=10 + n), sampling=sampling)
        for n, sampling in enumerate(settings * 3)
    ]
    with open_injector("torch", str(tiny_folder("llama")), dtype="float32") as reference:
        expected = {c.index: c.reply for c in reference.generate(asked)}
    assert {c.index: c.reply for c in injector.generate(asked)} == expected


def test_each_step_tells_how_many_tokens_it_sampled_while_replies_go_on(injector, monkeypatch):
    tells_each_step(injector, [request(injector, seed=n, length=9 + n) for n in range(3)], monkeypatch)


def test_calls_that_interleave_on_one_engine_get_their_own_replies(injector):
    first = [request(injector, "0.6 residual", seed=n, length=20, temperature=1.0) for n in range(6)]
    second = [request(injector, seed=n, length=20, temperature=1.0) for n in range(6)]
    expected = tuple({c.index: c.reply for c in injector.generate(asked)} for asked in (first, second))
    one, two = injector.generate(first), injector.generate(second)
    got = {}, {}
    for _ in range(6):
        for calls, found in zip((one, two), got, strict=True):
            completion = next(calls)
            found[completion.index] = completion.reply
        injector.capture([first[0].prompt], [0])
    assert got == expected


def test_a_request_without_an_order_of_ours_runs_as_in_plain_vllm_beside_a_steered_one(injector):
    from vllm import SamplingParams

    control = only(injector, request(injector)).reply
    steered = injector.generate([request(injector, "1 residual", seed=n) for n in range(2)])
    params = SamplingParams(temperature=0.0, max_tokens=12, ignore_eos=True, detokenize=False)
    injector._engine.add_request("somebody", {"prompt_token_ids": list(request(injector).prompt.token_ids)}, params)
    found = []
    real = injector._engine.step

    def step():
        outputs = real()
        found.extend(o for o in outputs if o.request_id == "somebody")
        return outputs

    injector._engine.step = step
    try:
        assert all(c.receipts[0].prompt_positions == 100 for c in steered)
        while not (found and found[-1].finished):
            step()
    finally:
        del injector._engine.step
    length = len(control.token_ids)
    assert tuple(found[-1].outputs[0].token_ids)[:length] == control.token_ids


def test_what_the_tables_cannot_hold_is_refused_before_it_runs(injector):
    layers = range(injector.model.n_layers)
    many = [Injection(random_vector(injector, n % 4, n), n % 4, "0.1 residual", "all") for n in range(len(layers) * 8)]
    asked = Request.of(request(injector).prompt, many, Sampling(0.0, max_new_tokens=2), 0)
    with pytest.raises(SpecError, match="tables="):
        injector.generate([asked])


@pytest.mark.parametrize(
    ("engine_args", "says"),
    [
        ({"speculative_config": {"method": "ngram"}}, "draft"),
        ({"data_parallel_size": 2}, "replica"),
        ({"worker_cls": "some.module.Worker"}, "own worker"),
        ({"logits_processors": ["some.module:Penalty"]}, "alter replies"),
        ({"enable_lora": True}, "fingerprint"),
    ],
)
def test_an_engine_argument_that_breaks_a_promise_is_refused_with_the_reason(tiny_folder, engine_args, says):
    with pytest.raises(ModelError, match=says):
        open_injector("vllm", tiny_folder("llama"), engine_args=engine_args)


@pytest.mark.parametrize(
    ("name", "part", "changes"),
    [
        ("speculative decoding", "", {"speculative_config": object()}),
        ("data parallel", "parallel_config", {"data_parallel_size": 2}),
        ("context parallel", "parallel_config", {"decode_context_parallel_size": 2}),
        ("dual-batch overlap", "parallel_config", {"enable_dbo": True}),
        ("KV sharing", "cache_config", {"kv_sharing_fast_prefill": True}),
        ("sequence parallel", "compilation_config.pass_config", {"enable_sp": True}),
        ("a KV connector", "", {"kv_transfer_config": object()}),
        ("LoRA", "", {"lora_config": object()}),
    ],
)
def test_a_worker_refuses_by_name_what_would_break_a_promise_whoever_started_the_engine(injector, name, part, changes):
    config = copy.copy(injector._engine.vllm_config)
    supported.check(config)
    owner = config
    for step in filter(None, part.split(".")):
        setattr(owner, step, copy.copy(getattr(owner, step)))
        owner = getattr(owner, step)
    for field, value in changes.items():
        object.__setattr__(owner, field, value)
    with pytest.raises(ModelError, match=f"{name}: required it to be off"):
        supported.check(config)


def test_blocks_that_read_another_blocks_keys_are_refused(injector):
    supported.check_model(worker(injector).model_runner.get_model())
    model = nn.ModuleDict({"attention": nn.Identity()})
    model["attention"].kv_sharing_target_layer_name = "layers.3"
    with pytest.raises(ModelError, match=r"KV sharing: .*attention reads another block's"):
        supported.check_model(model)


def test_an_unknown_version_or_a_patched_source_is_an_error_that_says_what_to_install(injector, monkeypatch):
    with pytest.raises(BackendUnavailableError, match=r"0\.26\.0.*0\.30\.0.*got vLLM 0\.29\.1.*pip install vllm=="):
        supported.check_version("0.29.1", "V2")
    # What we wrap we wrap in an engine's own objects: the classes are as released while one is open.
    supported.check_version(supported.version(), "V1")
    from vllm.v1.sample.sampler import Sampler

    monkeypatch.setattr(Sampler, "forward", lambda self, logits, sampling_metadata: None)
    with pytest.raises(BackendUnavailableError, match=r"released source.*Reinstall it unpatched"):
        supported.check_version(supported.version(), "V1")


def test_compiled_graphs_of_plain_vllm_and_of_other_versions_of_ours_have_other_keys(injector, monkeypatch):
    steered = injector._engine.vllm_config
    told = dict(steered.additional_config)
    plain, other = copy.copy(steered), copy.copy(steered)
    plain.additional_config = {}
    other.additional_config = told
    monkeypatch.setattr(supported, "source_digest", lambda: "another version")
    supported.salted(other)
    mine = copy.copy(steered)
    mine.additional_config = told
    monkeypatch.undo()
    supported.salted(mine)
    keys = [c.compute_hash() for c in (plain, other, mine)]
    assert len(set(keys)) == 3
    again = copy.copy(mine)
    supported.salted(again)
    assert again.compute_hash() == keys[2]


def unsteered(injector, monkeypatch):
    """As if graphs without our op had been handed back."""
    monkeypatch.setattr(ops, "_current", None)


def told_but_not_done(injector, monkeypatch):
    """Receipts as they should be, and nothing that reaches the next block."""
    engine = worker(injector)._ops
    real = engine.steer

    def steer(hidden, residual, layer):
        real(hidden.clone(), None if residual is None else residual.clone(), layer)

    monkeypatch.setattr(engine, "steer", steer)


def one_block_left_out(injector, monkeypatch):
    engine = worker(injector)._ops
    real = engine.steer
    monkeypatch.setattr(engine, "steer", lambda h, r, layer: None if int(layer) == 2 else real(h, r, layer))


@pytest.mark.parametrize("fault", [unsteered, told_but_not_done, one_block_left_out])
def test_the_probe_at_opening_finds_graphs_that_do_not_steer(injector, monkeypatch, fault):
    probe.prove(injector, injector._prove_norm)
    fault(injector, monkeypatch)
    with pytest.raises(ModelError, match="graphs that steer and read each block"):
        probe.prove(injector, injector._prove_norm)


def test_a_model_whose_logits_are_not_finite_is_refused_when_it_is_opened(tiny_folder, injector):
    injector.close()
    with pytest.raises(ModelError, match=r"steer and read each block.*(NaN|nan|finite)"):
        open_injector("vllm", tiny_folder("llama-nan"), dtype="float32", engine_args={"enforce_eager": True})


def test_pieces_of_an_arena_that_are_given_back_are_one_piece_again():
    arena = Arena(100)
    pieces = [arena.take(10) for _ in range(10)]
    assert arena.take(1) is None
    for at in (3, 5, 4, 0, 9, 1, 2, 8, 6, 7):
        arena.give_back(pieces[at], 10)
    assert arena.free == 100
    assert arena.take(100) == 0
