"""From a design to trials: one key, one condition and one request each. Nothing here runs anything."""

from __future__ import annotations

import abc
import datetime
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from ..background import Background
from ..blinding import decoy_name
from ..boundaries import guarded, unguarded
from ..conditions import Beside, Condition
from ..digests import digest
from ..doses import Dose
from ..errors import SpecError, explain
from ..freezing import frozen_mapping
from ..identity import SteerKey, TrialKey, in_order
from ..injection import Injection, Steer, resolve
from ..injectors.base import ModelInfo
from ..injectors.requests import Request
from ..items import Item
from ..prompts import RenderedPrompt, Tokenizer
from ..scaffolds import Scaffold
from ..trials import Trial, TrialPart, TrialRecord
from ..vectors import ConceptVector
from .arms import ArmTrial, Cell, Dosing
from .arms.base import filling
from .bands import resolve_layers
from .choosing import Chosen, Confirmation

if TYPE_CHECKING:
    from ..analysis.searching import Search
    from ..analysis.stopping import Stopping
    from .arms import Arm
    from .design import Design


@guarded(SpecError)
@attrs.frozen
class PlannedTrial:
    """One trial to run, and the request that an injector takes."""

    trial: Trial
    request: Request

    @property
    def key(self) -> TrialKey:
        """The trial's identity."""
        return self.trial.key

    @property
    def condition(self) -> Condition:
        """What is done to it."""
        return self.trial.condition

    def __str__(self) -> str:
        return str(self.trial)


@guarded(SpecError)
@attrs.frozen(eq=False)
class Ground:
    """What a plan is made on: the model, the backend with its numerics, the run's vectors and its date.

    ``vectors`` are by concept and by the layer that they are injected at, ``background`` by that layer those of the
    words that random vectors take after. ``dosing`` finds doses by effect, None where no model is loaded. ``chosen`` is
    what the run has chosen to be confirmed, None before it has.
    """

    model: ModelInfo
    backend: str
    numerics: int = attrs.field()
    tokenizer: Tokenizer
    day: datetime.date
    vectors: Mapping[tuple[str, int], ConceptVector] = attrs.field(converter=frozen_mapping)
    dosing: Dosing | None = None
    background: Mapping[int, Background] = attrs.field(converter=frozen_mapping, factory=dict)
    chosen: Chosen | None = None

    @numerics.validator
    def _check_numerics(self, _: object, value: int) -> None:
        if type(value) is not int or value < 1:
            raise SpecError(
                explain(
                    f"numerics of backend {self.backend!r}",
                    required="a whole number >= 1",
                    got=value,
                    hint="Set the class variable of the injector (the docs' page backends).",
                )
            )


class Planner(abc.ABC):
    """What decides which trials a run has.

    A :class:`~introspection_bench.sweep.design.Design` asks once. A planner that searches asks again: it is given all
    recorded trials of what it asked for, with their verdicts, and must ask for the same where it is given the same.
    """

    @property
    def judge(self) -> str | None:
        """The judge whose verdicts it needs before it asks again, by name; None where it needs none."""
        return None

    @property
    @abc.abstractmethod
    def design(self) -> Design:
        """What all of its trials share: scaffolds, concepts, recipe, sampling."""

    @property
    def whole(self) -> Design:
        """The design with everything that it may ask for later: whose vectors are there from the start."""
        return self.design

    @property
    def confirmation(self) -> Confirmation | None:
        """What confirms a cell that is chosen first; None without such a part."""
        return None

    @property
    def stopping(self) -> Stopping | None:
        """When it stops asking because its trials have said enough; None for a planner that doesn't look."""
        return None

    @property
    def search(self) -> Search | None:
        """How it searches over the dose; None for a planner that doesn't."""
        return None

    def designs(self, chosen: Chosen | None) -> list[Design]:  # noqa: ARG002  # for subclasses
        """Return the designs of all that it asks for, as far as that is settled once something is chosen."""
        return [self.design]

    def choose(self, done: Sequence[TrialRecord]) -> Chosen | None:  # noqa: ARG002  # for subclasses
        """Return what is to be confirmed, from what it asked for first; the run keeps the first choice."""
        return None

    def most(self, ground: Ground) -> list[PlannedTrial]:
        """Return what it asks for at most before it chooses anything."""
        return self.ask(ground, [])

    @abc.abstractmethod
    def ask(self, ground: Ground, done: Sequence[TrialRecord]) -> list[PlannedTrial]:
        """Return the next trials, or none at the end."""


