"""A published recipe as a value: all that an experiment fixes, and what of it is not known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import attrs

from ..boundaries import checked, guarded
from ..concepts import ConceptSet, as_concepts, load_concepts
from ..doses import Dose, as_doses
from ..errors import RubricError, SpecError, explain
from ..freezing import frozen_mapping, frozen_tuple
from ..identity import Sampling
from ..injectors.base import Injector
from ..items import Item
from ..judges.registry import open_judge
from ..judges.rubrics import load_rubric
from ..measures.base import Measure
from ..recipes import Recipe
from ..scaffolds import Scaffold
from ..showing import named, quoted, shown
from ..spans import REPLY, START, Span
from ..sweep.arms import Arm
from ..sweep.bands import Band
from ..sweep.design import Design, as_bands, as_items, as_scaffolds, as_span
from ..sweep.spec import JudgeSpec, ModelSpec, RunSpec
from .ablation import Ablation

#: Which trials a published rate is out of: all, those whose reply is coherent, or those that are coherent or deny.
Conditioning = Literal["all", "coherent", "coherent or denies"]
#: What a published headline counts: a claim; a claim and the concept; both, the claim first, in a coherent reply; the
#: concept alone; the log-odds of a yes; which of several places was picked.
Outcome = Literal["affirmed", "affirmed and named", "strict", "named", "yes log-odds", "picked"]
Structure = Literal["single", "separate", "staged", "none"]

#: What two protocols can differ in, and the fields that each of it is made of.
FACTORS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "concepts": ("concepts",),
        "vectors": ("recipe", "baseline"),
        "ablation": ("ablation",),
        "layers": ("layers",),
        "dose": ("doses",),
        "span": ("span",),
        "prompt": ("scaffolds", "items"),
        "sampling": ("sampling",),
        "arms": ("arms",),
        "judge": ("judging",),
        "rubric": ("rubric",),
        "conditioning": ("conditioning",),
        "outcome": ("outcome", "measures"),
    }
)
#: What a remark may be about.
FIELDS = tuple(field for fields in FACTORS.values() for field in fields)


@guarded(SpecError)
@attrs.frozen
class Judging:
    """How replies were judged as published: by which ``model`` (None where none is named), in which structure.

    ``structure``: ``single`` (one call answers everything), ``separate`` (a call for each question), ``staged`` (the
    second only after a first yes), ``none`` (nothing was judged: numbers were read). ``told`` is what the judge learns
    besides question and reply.
    """

    model: str | None = None
    structure: Structure = "single"
    told: str = ""

    def __str__(self) -> str:
        if self.structure == "none":
            return "none"
        return f"{self.model or 'an unnamed model'}, {self.structure}" + (f", told {self.told}" if self.told else "")


def _words(value: str | Iterable[str]) -> tuple[Any, ...]:
    return load_concepts(value).baseline if isinstance(value, str) else frozen_tuple(value)


@guarded(SpecError)
@attrs.frozen
class Protocol:
    """A published recipe, or one of your own: what is asked, injected, sampled, judged and counted.

    Attributes:
        name: what it is called; a variant is ``protocol/variant``.
        title: one line for people.
        source: the citation.
        scaffolds: what is asked; each has the anchors that ``span`` names.
        items: what fills the scaffolds' slots.
        recipe: how vectors are made.
        concepts: the set that is injected, by name or as a value.
        baseline: the words that the recipe ``word`` subtracts the mean of; by the name of a set, or as words. They go
            with the vectors: other concepts are measured against the same words.
        span: where; one, or one for each scaffold's name.
        doses: how much.
        layers: blocks or depths, or several to be steered at once, as in :class:`~introspection_bench.Design`.
        sampling: how replies are sampled.
        arms: what is done, and how many trials of it.
        rubric: by which our judges are asked: a built-in's name, or a file's path.
        judging: how replies were judged as published.
        conditioning: which trials a published rate is out of.
        outcome: what the published headline counts.
        measures: what is read beside or instead of replies.
        ablation: what is removed from the stream of every trial.
        published: what the source reports of it, one statement each.
        unknown: by field, what is not published; what stands in the field is ours.
        unverified: by field, what only third parties report.
        departures: by field, what the library does otherwise.

    Raises :class:`SpecError` that names the field, for a remark about a field that there isn't, too.
    """

    name: str
    scaffolds: tuple[Scaffold, ...] = attrs.field(converter=as_scaffolds)
    arms: tuple[Arm, ...] = attrs.field(converter=frozen_tuple)
    title: str = ""
    source: str = ""
    items: tuple[Item, ...] = attrs.field(converter=as_items, default=())
    recipe: Recipe | None = None
    concepts: ConceptSet | None = attrs.field(converter=as_concepts, default=None)
    baseline: tuple[str, ...] = attrs.field(converter=_words, default=())
    span: Span | dict[str, Span] = attrs.field(converter=as_span, factory=lambda: Span.from_anchor("trial"), hash=False)
    doses: tuple[Dose, ...] = attrs.field(converter=as_doses, default=())
    layers: tuple[Band, ...] = attrs.field(converter=as_bands, default=())
    sampling: Sampling = attrs.field(factory=Sampling)
    rubric: str = "strict4"
    judging: Judging = attrs.field(factory=Judging)
    conditioning: Conditioning = "all"
    outcome: Outcome = "strict"
    measures: tuple[Measure, ...] = attrs.field(converter=frozen_tuple, default=())
    ablation: Ablation | None = None
    published: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=())
    unknown: Mapping[str, str] = attrs.field(converter=frozen_mapping, factory=dict, hash=False)
    unverified: Mapping[str, str] = attrs.field(converter=frozen_mapping, factory=dict, hash=False)
    departures: Mapping[str, str] = attrs.field(converter=frozen_mapping, factory=dict, hash=False)

    def __repr__(self) -> str:
        arms = named("arms", [f"{arm.name} {arm.n}" for arm in self.arms])
        scaffolds = named("scaffolds", [s.name for s in self.scaffolds])
        return shown(self, repr(self.name), quoted(self.title), scaffolds, named("doses", self.doses), arms)

    def __attrs_post_init__(self) -> None:
        for kind in REMARKS:
            strangers = sorted(set(getattr(self, kind)) - set(FIELDS))
            if strangers:
                raise SpecError(
                    explain(
                        f"protocol {self.name!r}: {kind}",
                        required=f"remarks about {list(FIELDS)}",
                        got=strangers,
                        hint="Put what concerns none of them into published or source.",
                    )
                )
        load_rubric(self.rubric)
        self._check_anchors()
        self._design(self.concepts, 0)

    @property
    def factors(self) -> Mapping[str, Any]:
        """What another protocol may do otherwise, by name: the value of one field, or of several by theirs."""
        told = {name: {f: getattr(self, f) for f in fields} for name, fields in FACTORS.items()}
        return MappingProxyType({name: v if len(v) > 1 else next(iter(v.values())) for name, v in told.items()})

    @checked(SpecError)
    def remark(self, field: str) -> str | None:
        """Return how sure a field is: ``"unknown"`` (ours), ``"unverified"``, or None where the source says it.

        Raises :class:`SpecError` for a field that remarks can't be about.
        """
        if field not in FIELDS:
            raise SpecError(explain("field", required=f"one of {list(FIELDS)}", got=field, hint=""))
        return next((kind for kind in ("unknown", "unverified") if field in getattr(self, kind)), None)

    @checked(SpecError)
    def design(
        self, concepts: ConceptSet | str | None = None, *, model: Injector | None = None, seed: int = 0
    ) -> Design:
        """Return what is run: its own concepts, or others, against the protocol's baseline.

        ``model`` is needed where the protocol has an ablation, whose directions are read on it. Raises
        :class:`SpecError` where it is missing, and for what doesn't fit, and
        :class:`~introspection_bench.errors.ConceptError`.
        """
        design = self._design(as_concepts(concepts) or self.concepts, seed)
        if self.ablation is None:
            return design
        if model is None:
            raise SpecError(
                explain(
                    "model",
                    required=f"an open model, on which the directions of {self.name!r} are read",
                    got="none",
                    hint="Pass ib.open_injector(…), or use Protocol.spec, which opens it.",
                )
            )
        return self.ablation.applied(design, model)

    def _design(self, concepts: ConceptSet | None, seed: int) -> Design:
        if concepts is not None and self.baseline:
            concepts = attrs.evolve(concepts, baseline=self.baseline)
        return Design(
            scaffolds=self.scaffolds,
            concepts=concepts,
            recipe=self.recipe,
            layers=self.layers,
            doses=self.doses,
            span=self.span,
            arms=self.arms,
            items=self.items,
            sampling=self.sampling,
            seed=seed,
        )

    @property
    def rules_rubric(self) -> str:
        """The rubric that the judge ``rules`` is asked by: the protocol's own if rules can follow it, else strict4."""
        try:
            open_judge("rules", rubric=self.rubric)
        except RubricError:
            return "strict4"
        return self.rubric

    @checked(SpecError)
    def spec(
        self,
        model: str | ModelSpec,
        *,
        concepts: ConceptSet | str | None = None,
        judge: JudgeSpec | None = None,
        directory: str | None = None,
        overrides: Sequence[str] = (),
        seed: int = 0,
    ) -> RunSpec:
        """Return a run of it on a model (a name is one on the backend ``torch``), judged by ``rules`` by default.

        ``overrides`` are as those of a specification's file, ``design.arms.injected.n=1``. The model is opened where
        the protocol has an ablation. Raises what :meth:`design` and ``RunSpec.with_overrides`` raise.
        """
        found = RunSpec(
            self._design(as_concepts(concepts) or self.concepts, seed),
            ModelSpec(model) if isinstance(model, str) else model,
            JudgeSpec("rules", options={"rubric": self.rules_rubric}) if judge is None else judge,
            measures=self.measures,
            directory=directory,
            protocol=self.name,
        ).with_overrides(overrides)
        if self.ablation is None:
            return found
        with found.model.open() as injector:
            return attrs.evolve(found, design=self.ablation.applied(found.design, injector))

    @checked(SpecError)
    def with_factors_of(self, other: Protocol, names: Iterable[str], *, name: str | None = None) -> Protocol:
        """Return it with some :attr:`factors` of another one, and their remarks.

        A span goes by anchors, so that each prompt is steered at its own of that name. In the unit ``raw`` a dose
        means something else where the vectors' norms are others: ``vectors`` and ``dose`` belong together then.
        A span by scaffold goes over to other scaffolds where it is the same for all of its own. Raises
        :class:`SpecError` for a factor that there isn't, and where what comes of it can't be: a span that begins at an
        anchor which the other's scaffolds lack, or that differs by scaffold (take both factors, ``prompt`` and
        ``span``, then).
        """
        wanted = list(dict.fromkeys(names))
        strangers = [n for n in wanted if n not in FACTORS]
        if strangers:
            raise SpecError(explain("names", required=f"factors out of {list(FACTORS)}", got=strangers, hint=""))
        fields = [f for n in wanted for f in FACTORS[n]]
        changed = {f: getattr(other, f) for f in fields}
        spans = changed.get("span", self.span)
        scaffolds = changed.get("scaffolds", self.scaffolds)
        changed["span"] = _span_for(spans, scaffolds)
        for kind in REMARKS:
            mine, theirs = getattr(self, kind), getattr(other, kind)
            kept = {f: text for f, text in mine.items() if f not in fields}
            changed[kind] = kept | {f: theirs[f] for f in fields if f in theirs}
        told = name or f"{self.name} with {', '.join(wanted) or 'nothing'} of {other.name}"
        return attrs.evolve(self, name=told, published=(), **changed)

    def _check_anchors(self) -> None:
        for scaffold in self.scaffolds:
            span = self.span.get(scaffold.name) if isinstance(self.span, dict) else self.span
            needed = set() if span is None else {a for a in (span.start_anchor, span.stop_anchor) if a is not None}
            lacking = needed - {START, REPLY} - {a.name for a in scaffold.anchors}
            if lacking:
                raise SpecError(
                    explain(
                        f"protocol {self.name!r}: span",
                        required=f"anchors of the scaffold {scaffold.name!r}, {[a.name for a in scaffold.anchors]}",
                        got=str(span),
                        hint="Give the scaffold that anchor, take another span, or leave the scaffold out.",
                    )
                )


#: The fields that hold remarks about others.
REMARKS = ("unknown", "unverified", "departures")


def _span_for(span: Span | dict[str, Span], scaffolds: Iterable[Scaffold]) -> Span | dict[str, Span]:
    """Return where other scaffolds are steered: as before, or by their names where it differs."""
    if not isinstance(span, dict):
        return span
    names = {s.name for s in scaffolds}
    if names <= set(span):
        return {n: s for n, s in span.items() if n in names}
    if len(set(span.values())) == 1:
        return next(iter(span.values()))
    raise SpecError(
        explain(
            "names",
            required="prompt and span together, where the span is another one for each scaffold",
            got=sorted(span),
            hint="Take both factors, or neither.",
        )
    )
