"""Every command: whatever its arguments and options are given works, or is one line on stderr and an exit code."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import typer
from cli_samples import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from introspection_bench.cli import app
from introspection_bench.interop import read_results, write_jsonl
from tests.odd_values import a_few


def flat(commands, before=""):
    """The commands by their words, those of a group behind its name."""
    found = {}
    for name, made in commands.items():
        told = f"{before}{name}"
        found |= flat(made.commands, f"{told} ") if hasattr(made, "commands") else {told: made}
    return found


COMMANDS = flat(typer.main.get_command(app).commands)
#: A call of each command that works, or that fails for what no test has (a key, a terminal); the odd ones differ in one
#: word. Those that would load a model have none to load: an odd option must be refused before.
CALLS = {
    "demo": None,
    "run": ["run", "nothing.toml"],
    "merge": ["merge", "run", "--into", "merged"],
    "study": ["study", "nothing.toml"],
    "measure": ["measure", "run", "nothing"],
    "status": ["status", "run"],
    "try": ["try", "nowhere", "Hello.", "--concept", "Oceans"],
    "runs": ["runs", "."],
    "view": ["view", ".", "--to", "index.html", "--no-browser"],
    "verify": ["verify", "run", "--model", "nowhere"],
    "judge": ["judge", "run", "--judge", "rules"],
    "judge-check": ["judge-check", "rules"],
    "label": ["label", "run", "--labeller", "me"],
    "report": ["report", "run", "--to", "r.html"],
    "import": ["import", "a.jsonl", "--to", "imported", "--concepts", "concepts.toml"],
    "freeze": ["freeze", "confirmed.toml", "--replace"],
    "export": ["export", "run", "--to", "b.jsonl"],
    "table": ["table", "run"],
    "excludes": ["excludes", "run"],
    "explain": ["explain", "run"],
    "compare": ["compare", "run", "run"],
    "power": ["power", "--rate", "0.2"],
    "check": ["check", "torch", "--model", "nowhere"],
    "control": ["control", "--judge", "nowhere"],
    "backends": ["backends"],
    "info": ["info"],
    "concepts": ["concepts"],
    "bridge": ["bridge", "lindsey2026", "macar2026", "seed=1", "--model", "nowhere", "--plan"],
    "protocols list": ["protocols", "list"],
    "protocols show": ["protocols", "show", "nothing.toml"],
    "protocols diff": ["protocols", "diff", "lindsey2026", "nothing.toml"],
    "experiments list": ["experiments", "list"],
    "experiments show": ["experiments", "show", "nothing"],
}
#: Commands that are not called with odd words, and where that is tried instead.
ELSEWHERE = {"demo": "it makes a run of minutes; its options are a path and a switch"}
ODD = [
    "", " ", "0", "-1", "9" * 40, "1e999", "nan", "-inf", "0.5", "nothing.jsonl", ".", "/dev/null",
    "run/store.sqlite", "x" * 5000, "a\udcff\udc80b", "a\x1b[2Jb", "[/nope]", "a\nb", "=1+1", "--help me", "{}",
    "a=b", "a=b=c", "=", "None", "~nobody", "$(x)", "%s%n", "concepts.toml", "empty.jsonl",
]  # fmt: skip
#: Commands that take a tenth of a second when they work, and those that take several.
SLOW = {
    "table",
    "excludes",
    "import",
    "judge",
    "judge-check",
    "label",
    "check",
    "bridge",
    "try",
    "verify",
    "runs",
    "view",
    "merge",
    "protocols list",
}
SLOWER = {"report", "compare"}
#: Commands of so many options that each place gets a third of the words; all of them are tried in one place or another.
MANY_OPTIONS = {
    "run",
    "power",
    "compare",
    "explain",
    "export",
    "measure",
    "control",
    "study",
    "table",
    "excludes",
    "judge-check",
}
VERY_FEW = ["", "9" * 40, "a\udcff\udc80b\x1b[2J[/nope]"]
FEW = ["", "-1", "9" * 40, "nan", ".", "x" * 5000, "a\udcff\udc80b\x1b[2J[/nope]"]


@pytest.fixture(scope="module")
def folder(place, tmp_path_factory):
    made = tmp_path_factory.mktemp("odd")
    shutil.copytree(place / "run", made / "run")
    shutil.copy(place / "concepts.toml", made)
    shutil.copy(Path(__file__).parents[2] / "examples" / "confirmed.toml", made)
    write_jsonl(read_results(place / "run").records, made / "a.jsonl")
    (made / "empty.jsonl").write_text("")
    return made


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """No keys, and no look into the hub for a model of an odd name."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)


