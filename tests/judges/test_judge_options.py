"""Every option of every judge, from Python, command line and TOML; what is wrong is said, not raised raw."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tomllib
from contextlib import redirect_stderr, redirect_stdout

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspection_bench.analysis import Results
from introspection_bench.cli import main
from introspection_bench.concepts import ConceptSet, load_concepts
from introspection_bench.conditions import Condition
from introspection_bench.errors import IntrospectionBenchError, JudgeError, OptionError, PluginError
from introspection_bench.judges import open_judge
from introspection_bench.judges.deciding import OutOfRubricError
from introspection_bench.judges.models.costs import Price
from introspection_bench.judges.models.interview import parse
from introspection_bench.judges.models.ledger import Ledger
from introspection_bench.judges.rubrics import load_rubric
from introspection_bench.sweep import Store, import_results
from introspection_bench.testing.tiny import save_tiny_model
from introspection_bench.trials import Reply, Trial, TrialRecord
from tests.keys import control_key, steered_key


@pytest.fixture
def run(tmp_path):
    """A run of four control replies, to be judged."""
    replies = [Reply(text, (1,), "stop") for text in ("AFFIRM", "NAME", "nothing", "AFFIRM NAME")]
    keys = [*(control_key(n) for n in range(3)), steered_key(3)]
    records = [
        TrialRecord(
            Trial(key, Condition(*("injected", "lindsey", "Dust") if key.steers else ("control", "lindsey"))), reply
        )
        for key, reply in zip(keys, replies, strict=True)
    ]
    concepts = ConceptSet("two", tuple(load_concepts("lindsey2026"))[:2], ())
    import_results([Results("r", records)], tmp_path / "run", concepts).close()
    return tmp_path / "run"


def command(*words: str) -> tuple[int, str]:
    """Run the command in this process; returns its exit code and all that it printed."""
    out = io.StringIO()
    code = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(out):
        patch.setattr(sys, "argv", ["introspection-bench", *words])
        patch.setenv("COLUMNS", "400")
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue()


def verdicts_of(run) -> list:
    with Store.open(run) as store:
        return [verdict for record in store.records() for verdict in record.verdicts]


def test_the_chat_judge_is_reached_with_all_its_options_from_the_command_line(services, run):
    services.refused = {"max_tokens", "temperature", "response_format"}
    base_url = f"{services.url}/v1"
    code, shown = command(
        "judge", str(run), "--judge", "chat", "--model", "m", "--base-url", base_url, "--no-check", "--max-cost", "1",
        "--option", "temperature=none", "--option", "limit_parameter=max_completion_tokens", "--option",
        "answer_format=text", "--option", "price.input=1.5", "--option", "price.output=2", "--option", "max_tokens=99",
    )  # fmt: skip
    assert (code, "4 judged, 0 unscored" in shown) == (0, True), shown
    assert services.bodies[-1]["max_completion_tokens"] == 99
    assert Ledger(run / "store.sqlite").total() == pytest.approx(4 * (900 * 1.5 + 90 * 2) / 1e6)


def test_a_panel_is_reached_with_all_its_options_from_the_command_line(services, run):
    chat = f'{{name = "chat", model = "m", base_url = "{services.url}/v1"}}'
    claude = f'{{name = "claude", base_url = "{services.url}", max_retries = 0}}'
    code, shown = command(
        "judge", str(run), "--judge", "panel", "--member", "rules", "--member", chat, "--member", claude,
        "--option", "rule=majority", "--no-check",
    )  # fmt: skip
    assert (code, "4 judged" in shown) == (0, True), shown
    assert {v.judge_model for v in verdicts_of(run)} == {"majority(chat:m,claude:claude-sonnet-4-6,rules/2)"}
    assert Ledger(run / "store.sqlite").total() == pytest.approx(4 * 0.0045)


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
    """A tiny random model's folder, with room for a rubric."""
    folder = save_tiny_model("llama", tmp_path_factory.mktemp("small") / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 16_384}))
    return folder


def test_the_local_judge_is_reached_from_the_command_line_alone_and_as_a_member(small_model, run):
    code, shown = command(
        "judge", str(run), "--judge", "local", "--model", str(small_model), "--option", "dtype=float32", "--option",
        "mass_floor=1e-12", "--option", "batch_size=4", "--max-cost", "0", "--no-check",
    )  # fmt: skip
    assert (code, "4 judged" in shown) == (0, True), shown
    assert {v.cost_usd for v in verdicts_of(run)} == {0.0}
    assert Ledger(run / "store.sqlite").total() == 0.0
    member = f'{{name = "local", model = "{small_model}", device = "cpu"}}'
    code, shown = command("judge", str(run), "--judge", "panel", "--member", "rules", "--member", member, "--no-check")
    assert (code, "4 judged, 4 unscored" in shown) == (0, True), shown  # the words of a random model are unlikely
    assert any("local:model@" in (v.judge_model or "") for v in verdicts_of(run))


