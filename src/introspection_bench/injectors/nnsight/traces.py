"""The nnsight traces: what runs inside the model, here or on a server.

A trace's body is source text to nnsight: it is parsed, and for a server shipped as it stands with the values that
it names. So the bodies use torch, nnsight, tensors and envoys alone: the same lines run on a server that has never
heard of this package.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import nnsight
import torch

from ..base import Request
from ..steering import coefficients

#: int64's largest value stands for "to the end of the reply".
_NO_STOP = 2**63 - 1


def encode(prompts: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
    """Return prompts of one length as a model input without padding: two tensors (prompts, tokens)."""
    ids = torch.tensor([list(p) for p in prompts])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def make_plan(requests: Mapping[int, Request]) -> tuple[torch.Tensor, ...]:
    """Return what is added to these rows at one layer: (rows, directions, lengths, starts, stops), one line per row.

    ``lengths`` are :func:`.steering.coefficients`, so that a server needs no code of ours.
    """
    directions, lengths, starts, stops = [], [], [], []
    for request in requests.values():
        injection = request.injection
        assert injection is not None  # noqa: S101  # for the type checker; only steered rows come here
        lengths.append(coefficients(injection))
        directions.append(torch.tensor(injection.vector.unit.values))
        where = request.positions
        assert where is not None  # noqa: S101  # as above
        starts.append([where.start])
        stops.append([_NO_STOP if where.stop is None else where.stop])
    return (
        torch.tensor(list(requests)),
        torch.stack(directions),
        torch.tensor(lengths, dtype=torch.float32),
        torch.tensor(starts),
        torch.tensor(stops),
    )


def steer(model: Any, backend: Any, stations: Sequence[Any], encoding: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Generate and steer; return what was saved (values of None where the trace was only submitted).

    ``stations`` are (block, MLP branch or None, plan or None, captured) in the order of the forward pass; plans come
    from :func:`make_plan`. ``options`` go to Hugging Face's ``generate``.

    Saved are, for each forward pass, ``measured``: per plan one tensor (3, steered rows, positions) of ‖before‖, the
    length asked for (-1 where a position was not steered) and ‖after - before‖; ``streams``: one tensor (rows,
    positions, hidden_size) per captured block; ``largest``: each row's largest logit; and ``tokens`` (rows, prompt and
    sampled tokens). The arithmetic is that of :func:`.steering.steer`, which can't travel.
    """
    measured: Any = None
    streams: Any = None
    largest: Any = None
    tokens: Any = None
    # No comments and no wrapped lines in the body: a remote trace is unparsed, which drops them, and nnsight then looks
    # for the inner blocks by line number. So here: without tracer.iter the prefill alone would be steered; where()
    # instead of adding 0 lets an unsteered position keep its bits, signed zeros included; and the branch's norms are
    # taken before the block's output is asked for, since a block may add to the branch's tensor in place.
    with _quiet_open_loop(), model.generate(backend=backend, **options) as tracer:
        with tracer.invoke(encoding):
            measured = nnsight.save([])
            streams = nnsight.save([])
            largest = nnsight.save([])
            seen = 0
            for _ in tracer.iter[:]:
                touched: list[Any] = []
                kept: list[Any] = []
                count = 0
                for block, branch, plan, captured in stations:
                    sizes = None
                    if branch is not None:
                        update = branch.output
                        update = update[0] if isinstance(update, tuple) else update
                        sizes = update.float().norm(dim=-1)
                    output = block.output
                    hidden = output[0] if isinstance(output, tuple) else output
                    count = hidden.shape[1]
                    if plan is not None:
                        rows, directions, lengths, starts, stops = plan
                        rows, directions = rows.to(hidden.device), directions.to(hidden.device)
                        lengths = lengths.to(hidden.device)
                        starts, stops = starts.to(hidden.device), stops.to(hidden.device)
                        stream = hidden[rows]
                        before = stream.float().norm(dim=-1)
                        length = lengths[:, 0:1] + lengths[:, 1:2] * before
                        if sizes is not None:
                            length = length + lengths[:, 2:3] * sizes.reshape(hidden.shape[:-1]).to(hidden.device)[rows]
                        delta = (length[..., None] * directions[:, None, :]).to(hidden.dtype)
                        at = torch.arange(seen, seen + count, device=hidden.device)
                        steered = (starts <= at) & (at < stops)
                        after = torch.where(steered[..., None], stream + delta, stream)
                        moved = (after.float() - stream.float()).norm(dim=-1)
                        asked = torch.where(steered, length.abs(), -1.0)
                        touched.append(torch.stack([before, asked, moved]).cpu())
                        hidden = hidden.clone()
                        hidden[rows] = after
                        block.output = (hidden, *output[1:]) if isinstance(output, tuple) else hidden
                    if captured:
                        kept.append(hidden.detach().to("cpu", torch.float32, copy=True))
                seen += count
                measured.append(touched)
                streams.append(kept)
                largest.append(model.output.logits[:, -1].float().amax(dim=-1).cpu())
        with tracer.invoke():
            tokens = nnsight.save(tracer.result.cpu())
    return {"measured": measured, "streams": streams, "largest": largest, "tokens": tokens}


def generation_config(stop: Sequence[int], max_new_tokens: int | None = None) -> Any:
    """Return settings under which only our sampler decides, whatever a checkpoint ships beside its weights."""
    from transformers import GenerationConfig

    # Stated one by one: what is left open, a server fills in from the checkpoint's own file.
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        use_cache=True,
        eos_token_id=list(stop) or None,
        pad_token_id=stop[0] if stop else 0,
    )


def read_blocks(model: Any, backend: Any, blocks: Sequence[Any]) -> Any:
    """Return for each block: whether its output is the next one's input, the shape, the dtype's name."""
    encoding = encode([(0, 1, 2)])
    found: Any = None
    with model.trace(encoding, backend=backend):
        found = nnsight.save([])
        for number in range(len(blocks)):
            output = blocks[number].output
            hidden = output[0] if isinstance(output, tuple) else output
            same = True
            if number + 1 < len(blocks):
                same = bool(torch.equal(blocks[number + 1].input.cpu(), hidden.cpu()))
            found.append((same, [int(n) for n in hidden.shape], str(hidden.dtype)))
    return found


def read_branch(model: Any, backend: Any, branch: Any, block: Any, *, given: Any = None, put: Any = None) -> Any:
    """Return a branch's output and its block's (1, 3, hidden_size), float32.

    ``given`` takes the place of the block's input, ``put`` that of the branch's output.
    """
    encoding = encode([(0, 1, 2)])
    found: Any = None
    with model.trace(encoding, backend=backend):
        if given is not None:
            stream = block.input
            block.input = given.to(stream, copy=True)
        update = branch.output
        hidden = update[0] if isinstance(update, tuple) else update
        own = hidden.detach().to("cpu", torch.float32, copy=True)
        if put is not None:
            fresh = put.to(hidden, copy=True).reshape(hidden.shape)
            branch.output = (fresh, *update[1:]) if isinstance(update, tuple) else fresh
        output = block.output
        whole = output[0] if isinstance(output, tuple) else output
        found = nnsight.save([own, whole.detach().to("cpu", torch.float32, copy=True)])
    return found  # noqa: RET504  # nnsight fills this variable from the trace


@contextmanager
def _quiet_open_loop() -> Iterator[None]:
    """Silence nnsight's remark that an open ``tracer.iter[:]`` ends with the generation: it is meant to."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*was never reached: the loop asked for a step", category=UserWarning
        )
        yield
