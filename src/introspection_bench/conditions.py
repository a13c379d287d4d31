"""Conditions: what was done to the trials of one cell, and the names of arms.

What an arm's trials are good for is its :data:`Truth`. Where it is ``injected`` a yes is right; where it is ``nothing``
a yes is a false alarm; on every other arm something was done: they are shown and compared under their own names, and
never counted among hits or false alarms.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal

import attrs

from .boundaries import checked, guarded
from .doses import Dose
from .errors import SpecError, explain
from .freezing import frozen_ints, frozen_tuple
from .names import composed, folded
from .untrusted import visible

#: What is true on a trial: a concept was injected, nothing was done, or something else was.
Truth = Literal["injected", "nothing", "other"]

INJECTED = "injected"
RANDOM = "random"
CONTROL = "control"
NEGATED = "negated"
PROMPT_ONLY = "prompt_only"
REMOVED = "removed"
PERMUTED = "random_permuted"
COVARIANCE = "random_covariance"
IMPACT = "random_impact"
PERMUTED_IMPACT = "random_permuted_impact"
COVARIANCE_IMPACT = "random_covariance_impact"
MENTION = "mention"
EDITED_INPUT = "edited_input"
EDITED_INPUT_CLEAN = "edited_input_clean"
NO_QUESTIONS = "no_questions"
YES_QUESTIONS = "yes_questions"
NO_QUESTIONS_CLEAN = "no_questions_clean"
YES_QUESTIONS_CLEAN = "yes_questions_clean"
THIRD_PERSON = "third_person"
NEUTRAL_LABELS = "neutral_labels"
NEUTRAL_LABELS_CLEAN = "neutral_labels_clean"
PROJECTED_OUT = "projected_out"
PROJECTED_OTHER = "projected_other"
#: The arms that inject random vectors, and no concept.
RANDOMS = (RANDOM, PERMUTED, COVARIANCE, IMPACT, PERMUTED_IMPACT, COVARIANCE_IMPACT)
#: The built-in arms in the order of tables and figures, with what is true there; all others follow, by name.
BUILTIN: Mapping[str, Truth] = MappingProxyType(
    {
        CONTROL: "nothing",
        RANDOM: "other",
        PERMUTED: "other",
        COVARIANCE: "other",
        IMPACT: "other",
        PERMUTED_IMPACT: "other",
        COVARIANCE_IMPACT: "other",
        INJECTED: "injected",
        NEGATED: "other",
        PROMPT_ONLY: "injected",
        REMOVED: "injected",
        PROJECTED_OUT: "other",
        PROJECTED_OTHER: "other",
        MENTION: "other",
        EDITED_INPUT: "other",
        EDITED_INPUT_CLEAN: "other",
        THIRD_PERSON: "other",
        NEUTRAL_LABELS: "other",
        NEUTRAL_LABELS_CLEAN: "other",
        NO_QUESTIONS: "other",
        YES_QUESTIONS: "other",
        NO_QUESTIONS_CLEAN: "other",
        YES_QUESTIONS_CLEAN: "other",
    }
)
_LONGEST = 60
_BLOCKS = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")
#: More than any model has; a range in somebody's file is written out no further.
_MOST_BLOCKS = 10_000


def check_arm(arm: str) -> None:
    """Raise :class:`SpecError` for what is no arm's name.

    A name that a reader takes for a built-in one ("Control") is refused: it would be another arm, and the false alarms
    in it would be counted nowhere.
    """
    if arm in BUILTIN:
        return
    fine = isinstance(arm, str) and 0 < len(arm) <= _LONGEST and arm == arm.strip() and visible(arm) == arm
    alike = [name for name in BUILTIN if fine and folded(arm) == name != arm]
    if not fine or alike:
        raise SpecError(
            explain(
                "arm",
                required=f"{alike[0]!r}, written so" if alike else f"a name of 1 to {_LONGEST} visible characters",
                got=repr(arm),
                hint=f"Built in are {tuple(BUILTIN)}; any other name is an arm of its own.",
            )
        )


def place(arm: str) -> tuple[int, str]:
    """Return where an arm stands among others: the built-in ones as in :data:`BUILTIN`, then the rest by name.

    One that is told from a built-in one behind an @ (``projected_out@25``) stands behind it.
    """
    kind, _, which = arm.partition("@")
    return (tuple(BUILTIN).index(kind), which.zfill(_LONGEST)) if kind in BUILTIN else (len(BUILTIN), arm)


def ordered(arms: Iterable[str]) -> list[str]:
    """Return the different arms in the order of tables and figures."""
    return sorted(set(arms), key=place)


def injected_first(arms: Iterable[str]) -> list[str]:
    """Return the different arms in the order of tables, but first what a run is about: the injection."""
    return sorted(ordered(arms), key=lambda arm: arm != INJECTED)


def label(arm: str) -> str:
    """Return how a cell's name begins: nothing for an injection, which the concept and the dose tell."""
    told = {INJECTED: "", RANDOM: "random vector"}
    return told.get(arm, arm.replace("_", " ") if arm.partition("@")[0] in BUILTIN else arm)


@guarded(SpecError)
@attrs.frozen
class Beside:
    """A further steer that all trials of a condition share, by name: an ablated direction, say."""

    name: str = attrs.field(converter=composed)
    layers: tuple[int, ...] = attrs.field(converter=frozen_ints)
    dose: Dose
    span: str

    def __str__(self) -> str:
        over = "" if self.span == "all" else f" over {self.span}"
        return f"{self.name} {self.dose} at {layers_text(self.layers)}{over}"