def test_judge_check_opens_a_local_model_too():
    code, shown = command("judge-check", "local", "--model", "/no/such/folder", "--option", "dtype=bfloat16")
    assert (code, "existing folder" in shown, "Traceback" in shown) == (1, True, False), shown


WRONG = {
    "chat without a model": (["--judge", "chat"], "missing: 'model'"),
    "panel without members": (["--judge", "panel"], "missing: 'judges'"),
    "panel of one": (["--judge", "panel", "--member", "rules"], "at least two different judges"),
    "a member without a name": (["--judge", "panel", "--member", "{model = 'm'}", "--member", "rules"], "panel member"),
    "a member that is no TOML": (["--judge", "panel", "--member", "{name = ", "--member", "rules"], "--member"),
    "an unknown member": (["--judge", "panel", "--member", "nobody", "--member", "rules"], "nobody"),
    "a member's unknown option": (["--judge", "panel", "--member", "rules:m", "--member", "rules"], "unknown: 'model'"),
    "rules with a model": (["--judge", "rules", "--model", "m"], "unknown: 'model'"),
    "local without a model": (["--judge", "local"], "missing: 'model'"),
    "local at an address": (["--judge", "local", "--model", "m", "--base-url", "http://x"], "unknown: 'base_url'"),
    "a local model that is none": (["--judge", "local", "--model", "/no/such/folder"], "existing folder"),
    "a floor of nothing": (["--judge", "local", "--model", "m", "--option", "mass_floor=0"], "mass_floor"),
    "chat in batches": (["--judge", "chat", "--model", "m", "--batch"], "unknown: 'batch'"),
    "a number in words": (["--judge", "chat", "--model", "m", "--option", "temperature=warm"], "'temperature'"),
    "a text for a switch": (["--judge", "claude", "--option", "batch=yes"], "'batch'"),
    "half a price": (["--judge", "chat", "--model", "m", "--option", "price.input=1"], "missing @ price.output"),
    "a negative price": (["--judge", "chat", "--model", "m", "--option", "price={input=-1,output=1}"], "price.input"),
    "an unknown word": (["--judge", "chat", "--model", "m", "--option", "answer_format=xml"], "json_schema"),
    "an option without a value": (["--judge", "chat", "--model", "m", "--option", "temperature"], "NAME=VALUE"),
    "an option twice": (["--judge", "chat", "--option", "model=a", "--option", "model=b"], "--option"),
    "no such timeout": (["--judge", "claude", "--option", "timeout_s=nan"], "timeout_s"),
    "less than no retries": (["--judge", "claude", "--option", "max_retries=-1"], "max_retries"),
    "a limit without a price": (["--judge", "chat", "--model", "m", "--max-cost", "1"], "price"),
}


@pytest.mark.parametrize(("words", "told"), WRONG.values(), ids=WRONG)
@pytest.mark.usefixtures("services")
def test_a_wrong_option_on_the_command_line_is_one_line_that_says_what_is_missing(run, words, told):
    code, shown = command("judge", str(run), *words, "--no-check")
    assert code == 1
    assert told in shown
    assert "Traceback" not in shown


def test_judge_check_reaches_a_chat_judge_s_endpoint_too(services):
    code, shown = command(
        "judge-check", "chat", "--model", "m", "--base-url", f"{services.url}/v1", "--option", "temperature=none"
    )
    assert code == 1  # the stand-in does not know the control replies
    assert "answers wrong" in shown
    assert "temperature" not in services.bodies[0]


TOML = """
name = "chat"
[options]
model = "m"
base_url = "{url}/v1"
temperature = "none"
limit_parameter = "max_completion_tokens"
max_cost_usd = 1
price = {{ input = 1, output = 2.5 }}
"""


def test_a_judge_from_toml_takes_tables_whole_numbers_and_none(services):
    judge = tomllib.loads(TOML.format(url=services.url))
    opened = open_judge(judge["name"], **judge["options"])
    assert (opened.temperature, opened.limit_parameter) == (None, "max_completion_tokens")
    assert opened._purse.price == Price(1.0, 2.5)


