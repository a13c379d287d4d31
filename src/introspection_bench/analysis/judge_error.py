"""A judge's error carried into what is said of a run: by stratum where labels allow it, else over a sensitivity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from ..boundaries import checked, guarded
from ..conditions import CONTROL, INJECTED, ordered
from ..errors import AnalysisError, explain
from ..freezing import frozen_tuple
from ..results import Results
from ..verdicts import Verdict
from .agreement import verdicts_of
from .binomial import bounds, check_probability, percent
from .calibration import JudgeAccuracy
from .intervals import (
    AtSensitivity,
    ConceptCounts,
    Estimate,
    PairTable,
    curve_over_sensitivity,
    judged_d_prime,
    judged_difference,
    judged_rate,
    prediction_powered,
)

#: Whether a stratum is of coherent replies, of the others, or of both.
_COHERENCE = {None: "", True: ", coherent", False: ", not coherent"}


@guarded(AnalysisError)
@attrs.frozen
class JudgedStratum:
    """One arm, or its coherent or incoherent replies: what a judge says, and what labels in this very stratum add.

    ``counts`` are the judge's verdicts by concept, ``labelled`` the labelled replies (the judge first, the person
    second). ``corrected`` is the rate corrected by these labels; None where they don't allow it, ``why`` then says why,
    and ``curve`` holds the rate under assumed sensitivities instead. ``powered`` is the prediction-powered rate, which
    needs no assumption on the judge; None without labels, or without replies beyond them.
    """

    name: str
    counts: ConceptCounts
    labelled: PairTable | None
    corrected: Estimate | None
    powered: Estimate | None
    curve: tuple[AtSensitivity, ...] = attrs.field(converter=frozen_tuple)
    why: str = ""

    @property
    def sentence(self) -> str:
        """The stratum in words."""
        judged = f"{self.name}: the judge says {percent(self.counts.rate)} ({self.counts})"
        labels = 0 if self.labelled is None else self.labelled.n
        if self.corrected is not None:
            c = self.corrected
            also = ""
            if self.powered is not None:
                p = self.powered
                also = f"; without assuming anything of the judge {percent(p.estimate)} ({bounds(p.low, p.high)})"
            return (
                f"{judged}; corrected for its error on {labels:,} labelled replies of these "
                f"{percent(c.estimate)} ({bounds(c.low, c.high)}, {c.estimand}){also}."
            )
        told = "; ".join(
            f"{percent(at.rate)} ({bounds(at.low, at.high)}) if it finds {percent(at.sensitivity)}" for at in self.curve
        )
        return (
            f"{judged}; {labels:,} labels there do not tell how many true cases it finds. Without false positives the "
            f"rate on these concepts is {told}."
        )


@guarded(AnalysisError)
@attrs.frozen
class JudgedOutcome:
    """A criterion's rates by stratum, and what the judge's error leaves of the injected arm against the controls.

    ``difference`` and ``d_prime`` are corrected with each arm's own labels: sensitivity on garbled injected text is not
    that on controls. They are None where an arm has no labels of both kinds; ``why`` says so.
    """

    criterion: str
    strata: tuple[JudgedStratum, ...] = attrs.field(converter=frozen_tuple)
    difference: Estimate | None
    d_prime: Estimate | None
    why: str = ""

    def __getitem__(self, name: str) -> JudgedStratum:
        for stratum in self.strata:
            if stratum.name == name:
                return stratum
        raise AnalysisError(explain("name", required=f"one of {[s.name for s in self.strata]}", got=name, hint=""))

    @property
    def sentences(self) -> tuple[str, ...]:
        """What can be said, each stratum and then the comparison."""
        both = [e.sentence for e in (self.difference, self.d_prime) if e is not None]
        return (*(s.sentence for s in self.strata), *both, *([self.why] if self.why else []))


@attrs.frozen
class _Row:
    """One reply: its arm and coherence, its concept, what the judge says, and what a person does (None: no label)."""

    arm: str
    coherent: bool
    concept: str
    said: bool
    known: bool | None


@checked(AnalysisError)
def judge_error(
    results: Results,
    known: Mapping[str, Verdict],
    *,
    criterion: str = "affirmative",
    judge: str | None = None,
    rubric: str | None = None,
    sensitivities: Sequence[float] = (0.5, 0.7, 0.9, 1.0),
    confidence: float = 0.95,
) -> JudgedOutcome:
    """Return a criterion's rates with the judge's error in them, from a run and verdicts that are held to be right.

    Args:
        results: the run, judged; where a part of it confirms, that part counts.
        known: a person's verdicts by trial digest, on replies drawn at random without regard to the judge's verdicts
            (``introspection-bench label``; :func:`introspection_bench.judges.labels.comparable` makes the mapping).
        criterion: a criterion of both rubrics, or ``strict``. "Not applicable" counts as not met.
        judge: whose verdicts; needed where the run has several.
        rubric: of which rubric.
        sensitivities: what is assumed of the judge where the labels of a stratum don't tell.
        confidence: of all intervals.

    Returns:
        Every arm, and its coherent and its other replies where it has both (by the judge). A stratum is corrected by
        its own labels alone (:func:`judged_rate`); a pooled correction is not made.

    Raises:
        AnalysisError: no scored verdict, or an argument out of range.
    """
    check_probability("confidence", confidence)
    results = results.of_part()
    verdicts = {t: v for t, v in verdicts_of(results.records, judge, rubric).items() if v.unscored is None}
    rows = [
        _Row(
            r.arm,
            v.answer("coherent") is True,
            r.condition.concept or "",
            v.outcome(criterion) is True,
            told.outcome(criterion) is True if told is not None and told.unscored is None else None,
        )
        for r in results.records
        if r.repeat_of is None and (v := verdicts.get(r.key.digest)) is not None
        for told in [known.get(r.key.digest)]
    ]
    if not rows:
        raise AnalysisError(
            explain("results", required="replies that the judge scored", got="none", hint="Judge the run first.")
        )
    strata = [
        _stratum(arm + _COHERENCE[part], chosen, sensitivities, confidence)
        for arm in ordered(row.arm for row in rows)
        for part in (None, True, False)
        if (chosen := _of(rows, arm, part))
    ]
    return JudgedOutcome(criterion, strata, *_compared(strata, confidence))


def _of(rows: Iterable[_Row], arm: str, part: bool | None) -> list[_Row]:
    """Return an arm's rows; its coherent or other ones where it has both."""
    mine = [row for row in rows if row.arm == arm]
    if part is None:
        return mine
    chosen = [row for row in mine if row.coherent is part]
    return [] if len(chosen) == len(mine) else chosen


