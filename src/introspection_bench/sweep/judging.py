"""The judging stage: every recorded reply, one verdict per judge. It never generates anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cache

import attrs
import cattrs

from ..boundaries import checked
from ..concepts import Concept
from ..digests import digest
from ..errors import JudgeError, SpecError, StoreError, explain
from ..items import Item, named
from ..judges.base import Case, Judge, verdicts_on
from ..judges.cases import Question, case_of
from ..judges.gate import check_judge
from ..judges.registry import open_judge
from ..notebook import Bars, bars, stepping
from ..scaffolds import Scaffold
from ..structuring import strict_converter
from ..trials import TrialRecord
from ..verdicts import Asked, Part, Verdict, verdict_key
from .locks import RunLock, hold
from .manifest import write_manifest
from .sessions import this_process
from .store import Store

#: Called with each verdict as soon as it is recorded.
OnVerdict = Callable[[Verdict], None]


@attrs.frozen
class JudgingSummary:
    """What one judging stage did: ``judged`` new verdicts, of which ``unscored``; ``kept`` were there already."""

    judge: str
    rubric: str
    judged: int
    unscored: int
    kept: int
    cost_usd: float


@checked(SpecError)
def judge_run(
    store: Store,
    judge: str | Judge,
    *,
    retry_unscored: bool = False,
    check: bool = True,
    part: Part = "answer",
    asked: Asked = "own",
    on_verdict: OnVerdict | None = None,
    progress: bool | Bars = True,
) -> JudgingSummary:
    """Judge every recorded reply that this judge, rubric and judge model has no verdict on.

    On controls, and on random vectors, the judge is asked about a decoy drawn from the run's own concepts by the
    trial's digest, so that a blinded judge can't tell the arms apart and the strict false-positive rate is measured.
    Each verdict is recorded in a transaction of its own. ``retry_unscored`` judges again what failed before. ``check``
    has the judge pass the control replies first, if there is anything to judge. ``part`` is what is judged: the answer
    alone, or the whole reply with the model's reasoning; where the answer can't be told from the reasoning, the verdict
    on it is unscored with that reason. ``asked`` "mismatched" gives each trial a second verdict: whether its reply
    names another concept of the run, drawn by the trial's digest; how often it does is what naming comes to without any
    match. A notebook shows a bar, unless ``progress`` is False. Raises
    :class:`~introspection_bench.errors.ConceptError` where there is no other, and :class:`JudgeError` where the judge
    fails them or can't work at all, and :class:`~introspection_bench.errors.RunLockedError` where another process has
    the run judged by the same judge.
    """
    judge = open_judge(judge)
    with _judging(store, judge, part, asked) as lock:
        pending, kept = pending_cases(store, judge, retry_unscored=retry_unscored, part=part, asked=asked)
        with bars(progress).bar(f"verdicts by {judge.name}", kept, kept + len(pending)) as bar:
            tell = stepping(bar, on_verdict)
            return _judge_pending(store, judge, lock, pending, kept=kept, check=check, on_verdict=tell)


def _judging(store: Store, judge: Judge, part: Part, asked: Asked) -> AbstractContextManager[RunLock]:
    """Hold the lock of this judge on this run: two processes would pay twice for what one of them records."""
    identity = digest("judging", 1, [judge.name, judge.rubric.digest, judge.model, judge.blinded, part, asked])
    return hold(store.directory, f"judge-{identity[:12]}", f"judges by {judge.name}")


def _judge_pending(
    store: Store,
    judge: Judge,
    lock: RunLock,
    pending: Sequence[Case],
    *,
    kept: int,
    check: bool,
    on_verdict: OnVerdict | None,
) -> JudgingSummary:
    asked = any(case.unclear is None for case in pending)
    if asked:
        judge.remember_in(store.path)
    if check and asked and judge.gated:
        check_judge(judge)
    if pending:
        store.begin_session(this_process("judge", judge))
        write_manifest(store)
    judged = unscored = 0
    cost = 0.0
    for index, verdict in verdicts_on(judge, pending):
        case = pending[index]
        if verdict.concept != case.concept.name:
            raise JudgeError(
                explain(
                    f"judge {judge.name!r}",
                    required=f"a verdict on the concept asked about, {case.concept.name!r}",
                    got=verdict.concept,
                    hint="The judge mixed up its cases; the verdict was not recorded.",
                )
            )
        lock.check()
        store.add_verdict(case.trial, verdict)
        judged += 1
        unscored += verdict.unscored is not None
        cost += verdict.cost_usd or 0.0
        if on_verdict is not None:
            on_verdict(verdict)
    return JudgingSummary(judge.name, judge.rubric.name, judged, unscored, kept, cost)


def pending_cases(
    store: Store, judge: Judge, *, retry_unscored: bool = False, part: Part = "answer", asked: Asked = "own"
) -> tuple[list[Case], int]:
    """Return the cases that the judge still has to judge, and how many verdicts it has already given."""
    make = case_maker(store, blinded=judge.blinded, part=part, asked=asked)
    there = store.verdict_keys(scored_only=retry_unscored)
    cases, pending = 0, []
    for record in store.records():
        case = make(record)
        cases += 1
        if _key(case, judge) not in there:
            pending.append(case)
    return pending, cases - len(pending)


def case_maker(
    store: Store, *, blinded: bool = True, part: Part = "answer", asked: Asked = "own"
) -> Callable[[TrialRecord], Case]:
    """Return the function that makes of one of the run's records what a judge is shown of it.

    Whoever judges a run's replies, or labels them, makes the cases by it.
    """
    concepts, question_of, items = run_concepts(store), run_questions(store), _run_items(store)

    def make(record: TrialRecord) -> Case:
        # A question that is known at all is known with its items: run_questions raises for one without.
        question, item = question_of(record), record.trial.item
        slots = named(item, items).slots if item is not None and items else None
        return case_of(record, concepts, question, blinded=blinded, part=part, asked=asked, slots=slots)

    return make


def _key(case: Case, judge: Judge) -> str:
    return verdict_key(
        case.trial,
        judge.name,
        judge.rubric.digest,
        judge.model,
        concept=case.concept.name,
        blinded=judge.blinded,
        judged=case.judged,
    )


def run_concepts(store: Store) -> Sequence[Concept]:
    """Return the concepts that a run's judges are asked about."""
    told = store.spec()["design"]["concepts"]
    try:
        further = store.spec().get("further", {}).get("concepts", [])
        return _CONVERTER.structure([*([] if told is None else told["concepts"]), *further], list[Concept])
    except (cattrs.BaseValidationError, KeyError, TypeError, ValueError) as error:
        raise StoreError(
            explain(str(store.path), required="the run's concepts", got=str(error), hint="The store is damaged.")
        ) from error


