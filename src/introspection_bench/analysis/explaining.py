"""What would explain a positive result away: a verdict in words, by stated rules, for noticing and for naming apart.

Each rule takes what remains of the result beside one other explanation, a difference of rates, and decides by its
interval: the explanation *holds* where less than the margin remains, it is *excluded* where something does, and between
them nothing is decided. docs/explaining_rules.md has every rule with its threshold.
"""

from __future__ import annotations

import attrs
import pandas as pd

from ..boundaries import checked, guarded
from ..conditions import INJECTED
from ..effects import Effects
from ..errors import AnalysisError
from ..freezing import frozen_tuple
from ..results import Results, frame_of
from ..untrusted import encodable
from .arms_compared import counted
from .binomial import check_probability
from .explaining_alone import dose, mismatched_names, observer, parrot, reads_out
from .explaining_beside import own_direction, simple_answers
from .explaining_rules import OUTCOMES, RULES, Evidence, Rule, Task
from .finding import THESE_ALONE, Decision, Finding, decided, remaining
from .intervals import Estimate, same_as_zero
from .live import LIVE_BY
from .selection import require_columns

NOTHING_EXPLAINS = "nothing here explains it away"
#: Decisions on simple answers that a null is read with; where they break, the verdict says so already.
_OF_NULL = ("excluded", "not decided")
_VERB = {"detection": "affirms", "naming": "names the concept"}


