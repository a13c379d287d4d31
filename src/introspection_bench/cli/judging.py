"""Commands that judge, and that find out how well: judge, judge-check, label."""

from __future__ import annotations

import json
import math
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from . import completing, console

if TYPE_CHECKING:
    from ..judges.base import Judge
    from ..results import Results


#: What of a reply is read.
PartOption = Annotated[
    Literal["answer", "whole"],
    typer.Option("--judged", help="What of a reply is read: its answer, or the whole with the model's reasoning."),
]


AskedOption = Annotated[
    Literal["own", "mismatched"],
    typer.Option("--asked", help="Which concept is asked about: the trial's own, or another of the run's."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog="Example: `introspection-bench judge runs/demo --judge claude --batch --max-cost 2`")(judge)
    app.command(
        "judge-check", epilog="Example: `introspection-bench judge-check rules --against runs/demo/labels.jsonl`"
    )(judge_check)
    app.command(epilog="Example: `introspection-bench label runs/demo --n 50 --labeller ada`")(label)


NameOption = Annotated[
    str,
    typer.Option(
        "--judge",
        help="rules, claude, chat, local, panel, outcome, or a plugin's.",
        autocompletion=completing.judges,
    ),
]
RubricOption = Annotated[
    str, typer.Option(help="Rubric by name, or path of a file.", autocompletion=completing.rubrics)
]
ModelOption = Annotated[str | None, typer.Option(help="The judge's model.")]
AddressOption = Annotated[str | None, typer.Option(help="Address of the judge's endpoint (claude, chat).")]
MemberOption = Annotated[
    list[str] | None,
    typer.Option(
        "--member",
        help="A panel's member, given once for each: a name, NAME:MODEL, or a TOML table of a name and options, as in "
        '\'{name = "chat", model = "m", base_url = "http://localhost:8000/v1"}\'.',
    ),
]
FurtherOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="NAME=VALUE",
        help="Any other option of the judge (the docs' page judges), given once for each, as in temperature=none, "
        "limit_parameter=max_completion_tokens, price.input=1.25, rule=all. Values are TOML; what is none is text.",
    ),
]


def judge(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    *,
    name: NameOption = "rules",
    rubric: RubricOption = "strict4",
    model: ModelOption = None,
    base_url: AddressOption = None,
    batch: Annotated[bool, typer.Option("--batch", help="Message Batches: half price (claude).")] = False,
    blinded: Annotated[bool, typer.Option("--blinded/--unblinded", help="Hide arm, magnitude and layer.")] = True,
    max_cost: Annotated[
        float | None, typer.Option(help="Most dollars that all judging of this run may cost, earlier judging included.")
    ] = None,
    member: MemberOption = None,
    option: FurtherOption = None,
    retry_unscored: Annotated[bool, typer.Option("--retry-unscored", help="Judge again what failed.")] = False,
    check: Annotated[bool, typer.Option(help="First judge the control replies that every judge must pass.")] = True,
    judged: PartOption = "answer",
    asked: AskedOption = "own",
    progress: console.ProgressOption = None,
) -> None:
    """Judge a run's replies. Judging again never generates again; what is scored already is kept."""
    from ..judges.registry import open_judge
    from ..sweep import Store
    from ..sweep.judging import judge_run

    console.show_progress(progress)
    options = _options(
        {"rubric": rubric, "model": model, "base_url": base_url, "max_cost_usd": max_cost, "judges": member}, option
    )
    options |= {"batch": True} if batch else {}
    options |= {} if blinded else {"blinded": False}
    _prepare(name, model)
    with Store.open(run) as store, console.working(f"Judging with {name}") as phase, console.interruptible():
        opened = open_judge(name, **options)
        counted = phase.count("judged")
        summary = judge_run(
            store, opened, retry_unscored=retry_unscored, check=check, part=judged, asked=asked, on_verdict=counted
        )
    cost = f", {summary.cost_usd:.4f} USD" if summary.cost_usd else ""
    console.tell(
        f"{summary.judge}/{summary.rubric}: {summary.judged} judged, {summary.unscored} unscored, "
        f"{summary.kept} there already{cost}"
    )
    if summary.unscored:
        console.tell("Judge the unscored ones again with --retry-unscored.")


