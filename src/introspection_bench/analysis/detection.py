"""Signal detection: hits against false alarms, detection and identification always apart, and default guesses."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import attrs
import pandas as pd
from scipy.stats import norm

from ..boundaries import checked, guarded
from ..concepts import Concept
from ..conditions import CELL_COLUMNS
from ..errors import AnalysisError, explain
from ..results import Results, frame_of
from .binomial import check_probability
from .by_concept import ByConcept, by_concept
from .cells import groups
from .intervals import ConceptCounts, Estimand, Estimate, discrimination, these_concepts
from .intervals.discrimination import Measure, smoothed
from .selection import check_grouping, controls, injected, require_columns, scored, without_texts

#: Columns that say what was injected: a control has none of them, so it is matched on the others.
INJECTION_COLUMNS = ("arm", "truth", "concept", "layers", "layer", "magnitude", "unit", "span")
#: The outcome by which each task is measured: noticing that something is there, and naming what.
TASKS = {"detection": "affirmative", "identification": "identifies"}
MEASURES: tuple[Measure, ...] = ("d′", "A′", "AUC")


# A grid has the same counts again and again, and each costs some hundredths of a second.
_discrimination = lru_cache(maxsize=4096)(discrimination)


@guarded(AnalysisError)
@attrs.frozen
class Sensitivity:
    """How well injected trials are told from controls: d′, A′ and the area under the curve, each with its interval.

    ``criterion`` is -(z(H) + z(F)) / 2, above 0 for a tendency to say no, from the same corrected rates as the estimate
    of d′. It is a point estimate without an interval, and NaN where either rate is 0 or 1: it would then be what the
    correction makes of the number of trials, and no tendency.
    """

    signal: ConceptCounts
    noise: ConceptCounts
    d_prime: Estimate
    a_prime: Estimate
    auc: Estimate
    criterion: float


@checked(AnalysisError)
def sensitivity(
    signal: ConceptCounts,
    noise: ConceptCounts,
    *,
    estimand: Estimand = "these concepts",
    confidence: float = 0.95,
) -> Sensitivity:
    """Return d′, A′, the area under the curve and the criterion of hits and false alarms.

    Args:
        signal: hits among the injected trials, an entry for each concept.
        noise: false alarms among the controls; one entry where controls have no concept.
        estimand: whether the concepts are fixed or could have been others.
        confidence: of the intervals; those of d′ may be infinite on a side, see :func:`discrimination`.

    Raises :class:`AnalysisError` for a confidence out of range.
    """
    d_prime, a_prime, auc = (
        _discrimination(signal, noise, measure=m, estimand=estimand, confidence=confidence) for m in MEASURES
    )
    edge = any(arm.rate in (0, 1) for arm in (signal, noise))
    criterion = math.nan if edge else -float(sum(norm.ppf(rate) for rate in smoothed(signal, noise))) / 2
    return Sensitivity(signal, noise, d_prime, a_prime, auc, criterion)


@checked(AnalysisError)
def detection(
    frame: pd.DataFrame | Results,
    by: Sequence[str] = CELL_COLUMNS,
    *,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Return d′, A′, area under the curve and criterion for every group of injected trials, for both tasks apart.

    Args:
        frame: from :func:`introspection_bench.analysis.records_frame`. Where something else was done (random vectors,
            others' own arms) a trial is left out: it is neither signal nor noise.
        by: what makes a group. The controls of a group are those that agree with it on the columns that a
            control has (all but :data:`INJECTION_COLUMNS`).
        confidence: of the intervals.

    Returns:
        Two rows per group: the columns of ``by``; ``task`` (``detection``: affirmative, ``identification``:
        identifies); ``hits signals hit_rate hit_low hit_high``; ``false_alarms noises false_alarm_rate
        false_alarm_low false_alarm_high``; ``d_prime d_low d_high``, ``a_prime a_low a_high``, ``auc auc_low auc_high``
        on these concepts, each weighing the same; ``d_low_like d_high_like``, on concepts like these (NaN where the
        group has too few); ``criterion``; ``unscored`` trials, and ``d_low_whatever d_high_whatever``, the bounds
        that hold whatever these would have been (of concepts with a scored trial; those of d′ where there are none).
        d′ is bounded on one side alone where its other bound is infinite. All are NaN where there is no control. Where
        a judge was told which trials are controls, the false alarms of identification are 0 by construction, and its d′
        says nothing beyond the hit rate.

    Raises:
        AnalysisError: unknown columns, magnitudes pooled over units, or no scored injected trial.
    """
    frame = frame_of(frame)
    check_grouping(frame, by)
    require_columns(frame, list(TASKS.values()))
    check_probability("confidence", confidence)
    frame = without_texts(frame)
    signal, noise = injected(frame), controls(frame)
    if scored(signal).empty:
        raise AnalysisError(explain("frame", required="scored injected trials", got="none", hint="Judge the run."))
    shared = [c for c in by if c not in INJECTION_COLUMNS]
    rows = []
    alarms: dict[tuple[object, ...], ByConcept | None] = {}
    for group, part in groups(signal, by):
        if scored(part).empty:
            continue
        against = noise
        for column in shared:
            value = group[column]
            against = against[against[column].isna() if pd.isna(value) else against[column] == value]
        for task, outcome in TASKS.items():
            place = (outcome, *(None if pd.isna(group[c]) else group[c] for c in shared))
            if place not in alarms:
                alarms[place] = by_concept(against, outcome)
            rows.append({**group, "task": task, **_row(by_concept(part, outcome), alarms[place], confidence)})
    return pd.DataFrame(rows).astype({c: frame[c].dtype for c in by})


_RATES = (("hits", "signals", "hit"), ("false_alarms", "noises", "false_alarm"))
_INDICES = ("d_prime", "d_low", "d_high", "a_prime", "a_low", "a_high", "auc", "auc_low", "auc_high")
_FURTHER = ("d_low_like", "d_high_like", "criterion", "d_low_whatever", "d_high_whatever")


def _row(signal: ByConcept | None, noise: ByConcept | None, confidence: float) -> dict[str, float]:
    rates: dict[str, float] = {}
    for arm, (k, n, stem) in zip((signal, noise), _RATES, strict=True):
        found = these_concepts(arm.counts, confidence=confidence) if arm else None
        rates |= {k: sum(arm.counts.successes) if arm else 0, n: sum(arm.counts.trials) if arm else 0}
        rates |= {
            f"{stem}_rate": found.estimate if found else math.nan,
            f"{stem}_low": found.low if found else 0.0,
            f"{stem}_high": found.high if found else 1.0,
        }
    unscored = sum(arm.unscored for arm in (signal, noise) if arm)
    if signal is None or noise is None:
        return {**rates, **dict.fromkeys((*_INDICES, *_FURTHER), math.nan), "unscored": unscored}
    s = sensitivity(signal.counts, noise.counts, confidence=confidence)
    indices = [x for e in (s.d_prime, s.a_prime, s.auc) for x in (e.estimate, e.low, e.high)]
    like = _discrimination(signal.counts, noise.counts, estimand="concepts like these", confidence=confidence)
    low, high = s.d_prime.low, s.d_prime.high
    if unscored:
        worst, best = (
            _discrimination(signal.counted(success=best), noise.counted(success=not best), confidence=confidence)
            for best in (False, True)
        )
        low, high = worst.low, best.high
    further = (like.low, like.high, s.criterion, low, high)
    named = zip((*_INDICES, *_FURTHER), (*indices, *further), strict=True)
    return {**rates, **dict(named), "unscored": unscored}


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
    frame: pd.DataFrame | Results,
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
    frame = frame_of(frame)
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
