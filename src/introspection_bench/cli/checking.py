"""The commands that check backend and instrument before a long run: check, control."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import completing, console


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="Example: `introspection-bench check vllm-lens --model meta-llama/Llama-3.1-405B-Instruct-FP8 "
        "--option tensor_parallel_size=8`"
    )(check)
    app.command(epilog="Example: `introspection-bench control --backend vllm-lens --judge claude`")(control)


def check(
    backend: Annotated[
        str,
        typer.Argument(
            help="Injector by name: torch, nnsight, vllm, vllm-lens, or a plugin's.", autocompletion=completing.backends
        ),
    ],
    *,
    model: Annotated[str, typer.Option(help='Hub id, folder, GGUF file, or "demo".')],
    dtype: Annotated[str | None, typer.Option(help="The dtype to run in; by default the checkpoint's.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Any other option of the backend, its value as in TOML; repeat it."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="A trusted injector to compare with on the same model, usually torch.",
            autocompletion=completing.backends,
        ),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Name of a check; repeat it. By default all.")] = None,
    expect_failure: Annotated[
        list[str] | None, typer.Option(metavar="CHECK=REASON", help="A check that is known to fail, and why.")
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let Python code that comes with the checkpoint run.")
    ] = False,
) -> None:
    """Check that a backend steers a real model as the Injector contract says."""
    from contextlib import ExitStack

    from ..injectors import open_injector
    from ..testing import CheckResult, run_conformance

    expected = dict(_named_reason(item) for item in expect_failure or ())
    common: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
    common |= {"trust_remote_code": True} if trust_remote_code else {}
    own = dict(_option(item) for item in option or ())

    def tell(result: CheckResult) -> None:
        typer.echo(f"{result.number:>3}  {result.outcome:<16} {result.seconds:6.1f} s  {result.name.replace('_', ' ')}")

    console.quiet_libraries()
    console.make_model(model)
    with ExitStack() as stack:
        with console.working(f"Opening {model}"):
            injector = stack.enter_context(open_injector(backend, model, **common, **own))
            trusted = stack.enter_context(open_injector(reference, model, **common)) if reference else None
        stack.enter_context(console.signs_of_life(console.Phase("checking").describe))
        report = run_conformance(
            injector, reference=trusted, expected_failures=expected, only=only or (), on_result=tell
        )
    typer.echo(str(report))
    if not report.passed:
        raise typer.Exit(1)


def control(
    *,
    backend: Annotated[
        str,
        typer.Option(
            help="Injector by name: torch, nnsight, vllm-lens, or a plugin's.", autocompletion=completing.backends
        ),
    ] = "torch",
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="An option of the backend, its value as in TOML; repeat it."),
    ] = None,
    judge: Annotated[
        str, typer.Option(help="Judge of the replies, by name.", autocompletion=completing.judges)
    ] = "rules",
    judge_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="An option of the judge, its value as in TOML; repeat it."),
    ] = None,
    directory: Annotated[
        Path | None, typer.Option(help="Where the runs are kept; one with a part of them is gone on with.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Name of a model of the cast; repeat it. By default all.")
    ] = None,
) -> None:
    """See whether backend, judge and analysis tell introspection from its imitations, on models whose truth is known.

    Exit status 1 where the introspector is missed or an imitation is taken for it.
    """
    import tempfile

    from ..control import CAST, Member, run_control
    from ..control.lines import errors

    cast = [m for m in CAST if not only or m.name in only]
    _known(only or [], [m.name for m in CAST])
    console.quiet_libraries()

    def begin(member: Member) -> None:
        console.say(f"{member.name} ({member.model}, layer {member.layer}) …")
        console.make_model(member.model)

    with tempfile.TemporaryDirectory() as own:
        found = run_control(
            directory or own,
            backend=backend,
            options=dict(_option(item) for item in option or ()),
            judge=judge,
            judge_options=dict(_option(item) for item in judge_option or ()),
            cast=cast,
            on_member=begin,
        )
    for line in found.lines:
        console.tell(f"{'ok  ' if line.holds else 'FAIL'}  {line.member}: {line.expected}; found {line.found}")
    for name, verdicts in found.said:
        for verdict in verdicts:
            console.tell(f"      {name}: {verdict}")
    fails, passes = errors(cast)
    console.tell(
        f"By chance alone a right instrument fails with a probability of at most {100 * fails:.2g} %, and none of "
        f"these lines passes with more than {100 * passes:.2g} % at the rate at which it should fail."
    )
    if not found.passed:
        raise typer.Exit(1)


def _known(names: list[str], there: list[str]) -> None:
    from ..errors import SpecError, explain

    strangers = [name for name in names if name not in there]
    if strangers:
        raise SpecError(explain("--only", required=f"of {there}", got=strangers, hint="Quote names with spaces."))


def _named_reason(item: str) -> tuple[str, str]:
    from ..errors import SpecError, explain

    name, _, reason = item.partition("=")
    if not reason.strip():
        raise SpecError(explain("--expect-failure", required="CHECK=REASON", got=item, hint="Say why it fails."))
    return name.strip(), reason.strip()


def _option(item: str) -> tuple[str, Any]:
    from ..errors import SpecError, explain
    from ..untrusted import parse_toml

    key, _, value = item.partition("=")
    try:
        return key.strip(), parse_toml(f"value = {value}")["value"]
    except ValueError as error:
        raise SpecError(
            explain("--option", required="KEY=VALUE in TOML", got=item, hint=f"Text stands in quotes: {error}")
        ) from error
