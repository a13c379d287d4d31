"""The command's root: global options, and errors as one clear line instead of a traceback."""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any

import typer

from ..errors import IntrospectionBenchError
from . import (
    analysing,
    bridging,
    checking,
    comparing,
    console,
    experiments,
    informing,
    judging,
    listing,
    overview,
    protocols,
    results,
    running,
    sharding,
    trying,
    verifying,
    viewing,
)


class _Commands(typer.core.TyperGroup):
    """The commands; Ctrl-C ends each of them with exit code 130."""

    def invoke(self, ctx: Any) -> Any:
        console.show_wide(wide=False)  # until a command says otherwise
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            console.say("Interrupted.")
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Commands,
    name="introspection-bench",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Can a language model notice a thought that was put into it? "
    "The concept-injection protocol of Lindsey 2026 (arXiv 2601.01828) on any decoder-only model.",
    epilog="Start with `introspection-bench demo`, then `introspection-bench run sweep.toml`.",
)
for module in (
    trying,
    running,
    sharding,
    overview,
    viewing,
    verifying,
    protocols,
    experiments,
    bridging,
    judging,
    results,
    analysing,
    comparing,
    checking,
    listing,
    informing,
):
    module.register(app)


def _print_version(*, value: bool) -> None:
    if value:
        from .. import __version__

        console.tell(f"introspection-bench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[  # the callback does the work, as typer has it
        bool, typer.Option("--version", callback=lambda value: _print_version(value=value), is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command; an error of ours, or of the machine, is one line on stderr and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the terminal's encoding lacks stands as an escape
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except (IntrospectionBenchError, OSError) as error:
        told = console.plain(" ".join(str(error).split()) or type(error).__name__)
        console.err.print(f"[bold red]error[/]: {told}", highlight=False, soft_wrap=True)
        sys.exit(1)
