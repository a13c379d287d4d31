"""What a vector says by itself: the rank of its concept's first token under the logit lens of the vector."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from .boundaries import checked, guarded
from .concepts import Concept, ConceptSet
from .effects import READS_OUT_BELOW
from .errors import VectorError, explain
from .freezing import frozen_tuple, plain_int
from .injectors.base import Injector
from .measures.tokens import best_rank, first_tokens
from .names import composed
from .vectors import ConceptVector


@guarded(VectorError)
@attrs.frozen
class VectorRank:
    """The rank of a concept's first token among all tokens, under the logit lens of its vector.

    ``rank`` counts from 0, of the best of the first tokens of all that the concept is called, with and without a space
    and a capital; ``token`` is that token's id, ``vector`` the vector's digest, ``layer`` the block that it is from.
    """

    concept: str = attrs.field(converter=composed)
    layer: int = attrs.field(converter=plain_int)
    vector: str
    rank: int = attrs.field(converter=plain_int)
    token: int = attrs.field(converter=plain_int)

    @property
    def reads_out(self) -> bool:
        """Whether the rank is below :data:`READS_OUT_BELOW`: naming may then be the steering itself."""
        return self.rank < READS_OUT_BELOW


@checked(VectorError)
def vector_ranks(
    injector: Injector, vectors: Sequence[ConceptVector], concepts: ConceptSet | Iterable[Concept] = ()
) -> tuple[VectorRank, ...]:
    """Return for each vector where its concept's word stands among all tokens that the vector itself makes likely.

    The model's final norm and unembedding are applied to the vector as if it were the residual stream, at the norm of a
    stream of ones: its direction alone decides, and no layer behind its own has its say. ``concepts`` tell what each is
    called; without them the concept's name is its word. Source: the logit lens, nostalgebraist 2020.

    Raises:
        SpecError: a backend that offers no lens of vectors; ``torch`` and ``nnsight`` do.
        VectorError: a vector of another width than the model's stream.
    """
    names = {c.name: c.names for c in concepts}
    logits = injector.vector_logits(vectors)
    found = []
    for vector, row in zip(vectors, logits, strict=True):
        tokens = first_tokens(names.get(vector.concept, (vector.concept.replace("_", " "),)), injector.tokenizer)
        if not tokens:
            raise VectorError(
                explain(f"concept {vector.concept!r}", required="a name that has tokens", got="none", hint="")
            )
        found.append(VectorRank(vector.concept, vector.layer, vector.digest, *best_rank(row, tokens)))
    return tuple(found)


@checked(VectorError)
def reads_out_sentence(ranks: Iterable[VectorRank]) -> str:
    """Return a sentence where vectors say their concept's word by themselves; an empty one where none does."""
    ranks = frozen_tuple(ranks)
    out = [r for r in ranks if r.reads_out]
    if not out:
        return ""
    some = ", ".join(f"{r.concept} at layer {r.layer} (rank {r.rank})" for r in out[:5])
    more = f" and {len(out) - 5} more" if len(out) > 5 else ""
    return (
        f"Under the logit lens of the vector itself, {len(out)} of {len(ranks)} vectors have their concept's first "
        f"token among the first {READS_OUT_BELOW}: {some}{more}. There naming may be the steering, and is no sign of "
        "a report."
    )
