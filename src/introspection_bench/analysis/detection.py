"""Signal detection: hits against false alarms, detection and identification always apart, and default guesses."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs
import pandas as pd
from scipy.stats import norm

from ..boundaries import checked, guarded
from ..concepts import Concept
from ..conditions import CELL_COLUMNS
from ..errors import AnalysisError, explain
from .binomial import Interval, interval
from .cells import groups
from .rates import outcome_interval
from .selection import check_grouping, controls, injected, require_columns, scored

#: Columns that say what was injected: a control has none of them, so it is matched on the others.
INJECTION_COLUMNS = ("arm", "truth", "concept", "layers", "layer", "magnitude", "unit", "span")
#: The outcome by which each task is measured: noticing that something is there, and naming what.
TASKS = {"detection": "affirmative", "identification": "identifies"}


@guarded(AnalysisError)
@attrs.frozen
class Sensitivity:
    """Signal-detection indices from hit and false-alarm counts.

    ``d_prime`` = z(H) - z(F) and ``criterion`` = -(z(H) + z(F)) / 2 with the log-linear corrected rates
    (k + 0.5) / (n + 1); ``low`` and ``high`` bound d′ (Gourevitch and Galanter's normal approximation, rough
    below about ten trials an arm). All four are NaN where an arm has no trial.
    """

    hits: Interval
    false_alarms: Interval
    d_prime: float
    criterion: float
    low: float
    high: float


@checked(AnalysisError)
def sensitivity(hits: int, signals: int, false_alarms: int, noises: int, *, confidence: float = 0.95) -> Sensitivity:
    """Return d′ and criterion of ``hits`` of ``signals`` injected and ``false_alarms`` of ``noises`` control trials.

    Source: the log-linear correction is Hautus 1995, Behavior Research Methods 27; the variance of d′ Gourevitch
    and Galanter 1967, Psychometrika 32. Raises :class:`AnalysisError` for impossible counts.
    """
    found = (
        interval(hits, signals, confidence=confidence),
        interval(false_alarms, noises, confidence=confidence),
    )
    if not (signals and noises):
        return Sensitivity(*found, math.nan, math.nan, math.nan, math.nan)
    corrected = [(i.k + 0.5) / (i.n + 1) for i in found]
    z = [float(norm.ppf(rate)) for rate in corrected]
    d_prime = z[0] - z[1]
    variance = sum(
        rate * (1 - rate) / (i.n * float(norm.pdf(point)) ** 2)
        for rate, i, point in zip(corrected, found, z, strict=True)
    )
    reach = float(norm.ppf((1 + confidence) / 2)) * math.sqrt(variance)
    return Sensitivity(*found, d_prime, -(z[0] + z[1]) / 2, d_prime - reach, d_prime + reach)


@checked(AnalysisError)
def detection(
    frame: pd.DataFrame,
    by: Sequence[str] = CELL_COLUMNS,
    *,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Return d′ and criterion for every group of injected trials, for detection and identification apart.

    Args:
        frame: from :func:`introspection_bench.analysis.records_frame`. Unscored trials are left out; so
            are those where something else was done (random vectors, others' own arms): neither signal nor noise.
        by: what makes a group. The controls of a group are those that agree with it on the columns that a
            control has (all but :data:`INJECTION_COLUMNS`).
        confidence: of the intervals.

    Returns:
        Two rows per group: the columns of ``by``; ``task`` (``detection``: affirmative, ``identification``:
        identifies); ``hits signals hit_rate hit_low hit_high``; ``false_alarms noises false_alarm_rate
        false_alarm_low false_alarm_high``; ``d_prime d_low d_high criterion``, NaN where there is no control. Where a
        judge was told which trials are controls, the false alarms of identification are 0 by construction, and its
        d′ says nothing beyond the hit rate.

    Raises:
        AnalysisError: unknown columns, magnitudes pooled over units, or no injected trial.
    """
    check_grouping(frame, by)
    require_columns(frame, list(TASKS.values()))
    signal, noise = scored(injected(frame)), scored(controls(frame))
    if signal.empty:
        raise AnalysisError(explain("frame", required="scored injected trials", got="none", hint="Judge the run."))
    shared = [c for c in by if c not in INJECTION_COLUMNS]
    rows = []
    for group, part in groups(signal, by):
        against = noise
        for column in shared:
            value = group[column]
            against = against[against[column].isna() if pd.isna(value) else against[column] == value]
        for task, outcome in TASKS.items():
            hit, alarm = outcome_interval(part, outcome), outcome_interval(against, outcome)
            s = sensitivity(hit.k, hit.n, alarm.k, alarm.n, confidence=confidence)
            rows.append(
                {
                    **group,
                    "task": task,
                    **_rate_columns(s.hits, ("hits", "signals", "hit")),
                    **_rate_columns(s.false_alarms, ("false_alarms", "noises", "false_alarm")),
                    "d_prime": s.d_prime,
                    "d_low": s.low,
                    "d_high": s.high,
                    "criterion": s.criterion,
                }
            )
    return pd.DataFrame(rows).astype({c: frame[c].dtype for c in by})


