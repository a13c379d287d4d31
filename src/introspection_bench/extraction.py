"""Extraction recipes: from a concept's prompts to its vectors, at several layers in one pass."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, partial
from typing import Literal

import attrs
import numpy as np

from .boundaries import checked
from .concepts import Concept, ConceptSet
from .digests import digest
from .errors import ConceptError, SpecError, VectorError, explain
from .injection import Span
from .injectors.base import Injector
from .names import folded
from .scaffolds import RenderedPrompt, Scaffold, Turn
from .vectors import ConceptVector, Provenance

Recipe = Literal["word", "pairs"]
#: The prompt of the recipe ``word``: Lindsey 2026, "Extracting concept vectors"; the word in lower case.
WORD_PROMPT = "Tell me about {word}"


@checked(ConceptError)
def extract(
    injector: Injector,
    concepts: ConceptSet | Iterable[Concept],
    layers: Sequence[int],
    *,
    recipe: Recipe | None = None,
    baseline: Sequence[str] | None = None,
    date: datetime.date | None = None,
    known: Iterable[ConceptVector] = (),
) -> list[ConceptVector]:
    """Return one raw vector per concept and layer, ordered by concept, then by layer.

    Each concept is extracted by one recipe, both under the model's chat template with the generation prompt added,
    reading the residual stream at the last prompt token:

    - ``word``: the activation for "Tell me about {word}" minus the mean over the baseline words (Lindsey 2026,
      arXiv 2601.01828). A word that stands twice in the baseline counts twice.
    - ``pairs``: the mean over the positive prompts minus the mean over the negative ones.

    Args:
        injector: the model; all layers are captured in one pass.
        concepts: a set, or concepts of either recipe.
        layers: 0-based block indices.
        recipe: for all concepts; None takes of each concept the one that it is made for, and is an error where a
            concept has both a word and pairs.
        baseline: baseline words; by default the set's own.
        date: the day that a chat template which prints the date is told, in all prompts; by default today.
        known: vectors of earlier extractions (:meth:`introspection_bench.sweep.Store.vectors`). Those that this one
            would make, of the same model, concept, recipe, prompts, date and layer, are returned as they are; only the
            missing ones are extracted.

    Raises:
        ConceptError: a concept that the recipe does not fit, or of two recipes with none chosen; a ``word`` concept
            without baseline words, or a word in its own baseline.
        LayerError: a layer that the model lacks.
        SpecError: no concepts, or no layers.
    """
    chosen, layers = list(concepts), list(layers)
    if not chosen or not layers:
        raise SpecError(
            explain(
                "concepts and layers",
                required="at least one of each",
                got=f"{len(chosen)} concepts, {len(layers)} layers",
                hint="Nothing was extracted.",
            )
        )
    recipes = [_recipe_of(c, recipe) for c in chosen]
    words = list(baseline if baseline is not None else getattr(concepts, "baseline", ()))
    _check_baseline([c for c, r in zip(chosen, recipes, strict=True) if r == "word"], words)
    day = date or datetime.date.today()
    rendered = cache(partial(_render, injector, date=day))
    contrasts = [
        _Contrast(c.name, r, *([rendered(t) for t in side] for side in _prompts_of(c, r, words)))
        for c, r in zip(chosen, recipes, strict=True)
    ]
    found = {(v.concept, v.layer, v.provenance.origin): v for v in known}
    places = [[(c.concept, layer, c.provenance(injector)) for layer in layers] for c in contrasts]
    missing: dict[tuple[int, ...], list[_Contrast]] = {}
    for contrast, mine in zip(contrasts, places, strict=True):
        lacking = tuple(layer for place, layer in zip(mine, layers, strict=True) if place not in found)
        if lacking:
            missing.setdefault(lacking, []).append(contrast)
    for lacking, some in missing.items():
        found |= {(v.concept, v.layer, v.provenance.origin): v for v in _captured(injector, some, lacking)}
    return [found[place] for mine in places for place in mine]


@attrs.frozen
class _Contrast:
    """The prompts whose difference makes one concept's vector, by one recipe."""

    concept: str
    recipe: Recipe
    positive: list[RenderedPrompt]
    negative: list[RenderedPrompt]

    @property
    def sides(self) -> tuple[list[RenderedPrompt], list[RenderedPrompt]]:
        return self.positive, self.negative

    def provenance(self, injector: Injector) -> Provenance:
        """What its vectors' provenance says before anything is measured: their ``origin``."""
        prompts = [p for side in self.sides for p in side]
        texts = ([p.scaffold_digest for p in side] for side in self.sides)
        return Provenance(
            recipe=self.recipe,
            model_name=injector.model.name,
            model_fingerprint=injector.model.fingerprint,
            # Of the texts, which the fingerprint's template and the date make token ids of: the same on any day.
            prompts_digest=digest("extraction_prompts", 2, [self.recipe, *texts]),
            prompts=len(prompts),
            token_position=-1,
            raw_norm=0.0,
            cosine=None,
            date=next((p.date.isoformat() for p in prompts if p.date is not None), None),
        )


