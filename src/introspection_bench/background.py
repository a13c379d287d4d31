"""What words' vectors have in common, and random vectors that are drawn after it: their covariance at one layer."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import attrs
import numpy as np
import numpy.typing as npt

from .boundaries import checked, guarded
from .digests import digest
from .errors import VectorError, explain
from .freezing import frozen_tuple
from .showing import few, plural, shown
from .vectors import ConceptVector

#: Fewer words' vectors say too little of how vectors vary.
LEAST_WORDS = 200
#: A drawn vector is as good as orthogonal to the concept's that it stands for: its cosine is no larger, of either sign.
MOST_COSINE = 0.1
_MOST_DRAWS = 10_000
#: How a step of a drawn vector's provenance begins.
DRAWN = "covariance_like"


@guarded(VectorError)
@attrs.frozen
class Background:
    """The vectors of words at one layer, in ``vectors``, and the covariance that random vectors are drawn with.

    The covariance is the sample's around its mean, shrunk towards a multiple of the identity as Ledoit and Wolf 2004
    ("A well-conditioned estimator for large-dimensional covariance matrices") do: by the share that is best on
    average for so many vectors of such a width. Raises :class:`VectorError` for vectors of several widths or layers,
    for fewer than 200, and for ones that are all the same.
    """

    vectors: tuple[ConceptVector, ...] = attrs.field(converter=frozen_tuple)

    def __attrs_post_init__(self) -> None:
        shapes = sorted({(v.layer, v.values.size) for v in self.vectors})
        if len(self.vectors) < LEAST_WORDS or len(shapes) != 1:
            raise VectorError(
                explain(
                    "background",
                    required=f"the vectors of at least {LEAST_WORDS} words, of one layer and width",
                    got=f"{len(self.vectors)}, of (layer, width) {shapes[:4]}",
                    hint="Extract more words, by one recipe.",
                )
            )
        if not self.variance:
            raise VectorError(explain("background", required="vectors that differ", got="one vector", hint=""))

    def __repr__(self) -> str:
        words = few(v.concept for v in self.vectors)
        return shown(self, f"layer {self.vectors[0].layer}", f"{plural(len(self.vectors), 'vector')}: {words}")

    @property
    def digest(self) -> str:
        """SHA-256 of the vectors, in order."""
        return digest("background", 1, [v.digest for v in self.vectors])

    @functools.cached_property
    def centred(self) -> npt.NDArray[np.float64]:
        """The vectors less their mean, shape (words, hidden_size)."""
        values = np.stack([v.values for v in self.vectors]).astype(np.float64)
        centred: npt.NDArray[np.float64] = values - np.add.reduce(values, axis=0) / len(values)
        return centred

    @functools.cached_property
    def variance(self) -> float:
        """The mean variance of a component."""
        # Rounded, as the shrinkage is, so that what is drawn does not depend on how a machine adds up.
        return float(f"{float(np.square(self.centred).mean()):.9g}")

    @functools.cached_property
    def shrinkage(self) -> float:
        """The share of the identity in the covariance, 0 to 1, to six digits."""
        # By the products of the vectors, (words, words): the matrix itself, (hidden_size, hidden_size), is not needed.
        count, width = self.centred.shape
        products = self.centred @ self.centred.T
        of_sample = float(np.square(products).sum()) / count**2
        away = of_sample - width * self.variance**2
        noise = (float(np.square(np.diagonal(products)).sum()) / count - of_sample) / count
        return 1.0 if away <= 0 else round(min(max(noise / away, 0.0), 1.0), 6)

    @checked(VectorError)
    def combined(self, by_word: npt.NDArray[np.float64], own: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return a draw, shape (hidden_size,), of standard normal numbers: one by word, one by component."""
        count, width = self.centred.shape
        if np.shape(by_word) != (count,) or np.shape(own) != (width,):
            raise VectorError(
                explain(
                    "by_word and own",
                    required=f"{count} and {width} numbers",
                    got=f"shapes {np.shape(by_word)} and {np.shape(own)}",
                    hint="",
                )
            )
        # Word by word, in order: the sum is the same to the bit on every machine, and with it a trial's key.
        of_words = np.add.reduce(by_word[:, None] * self.centred, axis=0) / math.sqrt(count)
        drawn: npt.NDArray[np.float64] = (
            math.sqrt(1 - self.shrinkage) * of_words + math.sqrt(self.shrinkage * self.variance) * own
        )
        return drawn


@checked(VectorError)
def covariance_like(
    vectors: Sequence[ConceptVector], backgrounds: Sequence[Background], seed: int
) -> tuple[ConceptVector, ...]:
    """Return one random vector for each of a concept's, as long, drawn with the covariance at its layer.

    A draw is one combination of the words, the same at all layers, as a concept's own vectors are of one concept; it
    is repeated until the cosine to the concept's vector is within 0.1 of 0 at each of them. Provenance has the cosine,
    the seed and what was drawn from.

    Raises :class:`VectorError` for backgrounds that don't fit the vectors, a seed that is not a whole number >= 0, and
    where no draw is apart enough.
    """
    widths = {v.values.size for v in vectors} | {b.centred.shape[1] for b in backgrounds}
    counts = {len(b.vectors) for b in backgrounds}
    if len(vectors) != len(backgrounds) or len(widths) != 1 or len(counts) != 1 or type(seed) is not int or seed < 0:
        raise VectorError(
            explain(
                "vectors, backgrounds and seed",
                required="a background of the same words for each vector, of its width, and a seed >= 0",
                got=f"{len(vectors)} vectors, {len(backgrounds)} backgrounds of {sorted(counts)} words, "
                f"widths {sorted(widths)}, seed {seed!r}",
                hint="Extract the words at the layers of the vectors.",
            )
        )
    rng = np.random.default_rng(seed)
    for _ in range(_MOST_DRAWS):
        by_word, own = rng.standard_normal(*counts), rng.standard_normal(*widths)
        drawn = [b.combined(by_word, own) for b in backgrounds]
        cosines = [_cosine(d, v.values.astype(np.float64)) for d, v in zip(drawn, vectors, strict=True)]
        if max(map(abs, cosines)) < MOST_COSINE:
            break
    else:
        raise VectorError(
            explain(
                f"random vectors for {vectors[0].concept!r}",
                required=f"a draw whose |cosine| to its vectors is below {MOST_COSINE}",
                got=f"none in {_MOST_DRAWS:,}",
                hint="Its vectors lie along what all words' have in common: leave the arm or the concept out.",
            )
        )
    return tuple(
        vector.derived(
            values / _length(values) * vector.norm,
            f"{DRAWN} seed {seed}, cosine {cosine:.4f}, of {len(b.vectors)} words {b.digest[:12]}, "
            f"shrinkage {b.shrinkage}",
        )
        for vector, b, values, cosine in zip(vectors, backgrounds, drawn, cosines, strict=True)
    )


def _length(values: npt.NDArray[np.float64]) -> float:
    return math.sqrt(math.fsum(values * values))


def _cosine(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    return float(np.add.reduce(one * other)) / (_length(one) * _length(other))
