"""The page's first sentences: what ran, and what can be said of noticing, of success and of naming.

Every rate is the mean of the concepts' rates and comes with what its interval is about: these concepts, or concepts
like these. Arms are compared, and told apart; no cell that was chosen for its rate is spoken of here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from ...analysis.binomial import bounds, percent
from ...analysis.by_concept import ByConcept, by_concept, matched
from ...analysis.cells import groups, is_missing
from ...analysis.intervals import (
    Estimand,
    Estimate,
    difference,
    like_these,
    null_bound,
    these_concepts,
)
from ...analysis.live import live_trials, liveness
from ...analysis.rates import outcome_interval
from ...analysis.selection import controls, injected, shown_of
from ...conditions import CELL_COLUMNS, INJECTED, RANDOM, injected_first, ordered
from ...effects import Effects
from ...errors import AnalysisError, explain
from ...frames import NOT_JUDGED
from ...verdicts import CRITERIA
from ..wording import all_of, listing, plural
from .wordings import spread

#: Trials that differ in one of these are compared with the controls of their own setting.
SETTING = ("scaffold", "model", "beside")
#: Beyond this many settings their comparisons are a table and no headline.
_MOST_SETTINGS = 4
_ESTIMANDS: tuple[Estimand, Estimand] = ("these concepts", "concepts like these")
#: What rounding may leave of a bound that is zero.
_NOTHING = 1e-9


def headlines(
    frame: pd.DataFrame,
    success: Sequence[str] = CRITERIA,
    *,
    blinded: bool = True,
    effects: Effects | None = None,
    wordings: Sequence[str] = (),
) -> list[str]:
    """Return what was found as plain sentences, each number with its count, interval and what that is about.

    Args:
        frame: one row per trial, with one judge's verdicts.
        success: what the judge's rubric takes for it (:attr:`~introspection_bench.verdicts.Verdict.success`).
        blinded: whether the judge did not know what was injected. Where it did, what it says of naming on controls
            compares with nothing.
        effects: what the run's doses do (``Results.effects``): what a null excludes is then said of live cells, too.
        wordings: the items that are wordings of the question; over them rates of affirming then have a range.

    Of criteria that the rubric does not ask, nothing is said.
    """
    if frame.empty:
        return ["No trial was run."]
    if not frame["unscored"].isna().any():
        return [
            what_ran(frame),
            "No trial has a verdict, so there are no rates: judge the run, or read the transcripts.",
        ]
    signal = injected(frame)
    arms = {arm: signal[signal["arm"] == arm] for arm in injected_first(signal["arm"])}
    arms = {arm: part for arm, part in arms.items() if part["unscored"].isna().any()}
    few = too_few(arms.values())
    said = [
        what_ran(frame),
        *noticing(frame, arms, wordings),
        *(f"No interval is given for concepts like these: {n}." for n in few),
    ]
    for arm, part in arms.items():
        said += [
            succeeded(part, arm, success),
            *succeeded_live(part, effects),
            *named(part, arm, controls(frame) if blinded else None),
        ]
        own = [o for o in shown_of(part) if o not in (*CRITERIA, "strict")]
        said += [f"{o} was true in {stated(part, o, kind_of(arm))}." for o in own if part[o].notna().any()]
        said += whatever(part, arm)
    return [*said, *other_arms(frame, few)]


def what_ran(frame: pd.DataFrame) -> str:
    """Return how many trials there are of each kind, and how many of them have a verdict."""
    plain, noise = frame[frame["arm"] == INJECTED], controls(frame)
    cells = len(plain[[*CELL_COLUMNS]].drop_duplicates())
    sizes = frame.loc[(frame["arm"] != INJECTED) & (frame["truth"] != "nothing"), "arm"].value_counts()
    others = [
        f"{plural(int(sizes[arm]), 'trial')} " + ("under random vectors" if arm == RANDOM else f"of the arm {arm!r}")
        for arm in ordered(sizes.index)
    ]
    return (
        f"{plural(len(plain), 'injected trial')} in {plural(cells, 'cell')} and {plural(len(noise), 'control')}"
        f"{f', with {listing(others)},' if others else ''} were recorded; {_scoring(frame)}."
    )


def too_few(parts: Iterable[pd.DataFrame]) -> list[str]:
    """Return, where concepts are too few for an interval over others like them, what it would take."""
    found = [by for part in parts if (by := by_concept(part, "strict")) is not None and _has_concepts(by)]
    return list(dict.fromkeys(needs for by in found if (needs := like_these(by.counts).needs)))


def noticing(frame: pd.DataFrame, arms: Mapping[str, pd.DataFrame], wordings: Sequence[str] = ()) -> list[str]:
    """Return how often a thought was affirmed where there was one and where there was none, arm by arm."""
    asked = {arm: part for arm, part in arms.items() if part["affirmative"].notna().any()}
    noise = controls(frame)
    if not asked:
        if not noise["affirmative"].notna().any():
            return []
        return [
            f"The model affirmed a thought in {stated(noise, 'affirmative', 'controls')}; no injected trial is scored."
        ]
    found = []
    for arm, part in asked.items():
        settings = list(settings_of(part, frame))
        if len(settings) > _MOST_SETTINGS:
            found.append(
                f"In {len(settings)} settings {kind_of(arm)} are compared with the controls of their own: see Controls "
                "and detection."
            )
            continue
        for name, trials in settings:
            under = f"Under {name} the" if name else "The"
            own = same_in(noise, trials, SETTING)
            said = f"{under} model affirmed a thought in {_noticed(trials, own, arm)}"
            ranges = [
                f"{kind} {over}"
                for kind, part in (("controls", own), (kind_of(arm), trials))
                if (over := spread(part, wordings))
            ]
            found.append(f"{said} By wording: {', '.join(ranges)}." if ranges else said)
    return found


def _noticed(part: pd.DataFrame, noise: pd.DataFrame, arm: str) -> str:
    if not noise["affirmative"].notna().any():
        lacks = "no control is scored" if len(noise) else "no control was run"
        return (
            f"{stated(part, 'affirmative', kind_of(arm))}; {lacks}, so nothing says how often it would without an "
            "injection."
        )
    both = f"{tallied(noise, 'affirmative')} scored controls and {tallied(part, 'affirmative')} scored {kind_of(arm)}"
    return f"{both}: {compared(part, noise, 'affirmative')}"


def succeeded(part: pd.DataFrame, arm: str, success: Sequence[str]) -> str:
    """Return how often all that counts as success was met, or, where it never was, what that excludes."""
    opening = f"{all_of(success)} (strict) were met in "
    by = by_concept(part, "strict")
    if by is None or any(by.counts.successes) or not _has_concepts(by):
        return f"{opening}{stated(part, 'strict', kind_of(arm))}."
    said = [f"{opening}none of {sum(by.counts.trials):,} scored {kind_of(arm)}.", *null_bound(by.counts).sentences]
    return " ".join(said)


def succeeded_live(part: pd.DataFrame, effects: Effects | None) -> list[str]:
    """Return, where success was never met, how many of the cells are live, and what that excludes over these alone."""
    by = by_concept(part, "strict")
    if effects is None or by is None or any(by.counts.successes) or not _has_concepts(by):
        return []
    alive, live = liveness(part, effects), by_concept(live_trials(part, effects), "strict")
    apart = null_bound(live.counts).sentences if alive.some and live is not None else ()
    return [" ".join([alive.sentence, *([f"Over live cells alone, {apart[0]}", *apart[1:]] if apart else ())])]


def named(part: pd.DataFrame, arm: str, noise: pd.DataFrame | None) -> list[str]:
    """Return how often the injected concept was named and the reply coherent; ``noise``: controls with decoys."""
    whole = (
        f"The reply was coherent in {stated(part, 'coherent', kind_of(arm))}." if part["coherent"].notna().any() else ""
    )
    if not part["identifies"].notna().any():
        return [whole] if whole else []
    said = f"The injected concept was named in {stated(part, 'identifies', kind_of(arm))}."
    own = None if noise is None or len(list(settings_of(part, part))) > 1 else same_in(noise, part, SETTING)
    if own is not None and own["identifies"].notna().any():
        decoys = f"{tallied(own, 'identifies')} scored controls"
        said += f" Against a decoy, which was named in {decoys}: {compared(part, own, 'identifies')}"
    return [said, whole] if whole else [said]


def whatever(part: pd.DataFrame, arm: str) -> list[str]:
    """Return the intervals that hold whatever the trials without a verdict would have been, where there are any."""
    missing, said = int(part["unscored"].notna().sum()), []
    # Whether immediate applies depends on another answer, which an unscored trial lacks too.
    for outcome in (o for o in shown_of(part) if missing and o != "immediate" and part[o].notna().any()):
        # The interval of what was scored may be the widest, where concepts have other numbers of trials.
        cases = [part, *(_as_if(part, outcome, answer=answer) for answer in (False, True))]
        found = [_intervals(_by(case, outcome)) for case in cases]
        ranges = [
            f"{bounds(min(e[about].low for e in found), max(e[about].high for e in found))} ({about})"
            for about in found[0]
        ]
        said.append(f"{outcome} {', '.join(ranges)}")
    return [f"{_whatever(missing)}, 95 % intervals of the {kind_of(arm)} are: {'; '.join(said)}."] if said else []


def other_arms(frame: pd.DataFrame, told: Sequence[str] = ()) -> list[str]:
    """Return how often a thought was affirmed where something else was done, against injections at the same doses."""
    others, plain = frame[frame["truth"] == "other"], frame[frame["arm"] == INJECTED]
    said = []
    for arm in ordered(others["arm"]):
        part = others[others["arm"] == arm]
        if not part["affirmative"].notna().any():
            continue
        opening = f"In the arm {arm!r}, which counts neither as injected nor as control, a thought was affirmed in "
        same = _alike(plain, part)
        if not same["affirmative"].notna().any():
            said.append(f"{opening}{stated(part, 'affirmative')}; no injected trial is there to compare with.")
            continue
        kind = "injected trials" + (" like them in concept, layer and dose" if len(same) < len(plain) else "")
        both = f"{tallied(part, 'affirmative')} scored trials, and in {tallied(same, 'affirmative')} scored {kind}"
        said.append(f"{opening}{both}: {compared(same, part, 'affirmative', told=told, paired=True)}")
    return said


def stated(part: pd.DataFrame, outcome: str, kind: str = "trials") -> str:
    """Return a rate as ``8 of 269 scored trials: 2.97 %, ...`` with the intervals."""
    by = by_concept(part, outcome)
    if by is None:
        return f"none of the {kind}, since none is scored"
    found = ", ".join(f"{bounds(e.low, e.high)} ({about})" for about, e in _intervals(by).items())
    share = percent(by.counts.rate) + (f", {each}" if (each := _weighing(by)) else "")
    return f"{sum(by.counts.successes):,} of {sum(by.counts.trials):,} scored {kind}: {share}, 95 % interval {found}"


def compared(
    first: pd.DataFrame, second: pd.DataFrame, outcome: str, *, told: Sequence[str] | None = None, paired: bool = False
) -> str:
    """Return what the difference of two arms shows: ``no difference shown, up to ... points not excluded (...)``.

    Both have a scored trial. The second is one entry without concepts unless ``paired``. Where concepts are too few,
    what it would take is said unless it is ``told``; None tells nothing.
    """
    by = _by(first, outcome)
    here, like = (apart(first, second, outcome, e, paired=paired) for e in _ESTIMANDS)
    about = "these concepts" if _has_concepts(by) else "these trials"
    inner = "; ".join(filter(None, (about, _weighing(by), _numbers(here))))
    said = [f"{_worded(here.low, here.high)} ({inner})."]
    over = _has_concepts(by) and like.said
    if over:
        said.append(f"Over concepts like these: {_worded(like.low, like.high)} ({_numbers(like)}).")
    elif _has_concepts(by) and told is not None and like.needs not in told:
        said.append(f"No interval is given for concepts like these: {like.needs}.")
    missing = int(first["unscored"].notna().sum() + second["unscored"].notna().sum())
    if missing:
        worst = [
            [here if estimand == _ESTIMANDS[0] else like]
            + [
                apart(
                    _as_if(first, outcome, answer=a),
                    _as_if(second, outcome, answer=not a),
                    outcome,
                    estimand,
                    paired=paired,
                )
                for a in (False, True)
            ]
            for estimand in (_ESTIMANDS if over else _ESTIMANDS[:1])
        ]
        ends = [_worded(min(e.low for e in cases), max(e.high for e in cases)) for cases in worst]
        said.append(f"{_whatever(missing)}: {'; over concepts like these: '.join(ends)}.")
    return " ".join(said)


def _worded(low: float, high: float) -> str:
    """Return a difference in words: shown, with the least it is, or not shown, with the most that is left standing."""
    if low > _NOTHING:
        return f"a difference is shown, at least {in_points(low)} points more"
    if high < -_NOTHING:
        return f"a difference is shown, the other way round: at least {in_points(-high)} points less"
    return f"no difference shown, up to {in_points(high)} points more not excluded"


def _numbers(found: Estimate) -> str:
    ends = f"{in_points(found.low)} to {in_points(found.high)}"
    return f"difference {in_points(found.estimate)} points, {percent(found.confidence)} interval {ends}"


def in_points(share: float) -> str:
    """Return a share in percentage points, as :func:`percent` rounds."""
    return percent(round(share, 9) + 0.0).removesuffix(" %").replace("-", "−")


def apart(
    first: pd.DataFrame,
    second: pd.DataFrame,
    outcome: str,
    estimand: Estimand,
    *,
    paired: bool,
) -> Estimate:
    """Return how far an outcome is apart between two parts; the second is one entry without concepts unless paired."""
    mine, theirs = _by(first, outcome), _by(second, outcome)
    if paired and set(mine.concepts) == set(theirs.concepts):
        return difference(*matched(mine, theirs), estimand=estimand, paired=True)
    if paired and _has_concepts(theirs):
        return difference(mine.counts, theirs.counts, estimand=estimand)
    return difference(mine.counts, theirs.counts.pooled, estimand=estimand)


def _by(part: pd.DataFrame, outcome: str) -> ByConcept:
    found = by_concept(part, outcome)
    if found is None:
        raise AnalysisError(explain("frame", required=f"a trial scored for {outcome}", got="none", hint=""))
    return found


def _as_if(frame: pd.DataFrame, outcome: str, *, answer: bool) -> pd.DataFrame:
    """Return the trials as if every one without a verdict had been given this answer."""
    filled = frame.copy()
    filled.loc[frame["unscored"].notna(), outcome] = answer
    filled["unscored"] = pd.NA
    return filled


def _intervals(by: ByConcept) -> dict[str, Estimate]:
    """Return what can be said of a rate, by what it is about."""
    here, like = these_concepts(by.counts), like_these(by.counts)
    if not _has_concepts(by):
        return {"these trials": here}
    return {"these concepts": here} | ({"concepts like these": like} if like.said else {})


def _weighing(by: ByConcept) -> str:
    """Return how concepts weigh in a rate, where that shows."""
    pooled = sum(by.counts.successes) / sum(by.counts.trials)
    return "" if percent(pooled) == percent(by.counts.rate) else "each concept weighing the same"


def _has_concepts(by: ByConcept) -> bool:
    return by.concepts != ("",)


def tallied(part: pd.DataFrame, outcome: str) -> str:
    """Return how often an outcome was true among the trials to which it applies: ``8 of 269``."""
    found = outcome_interval(part, outcome)
    return f"{found.k:,} of {found.n:,}"


def _whatever(count: int) -> str:
    without = "the trial without a verdict" if count == 1 else f"the {count:,} trials without a verdict"
    return f"Whatever {without} would have been"


def kind_of(arm: str) -> str:
    """Return what an arm's trials are called."""
    return "injected trials" if arm == INJECTED else f"trials of the arm {arm!r}"


