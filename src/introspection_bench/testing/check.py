"""What a conformance check is."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import attrs

from .subject import Subject


class CheckSkipped(Exception):  # noqa: N818  # not an error: the check does not apply, and says why
    """Raised by a check that does not apply to this injector or model."""


@attrs.frozen
class Check:
    """One conformance check; ``run`` raises :class:`~introspection_bench.errors.ConformanceError` where it fails.

    ``number`` and ``name`` are stable: ``expected_failures`` refers to the name. ``states`` says in one sentence
    what must hold. ``run`` returns a remark, often "".
    """

    number: int
    name: str
    states: str
    run: Callable[[Subject], str]


def check(number: int) -> Callable[[Callable[[Subject], str]], Check]:
    """Make a function into the check of that number, with its name and the first line of its docstring."""

    def made(function: Callable[[Subject], str]) -> Check:
        states = (function.__doc__ or "").strip().split("\n")[0]
        return Check(number, function.__name__, states, function)

    return made


def registered(*modules: ModuleType) -> tuple[Check, ...]:
    """Return the checks that these modules define, by number."""
    found = [value for module in modules for value in vars(module).values() if isinstance(value, Check)]
    return tuple(sorted(found, key=lambda c: c.number))
