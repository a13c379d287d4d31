"""Plain data (TOML, JSON) into attrs classes, strictly: cattrs without its conversions, and its errors in words.

cattrs turns 3 into ``"3"``, ``"no"`` into True and ``"love"`` into ``("l", "o", "v", "e")``. In a file that somebody
wrote, such a slip must be an error that names the key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_origin

import attrs
import cattrs
from cattrs.cols import is_sequence, list_structure_factory
from cattrs.gen import make_dict_structure_fn

from .boundaries import already


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
            before, already.checked = already.checked, True
            try:
                return structure(value, kind)
            finally:
                already.checked = before

        return only_table

    return converter


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
