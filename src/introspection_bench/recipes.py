"""How a concept's vector is made, as values that stand in a design: the prompts, what is read of them, what is done."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import attrs

from .boundaries import checked, guarded
from .concepts import Concept
from .doses import Depth
from .errors import ConceptError, SpecError, explain, meant
from .freezing import frozen_tuple
from .names import folded

#: How prompts become one direction: the difference of both sides' means, or the first principal component of all of
#: them, centred pair by pair, pointing from negative to positive.
Reduce = Literal["mean", "pca_center"]
Case = Literal["lower", "as_is", "capitalised"]


@attrs.frozen
class Contrast:
    """The user prompts whose difference makes one vector: ``positive`` minus ``negative``."""

    positive: tuple[str, ...]
    negative: tuple[str, ...]


def _check_position(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value >= 0:
        raise SpecError(
            explain(
                f"recipe.{attribute.name}",
                required="a whole number below 0, counted from the prompt's end",
                got=value,
                hint="-1 is the last token, behind which the reply begins.",
            )
        )


def _check_layer(_: object, __: object, value: int | Depth | None) -> None:
    if isinstance(value, int) and value < 0:
        raise SpecError(explain("recipe.layer", required="a 0-based block", got=value, hint="Or ib.Depth(2 / 3)."))


class Recipe(abc.ABC):
    """How vectors are made. ``layer`` is where they are read, None for the layer at which they are injected.

    ``position`` is the prompt token that is read, counted from the end (-1 is the last). ``normalise`` scales each
    vector to norm 1. ``system`` is the system turn before each prompt, "" an empty one, None for none. ``endings`` are
    beginnings of a reply: each prompt is read behind each of them, as repeng does; without any, where the reply begins.
    """

    #: What it is called in specifications and in a vector's provenance.
    name: ClassVar[str]
    position: int
    normalise: bool
    layer: int | Depth | None
    reduce: Reduce
    system: str | None = None
    endings: tuple[str, ...] = ()

    @property
    def written(self) -> str:
        """The recipe as a vector's provenance holds it: its name, and what is not by default."""
        fields = attrs.fields(type(self))  # type: ignore[arg-type]  # subclasses are attrs classes
        told = {
            f.name: getattr(self, f.name) for f in fields if f.name != "layer" and getattr(self, f.name) != f.default
        }
        return self.name + (f"({', '.join(f'{k}={v!r}' for k, v in told.items())})" if told else "")

    @abc.abstractmethod
    def contrast(self, concept: Concept, baseline: Sequence[str]) -> Contrast:
        """Return the prompts of one concept; raises :class:`ConceptError` for one that the recipe doesn't fit."""


@guarded(SpecError)
@attrs.frozen
class Word(Recipe):
    """The activation for a prompt with the concept's word, minus the mean over baseline words.

    ``template`` has the slot ``{word}``; ``case`` says how the word is written in it. By default as in Lindsey 2026
    (arXiv 2601.01828, "Extracting concept vectors"): "Tell me about {word}", the word in lower case, read at the last
    prompt token, without a full stop. A word that stands twice in the baseline counts twice.

    Raises :class:`SpecError` for a template without its slot.
    """

    name: ClassVar[str] = "word"
    reduce: ClassVar[Reduce] = "mean"  # type: ignore[misc]  # a word has one positive prompt: nothing else can be done
    template: str = "Tell me about {word}"
    case: Case = "lower"
    position: int = attrs.field(default=-1, validator=_check_position)
    normalise: bool = False
    layer: int | Depth | None = attrs.field(default=None, validator=_check_layer)
    system: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.template.count("{word}") != 1:
            raise SpecError(
                explain("recipe.template", required="a text with {word} once", got=self.template, hint="See ib.Word.")
            )

    def contrast(self, concept: Concept, baseline: Sequence[str]) -> Contrast:
        """Return the word's prompt against the baseline's."""
        if concept.word is None:
            raise _unfit(concept, self, "word")
        if not baseline:
            raise ConceptError(
                explain(
                    "baseline",
                    required=f"baseline words for the word concept {concept.name!r}",
                    got="none",
                    hint="Use a ConceptSet with a baseline, or pass baseline=….",
                )
            )
        if folded(concept.word) in {folded(w) for w in baseline}:
            raise ConceptError(
                explain(
                    f"concept {concept.name!r}",
                    required="a word that is not in its own baseline",
                    got=concept.word,
                    hint="Take the word out of the baseline, or choose another concept.",
                )
            )
        return Contrast((self._prompt(concept.word),), tuple(self._prompt(w) for w in baseline))

    @checked(SpecError)
    def written_word(self, word: str) -> str:
        """Return a word as the prompts write it."""
        return {"lower": word.lower(), "as_is": word, "capitalised": word[:1].upper() + word[1:]}[self.case]

    def _prompt(self, word: str) -> str:
        return self.template.replace("{word}", self.written_word(word))


@guarded(SpecError)
@attrs.frozen
class Pairs(Recipe):
    """The concept's contrast pairs, positive against negative.

    ``reduce`` ``mean`` takes the difference of both means (as steering-vectors does); ``pca_center`` the first
    principal component of all activations, each pair centred on its own mean (as repeng does), as long as the mean
    difference along it, and pointing as it does.
    """

    name: ClassVar[str] = "pairs"
    position: int = attrs.field(default=-1, validator=_check_position)
    reduce: Reduce = "mean"
    normalise: bool = False
    layer: int | Depth | None = attrs.field(default=None, validator=_check_layer)
    system: str | None = None
    endings: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=())

    def contrast(self, concept: Concept, baseline: Sequence[str]) -> Contrast:  # noqa: ARG002  # the port's signature
        """Return the positive prompts against the negative ones."""
        if not concept.pairs:
            raise _unfit(concept, self, "pairs")
        return Contrast(tuple(p.positive for p in concept.pairs), tuple(p.negative for p in concept.pairs))


#: The built-in recipes by name.
RECIPES: Mapping[str, type[Recipe]] = MappingProxyType({r.name: r for r in (Word, Pairs)})


def recipe_named(word: str) -> type[Recipe]:
    """Return a built-in recipe by name; raises :class:`SpecError` for another name."""
    if word not in RECIPES:
        raise SpecError(
            explain(
                "recipe",
                required=f"one of {sorted(RECIPES)}",
                got=word,
                hint=meant(word, RECIPES, "See ib.Word, ib.Pairs."),
            )
        )
    return RECIPES[word]


def as_recipe(value: Any) -> Any:
    """Return a recipe, by name with its defaults or as a value: a converter."""
    return recipe_named(value)() if isinstance(value, str) else value


def recipe_for(concept: Concept, chosen: Recipe | None) -> Recipe:
    """Return the recipe of one concept: the chosen one, else with its defaults the one that the concept is made for.

    Raises :class:`ConceptError` where none is chosen and the concept has both a word and pairs.
    """
    if chosen is not None:
        return chosen
    if concept.word is not None and concept.pairs:
        raise ConceptError(
            explain(
                f"recipe for concept {concept.name!r}",
                required="one of the recipes that it is made for, word and pairs",
                got="none chosen",
                hint="Say recipe=ib.Word() or recipe=ib.Pairs() (in a spec: [recipe] name).",
            )
        )
    return Word() if concept.word is not None else Pairs()


def _unfit(concept: Concept, recipe: Recipe, needs: str) -> ConceptError:
    return ConceptError(
        explain(
            f"recipe for concept {concept.name!r}",
            required=f"a concept with {needs}, for the recipe {recipe.name!r}",
            got="one without",
            hint="Choose the other recipe, or complete the concept (the docs' page concepts).",
        )
    )
