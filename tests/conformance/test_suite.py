"""The suite itself: it passes a plain correct injector and catches every broken one at the check meant for it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from fakes import broken
from fakes.additions import FakeHonestPromptOnly, FakeNextLayer
from hypothesis import given

import introspection_bench.testing as ibt
from introspection_bench import testing
from introspection_bench.errors import BackendUnavailableError, SpecError
from introspection_bench.spans import Span
from introspection_bench.testing import (
    CHECKS,
    InjectorConformance,
    LoopInjector,
    check_names,
    run_conformance,
    spoil_logits,
    tiny_model,
)
from introspection_bench.testing.strategies import ANCHORS, injections, prompts, spans, trial_records


class TestLoopInjectorInChunks(InjectorConformance):
    """The plainest injector, its prompts prefilled seven tokens at a time."""

    @pytest.fixture(scope="class")
    @classmethod
    def injector(cls):
        model, tokenizer = tiny_model("qwen3")
        return LoopInjector.open(model, tokenizer=tokenizer, prefill_chunk=7)

    @pytest.fixture(scope="class")
    @classmethod
    def half(cls):
        model, tokenizer = tiny_model("qwen3")
        return LoopInjector.open(model.to(torch.bfloat16), tokenizer=tokenizer)

    @pytest.fixture(scope="class")
    @classmethod
    def unsound(cls):
        model, tokenizer = tiny_model("qwen3")
        return LoopInjector.open(spoil_logits(model), tokenizer=tokenizer)

    @pytest.fixture(scope="class")
    @classmethod
    def reference(cls):
        model, tokenizer = tiny_model("qwen3")
        return LoopInjector.open(model, tokenizer=tokenizer)


@pytest.mark.parametrize("fake", broken(), ids=lambda f: f.__name__)
def test_every_broken_injector_fails_the_check_that_is_meant_for_it(fake):
    (model, tokenizer), (wide, _), (reference, _), (unsound, _) = (tiny_model("llama") for _ in range(4))
    report = run_conformance(
        fake.open(model, tokenizer=tokenizer),
        half=fake.open(wide.to(torch.bfloat16), tokenizer=tokenizer),
        reference=LoopInjector.open(reference, tokenizer=tokenizer),
        unsound=fake.open(spoil_logits(unsound), tokenizer=tokenizer),
        only=[fake.caught_by],
    )
    (result,) = report.results
    assert (result.outcome, report.passed) == ("failed", False)
    # By what was measured, not because the fake crashed.
    assert result.detail.startswith(("ConformanceError", "SilentInjectionError"))


def test_every_check_has_a_broken_injector_that_only_it_must_catch():
    assert {f.caught_by for f in broken()} == set(check_names())


def test_checks_are_numbered_from_one_without_gap_and_have_a_sentence_each():
    assert [c.number for c in CHECKS] == list(range(1, len(CHECKS) + 1))
    assert all(c.states.endswith(".") for c in CHECKS)


def test_a_lying_receipt_that_miscounts_is_stopped_by_the_port_itself():
    model, tokenizer = tiny_model("llama")
    report = run_conformance(
        FakeHonestPromptOnly.open(model, tokenizer=tokenizer), only=["fires_once_per_generated_token"]
    )
    assert "SilentInjectionError" in report.results[0].detail


def test_an_expected_failure_is_reported_with_its_reason_and_does_not_fail_the_report():
    model, tokenizer = tiny_model("llama")
    injector = FakeNextLayer.open(model, tokenizer=tokenizer)
    name = "steers_only_its_layer"
    report = run_conformance(injector, only=[name], expected_failures={name: "layers count from 1"})
    assert report.passed
    assert report.counts() == {"expected failure": 1}
    assert "layers count from 1" in str(report)


def test_an_expected_failure_that_passes_fails_the_report():
    model, tokenizer = tiny_model("llama")
    name = "capture_reads_the_last_prompt_token"
    report = run_conformance(
        LoopInjector.open(model, tokenizer=tokenizer), only=[name], expected_failures={name: "long mended"}
    )
    assert not report.passed
    assert "unexpected pass" in str(report)


@pytest.mark.parametrize("bad", [{"no_such_check": "because"}, {"steers_only_its_layer": " "}])
def test_expected_failures_need_the_name_of_a_check_and_a_reason(bad):
    model, tokenizer = tiny_model("llama")
    with pytest.raises(SpecError, match="expected_failures"):
        run_conformance(LoopInjector.open(model, tokenizer=tokenizer), expected_failures=bad)


def test_checks_that_lack_what_they_need_are_skipped_with_the_reason():
    model, tokenizer = tiny_model("llama")
    report = run_conformance(
        LoopInjector.open(model, tokenizer=tokenizer),
        only=["agrees_with_the_reference", "keeps_the_dtype_of_the_stream"],
    )
    assert report.counts() == {"skipped": 2}
    assert all("pass" in r.detail for r in report.results)


def test_the_public_names_of_testing_are_all_there():
    homes = {n for names in ibt._HOMES.values() for n in names} | set(ibt._MODULES)
    assert homes == set(testing.__all__)
    assert all(getattr(testing, name) is not None for name in testing.__all__)


def test_a_missing_pytest_is_an_error_that_names_the_extra():
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "from introspection_bench.errors import BackendUnavailableError\n"
        "import introspection_bench.testing as t\n"
        "t.run_conformance\n"
        "try: t.InjectorConformance\n"
        "except BackendUnavailableError as e: print(e)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "introspection-bench[dev]" in done.stdout
    assert issubclass(BackendUnavailableError, ImportError)


@given(spans(), prompts())
def test_drawn_spans_steer_something_of_every_drawn_prompt(span, prompt):
    where = span.resolve(prompt)
    assert 0 <= where.start <= len(prompt.token_ids)
    assert sum(where.expected(2)) >= 1
    assert Span.parse(str(span)) == span
    assert tuple(prompt.anchors) == ANCHORS


@given(injections(), trial_records())
def test_drawn_values_are_values_of_our_own_classes(injection, record):
    assert injection.vector.values.shape == (64,)
    assert (not record.key.steers) == (record.arm == "control")
    assert len(record.receipts) == len(record.key.steers)
    assert len(record.key.digest) == 64
