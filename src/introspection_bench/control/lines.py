"""What a control found, line by line, and how often it decides wrongly."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ..analysis import interval
from ..boundaries import guarded
from ..errors import AnalysisError
from ..freezing import frozen_tuple
from .expecting import Count, Decided, Member


@guarded(AnalysisError)
@attrs.frozen
class Line:
    """One expectation: of which model, what was found, and whether that is as expected."""

    member: str
    expected: str
    found: str
    holds: bool


@guarded(AnalysisError)
@attrs.frozen
class Control:
    """What a control found on the whole cast.

    ``said`` has for each model the verdicts in words on what would explain its reports away.
    """

    lines: tuple[Line, ...] = attrs.field(converter=frozen_tuple)
    said: tuple[tuple[str, tuple[str, ...]], ...] = attrs.field(converter=frozen_tuple, default=())

    @property
    def passed(self) -> bool:
        """Whether the instrument saw the introspector and was fooled by no other."""
        return bool(self.lines) and all(line.holds for line in self.lines)

    @property
    def failed(self) -> tuple[Line, ...]:
        """The lines that are not as expected."""
        return tuple(line for line in self.lines if not line.holds)


def of_count(member: Member, count: Count, met: int, scored: int) -> Line:
    """Return the line of a count; trials that the judge did not score count against what is expected."""
    rate = interval(met, scored) if scored else None
    lacking = count.n - scored
    against = met if count.least is not None else met + lacking
    told = f"{met} of {scored}" + (f", {lacking} unscored" if lacking else "")
    told += f" ({100 * rate.low:.0f} to {100 * rate.high:.0f} %)" if rate else ""
    return Line(member.name, str(count), told, count.holds(against))


def of_decided(member: Member, decided: Decided, found: str, sentence: str) -> Line:
    """Return the line of a rule's decision."""
    return Line(member.name, str(decided), f"{found}: {sentence}" if sentence else found, found in decided.among)


def errors(cast: Iterable[Member]) -> tuple[float, float]:
    """Return how often the exit status is wrong by chance: a right instrument fails, or a wrong one passes.

    The first is the sum over all counts; the second the largest over what one failing alone must show. Decisions of
    rules are taken at a confidence of 99.9 % each, which bounds theirs (docs/control.md).
    """
    counts = [count for member in cast for count in member.counts]
    return sum(c.wrongly_failed for c in counts), max((c.wrongly_passed for c in counts), default=0.0)
