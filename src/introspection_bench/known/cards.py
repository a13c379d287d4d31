"""Model cards of the adapters in the package: what each was trained to do, on what, and how far that went."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

import attrs

from ..adapters import SUFFIX, known_adapters
from ..boundaries import checked, guarded
from ..errors import AdapterError, UnknownNameError, explain, meant
from ..freezing import frozen_mapping, frozen_tuple
from ..structuring import strict_converter, worded
from ..untrusted import parse_toml


@guarded(AdapterError)
@attrs.frozen(kw_only=True)
class Figure:
    """What was counted: of ``n`` replies of one arm so many affirmed, and so many named the injected word as well.

    ``strict`` are those that the judge ``rules`` finds strict; None where string rules of the training counted.
    ``layer`` and ``dose`` (a share of the residual's norm) are None where nothing was injected. ``source`` is the file
    of the repository that says so.
    """

    arm: str
    layer: int | None = None
    dose: float | None = None
    n: int
    affirmed: int
    named: int
    source: str
    strict: int | None = None


@guarded(AdapterError)
@attrs.frozen(kw_only=True)
class Card:
    """The model card of one adapter.

    ``trained_to`` and ``must_be_found`` are its truth in words; ``base``, ``data`` and ``recipe`` say what it was made
    of; ``adapter`` is the digest of the adapter that the card is of, ``base["weights"]`` that of the base's weights.
    ``limits`` say where it is not what it was trained to be, ``gates`` what was asked of it when it was trained, by
    string rules, and what was found.
    """

    name: str
    adapter: str
    licence: str
    trained_to: str
    must_be_found: str
    limits: tuple[str, ...] = attrs.field(converter=frozen_tuple)
    base: Mapping[str, str] = attrs.field(converter=frozen_mapping, hash=False)
    data: Mapping[str, str] = attrs.field(converter=frozen_mapping, hash=False)
    recipe: Mapping[str, str | int | float] = attrs.field(converter=frozen_mapping, hash=False)
    gates: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=())
    figures: tuple[Figure, ...] = attrs.field(converter=frozen_tuple, default=())


@checked(AdapterError)
def load_card(name: str) -> Card:
    """Return the card of an adapter of the package.

    Raises :class:`~introspection_bench.errors.UnknownNameError` for a name that is not built in, and
    :class:`~introspection_bench.errors.AdapterError` for a card that is damaged.
    """
    known = known_adapters()
    if name not in known:
        raise UnknownNameError(explain("adapter", required=f"one of {list(known)}", got=name, hint=meant(name, known)))
    text = resources.files(__package__).joinpath("adapters", f"{name}.toml").read_text(encoding="utf-8")
    with worded(
        AdapterError,
        f"card {name}",
        root="card",
        required="a model card",
        hint=f"It lies beside {name}{SUFFIX}; install the package again.",
        also=(ValueError,),
    ):
        card: Card = _CONVERTER.structure(parse_toml(text), Card)
    return card


_CONVERTER: Any = strict_converter()
