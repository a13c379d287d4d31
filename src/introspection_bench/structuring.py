"""Plain data (TOML, JSON) into attrs classes, strictly: cattrs without its conversions, and its errors in words.

cattrs turns 3 into ``"3"``, ``"no"`` into True and ``"love"`` into ``("l", "o", "v", "e")``. In a file that somebody
wrote, such a slip must be an error that names the key.
"""

from __future__ import annotations

import base64
import datetime
import re
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

import attrs
import cattrs
import numpy as np
from cattrs.cols import is_sequence, list_structure_factory
from cattrs.errors import IterableValidationNote
from cattrs.gen import make_dict_structure_fn

from .boundaries import unguarded
from .errors import IntrospectionBenchError, explain, meant

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


#: A key's path in plain data: names of tables and keys, and places in lists.
Keys = tuple[str | int, ...]
#: What finds out where keys stand, asked once something is wrong.
Places = Callable[[], Mapping[Keys, str]]


def problems(error: BaseException, root: str, places: Places = dict, written: Callable[[Keys], Keys] = tuple) -> str:
    """Return what a strict converter found wrong as one line: each problem with the path of its key.

    ``places`` returns where keys stand ("line 12"); ``written`` returns a path as the file has it, where that was
    rearranged before it was read.
    """
    told, known = [], places()
    for path, named, text in _faults(error, ()):
        shown = written(path)
        at = _place(shown, named, known)
        told.append(f"{at}{': ' * bool(at)}{text} @ {_shown(root, shown)}")
    return "; ".join(told)


@contextmanager
def worded(
    error: type[IntrospectionBenchError],
    where: str,
    *,
    root: str,
    required: str,
    hint: str,
    also: tuple[type[Exception], ...] = (),
    places: Places = dict,
    written: Callable[[Keys], Keys] = tuple,
) -> Iterator[None]:
    """Raise ``error`` for what a strict converter finds wrong, and for ``also``, in the house's words.

    ``where`` says what was read and begins the message; ``root`` stands for the whole in paths; ``places`` and
    ``written`` are as of :func:`problems`. What is ``error`` already comes through.
    """
    wrong: tuple[type[Exception], ...] = (cattrs.BaseValidationError, *also)
    try:
        yield
    except error:
        raise
    except wrong as fault:
        if isinstance(fault, cattrs.BaseValidationError):
            got = problems(fault, root, places, written)
        else:
            got = str(fault) if isinstance(fault, ValueError | TypeError) else f"{type(fault).__name__}: {fault}"
        raise error(explain(where, required=required, got=got, hint=hint)) from fault


def _faults(error: BaseException, path: Keys) -> Iterator[tuple[Keys, str, str]]:
    """Yield each problem: the path of what was read, the key in it that is named as wrong ("" for none), and why."""
    if isinstance(error, cattrs.ClassValidationError | cattrs.IterableValidationError):
        noted, bare = error.group_exceptions()
        for inner, note in noted:
            yield from _faults(inner, (*path, note.index if isinstance(note, IterableValidationNote) else note.name))
        for inner in bare:
            yield from _faults(inner, path)
    elif isinstance(error, cattrs.ForbiddenExtraKeysError):
        known = [f.name for f in attrs.fields(error.cl)]
        for key in sorted(error.extra_fields):
            near = meant(key, known)
            yield path, key, f"unknown key {key}{f', {near[0].lower()}{near[1:]}' if near else ''}"
    elif isinstance(error, KeyError) and not isinstance(error, IntrospectionBenchError):
        yield path, "", "missing"
    else:
        text = str(error)
        named = _NAMED.match(text)
        yield path, named[1] if named else "", text


#: What a text of ours begins with: "design.doses: required …".
_NAMED = re.compile(r"(?:\w+\.)*(\w+): ")


def _place(path: Keys, named: str, places: Mapping[Keys, str]) -> str:
    """Return where a key stands, or else the nearest table around it that stands somewhere."""
    tried = [(*path, named), *(path[:n] for n in range(len(path), 0, -1))]
    return next((places[keys] for keys in tried if keys in places), "")


def _shown(root: str, path: Keys) -> str:
    return root + "".join(f".{step}" if isinstance(step, str) else f"[{step}]" for step in path)


def _exactly(what: str, *kinds: type) -> Callable[[Any, Any], Any]:
    def hook(value: Any, target: Any) -> Any:
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise TypeError(f"required {what}, got {value!r}")
        return target(value)

    return hook
