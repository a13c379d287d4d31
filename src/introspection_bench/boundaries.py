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
import threading
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, ParamSpec, TypeVar

import attrs

from .errors import IntrospectionBenchError, SpecError, explain

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Test = Callable[[Any], bool]


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
            check_arguments(function, signature, signature.bind(*args, **kwargs).arguments, error)
            return function(*args, **kwargs)

        return call

    return decorate


def check_arguments(
    function: Callable[..., Any],
    signature: inspect.Signature,
    arguments: Mapping[str, Any],
    error: type[IntrospectionBenchError],
) -> None:
    """Raise ``error`` for the first of some arguments, by name, that isn't what the function's annotation says."""
    hints = _hints(function)
    for name, value in arguments.items():
        hint = hints.get(name, Any)
        kind = signature.parameters[name].kind if name in signature.parameters else None
        if kind is inspect.Parameter.VAR_POSITIONAL:
            hint = types.GenericAlias(tuple, (hint, ...))
        elif kind is inspect.Parameter.VAR_KEYWORD:
            hint = types.GenericAlias(collections.abc.Mapping, (str, hint))
        if not fits(value, hint):
            raise error(explain(name, required=words(hint), got=_shown(value), hint=_REMEDY.get(name, "")))


class _Already(threading.local):
    #: Whether what values are made of was checked on its way here, by the strict converter: once is enough for 100,000.
    checked = False


already = _Already()


@contextmanager
def unguarded() -> Iterator[None]:
    """Make values without the guards of their types, of parts that were all made under them: by the hundred thousand.

    Validators still run.
    """
    before, already.checked = already.checked, True
    try:
        yield
    finally:
        already.checked = before


def guarded(error: type[IntrospectionBenchError]) -> Callable[[type[T]], type[T]]:
    """Return a decorator of an attrs class whose fields are then checked against their annotations.

    Checked is what the field holds, behind its converter, as in :func:`checked`. What a converter or validator of the
    class raises because it was given another type is ``error``, too; what can't be blamed on a type comes through.
    """

    def decorate(cls: Any) -> Any:
        build = cls.__init__
        names = [field.name for field in attrs.fields(cls)]
        held = attrgetter("__class__", *names)  # of two names or more it returns a tuple
        checks: list[tuple[frozenset[type], Test]] = []

        @functools.wraps(build)
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            if already.checked:
                build(self, *args, **kwargs)
                return
            try:
                build(self, *args, **kwargs)
            except IntrospectionBenchError:
                raise
            except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as fault:
                wrong = _culprit(cls, inspect.signature(build).bind(self, *args, **kwargs).arguments)
                if wrong is None:
                    raise
                raise error(_complaint(cls, *wrong)) from fault
            if not checks:  # not at the definition: an annotation may name what is defined further down
                hints = [Any, *(_hints(cls).get(name, Any) for name in names)]
                checks[:] = [(_exact(hint), _test(hint)) for hint in hints]
            for (exact, fit), value in zip(checks, held(self), strict=True):
                if type(value) not in exact and not fit(value):
                    held_by = {name: getattr(self, name) for name in names}
                    raise error(_complaint(cls, *_misfit(cls, held_by)))

        cls.__init__ = init
        return cls

    return decorate


