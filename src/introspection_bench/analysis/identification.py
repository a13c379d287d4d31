"""Which concept a reading names, how often it is the right one, and how much it tells: without any judge."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

from ..boundaries import checked, guarded
from ..errors import AnalysisError, explain
from ..frames import frame_with
from ..measures.readings import Reading
from ..trials import TrialRecord
from .binomial import Interval, check_draws, interval
from .selection import check_grouping, require_columns

#: What concepts are ranked by: the likelihood of the whole word, or that of it by token.
Score = Literal["sum", "per token"]
_TOLD = ("trial", "arm", "truth", "concept", "scaffold", "layers", "magnitude", "unit", "beside", "model", "part")
_AT_PLACES = (("layer", "position", "vector"), ("layer", "position", "set"))
_LAYERED = re.compile(r"(?P<name>.*) \((?P<layer>\d+)\)")


@checked(AnalysisError)
def naming_frame(records: Iterable[TrialRecord], measure: str = "naming", score: Score = "sum") -> pd.DataFrame:
    """Return what readings of one measure name: a row for each trial, and for each layer of a measure by layer.

    The concept with the highest score is named. ``measure`` is one of

    - ``naming``, what the model would name, and ``observer``, what a reader of the text would: the score is the word's
      log-likelihood, ``per token`` divided by its tokens (whole words of several tokens are otherwise named less often
      than short ones);
    - ``cosines`` read at one place (``Cosines(vectors, at="reply")``): the nearest vector, of those of the row's own
      layer where a concept has several;
    - ``concept_lens``, or ``lens`` read at one place, its sets named like the concepts: the logit lens. These
      two are what a reader of the residual at the answer names who sees no text.

    Columns: ``trial arm truth concept scaffold layers magnitude unit beside model part`` as in
    :func:`~introspection_bench.analysis.records_frame`; ``read_layer`` (NA where the measure has none), ``named``,
    ``rank`` of the trial's own concept (1: it is named; ties count against it), NA where none was injected or the
    measure does not have it, ``correct`` (likewise), and ``among``, how many concepts were ranked.

    Raises:
        AnalysisError: no trial has such a reading at one place, or one has several.
    """
    rows: list[tuple[Any, ...]] = []
    kept: list[TrialRecord] = []
    for record in records:
        mine = [r for r in record.readings if r.measure == measure]
        if len(mine) > 1:
            raise AnalysisError(
                explain(f"readings of {measure!r}", required="one of each trial", got=len(mine), hint="Choose records.")
            )
        for layer, names, scores in _scores(mine[0], score) if mine else ():
            rows.append((layer, names[int(np.argmax(scores))], _rank(record.concept, names, scores), len(names)))
            kept.append(record)
    if not rows:
        raise AnalysisError(
            explain(
                "measure",
                required="readings of naming or observer, or of cosines or lens at one place",
                got=f"none of {measure!r}",
                hint="sweep.measure(measures.Naming(concepts)).",
            )
        )
    frame = frame_with(kept, lambda _: None, repeats=True)[list(_TOLD)]
    layers, named, ranks, among = zip(*rows, strict=True)
    frame["read_layer"] = pd.array(layers, dtype="Int64")
    frame["named"] = pd.array(named, dtype="string")
    frame["rank"] = pd.array(ranks, dtype="Int64")
    frame["correct"] = (frame["rank"] == 1).astype("boolean")
    frame["among"] = pd.array(among, dtype="Int64")
    return frame


@checked(AnalysisError)
def naming_measures(records: Iterable[TrialRecord]) -> tuple[str, ...]:
    """Return the measures of which :func:`naming_frame` can be made, in the order in which they first occur.

    They rank concepts at one place, and some injected concept is among those that they rank.
    """
    found: dict[str, None] = {}
    for record in records:
        for reading in record.readings:
            if reading.measure not in found and any(record.concept in names for _, names, _ in _scores(reading, "sum")):
                found[reading.measure] = None
    return tuple(found)


@guarded(AnalysisError)
@attrs.frozen
class Information:
    """Mutual information of what was injected and what was named, in bits, with its bias found by shuffling.

    ``bits`` is the plug-in estimate from the table of counts, which is too high in few trials; ``bias`` its mean over
    ``shuffles`` permutations of the labels, which leave none; ``p`` how often a permutation reaches it (the permuted
    and the own one counted). ``most`` is the entropy of the injected concepts: what perfect naming comes to.
    """

    bits: float = attrs.field(converter=float)
    bias: float = attrs.field(converter=float)
    p: float = attrs.field(converter=float)
    most: float = attrs.field(converter=float)
    n: int
    shuffles: int

    @property
    def corrected(self) -> float:
        """The estimate less its bias; near 0, on either side, where nothing is told."""
        return self.bits - self.bias


@checked(AnalysisError)
def mutual_information(
    injected: Sequence[str], named: Sequence[str], *, shuffles: int = 1000, seed: int = 0
) -> Information:
    """Return the mutual information of two labels of the same trials.

    Subtracting the mean over shuffled labels takes away the bias of the plug-in estimate where nothing is told, and
    somewhat too much where much is. Sources: Panzeri and Treves 1996, Network 7 (the bias); Panzeri and others 2007,
    Journal of Neurophysiology 98 (shuffling); Phipson and Smyth 2010 (``p``, never 0).

    Raises:
        AnalysisError: the two differ in length or are empty, or ``shuffles`` or ``seed`` are out of range.
    """
    check_draws("shuffles", shuffles, seed)
    if not injected or len(injected) != len(named):
        raise AnalysisError(
            explain(
                "injected, named",
                required="two labels of each of the same trials",
                got=f"{len(injected)} and {len(named)}",
                hint="",
            )
        )
    first, second = (pd.factorize(np.array(labels, dtype=object))[0] for labels in (injected, named))
    bits = _information(first, second)
    rng = np.random.default_rng(seed)
    shuffled = np.array([_information(rng.permutation(first), second) for _ in range(shuffles)])
    reached = int((shuffled >= bits - 1e-12).sum())
    bias, p = float(shuffled.mean()), (reached + 1) / (shuffles + 1)
    return Information(bits, bias, p, _information(first, first), len(first), shuffles)


@checked(AnalysisError)
def identification(
    frame: pd.DataFrame, by: Sequence[str] = ("arm", "read_layer"), *, shuffles: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Return how well a reading names the injected concept, for each group of ``by``.

    ``frame`` comes from :func:`naming_frame`; its trials without a rank don't count. Columns: ``by``; ``n``,
    ``concepts`` (how many were injected), ``accuracy`` with ``low`` and ``high`` (Clopper-Pearson over trials, 95 %:
    trials of one concept are alike, so read it beside the concepts), ``chance`` (1 / the concepts that were ranked),
    ``median_rank``, and of :func:`mutual_information` ``bits``, ``bias``, ``corrected``, ``p``, ``most_bits``.
    """
    require_columns(frame, ["concept", "named", "rank", "among"])
    check_grouping(frame, by)
    rows = []
    there = frame[frame["rank"].notna()]
    groups = there.groupby(list(by), dropna=False, sort=False) if by else [((), there)]
    for key, group in groups:
        if group.empty:
            continue
        right: Interval = interval(int((group["rank"] == 1).sum()), len(group))
        told = mutual_information(group["concept"].tolist(), group["named"].tolist(), shuffles=shuffles, seed=seed)
        row = dict(zip(by, key, strict=True))
        row |= {"n": len(group), "concepts": group["concept"].nunique()}
        row |= {"accuracy": right.rate, "low": right.low, "high": right.high}
        row |= {"chance": 1 / group["among"].mean(), "median_rank": float(group["rank"].median())}
        row |= {"bits": told.bits, "bias": told.bias, "corrected": told.corrected, "p": told.p, "most_bits": told.most}
        rows.append(row)
    return pd.DataFrame(rows)