def plan(
    design: Design, ground: Ground, *, part: TrialPart | None = None, before: Sequence[Trial] = ()
) -> list[PlannedTrial]:
    """Return every trial of a design: by scaffold, then by arm, then by layer and dose.

    ``part`` is the part of the run that they are; those like trials that were planned ``before`` are further draws.

    Prompts are rendered and spans resolved here, so that what can't be run raises before anything does:
    :class:`ScaffoldError`, :class:`AnchorNotFoundError`, :class:`EmptySpanError`, and :class:`SpecError` where two
    scaffolds, or an arm with itself, come to the same trials.
    """
    return [trial for cell in _Planning(design, ground, part, before).cells() for _, trial in cell]


def plan_cells(design: Design, ground: Ground) -> list[list[tuple[str | None, PlannedTrial]]]:
    """Return the trials of :func:`plan` by arm, scaffold, layer and dose.

    Each comes with the concept of the injected trial that it is or is like, None where it is like none.
    """
    return list(_Planning(design, ground, None, ()).cells())


@attrs.frozen(eq=False)
class _Settled:
    """What trials of one cell, concept and item share, made once: each part costs more than all else of a trial.

    ``alike`` and ``cell`` number the different (prompt, steers) and conditions of the plan.
    """

    condition: Condition
    prompt: RenderedPrompt
    prompt_digest: str
    steers: tuple[Steer, ...]
    keys: tuple[SteerKey, ...]
    item: str | None
    alike: int
    cell: int


