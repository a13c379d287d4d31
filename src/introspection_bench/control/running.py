"""Run the cast through its arms on any backend, have it judged, and hold what is found against what is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..analysis import Explained, explain_away
from ..analysis.explaining import NOTHING_EXPLAINS
from ..boundaries import checked
from ..errors import SpecError, explain
from ..files import file_stem
from ..identity import Sampling
from ..judges import Judge, open_judge
from ..results import Results
from ..sweep import Design, ModelSpec, Sweep
from .cast import CAST, DOSE, held_out
from .expecting import Count, Member
from .lines import Control, Line, of_count, of_decided

#: Differences of rates below this count as none here, and each decision is taken at this confidence.
MARGIN, CONFIDENCE = 0.2, 0.999
_TOKENS = 30


@checked(SpecError)
def run_control(
    directory: str | Path,
    *,
    backend: str = "torch",
    options: Mapping[str, Any] | None = None,
    judge: str = "rules",
    judge_options: Mapping[str, Any] | None = None,
    cast: Sequence[Member] = CAST,
    on_member: Callable[[Member], object] = lambda _: None,
) -> Control:
    """Run the cast and return what was found; a directory with a part of it is gone on with.

    Args:
        directory: a run directory for each model is made in it.
        backend: on which the models run; each is the demo's model with an adapter merged.
        options: of the backend.
        judge: of reports (``strict4``) and of answers to other questions (``yesno``), by name.
        judge_options: of the judge, but for its rubric.
        cast: the models, arms and expectations.
        on_member: hears of each model before it is opened.

    Raises:
        SpecError: an empty cast, and whatever the stages raise.
    """
    if not cast:
        raise SpecError(explain("cast", required="at least one model", got="none", hint="control.CAST"))
    own = dict(judge_options or {})
    judges = (open_judge(judge, **own), open_judge(judge, rubric="yesno", **own))
    lines: list[Line] = []
    said = []
    for member in cast:
        on_member(member)
        model = ModelSpec(member.model, backend, {backend: dict(options or {})})
        results = _run(member, model, Path(directory), judges)
        reports, answers = _frames(results, judge)
        blinded = all(j.blinded for j in results.judges)
        told: dict[str, Any] = {"margin": MARGIN, "confidence": CONFIDENCE, "blinded": blinded}
        found = explain_away(reports, answers, results.effects, **told)
        lines += _lines(member, reports, answers, found)
        said.append((member.name, tuple(s for each in found for s in each.verdicts)))
    return Control(lines, said)


def design_of(member: Member) -> Design:
    """Return the design that a member is run by."""
    return Design(
        concepts=held_out(),
        layers=[member.layer],
        doses=[DOSE],
        arms=member.arms,
        sampling=Sampling(temperature=1.0, max_new_tokens=_TOKENS),
    )


def _run(member: Member, model: ModelSpec, directory: Path, judges: tuple[Judge, Judge]) -> Results:
    with model.open() as injector:
        sweep = Sweep(design_of(member), injector, directory / file_stem(f"{member.name}-{model.backend}"))
        sweep.generate()
    reports, answers = judges
    sweep.judge(reports)
    if _asks(member):
        sweep.judge(answers)
    return sweep.results()


def _asks(member: Member) -> bool:
    return any(count.outcome == "says_yes" for count in member.counts)


def _frames(results: Results, judge: str) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    there = {j.rubric.partition("/")[0] for j in results.judges}
    return results.frame(judge, "strict4"), results.frame(judge, "yesno") if "yesno" in there else None


def _lines(
    member: Member, reports: pd.DataFrame, answers: pd.DataFrame | None, found: Iterable[Explained]
) -> list[Line]:
    findings = {(f.task, f.rule): f for each in found for f in each.findings}
    lines = []
    for each in member.expected:
        if isinstance(each, Count):
            frame = answers if each.outcome == "says_yes" and answers is not None else reports
            lines.append(_counted(member, each, frame))
        else:
            finding = findings.get((each.task, each.rule))
            decision, sentence = ("nothing to explain", "") if finding is None else (finding.decision, finding.sentence)
            lines.append(of_decided(member, each, decision, sentence))
    if member.imitates:
        clean = [each.task for each in found if each.clean]
        said = f"said of {' and '.join(clean)}" if clean else "not said"
        lines.append(Line(member.name, f"never “{NOTHING_EXPLAINS}”", said, not clean))
    return lines


def _counted(member: Member, count: Count, frame: pd.DataFrame) -> Line:
    mine = frame[frame["arm"] == count.arm]
    scored = mine[mine["unscored"].isna()]
    return of_count(member, count, int(scored[count.outcome].fillna(False).sum()), len(scored))
