"""The nnsight traces: what runs inside the model, here or on a server.

A trace's body is source text to nnsight: it is parsed, and for a server shipped as it stands with the values that
it names. The functions that it calls travel with it, as source as well (:mod:`.ndif` names their modules), and so use
nothing but torch, nnsight, tensors, envoys and each other: the same lines run on a server that has never heard of this
package.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import nnsight
import torch

from ..hf.blocks import hidden_of, with_hidden
from ..reading import cosines, distribution, likelihoods, log_masses
from ..steering import steer
from .lens import finished


def encode(rows: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
    """Return rows as a model input: two tensors (rows, tokens).

    Shorter rows are padded on the right without a mask: under a causal one no token sees what stands behind it.
    """
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def at_blocks(stations: Sequence[Any], seen: int, lens: Any) -> tuple[list[Any], list[Any], int]:
    """Steer and read one forward pass, behind ``seen`` positions; called within a trace.

    ``stations`` are (block, MLP branch or None, rounds, groups) in the order of the forward pass. A round holds at most
    one steer of each row, (rows, directions, lengths, starts, stops, projecting), all but the last tensors of one line
    a row: see :func:`.steering.steer`. A group is what is read of some rows at the same positions, (kind, rows, start,
    stop, vectors or token sets). ``lens`` is (norm, unembedding, scale, cap), see :mod:`.lens`.

    Returns what each round measured, (3, its rows, positions), what each group read, and the number of positions; all
    on the CPU.
    """
    measured: list[Any] = []
    found: list[Any] = []
    count = 0
    for block, branch, rounds, groups in stations:
        norms = None
        if branch is not None:
            # Before the block's output is asked for, since a block may add to the branch's tensor in place.
            norms = hidden_of(branch.output).float().norm(dim=-1)
        output = block.output
        origin = stream = hidden_of(output)
        count = stream.shape[1]
        device = stream.device
        if rounds:
            stream = origin.clone()
            at = torch.arange(seen, seen + count, device=device)
            norms = None if norms is None else norms.reshape(stream.shape[:2]).to(device)
        for number, (rows, directions, lengths, starts, stops, projecting) in enumerate(rounds):
            chosen = rows.to(device)
            after, sizes = steer(
                stream[chosen],
                directions.to(device),
                lengths.to(device),
                (starts.to(device) <= at) & (at < stops.to(device)),
                None if norms is None else norms[chosen],
                origin=origin[chosen] if number else None,
                projecting=projecting,
            )
            stream[chosen] = after
            measured.append(sizes.detach().cpu())
        if rounds:
            block.output = with_hidden(output, stream)
        for kind, members, start, stop, told in groups:
            # Indexing by a list copies: a later module may write into the block's tensor.
            part = stream[members, max(start - seen, 0) : max(stop - seen, 0)].detach()
            found.append(read_stream(kind, part, told, lens).cpu())
    return measured, found, count


def read_stream(kind: str, part: torch.Tensor, told: Any, lens: Any) -> torch.Tensor:
    """Return residuals, cosines or lens of a part of the stream (rows, positions, hidden_size): float32."""
    if kind == "residuals":
        return part.float()
    if kind == "cosines":
        return torch.stack([cosines(row, told.to(row.device)) for row in part])
    norm, unembed, scale, cap = lens
    # A server may keep gradients.
    with torch.no_grad():
        return torch.stack([log_masses(finished(unembed(norm(row)), scale, cap), told) for row in part])


def read_logits(logits: torch.Tensor, length: int, groups: Sequence[Any]) -> list[torch.Tensor]:
    """Return what groups (see :func:`at_blocks`) read of the logits of the last of ``length`` positions."""
    found = []
    skipped = length - logits.shape[1]
    for kind, members, start, stop, told in groups:
        part = logits[members, start - skipped : max(stop - skipped, 0)].detach()
        if kind == "likelihood":
            rows = [likelihoods(row, ids.to(row.device)) for row, ids in zip(part, told, strict=True)]
        elif kind == "distribution":
            rows = [distribution(row) for row in part]
        else:
            rows = [log_masses(row, told) for row in part]
        found.append(torch.stack(rows).cpu())
    return found


def sample(model: Any, backend: Any, stations: Sequence[Any], encoding: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Generate, steer and read; return what was saved (values of None where the trace was only submitted).

    ``stations`` are those of :func:`at_blocks`; ``options`` go to Hugging Face's ``generate``. Saved are, for each
    forward pass, ``measured`` and ``found`` as :func:`at_blocks` returns them and ``largest``, each row's largest
    logit; and ``tokens`` (rows, prompt and sampled tokens).
    """
    measured: Any = None
    found: Any = None
    largest: Any = None
    tokens: Any = None
    # No comments and no wrapped lines in the body: a remote trace is unparsed, which drops them, and nnsight then looks
    # for the inner blocks by line number. So here: without tracer.iter the prefill alone would be steered.
    with _quiet_open_loop(), model.generate(backend=backend, **options) as tracer:
        with tracer.invoke(encoding):
            measured = nnsight.save([])
            found = nnsight.save([])
            largest = nnsight.save([])
            seen = 0
            for _ in tracer.iter[:]:
                touched, read, count = at_blocks(stations, seen, None)
                seen += count
                measured.append(touched)
                found.append(read)
                largest.append(model.output.logits[:, -1].float().amax(dim=-1).cpu())
        with tracer.invoke():
            tokens = nnsight.save(tracer.result.cpu())
    return {"measured": measured, "found": found, "largest": largest, "tokens": tokens}