def fault(words, cwd) -> list[str]:
    """Return what is wrong with how a command ends."""
    try:
        done = command(*words, cwd=cwd, check=False)
    except Exception as error:  # what the command doesn't catch is a traceback on the terminal
        return [f"{words!r:.150}: {type(error).__name__}: {error!s:.150}"]
    finally:
        shutil.rmtree(cwd / "imported", ignore_errors=True)
    told = done.stdout + done.stderr
    wrong = [] if done.returncode in (0, 1, 2) else [f"exit code {done.returncode}"]
    wrong += ["a traceback"] if "Traceback" in told else []
    wrong += ["nothing said"] if done.returncode and not done.stderr.strip() else []
    wrong += ["a control character"] if {"\x1b", "\x07", "\0"} & set(told) else []
    told.encode()  # a lone surrogate would break the terminal
    if done.returncode == 1:
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        wrong += [f"{len(errors)} errors"] if len(errors) != 1 or len(errors[0]) > 4000 else []
    return [f"{words!r:.150}: {what}" for what in wrong]


def positions(name):
    """The words of a command's call, with each argument left open, and with each option that it has added."""
    words, found = CALLS[name], COMMANDS[name]
    arguments = [p for p in found.params if p.param_type_name == "argument"]
    first = len(name.split())
    for index in range(first, first + len(arguments)):
        yield lambda odd, index=index: [*words[:index], odd, *words[index + 1 :]]
    for option in (p for p in found.params if p.param_type_name == "option"):
        kept = list(words)
        if option.opts[0] in kept:
            at = kept.index(option.opts[0])
            del kept[at : at + 2]
        if getattr(option, "is_flag", False):
            yield lambda _, kept=kept, option=option: [*kept, option.opts[0]]
        else:
            yield lambda odd, kept=kept, option=option: [*kept, option.opts[0], odd]


def test_every_command_is_tried_here_or_elsewhere():
    assert sorted(COMMANDS) == sorted(CALLS)
    assert sorted(name for name, words in CALLS.items() if words is None) == sorted(ELSEWHERE)


TRIED = [name for name, words in CALLS.items() if words is not None]


@pytest.mark.slow  # all of them together
def words_for(name, place):
    words = VERY_FEW if name in SLOWER else FEW if name in SLOW else ODD
    return words[place % 3 :: 3] if name in MANY_OPTIONS else words


@pytest.mark.parametrize("name", TRIED)
def test_an_odd_word_in_any_place_works_or_is_one_line_on_stderr(folder, name):
    wrong = []
    for place, make in enumerate(positions(name)):
        tried = set()
        for odd in words_for(name, place):
            words = make(odd)
            if tuple(words) not in tried:  # a switch takes no word
                tried.add(tuple(words))
                wrong += fault(words, folder)
    assert wrong == []


@pytest.mark.parametrize(
    "words",
    [
        ["power", "--rate", "0.2", "--rate", "x"],
        ["judge", "run", "--judge", "rules", "--model", "m"],
        ["judge", "run", "--judge", "rules", "--batch"],
        ["judge", "run", "--judge", "panel"],
        ["judge", "run", "--judge", "chat"],
        ["judge", "run", "--judge", "rules", "--member", "rules"],
        ["judge-check", "rules", "--against", "labels"],
        ["judge-check", "rules", "--run", "nowhere"],
        ["export", "run", "--to", "a.parquet", "--format", "jsonl"],
        ["import", "a.jsonl", "--to", "imported", "--columns", "reply=r"],
        ["table", "run", "--judge", "nobody", "--rubric", "none"],
        ["compare", "run", "nowhere"],
        ["check", "nobody", "--model", "m", "--only", "nothing"],
        ["nonsense"],
        ["table"],
        ["table", "run", "--nonsense"],
        ["table", "run", "more"],
    ],
    ids=" ".join,
)
def test_options_that_contradict_or_are_unknown_are_refused_in_words(folder, words):
    assert fault(words, folder) == []
    assert command(*words, cwd=folder, check=False).returncode in (1, 2)


@pytest.mark.parametrize("name", [name for name in TRIED if name not in SLOW | SLOWER])
@settings(a_few, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_text_in_any_place_works_or_is_one_line_on_stderr(folder, name, data):
    places = list(positions(name))
    if places:
        odd = data.draw(st.text(st.characters(exclude_characters="\0"), max_size=12) | st.integers().map(str))
        assert fault(data.draw(st.sampled_from(places))(odd), folder) == []
