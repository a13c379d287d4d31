"""What an experiment came to, beside its chance level: one section for each kind, told by what decided its outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from ...analysis.binomial import interval, percent
from ...analysis.cells import dose_text, groups, is_missing
from ...analysis.log_odds import log_odds_frame
from ...analysis.rates import rates
from ...conditions import CONTROL, INJECTED, REMOVED
from ...errors import AnalysisError
from ...results import JudgeName, Results
from ..tables import Section, TextTable
from .intentions import control_section_of
from .wordings import rate_text

_CELL = ("layers", "magnitude", "unit", "arm")
#: What an arm's row says of chance: a text, made of the row's cell.
_Chance = Callable[[Mapping[str, Any]], str]


def experiment_section(results: Results, frame: pd.DataFrame, chosen: JudgeName | None) -> Section | None:
    """Return what the run's experiment came to; None where its verdicts decide none.

    ``frame`` holds the verdicts of ``chosen``, by whose rubric the experiment is told.
    """
    if chosen is None:
        return None
    there = frame[frame["judge"].notna()]
    make = _SECTIONS.get(chosen.rubric.partition("/")[0])
    if there.empty or make is None:
        return None
    return make(results, there)


def _of_arms(results: Results, field: str) -> Any:
    """Return what the design's arms state under a name; None where the specification doesn't say."""
    design = results.spec.get("design")
    arms = design.get("arms") if isinstance(design, Mapping) else None
    told = [a[field] for a in arms or () if isinstance(a, Mapping) and a.get(field) is not None]
    return told[0] if told else None


def _one_of(count: Any, what: str) -> str:
    """Return ``1 of 4 (25 %)``, in words where the number is not known."""
    return f"1 of {count} ({percent(1 / count)})" if type(count) is int and count > 0 else f"1 of the {what}"


def _table(
    frame: pd.DataFrame,
    outcomes: Mapping[str, str],
    caption: str,
    *,
    by: Sequence[str] = (),
    chance: _Chance = lambda _: "–",
) -> TextTable:
    """Return a row for each cell; ``outcomes`` are columns of the frame with their headings."""
    rows = []
    for cell, part in groups(rates(frame, [*by, *_CELL], outcomes=list(outcomes)), [*by, *_CELL]):
        dosed = not is_missing(cell["unit"])
        rows.append(
            (
                *(str(cell[name]) for name in by),
                str(cell["arm"]).replace("_", " "),
                "–" if is_missing(cell["layers"]) else str(cell["layers"]),
                dose_text(cell) if dosed else "–",
                *(rate_text(row) for row in part.to_dict("records")),
                chance(cell),
            )
        )
    headings = [{"scaffold": "Asked as"}.get(name, name) for name in by]
    return TextTable(caption, (*headings, "Arm", "layer", "dose", *outcomes.values(), "chance"), rows)


def _of_control(frame: pd.DataFrame, outcome: str, by: Sequence[str] = ()) -> _Chance:
    """Return what tells of a cell how often the outcome comes where nothing is done, in the same column of ``by``."""

    def told(cell: Mapping[str, Any]) -> str:
        mine = frame[(frame["truth"] == "nothing") & frame[outcome].notna()]
        for name in by:
            mine = mine[mine[name] == cell[name]]
        if cell["arm"] == CONTROL:
            return "is the control"
        return "not run" if mine.empty else f"{percent(float(mine[outcome].mean()))}, the control's"

    return told


def _thoughts(results: Results, frame: pd.DataFrame) -> Section:
    chance = _one_of(_of_arms(results, "size"), "words")
    think, repeat = frame[frame["picks"].notna()], frame[frame["repeats"].notna()]
    both = _both(think, repeat)
    said = [
        "The vector stood on the sentence's tokens alone. A pick is the first word of the list that the reply names; "
        f"without regard to the injection it is the concept's in {chance} of the replies that pick one. The control "
        "was asked with the same lists.",
        "Both: the word picked in one trial, and the same sentence repeated in the trial of the same draw. A model "
        "that does both keeps the thought apart from the text.",
    ]
    table = _table(
        think,
        {"picks": "picks the concept", "answers": "picks any"},
        "Which word is thought of, with exact 95 % intervals over trials",
        chance=lambda _: f"{chance} of picks",
    )
    tables = [
        table,
        _table(repeat, {"repeats": "repeats the sentence"}, "The sentence repeated, with exact 95 % intervals"),
    ]
    if len(both):
        paired = {"picks": "picks", "repeats": "repeats", "both": "both"}
        tables.append(_table(both, paired, f"Pairs of one draw ({len(both):,}), with exact 95 % intervals"))
    return Section("Thoughts against text", said, tables)


def _both(think: pd.DataFrame, repeat: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs of one draw: trials of one concept and sentence, whose seed they share in a paired design."""
    # What is paired shares a seed; a run that pairs nothing has no two trials of one.
    on = ["seed", "arm", "layers", "magnitude", "unit"]
    once = [part.drop_duplicates(on, keep=False) for part in (think, repeat)]
    paired = once[0].drop(columns="repeats").merge(once[1][[*on, "repeats"]], on=on)
    return paired.assign(both=paired["picks"] & paired["repeats"])


