"""Freezing a specification with its plan, before anything is run."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator
from importlib import metadata

import attrs
import numpy as np

from ..analysis.searching import Search
from ..background import LEAST_WORDS, Background
from ..boundaries import checked
from ..credentials import without_credentials
from ..errors import SpecError, explain
from ..plans import FrozenPlan, PlannedArm
from ..trials import TrialPart
from ..vectors import ConceptVector, Provenance
from .arms import Arm, Cell
from .choosing import Candidate
from .confirming import Confirmed
from .design import Design
from .spec import RunSpec

#: What of a specification is settled beforehand: not where it runs, nor what is found when it does.
SETTLED = ("design", "model", "judge", "measures", "effects", "confirm", "stopping", "search")
#: As many as any model has: how many this one has is known when it is opened.
_BLOCKS = 200
NO_SELECTION = "No cell is chosen: all cells are reported."


@checked(SpecError)
def freeze(spec: RunSpec, *, date: datetime.date | None = None) -> FrozenPlan:
    """Return a specification with its plan, as it stands; no model is opened.

    ``date`` is by default today's, UTC. Credentials are left out of options. Raises :class:`SpecError` for a
    specification without a plan.
    """
    if spec.plan is None:
        raise SpecError(
            explain(
                "plan",
                required="hypotheses, stopping and exclusions",
                got="none",
                hint="Add [plan]: the docs' page sweeps.",
            )
        )
    told = spec.plain()
    settled = {name: told[name] for name in SETTLED}
    for name in ("model", "judge"):
        settled[name] = {**settled[name], "options": without_credentials(settled[name]["options"])}
    # What a model is called by, and no more settled than known: it alters no reply.
    settled["model"].pop("facts")
    rule = [] if spec.confirm is None else [spec.confirm.rule.sentence]
    stated = [] if spec.plan.selection is None else [spec.plan.selection]
    return FrozenPlan(
        spec.plan,
        settled,
        planned_arms(spec),
        " ".join([*rule, *stated]) or NO_SELECTION,
        metadata.version("introspection-bench"),
        date or datetime.datetime.now(datetime.UTC).date(),
    )


@checked(SpecError)
def planned_arms(spec: RunSpec) -> list[PlannedArm]:
    """Return how many trials each arm of a specification has, in each part, without opening a model."""
    # Where the layers lie needs the model; how many there are does not.
    design = attrs.evolve(spec.design, layers=[[n] for n in range(len(spec.design.layers))], vectors=[])
    if spec.confirm is None:
        if spec.search is not None:
            return _searched(design, spec.search, None)
        rounds = 1 if spec.stopping is None else spec.stopping.rounds
        return [attrs.evolve(arm, rounds=rounds) for arm in _arms(design, None)]
    confirmed = Confirmed(design, spec.confirm, spec.search)
    chooses = spec.confirm.rule.chooses
    first = Candidate(
        design.scaffolds[0].name if "scaffold" in chooses else None,
        [0] if "layers" in chooses else [],
        design.doses[0] if "dose" in chooses else None,
        *(0, 0, 1, 0),
    )
    searching = confirmed.searching
    selecting = (
        _arms(design, "selection") if searching is None else _searched(searching.over, searching.rule, "selection")
    )
    return [*selecting, *_arms(confirmed.confirming_design(first), "confirmation")]


def _searched(design: Design, search: Search, part: TrialPart | None) -> list[PlannedArm]:
    # Each curve is one cell, wherever its trials lie.
    arms = [attrs.evolve(a, n=search.batch) if a.name == search.arm else a for a in design.arms]  # type: ignore[misc]  # an arm is a frozen attrs class
    found = _arms(attrs.evolve(design, doses=design.doses[:1], arms=arms), part)
    return [attrs.evolve(arm, rounds=search.rounds) if arm.arm == search.arm else arm for arm in found]


def _arms(design: Design, part: TrialPart | None) -> Iterator[PlannedArm]:
    for arm in design.arms:
        counts = Counter(trial.concept for trial in arm.trials(_cell(design, arm)))
        dosed = len(design.layers) * len(design.doses) if arm.dosed else 1
        yield PlannedArm(part, arm.name, len(design.scaffolds) * dosed, list(counts.values()))


def _cell(design: Design, arm: Arm) -> Cell:
    scaffold = design.scaffolds[0]
    concepts = [c.name for c in design.concepts or ()]
    provenance, rng = Provenance("stand-in", "", "", "", 0, -1, 1.0, None), np.random.default_rng(0)
    vectors = {(name, 0): ConceptVector(rng.standard_normal(8), name, 0, provenance) for name in concepts if arm.dosed}
    layers, dose = ([0], design.doses[0]) if arm.dosed else ([], None)
    told = (scaffold, layers, dose, design.span_of(scaffold.name), concepts, vectors, design.seed)
    others = [ConceptVector(rng.standard_normal(8), str(n), 0, provenance) for n in range(LEAST_WORDS)]
    words = {0: Background(others)} if arm.needs_background else {}
    return Cell(*told, items=design.items_of(scaffold), words=design.words, background=words, n_layers=_BLOCKS)
