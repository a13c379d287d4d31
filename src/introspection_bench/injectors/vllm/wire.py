"""What injector and workers tell each other: tables of plain numbers, as bytes. Nothing here imports vLLM."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs
import numpy as np
import numpy.typing as npt

#: The key of ``SamplingParams.extra_args`` and of ``additional_config`` under which we say something.
KEY = "introspection_bench"

#: Columns of a row of a request, int32: the absolute positions that it is for, its block, what is done there
#: (:data:`STEER` or :data:`CAPTURE`), the row of the vector, the place in the arena where position START is written
#: down, the stamp that is written with it, and, as the bits of a float32 each, the four
#: :func:`~introspection_bench.injectors.steering.coefficients`.
START, STOP, LAYER, KIND, VECTOR, BASE, STAMP, A, B, C, D = range(11)
WIDTH = 12
STEER, CAPTURE = 0, 1

#: What stands for "came from the prefix cache" where a position's measurements are told.
CACHED = -2.0

#: What a thing that is measured or captured in a pass is marked with before any pass.
NO_STAMP = 0


#: entry, prompt, temperature, top_k, top_p of an :class:`Order`, and how many keys and rows follow.
_HEAD = struct.Struct("<qqdqdqq")


@attrs.frozen
class Sizes:
    """How much a worker's tables hold: fixed when the engine is opened, since captured graphs keep their addresses.

    ``entries``: requests in flight or not yet read; ``rows``: steers and captured blocks of one request; ``vectors``:
    different vectors in flight; ``measured``: steered positions in flight; ``captures``: captured residuals in flight;
    ``tokens``: positions of one request.
    """

    entries: int
    rows: int
    vectors: int
    measured: int
    captures: int
    tokens: int


@attrs.frozen(eq=False)
class Order:
    """What a worker is told of one request.

    ``prompt`` counts the tokens that are given; ``keys`` (sampled tokens,) are int64, one a token; ``rows``
    (n, WIDTH) int32, by block, a block's steers in the request's order before its capture.
    """

    entry: int
    prompt: int
    temperature: float
    top_k: int
    top_p: float
    keys: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int32]

    def extra_args(self) -> dict[str, Any]:
        """Return it as ``SamplingParams.extra_args``: one object of bytes, which nobody takes apart on its way."""
        head = _HEAD.pack(
            self.entry, self.prompt, self.temperature, self.top_k, self.top_p, len(self.keys), len(self.rows)
        )
        return {KEY: b"".join((head, self.keys.tobytes(), self.rows.tobytes()))}

    @classmethod
    def of(cls, extra_args: Mapping[str, Any] | None) -> Self | None:
        """Return what a request's ``extra_args`` say; None for a request that isn't ours."""
        told = (extra_args or {}).get(KEY)
        if told is None:
            return None
        entry, prompt, temperature, top_k, top_p, keys, rows = _HEAD.unpack_from(told)
        at = _HEAD.size + 8 * keys
        return cls(
            entry=entry,
            prompt=prompt,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            keys=np.frombuffer(told, dtype=np.int64, count=keys, offset=_HEAD.size),
            rows=np.frombuffer(told, dtype=np.int32, count=rows * WIDTH, offset=at).reshape(rows, WIDTH),
        )


def bits(numbers: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """Return float32 numbers as the int32 of the same bits."""
    with np.errstate(over="ignore"):  # an infinite sum is an error by name, where it is added
        return np.asarray(numbers, dtype=np.float32).view(np.int32)


def counted(sizes: npt.NDArray[np.float32], lengths: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return at how many positions each steer did something, of (3, positions) of all of them, one behind the other."""
    # A length that isn't a number was written as well.
    did = np.concatenate([[0], np.cumsum(~(sizes[1] < 0))])
    ends = np.cumsum(lengths, dtype=np.int64)
    return np.asarray(did[ends] - did[ends - np.asarray(lengths, dtype=np.int64)], dtype=np.int64)


def pack(arrays: Mapping[str, npt.NDArray[Any]], told: Any = None) -> bytes:
    """Return named arrays, and ``told``, which JSON can say, as bytes."""
    kept = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    head = json.dumps([told, [[name, a.dtype.str, list(a.shape)] for name, a in kept.items()]]).encode()
    return b"".join([len(head).to_bytes(8, "little"), head, *(a.tobytes() for a in kept.values())])


def unpack(data: bytes) -> tuple[dict[str, npt.NDArray[Any]], Any]:
    """Return what :func:`pack` was given."""
    length = int.from_bytes(data[:8], "little")
    told, heads = json.loads(data[8 : 8 + length])
    at, arrays = 8 + length, {}
    for name, kind, shape in heads:
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(data, dtype=np.dtype(kind), count=count, offset=at).reshape(shape)
        at += arrays[name].nbytes
    return arrays, told
