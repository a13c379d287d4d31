"""What goes from one protocol to another, as a plan: which settings are run, and what is read off the same replies."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import combinations
from typing import Literal, cast

import attrs

from ..analysis.counting import COUNTED, DENIES, Among, Counted
from ..analysis.fractions import Fraction, fraction
from ..boundaries import checked, guarded
from ..concepts import ConceptSet, load_concepts
from ..errors import ConceptError, SpecError, UnknownNameError, explain
from ..freezing import frozen_tuple
from ..judges.rubrics import load_rubric
from ..recipes import Recipe
from ..sweep.arms import Arm, Injected, Unsteered
from .differences import Differences, diff
from .library import load_protocol
from .protocol import Protocol

#: How a bridge is built: each factor changed alone from either end, or a factorial of them.
How = Literal["both ends", "factorial"]
#: Factors that are read off the replies that exist, in the order of the steps: they cost no generation.
FREE = ("judge", "rubric", "conditioning", "outcome")
#: Factors that take new replies.
GENERATED = ("concepts", "vectors", "ablation", "layers", "dose", "span", "prompt", "sampling")
#: Which steps of a bridge stand as in B, by their names.
Setting = frozenset[str]


@guarded(SpecError)
@attrs.frozen
class Scoring:
    """How a rate is read off replies: by which judge and rubric, what counts, and out of which trials."""

    judge: str
    rubric: str
    outcome: Counted
    among: Among

    def __str__(self) -> str:
        return f"{self.outcome}, {self.judge}/{self.rubric}, out of {self.among}"


@guarded(SpecError)
@attrs.frozen
class Step:
    """One thing in which the ends differ: ``factors`` that change together, and how A and B have them, in words.

    ``free`` ones are read off replies that exist. ``run`` False: it can't be varied here, and ``why`` says what it
    would take; otherwise ``why`` says why factors go together, where several do.
    """

    name: str
    factors: tuple[str, ...] = attrs.field(converter=frozen_tuple)
    free: bool
    a: str
    b: str
    run: bool = True
    why: str = ""


@guarded(SpecError)
@attrs.frozen(repr=False)
class Bridge:
    """The way from protocol A to protocol B: free steps first, then generated ones. Printed, a table.

    ``steps`` are all in which they differ, ``plan`` the fraction that a factorial runs. Both ends have the same arms:
    ``trials`` injected ones of each concept in each cell, and ``controls``. ``scorings`` are how A and B are read.
    """

    a: Protocol
    b: Protocol
    how: How
    steps: tuple[Step, ...] = attrs.field(converter=frozen_tuple)
    scorings: tuple[Scoring, Scoring]
    plan: Fraction | None = None

    @property
    def free(self) -> tuple[Step, ...]:
        """The steps that are read off replies that exist, and that can be."""
        return tuple(s for s in self.steps if s.free and s.run)

    @property
    def generated(self) -> tuple[Step, ...]:
        """The steps that take new replies."""
        return tuple(s for s in self.steps if not s.free and s.run)

    @property
    def settings(self) -> tuple[Setting, ...]:
        """What is run, by the names of the steps that stand as in B: A itself first, then B, then the rest."""
        names = [s.name for s in self.generated]
        whole = frozenset(names)
        if self.plan is not None:
            between = list(self.plan.runs)
        else:
            between = [frozenset([n]) for n in names] + [whole - {n} for n in names]
        return tuple(dict.fromkeys([frozenset(), whole, *between]))

    @checked(SpecError)
    def protocol(self, setting: Collection[str]) -> Protocol:
        """Return the protocol of a setting: A with the factors of some generated steps, by their names, as in B.

        Raises :class:`SpecError` for a name that no such step has, and what
        :meth:`~introspection_bench.Protocol.with_factors_of` raises.
        """
        taken = _named(self.generated, setting)
        return self.a.with_factors_of(self.b, [f for step in taken for f in step.factors]) if taken else self.a

    @checked(SpecError)
    def scoring(self, setting: Collection[str]) -> Scoring:
        """Return how replies are read where some free steps, by their names, stand as in B.

        Raises :class:`SpecError` for a name that no such step has.
        """
        a, b = self.scorings
        taken = {_SCORED[f] for step in _named(self.free, setting) for f in step.factors}
        return attrs.evolve(a, **{name: getattr(b, name) for name in taken})

    @property
    def free_settings(self) -> tuple[Setting, ...]:
        """All combinations of the free steps: they cost nothing."""
        names = [s.name for s in self.free]
        return tuple(frozenset(c) for size in range(len(names) + 1) for c in combinations(names, size))

    @property
    def rubrics(self) -> tuple[tuple[str, str], ...]:
        """By which judges and rubrics all replies are judged, each once: those of A and B, crossed where free."""
        return tuple(dict.fromkeys((s.judge, s.rubric) for s in map(self.scoring, self.free_settings)))

    def __repr__(self) -> str:
        lines = [f"{self.a.name} to {self.b.name}, {self.how}: {len(self.settings)} settings to run"]
        for step in self.steps:
            kind = "free" if step.free else "generated"
            note = f" ({step.why})" if step.why else ""
            lines.append(f"  {kind if step.run else 'not run'}: {step.name}: {step.a} -> {step.b}{note}")
        return "\n".join(lines + ([self.plan.sentence] if self.plan else []))


@checked(SpecError)
def bridge(
    a: Protocol | str,
    b: Protocol | str,
    how: How = "both ends",
    *,
    concepts: ConceptSet | str | None = None,
    trials: int = 1,
    controls: int = 20,
    resolution: int | None = None,
    together: Sequence[Sequence[str]] = (),
    judges: tuple[tuple[str, str], tuple[str, str]] | None = None,
) -> Bridge:
    """Plan what goes from one protocol to another, and attribute what comes of it (:func:`run_bridge`).

    Free steps (judge, rubric, conditioning, outcome) are read off replies that exist, in all combinations. Generated
    ones (concepts, vectors, ablation, layers, doses, span, prompt, sampling) are run: with ``both ends`` each is
    changed alone from A and alone from B; with ``factorial`` a fraction of all combinations is run, which finds pairs
    that do more together (:func:`~introspection_bench.analysis.fraction`).

    Args:
        a: a protocol, or what :func:`~introspection_bench.load_protocol` takes.
        b: another.
        how: ``both ends`` or ``factorial``.
        concepts: the same for both ends, which makes them no factor; with five or more something can be said of
            concepts like these.
        trials: injected trials of each concept in each cell (layer and dose), in place of both protocols' arms.
        controls: trials without an injection, for each scaffold.
        resolution: of the factorial.
        together: factors that change as one step. Those of which one can't be run without the other (a prompt that has
            not the span's anchor, words with a recipe for pairs) go together anyway.
        judges: judge and rubric of A, and of B, whose verdicts are read; None: ``rules`` by the protocols' rubrics, as
            far as rules can follow them.

    Raises:
        SpecError: the protocols don't differ in anything that is run or read; an outcome isn't read off verdicts; a
            factor stands in two groups; or a setting can't be run, which the message names.
    """
    ends = tuple(_end(p, concepts, trials, controls) for p in (a, b))
    first, second = ends
    scorings = _scorings(first, second, judges)
    differ = diff(first, second)
    told = {f: _told(differ, f) for f in differ.factors}
    groups = _groups(first, second, [f for f in GENERATED if f in told], together)
    generated = [
        Step(" + ".join(g), g, False, "; ".join(told[f][0] for f in g), "; ".join(told[f][1] for f in g), why=why)
        for g, why in groups.items()
    ]
    steps = [*_free_steps(first, second, scorings, told, judges), *generated]
    if not any(s.run for s in steps):
        raise SpecError(
            explain("a, b", required="protocols that differ in what is run or read", got=f"{differ!r:.200}", hint="")
        )
    names = [s.name for s in generated]
    plan = fraction(names, resolution) if how == "factorial" and len(names) > 1 else None
    made = Bridge(first, second, how, steps, scorings, plan)
    for setting in made.settings:
        why_not = _unfit(partial(made.protocol, setting))
        if why_not:
            raise SpecError(
                explain(
                    f"setting A with {sorted(setting)} of B",
                    required="a protocol that can be run",
                    got=why_not,
                    hint="Put the factors that need each other into together=[(…, …)].",
                )
            )
    return made


def _end(given: Protocol | str, concepts: ConceptSet | str | None, trials: int, controls: int) -> Protocol:
    protocol = load_protocol(given) if isinstance(given, str) else given
    arms: tuple[Arm, ...] = (Unsteered(controls), Injected(trials))
    chosen = load_concepts(concepts) if isinstance(concepts, str) else concepts
    return attrs.evolve(protocol, arms=arms, concepts=protocol.concepts if chosen is None else chosen)


def _scorings(
    a: Protocol, b: Protocol, judges: tuple[tuple[str, str], tuple[str, str]] | None
) -> tuple[Scoring, Scoring]:
    made = []
    for side, protocol in enumerate((a, b)):
        outcome: str = protocol.outcome
        if outcome not in COUNTED:
            raise SpecError(
                explain(
                    f"protocol {protocol.name!r}: outcome",
                    required=f"one that is read off verdicts, {list(COUNTED)}",
                    got=protocol.outcome,
                    hint="Derive one with another outcome: the two ends must count something comparable.",
                )
            )
        judge, rubric = ("rules", protocol.rules_rubric) if judges is None else judges[side]
        among = protocol.conditioning
        # Without the answer, out of the coherent alone: the step then says that it was not taken.
        made.append(Scoring(judge, rubric, cast(Counted, outcome), among if _readable(among, rubric) else "coherent"))
    return made[0], made[1]


def _readable(among: Among, rubric: str) -> bool:
    """Whether verdicts by a rubric say which replies a rate is out of; of one that isn't ours it can't be known."""
    try:
        return among != "coherent or denies" or DENIES in load_rubric(rubric).criteria
    except UnknownNameError:
        return False


def _free_steps(
    a: Protocol,
    b: Protocol,
    scorings: tuple[Scoring, Scoring],
    told: Mapping[str, tuple[str, str]],
    judges: object,
) -> list[Step]:
    """Return the free steps: by our own judges, or by those that were named."""
    one, other = scorings
    steps = []
    if "judge" in told and judges is None:
        why = f"needs the judges themselves; here both ends are judged by {one.judge}: name others with judges"
        steps.append(Step("judge", ["judge"], True, *told["judge"], run=False, why=why))
    if "rubric" in told and one.rubric == other.rubric:
        why = f"here both are read by {one.judge}/{one.rubric}"
        steps.append(Step("rubric", ["rubric"], True, a.rubric, b.rubric, run=False, why=why))
    if (a.conditioning, b.conditioning) != (one.among, other.among):
        lame = next(s for s, p in zip(scorings, (a, b), strict=True) if s.among != p.conditioning)
        why = f"verdicts by {lame.judge}/{lame.rubric} don't say {DENIES!r}: read out of {lame.among} replies instead"
        steps.append(Step("conditioning", ["conditioning"], True, a.conditioning, b.conditioning, run=False, why=why))
    for names, why in _read_together(one, other):
        values = (" / ".join(getattr(s, _SCORED[name]) for name in names) for s in scorings)
        steps.append(Step(" + ".join(names), names, True, *_two(values), why=why))
    return steps


#: What of a scoring each free factor is.
_SCORED = {"judge": "judge", "rubric": "rubric", "conditioning": "among", "outcome": "outcome"}


def _read_together(one: Scoring, other: Scoring) -> list[tuple[list[str], str]]:
    """Return in what two scorings differ, in groups that change as one, each with the reason where it has several."""
    differ = [name for name in FREE if getattr(one, _SCORED[name]) != getattr(other, _SCORED[name])]
    by: list[str] = [name for name in ("judge", "rubric") if name in differ]
    why = ""
    if len(by) > 1:
        why = "a judge has verdicts by its own rubric alone"
    rest = [name for name in differ if name not in by]
    crossed = _readable(one.among, other.rubric) and _readable(other.among, one.rubric)
    if by and "conditioning" in rest and not crossed:
        by.append("conditioning")
        rest.remove("conditioning")
        why = f"the verdicts of one end don't say {DENIES!r}"
    return [*([(by, why)] if by else []), *(([name], "") for name in rest)]


def _two(values: Iterable[str]) -> tuple[str, str]:
    first, second = values
    return first, second


def _told(differ: Differences, factor: str) -> tuple[str, str]:
    rows = [row for row in differ if row.factor == factor]
    return "; ".join(row.told[0] for row in rows), "; ".join(row.told[1] for row in rows)


def _groups(
    a: Protocol, b: Protocol, factors: Sequence[str], together: Sequence[Sequence[str]]
) -> dict[tuple[str, ...], str]:
    """Return the factors in groups that change as one, each with the reason where it has several."""
    groups: list[tuple[str, ...]] = []
    named = [tuple(f for f in group if f in factors) for group in together]
    flat = [f for group in together for f in group]
    strangers = [f for f in flat if f not in GENERATED]
    if strangers or len(set(flat)) < len(flat):
        raise SpecError(
            explain("together", required=f"groups of factors, each once, out of {GENERATED}", got=together, hint="")
        )
    reasons: dict[tuple[str, ...], str] = {g: "asked for" for g in named if len(g) > 1}
    groups = [g for g in named if g] + [(f,) for f in factors if f not in flat]
    while True:
        lame = next(((g, why) for g in groups if (why := _alone(a, b, g))), None)
        if lame is None:
            return {g: reasons.get(g, "") for g in sorted(groups, key=lambda g: factors.index(g[0]))}
        group, why = lame
        others = [o for o in groups if o != group]
        partner = next((o for o in others if not _alone(a, b, group + o)), None)
        if partner is None:
            raise SpecError(
                explain(
                    f"{' + '.join(group)} of {b.name!r}",
                    required="a change that can be run, alone or with one other factor",
                    got=why,
                    hint="Name the factors that need each other in together=[(…, …)].",
                )
            )
        joined = tuple(f for f in factors if f in group + partner)
        groups = [o for o in others if o != partner] + [joined]
        reasons[joined] = f"not one without the other: {why}"


def _alone(a: Protocol, b: Protocol, factors: Sequence[str]) -> str:
    """Return why factors can't be changed alone from A or from B; empty where they can."""
    return _unfit(partial(a.with_factors_of, b, factors)) or _unfit(partial(b.with_factors_of, a, factors))


def _unfit(make: Callable[[], Protocol]) -> str:
    """Return why a protocol can't be run; empty where it can."""
    try:
        design = attrs.evolve(make(), ablation=None).design()  # its directions are read on the model, later
    except (SpecError, ConceptError) as error:
        return str(error)
    return "" if design.recipe is None or design.concepts is None else _unmade(design.recipe, design.concepts)


@lru_cache(maxsize=32)  # most settings have the recipe and concepts of one of the ends
def _unmade(recipe: Recipe, concepts: ConceptSet) -> str:
    """Return why a recipe can't make a vector of each concept; empty where it can."""
    try:
        for concept in concepts:
            recipe.contrast(concept, concepts.baseline)
    except (SpecError, ConceptError) as error:
        return str(error)
    return ""


def _named(steps: Sequence[Step], names: Collection[str]) -> list[Step]:
    """Return the steps of some names; raises for a name that none has."""
    strangers = sorted(set(names) - {s.name for s in steps})
    if strangers:
        raise SpecError(
            explain("setting", required=f"names of steps, out of {[s.name for s in steps]}", got=strangers, hint="")
        )
    return [s for s in steps if s.name in names]
