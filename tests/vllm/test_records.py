"""The bookkeeping of a steering hook, without vLLM: passes in, receipts and readings out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from introspection_bench.errors import SilentInjectionError
from introspection_bench.injection import Injection, Steer
from introspection_bench.injectors.receipts import make_receipt
from introspection_bench.injectors.vllm_lens.records import LayerLog, gather, merge_ranks
from introspection_bench.measures.base import Read
from introspection_bench.spans import Positions, Span
from introspection_bench.vectors import ConceptVector, Provenance

WIDTH = 3
#: The numbers of the steer and the read among their request's.
STEER, READ = 1, 2


def receipt_of(record, span, end):
    vector = ConceptVector(np.ones(WIDTH), "v", 5, Provenance("test", "tiny", "", "", 0, -1, 1.0, None))
    steer = Steer(Injection(vector, 5, "1 raw", Span.all()), span)
    return make_receipt(record.sizes(STEER, end), steer, dtype="float32")


def residuals(records, end, layers=(5,)):
    read = Read("residuals", Positions(0, None, 1), layers)
    return gather(records, READ, read, processed=end, last=5, width=WIDTH)


def run_pass(log, start, count, span):
    """One forward pass over positions whose ratio is 1 + position / 8 and whose residual is the position."""
    log.begin(start, count)
    at = np.arange(start, start + count)
    steered = at[(at >= span.start) & (at < (10**9 if span.stop is None else span.stop))]
    if len(steered):
        before = torch.ones(len(steered))
        moved = torch.tensor(1 + steered / 8, dtype=torch.float32)
        log.steered(STEER, int(steered[0]), torch.stack([before, moved, moved], dim=1))
    log.read(READ, start, torch.tensor(at[:, None].repeat(WIDTH, 1), dtype=torch.float32))


@st.composite
def runs(draw):
    """(prompt length, sampled tokens, span, passes): chunks of any size, with restarts from 0 as after preemption."""
    prompt, sampled = draw(st.integers(1, 20)), draw(st.integers(1, 12))
    end = prompt + sampled - 1
    start = draw(st.integers(0, end - 1))
    stop = draw(st.none() | st.integers(start + 1, end + 3))
    passes, at, restarts = [], 0, draw(st.integers(0, 3))
    while at < end:
        count = draw(st.integers(1, end - at + 1))  # at times one position more than is kept
        passes.append((at, count))
        at += count
        if restarts and draw(st.booleans()):
            at, restarts = 0, restarts - 1
    return prompt, sampled, Positions(start, stop, prompt), passes


@given(runs())
def test_chunks_preemption_and_a_surplus_pass_leave_receipt_and_readings_as_one_pass_would(case):
    prompt, sampled, span, passes = case
    log = LayerLog()
    for start, count in passes:
        run_pass(log, start, count, span)
    records = merge_ranks([{5: log.packed()}], 1)
    record = records[5]
    end = prompt + sampled - 1
    receipt = receipt_of(record, span, end)
    assert (receipt.prompt_positions, receipt.generation_positions) == span.expected(sampled)
    touched = [at for at in range(end) if at >= span.start and (span.stop is None or at < span.stop)]
    if touched:
        assert receipt.mean_ratio == pytest.approx(np.mean([1 + at / 8 for at in touched]))
        assert receipt.max_ratio == 1 + touched[-1] / 8
    assert np.array_equal(residuals(records, end)[0], np.arange(end)[:, None].repeat(WIDTH, 1))
    assert not (record.sizes(STEER - 1, end)[1] >= 0).any(), "a steer has another one's positions"


def test_positions_that_were_steered_before_a_restart_but_not_after_it_are_not_counted():
    log = LayerLog()
    run_pass(log, 0, 6, Positions(0, None, 6))
    log.begin(0, 6)
    record = merge_ranks([{0: log.packed()}], 1)[0]
    assert receipt_of(record, Positions(0, None, 6), 6).prompt_positions == 0


def test_a_pass_that_leaves_positions_out_is_an_error_as_with_a_prefix_cache():
    with pytest.raises(SilentInjectionError, match="position 16"):
        LayerLog().begin(16, 4)


def packed(start=0, count=4, error=None):
    log = LayerLog()
    run_pass(log, start, count, Positions(0, None, 4))
    log.error = error
    return log.packed()


@pytest.mark.parametrize(
    ("ranks", "reason"),
    [
        ([{0: packed()}, {0: packed(error="ValueError: boom")}], "boom"),
        ([{0: packed()}, {0: packed(count=3)}], "2 kind"),
        ([{0: packed()}, None], "1 report"),
    ],
)
def test_workers_that_fail_differ_or_are_silent_leave_no_receipt(ranks, reason):
    with pytest.raises(SilentInjectionError, match=reason):
        merge_ranks(ranks, 2)


def test_pipeline_stages_report_their_own_layers_and_one_worker_of_each_keeps_the_readings():
    silent = {**packed(), "readings": {}}
    merged = merge_ranks([{0: packed()}, {0: silent}, {9: packed()}, {9: silent}], 2)
    assert sorted(merged) == [0, 9]
    assert residuals(merged, 4, (9, 0, 9)).shape == (3, 4, WIDTH)


@pytest.mark.parametrize(("layers", "missing"), [((0,), 2), ((0, 7), 2), ((7,), 6)])
def test_readings_that_are_not_all_there_are_an_error(layers, missing):
    with pytest.raises(SilentInjectionError, match=f"{missing} missing"):
        residuals(merge_ranks([{0: packed()}], 1), 6, layers)


@pytest.mark.parametrize(("kind", "shape"), [("logprobs", (3, 2)), ("likelihood", (3,)), ("distribution", (3, 9))])
def test_what_is_read_behind_the_last_block_stands_in_its_record(kind, shape):
    log = LayerLog()
    log.begin(0, 6)
    log.read(READ, 2, torch.ones(3, *shape[1:]))
    sets = ((4, 5),) if kind == "logprobs" else ()
    read = Read(kind, Positions(2, 5, 4), sets=sets)
    records = merge_ranks([{3: log.packed()}], 1)
    assert gather(records, READ, read, processed=6, last=3, width=WIDTH).shape == shape
    with pytest.raises(SilentInjectionError, match="missing"):
        gather(records, READ, read, processed=6, last=2, width=WIDTH)
