"""A concept's direction in the residual stream, with its provenance, its algebra and its file format."""

from __future__ import annotations

import functools
from numbers import Real
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from .boundaries import checked, guarded
from .digests import canonical_json, digest_bytes
from .errors import VectorError, VectorFileError, explain
from .files import write_file
from .freezing import frozen_float32, frozen_tuple
from .names import composed
from .showing import listing, shown, table_html
from .structuring import strict_converter, worded
from .untrusted import MOST_FILE, one_line, parse_json, regular_file

FloatArray = npt.NDArray[np.float32]

#: Version of the file layout: a safetensors file with the tensor "values" and this JSON under "introspection_bench".
FORMAT_VERSION = 1
_HEADER = "introspection_bench"
#: How a random vector's step of provenance begins: drawn uniformly, permuted, or drawn with a covariance.
_RANDOM = ("random_like", "permuted_like", "covariance_like")


@guarded(VectorError)
@attrs.frozen
class Provenance:
    """Where a vector came from.

    ``recipe`` is the extraction recipe; ``token_position`` the prompt position that was read, counted from the
    end (-1 is the last prompt token); ``prompts_digest`` identifies the prompts; ``cosine`` is that
    between the two class means (positive and negative, or word and baseline); ``raw_norm`` is the norm of the
    raw difference, in the residual stream's scale; ``steps`` lists the algebra applied since; ``date`` (ISO 8601) is
    the day that the chat template printed into the prompts, None where it prints none. ``beside`` are the steers under
    which the prompts were run, in words.
    """

    recipe: str
    model_name: str
    model_fingerprint: str
    prompts_digest: str
    prompts: int
    token_position: int
    raw_norm: float
    cosine: float | None
    steps: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=())
    date: str | None = None
    beside: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=())

    @property
    def origin(self) -> Provenance:
        """What the vector was made of, without the two numbers that were measured on it."""
        return attrs.evolve(self, raw_norm=0.0, cosine=None)