def settings_of(part: pd.DataFrame, frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the trials of each setting with its name, empty where the frame has one alone."""
    varying = [c for c in SETTING if frame[c].nunique(dropna=False) > 1]
    for cell, trials in groups(part, SETTING):
        yield ", ".join(_setting(c, cell[c]) for c in varying), trials


def _setting(column: str, value: Any) -> str:
    if column == "beside":
        return "nothing beside" if is_missing(value) else f"{value} beside"
    return f"{column} not stated" if is_missing(value) else str(value)


def same_in(frame: pd.DataFrame, like: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the trials whose values in these columns occur in ``like``; a missing value equals another."""
    there = pd.MultiIndex.from_frame(like[[*columns]].astype("object").fillna("")).unique()
    return frame[pd.MultiIndex.from_frame(frame[[*columns]].astype("object").fillna("")).isin(there)]


def _alike(plain: pd.DataFrame, part: pd.DataFrame) -> pd.DataFrame:
    """Return the injections in the settings of an arm and, where it has them, with its concepts, layers and doses."""
    dose = ("layers", "magnitude", "unit") if part["layers"].notna().any() or part["unit"].notna().any() else ()
    concept = ("concept",) if part["concept"].notna().any() else ()
    return same_in(plain, part, (*SETTING, *concept, *dose))


def _scoring(frame: pd.DataFrame) -> str:
    missing = int((frame["unscored"] == NOT_JUDGED).sum())
    unscored = int(frame["unscored"].notna().sum()) - missing
    scored = len(frame) - missing - unscored
    parts = [f"{scored:,} have a verdict"]
    parts += [f"{unscored:,} unscored (see Judges for the reasons)"] if unscored else []
    parts += [f"{missing:,} are not judged"] if missing else []
    return ", ".join(parts) if scored != len(frame) else "all have a verdict"
