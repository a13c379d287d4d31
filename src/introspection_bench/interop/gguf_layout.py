"""The layout of a GGUF file, read within its bounds.

The package gguf reads files that one trusts: an array that claims 2^60 entries keeps it busy for ever. Here each number
that a file states is held against the bytes that are there. Source: ggml, ``docs/gguf.md``, versions 2 and 3.
"""

from __future__ import annotations

import struct
from typing import Any

import attrs
import numpy as np

from ..untrusted import each_once
from ..vectors import FloatArray

_MAGIC, _VERSIONS, _ALIGNMENT = b"GGUF", (2, 3), "general.alignment"
_STRING, _ARRAY, _FLOAT32 = 8, 9, 0
#: The fixed-width types of metadata by their number, as :mod:`struct` writes them.
_FIXED = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def parse_gguf(data: bytes) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    """Return a file's metadata and its tensors by name: float32, one-dimensional, as control vectors are.

    Arrays among the metadata are passed over (None). Raises ValueError with a reason for anything else than a whole
    little-endian file of such tensors, each name once.
    """
    at = _Cursor(data)
    if at.take(4) != _MAGIC:
        raise ValueError("no GGUF file")
    version = at.number("I")
    if version not in _VERSIONS:
        raise ValueError(f"GGUF version {version}; {_VERSIONS} are read, little-endian")
    n_tensors, n_fields = at.number("Q"), at.number("Q")
    fields = each_once([at.field() for _ in at.counted(n_fields)])
    places = each_once([at.tensor() for _ in at.counted(n_tensors)])
    alignment = fields.get(_ALIGNMENT, 32)
    if type(alignment) is not int or not 0 < alignment <= 2**16 or alignment & (alignment - 1):
        raise ValueError(f"an alignment of {alignment!r}")
    start = -(-at.place // alignment) * alignment
    return fields, {name: _values(data, start + offset, width) for name, (width, offset) in places.items()}


def _values(data: bytes, start: int, width: int) -> FloatArray:
    if start + 4 * width > len(data):
        raise ValueError(f"a tensor that ends at byte {start + 4 * width:,} of {len(data):,}")
    return np.frombuffer(data, "<f4", width, start).astype(np.float32)


@attrs.define
class _Cursor:
    """Reads forward, and never past the end."""

    data: bytes
    place: int = 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.place:
            raise ValueError(f"the file ends at byte {len(self.data):,}, and {count:,} more are announced")
        self.place += count
        return self.data[self.place - count : self.place]

    def number(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def counted(self, count: int) -> range:
        """Return a range of so many entries, each of which takes 8 bytes at least."""
        if count > (len(self.data) - self.place) // 8:
            raise ValueError(f"{count:,} entries announced in a file of {len(self.data):,} bytes")
        return range(count)

    def text(self) -> str:
        return self.take(self.number("Q")).decode()

    def field(self) -> tuple[str, Any]:
        name, kind = self.text(), self.number("I")
        if kind == _STRING:
            return name, self.text()
        if kind != _ARRAY:
            return name, self.number(_code(kind))
        kind, count = self.number("I"), self.number("Q")
        if kind == _STRING:
            for _ in self.counted(count):
                self.text()
        else:
            self.take(count * struct.calcsize(f"<{_code(kind)}"))
        return name, None

    def tensor(self) -> tuple[str, tuple[int, int]]:
        name, dimensions = self.text(), self.number("I")
        if dimensions != 1:
            raise ValueError(f"the tensor {name[:40]!r} of {dimensions} dimensions, not 1")
        width, kind, offset = self.number("Q"), self.number("I"), self.number("Q")
        if kind != _FLOAT32:
            raise ValueError(f"the tensor {name[:40]!r} of type {kind}, not float32 (0)")
        return name, (width, offset)


def _code(kind: int) -> str:
    if kind not in _FIXED:
        raise ValueError(f"metadata of type {kind}")
    return _FIXED[kind]
