"""Concepts: what is injected, how it is extracted, and the words by which a judge knows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import attrs

from .boundaries import checked, guarded
from .errors import ConceptError, UnknownNameError, explain, meant
from .freezing import frozen_tuple
from .names import composed, folded
from .plugins import load_value, registered
from .showing import few, named, plural, quoted, shown
from .structuring import Places, strict_converter, worded
from .toml_lines import key_places, read_toml
from .untrusted import parse_toml

_GROUP = "introspection_bench.concepts"


def _check_text(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Validate text with something in it: an empty alias would be found in every reply."""
    if not _is_text(value):
        raise ConceptError(
            explain(
                attribute.name,
                required="text, not empty, without outer white space",
                got=repr(value),
                hint=f"Write {attribute.name} as the reader of a report should see it.",
            )
        )


def _is_text(value: object) -> bool:
    # What holds invisible characters alone is as empty as white space.
    return isinstance(value, str) and bool(folded(value).strip()) and value == value.strip()


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    # tuple("blimp") would be five one-letter aliases, and a judge would find each of them everywhere.
    if isinstance(values, str):
        raise ConceptError(explain("list of texts", required="several texts", got=values, hint="Put it in brackets."))
    return tuple(composed(v) for v in frozen_tuple(values))


def _check_texts(_: object, attribute: attrs.Attribute[Any], values: tuple[object, ...]) -> None:
    for index, value in enumerate(values):
        if not _is_text(value):
            raise ConceptError(
                explain(
                    f"{attribute.name}[{index}]",
                    required="text, not empty, without outer white space",
                    got=repr(value),
                    hint="An empty entry would be found in every reply; drop it.",
                )
            )


@guarded(ConceptError)
@attrs.frozen
class Pair:
    """One contrast pair: two user prompts that differ in the concept alone.

    Raises :class:`ConceptError` where one is empty or both are the same (their difference is the zero vector).
    """

    positive: str = attrs.field(validator=_check_text)
    negative: str = attrs.field(validator=_check_text)

    def __attrs_post_init__(self) -> None:
        if self.positive == self.negative:
            raise ConceptError(
                explain(
                    "pair",
                    required="two different prompts",
                    got=self.positive,
                    hint="Two equal prompts give a zero vector; change one of them.",
                )
            )


@guarded(ConceptError)
@attrs.frozen
class Concept:
    """Something that can be injected and named.

    ``word`` (for the recipe ``word``: "Tell me about {word}"), ``pairs`` (for ``pairs``) or both are given; with both,
    whoever extracts names the recipe. ``aliases`` are further words and phrases that name the concept unmistakably:
    what a judge accepts besides ``name``; inflected forms need not be listed. ``description`` is shown to model judges.
    Names, word and aliases are kept in Unicode's normal form C.

    Raises :class:`ConceptError` for empty texts, and without ``word`` and ``pairs``.
    """

    name: str = attrs.field(converter=composed, validator=_check_text)
    aliases: tuple[str, ...] = attrs.field(converter=_texts, validator=_check_texts, default=())
    word: str | None = attrs.field(converter=composed, validator=attrs.validators.optional(_check_text), default=None)
    pairs: tuple[Pair, ...] = attrs.field(converter=frozen_tuple, default=())
    description: str = ""

    def __attrs_post_init__(self) -> None:
        if self.word is None and not self.pairs:
            raise ConceptError(
                explain(
                    f"concept {self.name!r}",
                    required="word, pairs or both",
                    got="neither",
                    hint="The recipe 'word' needs one word, the recipe 'pairs' contrast pairs.",
                )
            )

    def __repr__(self) -> str:
        pairs = plural(len(self.pairs), "pair") if self.pairs else ""
        word = "" if self.word is None else f"word {quoted(self.word)}"
        return shown(self, repr(self.name), word, pairs, named("aliases", self.aliases))

    @property
    def names(self) -> tuple[str, ...]:
        """Everything by which the concept may be called: its name (underscores as spaces), word and aliases."""
        first = self.name.replace("_", " ")
        return tuple(dict.fromkeys((first, *([self.word] if self.word else []), *self.aliases)))