@guarded(VectorError)
@attrs.frozen(repr=False)
class ConceptVector:
    """One concept's direction at one layer: ``values`` of shape (hidden_size,), float32, raw (not normalised).

    ``layer`` is the 0-based block whose output was read. Arrays are copied and read-only; two vectors are equal
    when their contents are. Raises :class:`VectorError` for a wrong shape, NaN, infinity or an all-zero vector.
    """

    values: FloatArray = attrs.field(converter=frozen_float32, eq=attrs.cmp_using(eq=np.array_equal), hash=False)
    concept: str = attrs.field(converter=composed)
    layer: int = attrs.field()
    provenance: Provenance

    @concept.validator
    def _check_concept(self, _: object, value: str) -> None:
        if not isinstance(value, str) or not value:
            raise VectorError(explain("concept", required="the concept's name", got=repr(value), hint="Name it."))

    @layer.validator
    def _check_layer(self, _: object, value: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise VectorError(
                explain("layer", required="a 0-based block index >= 0", got=value, hint="Name the block that was read.")
            )

    @values.validator
    def _check_values(self, _: object, values: FloatArray) -> None:
        if values.ndim != 1 or values.size == 0:
            raise VectorError(
                explain("values", required="shape (hidden_size,)", got=f"shape {values.shape}", hint="Pass one vector.")
            )
        if not np.isfinite(values).all():
            raise VectorError(
                explain(
                    "values",
                    required="finite float32 numbers",
                    got=f"{int((~np.isfinite(values)).sum())} NaN or infinite of {values.size}",
                    hint="Extract the vector again; steering with it would only make noise.",
                )
            )
        if not values.any():
            raise VectorError(
                explain("values", required="a direction", got="all zeros", hint="A zero vector has no direction.")
            )

    # Read for every request: the values never change.
    @functools.cached_property
    def norm(self) -> float:
        """‖v‖, computed in float64."""
        return float(np.linalg.norm(self.values.astype(np.float64)))

    @property
    def unit(self) -> ConceptVector:
        """The vector scaled to norm 1."""
        return self.derived(self.values / np.float64(self.norm), "unit")

    @checked(VectorError)
    def cosine(self, other: ConceptVector) -> float:
        """Return the cosine between two vectors; raises :class:`VectorError` where they differ in width."""
        if other.values.size != self.values.size:
            raise VectorError(
                explain("other", required=f"a vector of width {self.values.size}", got=other.values.size, hint="")
            )
        lengths = self.norm * other.norm
        return float(self.values.astype(np.float64) @ other.values.astype(np.float64)) / lengths

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the values alone (little-endian float32): what can alter a reply."""
        return digest_bytes("vector", 1, self.values.astype("<f4").tobytes())

    @property
    def is_random(self) -> bool:
        """True for a random vector of the same norm: of :meth:`random_like`, :meth:`permuted_like`, or a covariance."""
        return any(step.startswith(_RANDOM) for step in self.provenance.steps)

    def __neg__(self) -> ConceptVector:
        if self.provenance.steps[-1:] == ("negated",):
            provenance = attrs.evolve(self.provenance, steps=self.provenance.steps[:-1])
            return attrs.evolve(self, values=-self.values, provenance=provenance)
        return self.derived(-self.values, "negated")

    def __mul__(self, factor: float | Real) -> ConceptVector:
        if not isinstance(factor, Real):
            return NotImplemented
        return self.derived(self.values.astype(np.float64) * float(factor), f"times {float(factor)!r}")

    __rmul__ = __mul__

    def random_like(self, seed: int) -> ConceptVector:
        """Return a random direction of the same norm: a control for "any perturbation would do" (Lindsey 2026).

        The direction is uniform on the sphere (a normalised Gaussian from ``numpy.random.default_rng(seed)``) and
        depends on ``seed`` and the width alone: give each concept and layer a seed of its own. Raises
        :class:`VectorError` for a seed that is not a whole number >= 0.
        """
        noise = _rng(seed).standard_normal(self.values.size)
        return self.derived(noise / np.linalg.norm(noise) * self.norm, f"random_like seed {seed}")

    def permuted_like(self, seed: int) -> ConceptVector:
        """Return the vector with its components in random order: a control that has their distribution, too.

        A few large components of the residual stream stay as large, elsewhere. The order depends on ``seed`` and the
        width alone. Raises :class:`VectorError` for a seed that is not a whole number >= 0.
        """
        return self.derived(_rng(seed).permutation(self.values), f"permuted_like seed {seed}")

    @checked(VectorError)
    def save(self, path: str | Path) -> Path:
        """Write a safetensors file with a JSON header; returns its path.

        The file is whole or not there. Raises :class:`~introspection_bench.errors.OutputError` where it can't be
        written.
        """
        return write_file(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the content of the file that :meth:`save` writes."""
        from safetensors.numpy import save

        header = {
            "format": FORMAT_VERSION,
            "concept": self.concept,
            "layer": self.layer,
            "provenance": attrs.asdict(self.provenance),
        }
        data: bytes = save({"values": np.array(self.values)}, metadata={_HEADER: canonical_json(header)})
        return data

    @classmethod
    @checked(VectorError)
    def load(cls, path: str | Path) -> ConceptVector:
        """Read a file of :meth:`save`; nothing in it is executed.

        Raises :class:`VectorFileError` for a missing, truncated or foreign file, and for one whose vector is not
        usable (NaN, wrong shape); the message names the file.
        """
        try:
            data = regular_file(path, MOST_FILE).read_bytes()
        except (OSError, ValueError) as error:
            raise VectorFileError(
                explain("path", required="a readable .safetensors file", got=f"{path}: {error}", hint="Check it.")
            ) from error
        return cls.from_bytes(data, str(path))

    @classmethod
    @checked(VectorError)
    def from_bytes(cls, data: bytes, where: str) -> ConceptVector:
        """Read what :meth:`to_bytes` returned; ``where`` begins the text of errors."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        with worded(
            VectorFileError,
            where,
            root="provenance",
            required=f"a safetensors file with 'values' and a '{_HEADER}' header of format {FORMAT_VERSION}",
            hint="The file is truncated or was written by something else; extract the vector again.",
            # VectorError and json's own are ValueErrors.
            also=(SafetensorError, LookupError, TypeError, ValueError),
        ):
            values = load(data)["values"]
            # The library checked the layout: 8 bytes of length, then a JSON header with the metadata.
            metadata = parse_json(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
            return cls._from_header(parse_json(metadata[_HEADER]), values)

    @classmethod
    def _from_header(cls, header: Any, values: FloatArray) -> ConceptVector:
        if header["format"] != FORMAT_VERSION:
            raise ValueError(f"format {header['format']!r}")
        if values.dtype != np.float32:
            raise TypeError(f"values of dtype {values.dtype}, not float32")
        provenance = strict_converter().structure(header["provenance"], Provenance)
        return cls(values, header["concept"], header["layer"], provenance)

    @checked(VectorError)
    def derived(self, values: npt.ArrayLike, step: str) -> ConceptVector:
        """Return the vector with other values, and in its provenance a step more that says how they were made."""
        provenance = attrs.evolve(self.provenance, steps=(*self.provenance.steps, step))
        return attrs.evolve(self, values=values, provenance=provenance)

    def __repr__(self) -> str:
        p = self.provenance
        told = f"layer {self.layer}", f"hidden {self.values.size}", f"norm {self.norm:.4g}"
        made = one_line(", ".join([f"{p.recipe} on {p.model_name}", *[" then ".join(p.steps)] * bool(p.steps)]), 200)
        return shown(self, repr(self.concept), *told, made)

    def _repr_html_(self) -> str:
        p = self.provenance
        rows = [("layer", self.layer), ("hidden size", self.values.size), ("norm", f"{self.norm:.4g}")]
        rows += [("recipe", p.recipe), ("model", p.model_name), ("prompts", p.prompts), ("date", p.date or "")]
        # A mean difference is small beside what both sides share: then it is noise as easily as a concept.
        rows += [("cosine of both sides", "" if p.cosine is None else f"{p.cosine:.4g}")]
        rows += [("steps", listing(p.steps)), ("beside", listing(p.beside)), ("digest", self.digest)]
        return table_html(f"Vector of {self.concept}", [row for row in rows if row[1] != ""])


def _rng(seed: int) -> np.random.Generator:
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise VectorError(
            explain("seed", required="a whole number >= 0", got=seed, hint="A seed makes the control repeatable.")
        )
    return np.random.default_rng(seed)
