"""The command that checks a backend before a long run: check."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from . import console


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="Example: `introspection-bench check vllm-lens --model meta-llama/Llama-3.1-405B-Instruct-FP8 "
        "--option tensor_parallel_size=8`"
    )(check)


def check(
    backend: Annotated[str, typer.Argument(help="Injector by name: torch, nnsight, vllm-lens, or a plugin's.")],
    *,
    model: Annotated[str, typer.Option(help='Hub id, folder, GGUF file, or "demo".')],
    dtype: Annotated[str | None, typer.Option(help="The dtype to run in; by default the checkpoint's.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Any other option of the backend, its value as in TOML; repeat it."),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="A trusted injector to compare with on the same model, usually torch.")
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

    from ..demo_model import resolve_name
    from ..injectors import open_injector
    from ..testing import CheckResult, run_conformance

    expected = dict(_named_reason(item) for item in expect_failure or ())
    common: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
    common |= {"trust_remote_code": True} if trust_remote_code else {}
    own = dict(_option(item) for item in option or ())

    def tell(result: CheckResult) -> None:
        typer.echo(f"{result.number:>3}  {result.outcome:<16} {result.seconds:6.1f} s  {result.name.replace('_', ' ')}")

    console.quiet_libraries()
    console.convert_demo_model(model)
    with ExitStack() as stack:
        name = resolve_name(model)
        with console.working(f"Opening {model}"):
            injector = stack.enter_context(open_injector(backend, name, **common, **own))
            trusted = stack.enter_context(open_injector(reference, name, **common)) if reference else None
        stack.enter_context(console.signs_of_life(console.Phase("checking").describe))
        report = run_conformance(
            injector, reference=trusted, expected_failures=expected, only=only or (), on_result=tell
        )
    typer.echo(str(report))
    if not report.passed:
        raise typer.Exit(1)


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
