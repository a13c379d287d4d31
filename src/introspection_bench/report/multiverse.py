"""The same run under every judge and rubric at hand: how far the rates depend on who judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
import pandas as pd

from ..analysis.binomial import bounds, percent
from ..analysis.by_concept import by_concept
from ..analysis.intervals import these_concepts
from ..analysis.selection import controls, injected
from ..conditions import CONTROL, INJECTED, injected_first
from ..frames import frame_with
from ..results import JudgeName, Results
from ..trials import TrialRecord
from ..verdicts import Verdict
from .tables import Section, TextTable
from .wording import listing

#: The outcomes that are compared, in their order.
OUTCOMES = ("strict", "affirmative", "identifies")
_WORDING = "rubric's wording"
_COLUMNS = ("judgement", "arm", "outcome", "k", "n", "unscored", "concepts", "rate", "low", "high")


@attrs.frozen
class Judgement:
    """The verdicts of one judge by one version of one rubric on one part of the replies."""

    name: JudgeName
    version: str

    def gave(self, verdict: Verdict) -> bool:
        """Whether a verdict is one of these."""
        return self.name.gave(verdict) and verdict.rubric_digest == self.version

    @property
    def parts(self) -> dict[str, str]:
        """What tells judgements apart, by what it is."""
        return {
            "judge": self.name.judge,
            "rubric": self.name.rubric,
            "judge model": self.name.model or "no model",
            "blinding": "blinded" if self.name.blinded else "not blinded",
            "part read": "answer" if self.name.judged == "answer" else "reasoning and answer",
            _WORDING: self.version[:8],
        }


@attrs.frozen
class Multiverse:
    """Rates under two judgements or more.

    ``table`` has one row for each judgement (``judgement``, its name), arm (``control``: all trials on which nothing
    was done) and outcome: ``k n unscored concepts``, and ``rate low high`` of these concepts. ``varies`` says in what
    the judgements differ. ``same`` is whether all of them scored the same trials.
    """

    table: pd.DataFrame = attrs.field(eq=False)
    varies: tuple[str, ...]
    same: bool

    @property
    def title(self) -> str:
        """What varies between the lines of the figure, and whether anything else does."""
        trials = "the trials are the same" if self.same else "each on the trials that it scored"
        return f"{listing(self.varies).capitalize()} {'varies' if len(self.varies) == 1 else 'vary'}; {trials}"

    @property
    def sentences(self) -> list[str]:
        """The range of each rate over the judgements, arm by arm."""
        return [s for _, part in self.table.groupby(["arm", "outcome"], sort=False) if (s := _range(part))]

    @property
    def headline(self) -> str:
        """The ranges on what was injected, in one line."""
        parts = [p for (arm, _), p in self.table.groupby(["arm", "outcome"], sort=False) if arm != CONTROL]
        count = self.table["judgement"].nunique()
        return " ".join([f"There are {count} judgements ({self.title.lower()}).", *filter(None, map(_range, parts))])

    @property
    def section(self) -> Section:
        """The sentences, and the rates as a table."""
        shown = [o for o in OUTCOMES if o in set(self.table["outcome"])]
        rows = []
        for (name, arm), part in self.table.groupby(["judgement", "arm"], sort=False):
            cells = {row["outcome"]: _cell(row) for row in part.to_dict("records")}
            unscored = f"{part['unscored'].iloc[0]:,}"
            rows.append((str(name), str(arm), unscored, *(cells.get(o, "–") for o in shown)))
        caption = f"Rates under each judgement. {self.title}. 95 % intervals are about these concepts."
        return Section(
            "Under every judge", self.sentences, [TextTable(caption, ("Judgement", "arm", "unscored", *shown), rows)]
        )


def find_judgements(results: Results) -> list[Judgement]:
    """Return whose verdicts on the trials' own concepts there are, in the order of :attr:`Results.judges`."""
    own = (v for r in results for v in r.verdicts if v.asked == "own")
    found = dict.fromkeys(Judgement(JudgeName.of(v), v.rubric_digest) for v in own)
    order = list(results.judges)
    return sorted(found, key=lambda j: (order.index(j.name), j.version))


