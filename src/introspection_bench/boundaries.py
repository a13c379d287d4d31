"""What callers pass, checked where it comes in: against the annotations that are there anyway.

A path where results are wanted, a bare text where a list is, a name where a scaffold is: each is the house's error that
says which argument, not an AttributeError from deep inside.
"""

from __future__ import annotations

import builtins
import collections.abc
import functools
import inspect
import numbers
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from .errors import IntrospectionBenchError, SpecError, explain

P = ParamSpec("P")
R = TypeVar("R")


def checked(error: type[IntrospectionBenchError] = SpecError) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that checks a function's arguments against their annotations and raises ``error``.

    Checked are types, the items of lists and tuples, and the words of a Literal; not ranges, which are the function's
    own matter. A whole number passes for a float, NumPy's numbers for Python's; a text never passes for a sequence. A
    misspelt or missing argument stays Python's TypeError.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            hints = _hints(function)
            for name, value in signature.bind(*args, **kwargs).arguments.items():
                hint = hints.get(name, Any)
                if not fits(value, hint):
                    raise error(explain(name, required=words(hint), got=_shown(value), hint=_REMEDY.get(name, "")))
            return function(*args, **kwargs)

        return call

    return decorate


_REMEDY = {
    "frame": "Make it with records_frame(results) or results.frame().",
    "first": "Read it with ib.read_results(path).",
    "second": "Read it with ib.read_results(path).",
    "records": "Read them with ib.read_results(path).",
    "concepts": "Load a set with ib.load_concepts(name).",
    "vectors": "Extract them with ib.extract, or load them with ConceptVector.load.",
}


def fits(value: object, hint: Any) -> bool:  # noqa: PLR0911  # one line for each kind of annotation
    """Say whether a value is what an annotation asks for; what can't be told from the annotation passes."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or isinstance(hint, TypeVar | str):
        return True
    if hint is None or hint is type(None):
        return value is None
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, each) for each in arguments)
    if origin is typing.Literal:
        return any(type(value) is type(each) and value == each for each in arguments)
    if origin is collections.abc.Callable:
        return callable(value)
    kind = origin or hint
    if kind is bool:
        return isinstance(value, bool)
    if kind in _NUMBERS:
        # Beyond the limit no whole number means anything, and NumPy gives up. Other ranges are the function's matter.
        small = not isinstance(value, numbers.Integral) or abs(int(value)) < _WHOLE
        return isinstance(value, _NUMBERS[kind]) and not isinstance(value, bool) and small
    if not isinstance(kind, type) or (getattr(kind, "_is_protocol", False) and kind.__module__ != "collections.abc"):
        return True
    if kind in _SEQUENCES and (isinstance(value, str | bytes | Mapping) or hasattr(value, "columns")):
        return False
    if kind in _SEQUENCES and hasattr(value, "tolist"):  # an array's items are checked like a list's
        value = value.tolist()
    # Arrays and indices are no Sequence by name, and are as good.
    if not isinstance(value, collections.abc.Iterable if kind is collections.abc.Sequence else kind):
        return False
    if isinstance(value, list | tuple) and arguments and Ellipsis not in arguments and kind in _SEQUENCES:
        return all(fits(item, arguments[0]) for item in value)
    return True


_WHOLE = 2**64
_NUMBERS: dict[Any, type] = {int: numbers.Integral, float: numbers.Real}
_SEQUENCES = (list, tuple, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)


def words(hint: Any) -> str:
    """Return an annotation as a reader of an error would say it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(words(each) for each in arguments)
    if origin is typing.Literal:
        return f"one of {list(arguments)}"
    if hint is None or hint is type(None):
        return "None"
    name = {str: "text", int: "a whole number", float: "a number", bool: "True or False"}.get(hint)
    if name:
        return name
    if origin in _SEQUENCES:
        return f"a list of {words(arguments[0])}"
    return f"a {getattr(origin or hint, '__name__', hint)}"


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str | bytes | numbers.Number | list | tuple | types.NoneType) else ""
    return text if text and len(text) <= 100 else f"a {type(value).__name__}"


@functools.cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return a function's annotations as objects; one that only a type checker can resolve is left out."""
    space = {**vars(builtins), **vars(sys.modules[function.__module__])}
    found = {}
    for name, text in function.__annotations__.items():
        try:
            found[name] = eval(text, space) if isinstance(text, str) else text  # noqa: S307  # our own source's text
        except (NameError, AttributeError):
            continue
    return found