def judge_check(
    name: Annotated[
        str,
        typer.Argument(
            metavar="JUDGE",
            help="Judge: rules, claude, chat, local, panel, or a plugin's.",
            autocompletion=completing.judges,
        ),
    ],
    *,
    against: Annotated[
        Path | None, typer.Option(help="A labels file, or a results file that came with verdicts.")
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN_OR_FILE", help="Whose replies are judged; by default the run that the labels lie in."
        ),
    ] = None,
    rubric: RubricOption = "strict4",
    model: ModelOption = None,
    base_url: AddressOption = None,
    member: MemberOption = None,
    option: FurtherOption = None,
    labeller: Annotated[str | None, typer.Option(help="Whose labels, where the file holds several persons'.")] = None,
    concepts: Annotated[
        str, typer.Option(help="Concept set to ask about, for results files.", autocompletion=completing.concept_sets)
    ] = "pairs",
) -> None:
    """Show what a judge makes of replies whose verdict is known.

    Always: the packaged control replies, which every judge must get right. With --against or --run: agreement per
    criterion with people's labels, or with the verdicts that the replies came with; and rates corrected for the
    judge's error (Rogan and Gladen 1978).
    """
    from ..judges.registry import open_judge

    options = _options({"rubric": rubric, "model": model, "base_url": base_url, "judges": member}, option)
    _prepare(name, model)
    opened = open_judge(name, **options)
    passed = _passes_gate(opened)
    if run is not None or against is not None:
        _tell_accuracy(opened, run, against, labeller=labeller, concepts=concepts)
    if not passed:
        raise typer.Exit(1)


def _passes_gate(judge: Judge) -> bool:
    """Tell what a judge makes of the control replies; return whether that is right, as far as they can say."""
    from ..judges.gate import control_report, covers

    if not covers(judge.rubric):
        console.tell(f"Control replies: none can check a judge by {judge.rubric.id}, whose success they don't speak of")
        return True
    with console.working(f"Control replies to {judge.name}"):
        report = control_report(judge)
    console.tell(f"Control replies: {report.replies} judged, {len(report.failures)} answers wrong")
    if report.failures:
        console.table(
            "Wrong on control replies",
            ["reply", "criterion", "expected", "got", "why"],
            [[f.control.id, f.criterion, f.expected, f.got, f.control.why] for f in report.failures],
        )
    return report.passed


def _prepare(name: str, model: str | None) -> None:
    """Ready the terminal for a judge that loads its model here."""
    if name == "local":
        console.quiet_libraries()
        console.make_model(model or "")


def _options(named: Mapping[str, Any], further: Sequence[str] | None) -> dict[str, Any]:
    """Return a judge's options: those with a flag of their own where given, and ``--option NAME=VALUE``."""
    options = {key: value for key, value in named.items() if value is not None}
    if "judges" in options:
        options["judges"] = [_member(text) for text in options["judges"]]
    lines = [_toml_line(text) for text in further or ()]
    return options | _toml("\n".join(lines), "--option")


def _member(text: str) -> Any:
    return _toml(f"member = {text}", "--member")["member"] if text.lstrip().startswith("{") else text


def _toml_line(text: str) -> str:
    from ..errors import SpecError, explain

    name, equals, value = text.partition("=")
    if not (equals and re.fullmatch(r"\s*\w+(\.\w+)*\s*", name, flags=re.ASCII)):
        # What came is not shown: it may be a key that somebody meant to give.
        raise SpecError(
            explain("--option", required="NAME=VALUE", got="something else", hint="As in --option temperature=none")
        )
    try:
        tomllib.loads(f"{name} = {value}")
    except tomllib.TOMLDecodeError:
        value = json.dumps(value, ensure_ascii=False)
    return f"{name} = {value}"


def _toml(text: str, where: str) -> dict[str, Any]:
    from ..errors import SpecError, explain

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(explain(where, required="TOML", got=str(error), hint="See the docs' page judges.")) from error


