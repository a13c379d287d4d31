"""Plans that are written down before a run: hypotheses, when it stops, what is left out; and their frozen form."""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import attrs

from .boundaries import checked, guarded
from .digests import digest
from .errors import SpecError, explain
from .freezing import frozen_ints, frozen_mapping, frozen_tuple
from .structuring import plain, strict_converter, worded
from .trials import TrialPart
from .untrusted import parse_json, read_text

#: What a file of a frozen plan says of itself.
FORMAT = "introspection_bench.frozen_plan"
#: Raised with every change of what is frozen, and so of what is hashed.
FORMAT_VERSION = 2
#: Which way a hypothesis says that the first arm lies from the second, or from zero.
Direction = Literal["greater", "less", "different", "equivalent"]
#: Whether the concepts are fixed, or could have been others of the kind.
About = Literal["these concepts", "concepts like these"]


def _check_text(_: object, attribute: attrs.Attribute[Any], value: str) -> None:
    if not value.strip():
        raise SpecError(explain(f"plan.{attribute.name}", required="text", got="none", hint="Say it in a sentence."))


@guarded(SpecError)
@attrs.frozen
class Hypothesis:
    """One hypothesis.

    ``text`` says it in words. ``outcome`` is ``strict`` or a criterion; ``arms`` the arm that it is about, and the one
    that it is compared with, if any; ``estimand`` whether it is about these concepts or concepts like these;
    ``direction`` which way; ``margin``, a difference of rates above 0 and below 1, what counts as equal, needed for
    ``equivalent``. Raises :class:`SpecError`.
    """

    text: str = attrs.field(validator=_check_text)
    outcome: str = attrs.field(validator=_check_text)
    arms: tuple[str, ...] = attrs.field(converter=frozen_tuple)
    estimand: About
    direction: Direction
    margin: float | None = None

    def __attrs_post_init__(self) -> None:
        if len(self.arms) not in (1, 2) or len(set(self.arms)) < len(self.arms):
            raise SpecError(
                explain("hypothesis.arms", required="one arm, or two different ones", got=list(self.arms), hint="")
            )
        fine = self.direction != "equivalent" if self.margin is None else 0 < self.margin < 1
        if not fine:
            raise SpecError(
                explain(
                    "hypothesis.margin",
                    required="a difference of rates between 0 and 1; for 'equivalent' there must be one",
                    got=self.margin,
                    hint="What is too small to matter is to be said beforehand.",
                )
            )


@guarded(SpecError)
@attrs.frozen
class Plan:
    """What is settled before anything is run, besides the design.

    ``stopping`` says when the run ends, ``exclusions`` what is left out of the analysis and how, ``selection`` how a
    cell is chosen, where the specification's ``[confirm]`` does not say it. Raises :class:`SpecError` for no hypothesis
    and empty texts.
    """

    hypotheses: tuple[Hypothesis, ...] = attrs.field(converter=frozen_tuple)
    stopping: str = attrs.field(validator=_check_text)
    exclusions: tuple[str, ...] = attrs.field(converter=frozen_tuple)
    selection: str | None = None

    def __attrs_post_init__(self) -> None:
        if not self.hypotheses:
            raise SpecError(explain("plan.hypotheses", required="at least one", got="none", hint=""))

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that hypotheses name, each once."""
        return tuple(dict.fromkeys(arm for h in self.hypotheses for arm in h.arms))


@guarded(SpecError)
@attrs.frozen
class PlannedArm:
    """How many trials an arm has in a part of a run: ``by_concept`` in each of its ``cells``.

    Trials that inject no concept are one entry of ``by_concept``. A run that may stop early has up to ``rounds`` times
    as many.
    """

    part: TrialPart | None
    arm: str
    cells: int
    by_concept: tuple[int, ...] = attrs.field(converter=frozen_ints)
    rounds: int = 1

    @property
    def fewest(self) -> int:
        """Those that are run in any case."""
        return self.cells * sum(self.by_concept)

    @property
    def trials(self) -> int:
        """All of them."""
        return self.fewest * self.rounds


@guarded(SpecError)
@attrs.frozen
class FrozenPlan:
    """A plan with all that it is about, as it stood on a day.

    ``spec`` is the resolved specification as plain values (design, model, judge, measures, effects, confirmation),
    ``arms`` the trials that it comes to, ``selection`` the rule in words, ``version`` that of this package.
    :attr:`digest` covers all of it.
    """

    plan: Plan
    spec: Mapping[str, Any] = attrs.field(converter=frozen_mapping, hash=False)
    arms: tuple[PlannedArm, ...] = attrs.field(converter=frozen_tuple)
    selection: str
    version: str
    date: datetime.date

    @functools.cached_property
    def digest(self) -> str:
        """64 hex digits; raises :class:`SpecError` where it holds what JSON can't."""
        try:
            return digest("frozen_plan", FORMAT_VERSION, plain(self))
        except (TypeError, ValueError) as error:
            raise SpecError(explain("frozen.spec", required="plain values", got=str(error), hint="")) from error

    def told(self) -> dict[str, Any]:
        """Return it as plain JSON values with its digest, which :meth:`from_told` reads."""
        return {"format": FORMAT, "version": FORMAT_VERSION, "digest": self.digest, "frozen": plain(self)}

    def to_text(self) -> str:
        """Return it as the text of a file."""
        return json.dumps(self.told(), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    @checked(SpecError)
    def read(cls, path: str | Path) -> Self:
        """Read a file; raises :class:`SpecError` as :meth:`from_told` does, and for a file that can't be read."""
        try:
            told = parse_json(read_text(Path(path)))
        except (OSError, ValueError) as error:
            raise SpecError(
                explain(str(path), required="a frozen plan", got=str(error), hint="introspection-bench freeze SPEC")
            ) from error
        return cls.from_told(told, str(path))

    @classmethod
    @checked(SpecError)
    def from_told(cls, told: Any, where: str) -> Self:
        """Return the plan of plain values; ``where`` they stand begins the message.

        Raises :class:`SpecError` for what is no frozen plan, and for one whose digest is not that of its content: it
        was changed after it was frozen.
        """
        if not isinstance(told, Mapping) or (told.get("format"), told.get("version")) != (FORMAT, FORMAT_VERSION):
            raise SpecError(
                explain(
                    where,
                    required=f"a frozen plan of version {FORMAT_VERSION}",
                    got=told.get("format") if isinstance(told, Mapping) else type(told).__name__,
                    hint="introspection-bench freeze SPEC writes one.",
                )
            )
        with worded(SpecError, where, root="frozen", required="a frozen plan", hint="", also=(TypeError, ValueError)):
            found = _CONVERTER.structure(told.get("frozen"), cls)
        if found.digest != told.get("digest"):
            raise SpecError(
                explain(
                    where,
                    required=f"the content that was frozen, of digest {str(told.get('digest'))[:12]}",
                    got=f"another one, of digest {found.digest[:12]}",
                    hint="It was changed after it was frozen: go back to what was frozen, or freeze anew.",
                )
            )
        return found


_CONVERTER = strict_converter()