def _located(results: Results, frame: pd.DataFrame) -> Section:
    chance = f"at most {_one_of(_of_arms(results, 'places'), 'sentences')}"
    weaker = _of_arms(results, "weaker") is not None
    what = "the stronger one of the injections" if weaker else "the injection"
    said = [
        f"Of several numbered sentences the reply should give the number of that with {what} on its tokens. Each was "
        f"the right one equally often, so that an answer without regard to the injection is right in {chance}, less "
        "what gives no number. Of the control a sentence drawn by the trial's digest counts as right.",
        "A question that says nothing of introspection, and a random vector, tell whether more than a disturbance was "
        "located: where these reach the same, the introspective wording says no more than they do.",
    ]
    table = _table(
        frame,
        {"locates": "right", "answers": "gives a number"},
        "Which sentence, with exact 95 % intervals over trials",
        by=["scaffold"],
        chance=lambda _: chance,
    )
    return Section("Which injection is stronger" if weaker else "Localisation", said, [table])


def _named(_: Results, frame: pd.DataFrame) -> Section:
    said = [
        "The reply was begun for the model with the claim of an injected thought, so that naming says nothing of "
        "detection, and what steers the words names the concept, too. Chance is how often the control, begun the same "
        "way, names the decoy that it was judged by.",
    ]
    table = _table(
        frame,
        {"names": "names it at once", "names_anywhere": "names it anywhere"},
        "What the forced claim names, with exact 95 % intervals over trials",
        chance=_of_control(frame, "names"),
    )
    return Section("Forced identification", said, [table])


def _owned(_: Results, frame: pd.DataFrame) -> Section:
    said = [
        "A word was put in as the model's answer. Introspection would own it where its concept was in mind before, and "
        "disown it elsewhere. The baseline is the lower of the rates of disowning where nothing and where another "
        "concept is injected.",
    ]
    for cell, part in groups(frame[frame["unit"].notna()], ["layers", "magnitude", "unit"]):
        injected = part[part["arm"] == INJECTED]["disowns"]
        compared = {
            "nothing": frame[frame["arm"] == CONTROL]["disowns"],
            "another concept": part[part["arm"] == "other_concept"]["disowns"],
        }
        there = {name: float(values.mean()) for name, values in compared.items() if len(values)}
        if not there or injected.empty:
            continue
        least = min(there, key=lambda name: there[name])
        found = interval(int(injected.sum()), len(injected))
        said.append(
            f"Layer {cell['layers']}, {dose_text(cell)}: disowned in {percent(found.rate)} ({percent(found.low)} to "
            f"{percent(found.high)}) with the concept before the word; baseline {percent(there[least])} ({least})."
        )
    table = _table(
        frame,
        {"disowns": "disowns the word", "owns": "owns it"},
        "Did it mean to say that? With exact 95 % intervals over trials",
        chance=_of_control(frame, "disowns"),
    )
    return Section("Unintended outputs", said, [table])


def _removed(results: Results, frame: pd.DataFrame) -> Section | None:
    if REMOVED not in set(frame["arm"]) or frame["scaffold"].nunique() < 2:
        return None
    said = [
        "Steered were the earlier turns alone, and the question was asked without. Chance is the same prompt with "
        "nothing injected: what a document does to yes by itself stands there. Replies that say neither yes nor no are "
        "left out of the rates; the log-odds of yes, read before a word was sampled, are of all trials.",
    ]
    tables = []
    if "says_yes" in frame:
        tables.append(
            _table(
                frame,
                {"says_yes": "says yes"},
                "Answers by document, with exact 95 % intervals over trials",
                by=["scaffold"],
                chance=_of_control(frame, "says_yes", ["scaffold"]),
            )
        )
    try:
        read = log_odds_frame(results)
    except AnalysisError:
        said.append("The log-odds were not read: sweep.measure(measures.YesNo()).")
    else:
        tables.append(_log_odds_by_document(read))
    return Section("Steer, remove, ask", said, tables)


def _log_odds_by_document(read: pd.DataFrame) -> TextTable:
    rows = [
        (
            str(cell["scaffold"]),
            str(cell["arm"]).replace("_", " "),
            dose_text(cell) if not is_missing(cell["unit"]) else "–",
            f"{len(part):,}",
            f"{part['log_odds'].mean():+.2f}".replace("-", "−"),
            f"{part['change'].mean():+.2f}".replace("-", "−") if part["change"].notna().any() else "–",
        )
        for cell, part in groups(read, ["scaffold", "magnitude", "unit", "arm"])
    ]
    columns = ("Asked as", "Arm", "dose", "trials", "log-odds", "change from unsteered")
    return TextTable("Log-odds of yes by document, means in nats", columns, rows)


def _prompts(_: Results, frame: pd.DataFrame) -> Section | None:
    own = frame[~frame["scaffold"].str.contains(":", regex=False)]  # an arm's own question is no variant of the run's
    if own["scaffold"].nunique() < 2:
        return None
    said = [
        "The same injections were asked about in several prompts. A question that doesn't ask for an injected thought "
        "is seldom affirmed in so many words: of those only the naming says anything. Chance is the control's naming "
        "of its decoy under the same prompt.",
    ]
    outcomes = {o: o for o in ("affirmative", "identifies", "strict") if own[o].notna().any()}
    table = _table(
        own,
        outcomes,
        "Rates by prompt, with exact 95 % intervals over trials",
        by=["scaffold"],
        chance=_of_control(own, "identifies", ["scaffold"]) if "identifies" in outcomes else lambda _: "–",
    )
    return Section("By prompt", said, [table])


_SECTIONS: Mapping[str, Callable[[Results, pd.DataFrame], Section | None]] = {
    "picked": _thoughts,
    "located": _located,
    "named": _named,
    "owned": _owned,
    "written": control_section_of,
    "yesno": _removed,
    **dict.fromkeys(("strict4", "strict5", "paper2", "stages2"), _prompts),
}
