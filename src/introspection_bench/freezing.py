"""Attrs converters that make what they are given immutable: tuples, read-only arrays, read-only mappings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt


def frozen_tuple(items: Iterable[Any]) -> tuple[Any, ...]:
    """Return the items as a tuple (``tuple`` itself is generic, which mypy's attrs plugin can't follow)."""
    return tuple(items)


def frozen_mapping(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a read-only copy."""
    return MappingProxyType(dict(mapping))


def frozen_float32(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return a read-only float32 copy."""
    array = np.array(values, dtype=np.float32, copy=True)
    array.setflags(write=False)
    return array
