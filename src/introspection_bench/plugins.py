"""Names to things: built-ins from a literal table of lazy references, third parties from entry points."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

import attrs

from .errors import BackendUnavailableError, PluginError, UnknownNameError, explain, meant

T = TypeVar("T")


@attrs.frozen
class Lazy:
    """A reference that is imported when it is asked for.

    ``extra`` is the pip extra that brings what the module needs, None for core.
    """

    module: str
    attribute: str
    extra: str | None = None
    package: str | None = None

    def load(self, name: str) -> object:
        """Import and return the object; raises :class:`BackendUnavailableError` that names the extra."""
        try:
            return getattr(import_module(self.module), self.attribute)
        except ImportError as error:
            # A module of our own that is missing is no missing extra.
            if self.extra is None or (error.name or "").partition(".")[0] == "introspection_bench":
                raise
            raise BackendUnavailableError(
                explain(
                    name,
                    required=f"the packages of the extra {self.extra!r}",
                    got=f"{type(error).__name__}: {error}",
                    hint=f"pip install 'introspection-bench[{self.extra}]'",
                )
            ) from error


def registered(group: str, builtin: Collection[str]) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name.

    Raises :class:`PluginError` where two distributions claim one name, or one claims a built-in's.
    """
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        if point.name in builtin:
            raise PluginError(
                explain(
                    f"plugin {point.name!r} of {_distribution(point)}",
                    required="a name that is not built in",
                    got=point.name,
                    hint=f"Built in: {sorted(builtin)}. Ask its author to rename it, or uninstall it.",
                )
            )
        other = found.setdefault(point.name, point)
        if other is not point and (other.value, _distribution(other)) != (point.value, _distribution(point)):
            raise PluginError(
                explain(
                    f"plugin {point.name!r}",
                    required="one distribution that provides it",
                    got=f"{_distribution(other)} and {_distribution(point)}",
                    hint="Uninstall one of them.",
                )
            )
    return found


def resolve(group: str, table: Mapping[str, Lazy], name: str) -> object:
    """Return the built-in or plugin called ``name``; raises :class:`UnknownNameError` with what there is."""
    check_name(group, table, name)
    return table[name].load(name) if name in table else registered(group, table)[name].load()


def check_name(group: str, table: Mapping[str, Lazy], name: str, argument: str | None = None) -> None:
    """Raise :class:`UnknownNameError` unless a built-in or plugin is called ``name``; nothing is imported.

    ``argument`` is what the message begins with, by default the kind of thing that the group holds.
    """
    if name in table:
        return
    plugins = registered(group, table)
    if name not in plugins:
        raise UnknownNameError(
            explain(
                argument or group.rpartition(".")[2].rstrip("s"),
                required=f"one of {sorted({*table, *plugins})}",
                got=name,
                hint=meant(name, {*table, *plugins}, "'introspection-bench backends' lists what is installed."),
            )
        )


def load_value(group: str, name: str, kind: type[T], builtin: Collection[str]) -> T:
    """Return a plugin's value of type ``kind`` (scaffolds and concept sets are values, not classes)."""
    plugins = registered(group, builtin)
    if name not in plugins:
        raise UnknownNameError(
            explain(
                group.rpartition(".")[2].rstrip("s"),
                required=f"one of {sorted({*builtin, *plugins})}",
                got=name,
                hint=meant(name, {*builtin, *plugins}, f"Plugins register under the entry-point group {group}."),
            )
        )
    value = plugins[name].load()
    if not isinstance(value, kind):
        raise PluginError(
            explain(f"plugin {name!r}", required=f"a {kind.__name__}", got=value, hint="Ask the plugin's author.")
        )
    return value


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "an unknown distribution"
