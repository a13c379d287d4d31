"""Inspect's own tasks on a steered model, with the real inspect_ai: scripts/test_inspect.sh runs them."""

from __future__ import annotations

import asyncio
import importlib.metadata
import subprocess
import sys

import attrs
import pytest

import introspection_bench as ib
from introspection_bench.errors import ScaffoldError, SilentInjectionError, SpecError
from introspection_bench.injectors.torch import TorchInjector

inspect_ai = pytest.importorskip("inspect_ai", reason="not installed: scripts/test_inspect.sh")

from inspect_ai.dataset import Sample  # noqa: E402  # where it is there at all
from inspect_ai.model import (  # noqa: E402  # as above
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    ContentImage,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    get_model,
)
from inspect_ai.scorer import match  # noqa: E402  # as above
from inspect_ai.solver import generate  # noqa: E402  # as above
from inspect_ai.tool import ToolInfo  # noqa: E402  # as above

from introspection_bench.harness import inspect_api  # noqa: E402, F401  # registers it, as its entry point does
from introspection_bench.harness.inspect_messages import as_sampling, as_scaffold  # noqa: E402  # as above

QUESTIONS = ("Two and two?", "The capital of {France}?", "A colour?")
GREEDY = GenerateConfig(temperature=0.0, max_tokens=6)


class FakeMuteInjector(TorchInjector):
    """Steers as it should, and proves none of it."""

    def _generate(self, requests):
        for completion in super()._generate(requests):
            yield attrs.evolve(completion, receipts=())


def task(targets=("4", "Paris", "Blue"), **options):
    samples = [Sample(input=q, target=t) for q, t in zip(QUESTIONS, targets, strict=True)]
    return inspect_ai.Task(
        dataset=samples, solver=[generate()], scorer=match(location="exact"), config=GREEDY, **options
    )


def run(model, tmp_path, **options):
    (log,) = inspect_ai.eval(model=model, log_dir=str(tmp_path), display="none", tasks=task(**options))
    return log


@pytest.fixture(scope="module")
def plain(tiny_path):
    return get_model(f"introspection_bench/{tiny_path}", options={"device": "cpu"})


@pytest.fixture(scope="module")
def steered(tiny_path, vector_path):
    return get_model(
        f"introspection_bench/{tiny_path}", vector=str(vector_path), dose="4 residual", options={"device": "cpu"}
    )


def test_a_task_is_scored_under_an_injection_and_its_log_proves_each_reply(plain, steered, tmp_path):
    before = run(plain, tmp_path)
    assert before.status == "success", before.error
    # Right is what the unsteered model says: its score is 1 by construction, and the injection costs some of it.
    said = tuple(sample.output.completion for sample in before.samples)
    logs = [run(model, tmp_path, targets=said) for model in (plain, steered)]
    assert [log.status for log in logs] == ["success", "success"]
    scores = [log.results.scores[0].metrics["accuracy"].value for log in logs]
    assert scores[0] == 1
    assert scores[1] < 1
    for log, steers in zip(logs, (0, 1), strict=True):
        for sample in log.samples:
            told = sample.output.metadata
            assert len(told["steers"]) == len(told["receipts"]) == steers
            assert sample.output.usage.output_tokens <= 6
    (steer,), (receipt,) = told["steers"], told["receipts"]
    assert (steer["concept"], steer["layer"], steer["magnitude"], steer["span"]) == ("Oceans", 2, 4, "all")
    assert receipt["prompt_positions"] == sample.output.usage.input_tokens
    assert receipt["mean_ratio"] == pytest.approx(4, rel=0.01)


def test_each_reply_is_the_one_that_the_library_gives(steered):
    api = steered.api
    found = asyncio.run(together(steered, QUESTIONS))
    for text, output in zip(QUESTIONS, found, strict=True):
        scaffold = ib.Scaffold("same", [ib.Turn("user", text)], filled=True)
        asked = api.steered.ask(scaffold, ib.Sampling(0.0, max_new_tokens=6))
        (expected,) = api.steered.answers([asked])
        assert output.completion == expected.reply.text
        assert output.metadata["trial"] == asked.drawn(output.metadata["draw"]).key.digest


async def together(model, questions, config=GREEDY):
    return await asyncio.gather(*(model.generate(text, config=config) for text in questions))


def test_questions_that_come_together_are_answered_together(steered, monkeypatch):
    sizes = []
    kept = type(steered.api.steered).answers
    monkeypatch.setattr(
        type(steered.api.steered), "answers", lambda self, asked: sizes.append(len(asked)) or kept(self, asked)
    )
    asyncio.run(together(steered, [f"Number {n}?" for n in range(8)]))
    assert sum(sizes) == 8
    assert len(sizes) <= 2


def test_epochs_are_further_draws_and_a_seed_makes_them_one(steered):
    warm = GenerateConfig(temperature=1.0, max_tokens=12)
    first, second = asyncio.run(together(steered, ["Again?"] * 2, warm))
    assert {first.metadata["draw"], second.metadata["draw"]} == {0, 1}
    assert first.completion != second.completion
    first, second = asyncio.run(together(steered, ["Again?"] * 2, warm.model_copy(update={"seed": 3})))
    assert first.completion == second.completion


