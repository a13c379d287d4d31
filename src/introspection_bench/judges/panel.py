"""Panels: several judges over the same replies, one combined verdict, and the list of where they disagree."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import attrs

from ..errors import JudgeError, explain
from ..freezing import frozen_mapping
from ..options import accepts
from ..trials import TrialRecord
from ..verdicts import Verdict
from .base import Case, Judge
from .models.asking import ModelJudge
from .models.ledger import Ledger
from .registry import judge_class, open_judge
from .rubrics import Rubric, load_rubric

Rule = Literal["majority", "all"]
RULES: tuple[Rule, ...] = ("majority", "all")


class PanelJudge(Judge):
    """Asks several judges about every reply and combines their verdicts by :func:`combine`.

    For members that cost money, judge with each of them first and combine the stored verdicts instead
    (:func:`combine_stored`): then a crash loses no paid verdict.

    Args:
        judges: at least two judges with the same rubric and blinding: names ("rules"), names with a model
            ("claude:claude-opus-4-6"), tables of a name and options (``{"name": "chat", "model": ...}``), classes
            or instances.
        rule: ``majority`` or ``all``.
        rubric: the rubric of all members that are opened here; None: their own default.
        blinded: whether cases come without disclosure, for all members that are opened here; None: their default.
        max_cost_usd: the most that all members may cost together; they count in one ledger. An instance keeps the
            limit that it was opened with, so it can't be given beside one.

    Raises:
        JudgeError: fewer than two members, two alike, or members that don't judge by the same rubric.
        OptionError: a member's option that is unknown, missing or of another type.
    """

    name: ClassVar[str] = "panel"

    def __init__(
        self,
        *,
        judges: Sequence[str | type[Judge] | Judge | Mapping[str, Any]],
        rule: Rule = "majority",
        rubric: str | Rubric | None = None,
        blinded: bool | None = None,
        max_cost_usd: float | None = None,
    ) -> None:
        shared_options = {"rubric": rubric, "blinded": blinded, "max_cost_usd": max_cost_usd}
        given = {name: value for name, value in shared_options.items() if value is not None}
        self.members = tuple(_member(judge, given) for judge in judges)
        # An instance may count in a run's ledger already.
        _count_in(Ledger(), [m for m, judge in zip(self.members, judges, strict=True) if not isinstance(judge, Judge)])
        self.rule: Rule = rule
        names = [member_name(m.name, m.model) for m in self.members]
        shared = {(m.rubric.digest, m.blinded) for m in self.members}
        if len(names) < 2 or len(set(names)) != len(names) or len(shared) != 1 or rule not in RULES:
            raise JudgeError(
                explain(
                    "panel",
                    required=f"at least two different judges with one rubric and blinding; a rule out of {RULES}",
                    got=[(n, m.rubric.id, m.blinded) for n, m in zip(names, self.members, strict=True)] + [rule],
                    hint="Open the judges with the same rubric.",
                )
            )
        self.rubric = self.members[0].rubric
        self.blinded = self.members[0].blinded
        self.model = panel_name(names, rule)

    def judge(self, cases: Sequence[Case]) -> Iterator[tuple[int, Verdict]]:
        """Yield the combined verdict of every case, as soon as the last member has judged it."""
        cases = list(cases)
        models = [member for member in self.members if isinstance(member, ModelJudge)]
        expected = [member.estimate(cases).usd or 0.0 for member in models]
        for member, usd in zip(models, expected, strict=True):
            member.check_limit(cases, besides=sum(expected) - usd)
        # All are begun before any is asked: what one of them refuses is refused before another is paid for.
        begun = [member.judge(cases) for member in self.members]
        given: list[dict[int, Verdict]] = [dict(answers) for answers in begun[:-1]]
        for index, verdict in begun[-1]:
            yield index, combine([*(verdicts[index] for verdicts in given), verdict], self.rubric, rule=self.rule)

    @classmethod
    def rubrics_asked(cls, options: Mapping[str, Any]) -> tuple[Rubric, ...]:
        """Return the rubrics that the members would be asked by."""
        shared = {name: value for name, value in options.items() if name not in ("judges", "rule")}
        members = [_named(judge, shared) for judge in options.get("judges", ())]
        return tuple(r for found, own in members for r in judge_class(found).rubrics_asked(own))

    def live(self) -> PanelJudge:
        """Return the panel of the members' own live judges."""
        return PanelJudge(judges=[member.live() for member in self.members], rule=self.rule)

    def remember_in(self, store: Path) -> None:
        """Keep what every member has to remember in a run's store, all costs in one ledger."""
        _count_in(Ledger(store), self.members)
        for member in self.members:
            if not isinstance(member, ModelJudge):
                member.remember_in(store)

    def close(self) -> None:
        """Close every member."""
        for member in self.members:
            member.close()


