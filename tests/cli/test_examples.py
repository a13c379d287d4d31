"""Every command that help texts, README and docs show is one that the command line takes."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer
from cli_samples import command

from introspection_bench.cli import app

ROOT = Path(__file__).parents[2]
COMMANDS = typer.main.get_command(app)
NAME = "introspection-bench"
#: But for the page that is written from the commands' own help, with a line of usage for each.
PAGES = [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").glob("*.md") if p.name != "cli.md")]


def shown_in(text: str) -> set[str]:
    """The commands in code blocks and in inline code; a line that ends in a backslash goes on."""
    text = re.sub(r"\\\n\s*", " ", text)
    block = re.compile(r"^```\w*\n(.*?)^```", re.M | re.S)
    lines = {line for found in block.findall(text) for line in found.splitlines()}
    inline = {" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", block.sub("", text))}
    return {found[1] for code in lines | inline if (found := re.search(rf"(?:^|[\s/])({NAME} .+)", code))}


def helps() -> dict[str, str]:
    texts = {"": COMMANDS.epilog or ""}
    for name, found in COMMANDS.commands.items():
        several = [found, *getattr(found, "commands", {}).values()]
        texts[name] = "\n".join(f"{one.epilog or ''}\n{one.help or ''}" for one in several)
    return texts


def arguments(example: str) -> list[str]:
    words = shlex.split(example, comments=True)[1:]
    return words[: words.index(">")] if ">" in words else words


EXAMPLES = sorted(
    {e for t in [*helps().values(), *(p.read_text(encoding="utf-8") for p in PAGES)] for e in shown_in(t)}
)
#: Those of the help texts that need no model, no key and nobody at the terminal.
RUNNABLE = (
    "status",
    "report",
    "export",
    "table",
    "excludes",
    "explain",
    "compare",
    "power",
    "backends",
    "concepts",
    "protocols",
)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_names_a_command_and_options_that_there_are(example):
    words = arguments(example)
    if words[0].startswith("-"):
        assert words[0] in ("--help", "--install-completion")
        return
    found = COMMANDS.commands[words[0]]
    if words[1:] or not any(p.required for p in found.params):  # a command's name alone is no example
        found.make_context(words[0], words[1:])


def test_examples_are_found_in_code_blocks_inline_and_over_several_lines():
    text = f"Text `{NAME} a --b`.\n```console\n$ .venv/bin/{NAME} c \\\n    --d  # why\n```\n"
    assert sorted(arguments(e) for e in shown_in(text)) == [["a", "--b"], ["c", "--d"]]
    assert len(EXAMPLES) > 30


@pytest.mark.parametrize("name", COMMANDS.commands)
def test_every_command_has_an_example_in_its_help(name):
    assert [arguments(e)[0] for e in shown_in(helps()[name])][:1] == [name]


@pytest.mark.parametrize("name", RUNNABLE)
def test_the_example_in_a_commands_help_works(place, tmp_path, name):
    for run in ("demo", "torch", "vllm-lens"):
        shutil.copytree(place / "run", tmp_path / "runs" / run)
    for example in shown_in(helps()[name]):
        command(*arguments(example), cwd=tmp_path)