@checked(AnalysisError)
def beyond_observer(
    records: Sequence[TrialRecord],
    judge: str | None = None,
    rubric: str | None = None,
    *,
    criterion: str = "identifies",
    score: Score = "sum",
) -> pd.DataFrame:
    """Return beside what each reply names whether a reader of its text up to the claim would name it too.

    Columns: ``trial arm truth concept scaffold layers magnitude unit beside model part``; ``named`` (``boolean``, the
    judge's ``criterion`` on the trial's own concept, NA unjudged), ``observer`` (what the observer names), ``observed``
    (whether that is the concept), ``beyond``: named by the model and not by the observer, and ``among``, of how many
    concepts the observer names one. Trials on which no concept
    was injected, or without a reading of ``observer``, are left out: naming counts beyond what the text gives away.

    Raises what :func:`naming_frame` and :meth:`~introspection_bench.trials.TrialRecord.verdict` raise.
    """
    frame = naming_frame(records, "observer", score)
    frame = frame[frame["rank"].notna()].reset_index(drop=True)
    verdicts = {r.key.digest: r.verdict(judge, rubric) for r in records}
    answers = [None if (v := verdicts[trial]) is None else v.answer(criterion) for trial in frame["trial"]]
    found = frame[list(_TOLD)].copy()
    found["named"] = pd.array(answers, dtype="boolean")
    found["observer"], found["observed"] = frame["named"], frame["correct"]
    found["beyond"] = found["named"] & ~found["observed"]
    found["among"] = frame["among"]
    return found


