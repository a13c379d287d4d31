"""The page's first three lines: what was asked, what was found with the controls beside it, and what that excludes.

Only what the number of trials carries: arms are compared where both have scored trials, and no cell that was chosen for
its rate is spoken of. Everything here is said at more length by the sentences below it (:mod:`.headlines`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import pandas as pd

from ...analysis.binomial import percent
from ...analysis.by_concept import by_concept
from ...analysis.intervals import Estimate, these_concepts
from ...analysis.selection import controls, dosed, injected, scored
from ...conditions import CELL_COLUMNS, injected_first
from ...verdicts import CRITERIA
from ..wording import all_of, listing, plural
from .headlines import SETTING, apart, in_points, kind_of, same_in, settings_of, tallied


@attrs.frozen
class Answer:
    """The three lines, as sentences."""

    asked: str
    found: str
    excluded: str

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """Each line behind what it is."""
        return ("Asked", self.asked), ("Found", self.found), ("That excludes", self.excluded)


def answer(frame: pd.DataFrame, success: Sequence[str] = CRITERIA, *, blinded: bool = True) -> Answer | None:
    """Return the answer of a run's plain injections (of its first arm without any); None where none is scored.

    Arguments are those of :func:`~introspection_bench.report.page.headlines.headlines`.
    """
    there = scored(injected(frame))
    if there.empty:
        return None
    arm = injected_first(there["arm"])[0]
    part, noise = frame[(frame["arm"] == arm) & (frame["truth"] == "injected")], controls(frame)
    settings = [trials for _, trials in settings_of(part, frame)]
    lead = None
    if len(settings) == 1:
        noise = same_in(noise, part, SETTING)
        if part["affirmative"].notna().any() and noise["affirmative"].notna().any():
            lead = apart(part, noise, "affirmative", "these concepts", paired=False)
    found = [
        *_noticed(part, noise, kind_of(arm), _verdict(lead)),
        *([f"each of {len(settings)} settings is set against its own controls below"] * (len(settings) > 1)),
        *_met(part, noise if blinded else noise[:0], success),
    ]
    return Answer(_asked(part, noise, kind_of(arm)), _sentence("; ".join(found)), _excluded(part, noise, lead))


def _asked(part: pd.DataFrame, noise: pd.DataFrame, kind: str) -> str:
    sizes = [plural(part["concept"].nunique(), "concept")] if part["concept"].notna().any() else []
    given = dosed(part)
    if len(given):
        doses = len(given[["magnitude", "unit"]].drop_duplicates())
        sizes += [plural(given["layers"].nunique(dropna=False), "layer"), plural(doses, "dose")]
    models = listing([str(m) for m in part["model"].dropna().unique()], 2)
    cells = plural(len(part[[*CELL_COLUMNS]].drop_duplicates()), "cell")
    return (
        f"Does {models or 'the model'} notice a thought that is injected into it, and name it? "
        f"{len(part):,} {kind} in {cells}{f' ({listing(sizes)})' if sizes else ''}, {plural(len(noise), 'control')}."
    )


def _noticed(part: pd.DataFrame, noise: pd.DataFrame, kind: str, verdict: str) -> Iterator[str]:
    beside = noise["affirmative"].notna().any()
    if part["affirmative"].notna().any():
        against = f", and in {tallied(noise, 'affirmative')} scored controls" if beside else ""
        yield f"a thought was affirmed in {tallied(part, 'affirmative')} scored {kind}{against}{verdict}"
    if not beside:
        lacks = "no control is scored" if len(noise) else "no control was run"
        yield f"{lacks}, so nothing says how often it would be without an injection"


def _met(part: pd.DataFrame, noise: pd.DataFrame, success: Sequence[str]) -> Iterator[str]:
    """Yield how often all that counts as success was met, and how many replies were coherent."""
    if part["strict"].notna().any():
        decoys = noise["strict"].notna().any()
        against = f", and in {tallied(noise, 'strict')} controls, asked about a decoy" if decoys else ""
        whole = all_of(success)
        yield f"{whole[:1].lower()}{whole[1:]} (strict) were met in {tallied(part, 'strict')}{against}"
    if part["coherent"].notna().any():
        yield f"{tallied(part, 'coherent')} replies were coherent"


def _verdict(lead: Estimate | None) -> str:
    if lead is None:
        return ""
    if lead.low > 0:
        return " (a difference is shown)"
    return " (a difference is shown, the other way round)" if lead.high < 0 else " (no difference shown)"


def _excluded(part: pd.DataFrame, noise: pd.DataFrame, lead: Estimate | None) -> str:
    """Return what the intervals on these concepts leave out, and what the controls are too few to leave out."""
    out = []
    strict = by_concept(part, "strict")
    if strict is not None:
        rate = these_concepts(strict.counts)
        ends = [f"below {percent(rate.low)}"] * (rate.low > 0) + [f"above {percent(rate.high)}"] * (rate.high < 1)
        out += [f"strict rates {' and '.join(ends)}"] * bool(ends)
    if lead is not None:
        out += _leads(lead)
    said = f"{_sentence('; '.join(out))} At 95 %, on these concepts and doses." if out else "Nothing."
    alarms = by_concept(noise, "affirmative") if len(noise) else None
    if alarms is None:
        return f"{said} Without scored controls, no rate of false alarms is excluded."
    most = these_concepts(alarms.counts.pooled).high
    few = sum(alarms.counts.trials)
    return f"{said} Not excluded by {plural(few, 'control')}: false alarms in up to {percent(most)} of trials."


def _leads(lead: Estimate) -> list[str]:
    """Return by how much injected trials do not affirm more often than controls."""
    if lead.high <= 0:
        return ["that injected trials affirm more often than controls"]
    ends = [f"less than {in_points(lead.low)} points"] * (lead.low > 0)
    ends += [f"more than {in_points(lead.high)} points"] * (lead.high < 1)
    return [f"that injected trials affirm more often than controls by {' or '.join(ends)}"] * bool(ends)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