def _count_in(ledger: Ledger, members: Iterable[Judge]) -> None:
    for member in members:
        if isinstance(member, ModelJudge):
            member.count_in(ledger)


def _member(judge: str | type[Judge] | Judge | Mapping[str, Any], shared: Mapping[str, Any]) -> Judge:
    if isinstance(judge, Judge):
        if "max_cost_usd" in shared:
            raise JudgeError(
                explain(
                    "max_cost_usd",
                    required="members that the panel opens itself",
                    got=f"an open {judge.name!r} judge",
                    hint="Name the member with its options, or give the limit to the member.",
                )
            )
        return judge
    found, options = _named(judge, shared)
    return open_judge(found, **options)


def _named(
    judge: str | type[Judge] | Mapping[str, Any], shared: Mapping[str, Any]
) -> tuple[str | type[Judge], dict[str, Any]]:
    """Return which judge a member is, and the options that it is opened with."""
    options = dict(judge) if isinstance(judge, Mapping) else {}
    found = options.pop("name", None) if isinstance(judge, Mapping) else judge
    if isinstance(found, str) and ":" in found:
        found, _, options["model"] = found.partition(":")
    if not isinstance(found, str | type):
        raise JudgeError(
            explain(
                "panel member",
                required="a judge's name, or a table with its name",
                got=f"keys {sorted(map(str, options))}",
                hint='For example {name = "claude", model = "claude-opus-4-6"}.',
            )
        )
    return found, {**{name: value for name, value in shared.items() if accepts(judge_class(found), name)}, **options}


def combine(verdicts: Sequence[Verdict], rubric: str | Rubric, *, rule: Rule = "majority") -> Verdict:
    """Return the panel's verdict on one reply, by the rubric that its members' verdicts are by.

    ``majority``: on each of the rubric's criteria the answer (true, false or not applicable) that more than half of
    *all* members gave. An unscored member counts as a member without an answer, so with three judges one failure leaves
    two that must agree. ``all``: true where all members say true, false where at least one says false, else not
    applicable; an unscored member leaves the panel's verdict unscored. Where no answer wins (a tie) on a criterion of
    success, the panel's verdict is unscored and its reason names the criterion: a tie is never a "no". What applies
    only with another criterion (``immediate``, where the concept is named) is voted on by the members that see that one
    met, if the panel does, and does not apply otherwise.

    Raises :class:`JudgeError` for fewer than two verdicts, or verdicts on different concepts or by another rubric.
    """
    rubric = load_rubric(rubric)
    shared = {(v.concept, v.blinded, v.judged, v.asked) for v in verdicts}
    strange = {v.rubric_digest for v in verdicts} != {rubric.digest}
    if len(verdicts) < 2 or len(shared) != 1 or strange or rule not in RULES:
        raise JudgeError(
            explain(
                "verdicts",
                required=f"at least two on one concept by the rubric {rubric.id}; a rule out of {RULES}",
                got=f"{len(verdicts)} on {sorted({(v.concept, v.rubric) for v in verdicts})}, rule {rule!r}",
                hint="",
            )
        )
    first = verdicts[0]
    scored = [v for v in verdicts if v.unscored is None]
    answers: dict[str, bool | None] = {}
    problem: str | None = None
    try:
        answers = _Vote(scored, len(verdicts), rubric, rule).outcome()
    except _UndecidedError as error:
        problem = str(error)
    costs = [v.cost_usd for v in verdicts]
    names = [member_name(v.judge, v.judge_model) for v in verdicts]
    split = [c for c in rubric.criteria if len({v.answer(c) for v in scored}) > 1]
    return Verdict(
        judge=PanelJudge.name,
        rubric=rubric.id,
        rubric_digest=rubric.digest,
        concept=first.concept,
        answers=answers,
        success=rubric.success,
        judge_model=panel_name(names, rule),
        blinded=first.blinded,
        unscored=problem,
        raw=json.dumps({n: _answers(v) for n, v in zip(names, verdicts, strict=True)}),
        notes="; ".join(f"{c}: {_tally([v.answer(c) for v in scored], len(scored))}" for c in split),
        cost_usd=None if None in costs else sum(c for c in costs if c is not None),
        judged=first.judged,
        asked=first.asked,
    )


class _UndecidedError(ValueError):
    """The members' votes decide nothing; the text is the reason of the unscored verdict."""


