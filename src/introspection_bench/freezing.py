"""Attrs converters that make what they are given immutable: tuples, read-only arrays, read-only mappings."""

from __future__ import annotations

import numbers
import operator
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt


def frozen_tuple(items: Iterable[Any]) -> tuple[Any, ...]:
    """Return the items as a tuple (``tuple`` itself is generic, which mypy's attrs plugin can't follow).

    Raises TypeError, which :func:`~introspection_bench.boundaries.guarded` words, for a single text: it would be taken
    apart into its letters.
    """
    if isinstance(items, str):
        raise TypeError("a single text is no sequence of items")
    return tuple(items)


def frozen_ints(items: Iterable[Any]) -> tuple[int, ...]:
    """Return whole numbers, NumPy's and torch's included, as a tuple of Python's (which alone go into JSON)."""
    return tuple(operator.index(item) for item in items)


def plain_int(value: Any) -> Any:
    """Return a whole number, NumPy's included, as Python's; anything else as it is, for a validator to refuse."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return value if type(value) is int or not whole else int(value)


def plain_float(value: Any) -> float:
    """Return a number as a float, -0.0 as 0.0: the two are equal, so they must not differ in a digest."""
    return float(value) + 0.0


def frozen_mapping(mapping: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return a read-only copy."""
    return MappingProxyType(dict(mapping))


def frozen_float32(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return a read-only float32 copy."""
    with np.errstate(over="ignore"):  # what overflows becomes infinite, which the validators refuse by name
        array = np.array(values, dtype=np.float32, copy=True)
    array.setflags(write=False)
    return array
