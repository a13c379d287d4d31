"""The Triton kernels: a step's plan, the op behind a block, the sampler. Their torch counterparts are the reference.

Integers that change from step to step are not specialised on: each value of a new kind would be compiled anew.
Triton reads annotations as code: only constants carry one.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra import libdevice


@triton.jit(do_not_specialize=["requests", "tokens", "padded"])
def plan_kernel(
    index, entry_of, starts, positions, rows, counts, token_entry, token_bits,
    token_position, requests, tokens, padded,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, WORDS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One program for each request and word of blocks; the last request's programs clear what no token fills."""
    request = tl.program_id(0)
    word = tl.program_id(1)
    if request < requests:
        entry = tl.load(entry_of + tl.load(index + request)).to(tl.int64)
        first = tl.load(starts + request)
        end = tl.load(starts + request + 1)
        count = tl.where(entry < 0, 0, tl.load(counts + tl.maximum(entry, 0)))
        for at in range(first, end, BLOCK):
            token = at + tl.arange(0, BLOCK)
            there = token < end
            position = tl.load(positions + token, mask=there, other=0)
            bits = tl.zeros([BLOCK], dtype=tl.int32)
            for number in range(count):
                row = rows + (entry * ROWS + number) * WIDTH
                start = tl.load(row)
                stop = tl.load(row + 1)
                layer = tl.load(row + 2)
                on = (position >= start) & (position < stop) & ((layer >> 5) == word)
                bits = bits | tl.where(on, 1 << (layer & 31), 0)
            tl.store(token_bits + token * WORDS + word, bits, mask=there)
            if word == 0:
                tl.store(token_entry + token, bits * 0 + entry.to(tl.int32), mask=there)
                tl.store(token_position + token, position.to(tl.int64), mask=there)
    else:
        for at in range(tokens, padded, BLOCK):
            token = at + tl.arange(0, BLOCK)
            tl.store(token_bits + token * WORDS + word, token * 0, mask=token < padded)


@triton.jit
def steer_kernel(
    hidden, residual, layer_of, token_entry, token_bits, token_position, rows,
    reals, counts, vectors, measured, measured_stamps, captures, capture_stamps,
    branch_norms, stride_hidden, stride_residual,
    HIDDEN: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, WORDS: tl.constexpr,
    HALVES: tl.constexpr,
):  # fmt: skip
    """One program for each token: nothing but one number is looked at where nothing is asked for."""
    token = tl.program_id(0).to(tl.int64)
    layer = tl.load(layer_of)
    bits = tl.load(token_bits + token * WORDS + (layer >> 5))
    if ((bits >> (layer & 31)) & 1) != 0:
        entry = tl.load(token_entry + token).to(tl.int64)
        position = tl.load(token_position + token)
        count = tl.load(counts + entry)
        columns = tl.arange(0, BLOCK)
        inside = columns < HIDDEN
        kind = hidden.dtype.element_ty
        half = tl.load(hidden + token * stride_hidden + columns, mask=inside, other=0.0).to(tl.float32)
        if HALVES:
            other = tl.load(residual + token * stride_residual + columns, mask=inside, other=0.0).to(tl.float32)
            before = (half + other).to(kind).to(tl.float32)
            branch = tl.sqrt(tl.sum(half * half, axis=0))
        else:
            before = half
            branch = tl.load(branch_norms + token)
        norm = tl.sqrt(tl.sum(before * before, axis=0))
        stream = before
        changed = 0
        for number in range(count):
            row = (entry * ROWS + number) * WIDTH
            start = tl.load(rows + row)
            stop = tl.load(rows + row + 1)
            if (tl.load(rows + row + 2) == layer) & (position >= start) & (position < stop):
                place = (tl.load(rows + row + 5) + position - start).to(tl.int64)
                stamp = tl.load(rows + row + 6)
                if tl.load(rows + row + 3) == 1:
                    tl.store(captures + place * HIDDEN + columns, stream.to(captures.dtype.element_ty), mask=inside)
                    tl.store(capture_stamps + place, stamp)
                else:
                    vector = tl.load(rows + row + 4).to(tl.int64)
                    direction = tl.load(vectors + vector * HIDDEN + columns, mask=inside, other=0.0)
                    length = tl.load(reals + row + 7) + tl.load(reals + row + 8) * norm
                    length += tl.load(reals + row + 9) * branch
                    along = tl.load(reals + row + 10)
                    if along != 0.0:
                        length += along * tl.sum(before * direction, axis=0)
                    after = (stream + (length * direction).to(kind).to(tl.float32)).to(kind).to(tl.float32)
                    moved = after - stream
                    size = tl.sqrt(tl.sum(moved * moved, axis=0))
                    tl.store(measured + place * 3, norm)
                    tl.store(measured + place * 3 + 1, tl.abs(length))
                    tl.store(measured + place * 3 + 2, size)
                    tl.store(measured_stamps + place, stamp)
                    # A sum that isn't finite is an error already, and must not reach the cache's pages.
                    if size < float("inf"):
                        stream = after
                        changed = 1
        if changed != 0:
            tl.store(hidden + token * stride_hidden + columns, stream.to(kind), mask=inside)
            if HALVES:
                tl.store(residual + token * stride_residual + columns, (stream * 0.0).to(kind), mask=inside)


