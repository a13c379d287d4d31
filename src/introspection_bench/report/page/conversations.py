"""What the model was asked, as text: the conversations of scaffolds whose wording is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import cattrs

from ...errors import ScaffoldError
from ...items import Item, named
from ...results import Results
from ...scaffolds import BUILTIN, Scaffold
from ...structuring import strict_converter

_CONVERTER = strict_converter(forbid_extra_keys=False)


def known_prompts(results: Results) -> dict[tuple[str, str | None], str]:
    """Return the conversations of the trials, slots filled, by the scaffold's name and the item's (None without one).

    A scaffold is one of the built-in ones or of those in the specification whose wording has the digest that the
    trial's condition names, so never another one's. Where one name stands for two wordings, neither is shown.
    """
    stated = values_in(results.spec, "scaffolds", Scaffold)
    known = {scaffold.digest: scaffold for scaffold in (*stated, *BUILTIN.values())}
    items = {item.name: item for item in values_in(results.spec, "items", Item)}
    wanted = {(r.scaffold, r.trial.item, r.condition.wording): None for r in results if r.condition.wording in known}
    found: dict[tuple[str, str | None], str] = {}
    wordings: dict[str, set[str]] = {}
    for condition in results.conditions:
        wordings.setdefault(condition.scaffold, set()).add(condition.wording)
    for name, item, wording in wanted:
        if len(wordings[name]) > 1:
            continue
        try:
            filled = known[wording].fill(None if item is None else named(item, items))
        except (
            ScaffoldError,
            KeyError,
        ):  # other items than those that the scaffold was filled with, or none
            continue
        found[name, item] = filled.transcript
    return found


def values_in(spec: Mapping[str, Any], field: str, kind: type[Any]) -> Iterator[Any]:
    """Yield the values of a specification's list that can be read, wherever among its tables it stands."""
    for name, value in spec.items():
        if name == field and isinstance(value, list | tuple):
            for plain in value:
                try:
                    yield _CONVERTER.structure(plain, kind)
                except (cattrs.BaseValidationError, TypeError, ValueError):  # others' files may say it otherwise
                    continue
        elif isinstance(value, Mapping):
            yield from values_in(value, field, kind)
