"""What the answers to a rubric's questions add up to, whoever gave them: a model, or a person."""

from __future__ import annotations

from collections.abc import Mapping

from .rubrics import Rubric


class OutOfRubricError(ValueError):
    """An answer is not one that the rubric allows; its text is the reason of the unscored verdict."""


def decide(rubric: Rubric, answers: Mapping[str, str]) -> dict[str, bool | None]:
    """Return the answer to each of the rubric's criteria, None where it does not apply.

    Raises :class:`OutOfRubricError` where answers contradict each other by the rubric's rules.
    """
    known = _known(rubric, answers)
    for given, then in rubric.rules.overrules.items():
        known |= then if _stands(given, answers) else {}
    for criterion, base in rubric.rules.applies_only_with.items():
        if known.get(base) == "yes":
            if known.get(criterion) == "n/a":
                raise OutOfRubricError(f"out of rubric: {base} is yes, yet {criterion} is said not to apply")
        elif known.get(criterion) == "yes":
            raise OutOfRubricError(f"out of rubric: {criterion} is yes without {base}")
        else:
            known[criterion] = "n/a"
    for criterion, others in rubric.rules.requires.items():
        for other in others:
            if known.get(criterion) == "yes" and known.get(other) == "no":
                raise OutOfRubricError(f"out of rubric: {criterion} is yes, {other} is no")
    return {criterion: {"yes": True, "no": False}.get(known.get(criterion, "n/a")) for criterion in rubric.criteria}


def _known(rubric: Rubric, answers: Mapping[str, str]) -> dict[str, str]:
    """Return the word of each criterion that was answered or is entailed; raises where two don't agree."""
    known: dict[str, str] = {}
    for call in rubric.calls:
        stated: list[Mapping[str, str]] = [
            {q: answers[q] for q in call.answers if q in rubric.criteria and q in answers}
        ]
        stated += [then for given, then in call.entails.items() if _stands(given, answers)]
        for words in stated:
            for criterion, word in words.items():
                if known.setdefault(criterion, word) != word:
                    raise OutOfRubricError(f"out of rubric: {criterion} is both {known[criterion]!r} and {word!r}")
    return known


def _stands(given: str, answers: Mapping[str, str]) -> bool:
    question, _, word = given.partition("=")
    return answers.get(question) == word