@guarded(AnalysisError)
@attrs.frozen
class Explained:
    """All findings on one task, and what they come to.

    ``rate`` is the injected trials' own (these concepts); ``silent`` that it lies below the margin, so that there is
    nothing to explain. ``beside`` are findings that explain no positive result and are to be read with it: whether the
    dose breaks simple answers, and what a direction carries.
    """

    task: Task
    rate: Estimate
    silent: bool
    findings: tuple[Finding, ...] = attrs.field(converter=frozen_tuple)
    beside: tuple[Finding, ...] = attrs.field(default=(), converter=frozen_tuple)

    @checked(AnalysisError)
    def decided(self, decision: Decision) -> tuple[Finding, ...]:
        """Return the findings with this decision, without those beside."""
        return tuple(f for f in self.findings if f.decision == decision)

    @property
    def clean(self) -> bool:
        """Whether every rule was run and decided, and none explains the result."""
        return not self.silent and all(f.decision == "excluded" for f in self.findings)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The verdict in words; empty where nothing is decided against the result and something is open or missing."""
        if self.silent:
            never = {"detection": "hardly ever affirms a thought", "naming": "hardly ever names the concept"}[self.task]
            broken = (f.sentence for f in (*self.findings, *self.beside) if f.decision == "holds")
            return (f"{never} under injection: nothing there to explain", *broken)
        if self.clean:
            beyond = all(f.alike is not False for f in self.findings)
            return (NOTHING_EXPLAINS if beyond else f"{NOTHING_EXPLAINS} {THESE_ALONE}",)
        return tuple(f.sentence for f in self.decided("holds"))

    @property
    def sentences(self) -> tuple[str, ...]:
        """The verdict, then what is not decided and what was not run, as sentences."""
        what = self.task.capitalize()
        said = [f"{what}: {verdict}." for verdict in self.verdicts]
        missing = "; ".join(f.sentence for f in self.decided("not run"))
        if self.silent:
            missing = "; ".join(f.sentence for f in (*self.findings, *self.beside) if f.decision == "not run")
            said += [f"{what}, beside it: {f.sentence}." for f in self.beside if f.decision in _OF_NULL]
            return (*said, *([f"{what}, not run, so that why is not known: {missing}."] if missing else []))
        said += [f"{what}, not decided: {f.sentence}." for f in self.decided("not decided")]
        said += [f"{what}: the unscored trials could change this: {f.rule}." for f in self.findings if f.open]
        said += [f"{what}, beside it: {f.sentence}." for f in self.beside if _tells(f)]
        if missing:
            said.append(f"{what}, not run, so that nothing is claimed without it: {missing}.")
        return tuple(said)


@checked(AnalysisError)
def explain_away(
    frame: pd.DataFrame | Results,
    answers: pd.DataFrame | None = None,
    effects: Effects | None = None,
    *,
    mismatched: pd.DataFrame | None = None,
    observed: pd.DataFrame | None = None,
    margin: float = 0.1,
    confidence: float = 0.95,
    blinded: bool = True,
    arm: str = INJECTED,
) -> tuple[Explained, ...]:
    """Return what would explain the reports of injected trials away, for detection and for naming apart.

    Args:
        frame: one row per trial (:func:`records_frame`), with verdicts on reports: those of ``strict4``, say.
        answers: the same trials with verdicts on answers by yes or no (the rubric ``yesno``); None where there are
            none, and then the rules on other questions are not run.
        effects: what the doses do to neutral prompts (``Results.effects``); None or empty where that was not measured.
        mismatched: the same trials with the same judge's verdicts on another concept of the run
            (``results.frame(judge, rubric, asked="mismatched")``); None where there are none.
        observed: what a reader of the text names (:func:`beyond_observer`); None where that was not measured.
        margin: the largest difference of rates that counts as none, given before the data.
        confidence: of each interval. Rules are decided one at a time; that all of them exclude their explanations
            needs no adjustment, and that one of several holds is not adjusted for their number.
        blinded: whether the judge did not know what was injected. Where it did, names on controls compare with nothing.
        arm: whose reports they are.

    Returns:
        One for each task whose outcome some trial of the arm is scored for. Cells are matched by model, the design's
        scaffold, layers and the dose asked for.

    Raises:
        AnalysisError: a column is missing, or the margin or confidence is out of range.
    """
    frame = frame_of(frame)
    for name, value in (("margin", margin), ("confidence", confidence)):
        check_probability(name, value)
    require_columns(frame, [*LIVE_BY, "scaffold", "arm", "truth", "asked", "unscored", "trial", *OUTCOMES.values()])
    if answers is not None:
        require_columns(answers, [*LIVE_BY, "scaffold", "arm", "asked", "unscored"])
        answers = answers if "says_yes" in answers.columns else None
    for table, columns in ((mismatched, ["trial", "identifies"]), (observed, ["trial", "observed", "among"])):
        if table is not None:
            require_columns(table, columns)
    evidence = Evidence(frame, answers, effects, mismatched, observed, margin, confidence, blinded, encodable(arm))
    return tuple(found for task in OUTCOMES if (found := _explained(evidence, task)) is not None)


def _explained(evidence: Evidence, task: Task) -> Explained | None:
    mine = counted((evidence.frame, evidence.arm, OUTCOMES[task]))
    if mine is None:
        return None
    none = same_as_zero(mine.counts, evidence.margin, estimand="these concepts", confidence=evidence.confidence)
    silent = none.verdict == "equivalent"
    findings = [] if silent else [_finding(rule, evidence, task) for rule in RULES if task in rule.tasks]
    if task == "naming" and not silent:
        findings += [rule(evidence) for rule in (parrot, mismatched_names, observer, reads_out)]
    if not any(mine.counts.successes):
        findings = [_of_nothing(f, sum(mine.counts.trials)) for f in findings]
    beside = [simple_answers(evidence)] if task == "detection" else []
    beside += [] if silent else own_direction(evidence, task)
    return Explained(task, none.interval, silent, [*findings, dose(evidence, task)], beside)


def _of_nothing(finding: Finding, trials: int) -> Finding:
    """Return what a rule says where no injected trial affirms or names: it can't explain what isn't there."""
    if finding.decision != "holds":
        return finding
    said = f"{finding.rule}: of {trials} injected trials none is such a report, so that it explains nothing yet"
    return attrs.evolve(finding, decision="not decided", sentence=said)


def _unscored(rule: Rule, evidence: Evidence) -> str:
    """Return which of a rule's arms were run and judged in vain, in words."""
    told = []
    for table in (t for t in (evidence.frame, evidence.answers) if t is not None):
        for arm in rule.arms:
            mine = table[table["arm"] == arm]
            if len(mine) and mine["unscored"].notna().all():
                told.append(f"{arm.replace('_', ' ')}: judged, {len(mine)} of {len(mine)} unscored")
    return f" ({'; '.join(told)})" if told else ""


def _finding(rule: Rule, evidence: Evidence, task: Task) -> Finding:
    """Return what a rule says: that of its arms which speaks most for the explanation decides."""
    found = [(arm, c) for arm in rule.arms if (c := rule.remains(evidence, arm, task)) is not None]
    if not found:
        return Finding(rule.name, task, "not run", rule.missing + _unscored(rule, evidence), evidence.margin)
    order: tuple[Decision, ...] = ("holds", "not decided", "excluded")
    arm, compared = min(found, key=lambda each: order.index(decided(each[1])))
    words = rule.holds.format(verb=_VERB[task]), rule.excluded.format(verb=_VERB[task])
    by_arm = [(each, decided(its)) for each, its in found]
    return remaining(rule.name, evidence, task, compared, words=words, arm=arm, by_arm=by_arm)


def _tells(beside: Finding) -> bool:
    """Return whether a finding beside a positive result says something of it: that simple answers hold does not."""
    return beside.decision == "holds" or (beside.rule == "own direction" and beside.decision != "not run")
