"""Which cell one part of a run chooses and the other confirms: the rule, what is planned to confirm it, the choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from ..boundaries import checked, guarded
from ..concepts import ConceptSet, load_concepts
from ..conditions import INJECTED, layers_text
from ..doses import Dose
from ..errors import SpecError, explain
from ..freezing import frozen_ints, frozen_mapping, frozen_tuple, plain_float, plain_int
from ..judges.base import Judge
from ..trials import TrialRecord
from ..verdicts import fits_rubric

#: What a rule may choose; what it doesn't is kept whole.
Chooses = Literal["scaffold", "layers", "dose"]
#: What settles a tie before the order of the design does.
Tie = Literal["more coherent", "lower dose"]
#: What is fresh in the trials that confirm. Each of them has random numbers of its own in any case.
Fresh = Literal["seeds", "concepts", "both"]


def _dose(value: Any) -> Any:
    return Dose.parse(value) if isinstance(value, str) else value


@guarded(SpecError)
@attrs.frozen
class SelectionRule:
    """How a cell is chosen, stated before anything is run.

    Attributes:
        chooses: of what one is chosen; over what is not chosen (scaffolds, say) the trials are pooled, and all of it is
            confirmed.
        outcome: the cell with the highest rate of it is chosen: ``strict``, or a criterion of the rubric. The rate is
            over all trials of the arm: an unscored one, or one to which it doesn't apply, counts as not met.
        judge: whose verdicts count, by name.
        rubric: of which rubric; None where that judge has one alone.
        coherent: the least share of a cell's trials, 0 to 1, that must be judged coherent for it to be chosen.
        ties: what settles a tie, one after the other; then the order of the design does.
        arm: the arm whose trials choose.

    Raises :class:`SpecError`.
    """

    chooses: tuple[Chooses, ...] = attrs.field(converter=frozen_tuple, default=("layers", "dose"))
    outcome: str = "strict"
    judge: str = "rules"
    rubric: str | None = None
    coherent: float = attrs.field(converter=plain_float, default=0.0)
    ties: tuple[Tie, ...] = attrs.field(converter=frozen_tuple, default=("more coherent",))
    arm: str = INJECTED

    def __attrs_post_init__(self) -> None:
        twice = len(set(self.chooses)) < len(self.chooses) or len(set(self.ties)) < len(self.ties)
        if not self.chooses or twice or not 0 <= self.coherent <= 1:
            raise SpecError(
                explain(
                    "rule",
                    required="something to choose, each once, and a share of coherent replies from 0 to 1",
                    got=f"{self.chooses}, ties {self.ties}, coherent {self.coherent}",
                    hint="See ib.SelectionRule.",
                )
            )

    @property
    def sentence(self) -> str:
        """The rule in words."""
        what = " and ".join(self.chooses) if len(self.chooses) < 3 else "scaffold, layers and dose"
        floor = f", among those with at least {self.coherent:.4g} of the replies coherent" if self.coherent else ""
        ties = ", then ".join([*self.ties, "the order of the design"])
        rubric = "" if self.rubric is None else f"/{self.rubric}"
        return (
            f"The {what} with the highest rate of {self.outcome} (judge {self.judge}{rubric}; all trials of the arm "
            f"{self.arm} count, unscored ones as not met){floor}; ties are settled by {ties}."
        )

    @checked(SpecError)
    def check_judge(self, judge: Judge) -> None:
        """Raise :class:`SpecError` unless a judge is the rule's, and can say what the rule asks."""
        criteria = judge.rubric.criteria
        fine = judge.name == self.judge and fits_rubric(judge.rubric.id, self.rubric)
        if not fine or self.outcome not in ("strict", *criteria) or (self.coherent and "coherent" not in criteria):
            raise SpecError(
                explain(
                    "rule",
                    required=f"judge {judge.name!r}, rubric {judge.rubric.id!r}, an outcome of "
                    f"{['strict', *criteria]}" + (", and a rubric that asks for coherence" if self.coherent else ""),
                    got=f"judge {self.judge!r}, rubric {self.rubric!r}, outcome {self.outcome!r}",
                    hint="The rule chooses by the judge that the run is judged by.",
                )
            )


def _trials(value: Any) -> Any:
    if isinstance(value, Mapping):
        return frozen_mapping({arm: plain_int(n) for arm, n in value.items()})
    return plain_int(value)


def _concepts(value: Any) -> Any:
    return load_concepts(value) if isinstance(value, str) else value


@guarded(SpecError)
@attrs.frozen
class Confirmation:
    """What confirms the cell that a rule has chosen.

    Attributes:
        rule: how it is chosen.
        trials: the arms' ``n``, for all or by the arm's name; None, and an arm that is not named: as in the design.
        fresh: ``seeds``: the same concepts. ``concepts``: others alone. ``both``: the same ones and the others.
            Random numbers are fresh in any case, and so are the directions of random vectors.
        concepts: the others; a set, or its name.

    Raises :class:`SpecError` for fresh concepts that are not given, and for given ones that ``fresh`` doesn't name.
    """

    rule: SelectionRule = attrs.field(factory=SelectionRule)
    trials: int | Mapping[str, int] | None = attrs.field(converter=_trials, default=None, hash=False)
    fresh: Fresh = "seeds"
    concepts: ConceptSet | None = attrs.field(converter=_concepts, default=None)

    def __attrs_post_init__(self) -> None:
        if (self.concepts is None) != (self.fresh == "seeds"):
            raise SpecError(
                explain(
                    "confirm.concepts",
                    required="fresh concepts for fresh = 'concepts' or 'both', and none for 'seeds'",
                    got="none" if self.concepts is None else f"some, with fresh = {self.fresh!r}",
                    hint="State both, or neither.",
                )
            )
        numbers = self.trials.values() if isinstance(self.trials, Mapping) else [self.trials]
        if any(n is not None and n < 1 for n in numbers):
            raise SpecError(explain("confirm.trials", required="whole numbers >= 1", got=self.trials, hint=""))

    @checked(SpecError)
    def n_of(self, arm: str, n: int) -> int:
        """Return the ``n`` of an arm that has this many in the selecting part."""
        stated = self.trials.get(arm) if isinstance(self.trials, Mapping) else self.trials
        return n if stated is None else stated