def test_inspects_cache_never_answers_for_another_injection(plain, steered, monkeypatch, tmp_path):
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path))

    async def cached(model):
        return await model.generate("What is cached?", config=GREEDY, cache=True)

    unsteered, other = asyncio.run(cached(plain)), asyncio.run(cached(steered))
    assert (unsteered.metadata["steers"], len(other.metadata["steers"])) == ([], 1)
    assert asyncio.run(cached(steered)).completion == other.completion


def test_a_reply_without_proof_is_an_error_of_its_sample_and_no_reply(tiny_path, vector_path, tmp_path):
    mute = get_model(
        f"introspection_bench/{tiny_path}",
        backend=FakeMuteInjector,
        vector=str(vector_path),
        dose="4 residual",
        options={"device": "cpu"},
        memoize=False,
    )
    log = run(mute, tmp_path)
    assert log.status == "error"
    assert "required one for each of the 1 steers" in log.error.message
    assert not [s for s in log.samples or () if s.output.completion]
    with pytest.raises(SilentInjectionError):
        asyncio.run(together(mute, ["Two and two?"]))


TOOL = ToolInfo(name="add", description="Adds.")
USER = ChatMessageUser(content="Hello.")


@pytest.mark.parametrize(
    ("messages", "tools", "words"),
    [
        ([USER], [TOOL], "1 tools"),
        ([ChatMessageUser(content=[ContentText(text="See."), ContentImage(image="a.png")])], [], "image"),
        ([USER, ChatMessageTool(content="4", tool_call_id="1"), USER], [], "role tool"),
        ([USER, ChatMessageSystem(content="Late."), USER], [], "role system"),
        ([USER, ChatMessageAssistant(content="I")], [], "the last a user turn"),
        ([USER, ChatMessageAssistant(content=[ContentReasoning(reasoning="hm")]), USER], [], "reasoning"),
        ([ChatMessageSystem(content="Be brief.")], [], "at least one turn"),
        ([ChatMessageUser(content=" ")], [], "text"),
    ],
)
def test_what_a_steered_model_cant_carry_is_refused_and_not_dropped(messages, tools, words):
    with pytest.raises(ScaffoldError, match=words):
        as_scaffold(messages, tools)


@pytest.mark.parametrize(
    "setting",
    [
        *(
            {"logprobs": True},
            {"stop_seqs": ["\n"]},
            {"num_choices": 2},
            {"frequency_penalty": 1.0},
            {"top_logprobs": 3},
        ),
        *({"logit_bias": {5: 1.0}}, {"reasoning_effort": "low"}, {"max_tokens": None}, {"temperature": -1.0}),
    ],
)
def test_a_setting_that_would_alter_replies_unseen_is_refused(setting):
    with pytest.raises(SpecError):
        as_sampling(GREEDY.model_copy(update=setting))


def test_turns_and_system_message_reach_the_model_as_they_are_written(steered):
    said = [
        ChatMessageSystem(content="Be brief."),
        USER,
        ChatMessageAssistant(content="Yes?"),
        ChatMessageUser(content="Go {on}."),
    ]
    scaffold = as_scaffold(said)
    assert scaffold.system == "Be brief."
    assert [(t.role, t.content) for t in scaffold.turns] == [
        ("user", "Hello."),
        ("assistant", "Yes?"),
        ("user", "Go {on}."),
    ]
    marked = ib.mark_span(scaffold, steered.api.steered.injector.tokenizer, "from(last)")
    assert str(marked).endswith("⟦Go {on}.<end><assistant>⟧⟦reply⟧")


def test_a_prompt_beyond_the_models_positions_is_refused_before_anything_runs(steered):
    with pytest.raises(SpecError, match="2048 positions"):
        asyncio.run(together(steered, ["Two and two?"], GenerateConfig(max_tokens=4000)))


def test_the_command_line_finds_the_provider_by_its_entry_point(tiny_path, vector_path, tmp_path):
    if not [e for e in importlib.metadata.entry_points(group="inspect_ai") if e.name == "introspection_bench"]:
        pytest.skip("the package is not installed in this environment: scripts/test_inspect.sh")
    (tmp_path / "sums.py").write_text(
        "from inspect_ai import Task, dataset, scorer, task\n@task\ndef sums():\n"
        "    return Task(dataset=[dataset.Sample(input='2 + 2?', target='4')], scorer=scorer.match())\n"
    )
    command = [sys.executable, "-m", "inspect_ai", "eval", "sums.py", "--model", f"introspection_bench/{tiny_path}"]
    arguments = ["-M", f"vector={vector_path}", "-M", "dose=2 raw", "-M", "layer=1/2", "--max-tokens", "5"]
    ran = subprocess.run(
        [*command, *arguments, "--log-dir", "logs", "--display", "plain"], cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (path,) = (tmp_path / "logs").iterdir()
    log = inspect_ai.log.read_eval_log(str(path))
    assert log.eval.model_args["dose"] == "2 raw"
    (steer,) = log.samples[0].output.metadata["steers"]
    assert (steer["layer"], steer["magnitude"], steer["unit"]) == (2, 2.0, "raw")
