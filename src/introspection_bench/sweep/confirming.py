"""A design whose best cell is chosen by one part of the trials and confirmed by the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from ..analysis.searching import Search
from ..boundaries import checked, guarded
from ..concepts import ConceptSet
from ..digests import digest
from ..errors import SpecError, explain
from ..trials import Trial, TrialRecord
from .choosing import Candidate, Chosen, Confirmation, choose
from .design import Design
from .planner import Ground, PlannedTrial, Planner, plan
from .searching import Searching
from .words import background, background_words


@guarded(SpecError)
@attrs.frozen
class Confirmed(Planner):
    """The planner that asks for all trials of a design first, and for those that confirm its best cell after.

    The first part is ``selection``; when all of it is judged, the rule chooses from it once, which the run keeps. The
    second part is ``confirmation``: the design's arms, controls among them, at what was chosen. No trial of it can be
    one of the first part, and with ``paired`` draws it shares no random numbers with them.

    With a ``search`` the first part is one (:class:`Searching`), of the rule's arm and those without a dose; the others
    are run at what was chosen. Cells with fewer trials than :attr:`Search.batch` are then not chosen.

    Raises :class:`SpecError` where the rule's arm isn't the design's, or has nothing to choose from; where an arm of
    ``trials`` isn't; where fresh concepts are among the design's; and where doses in several units are to be tied by
    the lower one.
    """

    selecting: Design
    confirmation: Confirmation = attrs.field()
    search: Search | None = None

    def __attrs_post_init__(self) -> None:
        rule, arms = self.confirmation.rule, {a.name: a for a in self.selecting.arms}
        self._check_search()
        stated = self.confirmation.trials
        strangers = sorted({rule.arm, *(stated if isinstance(stated, Mapping) else ())} - set(arms))
        if strangers:
            raise SpecError(
                explain("confirm", required=f"arms of the design, {list(arms)}", got=strangers, hint="By their names.")
            )
        there: dict[str, Sequence[object]] = {}
        if not any(arms[rule.arm].asks(scaffold) for scaffold in self.selecting.scaffolds):  # else it has its own
            there["scaffold"] = self.selecting.scaffolds
        if arms[rule.arm].dosed:
            there |= {"layers": self.selecting.layers, "dose": self.selecting.doses}
        none = [name for name in rule.chooses if name not in there]
        if none or all(len(there[name]) < 2 for name in rule.chooses):
            raise SpecError(
                explain(
                    "rule.chooses",
                    required=f"some of {sorted(there)}, of which the arm {rule.arm!r} has several",
                    got=list(rule.chooses),
                    hint="With one cell alone there is nothing to choose, and nothing to confirm.",
                )
            )
        units = {d.unit.value for d in self.selecting.doses}
        if "lower dose" in rule.ties and len(units) > 1:
            raise SpecError(
                explain(
                    "rule.ties", required="doses in one unit for 'lower dose'", got=sorted(units), hint="Leave it out."
                )
            )
        fresh = [c.name for c in self.confirmation.concepts or ()]
        shared = sorted({c.name for c in self.selecting.concepts or ()} & set(fresh))
        if shared or (fresh and self.selecting.concepts is None):
            raise SpecError(
                explain(
                    "confirm.concepts",
                    required="concepts that the selecting part doesn't have",
                    got=shared or "a design without concepts",
                    hint="A concept that chose the cell can't confirm it as a fresh one.",
                )
            )
        background_words(self.whole)  # what it raises should be known before anything is run

    def _check_search(self) -> None:
        rule, search = self.confirmation.rule, self.search
        if search is None:
            return
        if (rule.judge, rule.rubric, rule.arm) != (search.judge, search.rubric, search.arm):
            raise SpecError(
                explain(
                    "confirm.rule",
                    required=f"judge, rubric and arm of the search: {search.judge}, {search.rubric}, {search.arm}",
                    got=f"{rule.judge}, {rule.rubric}, {rule.arm}",
                    hint="One judge's verdicts steer the search, and choose from it.",
                )
            )
        _ = self.searching  # what it raises should be known before anything is run

    @property
    def searching(self) -> Searching | None:
        """The search that is the selecting part; None where that is the design."""
        if self.search is None:
            return None
        arms = [a for a in self.selecting.arms if not a.dosed or a.name == self.search.arm]
        return Searching(attrs.evolve(self.selecting, arms=arms), self.search, "selection")

    @property
    def design(self) -> Design:
        """The selecting part."""
        return self.selecting

    @property
    def judge(self) -> str:
        """The rule's judge."""
        return self.confirmation.rule.judge

    @property
    def whole(self) -> Design:
        """The design with the fresh concepts among its own."""
        return attrs.evolve(self.selecting, concepts=self._concepts(self.selecting.concepts))

    def designs(self, chosen: Chosen | None) -> list[Design]:
        """Return the selecting part, and the confirming one where there is a choice."""
        cell = None if chosen is None else chosen.cell
        first = [self.selecting] if self.searching is None else self.searching.designs(None)
        return first if cell is None else [*first, self.confirming_design(cell)]

    def choose(self, done: Sequence[TrialRecord]) -> Chosen | None:
        """Return what the rule chooses from the selecting part; None where that still searches."""
        if self.searching is None or self.search is None:
            return choose(self.confirmation.rule, done)
        over = self.searching.is_over(done)
        return choose(self.confirmation.rule, done, fewest=self.search.batch) if over else None

    def most(self, ground: Ground) -> list[PlannedTrial]:
        """Return the selecting trials, or as many as its search may ask for."""
        return self.ask(ground, []) if self.searching is None else self.searching.most(ground)

    def ask(self, ground: Ground, done: Sequence[TrialRecord]) -> list[PlannedTrial]:
        """Return the selecting trials; then, of a choice that was made, those that confirm it."""
        if self.searching is not None:
            further = self.searching.ask(ground, done)  # a run that goes on has chosen already, and asks all again
            if further:
                return further
        elif not done:
            return plan(self.selecting, ground, part="selection")
        if ground.chosen is None or ground.chosen.cell is None or any(r.trial.part == "confirmation" for r in done):
            return []
        return self.confirming(ground, ground.chosen.cell, [r.trial for r in done])

    @checked(SpecError)
    def confirming(self, ground: Ground, cell: Candidate, before: Sequence[Trial]) -> list[PlannedTrial]:
        """Return the trials that confirm a cell, none of them one of those before."""
        if ground.background:
            vectors = [v for some in ground.background.values() for v in some.vectors]
            ground = attrs.evolve(ground, background=background(self.whole, vectors, ground.model.n_layers))
        found = plan(self.confirming_design(cell), ground, part="confirmation", before=before)
        again = {t.key.digest for t in found} & {t.key.digest for t in before}
        if again:  # by construction there is none; a referee should not have to trust that
            raise SpecError(explain("confirm", required="fresh trials", got=f"{len(again)} that selected", hint=""))
        return found

    @checked(SpecError)
    def confirming_design(self, cell: Candidate) -> Design:
        """Return what is run to confirm a cell."""
        design = self.selecting
        scaffolds = [s for s in design.scaffolds if cell.scaffold in (None, s.name)]
        names, concepts = [s.name for s in scaffolds], self._confirming_concepts()
        return attrs.evolve(
            design,
            scaffolds=scaffolds,
            span={name: design.span[name] for name in names} if isinstance(design.span, dict) else design.span,
            items=[i for i in design.items if any(set(i.slots) == set(s.slots) for s in scaffolds)],
            layers=[cell.layers] if cell.layers else design.layers,
            doses=[cell.dose] if cell.dose is not None else design.doses,
            arms=[attrs.evolve(a, n=self.confirmation.n_of(a.name, a.n)) for a in design.arms],  # type: ignore[misc]  # an arm is a frozen attrs class
            concepts=concepts,
            vectors=[v for v in design.vectors if v.concept in {c.name for c in concepts or ()}],
            # Of this derive the random vectors, the orders, and the random numbers of paired trials.
            seed=int(digest("confirmation", 1, [design.seed])[:8], 16),
        )

    def _confirming_concepts(self) -> ConceptSet | None:
        own = self.selecting.concepts
        if self.confirmation.fresh == "concepts" and own is not None and self.confirmation.concepts is not None:
            return attrs.evolve(own, concepts=self.confirmation.concepts.concepts)
        return self._concepts(own)

    def _concepts(self, own: ConceptSet | None) -> ConceptSet | None:
        """Return the design's concepts with the fresh ones behind them; the baseline stays the design's."""
        if own is None or self.confirmation.concepts is None:
            return own
        return attrs.evolve(own, concepts=(*own.concepts, *self.confirmation.concepts.concepts))
