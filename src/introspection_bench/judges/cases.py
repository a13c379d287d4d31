"""What judges are shown of recorded trials: runs and results files alike make their cases here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ..concepts import Concept
from ..errors import ResultsFormatError, explain
from ..scaffolds import BUILTIN
from ..trials import TrialRecord
from ..verdicts import Asked, Part
from .base import Case, Disclosure
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
    asked: Asked = "own",
    slots: Mapping[str, str] | None = None,
) -> Case:
    """Return what a judge is shown of one record.

    ``concepts`` are the run's, or the file's: the one asked about is among them. ``slots`` are the texts in the slots
    of its question, where these are known. Raises what
    :func:`~introspection_bench.judges.blinding.asked_about` raises.
    """
    text, unclear = record.reply.to_judge(part)
    disclosure = None if blinded else Disclosure(record.condition)
    concept = asked_about(record, concepts, asked)
    return Case(
        record.key.digest, question, text, concept, disclosure, part, unclear, asked, slots or {}, record.condition.span
    )


def file_case_maker(
    records: Sequence[TrialRecord], concepts: Iterable[Concept], *, blinded: bool = True, part: Part = "answer"
) -> Callable[[TrialRecord], Case]:
    """Return the function that makes cases of the records of a results file.

    Of ``concepts``, those that the records name are used, also as decoys. What was asked is known of built-in scaffolds
    alone. Raises what :func:`concepts_of` raises.
    """
    own = concepts_of(records, concepts)
    return lambda record: case_of(record, own, built_in_question(record), blinded=blinded, part=part)


def concepts_of(records: Iterable[TrialRecord], concepts: Iterable[Concept]) -> list[Concept]:
    """Return those of some concepts that records name; raises :class:`ResultsFormatError` for one that is missing."""
    known = {concept.name: concept for concept in concepts}
    told = (name for r in records for name in (r.concept, r.condition.asked) if name is not None)
    names = list(dict.fromkeys(told))
    missing = [name for name in names if name not in known]
    if missing or not names:
        raise ResultsFormatError(
            explain(
                "concepts",
                required=f"a concept set with {names or 'the concepts of these results'}",
                got=f"one without {missing}",
                hint="Name the set, or a TOML file with these concepts (the docs' page concepts).",
            )
        )
    return [known[name] for name in names]
