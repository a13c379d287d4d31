"""What a report says of the effects of doses: which were alive, and which doses were found by their effect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from ..analysis.cells import is_missing
from ..analysis.live import effects_frame
from ..effects import READS_OUT_BELOW, FoundDose
from ..results import Results
from .tables import Section, TextTable
from .wording import plural

#: The heading, and what docs/explaining.md calls it.
TITLE = "Is the dose alive?"
#: With more rows than this the table leaves out the live ones: what matters of them is that they are.
_MOST_ROWS = 200


def effects_section(results: Results) -> Section | None:
    """Return what the run's doses do to neutral prompts; None where neither that was measured nor a dose found."""
    if not len(results.effects) and not results.doses:
        return None
    sentences, tables = [], []
    if len(results.effects):
        frame = effects_frame(results.effects)
        sentences += _sentences(frame)
        tables.append(_effects(frame))
    else:
        sentences.append("The effects of the doses were not measured: which of them do nothing is unknown.")
    if results.doses:
        tables.append(_found(results.doses))
    return Section(TITLE, sentences, tables)


def _sentences(frame: pd.DataFrame) -> list[str]:
    live, count = int(frame["live"].sum()), len(frame)
    chances = sorted({f"1 in {n + 1}" for n in frame["n_random"]})
    said = [
        f"{live} of {plural(count, 'dose')} (one for each concept, layer and magnitude) are live: on neutral prompts "
        "the dose raises the log-probability of the concept's own first tokens more than every random vector of the "
        f"same norm does. A random direction would pass that by chance {' or '.join(chances)} times "
        f"({plural(round(float(frame['chance'].sum())), 'dose')} of these)."
    ]
    if live < count:
        said.append(
            "Where a dose is not live, that the model reports nothing says little: nothing of the concept may have "
            "reached it. Concepts of one dose are compared with the same random vectors."
        )
    out, told = int(frame["reads_out"].fillna(value=False).sum()), int(frame["reads_out"].notna().sum())
    if told:
        said.append(
            f"Under the logit lens of the vector itself the concept's first token is among the first {READS_OUT_BELOW} "
            f"in {out} of {plural(told, 'dose')} (rank, from 0): there naming may be the steering. A high rank does "
            "not clear a vector: blocks behind its layer may still turn it into the word."
        )
    return said


def _effects(frame: pd.DataFrame) -> TextTable:
    shown = frame if len(frame) <= _MOST_ROWS else frame[~frame["live"].astype(bool)]
    several = frame["model"].nunique() > 1
    rows = [
        (
            *([str(row["model"])] if several else []),
            str(row["concept"]),
            str(row["layers"]),
            _dose(row),
            f"{row['kl']:.3g} ({row['kl_low']:.2g} to {row['kl_high']:.2g})",
            f"{row['random_kl']:.3g}",
            f"{row['entropy_before']:.2f} → {row['entropy_after']:.2f}",
            _signed(row["gain"]),
            f"{_signed(row['random_gain'])} of {row['n_random']}",
            "–" if is_missing(row["rank"]) else f"{row['rank']:,}",
            "yes" if row["live"] else "no",
        )
        for row in shown.head(_MOST_ROWS).to_dict("records")
    ]
    left_out = f" ({len(rows)} of {len(frame)}; live ones left out first)" if len(rows) < len(frame) else ""
    columns = ("Concept", "layer", "dose", "KL", "KL, random", "entropy", "gain", "most, random", "rank", "live")
    return TextTable(
        f"Effects on the next token of neutral prompts, medians in nats, of KL with the range over prompts{left_out}",
        ("Model", *columns) if several else columns,
        rows,
    )


def _found(doses: Sequence[FoundDose]) -> TextTable:
    rows = [
        (
            one.concept,
            ",".join(map(str, one.layers)),
            "neutral prompts" if one.prompt is None else "the trial's own answer",
            f"{one.asked.magnitude:.3g} {one.asked.unit.value}",
            str(one.dose),
            f"{one.reached:.3g}",
            f"{one.neutral:.3g}",
        )
        for one in doses[:_MOST_ROWS]
    ]
    columns = ("Concept", "layer", "where", "asked for", "dose found", "KL reached", "KL on neutral prompts")
    more = f" (the first {_MOST_ROWS} of {len(doses):,})" if len(doses) > _MOST_ROWS else ""
    return TextTable(f"Doses found by their effect, in nats{more}", columns, rows)


def _dose(row: Any) -> str:
    asked = f"{row['magnitude']:.12g} {row['unit']}"
    return asked if is_missing(row["resolved"]) else f"{asked}: {row['resolved']}"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