def multiverse(results: Results) -> Multiverse | None:
    """Return the rates under every judgement; None below two of them that scored a trial.

    A judge that gave several verdicts on a trial (about two decoys) counts with the last.
    """
    results = results.of_part()
    found = find_judgements(results)
    if len(found) < 2:
        return None
    varies = _varying(found)
    rows, scored_by = [], set()
    judged = 0
    for judgement in found:
        frame = frame_with(results.records, partial(_last, judgement=judgement))
        scored_by.add(frozenset(frame.loc[frame["unscored"].isna(), "trial"]))
        mine = list(_rows(frame, _named(judgement, varies)))
        judged += bool(mine)
        rows += mine
    if judged < 2:
        return None
    return Multiverse(pd.DataFrame(rows, columns=_COLUMNS), tuple(varies), len(scored_by) == 1)


def _varying(found: Sequence[Judgement]) -> list[str]:
    """Return what tells judgements apart; the wording where nothing else does, since rubrics of two names differ."""
    varies = [part for part in found[0].parts if len({j.parts[part] for j in found}) > 1]
    rest = [part for part in varies if part != _WORDING]
    return rest if len({tuple(j.parts[part] for part in rest) for j in found}) == len(found) else varies


def _named(judgement: Judgement, varies: Sequence[str]) -> str:
    shown = {"judge": "", "rubric": "", **dict.fromkeys(varies, "")}
    parts = [text for part, text in judgement.parts.items() if part in shown and text != "no model"]
    return "/".join(parts[:2]) + "".join(f" · {text}" for text in parts[2:])


def _last(record: TrialRecord, judgement: Judgement) -> Verdict | None:
    return next((v for v in reversed(record.verdicts) if judgement.gave(v)), None)


def _rows(frame: pd.DataFrame, name: str) -> Iterator[tuple[object, ...]]:
    signal = injected(frame)
    arms = {arm: signal[signal["arm"] == arm] for arm in injected_first(signal["arm"])}
    for arm, part in {**arms, CONTROL: controls(frame)}.items():
        for outcome in OUTCOMES:
            found = by_concept(part, outcome) if len(part) else None
            if found is None or (arm == CONTROL and outcome == "strict"):
                continue
            counts = found.counts
            if arm == CONTROL:
                counts = counts.pooled
            told = these_concepts(counts)
            unscored = int(part["unscored"].notna().sum())
            yield (
                name,
                arm,
                outcome,
                sum(counts.successes),
                sum(counts.trials),
                unscored,
                counts.concepts,
                told.estimate,
                told.low,
                told.high,
            )


def _cell(row: Mapping[Any, Any]) -> str:
    return f"{row['k']:,}/{row['n']:,} · {percent(row['rate'])} ({bounds(row['low'], row['high'])})"


def _range(part: pd.DataFrame) -> str:
    """Return between what a rate lies over the judgements; empty where only one gives it."""
    if len(part) < 2:
        return ""
    rows = part.sort_values("rate", kind="stable").to_dict("records")
    low, high, outcome = rows[0], rows[-1], rows[0]["outcome"]
    where = {INJECTED: "injected trials", CONTROL: "controls"}.get(low["arm"], f"trials of the arm {low['arm']!r}")
    if low["rate"] == high["rate"]:
        return f"On {where} {outcome} is {percent(low['rate'])} under each of {len(rows)} judgements."
    return (
        f"On {where} {outcome} lies between {percent(low['rate'])} under {low['judgement']} ({low['k']:,} of "
        f"{low['n']:,}) and {percent(high['rate'])} under {high['judgement']} ({high['k']:,} of {high['n']:,})."
    )