def _culprit(cls: type, given: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """Return name, annotation and value of the first argument that its field can't be made of."""
    for field in attrs.fields(cls):
        if field.name not in given:
            continue
        value = held = given[field.name]
        hint = _hints(cls).get(field.name, Any)
        if callable(field.converter):
            try:
                held = field.converter(value)
            except IntrospectionBenchError:
                raise
            except Exception:  # whatever it is, it comes of this value
                return field.name, hint, value
        if not fits(held, hint):
            return field.name, hint, value
    return None


def _misfit(cls: type, values: Mapping[str, Any]) -> tuple[str, Any, Any]:
    hints = _hints(cls)
    return next((name, hints[name], v) for name, v in values.items() if not fits(v, hints.get(name, Any)))


def _complaint(cls: type, name: str, hint: Any, value: object) -> str:
    return explain(f"{cls.__name__}.{name}", required=words(hint), got=_shown(value), hint=_REMEDY.get(name, ""))


_REMEDY = {
    "frame": "Give results as they are (ib.read_results(path) reads them), or a frame of them: results.frame().",
    "first": "Read it with ib.read_results(path).",
    "second": "Read it with ib.read_results(path).",
    "records": "Read them with ib.read_results(path).",
    "requests": "Make each with ib.Request.of(prompt, injections, sampling), and put them into a list.",
    "prompt": "Render one with scaffold.render(injector.tokenizer).",
    "scaffold": "Load one with ib.load_scaffold(name).",
    "scaffolds": "Put scaffolds, or their names, into a list, as in ['lindsey'].",
    "magnitudes": "Put the doses into a list, as in [0.3, 0.5].",
    "turns": "Write each as Turn(role, content).",
    "sampling": "Make it with ib.Sampling(temperature=…, max_new_tokens=…).",
    "concepts": "Name a set, or take some of one: ib.load_concepts('pairs').select('love').",
    "dose": "A magnitude means nothing without its unit: '0.3 residual'.",
    "doses": "Put doses with their units into a list, as in ['0.3 residual'].",
    "layers": "Put 0-based blocks into a list, as in [20]; a design also takes '2/3', a depth.",
    "layer": "A 0-based block is a whole number, as in 20.",
    "arms": "Put them into a list, as in [arms.Injected(10), arms.Unsteered(10)].",
    "injections": "Make each with ib.Injection(vector, layer, dose, span), and put them into a list.",
    "injector": "Open one with ib.open_injector('torch', model).",
    "measure": "Make one, as in measures.TokenLogprobs({'yes': ('Yes',), 'no': ('No',)}).",
    "planner": "Make it with ib.Design(…).",
    "span": "As it is written, as in 'from(trial)', or of ib.Span.",
    "table": "Make one with ib.rates(results).",
    "tokenizer": "It is the injector's: injector.tokenizer.",
    "vectors": "Extract them with ib.extract, or load them with ConceptVector.load.",
}


def fits(value: object, hint: Any) -> bool:
    """Say whether a value is what an annotation asks for; what can't be told from the annotation passes."""
    return _test(hint)(value)


@functools.cache
def _test(hint: Any) -> Test:  # noqa: PLR0911  # one line for each kind of annotation
    """Return the test that an annotation stands for, made once: records are made by the hundred thousand."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    kind = origin or hint
    if hint is Any or isinstance(hint, TypeVar | str):
        return lambda _: True
    if hint is None or hint is types.NoneType:
        return lambda value: value is None
    if origin in (typing.Union, types.UnionType):
        return _any_of([_test(each) for each in arguments])
    if origin is typing.Literal:
        return lambda value: any(type(value) is type(each) and value == each for each in arguments)
    if origin is collections.abc.Callable:
        return callable
    if kind is int:
        return _is_whole
    if kind is float:
        return lambda value: type(value) is float or _is_whole(value) or _is_fraction(value)
    if not isinstance(kind, type):
        return lambda _: True
    if getattr(kind, "_is_protocol", False) and kind.__module__ != "collections.abc":
        parts = [
            *kind.__annotations__,
            *(
                name
                for name, part in vars(kind).items()
                if name in ("__call__",) or (inspect.isfunction(part) and not name.startswith("_"))
            ),
        ]
        return lambda value: not isinstance(value, type) and all(hasattr(value, part) for part in parts)
    if kind in _SEQUENCES:
        return _sequence(kind, arguments)
    if kind is collections.abc.Mapping:
        return _mapping(arguments)
    return lambda value: isinstance(value, kind)


def _exact(hint: Any) -> frozenset[type]:
    """Return the types whose every value fits an annotation: looking a type up costs a tenth of a test."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return frozenset().union(*map(_exact, typing.get_args(hint)))
    if hint is None:
        return frozenset({types.NoneType})
    return (
        frozenset({hint}) if isinstance(hint, type) and hint is not int and not typing.get_args(hint) else frozenset()
    )


def _is_whole(value: Any) -> bool:
    # Beyond the limit no whole number means anything, and NumPy gives up. Other ranges are the callee's matter.
    whole = type(value) is int or (isinstance(value, numbers.Integral) and not isinstance(value, bool))
    return bool(whole and -_WHOLE < int(value) < _WHOLE)


def _is_fraction(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral)


def _any_of(tests: Sequence[Test]) -> Test:
    if len(tests) == 2:  # "X | None" nearly always
        first, second = tests
        return lambda value: first(value) or second(value)
    return lambda value: any(test(value) for test in tests)


def _sequence(kind: Any, arguments: tuple[Any, ...]) -> Test:
    # Arrays and indices are no Sequence by name, and are as good.
    wanted: Any = collections.abc.Iterable if kind is collections.abc.Sequence else kind
    pairwise = kind is tuple and bool(arguments) and Ellipsis not in arguments
    items = [_test(each) for each in arguments if each is not Ellipsis]

    def test(value: Any) -> bool:
        if isinstance(value, str | bytes | Mapping) or hasattr(value, "columns"):
            return False
        if hasattr(value, "tolist"):  # an array's items are checked like a list's
            value = value.tolist()
        if not isinstance(value, wanted):
            return False
        if not items or iter(value) is value:  # an iterator would be used up
            return True
        if pairwise:
            return len(value) == len(items) and all(item(v) for item, v in zip(items, value, strict=True))
        if items[0] is _is_whole and set(map(type, value)) == {int}:  # the tokens of a reply
            return bool(min(value) > -_WHOLE and max(value) < _WHOLE)
        return all(map(items[0], value))

    return test


def _mapping(arguments: tuple[Any, ...]) -> Test:
    key, item = map(_test, arguments or (Any, Any))
    return lambda value: isinstance(value, Mapping) and all(key(k) and item(v) for k, v in value.items())


_WHOLE = 2**64
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
    return _one(str(getattr(origin or hint, "__name__", hint)))


def _one(kind: str) -> str:
    return f"{'an' if kind[0] in 'AEIO' else 'a'} {kind}"


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str | bytes | numbers.Number | list | tuple | types.NoneType) else ""
    return text if text and len(text) <= 100 else _one(type(value).__name__)


@functools.cache
def _hints(thing: Callable[..., Any] | type) -> dict[str, Any]:
    """Return the annotations of a function, or of an attrs class's fields, as objects.

    One that only a type checker can resolve is left out.
    """
    space = {**vars(builtins), **vars(sys.modules[thing.__module__])}
    found = {}
    named = {f.name: f.type for f in attrs.fields(thing)} if isinstance(thing, type) else thing.__annotations__
    for name, text in named.items():
        try:
            found[name] = eval(text, space) if isinstance(text, str) else text  # noqa: S307  # our own source's text
        except (NameError, AttributeError):
            continue
    return found
