"""From what was measured on the stream to a trial's receipt, for all backends alike."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..doses import Unit
from ..errors import NonFiniteError, SilentInjectionError, explain
from ..injection import Receipt, Steer
from .steering import NOT_STEERED

#: The share of an addition that must arrive, on average over a reply's steered positions. Below a half, what the
#: stream holds is more rounding than addition: another dose than the one that the trial's key states.
LEAST_SHARE = 0.5
#: The relative step of the dtypes that a stream may have: half of it is what rounding to nearest may eat, element by
#: element.
_RESOLUTION = {"float32": 2.0**-23, "bfloat16": 2.0**-7, "float16": 2.0**-10}


def unmeasured(*shape: int) -> npt.NDArray[np.float32]:
    """Return the measurements of positions that nothing was added to: float32, 3 in front of ``shape``."""
    return np.full((3, *shape), NOT_STEERED, dtype=np.float32)


def make_receipt(measured: npt.NDArray[np.float32], steer: Steer, *, dtype: str) -> Receipt:
    """Return the receipt of one steer from what :func:`.steering.steer` measured at a reply's positions.

    Args:
        measured: (3, positions) from position 0 to the last one that was processed: ‖before‖, the length asked for
            (negative where nothing was) and ‖after - before‖.
        steer: what was asked for.
        dtype: the stream's dtype.

    Raises:
        NonFiniteError: a sum or the stream itself is infinite or NaN; names layer and position.
        SilentInjectionError: rounding left a position as it was, or less than :data:`LEAST_SHARE` of what was asked
            for arrived; or a ratio has no value since ‖before‖ is 0.
    """
    # Written so that NaN counts as steered: it can only come from a stream that was.
    steered = np.flatnonzero(~(measured[1] < 0))
    if not len(steered):
        return Receipt.nothing()
    before, asked, moved = sizes = measured[:, steered].astype(np.float64)
    _require_finite(steered, sizes, steer.layer, dtype)
    # A projection may find nothing left to remove that the stream could hold: that is its work done, not undone.
    least = before * _RESOLUTION.get(dtype, 0.0) if steer.dose.unit is Unit.PROJECTION else np.zeros_like(before)
    due = asked > least
    still = steered[((moved == 0) & due) | (before == 0) | ((asked == 0) & (steer.dose.unit is not Unit.PROJECTION))]
    share = float(np.mean(moved[due] / asked[due])) if due.any() else float(steer.dose.unit is Unit.PROJECTION)
    if len(still) or share < LEAST_SHARE:
        where = f"{len(still)} of {len(steered)} positions kept every bit" if len(still) else "less than half arrived"
        if (before == 0).any():
            where = f"the stream is zero at position {steered[before == 0][0]}, so that no ratio to it exists"
        raise SilentInjectionError(
            explain(
                f"injection at layer {steer.layer}",
                required=f"an addition that the stream's dtype holds: at every position, and {LEAST_SHARE:.0%} of it",
                got=f"{share:.1%} of it in {dtype} ({where})",
                hint="Rounding to that dtype ate the rest. Open the model in float32, or take a larger magnitude.",
            )
        )
    ratios = moved / before
    in_prompt = int((steered < steer.positions.prompt_length).sum())
    return Receipt(in_prompt, len(steered) - in_prompt, float(ratios.mean()), float(ratios.max()))


def check_logits(largest: npt.NDArray[np.float32], prompt_length: int, temperature: float) -> None:
    """Raise :class:`NonFiniteError` unless every token of a reply was chosen among finite logits.

    ``largest`` (sampled tokens,) are the largest logits that the tokens were chosen from, as
    :class:`~introspection_bench.injectors.hf.sampling.LogitsWatch` keeps them. The filters always leave the largest,
    but a division by a tiny temperature may overflow.
    """
    with np.errstate(over="ignore"):
        shaped = largest / np.float32(temperature) if temperature else largest
    bad = np.flatnonzero(~np.isfinite(shaped))
    if len(bad):
        step = int(bad[0])
        raise NonFiniteError(
            explain(
                f"logits at position {prompt_length - 1 + step}, which token {step + 1} of the reply is chosen from",
                required="finite numbers",
                got=f"{largest[step]} as the largest, at temperature {temperature:g} "
                f"({len(bad)} of {len(largest)} tokens)",
                hint="The reply is not recorded. The model overflows its dtype, or its weights hold NaN themselves.",
            )
        )


def _require_finite(at: npt.NDArray[np.int_], sizes: npt.NDArray[np.float64], layer: int, dtype: str) -> None:
    bad = np.flatnonzero(~np.isfinite(sizes).all(axis=0))
    if not len(bad):
        return
    before, asked, _ = sizes[:, bad[0]]
    what = f"‖stream‖ = {before:.4g} before anything was added"
    if np.isfinite(before):
        what = f"‖stream‖ = {before:.4g} and an addition of {asked:.4g}, whose sum is not"
    raise NonFiniteError(
        explain(
            f"residual stream at layer {layer}, position {at[bad[0]]}",
            required=f"finite numbers in {dtype}",
            got=f"{what} ({len(bad)} of {len(at)} steered positions)",
            hint="The reply is not recorded. Take a smaller magnitude, or a dtype of larger range (bfloat16, float32).",
        )
    )
