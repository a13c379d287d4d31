"""Which concept is named, by what is read inside the model, and by a reader of the text: without a judge."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pandas as pd

from ...analysis.binomial import bounds, interval, percent
from ...analysis.cells import groups, is_missing
from ...analysis.identification import beyond_observer, identification, naming_frame, naming_measures
from ...conditions import INJECTED
from ...results import JudgeName, Results
from ..tables import Section, TextTable
from .one_way import one_way

#: The heading, and what docs/report.md calls it.
TITLE = "Which concept is named, without a judge"
OBSERVER = "observer"
_WHAT = {
    "naming": "likeliest word (naming)",
    "cosines": "nearest vector (cosines)",
    "concept_lens": "logit lens (concept_lens)",
    "lens": "logit lens (lens)",
    OBSERVER: "reader of the text (observer)",
}
#: Permutations by which the bias of the bits is found; a page has a row for each layer and arm.
SHUFFLES = 200
_COLUMNS = ("Named by", "arm", "layer", "trials", "concepts", "right", "chance", "median rank", "bits", "bias", "most")


def naming_section(results: Results, chosen: JudgeName | None) -> Section | None:
    """Return how often readings name the injected concept, and naming beyond the observer; None without readings."""
    measures = naming_measures(results)
    rows = [row for measure in measures for row in _rows(results, measure)]
    if not rows:
        return None
    sentences = [
        "Of the concepts that a reading ranks it names the highest. Trials of one concept are alike, so that an "
        "interval over trials is too narrow for other concepts. Bits are those of the injected concept that the name "
        "tells; from few trials they come out too high, by about the bias, and naming always the same tells none."
    ]
    if "cosines" in measures:
        sentences.append(
            "Where the answer's own position is steered, the nearest vector is nearly always the one just added."
        )
    tables = [
        TextTable(
            f"How often the injected concept is named, with 95 % intervals over trials; bias by {SHUFFLES} shuffles",
            _COLUMNS,
            rows,
        )
    ]
    if OBSERVER in measures:
        said, beyond = _beyond(results, chosen)
        sentences += said
        tables += beyond
    return Section(TITLE, sentences, tables)


def _rows(results: Results, measure: str) -> Iterator[tuple[str, ...]]:
    for told, part in one_way(results, lambda reading: reading.measure == measure):
        table = identification(naming_frame(part, measure), shuffles=SHUFFLES)
        for row in sorted(table.to_dict("records"), key=lambda row: row["arm"] != INJECTED):
            yield (
                _WHAT.get(measure, measure) + (f", {told}" if told else ""),
                str(row["arm"]).replace("_", " "),
                "–" if is_missing(row["read_layer"]) else str(row["read_layer"]),
                f"{row['n']:,}",
                str(row["concepts"]),
                f"{percent(row['accuracy'])} ({bounds(row['low'], row['high'])})",
                percent(row["chance"]),
                f"{row['median_rank']:.3g}",
                *(f"{row[name]:.2f}" for name in ("bits", "bias", "most_bits")),
            )


def _beyond(results: Results, chosen: JudgeName | None) -> tuple[list[str], list[TextTable]]:
    """Return what a judge finds named and the observer does not, by arm."""
    if chosen is None:
        return ["No judge says what the replies name, so nothing stands against what the observer reads off them."], []
    judged = attrs.evolve(
        results, records=[attrs.evolve(r, verdicts=[v for v in r.verdicts if chosen.gave(v)]) for r in results.records]
    )
    found = pd.concat(
        [
            beyond_observer(part.records).assign(way=way)
            for way, part in one_way(judged, lambda reading: reading.measure == OBSERVER)
        ]
    )
    found = found[found["named"].notna()]
    if found.empty:
        return ["The judge was not asked whether these replies name the concept: the observer stands alone."], []
    several = found["way"].nunique() > 1
    rows, said = [], []
    for cell, part in groups(found, ("way", "arm")):
        named, both, beyond = (int(x.sum()) for x in (part["named"], part["named"] & part["observed"], part["beyond"]))
        arm = str(cell["arm"]).replace("_", " ")
        rows.append(
            (
                arm,
                *([cell["way"]] if several else []),
                f"{len(part):,}",
                _share(named, len(part)),
                _share(int(part["observed"].sum()), len(part)),
                _share(beyond, len(part)),
            )
        )
        if cell["arm"] == INJECTED:
            where = f"{cell['way']}: " if several else ""
            said.append(
                f"{where}The judge finds the injected concept named in {named:,} of {len(part):,} trials; in {both:,} "
                "of these the text up to the claim gives it away to the same model unsteered (the observer), in "
                f"{beyond:,} it does not."
                if named
                else f"{where}The judge finds the injected concept named in none of {len(part):,} trials: there is "
                "nothing that the text could give away."
            )
    columns = ("Arm", *(["read by"] if several else []), "trials", "named", "observer names it", "named beyond it")
    caption = "What the judge finds named, and what a reader of the text up to the claim names, 95 % over trials"
    return said, [TextTable(caption, columns, rows)]


def _share(k: int, n: int) -> str:
    found = interval(k, n)
    return f"{k}/{n} · {percent(found.rate)} ({bounds(found.low, found.high)})"
