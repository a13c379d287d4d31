"""A judge against verdicts that are known: people's labels, or those that the replies came with. Records nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..analysis.accuracy import Assessment, assess
from ..analysis.agreement import verdicts_of
from ..boundaries import checked
from ..concepts import ConceptSet, load_concepts
from ..errors import ResultsFormatError, SpecError, explain
from ..judges.base import Case, Judge, verdicts_on
from ..judges.cases import file_case_maker
from ..judges.labels import comparable, read_labels
from ..judges.registry import open_judge
from ..results import Results
from ..trials import TrialRecord
from ..verdicts import Part, Verdict
from .judging import OnVerdict, case_maker
from .store import Store


@checked(SpecError)
def judge_accuracy(
    judge: str | Judge,
    replies: Store | Results,
    labels: str | Path | None = None,
    *,
    labeller: str | None = None,
    concepts: str | ConceptSet | None = None,
    part: Part = "answer",
    on_verdict: OnVerdict | None = None,
) -> Assessment:
    """Return how far a judge agrees with what is known of replies, and their rates corrected for its error.

    Args:
        judge: a judge, or its name. It judges every reply; nothing is recorded.
        replies: a run's store, or results from a file.
        labels: a labels file on some of the replies (docs/labelling.md). None: the judge is compared with the verdicts
            that the replies came with, of several judges with those of the one that gave the most.
        labeller: whose labels, where the file holds several persons'.
        concepts: for results from a file: the concept set whose names they use.
        part: what of a reply is judged.
        on_verdict: called with each verdict.

    Raises:
        SpecError: results without ``concepts``, or a store with them.
        ResultsFormatError: labels that can't be read or answer other questions than the judge; replies without verdicts
            where no labels are given; an unknown concept.
        AnalysisError: the judge scored no reply whose verdict is known.
        JudgeError: the judge can't work at all.
    """
    judge = open_judge(judge)
    records = replies.records() if isinstance(replies, Store) else list(replies.records)
    case_of = _case_maker(judge, replies, concepts, part)
    there = None if labels is None else read_labels(labels)  # before anything is paid for
    known = _came_with(records) if there is None else {}
    cases = [case_of(record) for record in records]
    judged: dict[str, Verdict] = {}
    for index, verdict in verdicts_on(judge, cases):
        judged[cases[index].trial] = verdict
        if on_verdict is not None:
            on_verdict(verdict)
    if there is not None:
        judged, known = comparable(judged, there, labeller=labeller)
    return assess(judged, known)


def _case_maker(
    judge: Judge, replies: Store | Results, concepts: str | ConceptSet | None, part: Part
) -> Callable[[TrialRecord], Case]:
    if isinstance(replies, Store) != (concepts is None):
        raise SpecError(
            explain(
                "concepts",
                required="none beside a run's store, which has its own, and a concept set for results from a file",
                got=concepts,
                hint="As in concepts='pairs'.",
            )
        )
    if isinstance(replies, Store):
        return case_maker(replies, blinded=judge.blinded, part=part)
    known = concepts if isinstance(concepts, ConceptSet) else load_concepts(str(concepts))
    return file_case_maker(replies.records, known, blinded=judge.blinded, part=part)


def _came_with(records: list[TrialRecord]) -> dict[str, Verdict]:
    names = Results("replies", records).judges
    if not names:
        raise ResultsFormatError(
            explain(
                "labels",
                required="a labels file, or replies that came with verdicts",
                got="no labels, and replies without verdicts",
                hint="Label some: 'introspection-bench label RUN'.",
            )
        )
    return verdicts_of(records, names[0].judge, names[0].rubric)