def _rate_columns(found: Interval, names: tuple[str, str, str]) -> dict[str, float]:
    k, n, stem = names
    return {k: found.k, n: found.n, f"{stem}_rate": found.rate, f"{stem}_low": found.low, f"{stem}_high": found.high}


_QUOTED = re.compile(r"[\"“‘«]([^\W\d_][\w' -]{1,40}?)[.,!?]?[\"”’»]|(?<!\w)'([^\W\d_][\w -]{1,40}?)[.,!?]?'(?!\w)")
_STATED = re.compile(
    r"\b(?:about|(?:word|concept|idea|notion|image|thought)(?:\s+(?:is|was|of))?)\s+"
    r"(?:(?:the|a|an|of|word|concept|idea|notion|is|was|something|related|to|called|my|your|some|very)\s+)*"
    r"(?=([^\W\d_]{2,}))",  # looked at, not taken: "thought about love" must not end at "about"
    re.IGNORECASE,
)
# Words that the patterns catch although they name nothing, among them those of the prompt itself.
_EMPTY_WORDS = """
about activity am an and any are be been being but by can concept control detect detected detecting detection do
feel for from had has have how i if in inject injected injection injections internal is it its itself just me mind
my myself neural no not of ok okay on one or pattern patterns quite really sense so some something state that the
their them there these they this thought thoughts to trial trials was well were what when where which who why will
with word would yes you your yourself
"""
_EMPTY = frozenset(_EMPTY_WORDS.split())


@checked(AnalysisError)
def guessed_word(reply: str) -> str | None:
    """Return the word that a reply offers as the injected thought, in lower case; None where no pattern finds one.

    Two patterns, in this order, the first hit wins: a quotation of at most three words; the first content word
    after "about", "the word", "the concept of" and their like. A simple reading for a table of default guesses,
    not a judge: a reply that names several words counts for the first.
    """
    for match in _QUOTED.finditer(reply):
        words = (match[1] or match[2]).lower().split()
        if len(words) <= 3 and not all(w in _EMPTY for w in words):
            return " ".join(words)
    for match in _STATED.finditer(reply):
        if match[1].lower() not in _EMPTY:
            return match[1].lower()
    return None


@checked(AnalysisError)
def default_guesses(
    frame: pd.DataFrame,
    concepts: Iterable[Concept | str] | None = None,
    *,
    by: Sequence[str] = ("scaffold", "arm"),
) -> pd.DataFrame:
    """Return what is named where a reply claims an injected thought and the name is wrong.

    Args:
        frame: from :func:`introspection_bench.analysis.records_frame`. Wrong are the replies with
            ``affirmative`` true and ``identifies`` not true; on controls every affirmative reply is wrong.
        concepts: the run's concepts (with their aliases) or plain names; None takes the names in the frame.
        by: what makes a group.

    Returns:
        One row per group and guess, most frequent first: the columns of ``by``; ``guess``; ``kind``:
        ``concept`` (another concept of the run is named: it wins over any other word), ``word`` (found by
        :func:`guessed_word`) or ``none`` (no word found); ``n``; ``n_wrong``, all wrong replies of the group;
        ``share`` = n / n_wrong.

    Raises:
        AnalysisError: unknown columns.
    """
    check_grouping(frame, by)
    require_columns(frame, ("reply", "concept", "truth", "affirmative", "identifies"))
    if concepts is None:
        concepts = [str(name) for name in frame["concept"].dropna().unique()]
    patterns = list(_patterns(concepts))
    claimed = frame["affirmative"].fillna(value=False)
    right = frame["identifies"].fillna(value=False) & (frame["truth"] != "nothing")
    wrong = frame[claimed & ~right]
    rows = []
    for group, part in groups(wrong, by):
        guesses = [_guess(str(r), c, patterns) for r, c in zip(part["reply"], part["concept"], strict=True)]
        ranked = sorted(Counter(guesses).items(), key=lambda item: (-item[1], item[0]))
        rows += [
            {**group, "guess": guess, "kind": kind, "n": n, "n_wrong": len(part), "share": n / len(part)}
            for (kind, guess), n in ranked
        ]
    return pd.DataFrame(rows, columns=[*by, "guess", "kind", "n", "n_wrong", "share"])


def _patterns(concepts: Iterable[Concept | str]) -> Iterator[tuple[str, re.Pattern[str]]]:
    for concept in concepts:
        name, words = (
            (concept, (concept.replace("_", " "),)) if isinstance(concept, str) else (concept.name, concept.names)
        )
        either = "|".join(re.escape(w).replace(r"\ ", r"[\s-]+") for w in words)
        yield name, re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE)


def _guess(reply: str, concept: Any, patterns: Sequence[tuple[str, re.Pattern[str]]]) -> tuple[str, str]:
    own = None if pd.isna(concept) else concept
    places = [(m.start(), name) for name, p in patterns if name != own and (m := p.search(reply)) is not None]
    if places:
        return "concept", min(places)[1]
    word = guessed_word(reply)
    return ("none", "") if word is None else ("word", word)
