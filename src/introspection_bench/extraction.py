"""Extraction recipes: from a concept's prompts to its vectors, at several layers in one pass."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from .boundaries import checked
from .concepts import Concept, ConceptSet
from .digests import digest
from .errors import ConceptError, VectorError, explain
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
    baseline: Sequence[str] | None = None,
    date: datetime.date | None = None,
) -> list[ConceptVector]:
    """Return one raw vector per concept and layer, ordered by concept, then by layer.

    Each concept is extracted by the recipe that it is made for, both under the model's chat template with the
    generation prompt added, reading the residual stream at the last prompt token:

    - ``word``: the activation for "Tell me about {word}" minus the mean over the baseline words (Lindsey 2026,
      arXiv 2601.01828). A word that stands twice in the baseline counts twice.
    - ``pairs``: the mean over the positive prompts minus the mean over the negative ones.

    Args:
        injector: the model; all layers are captured in one pass.
        concepts: a set, or concepts of either recipe.
        layers: 0-based block indices.
        baseline: baseline words; by default the set's own.
        date: the day that a chat template which prints the date is told, in all prompts; by default today.

    Raises:
        ConceptError: a ``word`` concept without baseline words, or a word in its own baseline.
        LayerError: a layer that the model lacks.
    """
    chosen = list(concepts)
    words = list(baseline if baseline is not None else getattr(concepts, "baseline", ()))
    _check_baseline(chosen, words)
    texts = {c.name: _prompts_of(c) for c in chosen}
    shared = [WORD_PROMPT.format(word=w.lower()) for w in words] if any(c.word for c in chosen) else []
    wanted = list(dict.fromkeys([*(t for both in texts.values() for side in both for t in side), *shared]))
    day = date or datetime.date.today()
    prompts = {text: _render(injector, text, day) for text in wanted}
    captured = injector.capture([prompts[t] for t in wanted], layers)
    rows = {text: captured[n] for n, text in enumerate(wanted)}
    vectors = []
    for concept in chosen:
        positive, negative = texts[concept.name]
        against = negative if concept.pairs else shared
        means = [np.stack([rows[t] for t in side]).mean(axis=0, dtype=np.float64) for side in (positive, against)]
        for number, layer in enumerate(layers):
            provenance = _provenance(
                injector,
                "pairs" if concept.pairs else "word",
                [[prompts[t] for t in side] for side in (positive, against)],
                means[0][number],
                means[1][number],
            )
            vectors.append(ConceptVector(means[0][number] - means[1][number], concept.name, layer, provenance))
    return vectors


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


def _prompts_of(concept: Concept) -> tuple[list[str], list[str]]:
    """Return the positive and the negative prompts of one concept (no negative ones for a word)."""
    if concept.word is not None:
        return [WORD_PROMPT.format(word=concept.word.lower())], []
    return [p.positive for p in concept.pairs], [p.negative for p in concept.pairs]


def _render(injector: Injector, text: str, date: datetime.date) -> RenderedPrompt:
    return Scaffold(name="extraction", turns=[Turn("user", text)], span=Span.all()).render(injector.tokenizer, date)


def _provenance(
    injector: Injector,
    recipe: Recipe,
    prompts: list[list[RenderedPrompt]],
    positive: npt.NDArray[np.float64],
    negative: npt.NDArray[np.float64],
) -> Provenance:
    norms = float(np.linalg.norm(positive)) * float(np.linalg.norm(negative))
    return Provenance(
        recipe=recipe,
        model_name=injector.model.name,
        model_fingerprint=injector.model.fingerprint,
        # Of the texts, which the fingerprint's template and the date make token ids of: the same on any day.
        prompts_digest=digest("extraction_prompts", 2, [recipe, *([p.scaffold_digest for p in s] for s in prompts)]),
        prompts=sum(map(len, prompts)),
        token_position=-1,
        raw_norm=float(np.linalg.norm(positive - negative)),
        cosine=float(positive @ negative) / norms if norms else None,
        date=next((p.date.isoformat() for side in prompts for p in side if p.date is not None), None),
    )


@checked(VectorError)
def random_controls(vectors: Iterable[ConceptVector], seed: int = 0) -> list[ConceptVector]:
    """Return one norm-matched random vector for each vector, with seeds counted up from ``seed``."""
    return [v.random_like(seed + n) for n, v in enumerate(vectors)]
