"""Arms that inject the concepts' vectors, and the one that does nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import attrs

from ...boundaries import guarded
from ...conditions import CONTROL, INJECTED, NEGATED, PROMPT_ONLY, REMOVED
from ...errors import SpecError
from ...spans import START, Span
from ...vectors import ConceptVector
from .base import Arm, ArmTrial, Cell, Over, check_n


@guarded(SpecError)
@attrs.frozen
class Injected(Arm):
    """A concept's vector is injected: yes is right.

    ``concepts`` ``each``: n trials for every concept; ``spread``: n in all, the concepts in seeded balanced order.
    """

    name: ClassVar[str] = INJECTED
    n: int = attrs.field(validator=check_n)
    concepts: Over = "each"

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the trials."""
        return cell.injected(self.n, self.concepts)


@guarded(SpecError)
@attrs.frozen
class Unsteered(Arm):
    """Nothing is done, once for each scaffold: yes is a false alarm."""

    name: ClassVar[str] = CONTROL
    n: int = attrs.field(validator=check_n)

    @property
    def dosed(self) -> bool:
        """There is no dose."""
        return False

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:  # noqa: ARG002  # the port's signature
        """Yield the trials."""
        for _ in range(self.n):
            yield ArmTrial(None)


@guarded(SpecError)
@attrs.frozen
class Negated(Arm):
    """The concept's vector is injected with its sign turned; judges are asked about the concept."""

    name: ClassVar[str] = NEGATED
    n: int = attrs.field(validator=check_n)
    concepts: Over = "each"

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the trials."""
        return cell.injected(self.n, self.concepts, ConceptVector.__neg__)


@guarded(SpecError)
@attrs.frozen
class PromptOnly(Arm):
    """As :class:`Injected`, but no token of the reply is steered: what is named was read, not steered into the text."""

    name: ClassVar[str] = PROMPT_ONLY
    n: int = attrs.field(validator=check_n)
    concepts: Over = "each"

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the trials."""
        return cell.injected(self.n, self.concepts, span=cell.span.in_prompt)


@guarded(SpecError)
@attrs.frozen
class Removed(Arm):
    """The concept's vector is injected on the earlier turns alone: from ``since`` up to the anchor ``at``, without it.

    What was steered stays in keys and values; nothing is steered from there on. ``since`` is an anchor, by default the
    prompt's first token. The design's span does not matter.
    """

    name: ClassVar[str] = REMOVED
    n: int = attrs.field(validator=check_n)
    at: str = "trial"
    since: str = START
    concepts: Over = "each"

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the trials."""
        return cell.injected(self.n, self.concepts, span=Span.between(self.since, self.at))