def replay(
    model: Any,
    backend: Any,
    stations: Sequence[Any],
    encoding: Any,
    *,
    groups: Sequence[Any],
    lens: Any,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Run rows once, steer and read; return what was saved, as :func:`sample` does.

    ``groups`` are read of the logits, behind those of the ``stations``; ``options`` go to the model's forward.
    """
    measured: Any = None
    found: Any = None
    length = encoding["input_ids"].shape[1]
    with torch.no_grad(), model.trace(encoding, backend=backend, **options):
        touched, read, _ = at_blocks(stations, 0, lens)
        if groups:
            read = [*read, *read_logits(model.output.logits, length, groups)]
        measured = nnsight.save([touched])
        found = nnsight.save([read])
    return {"measured": measured, "found": found}


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
            hidden = hidden_of(blocks[number].output)
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
        hidden = hidden_of(update)
        own = hidden.detach().to("cpu", torch.float32, copy=True)
        if put is not None:
            branch.output = with_hidden(update, put.to(hidden, copy=True).reshape(hidden.shape))
        whole = hidden_of(block.output)
        found = nnsight.save([own, whole.detach().to("cpu", torch.float32, copy=True)])
    return found  # noqa: RET504  # nnsight fills this variable from the trace


def read_lens(model: Any, backend: Any, block: Any, norm: Any, unembed: Any) -> Any:
    """Return norm and unembedding of what leaves the last block, and the model's own logits: (3, vocabulary) each."""
    encoding = encode([(0, 1, 2)])
    found: Any = None
    with torch.no_grad(), model.trace(encoding, backend=backend):
        raw = unembed(norm(hidden_of(block.output)[0]))
        found = nnsight.save([raw.detach().float().cpu(), model.output.logits[0].detach().float().cpu()])
    return found  # noqa: RET504  # nnsight fills this variable from the trace


def vector_lens(model: Any, backend: Any, block: Any, norm: Any, unembed: Any, *, streams: Any) -> Any:
    """Return what norm and unembedding make of streams (n, hidden_size) in the last block's place: (n, vocabulary)."""
    encoding = encode([(0, 1, 2)])
    found: Any = None
    with torch.no_grad(), model.trace(encoding, backend=backend):
        raw = unembed(norm(streams.to(hidden_of(block.output))))
        found = nnsight.save(raw.detach().float().cpu())
    return found  # noqa: RET504  # nnsight fills this variable from the trace


@contextmanager
def _quiet_open_loop() -> Iterator[None]:
    """Silence nnsight's remark that an open ``tracer.iter[:]`` ends with the generation: it is meant to."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*was never reached: the loop asked for a step", category=UserWarning
        )
        yield
