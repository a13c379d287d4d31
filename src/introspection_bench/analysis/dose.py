"""Dose and response: logistic curves, where identification overtakes coherence, and the sweet-spot rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm

from ..boundaries import checked, guarded
from ..conditions import CELL_COLUMNS
from ..errors import AnalysisError, explain
from ..results import Results, frame_of
from .binomial import check_draws, check_probability, interval, percent
from .cells import groups, layers_label, rank
from .logistic import existence, fieller, fit_logistic
from .selection import check_grouping, check_outcomes, injected, require_columns, scored

#: One dose-response curve per value of these.
DOSE_COLUMNS = tuple(c for c in CELL_COLUMNS if c != "magnitude")
#: What rises and what falls as the magnitude grows.
RISING, FALLING = "identifies", "coherent"
_END_OF_SIDE = {"at or below": "lowest", "above": "highest"}


@checked(AnalysisError)
def dose_response(
    frame: pd.DataFrame | Results,
    outcomes: Sequence[str] = (RISING, FALLING),
    *,
    by: Sequence[str] = DOSE_COLUMNS,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Return one logistic fit over magnitude per group and outcome, from the scored injected trials.

    Returns:
        The columns of ``by``, ``outcome``, ``magnitudes`` (how many different ones), and the fields of
        :class:`introspection_bench.analysis.logistic.LogisticFit`. Look at ``status`` first: a separated or
        constant outcome has no fit, and says so.

    Raises:
        AnalysisError: unknown columns, or no scored injected trial.
    """
    frame = frame_of(frame)
    check_outcomes(frame, outcomes)
    rows = []
    for group, part in groups(_used(frame, by, outcomes), by):
        for outcome in outcomes:
            applies = part.dropna(subset=[outcome])
            x = applies["magnitude"].to_numpy(dtype=np.float64)
            fit = fit_logistic(x, applies[outcome].to_numpy(dtype=np.float64), confidence=confidence)
            rows.append({**group, "outcome": outcome, "magnitudes": len(np.unique(x)), **attrs.asdict(fit)})
    return pd.DataFrame(rows).astype({c: frame[c].dtype for c in by})


