"""Concepts: what is injected, how it is extracted, and the words by which a judge knows it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import attrs
import cattrs

from .digests import digest
from .errors import ConceptError, UnknownNameError, explain
from .freezing import frozen_tuple


@attrs.frozen
class Pair:
    """One contrast pair: two user prompts that differ in the concept alone."""

    positive: str
    negative: str


@attrs.frozen
class Concept:
    """Something that can be injected and named.

    Exactly one of ``word`` (for the recipe ``word``: "Tell me about {word}") and ``pairs`` (for ``pairs``) is
    given. ``aliases`` are further words and phrases that name the concept unmistakably: what a judge accepts
    besides ``name``; inflected forms need not be listed. ``description`` is shown to model judges.
    """

    name: str = attrs.field()
    aliases: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=())
    word: str | None = None
    pairs: tuple[Pair, ...] = attrs.field(converter=frozen_tuple, default=())
    description: str = ""

    @name.validator
    def _check_name(self, _: object, value: str) -> None:
        if not value or value != value.strip():
            raise ConceptError(
                explain("name", required="text without outer white space", got=value, hint="Name the concept.")
            )

    def __attrs_post_init__(self) -> None:
        if (self.word is None) == (not self.pairs):
            raise ConceptError(
                explain(
                    f"concept {self.name!r}",
                    required="either word or pairs",
                    got=f"word={self.word!r} and {len(self.pairs)} pairs",
                    hint="The recipe 'word' needs one word, the recipe 'pairs' contrast pairs.",
                )
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Everything by which the concept may be called: its name (underscores as spaces), word and aliases."""
        first = self.name.replace("_", " ")
        return tuple(dict.fromkeys((first, *([self.word] if self.word else []), *self.aliases)))


@attrs.frozen
class ConceptSet:
    """Named concepts, in order, and the baseline words of the ``word`` recipe.

    ``baseline`` is a list, not a set: a word that stands twice in the published list counts twice in its mean.
    """

    name: str
    concepts: tuple[Concept, ...] = attrs.field(converter=frozen_tuple)
    baseline: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=())
    source: str = ""

    @concepts.validator
    def _check_concepts(self, _: object, concepts: tuple[Concept, ...]) -> None:
        names = [c.name for c in concepts]
        twice = sorted({n for n in names if names.count(n) > 1})
        if not names or twice:
            raise ConceptError(
                explain(
                    f"concept set {self.name!r}",
                    required="at least one concept, each name once",
                    got=f"{len(names)} concepts, twice: {twice}",
                    hint="Rename or drop the duplicates.",
                )
            )

    def __iter__(self) -> Iterator[Concept]:
        return iter(self.concepts)

    def __len__(self) -> int:
        return len(self.concepts)

    def __getitem__(self, name: str) -> Concept:
        for concept in self.concepts:
            if concept.name == name:
                return concept
        raise UnknownNameError(
            explain(
                "concept",
                required=f"one of {[c.name for c in self.concepts]}",
                got=name,
                hint="Names are case-sensitive; 'introspection-bench concepts' lists them.",
            )
        )

    def select(self, *names: str) -> ConceptSet:
        """Return the set with only these concepts, in this order, and the same baseline."""
        return attrs.evolve(self, concepts=tuple(self[n] for n in names))

    @property
    def digest(self) -> str:
        """SHA-256 of names, aliases, prompts and baseline."""
        return digest("concept_set", 1, [[attrs.asdict(c) for c in self.concepts], list(self.baseline)])

    @classmethod
    def from_toml(cls, path: str | Path) -> ConceptSet:
        """Read a set from a TOML file (``docs/concepts.md`` shows one).

        Raises :class:`ConceptError` that names the key for unknown keys, wrong types and missing values.
        """
        path = Path(path)
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConceptError(
                explain(str(path), required="a readable TOML file", got=str(error), hint="Check path and syntax.")
            ) from error
        return _structure(data, str(path))


def _structure(data: Mapping[str, Any], where: str) -> ConceptSet:
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook(str, _only_text)
    try:
        return converter.structure(data, ConceptSet)
    except cattrs.BaseValidationError as error:
        raise ConceptError(
            explain(
                where,
                required="name, [[concepts]] with name and word or pairs, optionally baseline and source",
                got="; ".join(cattrs.transform_error(error, path="file")),
                hint="See docs/concepts.md for an example.",
            )
        ) from error


def _only_text(value: Any, _: type) -> str:
    # cattrs would turn 3 into "3": a typing slip in a file must not become a concept.
    if not isinstance(value, str):
        raise TypeError(f"required text, got {value!r}")
    return value


#: Built-in sets, each a TOML file of that name in the folder ``concepts/``.
BUILTIN = ("lindsey2026", "pairs")


def load_concepts(name: str | Path) -> ConceptSet:
    """Return a concept set by built-in name, plugin name, or path of a TOML file.

    Built in: ``lindsey2026`` (the 50 words of Lindsey 2026's main experiment with their 100 baseline words) and
    ``pairs`` (``love`` and ``all_caps`` as contrast pairs). Plugins register a :class:`ConceptSet` under the
    entry-point group ``introspection_bench.concepts``. Raises :class:`UnknownNameError`.
    """
    if str(name) in BUILTIN:
        text = resources.files(__package__).joinpath("concepts", f"{name}.toml").read_text(encoding="utf-8")
        return _structure(tomllib.loads(text), f"built-in concept set {name}")
    if str(name).endswith(".toml"):
        return ConceptSet.from_toml(name)
    from .plugins import load_value

    return load_value("introspection_bench.concepts", str(name), ConceptSet, builtin=BUILTIN)
