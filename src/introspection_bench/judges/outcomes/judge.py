"""The judge of outcomes: by rules, without a language model, by what only whoever made the trial knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from types import MappingProxyType
from typing import ClassVar

from ...boundaries import checked
from ...errors import JudgeError, UnknownNameError, explain, meant
from ...verdicts import Verdict
from ..base import Case, Judge
from ..rubrics import Rubric, load_rubric
from .deciding import Answers, located, named, owned, picked, written

#: The rules by the name of their rubric, which is how an outcome is called.
OUTCOMES: Mapping[str, Callable[[Case], Answers]] = MappingProxyType(
    {"picked": picked, "located": located, "named": named, "owned": owned, "written": written}
)
#: Goes into every verdict as its judge model: other rules may give another verdict on the same reply.
VERSION = "outcome/1"


@checked(JudgeError)
def outcome_rubric(outcome: str) -> Rubric:
    """Return the rubric that says what an outcome's answers mean; raises :class:`UnknownNameError` for another name.

    A judge that is a model may follow it, too, but for ``located``, which needs to know where the injection was.
    """
    name = outcome.partition("/")[0]
    if name not in OUTCOMES:
        raise UnknownNameError(
            explain("rubric", required=f"one of {list(OUTCOMES)}", got=outcome, hint=meant(name, OUTCOMES))
        )
    with resources.as_file(resources.files(__package__).joinpath("rubrics", f"{name}.toml")) as path:
        found = load_rubric(path)
    if outcome not in (found.name, found.id):
        raise UnknownNameError(explain("rubric", required=found.id, got=outcome, hint="No other version is there."))
    return found


class OutcomeJudge(Judge):
    """Decides one outcome by a rule over the reply, the words of the question and the place of the injection.

    It is told what the trial's slots were filled with and where it was steered, as no other judge is; what was steered,
    and how strongly, it isn't told either. ``docs/experiments.md`` says what each rule gets wrong. No control reply is
    put to it first: those are labelled by other criteria.

    Raises :class:`UnknownNameError` for an outcome that no rule decides.
    """

    name: ClassVar[str] = "outcome"
    gated: ClassVar[bool] = False
    model = VERSION

    def __init__(self, rubric: str) -> None:
        self.rubric = outcome_rubric(rubric)
        self._decide = OUTCOMES[self.rubric.name]

    def judge(self, cases: Sequence[Case]) -> Iterator[tuple[int, Verdict]]:
        """Yield (index, verdict) for every case, in order."""
        for index, case in enumerate(cases):
            answers, evidence = self._decide(case)
            yield (
                index,
                Verdict(
                    judge=self.name,
                    rubric=self.rubric.id,
                    rubric_digest=self.rubric.digest,
                    concept=case.concept.name,
                    answers=answers,
                    success=self.rubric.success,
                    judge_model=self.model,
                    blinded=self.blinded,
                    evidence=evidence,
                ),
            )