class _Planning:
    """One planning under way: what was rendered and counted so far."""

    def __init__(self, design: Design, ground: Ground, part: TrialPart | None, before: Sequence[Trial]) -> None:
        self.design, self.ground, self.part = design, ground, part
        self.bands = resolve_layers(design.layers, ground.model.n_layers)
        self.concepts = tuple(c.name for c in design.concepts or ())
        self.beside = tuple(self._beside())
        self._alike: Counter[tuple[int, int | None]] = Counter()
        self._draws: Counter[int] = Counter()
        self._numbers: dict[object, int] = {}
        self._prompts: dict[tuple[Scaffold, Item | None], RenderedPrompt] = {}
        self._asked: dict[tuple[int, str], Condition] = {}
        self._further: dict[tuple[str, str], tuple[tuple[Scaffold | None, ...], frozenset[Item | None]]] = {}
        self._numbered: Counter[object] = Counter()
        for trial in before:
            key = trial.key
            self._alike[self._number((key.prompt, key.steers)), key.given_seed] += 1
            self._draws[self._number((trial.condition.cell, trial.item))] += 1

    def cells(self) -> Iterator[list[tuple[str | None, PlannedTrial]]]:
        """Yield the trials of each cell, in the plan's order, each with the concept of the trial that it is like."""
        places: dict[object, str] = {}
        for scaffold in self.design.scaffolds:
            self._check_apart(self._cell(scaffold, (), None), places)
            paired = self._pairs(scaffold)
            for arm in self.design.arms:
                for layers, dose in self._doses(arm):
                    cell = self._cell(scaffold, layers, dose)
                    yield list(self._arm_trials(arm, cell, paired))

    def _doses(self, arm: Arm) -> Iterator[tuple[tuple[int, ...], Dose | None]]:
        if not arm.dosed:
            yield (), None
            return
        yield from ((band, dose) for band in self.bands for dose in self.design.doses)

    def _cell(self, scaffold: Scaffold, layers: tuple[int, ...], dose: Dose | None) -> Cell:
        span = self.design.span_of(scaffold.name)
        ground = self.ground
        shared = (ground.vectors, self.design.seed, ground.tokenizer, ground.day, ground.dosing)
        items = self.design.items_of(scaffold)
        told = (items, self.design.words, ground.background, ground.model.n_layers, self._prompts)
        return Cell(scaffold, layers, dose, span, self.concepts, *shared, *told)

    def _pairs(self, scaffold: Scaffold) -> list[tuple[str, int]]:
        """Return (concept, number) of the injected trials, which those without a concept are paired with."""
        arms = [a for a in self.design.arms if a.truth == "injected"]
        if self.design.paired is None or not arms:
            return []
        cell = self._cell(scaffold, *next(self._doses(arms[0])))
        counts: Counter[str] = Counter()
        found = []
        for trial in arms[0].trials(cell):
            if trial.concept is not None:
                found.append((trial.concept, counts[trial.concept]))
                counts[trial.concept] += 1
        return found

    def _arm_trials(
        self, arm: Arm, cell: Cell, paired: Sequence[tuple[str, int]]
    ) -> Iterator[tuple[str | None, PlannedTrial]]:
        concepts: Counter[str | None] = Counter()
        settled: dict[object, _Settled] = {}
        for number, made in enumerate(arm.trials(cell)):
            scaffold = self._asked_by(arm, made, cell.scaffold)
            nth = concepts[made.concept]
            concepts[made.concept] += 1
            like = made.like or (paired[number] if number < len(paired) else None)
            if made.concept is not None:
                like = (made.concept, nth)
            own = cell.items[number % len(cell.items)] if like is None else cell.item(*like)
            item = filling(scaffold, own, made.item)
            slot = (*(like or (None, number)), None if own is None else own.name)
            steered = (made.injections, *made.beside.items())
            place = (scaffold.name, None if item is None else item.name, made.concept, made.asked, steered)
            shared = settled.get(place)
            if shared is None:
                shared = settled[place] = self._settled(arm, cell, made, scaffold, item)
            with unguarded():
                planned = self._planned(shared, slot)
            yield slot[0], planned

    def _asked_by(self, arm: Arm, made: ArmTrial, scaffold: Scaffold) -> Scaffold:
        if made.scaffold is None and made.item is None:
            return scaffold
        place = (arm.name, scaffold.name)
        if place not in self._further:
            self._further[place] = ((None, *arm.asks(scaffold)), frozenset([None, *arm.items(self.design.words)]))
        scaffolds, items = self._further[place]
        if made.scaffold not in scaffolds or made.item not in items:
            raise SpecError(
                explain(
                    f"scaffold and item of arm {arm.name!r}",
                    required="one that Arm.asks returns, and one that Arm.items does",
                    got=(made.scaffold and made.scaffold.name, made.item and made.item.name),
                    hint="Return them there: judges and reports need their wording.",
                )
            )
        return made.scaffold or scaffold

    def _settled(self, arm: Arm, cell: Cell, made: ArmTrial, scaffold: Scaffold, item: Item | None) -> _Settled:
        prompt = cell.rendered(scaffold, item)
        own = [(_told(name, injections), injections) for name, injections in made.beside.items()]
        beside = [*self.beside, *own]
        steers = resolve([*made.injections, *(i for _, injections in beside for i in injections)], prompt)
        spans = dict.fromkeys(str(i.span) for i in made.injections)
        dose, effect = (cell.dose, None) if made.injections else (None, None)
        if dose is not None and dose.is_effect:
            # Of the concept that it stands for: what is matched to a concept's injection stands in its cell.
            of = made.concept or (made.like and made.like[0])
            dose, effect = cell.dose_of(of) if of in cell.concepts else made.injections[0].dose, dose
        condition = Condition(
            arm=arm.name,
            scaffold=scaffold.name,
            concept=made.concept,
            asked=made.asked or made.concept,
            layers=tuple(dict.fromkeys(i.layer for i in made.injections)),
            dose=dose,
            span="; ".join(spans) or None,
            beside=tuple(told for told, _ in beside),
            model=self.ground.model.name,
            wording=scaffold.digest,
            effect=effect,
            truth=arm.truth,
        )
        name = None if item is None else item.name
        keys = in_order(s.key for s in steers)
        return _Settled(
            condition,
            prompt,
            prompt.digest,
            steers,
            keys,
            name,
            alike=self._number((prompt.digest, keys)),
            cell=self._number((condition.cell, name)),
        )

    def _number(self, what: object) -> int:
        return self._numbers.setdefault(what, len(self._numbers))

    def _planned(self, shared: _Settled, slot: tuple[str | None, int, str | None]) -> PlannedTrial:
        design, ground = self.design, self.ground
        seed = None
        if design.paired is not None:
            concept, number, item = slot
            # An arm may come to one prompt in two cells: the same numbers again would be the same reply, counted twice.
            again = self._numbered[shared.cell, shared.alike, slot]
            self._numbered[shared.cell, shared.alike, slot] += 1
            told = digest("paired", 1, [design.seed, concept, item, number, *([again] if again else [])])
            seed = int(told[:16], 16) >> 1
        alike = (shared.alike, seed)
        key = TrialKey(
            ground.model.fingerprint,
            ground.backend,
            ground.numerics,
            shared.prompt_digest,
            shared.keys,
            design.sampling,
            self._alike[alike],
            given_seed=seed,
        )
        self._alike[alike] += 1
        condition = shared.condition
        if condition.asked is None and self.concepts:
            condition = self._asking(shared, decoy_name(key.digest, self.concepts))
        draw = self._draws[shared.cell]
        self._draws[shared.cell] += 1
        request = Request(shared.prompt, shared.steers, design.sampling, key.seed)
        return PlannedTrial(Trial(key, condition, shared.item, draw, self.part), request)

    def _asking(self, shared: _Settled, concept: str) -> Condition:
        """Return the condition with the concept asked about: one object for all trials that share it."""
        found = self._asked.get((shared.cell, concept))
        if found is None:
            found = self._asked[shared.cell, concept] = attrs.evolve(shared.condition, asked=concept)
        return found

    def _beside(self) -> Iterator[tuple[Beside, tuple[Injection, ...]]]:
        for steer in self.design.beside:
            (layers,) = resolve_layers([steer.layers], self.ground.model.n_layers)
            vectors = steer.vectors if len(steer.vectors) > 1 else steer.vectors * len(layers)
            injections = [Injection(v, n, steer.dose, steer.span) for v, n in zip(vectors, layers, strict=True)]
            yield _told(steer.name, injections), tuple(injections)

    def _check_apart(self, cell: Cell, places: dict[object, str]) -> None:
        """Raise where a cell's scaffold comes to the tokens and the positions of another one."""
        scaffold = cell.scaffold
        # What arms fill differs from concept to concept: only with it is there a prompt.
        for item in cell.items if set(scaffold.slots) == self.design.left_open(scaffold) else ():
            prompt = cell.rendered(scaffold, item)
            where = cell.span.resolve(prompt) if self.design.is_dosed else None
            first = places.setdefault((prompt.digest, where), scaffold.name)
            if first != scaffold.name:
                raise SpecError(
                    explain(
                        "design.scaffolds",
                        required="scaffolds that differ in the prompt's tokens or in the positions that are steered",
                        got=f"{first!r} and {scaffold.name!r}, whose trials are the same on this model",
                        hint="Leave one out; for more trials of it raise the arms' n.",
                    )
                )


def _told(name: str, injections: Sequence[Injection]) -> Beside:
    """Return further injections, of one dose and span, as a condition tells them."""
    layers = tuple(dict.fromkeys(i.layer for i in injections))
    return Beside(name, layers, injections[0].dose, str(injections[0].span))
