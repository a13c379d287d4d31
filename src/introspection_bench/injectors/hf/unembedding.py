"""From states to logits as the model itself makes them, and from the stream of any block: the logit lens.

What stands between the last block and the logits differs by architecture: norms, projections, scalings (Granite,
Cohere, MiniCPM), soft-capping (Gemma 2). None of it is written again here. The modules that follow the last block are
found in a pass, and what follows those is the model's own ``forward`` around a body that hands it the states at once.
Both are proved: at the last block they must give the model's own logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from transformers.utils.generic import ModelOutput

from ...errors import ModelError, explain
from .blocks import hidden_of


@attrs.frozen(eq=False)
class Unembedding:
    """Makes logits (positions, vocabulary) of states (positions, width), as the model itself would.

    ``before`` are the modules that the states pass first: none for what the base model returns, the final norm for
    the stream that leaves a block.
    """

    _model: Any
    _body: nn.Module
    _returned: Any
    vocabulary: int
    before: tuple[nn.Module, ...] = ()

    def __call__(self, states: Tensor) -> Tensor:
        """Return the logits, where the model's last part is."""
        with torch.inference_mode():
            states = states[None]
            for module in self.before:
                states = hidden_of(module(states))
            ids = torch.zeros(states.shape[:2], dtype=torch.long, device=states.device)
            with _returning(self._body, _with_states(self._returned, states)):
                logits: Tensor = self._model(input_ids=ids, use_cache=False).logits[0]
            return logits


@attrs.frozen(eq=False)
class _Run:
    """One pass: the last block's output, the logits, and the modules that ran behind the last block.

    Of each of them what it got and gave, in order. ``body`` is the largest part of the model around its blocks that ran
    as a module; ``returned`` is its output.
    """

    stream: Tensor
    body: nn.Module
    returned: Any
    logits: Tensor
    behind: tuple[tuple[nn.Module, Any, Any], ...]


def find_unembedding(model: Any, blocks: Sequence[nn.Module], ids: Tensor) -> Unembedding:
    """Return what makes the model's logits of what its base model returns, proved on ``ids`` (1, n).

    Raises :class:`ModelError` where that gives other logits than the model's own.
    """
    run = _run(model, blocks, ids)
    found = Unembedding(model, run.body, _with_states(run.returned, None), run.logits.shape[-1])
    with torch.inference_mode():
        states = _states(model.base_model(input_ids=ids, use_cache=False))
    _prove("logits", found, states, run.logits)
    return found


def find_lens(model: Any, blocks: Sequence[nn.Module], ids: Tensor) -> Unembedding:
    """Return what makes logits of the stream that leaves a block, proved at the last one on ``ids`` (1, n).

    Raises :class:`ModelError` where that gives other logits than the model's own.
    """
    run = _run(model, blocks, ids)
    states, chain = run.stream, []
    for module, given, made in run.behind:
        if isinstance(given, Tensor) and given.shape == states.shape and torch.equal(given, states):
            chain.append(module)
            states = hidden_of(made)
    found = Unembedding(model, run.body, _with_states(run.returned, None), run.logits.shape[-1], tuple(chain))
    names = {module: name for name, module in model.named_modules()}
    _prove(f"logit lens by {[names[m] for m in chain]}", found, run.stream, run.logits)
    return found


def _run(model: Any, blocks: Sequence[nn.Module], ids: Tensor) -> _Run:
    last = blocks[-1]
    inside = {id(m) for block in blocks for m in block.modules()}
    around = [m for m in model.modules() if m is not model and m is not last and any(c is last for c in m.modules())]
    others = [m for m in model.modules() if m is not model and id(m) not in inside and all(m is not a for a in around)]
    streams: list[Tensor] = []
    bodies: list[tuple[nn.Module, Any, int]] = []
    behind: list[tuple[nn.Module, Any, Any]] = []
    open_calls: list[nn.Module] = []

    def on_last(_: nn.Module, _args: Any, output: Any) -> None:
        streams.append(hidden_of(output).detach().clone())

    def on_body(module: nn.Module, _args: Any, output: Any) -> None:
        bodies.append((module, output, len(behind)))

    def on_begin(module: nn.Module, _args: Any) -> None:
        open_calls.append(module)

    def on_end(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        open_calls.pop()
        if streams and not open_calls:
            given = next((v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)), None)
            behind.append((module, given, output))

    handles = [last.register_forward_hook(on_last), *(m.register_forward_hook(on_body) for m in around)]
    for module in others:
        handles += [
            module.register_forward_pre_hook(on_begin),
            module.register_forward_hook(on_end, with_kwargs=True),
        ]
    try:
        with torch.inference_mode():
            logits = model(input_ids=ids, use_cache=False).logits
    finally:
        for handle in handles:
            handle.remove()
    if len(streams) != 1 or not bodies:
        raise ModelError(
            explain(
                "model",
                required="a last block that runs once in a pass, within a module that returns the states",
                got=f"{len(streams)} runs within {len(bodies)} modules",
                hint="Logits of this model can't be read; residuals and cosines can.",
            )
        )
    body, returned, count = bodies[-1]
    return _Run(streams[0], body, returned, logits, tuple(behind[:count]))


def _prove(what: str, found: Callable[[Tensor], Tensor], states: Tensor, logits: Tensor) -> None:
    own = logits[0].float()
    off = torch.inf
    try:
        off = float((found(states[0]).float() - own).norm() / own.norm().clamp_min(1e-9))
        fault = f"off by {off:.2g}"
    except Exception as error:  # modules that were called in another way fail in any way
        fault = f"{type(error).__name__}: {error}"
    # The same kernels on the same numbers; not all repeat their last bits. Written so that NaN is a fault.
    if not off <= max(4 * torch.finfo(logits.dtype).eps, 1e-4):
        raise ModelError(
            explain(
                what,
                required="the model's own logits at its last block",
                got=fault,
                hint="Something else stands between blocks and logits here; residuals and cosines can be read.",
            )
        )


def _states(returned: Any) -> Tensor:
    found: Tensor = returned["last_hidden_state"] if isinstance(returned, ModelOutput) else hidden_of(returned)
    return found


def _with_states(returned: Any, states: Tensor | None) -> Any:
    """Return a body's output with other states, and nothing else in it that a pass made."""
    if isinstance(returned, ModelOutput):
        return type(returned)(last_hidden_state=states)
    return (states,)


@contextmanager
def _returning(body: nn.Module, output: Any) -> Iterator[None]:
    """Have a module answer any call by ``output``, at once."""
    own = vars(body).get("forward")
    body.forward = lambda *_args, **_kwargs: output
    try:
        yield
    finally:
        if own is None:
            del body.forward
        else:
            body.forward = own
