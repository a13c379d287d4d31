"""The words whose vectors random ones take after: which they are in a design, and their vectors by layer."""

from __future__ import annotations

from collections.abc import Sequence

from ..background import LEAST_WORDS, Background
from ..concepts import Concept
from ..errors import SpecError, explain
from ..items import load_battery
from ..names import folded
from ..recipes import Word
from ..vectors import ConceptVector
from .design import Design
from .places import source_layers


def background_words(design: Design) -> list[Concept]:
    """Return the built-in words that are neither concepts of a design nor in their baseline; none where no arm asks.

    Raises :class:`SpecError` where fewer than 200 are left, and for a design whose recipe makes no vectors of words.
    """
    if not any(arm.needs_background for arm in design.arms) or design.concepts is None:
        return []
    given = {v.concept for v in design.vectors}
    pairs = [c.name for c in design.concepts if c.word is None and c.name not in given]
    unfit = not isinstance(design.recipe, Word) if design.recipe is not None else bool(pairs)
    if unfit or not design.concepts.baseline:
        raise SpecError(
            explain(
                "design.arms: a random vector of the kind 'covariance'",
                required="a recipe that makes vectors of words, ib.Word, and concepts with baseline words",
                got=f"{design.recipe or f'pairs for {pairs[:3]}'}, {len(design.concepts.baseline)} baseline words",
                hint="Leave the arm out, or take another kind.",
            )
        )
    taken = {folded(part) for c in design.concepts for name in c.names for part in name.split()}
    taken |= {folded(word) for word in design.concepts.baseline}
    found = [item.slots["word"] for item in load_battery("words").items]
    found = [word for word in found if not any(_alike(word, other) for other in taken)]
    if len(found) < LEAST_WORDS:
        raise SpecError(
            explain(
                "design.concepts",
                required=f"concepts that leave {LEAST_WORDS} of the battery 'words'",
                got=f"{len(found)} that none of them is alike to",
                hint="Split the design, or leave the kind 'covariance' out.",
            )
        )
    return [Concept(word, word=word) for word in found]


def background(design: Design, vectors: Sequence[ConceptVector], n_layers: int) -> dict[int, Background]:
    """Return the words' vectors by the layer that concepts are injected at, out of all of a run's vectors."""
    words = background_words(design)
    if not words:
        return {}
    known = {(v.concept, v.layer): v for v in vectors}
    sources = source_layers(design, n_layers)
    missing = [(w.name, n) for w in words for n in sources.values() if (w.name, n) not in known]
    if missing:
        raise SpecError(
            explain(
                "vectors", required="those of every background word", got=f"none for {missing[:3]}", hint="Run it anew."
            )
        )
    return {layer: Background([known[w.name, source] for w in words]) for layer, source in sources.items()}


def _alike(one: str, other: str) -> bool:
    """Whether two words may be forms of one: ocean and oceans, berry and berries; now and then it says so of others."""
    short, long = sorted((one, other), key=len)
    if len(short) < 3:
        return one == other
    root = short.removesuffix("y").removesuffix("e") if len(short) > 3 else short
    return long.startswith(root) and len(long) - len(root) <= 3