def _captured(injector: Injector, contrasts: Sequence[_Contrast], layers: Sequence[int]) -> Iterator[ConceptVector]:
    prompts = list({p.text: p for c in contrasts for side in c.sides for p in side}.values())
    rows = dict(zip((p.text for p in prompts), injector.capture(prompts, layers), strict=True))
    for contrast in contrasts:
        means = [np.stack([rows[p.text] for p in side]).mean(axis=0, dtype=np.float64) for side in contrast.sides]
        for number, layer in enumerate(layers):
            positive, negative = (m[number] for m in means)
            norms = float(np.linalg.norm(positive)) * float(np.linalg.norm(negative))
            provenance = attrs.evolve(
                contrast.provenance(injector),
                raw_norm=float(np.linalg.norm(positive - negative)),
                cosine=float(positive @ negative) / norms if norms else None,
            )
            yield ConceptVector(positive - negative, contrast.concept, layer, provenance)


def _recipe_of(concept: Concept, recipe: Recipe | None) -> Recipe:
    has: list[Recipe] = []
    if concept.word is not None:
        has.append("word")
    if concept.pairs:
        has.append("pairs")
    fitting = [r for r in has if recipe in (None, r)]
    if len(fitting) != 1:
        raise ConceptError(
            explain(
                f"recipe for concept {concept.name!r}",
                required=f"one of the recipes that it is made for, {has}",
                got=recipe,
                hint="Say recipe='word' or recipe='pairs' (in a spec: [concepts] recipe).",
            )
        )
    return fitting[0]


def _check_baseline(concepts: Sequence[Concept], words: Sequence[str]) -> None:
    taken = {folded(w) for w in words}
    for concept in concepts:
        if concept.word is None:
            continue
        if not words:
            raise ConceptError(
                explain(
                    "baseline",
                    required=f"baseline words for the word concept {concept.name!r}",
                    got="none",
                    hint="Use a ConceptSet with a baseline, or pass baseline=….",
                )
            )
        if folded(concept.word) in taken:
            raise ConceptError(
                explain(
                    f"concept {concept.name!r}",
                    required="a word that is not in its own baseline",
                    got=concept.word,
                    hint="Take the word out of the baseline, or choose another concept.",
                )
            )


def _prompts_of(concept: Concept, recipe: Recipe, baseline: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the positive and the negative prompts of one concept; a word's negative ones are the baseline's."""
    if recipe == "word":
        return [_word_prompt(str(concept.word))], [_word_prompt(w) for w in baseline]
    return [p.positive for p in concept.pairs], [p.negative for p in concept.pairs]


def _word_prompt(word: str) -> str:
    return WORD_PROMPT.format(word=word.lower())


def _render(injector: Injector, text: str, *, date: datetime.date) -> RenderedPrompt:
    return Scaffold(name="extraction", turns=[Turn("user", text)], span=Span.all()).render(injector.tokenizer, date)


@checked(VectorError)
def random_controls(vectors: Iterable[ConceptVector], seed: int = 0) -> list[ConceptVector]:
    """Return one norm-matched random vector for each vector, with seeds counted up from ``seed``."""
    return [v.random_like(seed + n) for n, v in enumerate(vectors)]
