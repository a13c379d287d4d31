"""Intentional control: how much more a word is in the stream where the model was told to think of it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import stats

from ...measures import Reading
from ...results import Results
from ..tables import Section, TextTable
from ..wording import plural

_TOWARDS, _AWAY = ":towards", ":away"
#: Below so many words there is no interval over them.
_FEWEST = 3


def control_section_of(results: Results, frame: pd.DataFrame) -> Section:
    """Return the cosines with the word that a trial was told of, and with the others, by what it was told.

    ``frame`` has the verdicts by ``written``: trials count whose reply holds the sentence and doesn't name the word.
    """
    kept = set(frame[frame["writes"].fillna(value=False) & ~frame["mentions"].fillna(value=False)]["trial"])
    found = _cosines(results)
    clean = found[found["trial"].isin(kept)] if len(found) else found
    said = [
        "Nothing was injected. Read is the cosine of the residual stream with the vector of the word that the model "
        "was told of, a mean over the tokens of its reply, and beside it with the vectors of the run's other words: "
        "what the instruction does to any word stands there.",
        f"Of {len(frame):,} replies {len(kept):,} hold the sentence and don't name the word. Where a word is only "
        "named in the prompt, attention brings some of it to the reply on both sides of a pair: read the difference.",
    ]
    if found.empty:
        return Section(_TITLE, [*said, "The cosines were not read: sweep.measure(measures.Cosines())."])
    tables = [_by_layer(found, "all replies")]
    if len(clean):
        tables.append(_by_layer(clean, "replies that hold the sentence and don't name the word"))
    return Section(_TITLE, said, tables)


_TITLE = "Intentional control"


def _cosines(results: Results) -> pd.DataFrame:
    """Return a row for each trial and layer: the mean cosine with its own word's vector, and with the others'."""
    rows = []
    for record in results:
        name, colon, side = record.scaffold.rpartition(":")
        word = record.condition.asked
        for reading in record.readings:
            if reading.measure != "cosines" or not colon or word is None or not reading.axes.get("position"):
                continue
            for layer in reading.axes["layer"]:
                mine, others = _at(reading, int(layer), word)
                rows.append((record.key.digest, name, f":{side}", word, int(layer), mine, others))
    return pd.DataFrame(rows, columns=["trial", "pair", "side", "word", "layer", "own", "others"])


def _at(reading: Reading, layer: int, word: str) -> tuple[float, float]:
    """Return the mean cosine at a layer with the word's vector of that layer, and with those of the other words."""
    labels = [str(label) for label in reading.axes["vector"]]
    # Vectors of several layers have theirs behind the name; of one layer alone they don't.
    of_layer = [label for label in labels if label.endswith(f" ({layer})")] or labels
    cosines = {label: float(np.mean(reading.at(layer=layer, vector=label))) for label in of_layer}
    own = [cosines.pop(label) for label in (word, f"{word} ({layer})") if label in cosines]
    return _mean(own), _mean(list(cosines.values()))


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _by_layer(found: pd.DataFrame, which: str) -> TextTable:
    rows = []
    for (pair, layer), part in found.groupby(["pair", "layer"], sort=True):
        sides = [part[part["side"] == side] for side in (_TOWARDS, _AWAY)]
        cells = [str(pair), str(layer), " and ".join(str(len(s)) for s in sides)]
        for column in ("own", "others"):
            towards, away = (s.groupby("word")[column].mean() for s in sides)
            cells += [_told(towards), _told(away), _difference((towards - away).dropna())]
        rows.append(tuple(cells))
    columns = ("Told", "layer", "trials", *("towards", "away", "difference") * 2)
    caption = f"Mean cosines by layer, {which}: means over words; differences with Student's 95 % interval over words"
    return TextTable(caption, columns, rows, over=[("", 3), ("the word it is told of", 3), ("the other words", 3)])


def _told(by_word: pd.Series[float]) -> str:
    return _signed(float(by_word.mean())) if len(by_word) else "–"


def _difference(by_word: pd.Series[float]) -> str:
    if by_word.empty:
        return "–"
    middle = float(by_word.mean())
    if len(by_word) < _FEWEST:
        return f"{_signed(middle)} (of {plural(len(by_word), 'word')})"
    reach = float(stats.t.ppf(0.975, len(by_word) - 1)) * float(by_word.std(ddof=1)) / math.sqrt(len(by_word))
    return f"{_signed(middle)} ({_signed(middle - reach)} to {_signed(middle + reach)})"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
