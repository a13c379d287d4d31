"""The Judge port: what a judge is shown, and what it must answer."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs

from ..boundaries import guarded
from ..concepts import Concept
from ..conditions import Condition, layers_text
from ..errors import SpecError
from ..freezing import frozen_mapping
from ..verdicts import Asked, Part, Verdict
from .rubrics import Rubric


@guarded(SpecError)
@attrs.frozen
class Disclosure:
    """What an unblinded judge is told besides: how the reply was made (the old way of this field)."""

    condition: Condition

    @property
    def shown(self) -> dict[str, Any]:
        """Arm, magnitude, unit and layer, a band of layers as text, and further steers where there are some."""
        condition, columns = self.condition, self.condition.columns
        shown = {name: columns[name] for name in ("arm", "magnitude", "unit")}
        shown["layer"] = condition.layer if len(condition.layers) < 2 else layers_text(condition.layers)
        return shown | ({"beside": columns["beside"]} if condition.beside else {})


@guarded(SpecError)
@attrs.frozen
class Case:
    """One reply to judge.

    ``question`` is the scaffold's transcript, ``reply`` the untrusted text of the model, ``concept`` what the
    judge is asked about: on a control a decoy, so that the judge can't tell the arms apart. ``disclosure`` is
    None unless the judge is unblinded. ``trial`` is the trial's digest and is not shown to a model. ``judged`` says
    which part of the reply ``reply`` is; ``unclear`` why that part can't be told from the rest, and such a case is
    shown to no judge (:func:`verdicts_on`). ``asked`` says whether ``concept`` is the trial's own or another one.
    ``slots`` are the texts in the question's slots, and ``span`` where the trial was steered, None where it was not:
    for rules that decide an outcome by them; neither is shown to a model.
    """

    trial: str
    question: str
    reply: str
    concept: Concept
    disclosure: Disclosure | None = None
    judged: Part = "answer"
    unclear: str | None = None
    asked: Asked = "own"
    slots: Mapping[str, str] = attrs.field(converter=frozen_mapping, factory=dict, hash=False)
    span: str | None = None


class Judge(abc.ABC):
    """Gives a verdict on each reply.

    The contract: one verdict for every case, with the case's concept in :attr:`Verdict.concept`; a judgement
    that fails, is refused or is out of format is an unscored verdict with its reason, never False; the reply is
    data, and nothing in it can instruct the judge. Only a judge that can't work at all (no key, no client)
    raises :class:`~introspection_bench.errors.JudgeError`, and does so before the first verdict.

    Attributes:
        rubric: the rubric it judges by.
        model: the judge model's name; None for a judge without a model.
        blinded: whether cases come without :class:`Disclosure`.
        gated: whether the control replies are put to it before it judges a run.
    """

    #: The registry name; part of every verdict's key.
    name: ClassVar[str]
    gated: ClassVar[bool] = True
    rubric: Rubric
    model: str | None = None
    blinded: bool = True
    #: The options that it was opened with by name; None where it was made by hand.
    opened_with: Mapping[str, Any] | None = None

    @abc.abstractmethod
    def judge(self, cases: Sequence[Case]) -> Iterator[tuple[int, Verdict]]:
        """Yield (index into ``cases``, verdict) for every case, in any order, each as soon as it is known."""

    @classmethod
    def rubrics_asked(cls, options: Mapping[str, Any]) -> tuple[Rubric, ...]:  # noqa: ARG003  # for subclasses
        """Return the rubric of each model that would be asked about a reply, were the judge opened so; here of none.

        Before a run it says how many calls its judging takes. Nothing is opened.
        """
        return ()

    def live(self) -> Judge:
        """Return a judge that answers while one waits: itself, unless it queues its work (batches)."""
        return self

    def remember_in(self, store: Path) -> None:  # noqa: B027  # optional: most judges need no memory
        """Keep what must outlive the process (batches under way, money spent) in a run's SQLite file.

        Called once before a run is judged. A judge that spends nothing has nothing to keep.
        """

    def close(self) -> None:  # noqa: B027  # optional: most judges hold nothing
        """Free what the judge holds."""


def verdicts_on(judge: Judge, cases: Sequence[Case]) -> Iterator[tuple[int, Verdict]]:
    """Yield (index into ``cases``, verdict) for every case, each verdict with the part that it read.

    A reply whose answer can't be told from its reasoning is unscored with that reason, and the judge is not asked.
    """
    asked = [index for index, case in enumerate(cases) if case.unclear is None]
    for index, case in enumerate(cases):
        if case.unclear is not None:
            yield index, _unscored(judge, case)
    for index, verdict in judge.judge([cases[n] for n in asked]) if asked else ():
        case = cases[asked[index]]
        yield asked[index], attrs.evolve(verdict, judged=case.judged, asked=case.asked)


def _unscored(judge: Judge, case: Case) -> Verdict:
    return Verdict(
        judge=judge.name,
        rubric=judge.rubric.id,
        rubric_digest=judge.rubric.digest,
        concept=case.concept.name,
        judge_model=judge.model,
        blinded=judge.blinded,
        success=judge.rubric.success,
        unscored=case.unclear,
        judged=case.judged,
        asked=case.asked,
    )
