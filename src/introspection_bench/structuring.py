"""Plain data (TOML, JSON) into attrs classes, strictly: cattrs without its conversions, and its errors in words.

cattrs turns 3 into ``"3"``, ``"no"`` into True and ``"love"`` into ``("l", "o", "v", "e")``. In a file that somebody
wrote, such a slip must be an error that names the key.
"""

from __future__ import annotations

import base64
import datetime
import types
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

import attrs
import cattrs
import numpy as np
from cattrs.cols import is_sequence, list_structure_factory
from cattrs.gen import make_dict_structure_fn

from .boundaries import unguarded

#: As annotations have it: whoever holds the clock still replaces the name in its module.
_DATE = datetime.date


def strict_converter(*, forbid_extra_keys: bool = True) -> cattrs.Converter:
    """Return a cattrs converter that converts nothing.

    Text, truth values and whole numbers must be what they are; a float may be written as a whole number; a sequence
    must be a list (``tuple`` fields get tuples), an attrs class a table. Whatever it raises, :func:`problems` words.
    """
    converter = cattrs.Converter(forbid_extra_keys=forbid_extra_keys)
    converter.register_structure_hook(str, _exactly("text", str))
    converter.register_structure_hook(bool, _exactly("true or false", bool))
    converter.register_structure_hook(int, _exactly("a whole number", int))
    converter.register_structure_hook(float, _exactly("a number", int, float))
    converter.register_structure_hook(_DATE, _date)
    converter.register_structure_hook_func(_is_array, _array)
    converter.register_structure_hook_func(_is_plain_union, _one_of)

    @converter.register_structure_hook_factory(is_sequence)
    def _lists(kind: Any) -> Callable[[Any, Any], Any]:
        structure_list = list_structure_factory(kind, converter)
        finish: Callable[[Any], Any] = list if (get_origin(kind) or kind) is list else tuple

        def only_list(value: Any, _: Any) -> Any:
            if not isinstance(value, list | tuple):
                raise TypeError(f"required a list, got {value!r}")
            return finish(structure_list(value, kind))

        return only_list

    @converter.register_structure_hook_factory(attrs.has)
    def _tables(kind: Any) -> Callable[[Any, Any], Any]:
        structure = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=forbid_extra_keys)

        def only_table(value: Any, _: Any) -> Any:
            if not isinstance(value, Mapping):
                raise TypeError(f"required a table, got {value!r}")
            with unguarded():
                return structure(value, kind)

        return only_table

    return converter


def plain(value: Any) -> Any:
    """Return a value as JSON has it: attrs classes and mappings as tables, sequences as lists, arrays as base64.

    What :func:`strict_converter` reads back. Enumerations become their values and dates ISO 8601.
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value.value if isinstance(value, Enum) else value
    if attrs.has(type(value)):
        return {f.name: plain(getattr(value, f.name)) for f in attrs.fields(type(value)) if f.init}
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        data = np.ascontiguousarray(value, dtype="<f4").tobytes()
        return {"shape": list(value.shape), "float32": base64.b64encode(data).decode("ascii")}
    if isinstance(value, datetime.date):
        return value.isoformat()
    raise TypeError(f"no plain form of a {type(value).__name__}")


def _date(value: Any, _: Any) -> datetime.date:
    if isinstance(value, str):
        return datetime.date.fromisoformat(value)
    if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
        raise TypeError(f"required a date, as 2026-07-26, got {value!r}")
    return value


def _is_array(kind: Any) -> bool:
    return get_origin(kind) is np.ndarray or kind is np.ndarray


def _array(value: Any, _: Any) -> Any:
    if not isinstance(value, Mapping) or set(value) != {"shape", "float32"}:
        raise TypeError("required a table with shape and float32")
    shape = [int(n) for n in value["shape"]]
    return np.frombuffer(base64.b64decode(value["float32"], validate=True), dtype="<f4").reshape(shape)


def _is_plain_union(kind: Any) -> bool:
    """Whether an annotation is a union of words, texts and whole numbers alone, which cattrs can't tell apart."""
    if get_origin(kind) not in (Union, types.UnionType):
        return False
    return all(part in (str, int) or get_origin(part) is Literal for part in get_args(kind))


def _one_of(value: Any, kind: Any) -> Any:
    for part in get_args(kind):
        words = get_args(part)
        if (words and value in words and isinstance(value, str)) or (not words and type(value) is part):
            return value
    raise TypeError(f"required {kind}, got {value!r}")


def problems(error: BaseException, where: str) -> str:
    """Return what a strict converter found wrong as one line: each problem with the path of its key."""
    return "; ".join(cattrs.transform_error(error, path=where, format_exception=_say))


def _exactly(what: str, *kinds: type) -> Callable[[Any, Any], Any]:
    def hook(value: Any, target: Any) -> Any:
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise TypeError(f"required {what}, got {value!r}")
        return target(value)

    return hook


def _say(error: BaseException, _: Any) -> str:
    # cattrs' own wording drops what the hooks above and the classes' validators say.
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        return f"unknown key {', '.join(sorted(error.extra_fields))}"
    if isinstance(error, KeyError):
        return "missing"
    return str(error)
