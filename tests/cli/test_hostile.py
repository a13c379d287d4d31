"""Names and files that try to break a command, or to steer the terminal it prints on."""

from __future__ import annotations

import attrs
import pytest
from cli_samples import command

from introspection_bench.interop import read_results, write_jsonl

NAMES = {
    "markup": "[/nope]",
    "open markup": "[bold]x",
    "escape": "a\x1b[2J\x1b]0;owned\x07b",
    "C1 escape": "a\x9b31mb",
    "carriage return": "good\rbad",
    "bidi": "abc\u202edcb\u2066x",
    "surrogate": "a\ud800b",
    "NUL": "a\0b",
    "maths": r"$\frac{x}$ 50%_{a}^2 $",
    "one dollar": "a$b",
    "formula": "=cmd|' /C calc'!A0",
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u6d77",
    "long": "x" * 5000,
    "lines": "a\nb\nc",
    "template": "{{ 7*7 }}{% x %}",
    "element": "</script><script>alert(1)</script>",
}
NAMES["all at once"] = " ".join(name for name in NAMES.values() if len(name) < 100)
#: Figures and HTML take a second each.
SLOW = {"compare", "report"}
FOR_SLOW = {"maths", "one dollar", "long", "all at once"}
STEERING = ("\x1b", "\x9b", "\x07", "\r", "\u202e", "\u2066", "\ud800", "\0")


@pytest.fixture(scope="module", params=NAMES)
def hostile(request, place, tmp_path_factory):
    """A results file in which concept, scaffold, model, judge and reply bear a hostile name."""
    name = NAMES[request.param]
    records = []
    for record in read_results(place / "run").records:
        verdicts = [attrs.evolve(v, judge=name, concept=name, judge_model=name) for v in record.verdicts]
        condition = attrs.evolve(record.condition, scaffold=name, model=name, asked=name)
        if record.concept is not None:
            condition = attrs.evolve(condition, concept=name)
        trial = attrs.evolve(record.trial, condition=condition)
        reply = attrs.evolve(record.reply, text=name + record.reply.text)
        records.append(attrs.evolve(record, trial=trial, verdicts=verdicts, reply=reply))
    folder = tmp_path_factory.mktemp("hostile")
    write_jsonl(records, folder / "a.jsonl")
    return request.param, folder


@pytest.mark.parametrize(
    "words",
    [
        *[("table", "a.jsonl", "--format", form) for form in ("text", "markdown", "latex", "csv")],
        ("compare", "a.jsonl", "a.jsonl"),
        ("report", "a.jsonl", "--figures"),
        ("export", "a.jsonl", "--to", "b.parquet"),
        ("table", "a.jsonl", "--judge", "nobody"),
        *[("excludes", "a.jsonl", "--format", form) for form in ("text", "csv")],
    ],
    ids=" ".join,
)
def test_no_name_breaks_a_command_or_reaches_the_terminal_as_more_than_text(hostile, words):
    which, folder = hostile
    if words[0] in SLOW and which not in FOR_SLOW:
        return
    done = command(*words, cwd=folder, check=False)
    assert done.returncode == int("nobody" in words)
    shown = (done.stdout + done.stderr).replace("\r\n", "\n")  # how lines of CSV end
    shown.encode()
    assert not [c for c in STEERING if c in shown]
    assert "Traceback" not in shown


def test_a_hostile_file_name_is_text_in_results_and_errors(place, tmp_path):
    name = "x\x1b[2J[bold]\udcff.jsonl"
    write_jsonl(read_results(place / "run").records, tmp_path / name)
    for words in (("table", name), ("compare", name, name), ("export", name, "--to", f"y{name}"), ("report", name)):
        done = command(*words, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        (done.stdout + done.stderr).encode()
    missing = command("status", "no\x1b[2Jthing", cwd=tmp_path, check=False)
    assert missing.returncode == 1
    assert "\x1b" not in missing.stderr


def test_status_shows_a_judge_whose_name_is_markup(place, tmp_path):
    results = read_results(place / "run")
    verdict = attrs.evolve(results.records[0].verdicts[0], judge="[/nope]")
    records = [
        attrs.evolve(r, verdicts=[attrs.evolve(v, judge="[/nope]") for v in r.verdicts]) for r in results.records
    ]
    write_jsonl(records, tmp_path / "x.jsonl")
    command("import", "x.jsonl", "--to", "run", "--concepts", place / "concepts.toml", cwd=tmp_path)
    shown = command("status", "run", cwd=tmp_path).stdout
    assert f"[/nope]/{verdict.rubric}: 20 of 20 scored" in shown


def test_a_table_of_a_judge_without_verdicts_is_an_error_that_names_the_judges(place):
    failed = command("table", "run", "--judge", "claude", cwd=place, check=False)
    assert failed.returncode == 1
    assert "rules/strict4/1" in failed.stderr
    assert failed.stdout == ""


def test_comparing_with_a_run_that_was_not_judged_says_so(place, tmp_path):
    results = read_results(place / "run")
    write_jsonl([attrs.evolve(r, verdicts=()) for r in results.records], tmp_path / "bare.jsonl")
    shown = command("compare", place / "run", "bare.jsonl", cwd=tmp_path).stdout
    assert "no verdict in bare" in shown
    assert "outcome" not in shown.replace("outcomes are not compared", "")
    failed = command("compare", place / "run", "bare.jsonl", "--judge", "rules", cwd=tmp_path, check=False)
    assert failed.returncode == 1
    assert "judged" in failed.stderr


@pytest.mark.parametrize(
    ("to", "form", "begins"),
    [("a.parquet", None, b"PAR1"), ("a.jsonl", None, b"{"), ("a.PARQUET", "parquet", b"PAR1"), ("a", "jsonl", b"{")],
)
def test_an_export_has_the_format_that_its_name_ends_in(place, tmp_path, to, form, begins):
    command("export", place / "run", "--to", to, *(["--format", form] if form else []), cwd=tmp_path)
    assert (tmp_path / to).read_bytes().startswith(begins)


@pytest.mark.parametrize(
    ("to", "form"), [("a.parquet", "jsonl"), ("a.jsonl", "parquet"), ("a", None), ("a.xml", None), ("a.csv", "xml")]
)
def test_an_export_whose_name_and_format_contradict_or_say_nothing_is_an_error(place, tmp_path, to, form):
    options = ["--format", form] if form else []
    failed = command("export", place / "run", "--to", to, *options, cwd=tmp_path, check=False)
    assert failed.returncode == 1
    assert "format" in failed.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_any_command_with_exit_code_130(place, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("introspection_bench.sweep.reading.StoreReader.read", interrupted)
    done = command("table", "run", cwd=place, check=False)
    assert done.returncode == 130
    assert "Interrupted" in done.stderr


def test_what_the_machine_refuses_is_one_line(place, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("introspection_bench.sweep.reading.StoreReader.read", full)
    done = command("table", "run", cwd=place, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: [Errno 28] No space left on device\n"