def run_questions(store: Store) -> Question:
    """Return the function that says what a record's model was asked, as judges are shown it: slots filled."""
    design = store.spec()["design"]
    further = store.spec().get("further", {})
    scaffolds = {s["name"]: s for s in [*further.get("scaffolds", []), *design["scaffolds"]]}
    items = _run_items(store)

    @cache
    def question(scaffold: str, item: str | None) -> str:
        told = scaffolds[scaffold]
        if item is None or "turns" not in told:  # of results read from elsewhere no more is known
            return str(told["transcript"])
        return _CONVERTER.structure(told, Scaffold).fill(named(item, items)).transcript

    def of(record: TrialRecord) -> str:
        try:
            return question(record.scaffold, record.trial.item)
        except (KeyError, cattrs.BaseValidationError) as error:
            raise StoreError(
                explain(
                    f"{store.path}: {record.trial}",
                    required=f"one of the run's scaffolds {sorted(scaffolds)} and items {sorted(items)}",
                    got=f"{record.scaffold}, {record.trial.item}",
                    hint="The store is damaged.",
                )
            ) from error

    return of


def _run_items(store: Store) -> dict[str, Item]:
    """Return what fills the slots of a run's scaffolds, by name: the design's items and those of its arms."""
    spec = store.spec()
    told = [*spec.get("further", {}).get("items", []), *spec["design"].get("items", [])]
    try:
        return {i.name: i for i in _CONVERTER.structure(told, list[Item])}
    except (cattrs.BaseValidationError, TypeError, ValueError) as error:
        raise StoreError(
            explain(str(store.path), required="the run's items", got=str(error), hint="The store is damaged.")
        ) from error


_CONVERTER = strict_converter(forbid_extra_keys=False)