def _replies(run: Path | None, against: Path | None) -> tuple[Path, Path | None]:
    """Return where the replies are, and the labels file; None where they came with verdicts."""
    from ..sweep.store import FILE_NAME

    if run is not None:
        return run, against
    assert against is not None  # noqa: S101  # for the type checker; one of the two is given
    return (against.parent, against) if (against.parent / FILE_NAME).exists() else (against, None)


def _results(path: Path, run: Path | None) -> Results:
    from ..errors import ResultsFormatError, SpecError, explain
    from ..interop import read_results

    try:
        return read_results(path)
    except ResultsFormatError as error:
        if run is not None:
            raise
        raise SpecError(
            explain(
                "--run",
                required=f"the run or results file whose replies {path} labels",
                got="nothing, and the labels lie in no run directory",
                hint=f"Name it with --run. As a results file the labels can't be read either: {error}",
            )
        ) from error


def _tell_accuracy(
    judge: Judge, run: Path | None, against: Path | None, *, labeller: str | None, concepts: str
) -> None:
    from ..sweep import Store, judge_accuracy

    path, labels = _replies(run, against)
    with ExitStack() as stack:
        is_run = os.path.isdir(path)  # unlike Path's own, False for a name that no file can have
        replies = stack.enter_context(Store.open(path)) if is_run else _results(path, run)
        phase = stack.enter_context(console.working(f"Judging with {judge.name}"))
        found = judge_accuracy(
            judge,
            replies,
            labels,
            labeller=labeller,
            concepts=None if is_run else concepts,
            on_verdict=phase.count("judged"),
        )
    pairs = [(c, pair) for c in found.agreement.criteria if (pair := c.pair) is not None]
    # Two tables: one would be wider than a terminal.
    console.table(
        f"{judge.name} against what is known, with 95 % intervals",
        ["criterion", "n", "agreement", "kappa", "AC1"],
        [
            [
                c.criterion,
                c.n,
                f"{c.agreement.rate:.1%} {c.agreement.low:.1%}–{c.agreement.high:.1%}",
                *(_with_interval(e.estimate, e.low, e.high) for e in (pair.kappa, pair.ac1)),
            ]
            for c, pair in pairs
        ],
    )
    console.table(
        "Who says true; prevalence and bias index",
        ["criterion", "both", "judge", "known", "neither", "prevalence", "bias"],
        [
            [
                c.criterion,
                *(n for line in c.table for n in line),
                f"{pair.prevalence_index:.2f}",
                f"{pair.bias_index:.2f}",
            ]
            for c, pair in pairs
        ],
    )
    rows = []
    for rate in found.rates:
        if rate.corrected is None:
            console.say(f"{rate.criterion}: no correction. {rate.why}")
            continue
        corrected = f"{rate.corrected.estimate:.1%} [{rate.corrected.low:.1%}, {rate.corrected.high:.1%}]"
        rows.append([rate.criterion, f"{rate.judged.k}/{rate.judged.n}", corrected])
    console.table("Rates corrected for this judge's error", ["criterion", "as judged", "corrected"], rows)


def _with_interval(*numbers: float) -> str:
    found, low, high = ("–" if math.isnan(n) else f"{n + 0.0:.2f}".replace("-0.00", "0.00") for n in numbers)
    return f"{found} {low} to {high}"


def label(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    *,
    labeller: Annotated[str, typer.Option(help="Who labels; kept with every label.")],
    n: Annotated[int, typer.Option(help="Replies in the sample.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    to: Annotated[Path | None, typer.Option(help="The labels file; by default labels.jsonl in the run.")] = None,
    rubric: RubricOption = "strict4",
    judged: PartOption = "answer",
) -> None:
    """Label a random, blinded sample of replies in the terminal. Stop at any time; the same command goes on."""
    from ..judges.labels import draw_sample, label_in_terminal
    from ..sweep import Store
    from ..sweep.judging import case_maker

    with Store.open(run) as store:
        sample = draw_sample(store.records(), case_maker(store, part=judged), n=n, seed=seed)
    target = to or run / "labels.jsonl"
    done = label_in_terminal(sample, target, console.out, labeller=labeller, rubric=rubric)
    console.tell(f"{done.labelled} of {done.sample} labelled, in {target}")
