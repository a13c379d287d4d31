"""The Triton kernels beside their torch counterparts, on the same tables: what must be equal, and how nearly."""

from __future__ import annotations

import types

import numpy as np
import torch

from introspection_bench.injectors.hf.sampling import step_keys
from introspection_bench.injectors.vllm.cpu import CpuEngine
from introspection_bench.injectors.vllm.sampling import TorchChooser
from introspection_bench.injectors.vllm.tables import Tables
from introspection_bench.injectors.vllm.wire import (
    BASE,
    CAPTURE,
    KIND,
    LAYER,
    START,
    STEER,
    STOP,
    VECTOR,
    WIDTH,
    A,
    D,
    Order,
    Sizes,
    bits,
)

SIZES = Sizes(entries=12, rows=9, vectors=8, measured=4000, captures=2000, tokens=64)
LAYERS, HIDDEN, STEP = 40, 96, 256
COEFFICIENTS = ((2.0, 0, 0, 0), (0, 0.4, 0, 0), (0, 0, 0.7, 0), (0, 0, 0, -1.0))


def tables_with_orders(device, dtype):
    """Ten requests with up to eight rows each, at layers on both sides of a word's end, several at one layer."""
    tables = Tables(SIZES, hidden=HIDDEN, layers=LAYERS, dtype=dtype, step=STEP, device=torch.device(device))
    random = np.random.default_rng(0)
    vectors = random.standard_normal((SIZES.vectors, HIDDEN)).astype(np.float32)
    tables.set_vectors(np.arange(SIZES.vectors), vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    steered = captured = 0
    for entry in range(10):
        rows = np.zeros((entry % 9, WIDTH), dtype=np.int32)
        for row in rows:
            start = int(random.integers(0, 20))
            row[[START, STOP, LAYER]] = start, start + int(random.integers(1, 30)), random.choice([0, 31, 32, 39, 40])
            row[KIND] = STEER if row[LAYER] < LAYERS and random.random() < 0.7 else CAPTURE
            row[VECTOR] = random.integers(0, SIZES.vectors)
            row[A : D + 1] = bits(COEFFICIENTS[random.integers(0, 4)])
            row[BASE] = steered if row[KIND] == STEER else captured
            steered += (row[KIND] == STEER) * (row[STOP] - row[START])
            captured += (row[KIND] == CAPTURE) * (row[STOP] - row[START])
        rows = rows[np.lexsort((rows[:, KIND], rows[:, LAYER]))] if len(rows) else rows
        temperature, top_k, top_p = ((0.0, 0, 1.0), (1.0, 0, 1.0), (0.7, 0, 1.0), (1.0, 5, 1.0), (1.3, 0, 0.8))[
            entry % 5
        ]
        order = Order(entry, 5, temperature, top_k, top_p, step_keys(entry, 40), rows)
        tables.begin(order, 0)
    tables.flush()
    return tables


def check_kernels(device):
    """Raise unless plan, steering and sampling of the kernels are those of torch; return what was compared."""
    from introspection_bench.injectors.vllm import cuda

    told = {}
    for dtype in (torch.float32, torch.bfloat16):
        for halves in (True, False):
            told[f"{dtype} halves {halves}"] = check_steering(cuda, device, dtype, halves=halves)
    told["tokens"] = check_sampling(cuda, device)
    return told


def check_steering(cuda, device, dtype, *, halves):
    ours, theirs = tables_with_orders(device, dtype), tables_with_orders("cpu", dtype)
    entries = torch.tensor([3, -1, 9, 0, 5, 8, 7], dtype=torch.int32)
    counts = torch.tensor([7, 5, 30, 1, 1, 20, 26])
    starts = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
    tokens, padded = int(starts[-1]), int(starts[-1]) + 6
    positions = torch.cat([torch.arange(n) + k for k, n in enumerate(counts.tolist())])
    ours.token_bits.fill_(-1)  # what an earlier step may have left
    batch = types.SimpleNamespace(num_reqs=len(entries), num_tokens=tokens, num_tokens_after_padding=padded)
    index = torch.arange(len(entries), dtype=torch.int32, device=device)
    up = [t.to(device) for t in (entries, starts.int(), positions)]
    cuda.plan(ours, index, *up, batch)
    theirs.plan(entries.long(), starts, positions, tokens)
    assert torch.equal(ours.token_bits[:padded].cpu(), theirs.token_bits[:padded])
    some = theirs.token_bits[:tokens].any(dim=1)
    assert torch.equal(ours.token_entry[:tokens].cpu()[some], theirs.token_entry[:tokens][some])
    engine, reference = cuda.CudaEngine(ours), CpuEngine(theirs)
    worst = 0.0
    for layer in (0, 31, 32, 39, 40, 17):
        hidden, residual = torch.randn(2, padded, HIDDEN, generator=torch.manual_seed(layer)).to(dtype)
        mine = [hidden.clone().to(device), residual.clone().to(device) if halves else None]
        other = [hidden.clone(), residual.clone() if halves else None]
        number = torch.tensor([layer], dtype=torch.int32)
        if not halves:
            engine.note_branch(mine[0], ours.branch_norms)
            reference.note_branch(other[0], theirs.branch_norms)
        engine.steer(*mine, number.to(device))
        reference.steer(*other, number)
        for a, b in zip(mine, other, strict=True):
            if a is not None:
                off = (a.cpu().float() - b.float()).abs().max() / b.float().abs().max()
                worst = max(worst, float(off))
    assert worst <= (1e-5 if dtype is torch.float32 else 2e-2), worst
    assert torch.equal(ours.measured_stamps.cpu(), theirs.measured_stamps)
    assert torch.equal(ours.capture_stamps.cpu(), theirs.capture_stamps)
    sizes = (ours.measured.cpu() - theirs.measured).abs().max() / theirs.measured.abs().max()
    assert float(sizes) <= (1e-5 if dtype is torch.float32 else 1e-2), float(sizes)
    return {"stream": worst, "measured": float(sizes)}


def check_sampling(cuda, device, vocabulary=5003):
    ours, theirs = tables_with_orders(device, torch.float32), tables_with_orders("cpu", torch.float32)
    entry_of = torch.tensor([4, 2, 0, 9, 8, 1, 7, 5], dtype=torch.int32)
    logits = 3 * torch.randn(len(entry_of), vocabulary, generator=torch.manual_seed(1))
    logits[6, 17] = torch.nan
    index = torch.arange(len(entry_of), dtype=torch.int32)
    same = total = 0
    for step in (0, 1, 30, 39):
        positions = torch.full((len(entry_of),), 4 + step)
        for filtered in (False, True):
            # Without filters all rows with one count as plain: their temperature alone is looked at.
            for tables in (ours, theirs):
                tables.host_filtered[:] = filtered
            mask = np.full(len(entry_of), filtered)
            found = cuda.CudaChooser(ours)(
                logits.to(device), index.to(device), entry_of.to(device), positions.to(device), mask
            )
            expected = TorchChooser(theirs)(logits.clone(), index, entry_of, positions, mask)
            good = torch.arange(len(entry_of)) != 6
            same += int((found.cpu() == expected)[good].sum())
            total += int(good.sum())
    assert torch.equal(ours.largest.cpu().nan_to_num(7e7), theirs.largest.nan_to_num(7e7))
    assert same == total, f"{same} of {total} tokens"
    return total