@guarded(SpecError)
@attrs.frozen
class Condition:
    """What the trials of one cell share.

    ``arm`` says what was done, ``truth`` what is true there (by default that of a built-in arm, ``other`` of any other
    name). ``scaffold`` is the scaffold's name and ``wording`` its digest. ``concept`` is what was injected, None where
    none was; ``asked`` the concept that judges are asked about: the injected one, on other arms a decoy. ``layers`` are
    the blocks that were steered, several at once in a band; ``dose`` and ``span`` (in its written form) how much and
    where: empty and None where nothing was steered, or a source does not say. Where ``dose`` was found by its effect,
    ``effect`` is the one asked for. ``beside`` are further steers, ``model`` is the model's name.
    """

    arm: str = attrs.field(validator=lambda _, __, value: check_arm(value))
    scaffold: str
    concept: str | None = attrs.field(converter=composed, default=None)
    asked: str | None = attrs.field(converter=composed, default=None)
    layers: tuple[int, ...] = attrs.field(converter=frozen_ints, default=())
    dose: Dose | None = None
    span: str | None = None
    beside: tuple[Beside, ...] = attrs.field(converter=frozen_tuple, default=())
    model: str = ""
    wording: str = ""
    effect: Dose | None = None
    truth: Truth = attrs.field(default=attrs.Factory(lambda self: BUILTIN.get(self.arm, "other"), takes_self=True))

    def __attrs_post_init__(self) -> None:
        asked = self.effect is not None and (not self.effect.is_effect or self.dose is None)
        if asked or (self.dose is not None and self.dose.is_effect):
            raise SpecError(
                explain(
                    f"dose and effect of arm {self.arm!r}",
                    required="the dose that was injected, and beside it the effect that it was found by, if it was",
                    got=f"dose {self.dose}, effect {self.effect}",
                    hint="As in dose=Dose(0.21, 'residual'), effect=Dose(0.5, 'kl').",
                )
            )
        if BUILTIN.get(self.arm, self.truth) != self.truth:
            raise SpecError(
                explain(
                    f"truth of arm {self.arm!r}",
                    required=BUILTIN[self.arm],
                    got=self.truth,
                    hint="Give an arm of another kind a name of its own.",
                )
            )

    @functools.cached_property
    def cell(self) -> Condition:
        """The condition without the concept asked about, which on arms with decoys differs from trial to trial."""
        return self if self.asked is None else attrs.evolve(self, asked=None)

    @property
    def layer(self) -> int | None:
        """The one steered block; None for none or a band."""
        return self.layers[0] if len(self.layers) == 1 else None

    @property
    def stated_dose(self) -> Dose | None:
        """The dose that was asked for: :attr:`effect` where there is one, else :attr:`dose`."""
        return self.dose if self.effect is None else self.effect

    @property
    def columns(self) -> dict[str, Any]:
        """What tables say of it, by column; :data:`CELL_COLUMNS` are those that tell cells apart.

        ``magnitude`` and ``unit`` are those asked for: of a dose by effect ``0.5`` and ``kl``, so that its trials stand
        together whatever each concept needs for it. What was injected is then ``resolved``, and ``effect`` is written
        out.
        """
        asked = self.stated_dose
        return {
            "scaffold": self.scaffold,
            "arm": self.arm,
            "concept": self.concept,
            "layers": layers_text(self.layers) or None,
            "magnitude": 0.0 if asked is None else asked.magnitude,
            "unit": None if asked is None else asked.unit.value,
            "span": self.span,
            "beside": "; ".join(map(str, self.beside)) or None,
            "model": self.model,
            "layer": self.layer,
            "truth": self.truth,
            "effect": None if self.effect is None else str(self.effect),
            "resolved": None if self.effect is None or self.dose is None else str(self.dose),
        }

    def __str__(self) -> str:
        parts = [self.arm if self.concept is None else f"{self.arm} {self.concept!r}"]
        parts += [f"layer {layers_text(self.layers)}"] if self.layers else []
        parts += [str(self.dose)] if self.dose is not None else []
        parts += [f"for {self.effect}"] if self.effect is not None else []
        parts += [f"beside {b}" for b in self.beside]
        return ", ".join([*parts, self.scaffold])


#: The columns of :attr:`Condition.columns` that tell the cells of a table apart.
CELL_COLUMNS = ("scaffold", "arm", "concept", "layers", "magnitude", "unit", "span", "beside", "model")


def layers_text(layers: Sequence[int]) -> str:
    """Return blocks as they are written: ``19``, ``18-22`` for a band without gaps, ``4,8,12`` otherwise.

    >>> layers_text(range(18, 23)), layers_text([4, 8, 12])
    ('18-22', '4,8,12')
    """
    if len(layers) > 2 and all(later == layer + 1 for layer, later in pairwise(layers)):
        return f"{layers[0]}-{layers[-1]}"
    return ",".join(map(str, layers))


@checked(SpecError)
def parse_layers(text: str) -> tuple[int, ...]:
    """Return the blocks that :func:`layers_text` wrote; raises :class:`SpecError` for any other text."""
    found: list[int] = []
    for part in text.split(","):
        match = _BLOCKS.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last or last > _MOST_BLOCKS:
            raise SpecError(explain("layers", required="blocks, as 19, 18-22 or 4,8", got=text, hint="0-based."))
        found += range(first, last + 1)
    return tuple(found)
