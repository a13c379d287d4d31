"""Protocols by name or from a file, and those that are derived from another one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import attrs

from ..boundaries import checked
from ..concepts import ConceptSet
from ..errors import SpecError, UnknownNameError, explain, meant
from ..plugins import load_value, registered
from ..structuring import Keys, Places, worded
from ..sweep.written import arms_listed, reader, write
from ..toml_lines import key_places, read_toml
from ..untrusted import parse_toml
from .protocol import FIELDS, REMARKS, Protocol

GROUP = "introspection_bench.protocols"
#: The built-in protocols, each a TOML file of that name beside this module.
BUILTIN = (
    "lindsey2026",
    "lindsey2026_variants",
    "llama405b2026",
    "macar2026",
    "lederman2026",
    "latent2026",
    "godet2025",
)
#: What a file may hold besides the fields of a protocol: what it is derived from, and what is derived from it.
BASE, VARIANTS = "base", "variants"
_OWN = frozenset(f.name for f in attrs.fields(Protocol))


@attrs.frozen
class _Source:
    """What a protocol is read from: what errors call it, the folder of its paths, and where its keys stand."""

    where: str
    beside: Path = Path()
    places: Places = dict


@checked(SpecError)
def protocol_names() -> tuple[str, ...]:
    """Return what :func:`load_protocol` knows by name: built-in protocols, each before its variants, then plugins."""
    found = []
    for name in BUILTIN:
        found += [name, *(f"{name}/{variant}" for variant in _builtin(name).get(VARIANTS, {}))]
    return (*found, *sorted(registered(GROUP, BUILTIN)))


@checked(SpecError)
def load_protocol(name_or_path: str | Path) -> Protocol:
    """Return a protocol by name, by ``name/variant``, or from a TOML file (a name that ends in ``.toml`` is one).

    A file has the fields of :class:`Protocol`, written as in a sweep's specification. With ``base`` it is derived: what
    it doesn't say is the base's (a name, or a file beside it). Of the tables ``sampling`` and ``judging`` and of the
    arms it says what is other; every other field takes the place of the base's, whose remarks about it are dropped.

    Raises :class:`~introspection_bench.errors.UnknownNameError` for a name that nobody provides, and
    :class:`SpecError` that names the field for a file that is wrong.
    """
    if isinstance(name_or_path, Path) or name_or_path.endswith(".toml"):
        return _from_file(Path(name_or_path), ())
    name, _, variant = name_or_path.partition("/")
    if name in BUILTIN:
        data = _builtin(name)
        main = _structured(data, _Source(f"built-in protocol {name}"), ())
        if not variant and name == name_or_path:
            return main
        if variant in data.get(VARIANTS, {}):
            told = {"name": name_or_path, **data[VARIANTS][variant]}
            return _derived(main, told, _Source(f"built-in protocol {name_or_path}"))
    if name_or_path in registered(GROUP, BUILTIN):
        return load_value(GROUP, name_or_path, Protocol, builtin=BUILTIN)
    known = protocol_names()
    raise UnknownNameError(
        explain(
            "protocol",
            required=f"one of {list(known)}, or the path of a .toml file",
            got=name_or_path,
            hint=meant(name_or_path, known, "'introspection-bench protocols list' shows them."),
        )
    )


@checked(SpecError)
def derived(base: Protocol, told: Mapping[str, Any], where: str = "overrides") -> Protocol:
    """Return the protocol that says some things otherwise, as a file with ``base`` does; raises :class:`SpecError`."""
    return _derived(base, told, _Source(where))


def _builtin(name: str) -> dict[str, Any]:
    return parse_toml(resources.files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def _from_file(path: Path, within: tuple[Path, ...]) -> Protocol:
    if path.resolve() in within:
        raise SpecError(
            explain(str(path), required="a base that isn't derived from the file itself", got="a circle", hint="")
        )
    data, text = read_toml(path, SpecError, "See the docs' page protocols.")
    source = _Source(str(path), path.parent, partial(key_places, text))
    return _structured(data, source, (*within, path.resolve()))


def _structured(data: Mapping[str, Any], source: _Source, within: tuple[Path, ...]) -> Protocol:
    told = {name: value for name, value in data.items() if name not in (BASE, VARIANTS)}
    if BASE not in data:
        return _read(told, source)
    base = data[BASE]
    if not isinstance(base, str):
        raise SpecError(explain(f"{source.where}: base", required="a protocol's name or file", got=base, hint=""))
    found = _from_file(source.beside / base, within) if base.endswith(".toml") else load_protocol(base)
    return _derived(found, told, source)


def _derived(base: Protocol, told: Mapping[str, Any], source: _Source) -> Protocol:
    """Return the protocol that says some things otherwise than its base."""
    _check_names(told, source)
    data = write(base)
    given = set(told) & set(FIELDS)
    for kind in REMARKS:
        data[kind] = {field: text for field, text in data[kind].items() if field not in given}
    if given:  # what the source reports, it reports of what it did
        data["published"] = []
    for name, value in told.items():
        if name in ("sampling", "judging", *REMARKS) and isinstance(value, Mapping):
            data[name] = {**data[name], **value}
        elif name == "arms" and isinstance(value, Mapping):
            data[name] = _arms(data[name], value)
        else:
            data[name] = value
    return _read(data, source)


def _arms(base: list[Any], told: Mapping[str, Any]) -> list[Any]:
    """Return arms of which some are said otherwise, by their words."""
    mine = {arm["arm"]: arm for arm in base}
    said = {arm["arm"]: arm for arm in arms_listed(told) if isinstance(arm, Mapping)}
    changed = [{**arm, **said.get(word, {})} for word, arm in mine.items()]
    return [*changed, *(arm for word, arm in said.items() if word not in mine)]


def _read(told: Mapping[str, Any], source: _Source) -> Protocol:
    _check_names(told, source)
    data = dict(told)
    if isinstance(data.get("arms"), Mapping):
        data["arms"] = arms_listed(data["arms"])
    rubric = data.get("rubric")
    if isinstance(rubric, str) and rubric.endswith((".toml", ".md")):
        data["rubric"] = str(source.beside / rubric)
    baseline = data.get("baseline")
    converter = reader(source.beside, {})
    with worded(
        SpecError,
        source.where,
        root="protocol",
        required="the fields and types of the docs' page protocols",
        hint="Mend these fields.",
        places=source.places,
        written=partial(_as_written, data),
    ):
        if isinstance(baseline, str):
            data["baseline"] = list(converter.structure(baseline, ConceptSet).baseline)
        return converter.structure(data, Protocol)


def _as_written(data: Mapping[str, Any], path: Keys) -> Keys:
    """Return a path with arms by their words, as a file has them."""
    if path[:1] != ("arms",) or len(path) < 2 or not isinstance(path[1], int):
        return path
    arm = data["arms"][path[1]]
    return ("arms", arm["arm"], *path[2:]) if isinstance(arm, Mapping) and "arm" in arm else path


def _check_names(told: Mapping[str, Any], source: _Source) -> None:
    for name in told:
        if name not in _OWN:
            line = source.places().get((name,))
            at = f" ({line})" if line else ""
            raise SpecError(
                explain(
                    f"{source.where}: {name}{at}",
                    required=f"a field of a protocol, {sorted(_OWN)}",
                    got="an unknown one",
                    hint=meant(name, _OWN, "See the docs' page protocols."),
                )
            )
