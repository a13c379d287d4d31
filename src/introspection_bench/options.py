"""Options by name (from Python, a command line, TOML) against a constructor's signature, before it is called."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs
import cattrs

from .errors import OptionError, explain
from .structuring import problems, strict_converter

_CONVERTER = strict_converter()


def checked_options(owner: str, constructor: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``options`` as ``constructor`` takes them.

    A table becomes the attrs class that is asked for, and the word "none" None where text is not: TOML and command
    lines have no None. ``owner`` is named in errors, which show no value of an unknown option: it may be a key.

    Raises:
        OptionError: an option that is unknown, missing or of another type.
    """
    signature = inspect.signature(constructor)
    accepted = {
        name: p
        for name, p in signature.parameters.items()
        if name != "self" and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    open_ended = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    unknown = [name for name in options if name not in accepted and not open_ended]
    missing = [name for name, p in accepted.items() if p.default is p.empty and name not in options]
    if unknown or missing:
        got = [f"unknown: {', '.join(map(repr, unknown))}"] if unknown else []
        got += [f"missing: {', '.join(map(repr, missing))}"] if missing else []
        raise OptionError(
            explain(
                f"options of {owner}",
                required=f"options out of {sorted(accepted)}",
                got="; ".join(got),
                hint="Keys are no options: they are read from the environment." if unknown else "Give it by its name.",
            )
        )
    try:
        # Of a class itself they would be those of its attributes.
        made_by = vars(constructor).get("__init__", constructor) if isinstance(constructor, type) else constructor
        hints = get_type_hints(made_by)
    except Exception:  # a plugin's annotations may name what only a type checker imports
        return dict(options)
    return {name: _fitting(owner, name, value, hints.get(name, Any)) for name, value in options.items()}


def accepts(constructor: Callable[..., Any], option: str) -> bool:
    """Whether a constructor has an option of this name."""
    return option in inspect.signature(constructor).parameters


def _fitting(owner: str, name: str, value: Any, kind: Any) -> Any:
    try:
        return _fit(value, kind)
    except (TypeError, ValueError, cattrs.BaseValidationError) as error:
        got = problems(error, name) if isinstance(error, cattrs.BaseValidationError) else repr(value)
        raise OptionError(
            explain(f"option {name!r} of {owner}", required=_words(kind), got=got, hint="Mend its type.")
        ) from error


def _fit(value: Any, kind: Any) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _fit_one(value, sorted(parts, key=lambda part: part is types.NoneType))
    if kind in (str, bool, int, float) or (attrs.has(kind) and isinstance(value, Mapping)):
        return _CONVERTER.structure(value, kind)
    if origin in (Sequence, list, tuple) and isinstance(value, list | tuple):
        return [_fit(item, parts[0]) for item in value]
    if kind is types.NoneType and value == "none":
        return None
    if not _is(value, kind, origin, parts):
        raise TypeError(f"required {_words(kind)}")
    return value


def _is(value: Any, kind: Any, origin: Any, parts: Sequence[Any]) -> bool:
    if origin is Literal:
        return any(value == part and type(value) is type(part) for part in parts)
    if origin in (Sequence, list, tuple):
        return False
    wanted = origin or kind
    return kind is Any or (isinstance(wanted, type) and isinstance(value, wanted))


def _fit_one(value: Any, kinds: Sequence[Any]) -> Any:
    for kind in kinds:
        try:
            return _fit(value, kind)
        except (TypeError, cattrs.BaseValidationError):
            # A table is meant for the one class that takes a table: its own words say what is wrong in it.
            if attrs.has(kind) and isinstance(value, Mapping):
                raise
    raise TypeError("none fits")


def _words(kind: Any) -> str:
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(part) for part in parts))
    if origin is Literal:
        return f"one of {list(parts)}"
    if origin in (Sequence, list, tuple):
        return f"a list ({_words(parts[0])})"
    named = {str: "text", bool: "true or false", int: "a whole number", float: "a number", types.NoneType: "none"}
    if kind in named:
        return named[kind]
    if origin is Mapping or attrs.has(kind):
        return "a table"
    return f"a {getattr(origin or kind, '__name__', kind)}"