def _scores(reading: Reading, score: Score) -> Iterator[tuple[int | None, tuple[str, ...], npt.NDArray[np.float64]]]:
    """Yield for each layer of a reading, None where it has none, the concepts and the score of each."""
    values = reading.values.astype(np.float64)
    if reading.dims == ("concept", "of") and {"logprob", "tokens"} <= set(reading.axes["of"]):
        total, tokens = (values[:, reading.axes["of"].index(name)] for name in ("logprob", "tokens"))
        yield None, tuple(map(str, reading.axes["concept"])), total / tokens if score == "per token" else total
    elif reading.dims == ("layer", "concept"):
        for number, layer in enumerate(reading.axes["layer"]):
            yield int(layer), tuple(map(str, reading.axes["concept"])), values[number]
    elif reading.dims in _AT_PLACES and len(reading.axes["position"]) == 1:
        labels = [str(label) for label in reading.axes[reading.dims[2]]]
        for number, layer in enumerate(reading.axes["layer"]):
            chosen = {} if reading.dims[2] == "vector" else {n: n for n in labels if n != "joint"}
            chosen = chosen or _of_layer(labels, int(layer))
            places = [labels.index(label) for label in chosen.values()]
            yield int(layer), tuple(chosen), values[number, 0, places]


def _of_layer(labels: Sequence[str], layer: int) -> dict[str, str]:
    """Return for each concept the label of its vector: of several, that of the layer, else the first."""
    found: dict[str, str] = {}
    for label in labels:
        match = _LAYERED.fullmatch(label)
        if match is None:
            found[label] = label
        elif int(match["layer"]) == layer:
            found[match["name"]] = label
        else:
            found.setdefault(match["name"], label)
    return found


def _rank(concept: str | None, names: Sequence[str], scores: npt.NDArray[np.float64]) -> int | None:
    if concept is None or concept not in names:
        return None
    return int((scores >= scores[names.index(concept)]).sum())


def _information(first: npt.NDArray[np.intp], second: npt.NDArray[np.intp]) -> float:
    table = np.zeros((int(first.max()) + 1, int(second.max()) + 1))
    np.add.at(table, (first, second), 1)
    joint = table / table.sum()
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / apart[there])).sum() / math.log(2))