@checked(AnalysisError)
def crossovers(
    frame: pd.DataFrame | Results,
    *,
    rising: str = RISING,
    falling: str = FALLING,
    by: Sequence[str] = DOSE_COLUMNS,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the magnitude at which ``rising`` overtakes ``falling``, interpolated and fitted, per group.

    Args:
        frame: from :func:`introspection_bench.analysis.records_frame`; scored injected trials are used, and "not
            applicable" counts as not met.
        rising: the outcome that grows with the magnitude.
        falling: the one that shrinks.
        by: what makes a curve.
        confidence: of the intervals.
        resamples: bootstrap resamples of the trials within each magnitude, both outcomes of a trial together.
        seed: of the resampling.

    Returns:
        The columns of ``by``, and:

        - ``n``, ``lowest`` and ``highest`` magnitude;
        - ``interpolated``: where the straight lines between the observed rates first meet, NaN if they don't;
          ``interpolated_low``, ``interpolated_high``, ``interpolated_se`` from the bootstrap, conditional on a
          crossing in the resample; ``found``: the share of resamples that have one; ``crossings``: how often the
          observed difference changes from below 0 to 0 or above;
        - ``fitted``: where the two logistic curves meet, ``fitted_low`` and ``fitted_high`` Fieller's interval
          from one regression over both outcomes with a covariance clustered by trial (the two outcomes of a
          trial are not independent); NaN unless both outcomes are ``fitted``;
        - ``side``: ``within`` the magnitudes, ``at or below`` the lowest, or ``above`` the highest;
        - ``note``: in words, whatever a reader must know: no crossing, separation, extrapolation.

    Raises:
        AnalysisError: unknown columns, or no scored injected trial.
    """
    frame = frame_of(frame)
    check_probability("confidence", confidence)
    check_draws("resamples", resamples, seed)
    rng = np.random.default_rng(seed)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    rows = []
    for group, part in groups(_used(frame, by, (rising, falling)), by):
        x = part["magnitude"].to_numpy(dtype=np.float64)
        up, down = (part[o].fillna(value=False).to_numpy(dtype=np.float64) for o in (rising, falling))
        levels, place = np.unique(x, return_inverse=True)
        differences = np.array([(up - down)[place == i].mean() for i in range(len(levels))])
        resampled = _first_crossing(levels, _resample(up, down, place, resamples, rng))
        kept = resampled[~np.isnan(resampled)]
        low, high = (float(q) for q in np.quantile(kept, tails)) if len(kept) else (math.nan, math.nan)
        crossed = float(_first_crossing(levels, differences[None])[0])
        fitted = _fitted_crossing(x, up, down, confidence)
        rows.append(
            {
                **group,
                "n": len(x),
                "lowest": float(levels[0]),
                "highest": float(levels[-1]),
                "interpolated": crossed,
                "interpolated_low": low if not math.isnan(crossed) else math.nan,
                "interpolated_high": high if not math.isnan(crossed) else math.nan,
                "interpolated_se": float(kept.std(ddof=1)) if len(kept) > 1 and not math.isnan(crossed) else math.nan,
                "found": len(kept) / resamples,
                "side": _side(crossed, differences),
                "crossings": int(((differences[:-1] < 0) & (differences[1:] >= 0)).sum()),
                "fitted": fitted[0],
                "fitted_low": fitted[1],
                "fitted_high": fitted[2],
                "note": "; ".join(_notes(levels, differences, x, {rising: up, falling: down}, fitted)),
            }
        )
    return pd.DataFrame(rows).astype({c: frame[c].dtype for c in by} | {"note": "string", "side": "string"})


@checked(AnalysisError)
def migration(crossed: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """Return how the interpolated crossover moves from layer to layer.

    Args:
        crossed: from :func:`crossovers`, over at least two layers.
        confidence: of the interval.

    Returns:
        One row per scaffold, arm, concept and unit (and what else tells curves apart), and pair of neighbouring layers,
        and where there are more than two the pair of the first and the last:
        ``from_layers to_layers difference low high moves note``. Bands stand by their first block. The interval
        is normal, from the bootstrap's standard errors. A layer without a crossover within its magnitudes gives NaN
        and ``moves`` NA, and ``note`` says on which side of the magnitudes it lies.
    """
    check_probability("confidence", confidence)
    require_columns(crossed, ["layers"])
    z = float(norm.ppf((1 + confidence) / 2))
    rows: list[dict[str, object]] = []
    shared = [c for c in DOSE_COLUMNS if c != "layers" and c in crossed]
    for group, part in groups(crossed, shared):
        ordered = sorted(part.to_dict("records"), key=lambda row: rank("layers", row["layers"]))
        pairs = list(pairwise(ordered))
        pairs += [(ordered[0], ordered[-1])] if len(ordered) > 2 else []
        for first, last in pairs:
            difference = last["interpolated"] - first["interpolated"]
            reach = z * math.hypot(first["interpolated_se"], last["interpolated_se"])
            moves = pd.NA if math.isnan(difference) else abs(difference) > reach
            rows.append(
                {
                    **group,
                    "from_layers": first["layers"],
                    "to_layers": last["layers"],
                    "difference": difference,
                    "low": difference - reach,
                    "high": difference + reach,
                    "moves": moves,
                    "note": "; ".join(
                        f"{layers_label(end['layers'])}: {end['side']} {end[_END_OF_SIDE[end['side']]]:g}"
                        for end in (first, last)
                        if end["side"] in _END_OF_SIDE
                    ),
                }
            )
    names = ["from_layers", "to_layers", "difference", "low", "high", "moves", "note"]
    table = pd.DataFrame(rows, columns=[*shared, *names])
    return table.astype({"moves": "boolean", "note": "string", "from_layers": "string", "to_layers": "string"})


@guarded(AnalysisError)
@attrs.frozen
class SweetSpotRule:
    """What a cell must reach to count as a sweet spot; the defaults are the 405B study's, stated beforehand."""

    identifies: float = 0.5
    coherent: float = 0.5
    immediate: float = 0.2


@guarded(AnalysisError)
@attrs.frozen
class SweetSpots:
    """The rule applied to every cell.

    ``table`` has the cell's columns, ``n``, per criterion its rate with ``_low`` and ``_high`` at a confidence
    that holds for all cells and criteria at once (Bonferroni), and ``passes`` (the observed rates meet the
    rule), ``established`` (all lower bounds do) and ``ruled_out`` (some upper bound stays below).
    """

    rule: SweetSpotRule
    table: pd.DataFrame = attrs.field(eq=False, repr=False)
    confidence: float

    @table.validator
    def _check_table(self, _: object, table: pd.DataFrame) -> None:
        require_columns(table, ["passes", "established", "ruled_out"])

    @property
    def passing(self) -> pd.DataFrame:
        """The cells that pass by their observed rates."""
        return self.table[self.table["passes"]]

    @property
    def sentence(self) -> str:
        """The result in words, with the number of cells that were looked at."""
        r, t = self.rule, self.table
        return (
            f"Sweet spot (identifies >= {r.identifies:g}, coherent >= {r.coherent:g}, immediate >= {r.immediate:g}): "
            f"{int(t['passes'].sum())} of {len(t)} cells pass by their observed rates, "
            f"{int(t['established'].sum())} are established and {int(t['ruled_out'].sum())} ruled out at "
            f"{percent(self.confidence)} for all {len(t)} cells at once."
        )


@checked(AnalysisError)
def sweet_spots(
    frame: pd.DataFrame | Results,
    rule: SweetSpotRule | None = None,
    *,
    by: Sequence[str] = CELL_COLUMNS,
    confidence: float = 0.95,
) -> SweetSpots:
    """Apply the rule to every cell of injected trials; "not applicable" counts as not met.

    Raises :class:`AnalysisError` for unknown columns and frames without scored injected trials.
    """
    frame = frame_of(frame)
    check_probability("confidence", confidence)
    rule = rule or SweetSpotRule()
    thresholds = attrs.asdict(rule)
    cells = list(groups(_used(frame, by, list(thresholds)), by))
    at_once = 1 - (1 - confidence) / (len(cells) * len(thresholds))
    rows = []
    for group, part in cells:
        found = {c: interval(int(part[c].fillna(value=False).sum()), len(part), confidence=at_once) for c in thresholds}
        row: dict[str, object] = {**group, "n": len(part)}
        for criterion, i in found.items():
            row |= {criterion: i.rate, f"{criterion}_low": i.low, f"{criterion}_high": i.high}
        row["passes"] = all(i.rate >= thresholds[c] for c, i in found.items())
        row["established"] = all(i.low >= thresholds[c] for c, i in found.items())
        row["ruled_out"] = any(i.high < thresholds[c] for c, i in found.items())
        rows.append(row)
    return SweetSpots(rule, pd.DataFrame(rows).astype({c: frame[c].dtype for c in by}), confidence)


def _used(frame: pd.DataFrame, by: Sequence[str], outcomes: Sequence[str]) -> pd.DataFrame:
    require_columns(frame, ["arm", "magnitude", *outcomes])
    check_grouping(frame, list(dict.fromkeys([*by, "magnitude"])))
    used = scored(injected(frame))
    if used.empty:
        raise AnalysisError(explain("frame", required="scored injected trials", got="none", hint="Judge the run."))
    return used


def _resample(
    up: npt.NDArray[np.float64],
    down: npt.NDArray[np.float64],
    place: npt.NDArray[np.intp],
    resamples: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Return resampled differences of the two rates, shape (resamples, magnitudes)."""
    columns = []
    for level in range(int(place.max()) + 1):
        here = place == level
        n = int(here.sum())
        # Trials fall into three kinds as to up - down; resampling them is one multinomial draw.
        kinds = np.array([((up - down)[here] == d).sum() for d in (1, -1, 0)]) / n
        drawn = rng.multinomial(n, kinds, size=resamples)
        columns.append((drawn[:, 0] - drawn[:, 1]) / n)
    return np.stack(columns, axis=1)


def _first_crossing(levels: npt.NDArray[np.float64], differences: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return where each row of differences first comes from below 0 to 0 or above; NaN where it never does."""
    if len(levels) < 2:
        return np.full(len(differences), np.nan)
    before, after = differences[:, :-1], differences[:, 1:]
    crossing = (before < 0) & (after >= 0)
    at = crossing.argmax(axis=1)
    rows = np.arange(len(differences))
    d0, d1 = before[rows, at], after[rows, at]
    with np.errstate(divide="ignore", invalid="ignore"):
        where = levels[at] + (levels[at + 1] - levels[at]) * -d0 / (d1 - d0)
    return np.where(crossing.any(axis=1), where, np.nan)


def _fitted_crossing(
    x: npt.NDArray[np.float64], up: npt.NDArray[np.float64], down: npt.NDArray[np.float64], confidence: float
) -> tuple[float, float, float]:
    if {existence(x, up), existence(x, down)} != {"fitted"}:
        return math.nan, math.nan, math.nan
    import statsmodels.api as sm

    zero, one = np.zeros_like(x), np.ones_like(x)
    # The curve of ``down`` plus a difference of both curves, whose root is the crossover.
    design = np.column_stack(
        [np.concatenate([one, one]), np.concatenate([x, x]), np.concatenate([one, zero]), np.concatenate([x, zero])]
    )
    trial = np.concatenate([np.arange(len(x))] * 2)
    fit = sm.GLM(np.concatenate([up, down]), design, family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": trial}
    )
    a, b = float(fit.params[2]), float(fit.params[3])
    low, high = fieller(a, b, np.asarray(fit.cov_params())[2:, 2:], float(norm.ppf((1 + confidence) / 2)))
    return (-a / b if b else math.nan), low, high


def _side(crossed: float, differences: npt.NDArray[np.float64]) -> str:
    if not math.isnan(crossed):
        return "within"
    return "at or below" if differences[0] >= 0 else "above"


def _notes(
    levels: npt.NDArray[np.float64],
    differences: npt.NDArray[np.float64],
    x: npt.NDArray[np.float64],
    outcomes: dict[str, npt.NDArray[np.float64]],
    fitted: tuple[float, float, float],
) -> list[str]:
    side = _side(float(_first_crossing(levels, differences[None])[0]), differences)
    ends = {
        "at or below": [f"at or below the lowest magnitude, {levels[0]:g}"],
        "above": [f"not reached up to the highest magnitude, {levels[-1]:g}"],
    }
    notes = ends.get(side, [])
    for name, y in outcomes.items():
        status = existence(x, y)
        if status != "fitted":
            notes.append(f"no fit: {name} is {status}")
    if not math.isnan(fitted[0]):
        if not levels[0] <= fitted[0] <= levels[-1]:
            notes.append("fitted value is extrapolated beyond the magnitudes")
        if math.isinf(fitted[1]):
            notes.append("the two curves are not distinct in slope: the fitted interval is unbounded")
    return notes
