"""What fills the slots of scaffolds, and batteries of it: questions, wordings, sentences, by version and digest."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import attrs

from .boundaries import checked, guarded
from .digests import digest
from .errors import ScaffoldError, UnknownNameError, explain, meant
from .freezing import frozen_mapping, frozen_tuple
from .names import composed
from .showing import few, plural, shown
from .untrusted import parse_toml, read_text


@guarded(ScaffoldError)
@attrs.frozen
class Item:
    """What fills a scaffold's slots in some of its trials: a sentence to repeat, a question, a pair of labels.

    ``name`` identifies it in tables; ``slots`` map each slot's name to its text.
    """

    name: str = attrs.field(converter=composed)
    slots: Mapping[str, str] = attrs.field(converter=frozen_mapping, hash=False)

    def __attrs_post_init__(self) -> None:
        wrong = [repr(k) for k, v in self.slots.items() if not isinstance(v, str) or not v.strip()]
        if not self.name or wrong or not self.slots:
            raise ScaffoldError(
                explain(
                    f"item {self.name!r}",
                    required="a name, and a text for each of its slots",
                    got=f"nothing for {', '.join(wrong) or 'any slot'}",
                    hint="As in Item('s01', {'sentence': 'The painting hung crooked.'}).",
                )
            )

    @checked(ScaffoldError)
    def beside(self, other: Item) -> Item:
        """Return one item that fills the slots of both; raises :class:`ScaffoldError` where they share one."""
        shared = sorted(set(self.slots) & set(other.slots))
        if shared:
            raise ScaffoldError(
                explain(
                    f"items {self.name!r} and {other.name!r}", required="other slots", got=f"both {shared}", hint=""
                )
            )
        return Item(f"{self.name}{_BESIDE}{other.name}", {**self.slots, **other.slots})


#: What stands between the names of two items that fill a scaffold together.
_BESIDE = " + "


def named(name: str, items: Mapping[str, Item]) -> Item:
    """Return the item of that name, or the two together whose names it is made of; raises :class:`KeyError`."""
    if name in items:
        return items[name]
    parts = name.split(_BESIDE)
    for cut in range(1, len(parts)):
        first, second = _BESIDE.join(parts[:cut]), _BESIDE.join(parts[cut:])
        if first in items and second in items:
            return items[first].beside(items[second])
    raise KeyError(name)


@guarded(ScaffoldError)
@attrs.frozen
class Battery:
    """Items of one kind: their texts are ours, or a user's; whoever changes one changes the version.

    ``name`` and ``version`` identify it for people, :attr:`digest` for programs. ``source`` says whose it is.
    """

    name: str = attrs.field(converter=composed)
    version: int
    items: tuple[Item, ...] = attrs.field(converter=frozen_tuple)
    source: str = ""

    def __attrs_post_init__(self) -> None:
        names = [i.name for i in self.items]
        slots = {frozenset(i.slots) for i in self.items}
        if not self.name or self.version < 1 or not names or len(set(names)) < len(names) or len(slots) > 1:
            raise ScaffoldError(
                explain(
                    f"battery {self.name!r}",
                    required="a name, a version >= 1, and items of distinct names with the same slots",
                    got=f"version {self.version}, items {names[:8]}, slots {[sorted(s) for s in slots][:4]}",
                    hint="",
                )
            )

    def __repr__(self) -> str:
        return shown(self, repr(self.name), f"{plural(len(self.items), 'item')}: {few(i.name for i in self.items)}")

    @property
    def digest(self) -> str:
        """SHA-256 of the items' names and texts."""
        return digest("battery", 1, [[i.name, dict(i.slots)] for i in self.items])


@checked(ScaffoldError)
def load_battery(name: str | Path) -> Battery:
    """Return a battery by built-in name, or by the path of a TOML file (a name that ends in ``.toml`` is one).

    A file has ``name``, ``version``, ``source`` and a table ``[items]``: of each item its name and its text, or a table
    of slots; ``slot`` says which slot plain texts fill, by default ``question``.

    Raises :class:`UnknownNameError` for a name that is not built in, :class:`ScaffoldError` for a file that is wrong.
    """
    if isinstance(name, Path) or name.endswith(".toml"):
        try:
            return _structured(parse_toml(read_text(name)), str(name))
        except (OSError, ValueError) as error:
            raise ScaffoldError(
                explain(
                    "battery", required="a TOML file", got=f"{name}: {error}", hint="See the docs' page explaining."
                )
            ) from error
    folder = resources.files(__package__).joinpath("batteries")
    known = sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))
    if name not in known:
        raise UnknownNameError(
            explain(
                "battery", required=f"one of {known}, or the path of a TOML file", got=name, hint=meant(name, known)
            )
        )
    text = folder.joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return _structured(parse_toml(text), f"built-in battery {name}")


def _structured(data: Mapping[str, Any], where: str) -> Battery:
    fields = {"name", "version", "source", "slot", "items"}
    items, slot = data.get("items"), data.get("slot", "question")
    if set(data) - fields or not isinstance(items, dict) or not isinstance(slot, str):
        raise ScaffoldError(
            explain(
                where,
                required=f"{sorted(fields)}, items being a table of texts",
                got=sorted(data),
                hint="See the docs' page explaining for an example.",
            )
        )
    told = {k: v for k, v in data.items() if k in ("name", "version", "source")}
    if not {"name", "version"} <= told.keys():
        raise ScaffoldError(explain(where, required="a name and a version", got=sorted(told), hint=""))
    made = [Item(name, value if isinstance(value, dict) else {slot: value}) for name, value in items.items()]
    return Battery(items=made, **told)