@guarded(SpecError)
@attrs.frozen
class Candidate:
    """One cell that could be chosen, and what its trials said.

    What the rule doesn't choose is None, ``layers`` then empty. ``met`` counts the trials with the rule's outcome,
    ``coherent`` those judged coherent, of ``trials`` in all, ``unscored`` ones among them.
    """

    scaffold: str | None
    layers: tuple[int, ...] = attrs.field(converter=frozen_ints)
    dose: Dose | None = attrs.field(converter=_dose)
    met: int
    coherent: int
    trials: int
    unscored: int

    def __attrs_post_init__(self) -> None:
        if not 0 <= max(self.met, self.coherent, self.unscored) <= self.trials or self.trials < 1:
            raise SpecError(
                explain("candidate.trials", required="trials, and at most so many met", got=self.trials, hint="")
            )

    @property
    def rate(self) -> float:
        """The share of trials with the rule's outcome."""
        return self.met / self.trials

    def __str__(self) -> str:
        layers = f"layer {layers_text(self.layers)}" if self.layers else ""
        return ", ".join(filter(None, (self.scaffold, layers, "" if self.dose is None else str(self.dose))))


@guarded(SpecError)
@attrs.frozen
class Chosen:
    """What a rule chose: all candidates in the order of the design, and the place of the one that is confirmed.

    ``index`` is None where no candidate has enough coherent replies; ``tied`` counts those with the highest rate.
    """

    candidates: tuple[Candidate, ...] = attrs.field(converter=frozen_tuple)
    index: int | None
    tied: int

    def __attrs_post_init__(self) -> None:
        if self.index is not None and not 0 <= self.index < len(self.candidates):
            raise SpecError(
                explain("chosen.index", required=f"one of {len(self.candidates)} candidates", got=self.index, hint="")
            )

    @property
    def cell(self) -> Candidate | None:
        """The one that is confirmed."""
        return None if self.index is None else self.candidates[self.index]


@checked(SpecError)
def choose(rule: SelectionRule, records: Sequence[TrialRecord], *, fewest: int = 1) -> Chosen:
    """Return what a rule chooses from finished trials, in the order of their plan.

    A cell with fewer than ``fewest`` trials is not chosen: a search leaves some with one.

    Raises :class:`SpecError` where the arm has no trials, one of them no verdict of the rule's judge, or no verdict
    answers the rule's outcome.
    """
    by_cell: dict[tuple[Any, ...], list[TrialRecord]] = {}
    for record in records:
        if record.arm == rule.arm:
            told = {
                "scaffold": record.scaffold,
                "layers": record.condition.layers,
                "dose": record.condition.stated_dose,
            }
            place = tuple(told[name] if name in rule.chooses else None for name in told)
            by_cell.setdefault(place, []).append(record)
    if not by_cell:
        raise SpecError(
            explain("rule.arm", required="an arm of the run", got=rule.arm, hint="Its trials are those that choose.")
        )
    candidates = [_candidate(rule, place, mine) for place, mine in by_cell.items()]
    fit = [(n, c) for n, c in enumerate(candidates) if c.coherent >= rule.coherent * c.trials and c.trials >= fewest]
    if not fit:
        return Chosen(candidates, None, 0)
    best = max(c.rate for _, c in fit)
    tied = [(n, c) for n, c in fit if c.rate == best]
    # min returns the first: the order of the design settles what is left.
    index, _ = min(tied, key=lambda found: [_order(tie, found[1]) for tie in rule.ties])
    return Chosen(candidates, index, len(tied))


def _candidate(rule: SelectionRule, place: tuple[Any, ...], records: Sequence[TrialRecord]) -> Candidate:
    verdicts = [r.verdict(rule.judge, rule.rubric) for r in records]
    unjudged = sum(v is None for v in verdicts)
    scored = [v for v in verdicts if v is not None and v.unscored is None]
    asked = {"strict"} | {name for v in scored for name in v.answers}
    wanted = {rule.outcome} | ({"coherent"} if rule.coherent else set())
    if unjudged or (scored and not wanted <= asked):
        raise SpecError(
            explain(
                "rule",
                required=f"a verdict of judge {rule.judge!r} on every trial that chooses, with {sorted(wanted)}",
                got=f"{unjudged} of {len(records)} without one" if unjudged else f"verdicts with {sorted(asked)}",
                hint="Judge the run by that judge first.",
            )
        )
    met = sum(v.outcome(rule.outcome) is True for v in scored)
    coherent = sum(v.answers.get("coherent") is True for v in scored)
    scaffold, layers, dose = place
    return Candidate(scaffold, layers or (), dose, met, coherent, len(records), len(records) - len(scored))


def _order(tie: Tie, candidate: Candidate) -> float:
    """Return by what candidates with one rate are sorted, the lowest first."""
    if tie == "lower dose":
        return 0.0 if candidate.dose is None else candidate.dose.magnitude
    return -candidate.coherent / candidate.trials
