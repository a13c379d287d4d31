"""Extraction: from a concept's prompts to its vectors by a recipe, at several layers in one pass."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial

import attrs
import numpy as np
import numpy.typing as npt

from .boundaries import checked
from .concepts import Concept, ConceptSet, as_concepts
from .digests import digest
from .errors import ConceptError, SpecError, VectorError, explain
from .injection import Injection
from .injectors.base import Injector
from .notebook import Bar, Bars, bars
from .prompts import RenderedPrompt
from .recipes import Recipe, Reduce, as_recipe, recipe_for
from .scaffolds import Scaffold, Turn
from .vectors import ConceptVector, Provenance


@checked(ConceptError)
def extract(
    injector: Injector,
    concepts: ConceptSet | Iterable[Concept] | str,
    layers: Sequence[int],
    *,
    recipe: Recipe | str | None = None,
    baseline: Sequence[str] | None = None,
    date: datetime.date | None = None,
    known: Iterable[ConceptVector] = (),
    beside: Sequence[Injection] = (),
    progress: bool | Bars = True,
) -> list[ConceptVector]:
    """Return one raw vector per concept and layer, ordered by concept, then by layer.

    Each concept's prompts are those of the recipe, under the model's chat template with the generation prompt added;
    what is read is the residual stream at one prompt token, by default the last.

    Args:
        injector: the model; all layers are captured in one pass.
        concepts: a set, or its name, or concepts of either recipe.
        layers: 0-based block indices.
        recipe: for all concepts, or its name; None takes of each concept the one that it is made for, with its
            defaults, and is an error where a concept has both a word and pairs.
        baseline: baseline words; by default the set's own.
        date: the day that a chat template which prints the date is told, in all prompts; by default today.
        known: vectors of earlier extractions (:meth:`introspection_bench.sweep.Store.vectors`). Those that this one
            would make, of the same model, concept, recipe, prompts, date and layer, are returned as they are; only the
            missing ones are extracted.
        beside: injections under which all prompts are run.
        progress: a notebook shows a bar of the prompts that are read, unless this is False.

    Raises:
        ConceptError: a concept that the recipe does not fit, or of two recipes with none chosen; a ``word`` concept
            without baseline words, or a word in its own baseline.
        LayerError: a layer that the model lacks.
        SpecError: no concepts, or no layers.
    """
    given: ConceptSet | Iterable[Concept] = as_concepts(concepts)
    how: Recipe | None = as_recipe(recipe)
    chosen, layers = list(given), list(layers)
    if not chosen or not layers:
        raise SpecError(
            explain(
                "concepts and layers",
                required="at least one of each",
                got=f"{len(chosen)} concepts, {len(layers)} layers",
                hint="Nothing was extracted.",
            )
        )
    words = list(baseline if baseline is not None else getattr(given, "baseline", ()))
    day = date or datetime.date.today()
    rendered: _Render = cache(partial(_render, injector, day))
    contrasts = [_contrast(c, recipe_for(c, how), words, rendered, beside) for c in chosen]
    found = {(v.concept, v.layer, v.provenance.origin): v for v in known}
    places = [[(c.concept, layer, c.provenance(injector)) for layer in layers] for c in contrasts]
    missing: dict[tuple[int, ...], list[_Contrast]] = {}
    for contrast, mine in zip(contrasts, places, strict=True):
        lacking = tuple(layer for place, layer in zip(mine, layers, strict=True) if place not in found)
        if lacking:
            missing.setdefault(lacking, []).append(contrast)
    total = sum(len(prompts) for some in missing.values() for prompts in _prompts(some).values())
    with bars(progress).bar("extraction prompts read", 0, total) as bar, _heard_by(bar, injector):
        for lacking, some in missing.items():
            found |= {(v.concept, v.layer, v.provenance.origin): v for v in _captured(injector, some, lacking)}
    return [found[place] for mine in places for place in mine]


#: From a user prompt, a system turn and the beginning of a reply to what the model reads.
_Render = Callable[[str, str | None, str | None], RenderedPrompt]


@attrs.frozen
class _Contrast:
    """The prompts whose difference makes one concept's vector, by one recipe."""

    concept: str
    recipe: Recipe
    positive: list[RenderedPrompt]
    negative: list[RenderedPrompt]
    beside: tuple[Injection, ...]

    @property
    def sides(self) -> tuple[list[RenderedPrompt], list[RenderedPrompt]]:
        return self.positive, self.negative

    def provenance(self, injector: Injector) -> Provenance:
        """What its vectors' provenance says before anything is measured: their ``origin``."""
        prompts = [p for side in self.sides for p in side]
        texts = ([p.scaffold_digest for p in side] for side in self.sides)
        return Provenance(
            recipe=self.recipe.written,
            model_name=injector.model.name,
            model_fingerprint=injector.model.fingerprint,
            # Of the texts, which the fingerprint's template and the date make token ids of: the same on any day.
            prompts_digest=digest("extraction_prompts", 2, [self.recipe.written, *texts]),
            prompts=len(prompts),
            token_position=self.recipe.position,
            raw_norm=0.0,
            cosine=None,
            steps=("unit",) if self.recipe.normalise else (),
            date=next((p.date.isoformat() for p in prompts if p.date is not None), None),
            beside=tuple(f"{i.vector.digest[:12]} at layer {i.layer}, {i.dose}, {i.span}" for i in self.beside),
        )


