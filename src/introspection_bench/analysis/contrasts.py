"""One arm held against others of its run: rates, d′ or log-odds, and a sentence on what each contrast rules out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import attrs
import pandas as pd

from ..boundaries import checked, guarded
from ..conditions import (
    CONTROL,
    EDITED_INPUT,
    EDITED_INPUT_CLEAN,
    INJECTED,
    MENTION,
    NEUTRAL_LABELS,
    NEUTRAL_LABELS_CLEAN,
    NO_QUESTIONS,
    NO_QUESTIONS_CLEAN,
    PROMPT_ONLY,
    RANDOMS,
    REMOVED,
    THIRD_PERSON,
    YES_QUESTIONS,
    YES_QUESTIONS_CLEAN,
)
from ..errors import AnalysisError, explain
from ..freezing import frozen_mapping, frozen_tuple
from ..results import Results
from ..untrusted import encodable
from ..verdicts import fits_rubric
from .arms_compared import AS_TOLD, matched_cells, matched_rises
from .binomial import check_probability, percent
from .by_concept import summed
from .contrast import LIKE, contrast_pairs
from .intervals import (
    Estimate,
    d_prime_difference,
    difference_of_unbounded,
    discrimination,
    median_of_unbounded,
    share_of_unbounded,
)
from .log_odds import LOG_ODDS_BY, log_odds_contrast, log_odds_frame
from .rises import rise_contrast

Of = Literal["rate", "d′", "log-odds"]
Kind = Literal["difference", "difference in differences"]
#: Arms that ask something else, and the same without the injection: they are held against by how much more is said.
BASES: Mapping[str, str] = MappingProxyType(
    {
        NO_QUESTIONS: NO_QUESTIONS_CLEAN,
        YES_QUESTIONS: YES_QUESTIONS_CLEAN,
        NEUTRAL_LABELS: NEUTRAL_LABELS_CLEAN,
    }
)
#: The rubric by which answers to questions are judged.
ANSWERS = "yesno"
#: Nats above which a concept counts as moved, unless another threshold is given: the odds of yes are doubled.
LEAST_MOVED = math.log(2)
_NAMING = frozenset(["identifies", "immediate", "strict"])
_ASKING = frozenset([*BASES, *BASES.values(), THIRD_PERSON])
_RULED_OUT = {
    CONTROL: "that it is said as often with nothing injected",
    NO_QUESTIONS: "that the injection makes the model say yes to any question (a yes-bias)",
    YES_QUESTIONS: "that the injection raises a right yes to other questions as much",
    NEUTRAL_LABELS: "that other labels than yes and no rise as much",
    **dict.fromkeys(BASES.values(), "that it is said as often without the injection"),
    MENTION: "that the concept's word in the text does as much",
    EDITED_INPUT: "that a paragraph on the concept in the text does as much",
    EDITED_INPUT_CLEAN: "that the paragraph's neutral stand-in does as much",
    THIRD_PERSON: "that it is said as often of somebody else's trial",
    **dict.fromkeys((PROMPT_ONLY, REMOVED), "that the steering of the reply adds nothing to it"),
    **dict.fromkeys(RANDOMS, "that a random vector in the concept's place does as much (a disturbance alarm)"),
}


@guarded(AnalysisError)
@attrs.frozen
class ArmContrast:
    """An arm held against another one: ``of`` less ``against``, each less its base for a difference in differences.

    ``found`` are the estimates: of a rate on these concepts and, where an arm has concepts, over concepts like these;
    of d′ on these concepts; of log-odds the median over concepts like these, or of the one concept that there is the
    difference of its medians over prompts. ``whatever`` is the interval on these concepts that holds whatever the
    unscored trials would have been, None where all are scored. ``told`` says that a judge that was told what was
    injected looked for a name where there is none: that it finds none is by construction, and rules nothing out.

    Of log-odds ``differences`` has each concept's (nats): facts, since a reading follows from its prompt and steers.
    ``share`` is that of concepts like these that are moved by more than a threshold, None of one concept. It rules
    nothing out: some concepts moving is no more than that.
    """

    outcome: str
    measure: Of
    kind: Kind
    of: str
    against: str
    found: tuple[Estimate, ...] = attrs.field(converter=frozen_tuple)
    whatever: Estimate | None = None
    told: bool = False
    differences: Mapping[str, float] = attrs.field(converter=frozen_mapping, factory=dict, hash=False)
    share: Estimate | None = None

    @property
    def name(self) -> str:
        """The contrast as a formula."""
        if self.kind == "difference":
            return f"{self.of} − {self.against}"
        bases = [BASES.get(self.of, CONTROL), BASES.get(self.against, CONTROL)]
        if self.measure == "log-odds":
            bases = [f"{arm} unsteered" for arm in (self.of, self.against)]
        return f"({self.of} − {bases[0]}) − ({self.against} − {bases[1]})"

    @property
    def rules_out(self) -> str:
        """What is ruled out, in words, where an interval lies above zero whatever the unscored trials would have been.

        Empty where none does.
        """
        shown = [e for e in self.found if e.said and e.low > 0]
        if not shown:
            return ""
        if self.told or (self.whatever is not None and self.whatever.low <= 0):
            return ""
        wide = shown[-1]  # of concepts like these, where that is shown: the wider claim
        ruled = _RULED_OUT.get(self.against, f"that it is as much in {self.against} trials")
        return f"Rules out {ruled} ({percent(wide.confidence)}, {self._of_whom(wide)})."

    def _of_whom(self, found: Estimate) -> str:
        if self.measure != "log-odds":
            return found.estimand
        return f"at least half of {LIKE}" if found.estimand == LIKE else "this concept, its median prompt"

    @property
    def sentences(self) -> tuple[str, ...]:
        """The estimates, what the unscored trials could change, and what is ruled out or that nothing is."""
        estimates = [*self.found, *([self.share] if self.share else [])]
        said = [_as_read(self.name, list(self.differences.values()))]
        said += [f"{self.name}: {each.sentence}" for each in estimates]
        said += [_halves(each) for each in self.found if self.measure == "log-odds" and each.estimand == LIKE]
        if self.whatever is not None:
            said.append(f"{self.name}: {self.whatever.sentence}")
        if self.told:
            said.append("The judge was told what was injected: that it finds no name there is by construction.")
        return (*filter(None, said), self.rules_out or "Nothing is ruled out by it.")


_DIFFERENCE = "log-odds (nats), a difference"


def _as_read(name: str, values: Sequence[float]) -> str:
    if not values:
        return ""
    over, spread = "of the one concept", ""
    if len(values) > 1:
        over = f"on average over these {len(values)} concepts"
        spread = f", from {_nats(min(values))} to {_nats(max(values))}"
    return (
        f"{name}: {_DIFFERENCE}, {over}: {_nats(sum(values) / len(values))}{spread}, as read on these prompts and "
        "vectors; there is no chance in a reading, and this says nothing of other concepts or prompts."
    )


def _halves(found: Estimate) -> str:
    if not found.said:
        return ""
    return (
        f"At least half of {LIKE} move by {_nats(found.low)} or more, and at least half by {_nats(found.high)} or less "
        f"({percent(found.confidence)})."
    )


def _nats(value: float) -> str:
    return f"{value:+.3g}".replace("-", "−")


@checked(AnalysisError)
def contrast(
    results: Results,
    outcome: str = "affirmative",
    *,
    of: str = INJECTED,
    against: Sequence[str] = (CONTROL,),
    measure: Of = "rate",
    judge: str | None = None,
    rubric: str | None = None,
    confidence: float = 0.95,
    moved: float = LEAST_MOVED,
) -> tuple[ArmContrast, ...]:
    """Return one arm held against others of the same run, over the cells that both have.

    An arm that asks another question (:data:`BASES`) is held against by a difference in differences: how much more
    ``of`` rises over the controls than that arm's yes rises over the same questions without the injection. Of log-odds
    each arm's change from its own prompt unsteered is taken, always.

    Args:
        results: of a run; arms of questions need verdicts by the rubric ``yesno``, log-odds readings of ``YesNo``.
        outcome: a criterion of the reports; it is not read for log-odds.
        of: the arm whose result it is.
        against: other arms.
        measure: ``rate``, ``d′`` (where both share the controls, these cancel: it is how well the two arms' trials are
            told apart) or ``log-odds``.
        judge: whose verdicts.
        rubric: which rubric on reports; needed where there are several beside ``yesno``.
        confidence: of each interval, one at a time.
        moved: of log-odds, the difference in nats above which a concept counts as moved; stated before the data.

    Returns:
        One for each arm of ``against``, in that order.

    Raises:
        AnalysisError: an arm has no trials in a cell that both have, or no verdicts or readings; or an argument is out
            of range.
    """
    check_probability("confidence", confidence)
    if measure not in ("rate", "d′", "log-odds"):
        raise AnalysisError(explain("measure", required="'rate', 'd′' or 'log-odds'", got=repr(measure), hint=""))
    if not (math.isfinite(moved) and moved >= 0):
        raise AnalysisError(explain("moved", required="a finite number of nats, 0 or more", got=moved, hint=""))
    if isinstance(against, str) or not against:
        raise AnalysisError(explain("against", required="a list of arms", got=repr(against), hint="['control']"))
    of, against = encodable(of), [encodable(arm) for arm in against]  # as arms are spelled in frames
    if measure == "log-odds":
        frame = log_odds_frame(results.of_part().records)
        return tuple(_of_log_odds(frame, of, each, confidence, moved) for each in against)
    others = {j.rubric for j in results.judges if not fits_rubric(j.rubric, ANSWERS)}
    if rubric is None and len(others) == 1:
        (rubric,) = others  # a run with questions has two rubrics on each trial, but one on reports
    frames = {False: results.frame(judge, rubric)}
    if any(arm in _ASKING for arm in (of, *against)):
        frames[True] = results.frame(judge, ANSWERS)

    def told(arm: str) -> AS_TOLD:
        return (frames[True], arm, "says_yes") if arm in _ASKING else (frames[False], arm, outcome)

    found = [
        _of_rises(told, outcome, (of, each), measure, confidence)
        if each in BASES
        else _of_arms(told, outcome, (of, each), measure, confidence)
        for each in against
    ]
    judges = [j for j in results.judges if judge in (None, j.judge) and fits_rubric(j.rubric, rubric)]
    sighted = outcome in _NAMING and not all(j.blinded for j in judges)
    return tuple(
        attrs.evolve(each, told=sighted and (each.against in (CONTROL, *RANDOMS) or each.against in BASES))
        for each in found
    )


def _of_arms(
    told: Callable[[str], AS_TOLD], outcome: str, arms: tuple[str, str], measure: Of, confidence: float
) -> ArmContrast:
    pairs = matched_cells(told(arms[0]), told(arms[1]))
    if not pairs:
        raise _lacking(*arms, "trials of both in one cell, with verdicts")
    if measure == "d′":
        signal, noise = (summed(pair[side] for pair in pairs) for side in (0, 1))
        found = [discrimination(signal, noise, confidence=confidence)]
        return ArmContrast(outcome, measure, "difference", *arms, found)
    apart = contrast_pairs(pairs, confidence=confidence)
    found = [apart.these, *([apart.like] if apart.like else [])]
    return ArmContrast(outcome, measure, "difference", *arms, found, apart.whatever if apart.unscored else None)


def _of_rises(
    told: Callable[[str], AS_TOLD], outcome: str, arms: tuple[str, str], measure: Of, confidence: float
) -> ArmContrast:
    bases = [BASES.get(arm, CONTROL) for arm in arms]
    four = matched_rises((told(arms[0]), told(bases[0])), (told(arms[1]), told(bases[1])))
    if four is None:
        raise _lacking(*arms, f"trials of {bases[0]!r} and {bases[1]!r} beside them, and verdicts on all")
    a, b, c, d = four
    if measure == "d′":
        found = [d_prime_difference((a.counts, b.counts), (c.counts, d.counts), confidence=confidence)]
        return ArmContrast(outcome, measure, "difference in differences", *arms, found)
    rose = rise_contrast((a, b), (c, d), confidence=confidence)
    found = [rose.these, *([rose.like] if rose.like else [])]
    worst = rose.whatever if rose.unscored else None
    return ArmContrast(outcome, measure, "difference in differences", *arms, found, worst)


def _of_log_odds(frame: pd.DataFrame, of: str, against: str, confidence: float, moved: float) -> ArmContrast:
    """Return each concept's difference in change, and what they say of others; of one concept what its prompts say."""
    by = _told_by(frame, against)
    table = log_odds_contrast(frame, of, against, by)
    if table.empty:
        raise _lacking(of, against, "trials about one concept in one cell")
    each = table.groupby("concept", sort=True)["did"].mean()
    share = None
    if len(each) > 1:
        values = each.tolist()
        found = median_of_unbounded(values, quantity=_DIFFERENCE, confidence=confidence)
        quantity = "a difference of log-odds (nats)"
        share = share_of_unbounded(values, moved, quantity=quantity, confidence=confidence)
    else:
        found = _of_prompts(frame, (of, against), table, by, confidence)
    return ArmContrast(
        "log_odds",
        "log-odds",
        "difference in differences",
        of,
        against,
        [found],
        differences=dict(zip(each.index.astype(str), each.tolist(), strict=True)),
        share=share,
    )