def test_a_panel_from_toml_names_its_members_and_shares_rubric_and_limit(services):
    options = tomllib.loads(
        'judges = ["rules", "claude:claude-opus-4-6", {name = "claude", concurrency = 2}]\nmax_cost_usd = 2\n'
        'rubric = "strict4"\nrule = "all"'
    )
    panel = open_judge("panel", **options)
    assert panel.model == "all(claude:claude-opus-4-6,claude:claude-sonnet-4-6,rules/2)"
    models = panel.members[1:]
    assert [m._purse.limit for m in models] == [2.0, 2.0]
    assert models[0]._purse.ledger is models[1]._purse.ledger
    assert models[1].concurrency == 2
    with pytest.raises(JudgeError, match="max_cost_usd"):
        open_judge("panel", judges=["rules", open_judge("claude")], max_cost_usd=1.0)


@pytest.mark.usefixtures("services")
def test_a_key_among_the_options_is_refused_and_not_shown():
    for options in ({"api_key": "sk-hidden"}, {"judges": ["rules", {"name": "claude", "key": "sk-hidden"}]}):
        with pytest.raises(OptionError, match="unknown: ") as caught:
            open_judge("panel" if "judges" in options else "claude", **options)
        assert "hidden" not in str(caught.value)
        assert "environment" in str(caught.value)
    with pytest.raises(PluginError) as caught:
        open_judge(open_judge("rules"), api_key="sk-hidden")
    assert "hidden" not in str(caught.value)
    code, shown = command("judge", "nowhere", "--option", "sk-hidden")
    assert (code, "hidden" in shown) == (1, False)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(["none", "", "m", "claude:x"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "input", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)
OPTIONS = [
    "rubric", "model", "blinded", "batch", "concurrency", "max_cost_usd", "price", "max_tokens", "max_retries",
    "max_wait_s", "timeout_s", "poll_s", "settle_s", "batch_attempts", "batch_size", "temperature", "limit_parameter",
    "answer_format", "judges", "rule", "judge", "self", "ledger",
]  # fmt: skip


@given(
    st.sampled_from(["rules", "claude", "chat", "panel"]),
    st.dictionaries(st.sampled_from(OPTIONS), ANYTHING, max_size=3),
)
@settings(max_examples=150, deadline=None)
def test_any_options_open_a_judge_or_are_an_error_of_ours(name, options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTHROPIC_API_KEY", "k")
        patch.setenv("OPENAI_API_KEY", "k")
        with contextlib.suppress(IntrospectionBenchError):
            open_judge(name, **options).close()


# -- answers in wrappings

CALL = load_rubric("strict4").calls[0]
GOOD = (
    '{"reason": "so", "affirmative": "yes", "identifies": "no", "immediate": "n/a", "coherent": "yes", "refused": "no"}'
)
BAD = GOOD.replace('"affirmative": "yes"', '"affirmative": "no"')
READ = [
    GOOD,
    f"```json\n{GOOD}\n```",
    f"\n```\n{GOOD}\n```\n",
    f"<think>The reply says {BAD}. It claims.</think>\n{GOOD}",
    f"<think>\nhm\n</think>\n\n```json\n{GOOD}\n```",
]
NOT_READ = {
    f"Sure! {GOOD}": r"text stands beside the JSON object \(it begins 'Sure!",
    f"{GOOD} I hope this helps.": "text stands beside the JSON object",
    f"The reply says {BAD}, but:\n{GOOD}": "text stands beside the JSON object",
    f"{BAD}\n{GOOD}": "text stands beside the JSON object",
    f"```json\n{BAD}\n```\n```json\n{GOOD}\n```": "text stands beside the JSON object",
    f"Here:\n```json\n{GOOD}\n```": "text stands beside the JSON object",
    f"<think>it quotes </think>{BAD}</think>{GOOD}": "text stands beside the JSON object",
    f"reasoning</think>{GOOD}": "text stands beside the JSON object",
    f"<think>{GOOD}": "text stands beside the JSON object",
    "```json\n{}\n```": "required the keys",
    "I can't say.": "malformed answer",
    "": "malformed answer",
    "[" * 100_000: "malformed answer",
}


@pytest.mark.parametrize("text", READ)
def test_an_answer_in_one_fence_or_after_marked_reasoning_is_read(text):
    answers, reason = parse(CALL, text)
    assert (answers["affirmative"], reason) == ("yes", "so")


@pytest.mark.parametrize(("text", "told"), NOT_READ.items(), ids=range(len(NOT_READ)))
def test_an_answer_beside_other_text_is_none_and_the_reason_names_that(text, told):
    with pytest.raises(OutOfRubricError, match=told):
        parse(CALL, text)
