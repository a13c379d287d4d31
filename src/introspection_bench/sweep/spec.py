"""A run's specification: one value that a TOML file, the store, the manifest and results all hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

from ..analysis.searching import Search
from ..analysis.stopping import Stopping
from ..boundaries import checked, guarded
from ..dosing import RANDOM_VECTORS
from ..errors import SpecError, UnknownNameError, explain
from ..freezing import frozen_mapping, frozen_tuple
from ..injectors import registry as injectors
from ..injectors.base import Injector, ModelInfo
from ..injectors.registry import open_injector
from ..judges import registry as judges
from ..loading import Described
from ..measures.base import Measure
from ..model_facts import ModelFacts
from ..model_names import describe_named, known_facts
from ..plans import FrozenPlan, Plan
from ..plugins import check_name
from ..structuring import Keys, Places, plain, worded
from ..untrusted import parse_toml
from ..vectors import ConceptVector
from ..verdicts import Asked, Part
from .choosing import Chosen, Confirmation
from .confirming import Confirmed
from .design import Design
from .planner import Planner
from .searching import Searching
from .sequential import Sequential
from .sharding import Shard, Sharded, WholePlan
from .tables import as_written, override, read_tables
from .written import arms_listed, reader, write


@guarded(SpecError)
@attrs.frozen
class ModelSpec:
    """Which model, on which backend.

    ``name`` is a hub id, folder, GGUF file, "demo", "gemma3-270m", or one with an adapter ("demo+introspector");
    ``options`` holds a table per backend. ``trust_remote_code`` lets code that comes with the checkpoint run; it never
    does otherwise. ``facts`` are those that the loaded model does not tell of itself, by default what the package knows
    of the models that it has a name for.
    """

    name: str
    backend: str = "torch"
    options: Mapping[str, Mapping[str, Any]] = attrs.field(converter=frozen_mapping, factory=dict, hash=False)
    trust_remote_code: bool = False
    facts: ModelFacts = attrs.field(default=attrs.Factory(lambda self: known_facts(self.name), takes_self=True))

    def describe(self) -> Described:
        """Return what the model says of itself without its weights.

        Raises what :func:`~introspection_bench.loading.describe` raises.
        """
        revision = self.options.get(self.backend, {}).get("revision")
        return describe_named(self.name, revision=revision, trust_remote_code=self.trust_remote_code)

    def open(self) -> Injector:
        """Open the model; raises what :func:`~introspection_bench.open_injector` raises."""
        # Only where it is asked for: a backend that has no such option never runs such code.
        trust = {"trust_remote_code": True} if self.trust_remote_code else {}
        return open_injector(self.backend, self.name, **{**self.options.get(self.backend, {}), **trust})


@guarded(SpecError)
@attrs.frozen
class JudgeSpec:
    """A judge by name and its options; ``judged`` is what it reads of a reply ("answer" or "whole").

    ``asked`` is which concept it is asked about: the trial's own, or ("mismatched") another one of the run.
    """

    name: str = "rules"
    judged: Part = "answer"
    asked: Asked = "own"
    options: Mapping[str, Any] = attrs.field(converter=frozen_mapping, factory=dict, hash=False)


@guarded(SpecError)
@attrs.frozen
class EffectsSpec:
    """That the effects of the doses are measured; ``n_random`` is how many random vectors a live one must outdo."""

    n_random: int = attrs.field(default=RANDOM_VECTORS)

    @n_random.validator
    def _check_n_random(self, _: object, value: int) -> None:
        if isinstance(value, bool) or value < 1:
            raise SpecError(
                explain("effects.n_random", required="a whole number >= 1", got=value, hint="Leave effects out.")
            )


@guarded(SpecError)
@attrs.frozen
class RunSpec:
    """What a run is.

    ``design`` says what is run, ``model`` on what; ``judge`` and ``measures`` what follows, and ``also_judged`` what
    further verdicts the replies get after the judge's; ``effects`` that those of the doses are measured first;
    ``directory`` where. ``confirm`` says what confirms the design's best cell, where one is to be chosen; ``stopping``
    when the run has said enough, where it may stop early; ``search`` how it searches over the dose, where it does;
    ``plan`` holds hypotheses and what else is settled beforehand; ``frozen`` is the frozen plan that the run is begun
    under; ``protocol`` the published protocol that it was made of. In a run's store there is also what was found when
    the model was opened, ``found`` and the ``numerics`` of its backend, and what was ``chosen``; in that of a shard,
    which ``shard`` it is and the ``whole`` plan that it is one of.

    A run goes on under the same design, model, backend, numerics, confirmation and stopping; judges, measures, effects
    and directory may change. Raises :class:`SpecError` for a ``judge`` that is asked about other concepts, for a
    plan that names arms which the design lacks, and for a confirmation and a rule to stop together.
    """

    design: Design
    model: ModelSpec
    judge: JudgeSpec = attrs.field(factory=JudgeSpec)
    also_judged: tuple[JudgeSpec, ...] = attrs.field(converter=frozen_tuple, default=())
    measures: tuple[Measure, ...] = attrs.field(converter=frozen_tuple, default=())
    effects: EffectsSpec | None = None
    confirm: Confirmation | None = None
    stopping: Stopping | None = None
    search: Search | None = None
    plan: Plan | None = None
    frozen: FrozenPlan | None = None
    directory: str | None = None
    protocol: str | None = None
    found: ModelInfo | None = None
    numerics: int | None = None
    chosen: Chosen | None = None
    shard: Shard | None = None
    whole: WholePlan | None = None

    def __attrs_post_init__(self) -> None:
        if self.confirm is not None and self.stopping is not None:
            raise SpecError(
                explain(
                    "confirm, stopping",
                    required="one of them at most",
                    got="both",
                    hint="Confirm with a number of trials that is given beforehand.",
                )
            )
        if self.search is not None:
            if self.stopping is not None:
                raise SpecError(
                    explain("search, stopping", required="one of them at most", got="both", hint="A search stops, too.")
                )
            _ = self.planner  # limits that are none should be known before a model is opened
        if self.judge.asked != "own":
            raise SpecError(
                explain(
                    "judge.asked",
                    required="'own'",
                    got=self.judge.asked,
                    hint="Put further verdicts in [[also_judged]].",
                )
            )
        there = [arm.name for arm in self.design.arms]
        strangers = [] if self.plan is None else sorted(set(self.plan.arms) - set(there))
        if strangers:
            raise SpecError(
                explain(
                    "plan.hypotheses", required=f"arms of the design, {there}", got=strangers, hint="By their names."
                )
            )

    @property
    def planner(self) -> Planner:
        """What decides the run's trials: the design, its rounds, a search, or it and a part that confirms a cell.

        Of a shard, those that it has of the design's; raises :class:`SpecError` where all are not known beforehand.
        """
        if self.shard is not None:
            return Sharded(attrs.evolve(self, shard=None).planner, self.shard)
        if self.stopping is not None:
            return Sequential(self.design, self.stopping)
        if self.search is not None and self.confirm is None:
            return Searching(self.design, self.search)
        return self.design if self.confirm is None else Confirmed(self.design, self.confirm, self.search)

    @classmethod
    @checked(SpecError)
    def from_toml(cls, path: str | Path, overrides: Sequence[str] = ()) -> RunSpec:
        """Read and check a file, without loading any model; ``directory`` counts from the file's folder.

        ``overrides`` are written ``design.arms.injected.n=5``: a dotted key and a TOML value, which take the place of
        the file's. Raises :class:`SpecError` that names line and key (syntax, unknown keys, wrong types, missing
        values), and :class:`UnknownNameError` for a backend or judge that is neither built in nor installed.
        """
        path = Path(path)
        told = read_tables(path, overrides)
        spec = cls.from_plain(told.data, str(path), beside=path.parent, places=told.places)
        if spec.directory is None:
            raise SpecError(
                explain(f"{path}: directory", required="the run directory", got="none", hint='directory = "runs/x"')
            )
        _check_name(str(path), ("model", "backend"), injectors, spec.model.backend, told.places)
        _check_name(str(path), ("judge", "name"), judges, spec.judge.name, told.places)
        for place, judge in enumerate(spec.also_judged):
            _check_name(str(path), ("also_judged", place, "name"), judges, judge.name, told.places)
        return attrs.evolve(spec, directory=str(path.parent / spec.directory))

    @classmethod
    @checked(SpecError)
    def from_plain(
        cls,
        data: Mapping[str, Any],
        where: str,
        *,
        beside: Path = Path(),
        vectors: Mapping[str, ConceptVector] | None = None,
        places: Places = dict,
    ) -> RunSpec:
        """Read what a file or :meth:`plain` says.

        ``vectors`` are those that it may name by digest; ``places`` returns where keys stand, for errors. Raises
        :class:`SpecError`, which begins with ``where`` and names the key.
        """
        converter = reader(beside, vectors or {})
        converter.register_structure_hook_func(
            lambda kind: kind in (Mapping[str, Any], Mapping[str, Mapping[str, Any]]), _table
        )
        with worded(
            SpecError,
            where,
            root="spec",
            required="the keys and types of the docs' page sweeps",
            hint="Mend these keys; nothing was run.",
            places=places,
            written=partial(as_written, data),
        ):
            own = {name: value for name, value in _with_arms_listed(data).items() if name != "further"}
            spec = converter.structure(own, cls)
        for backend in spec.model.options:  # a misspelt table would be options that nobody gets
            _check_name(where, ("model", "options", backend), injectors, backend, places)
        return spec

    @checked(SpecError)
    def with_overrides(self, overrides: Sequence[str]) -> RunSpec:
        """Return it with some values replaced, written as for :meth:`from_toml`; relative paths count from here.

        Raises :class:`SpecError` that names the key, and for arms where two of a kind stand beside each other.
        """
        data, design = self.plain(), self.design
        words = [arm["arm"] for arm in data["design"]["arms"]]
        if len(set(words)) == len(words):
            data["design"]["arms"] = {arm["arm"]: arm for arm in data["design"]["arms"]}
        for text in overrides:
            override(data, text)
        known = [*design.vectors, *(v for steer in design.beside for v in steer.vectors)]
        return self.from_plain(data, "overrides", vectors={v.digest: v for v in known})

    def plain(self) -> dict[str, Any]:
        """Return it as JSON values, which :meth:`from_plain` reads; vectors stand in it by their digests."""
        return {
            "design": write(self.design),
            # What arms ask in place of the design's scaffolds, and concepts that confirm, for judges and reports.
            "further": {
                "scaffolds": write([f for arm in self.design.arms for s in self.design.scaffolds for f in arm.asks(s)]),
                "items": write([i for arm in self.design.arms for i in arm.items(self.planner.whole.words)]),
                "concepts": write(list(self.confirm.concepts or ()) if self.confirm is not None else []),
            },
            "model": plain(self.model),
            "judge": plain(self.judge),
            "also_judged": plain(self.also_judged),
            "measures": write(self.measures),
            "effects": plain(self.effects),
            "confirm": write(self.confirm),
            "stopping": plain(self.stopping),
            "search": plain(self.search),
            "plan": plain(self.plan),
            "frozen": None if self.frozen is None else self.frozen.told(),
            "directory": self.directory,
            "protocol": self.protocol,
            "found": plain(self.found),
            "numerics": self.numerics,
            "chosen": write(self.chosen),
            "shard": None if self.shard is None else str(self.shard),
            "whole": plain(self.whole),
        }


def _check_name(where: str, keys: Keys, registry: ModuleType, name: str, places: Places) -> None:
    """Raise :class:`UnknownNameError` that says where it stands for a name that a registry has nothing of."""
    words = [key for key in keys if isinstance(key, str) and key != name]
    try:
        check_name(registry.GROUP, registry.BUILTIN, name, ".".join(words))
    except UnknownNameError as error:
        at = places().get(keys)
        raise UnknownNameError(f"{where}{f' ({at})' if at else ''}: {error}") from error


def _table(value: Any, _: Any) -> dict[str, Any]:
    # Options are checked by the backend's or judge's own signature.
    if not isinstance(value, Mapping):
        raise TypeError(f"required a table, got {value!r}")
    return dict(value)


def _with_arms_listed(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the data with a file's tables of arms as the list that a store has: [design.arms.injected] and so on."""
    design = data.get("design")
    if not isinstance(design, Mapping) or not isinstance(design.get("arms"), Mapping):
        return data
    return {**data, "design": {**design, "arms": arms_listed(design["arms"])}}


@checked(SpecError)
def read_measure(text: str, beside: Path) -> Measure:
    """Read a measure that is written as a TOML table, as on a command line; vectors are files within ``beside``.

    Raises :class:`SpecError`.
    """
    with worded(
        SpecError,
        "measure",
        root="measure",
        required='a table as {measure = "token_logprobs", sets = {yes = ["Yes"], no = ["No"]}}',
        hint="See the docs' page measures.",
        also=(ValueError, TypeError),
    ):
        table = parse_toml(f"measure = {text}" if text.lstrip().startswith("{") else f'measure = "{text}"')["measure"]
        found: Measure = reader(beside, {}).structure(table, Measure)  # type: ignore[type-abstract]  # read by its name
    return found