def _of_prompts(
    frame: pd.DataFrame, arms: tuple[str, str], table: pd.DataFrame, by: Sequence[str], confidence: float
) -> Estimate:
    """Return the difference of medians over the prompts of one concept, each prompt under the same steers once."""
    there = frame[frame["change"].notna()]
    there = there.assign(concept=there["concept"].fillna(there["asked"]))
    there = there.merge(table[[*by, "concept"]], on=[*by, "concept"])
    parts = [there[there["arm"] == arm] for arm in arms]
    changes = [part.drop_duplicates("read")["change"].tolist() for part in parts]
    found = difference_of_unbounded(*changes, quantity="log-odds (nats)", confidence=confidence)
    cells = max(len(part[[*LOG_ODDS_BY]].drop_duplicates()) for part in parts)
    if cells > 1:  # a prompt at two doses is no two draws
        needs = f"the one concept was read in {cells} cells (layers, doses), and it takes one cell or more concepts"
        found = attrs.evolve(found, low=math.nan, high=math.nan, needs=needs)
    return found


def _told_by(frame: pd.DataFrame, against: str) -> tuple[str, ...]:
    """Return by what cells are told apart: an arm without a dose stands against all doses together."""
    there = frame[frame["arm"] == against]
    dosed = there["layers"].notna().any() or there["unit"].notna().any()
    return tuple(column for column in LOG_ODDS_BY if dosed or column in ("model", "base", "beside"))


def _lacking(of: str, against: str, required: str) -> AnalysisError:
    return AnalysisError(
        explain(
            "of, against",
            required=required,
            got=f"{of!r} and {against!r}",
            hint="Run the missing arm in the same sweep, and judge it (questions by the rubric 'yesno').",
        )
    )