@triton.jit
def branch_kernel(branch, norms, stride, HIDDEN: tl.constexpr, BLOCK: tl.constexpr):
    """The norm of each row of a branch's output."""
    token = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    row = tl.load(branch + token * stride + columns, mask=columns < HIDDEN, other=0.0).to(tl.float32)
    tl.store(norms + token, tl.sqrt(tl.sum(row * row, axis=0)))


@triton.jit
def mixed(z):
    """SplitMix64's mixing function."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    return z ^ (z >> 31)


@triton.jit(do_not_specialize=["pieces", "vocabulary"])
def sample_kernel(
    logits, stride, index, entry_of, positions, prompts, keys, temperatures,
    best_of, at_of, largest_of, pieces, vocabulary,
    LAST: tl.constexpr, BLOCK: tl.constexpr, SHAPED: tl.constexpr,
):  # fmt: skip
    """The best token of one row's piece of the vocabulary, and the largest logit there.

    SHAPED: temperature, top-k and top-p are in the logits already.
    """
    row = tl.program_id(0).to(tl.int64)
    piece = tl.program_id(1)
    entry = tl.load(entry_of + tl.load(index + row)).to(tl.int64)
    temperature = tl.load(temperatures + entry)
    columns = piece * BLOCK + tl.arange(0, BLOCK)
    inside = columns < vocabulary
    scores = tl.load(logits + row * stride + columns, mask=inside, other=-float("inf")).to(tl.float32)
    largest = tl.max(scores, axis=0)
    # The maximum of a GPU passes over NaN.
    wrong = tl.max(tl.where(scores != scores, 1, 0), axis=0)
    largest = tl.where(wrong != 0, float("nan"), largest)
    if temperature > 0.0:
        step = tl.load(positions + row) + 1 - tl.load(prompts + entry)
        step = tl.where((step < 0) | (step >= LAST), LAST - 1, step)
        key = tl.load(keys + entry * LAST + step).to(tl.uint64)
        pair = (piece * (BLOCK // 2) + tl.arange(0, BLOCK // 2) + 1).to(tl.uint64)
        z = mixed(key + pair * 0x9E3779B97F4A7C15)
        low = (z & 0x7FFFFFFF).to(tl.int32)
        high = ((z >> 32) & 0x7FFFFFFF).to(tl.int32)
        v = (tl.interleave(low, high).to(tl.float32) + 0.5) * -4.656612873077393e-10
        noise = -libdevice.log(-libdevice.log1p(v))
        if not SHAPED:
            scores = tl.div_rn(scores, temperature)
        scores = scores + noise
    scores = tl.where(inside, scores, -float("inf"))
    best, at = tl.max(scores, axis=0, return_indices=True)
    tl.store(best_of + row * pieces + piece, best)
    tl.store(at_of + row * pieces + piece, (piece * BLOCK + at).to(tl.int32))
    tl.store(largest_of + row * pieces + piece, largest)


@triton.jit(do_not_specialize=["pieces"])
def reduce_kernel(
    best_of, at_of, largest_of, index, entry_of, positions, prompts, largest,
    tokens, pieces, LAST: tl.constexpr, BLOCK: tl.constexpr, SHAPED: tl.constexpr,
):  # fmt: skip
    """The best token of each row, and its largest logit by step."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < pieces
    best = tl.load(best_of + row * pieces + columns, mask=inside, other=-float("inf"))
    _, at = tl.max(best, axis=0, return_indices=True)
    tl.store(tokens + row, tl.load(at_of + row * pieces + at).to(tl.int64))
    if not SHAPED:
        sizes = tl.load(largest_of + row * pieces + columns, mask=inside, other=-float("inf"))
        wrong = tl.max(tl.where(sizes != sizes, 1, 0), axis=0)
        top = tl.where(wrong != 0, float("nan"), tl.max(sizes, axis=0))
        entry = tl.load(entry_of + tl.load(index + row)).to(tl.int64)
        step = tl.load(positions + row) + 1 - tl.load(prompts + entry)
        step = tl.where((step < 0) | (step >= LAST), LAST - 1, step)
        tl.store(largest + entry * LAST + step, top)
