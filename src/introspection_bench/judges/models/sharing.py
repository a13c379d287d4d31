"""Cases that look the same to a model: judged once, and every one of them gets the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from ...errors import SpecError, explain
from ...verdicts import Verdict
from ..base import Case
from ..rubrics import Rubric
from .interview import Interview
from .prompting import case_text


@attrs.define
class SharedCase:
    """Cases whose requests would be the same, by their indices, and the interview about the first of them."""

    case: Case
    indices: list[int]
    interview: Interview

    def shared(self, verdict: Verdict) -> Iterator[tuple[int, Verdict]]:
        """Yield the verdict for each of the cases."""
        yield self.indices[0], verdict
        for index in self.indices[1:]:
            # The cost stands once, so that the costs of a run's verdicts add up to the bill.
            notes = f"{verdict.notes} Shared with trial {self.case.trial[:12]}, whose reply is the same.".strip()
            yield index, attrs.evolve(verdict, notes=notes, cost_usd=None if verdict.cost_usd is None else 0.0)


def shared_cases(rubric: Rubric, cases: Sequence[Case]) -> list[SharedCase]:
    """Return the cases with those that a model could not tell apart as one."""
    shared: dict[tuple[str, str], SharedCase] = {}
    for index, case in enumerate(cases):
        # A verdict names the concept, so cases that only look the same to the model stay apart.
        key = (case.concept.name, case_text(case))
        if key in shared:
            shared[key].indices.append(index)
        else:
            shared[key] = SharedCase(case, [index], Interview(rubric))
    return list(shared.values())


def check_disclosure(cases: Sequence[Case], *, blinded: bool) -> None:
    """Raise :class:`SpecError` where a case tells a blinded judge how its reply was made, or another one nothing."""
    for case in cases:
        if (case.disclosure is None) != blinded:
            raise SpecError(
                explain(
                    f"case {case.trial[:12]}",
                    required="no disclosure for a blinded judge" if blinded else "a disclosure",
                    got=case.disclosure,
                    hint="Open the judge with blinded=False exactly when cases tell how the reply was made.",
                )
            )
