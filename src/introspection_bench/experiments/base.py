"""What an experiment is: a design that is made from a few choices, the rule that decides it, and its chance level."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from ..boundaries import checked, guarded
from ..concepts import ConceptSet, as_concepts, load_concepts
from ..doses import Depth, Dose, as_doses
from ..errors import SpecError, explain
from ..freezing import frozen_tuple
from ..identity import Sampling
from ..items import Item
from ..measures.base import Measure
from ..scaffolds import Scaffold
from ..spans import Span
from ..structuring import worded
from ..sweep.arms import Arm
from ..sweep.bands import Band
from ..sweep.design import Design, as_bands
from ..sweep.spec import JudgeSpec, ModelSpec, RunSpec
from ..sweep.tables import toml_value
from ..sweep.written import reader

#: The concepts of an experiment that is asked for without any: few enough for a small model on a processor.
FEW = ("Oceans", "Bread", "Poetry", "Volcanoes")


@guarded(SpecError)
@attrs.frozen
class Settings:
    """What somebody wants otherwise than an experiment's defaults, which None leaves as they are.

    See :meth:`Experiment.design` for what each is. Raises :class:`SpecError` for a value that is none.
    """

    concepts: ConceptSet | None = attrs.field(converter=as_concepts, default=None)
    layers: tuple[Band, ...] | None = attrs.field(converter=attrs.converters.optional(as_bands), default=None)
    doses: tuple[Dose, ...] | None = attrs.field(converter=attrs.converters.optional(as_doses), default=None)
    trials: int | None = attrs.field(default=None)
    sampling: Sampling | None = None
    seed: int = 0

    @trials.validator
    def _check_trials(self, _: object, value: int | None) -> None:
        if value is not None and (isinstance(value, bool) or value < 1):
            raise SpecError(explain("trials", required="a whole number >= 1", got=value, hint=""))


@checked(SpecError)
def read_settings(texts: Iterable[str]) -> Settings:
    """Read settings that are written ``trials=2`` and ``layers=[15, "2/3"]``: a name and a TOML value each.

    A bare word is text, and one layer or dose needs no brackets. Raises :class:`SpecError`.
    """
    table: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or name in table or name not in attrs.fields_dict(Settings):
            raise SpecError(
                explain(
                    "setting",
                    required=f"NAME=VALUE, each name once, out of {list(attrs.fields_dict(Settings))}",
                    got=text,
                    hint="As in trials=2 layers=20 doses='0.4 residual'.",
                )
            )
        found = toml_value(value)
        table[name] = [found] if name in ("layers", "doses") and not isinstance(found, list) else found
    with worded(SpecError, "settings", root="settings", required="as the docs' page experiments has them", hint=""):
        return reader(Path(), {}).structure(table, Settings)


@guarded(SpecError)
@attrs.frozen
class Choices:
    """What is chosen of an experiment, its defaults filled in: what its design is made from.

    ``trials`` counts the injected trials of each concept, scaffold, layer and dose; the arms beside it follow from it.
    """

    concepts: ConceptSet
    layers: tuple[Band, ...]
    doses: tuple[Dose, ...]
    trials: int
    sampling: Sampling
    seed: int = 0

    @property
    def together(self) -> int:
        """As many trials as the injected ones of one cell, for an arm without concepts."""
        return self.trials * len(self.concepts)

    def design(
        self,
        scaffolds: Sequence[Scaffold],
        arms: Sequence[Arm],
        span: Span | dict[str, Span],
        items: Sequence[Item] = (),
    ) -> Design:
        """Return the design of what is chosen, its arms paired draw by draw."""
        return Design(
            scaffolds=scaffolds,
            items=items,
            concepts=self.concepts,
            layers=self.layers,
            doses=self.doses,
            span=span,
            arms=arms,
            sampling=self.sampling,
            seed=self.seed,
            paired="draw",
        )


@guarded(SpecError)
@attrs.frozen
class Experiment:
    """One experiment.

    Attributes:
        name: what commands call it.
        title: a heading.
        source: whose it is, and whose the wordings are.
        asks: what is done and asked, in a sentence or two.
        outcome: what is counted, and who decides it.
        chance: what the outcome comes to without introspection, and where that is read.
        layers: the default layers, by depth.
        doses: the default doses.
        trials: the default number of injected trials for each concept in each cell.
        tokens: the most tokens of a reply.
        judge: who decides the outcome.
        build: makes the design.
        measures: what is read besides.
    """

    name: str
    title: str
    source: str
    asks: str
    outcome: str
    chance: str
    layers: tuple[Band, ...] = attrs.field(converter=frozen_tuple)
    doses: tuple[str, ...] = attrs.field(converter=frozen_tuple)
    trials: int
    tokens: int
    judge: JudgeSpec
    build: Callable[[Choices], Design] = attrs.field(repr=False)
    measures: tuple[Measure, ...] = attrs.field(converter=frozen_tuple, default=())

    @checked(SpecError)
    def design(
        self,
        *,
        concepts: ConceptSet | str | None = None,
        layers: Iterable[Any] | None = None,
        doses: Iterable[str | Dose] | None = None,
        trials: int | None = None,
        sampling: Sampling | None = None,
        seed: int = 0,
    ) -> Design:
        """Return the experiment's design; what is not given is its default.

        Args:
            concepts: a set, or its name; by default four of Lindsey 2026.
            layers: indices, depths, or bands of them, as those of a :class:`~introspection_bench.Design`.
            doses: as ``"0.3 residual"``; none where nothing is injected.
            trials: injected trials for each concept in each cell.
            sampling: by default temperature 1 and as many tokens as the outcome needs.
            seed: of what is drawn.

        Raises:
            SpecError: for a value that is none.
        """
        return self.designed(Settings(concepts, layers, doses, trials, sampling, seed))

    @checked(SpecError)
    def designed(self, settings: Settings) -> Design:
        """Return the design under settings; what they leave open is the experiment's default."""
        return self.build(
            Choices(
                concepts=settings.concepts or load_concepts("lindsey2026").select(*FEW),
                layers=self.layers if settings.layers is None else settings.layers,
                doses=tuple(Dose.parse(d) for d in self.doses) if settings.doses is None else settings.doses,
                trials=settings.trials or self.trials,
                sampling=settings.sampling or Sampling(max_new_tokens=self.tokens),
                seed=settings.seed,
            )
        )

    @checked(SpecError)
    def spec(
        self,
        model: str = "demo",
        *,
        backend: str = "torch",
        directory: str | None = None,
        settings: Settings | None = None,
    ) -> RunSpec:
        """Return the run of the experiment on a model, its judge and measures included.

        :func:`~introspection_bench.run_spec` runs it. ``directory`` is by default ``runs/`` and the experiment's name;
        ``settings`` take the place of the experiment's defaults.
        """
        return RunSpec(
            self.designed(settings or Settings()),
            ModelSpec(model, backend),
            judge=self.judge,
            measures=self.measures,
            directory=directory or f"runs/{self.name}",
        )


def at_depth(*fractions: float) -> tuple[Band, ...]:
    """Return single layers by their shares of the depth."""
    return tuple((Depth(f),) for f in fractions)


def outcome(name: str) -> JudgeSpec:
    """Return the judge that decides an outcome by a rule."""
    return JudgeSpec("outcome", options={"rubric": name})