@attrs.define
class _Vote:
    """A vote among the members that gave a verdict, of ``seats`` members in all."""

    scored: Sequence[Verdict]
    seats: int
    rubric: Rubric
    rule: Rule
    _decided: dict[str, bool | None] = attrs.field(factory=dict)

    def outcome(self) -> dict[str, bool | None]:
        """Return the panel's answer to each criterion; raises :class:`_UndecidedError`."""
        if self.rule == "all" and len(self.scored) < self.seats:
            raise _UndecidedError(f"{self.seats - len(self.scored)} of {self.seats} members gave no verdict")
        return {criterion: self._on(criterion) for criterion in self.rubric.criteria}

    def _on(self, criterion: str) -> bool | None:
        if criterion not in self._decided:
            self._decided[criterion] = self._counted(criterion)
        return self._decided[criterion]

    def _counted(self, criterion: str) -> bool | None:
        voters, seats = self.scored, self.seats
        base = self.rubric.rules.applies_only_with.get(criterion)
        if base is not None:
            voters = [v for v in voters if v.answer(base) is True] if self._on(base) is True else []
            seats = len(voters)
        answers = [v.answer(criterion) for v in voters]
        won = _outcome(answers, seats, self.rule) if seats else (None,)
        if won is None and criterion in self.rubric.success:
            raise _UndecidedError(f"tie on {criterion}: {_tally(answers, seats)}")
        return None if won is None else won[0]  # elsewhere a tie does not cost the verdict


def combine_stored(
    record: TrialRecord, judges: Sequence[str], *, rubric: str | Rubric, rule: Rule = "majority"
) -> Verdict:
    """Return a panel's verdict from a record's stored ones.

    ``judges`` are names, or "name:model" where one judge stands with several models; ``rubric`` is a rubric or what
    :func:`load_rubric` knows it by, such as ``strict4/1``. Raises :class:`JudgeError` where a member has no verdict, or
    several, on the record.
    """
    rubric = load_rubric(rubric)
    found = []
    for judge in judges:
        mine = [
            v
            for v in record.verdicts
            if v.asked == "own"
            and v.rubric_digest == rubric.digest
            and judge in (v.judge, member_name(v.judge, v.judge_model))
        ]
        if len(mine) != 1:
            raise JudgeError(
                explain(
                    f"judge {judge!r}",
                    required=f"one verdict by rubric {rubric.id} on {record.trial}",
                    got=f"{len(mine)}",
                    hint="Judge the run with every member first; name a model where a judge was used with several.",
                )
            )
        found += mine
    return combine(found, rubric, rule=rule)


@attrs.frozen
class Disagreement:
    """A criterion on which members of a panel differ about one reply; ``answers`` by member."""

    trial: str
    criterion: str
    reply: str
    concept: str
    answers: Mapping[str, bool | None] = attrs.field(converter=frozen_mapping)


def disagreements(
    records: Iterable[TrialRecord], *, rubric: str | Rubric, criteria: Sequence[str] | None = None
) -> list[Disagreement]:
    """Return where the stored verdicts by one rubric differ, in the order of the records.

    ``criteria`` are by default those of the rubric's success. Unscored verdicts and panels' own are left out; only
    verdicts on the same concept are compared.
    """
    rubric = load_rubric(rubric)
    criteria = rubric.success if criteria is None else criteria
    found = []
    for record in records:
        groups: dict[tuple[str, bool], list[Verdict]] = {}
        for verdict in record.verdicts:
            if verdict.rubric_digest == rubric.digest and verdict.unscored is None and verdict.judge != PanelJudge.name:
                groups.setdefault((verdict.concept, verdict.blinded), []).append(verdict)
        for (concept, _), verdicts in groups.items():
            for criterion in criteria:
                answers = {member_name(v.judge, v.judge_model): v.answer(criterion) for v in verdicts}
                if len(set(answers.values())) > 1:
                    found.append(Disagreement(record.key.digest, criterion, record.reply.text, concept, answers))
    return found


def member_name(judge: str, model: str | None) -> str:
    """Return "name", "name:model", or the version of a judge that has versions ("rules/2")."""
    if model is not None and model.startswith(f"{judge}/"):
        return model
    return judge if model is None else f"{judge}:{model}"


def panel_name(members: Iterable[str], rule: Rule) -> str:
    """Return what stands as the judge model of a panel's verdicts; the order of its members does not matter."""
    return f"{rule}({','.join(sorted(members))})"


def _outcome(answers: Sequence[bool | None], seats: int, rule: Rule) -> tuple[bool | None] | None:
    """The winning answer in a tuple (None is an answer too), or None without a winner."""
    if rule == "all":
        return (False,) if False in answers else (True,) if set(answers) == {True} else (None,)
    for answer, votes in Counter(answers).items():
        if 2 * votes > seats:
            return (answer,)
    return None


def _answers(verdict: Verdict) -> dict[str, bool | str | None]:
    if verdict.unscored is not None:
        return {"unscored": verdict.unscored}
    return dict(verdict.answers)


def _tally(answers: Sequence[bool | None], seats: int) -> str:
    votes = Counter({True: "yes", False: "no", None: "n/a"}[answer] for answer in answers)
    parts = [f"{votes[word]} {word}" for word in ("yes", "no", "n/a") if votes[word]]
    if seats > len(answers):
        parts.append(f"{seats - len(answers)} unscored")
    return ", ".join(parts)