@guarded(ConceptError)
@attrs.frozen
class ConceptSet:
    """Named concepts, in order, and the baseline words of the ``word`` recipe.

    ``baseline`` is a list, not a set: a word that stands twice in the published list counts twice in its mean.

    Raises :class:`ConceptError` for an empty set, for a name that stands twice (what a reader takes for the same is
    one name: :func:`introspection_bench.names.folded`), and for a concept whose word is in the baseline: its vector
    would be measured against itself.
    """

    name: str = attrs.field(validator=_check_text)
    concepts: tuple[Concept, ...] = attrs.field(converter=frozen_tuple)
    baseline: tuple[str, ...] = attrs.field(converter=_texts, validator=_check_texts, default=())
    source: str = ""

    @concepts.validator
    def _check_concepts(self, _: object, concepts: tuple[Concept, ...]) -> None:
        names = [folded(c.name) for c in concepts]
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if not names or twice:
            raise ConceptError(
                explain(
                    f"concept set {self.name!r}",
                    required="at least one concept, each name once",
                    got=f"{len(names)} concepts, twice: {twice}",
                    hint="Rename or drop the duplicates.",
                )
            )

    def __attrs_post_init__(self) -> None:
        baseline = {folded(word) for word in self.baseline}
        inside = [c.word for c in self.concepts if c.word is not None and folded(c.word) in baseline]
        if inside:
            raise ConceptError(
                explain(
                    f"baseline of concept set {self.name!r}",
                    required="no word that is itself a concept of the set",
                    got=inside,
                    hint="Take the word out of baseline (note it: the mean changes), or drop the concept.",
                )
            )

    def __repr__(self) -> str:
        baseline = plural(len(self.baseline), "baseline word") if self.baseline else ""
        return shown(self, repr(self.name), f"{plural(len(self), 'concept')}: {few(c.name for c in self)}", baseline)

    def __iter__(self) -> Iterator[Concept]:
        return iter(self.concepts)

    def __len__(self) -> int:
        return len(self.concepts)

    @checked(ConceptError)
    def __getitem__(self, name: str) -> Concept:
        for concept in self.concepts:
            if concept.name == composed(name):
                return concept
        names = [c.name for c in self.concepts]
        near = meant(name, names)
        raise UnknownNameError(
            explain(
                "concept",
                required=f"a concept of {self.name!r}"
                if near
                else f"one of {names}",  # fifty names would hide the near one
                got=name,
                hint=near or "Names are case-sensitive; 'introspection-bench concepts' lists them.",
            )
        )

    @checked(ConceptError)
    def select(self, *names: str) -> ConceptSet:
        """Return the set with only these concepts, in this order, and the same baseline."""
        return attrs.evolve(self, concepts=tuple(self[n] for n in names))

    @classmethod
    @checked(ConceptError)
    def from_toml(cls, path: str | Path) -> ConceptSet:
        """Read a set from a TOML file (``docs/concepts.md`` shows one).

        Raises :class:`ConceptError` that names the key for unknown keys, wrong types and missing values.
        """
        path = Path(path)
        data, text = read_toml(path, ConceptError, "Check path and syntax.")
        return _structure(data, str(path), partial(key_places, text))


def _structure(data: Mapping[str, Any], where: str, places: Places = dict) -> ConceptSet:
    with worded(
        ConceptError,
        where,
        root="file",
        required="name, [[concepts]] with name and word or pairs, optionally baseline and source",
        hint="See the docs' page concepts for an example.",
        places=places,
    ):
        return strict_converter().structure(data, ConceptSet)


#: Built-in sets, each a TOML file of that name in the folder ``concepts/``.
BUILTIN = ("lindsey2026", "pairs", "latent2026")


def concept_set_names() -> tuple[str, ...]:
    """Return the names that :func:`load_concepts` knows: the built-in ones, then those of installed plugins."""
    return (*BUILTIN, *sorted(registered(_GROUP, BUILTIN)))


@checked(ConceptError)
def load_concepts(name: str | Path) -> ConceptSet:
    """Return a concept set by built-in name, plugin name, or path of a TOML file.

    Built in: ``lindsey2026`` (the 50 words of Lindsey 2026's main experiment with their 100 baseline words), ``pairs``
    (``love`` and ``all_caps`` as contrast pairs) and ``latent2026`` (nine concepts as one contrast pair each). Plugins
    register a :class:`ConceptSet` under the entry-point group ``introspection_bench.concepts``. A name that ends in
    ``.toml``, and any :class:`~pathlib.Path`, is a file.

    Raises :class:`UnknownNameError` for a name that nobody provides, :class:`ConceptError` for a file that can't
    be read or is wrong, :class:`~introspection_bench.errors.PluginError` for a plugin that isn't a concept set.

    >>> load_concepts("pairs")
    ConceptSet('pairs', 2 concepts: love and all_caps)
    """
    if isinstance(name, Path) or name.endswith(".toml"):
        return ConceptSet.from_toml(name)
    if name in BUILTIN:
        text = resources.files(__package__).joinpath("concepts", f"{name}.toml").read_text(encoding="utf-8")
        return _structure(parse_toml(text), f"built-in concept set {name}")
    return load_value(_GROUP, name, ConceptSet, builtin=BUILTIN)


def as_concepts(value: Any) -> Any:
    """Return a concept set, by name or as a value, and anything else as it is: a converter."""
    return load_concepts(value) if isinstance(value, str) else value