def _contrast(
    concept: Concept,
    recipe: Recipe,
    baseline: Sequence[str],
    rendered: _Render,
    beside: Sequence[Injection],
) -> _Contrast:
    made = recipe.contrast(concept, baseline)
    endings: tuple[str | None, ...] = recipe.endings or (None,)
    positive, negative = (
        [rendered(text, recipe.system, ending) for text in side for ending in endings]
        for side in (made.positive, made.negative)
    )
    return _Contrast(concept.name, recipe, positive, negative, tuple(beside))


def _prompts(contrasts: Sequence[_Contrast]) -> dict[int, list[RenderedPrompt]]:
    """Return the prompts to be read, each once, by the position of the token."""
    found: dict[int, dict[str, RenderedPrompt]] = {}
    for contrast in contrasts:
        found.setdefault(contrast.recipe.position, {}).update((p.text, p) for side in contrast.sides for p in side)
    return {position: list(prompts.values()) for position, prompts in found.items()}


@contextmanager
def _heard_by(bar: Bar | None, injector: Injector) -> Iterator[None]:
    """Move a bar with each prompt that is read meanwhile."""
    before = injector.on_captured
    if bar is not None:
        injector.on_captured = bar.step
    try:
        yield
    finally:
        injector.on_captured = before


def _captured(injector: Injector, contrasts: Sequence[_Contrast], layers: Sequence[int]) -> Iterator[ConceptVector]:
    rows: dict[tuple[str, int], npt.NDArray[np.float32]] = {}
    for position, prompts in _prompts(contrasts).items():
        captured = injector.capture(prompts, layers, position=position, beside=contrasts[0].beside)
        rows |= {(p.text, position): row for p, row in zip(prompts, captured, strict=True)}
    for contrast in contrasts:
        at = contrast.recipe.position
        sides = [np.stack([rows[p.text, at] for p in side]).astype(np.float64) for side in contrast.sides]
        for number, layer in enumerate(layers):
            positive, negative = (side[:, number] for side in sides)
            yield _vector(contrast, injector, layer, positive, negative)


def _vector(
    contrast: _Contrast,
    injector: Injector,
    layer: int,
    positive: npt.NDArray[np.float64],
    negative: npt.NDArray[np.float64],
) -> ConceptVector:
    """Make one vector of both sides' activations (prompts, hidden_size)."""
    direction = _reduced(contrast.recipe.reduce, positive, negative)
    means = positive.mean(axis=0), negative.mean(axis=0)
    norms = float(np.linalg.norm(means[0])) * float(np.linalg.norm(means[1]))
    length = float(np.linalg.norm(direction))
    provenance = attrs.evolve(
        contrast.provenance(injector),
        raw_norm=length,
        cosine=float(means[0] @ means[1]) / norms if norms else None,
    )
    scale = length if contrast.recipe.normalise and length else 1.0
    return ConceptVector(direction / scale, contrast.concept, layer, provenance)


def _reduced(
    how: Reduce, positive: npt.NDArray[np.float64], negative: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    difference: npt.NDArray[np.float64] = positive.mean(axis=0) - negative.mean(axis=0)
    if how == "mean":
        return difference
    # Centred pair by pair, both sides are half the difference and its negative: its own components are theirs.
    component: npt.NDArray[np.float64] = np.linalg.svd(positive - negative, full_matrices=False)[2][0]
    return component * (component @ difference)


def _render(
    injector: Injector, date: datetime.date, text: str, system: str | None, ending: str | None
) -> RenderedPrompt:
    # Filled: braces in a concept's prompts are its own.
    scaffold = Scaffold("extraction", [Turn("user", text)], system=system, prefill=ending, filled=True)
    return scaffold.render(injector.tokenizer, date)


@checked(VectorError)
def random_controls(vectors: Iterable[ConceptVector], seed: int = 0) -> list[ConceptVector]:
    """Return one norm-matched random vector for each vector, with seeds counted up from ``seed``."""
    return [v.random_like(seed + n) for n, v in enumerate(vectors)]