def _stratum(name: str, rows: Sequence[_Row], sensitivities: Sequence[float], confidence: float) -> JudgedStratum:
    counts, table = _counts(rows), _table(rows)
    beyond = [row for row in rows if row.known is None]
    powered = corrected = None
    curve: Sequence[AtSensitivity] = ()
    why = "no labels there"
    if table is not None:
        if beyond:
            powered = prediction_powered(sum(r.said for r in beyond), len(beyond), table, confidence=confidence)
        try:
            corrected = judged_rate(counts, _accuracy(table), confidence=confidence)
        except AnalysisError as error:
            why = str(error)
    if corrected is None:
        curve = curve_over_sensitivity(counts, sensitivities, confidence=confidence)
    return JudgedStratum(name, counts, table, corrected, powered, curve, "" if corrected is not None else why)


def _compared(strata: Iterable[JudgedStratum], confidence: float) -> tuple[Estimate | None, Estimate | None, str]:
    """Return difference and d′ of the injected arm and the controls, or why there are none."""
    arms = {s.name: s for s in strata if s.name in (INJECTED, CONTROL)}
    if len(arms) < 2:
        return None, None, ""
    injected, control = arms[INJECTED], arms[CONTROL]
    if injected.corrected is None or control.corrected is None or not (injected.labelled and control.labelled):
        without = [s.name for s in (injected, control) if s.corrected is None]
        return None, None, (
            f"Difference and d′ are not corrected: the labels on {' and on '.join(without)} do not tell how many true "
            "cases the judge finds there, and another arm's need not hold."
        )  # fmt: skip
    judges = _accuracy(injected.labelled), _accuracy(control.labelled)
    return (
        judged_difference(injected.counts, control.counts, judges[0], second_judge=judges[1], confidence=confidence),
        judged_d_prime(injected.counts, control.counts, judges[0], noise_judge=judges[1], confidence=confidence),
        "",
    )


def _counts(rows: Iterable[_Row]) -> ConceptCounts:
    by: dict[str, list[bool]] = {}
    for row in rows:
        by.setdefault(row.concept, []).append(row.said)
    return ConceptCounts([sum(said) for said in by.values()], [len(said) for said in by.values()])


def _table(rows: Iterable[_Row]) -> PairTable | None:
    pairs = [(row.said, row.known) for row in rows if row.known is not None]
    cells = [pairs.count(cell) for cell in ((True, True), (True, False), (False, True), (False, False))]
    return PairTable(*cells) if pairs else None


def _accuracy(table: PairTable) -> JudgeAccuracy:
    return JudgeAccuracy(table.both, table.both + table.second_only, table.neither, table.neither + table.first_only)
