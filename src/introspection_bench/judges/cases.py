"""What judges are shown of recorded trials: runs and results files alike make their cases here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..boundaries import checked
from ..concepts import Concept
from ..errors import JudgeError, UnknownNameError, explain
from ..results import Results
from ..scaffolds import BUILTIN
from ..trials import TrialRecord
from ..verdicts import Part, Verdict
from .base import Case, Disclosure, Judge, verdicts_on
from .blinding import asked_about

#: What a judge is shown as the question where a source does not quote its prompts.
UNKNOWN_QUESTION = "(The source of these results does not quote the prompt.)"
#: What a record's model was asked, as judges are shown it.
Question = Callable[[TrialRecord], str]


def built_in_question(record: TrialRecord) -> str:
    """Return the transcript of a built-in scaffold; of another one's name alone the question is not known."""
    scaffold = BUILTIN.get(record.scaffold)
    return UNKNOWN_QUESTION if scaffold is None else scaffold.transcript


def case_of(
    record: TrialRecord,
    concepts: Sequence[Concept],
    question: str,
    *,
    blinded: bool = True,
    part: Part = "answer",
) -> Case:
    """Return what a judge is shown of one record.

    ``concepts`` are the run's, or the file's: the one asked about is among them. Raises what
    :func:`~introspection_bench.judges.blinding.asked_about` raises.
    """
    text, unclear = record.reply.to_judge(part)
    disclosure = None if blinded else Disclosure(record.condition)
    return Case(record.key.digest, question, text, asked_about(record, concepts), disclosure, part, unclear)


@checked(JudgeError)
def judge_results(
    results: Results,
    judge: Judge,
    concepts: Iterable[Concept],
    *,
    part: Part = "answer",
    question_of: Question = built_in_question,
) -> dict[str, Verdict]:
    """Return a judge's verdict on every reply, by trial; nothing is recorded.

    Args:
        results: of a run, or read from anywhere.
        judge: who judges.
        concepts: what judges may be asked about; of these, the ones that the results name are used, also as decoys.
        part: what of a reply is judged.
        question_of: what each record's model was asked; by default known of built-in scaffolds alone.

    Raises:
        UnknownNameError: the results name a concept that is not among ``concepts``.
    """
    known = {concept.name: concept for concept in concepts}
    told = (name for r in results for name in (r.condition.concept, r.condition.asked) if name is not None)
    names = list(dict.fromkeys(told))
    missing = [name for name in names if name not in known]
    if missing:
        raise UnknownNameError(
            explain(
                "concepts",
                required=f"the concepts of {results.name}, {names}",
                got=f"none called {missing}",
                hint="Name the set, or a TOML file with these concepts (docs/concepts.md).",
            )
        )
    own = [known[name] for name in names]
    cases = [case_of(r, own, question_of(r), blinded=judge.blinded, part=part) for r in results]
    return {cases[index].trial: verdict for index, verdict in verdicts_on(judge, cases)}
