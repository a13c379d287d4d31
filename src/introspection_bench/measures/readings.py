"""Readings: what a measure found on one trial."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np
import numpy.typing as npt

from ..boundaries import checked, guarded
from ..digests import digest
from ..errors import SpecError, explain
from ..freezing import frozen_float32, frozen_mapping, frozen_tuple, plain_int

FloatArray = npt.NDArray[np.float32]


@guarded(SpecError)
@attrs.frozen
class Reading:
    """What a measure found on one trial: an array with named axes.

    ``axes`` name the dimensions of ``values`` (float32) in order, with a label for each place along them. ``measure``
    and ``measure_digest`` say what was read; ``model`` (fingerprint), ``backend``, ``numerics`` and ``dtype`` by what:
    it need not be what generated the reply. ``dims`` is the order of the axes. ``notes`` are the measure's own on this
    model (:meth:`~introspection_bench.measures.Measure.notes`), such as which texts count for a set and which don't.
    """

    measure: str
    measure_digest: str
    axes: Mapping[str, tuple[str | int, ...]] = attrs.field(converter=frozen_mapping, hash=False)
    values: FloatArray = attrs.field(
        converter=frozen_float32, eq=attrs.cmp_using(eq=lambda a, b: np.array_equal(a, b, equal_nan=True)), hash=False
    )
    model: str
    backend: str
    numerics: int = attrs.field(converter=plain_int)
    dtype: str
    dims: tuple[str, ...] = attrs.field(
        converter=frozen_tuple, default=attrs.Factory(lambda self: tuple(self.axes), takes_self=True)
    )
    notes: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=())

    def __attrs_post_init__(self) -> None:
        if sorted(self.dims) != sorted(self.axes):
            raise SpecError(
                explain("dims", required=f"the axes {sorted(self.axes)}", got=self.dims, hint="Leave it out.")
            )
        # JSON with sorted keys keeps no order of a table's own.
        object.__setattr__(self, "axes", frozen_mapping({name: self.axes[name] for name in self.dims}))
        lengths = tuple(len(labels) for labels in self.axes.values())
        if lengths != self.values.shape:
            raise SpecError(
                explain(
                    f"reading {self.measure!r}",
                    required=f"values of the axes' shape {lengths}",
                    got=self.values.shape,
                    hint="Give each axis a label for each place along it.",
                )
            )

    @checked(SpecError)
    def key(self, trial: str) -> str:
        """The identity of the reading: trial, measure, and what read it."""
        told = [trial, self.measure_digest, self.model, self.backend, self.numerics, self.dtype]
        return digest("reading", 1, told)

    @checked(SpecError)
    def at(self, **labels: str | int) -> FloatArray:
        """Return the values at some labels, by the names of their axes: ``reading.at(set="yes")``."""
        unknown = {k: v for k, v in labels.items() if v not in self.axes.get(k, ())}
        if unknown:
            known = {name: list(values) for name, values in self.axes.items()}
            raise SpecError(
                explain("labels", required=f"labels of the axes {known}", got=unknown, hint="See Reading.axes.")
            )
        index = tuple(
            places.index(labels[name]) if name in labels else slice(None) for name, places in self.axes.items()
        )
        found: FloatArray = self.values[index]
        return found
