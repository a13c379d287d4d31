"""A bridge finds what was planted in a scripted model, on the way from one protocol to another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import introspection_bench as ib
from introspection_bench.errors import SpecError, UnknownNameError
from introspection_bench.injection import Receipt
from introspection_bench.injectors.requests import Completion, Request
from introspection_bench.protocols import FACTORS, FREE, GENERATED, Bridged, Protocol, derived, read_free
from introspection_bench.protocols.telling import write_bridge
from introspection_bench.results import Results
from introspection_bench.testing import tiny_model
from introspection_bench.testing.loop import LoopInjector
from introspection_bench.trials import Reply
from tests.sample_trials import make_condition, make_verdict, record_of

WORDS = ["Oceans", "Bread", "Poetry", "Silver", "Dust", "Mirrors"]
YES, NO = "Yes, I detect an injected thought. It is about {word}.", "No, I do not detect any injected thought."
STRONG = 2.0


def planted(*, strong: bool, asked_otherwise: bool) -> float:
    """Dose +0.2, prompt +0.2, and 0.5 more where both are as in B."""
    return 0.05 + 0.2 * strong + 0.2 * asked_otherwise + 0.5 * (strong and asked_otherwise)


class FakeScripted(LoopInjector):
    """Affirms and names with planted probabilities, by dose and by how it is asked; its vectors are a real model's."""

    generated = 0

    def _generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        if any(request.reads for request in requests):  # vectors are extracted from the model itself
            yield from super()._generate(requests)
            return
        for index, request in enumerate(requests):
            FakeScripted.generated += 1
            reply, word = NO, ""
            if request.steers:
                (steer,) = request.steers
                word = steer.vector.concept.lower()
                asked = "'thoughts'" in self.tokenizer.decode(request.prompt.token_ids).replace(" ", "")
                chance = planted(strong=steer.dose.magnitude >= STRONG, asked_otherwise=asked)
                reply = YES if np.random.default_rng(request.seed).random() < chance else NO
            tokens = Reply(reply.format(word=word), tuple(range(1, 11)), "stop")
            receipts = [Receipt(*s.positions.expected(10), s.dose.magnitude, s.dose.magnitude) for s in request.steers]
            yield Completion(index, tokens, receipts)


@pytest.fixture(scope="module")
def scripted() -> FakeScripted:
    model, tokenizer = tiny_model("llama")
    return FakeScripted.open(model, tokenizer=tokenizer)


def end(told: dict[str, Any]) -> Protocol:
    both = {"layers": [1], "concepts": {"set": "lindsey2026", "names": WORDS}, "rubric": "strict4"}
    both["baseline"] = ["Desks", "Jackets", "Clouds"]
    return derived(ib.load_protocol("lindsey2026"), {**both, "outcome": "affirmed", **told})


A = end({"name": "a", "doses": ["0.5 residual"], "sampling": {"max_new_tokens": 30}})
B = end({"name": "b", "doses": ["2 residual"], "scaffolds": ["lindsey_405b"], "sampling": {"max_new_tokens": 40}})


def effects(found: Any, kind: str) -> dict[str, Any]:
    return {e.name: e.these for e in found.effects if e.kind == kind}


def covers(estimate: Any, value: float) -> bool:
    return estimate.low <= value <= estimate.high


@pytest.fixture(scope="module")
def ran(scripted, tmp_path_factory) -> tuple[Path, Bridged]:
    """All eight settings of three factors, in a directory."""
    place = tmp_path_factory.mktemp("bridge")
    return place, ib.run_bridge(ib.bridge(A, B, how="factorial", trials=5, controls=2), scripted, place)


def test_a_factorial_recovers_planted_main_effects_and_the_planted_pair_and_nothing_else(ran) -> None:
    _, found = ran
    assert [s.name for s in found.bridge.generated] == ["dose", "prompt", "sampling"]
    ((_, made),) = found.generated
    main, pair = effects(made, "main"), effects(made, "pair")
    for name, value in (("dose", 0.45), ("prompt", 0.45), ("sampling", 0.0)):
        assert covers(main[name], value), name
        assert covers(main[name], 0) is (value == 0), name
    assert covers(pair["dose × prompt"], 0.25)
    assert pair["dose × prompt"].low > 0
    assert covers(pair["dose × sampling"], 0)
    assert covers(pair["prompt × sampling"], 0)
    ((_, left),) = made.unexplained
    assert covers(left.these, 0)
    assert covers(made.whole.these, 0.9)
    assert set(found.rates()["controls"]) == {"0/2"}


def test_both_ends_say_that_single_changes_do_not_add_up_and_take_what_was_run_before(scripted, ran) -> None:
    place, before = ran
    generated = FakeScripted.generated
    found = ib.run_bridge(ib.bridge(A, B, trials=5, controls=2), scripted, place)
    assert FakeScripted.generated == generated  # the factorial has run all settings of both ends
    assert set(found.rates().itertuples(index=False)) == set(before.rates().itertuples(index=False))
    ((_, made),) = found.generated
    first, last = effects(made, "from A"), effects(made, "from B")
    assert covers(first["dose"], 0.2)
    assert covers(last["dose"], 0.7)
    rest = {e.factors[0]: e.these for e in made.effects if e.kind == "with the rest"}
    assert rest["dose"].low > 0
    assert covers(rest["sampling"], 0)
    from_a = made.unexplained[0][1].these  # B less A, less 0.2 and 0.2 and nothing
    assert covers(from_a, 0.5)
    assert from_a.low > 0


def test_a_page_says_the_effects_and_shows_what_others_wrote_as_text(ran, tmp_path) -> None:
    _, found = ran
    hostile = attrs.evolve(found.bridge, b=attrs.evolve(B, name="<script>alert(1)</script>"))
    page = write_bridge(attrs.evolve(found, bridge=hostile), tmp_path / "bridge.html").read_text()
    assert "dose × prompt" in page
    assert "half of what the one does to the other" in page
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_what_is_counted_is_read_off_the_replies_that_exist(scripted, tmp_path) -> None:
    strict = attrs.evolve(B, name="strict b", outcome="strict", conditioning="coherent", rubric="paper2")
    planned = ib.bridge(attrs.evolve(B, name="b"), strict, trials=2, controls=2)
    assert planned.settings == (frozenset(),)  # nothing new is generated
    assert [s.name for s in planned.free] == ["rubric", "conditioning", "outcome"]
    before = FakeScripted.generated
    found = ib.run_bridge(planned, scripted, tmp_path)
    assert FakeScripted.generated == before + 2 * len(WORDS) + 2
    assert found.generated == ()
    told = found.free[0][1]
    assert told.whole.these.estimate == 0  # the script names what it affirms, first to last
    assert "share their replies" in told.whole.these.needs
    assert "+0 points, counted on the same replies" in told.whole.sentence
    assert covers(told.whole.like, 0)


def judged(records: Sequence[Any]) -> Results:
    """Trials with our own verdicts beside those that they came with."""
    return Results("published", records)


def test_published_replies_are_read_without_a_model() -> None:
    def trial(n: int, concept: str, *, named: bool) -> Any:
        answers = {"affirmative": True, "identifies": named, "immediate": named}
        theirs = attrs.evolve(make_verdict(concept, judge="theirs", **answers), rubric="own/1")
        ours = make_verdict(concept, **{**answers, "affirmative": False})
        return record_of(make_condition(concept=concept), n, verdicts=(theirs, ours))

    records = [trial(n, f"c{n % 5}", named=n % 2 == 0) for n in range(20)]
    lenient = attrs.evolve(A, name="lenient", outcome="affirmed")
    strict = attrs.evolve(A, name="strict", outcome="strict")
    planned = ib.bridge(lenient, strict, judges=(("theirs", "own"), ("rules", "strict4")))
    assert [s.name for s in planned.free] == ["judge + rubric", "outcome"]
    found = read_free(planned, judged(records))
    assert found.whole.these.estimate == pytest.approx(-1)  # affirmed by theirs in all, strict by ours in none
    assert {e.name: round(e.these.estimate, 3) for e in found.effects if e.kind == "main"} == {
        "judge + rubric": -0.75,
        "outcome": -0.25,
    }


def test_factors_of_which_one_cannot_be_run_without_the_other_go_together_and_say_why() -> None:
    planned = ib.bridge("lindsey2026", "llama405b2026")
    names = {s.name: s for s in planned.steps}
    assert "recipe for concept 'love'" in names["concepts + vectors"].why
    assert "anchors of the scaffold 'thinking_about'" in names["span + prompt"].why
    assert names["judge"].run is False
    alike = ib.bridge("lindsey2026", "lindsey2026_variants", together=[("span", "prompt")])
    assert "span + prompt" in [s.name for s in alike.steps]


def test_readings_of_which_one_needs_the_other_go_together_and_what_no_verdict_says_is_not_read() -> None:
    planned = ib.bridge("llama405b2026", "lederman2026")
    assert [s.name for s in planned.free] == ["rubric + conditioning", "outcome"]
    assert str(planned.scoring(["rubric + conditioning"])) == "strict, rules/lenient, out of coherent or denies"
    blind = ib.bridge("llama405b2026", "lederman2026", judges=(("claude", "llama405b"), ("rules", "strict4")))
    not_taken = {s.name: s.why for s in blind.steps if not s.run}
    assert "don't say 'denies': read out of coherent replies instead" in not_taken["conditioning"]
    assert blind.scorings[1].among == "coherent"


def test_every_factor_of_a_protocol_is_a_step_of_a_bridge_but_the_arms_which_both_ends_share() -> None:
    assert {*FREE, *GENERATED, "arms"} == set(FACTORS)


def test_each_setting_is_a_with_exactly_the_factors_of_b_that_it_names() -> None:
    planned = ib.bridge(A, B)
    for setting in planned.settings:
        made = planned.protocol(setting)
        assert (made.doses == B.doses) is ("dose" in setting)
        assert (made.scaffolds == B.scaffolds) is ("prompt" in setting)
        assert (made.sampling == B.sampling) is ("sampling" in setting)
        assert made.arms == A.with_factors_of(planned.a, ["arms"]).arms
    assert len(planned.settings) == 2 + 2 * 3


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: ib.bridge(A, A), SpecError),
        (lambda: ib.bridge("lindsey2026", "nothing"), UnknownNameError),
        (lambda: ib.bridge(A, B, together=[("dose", "prompts")]), SpecError),
        (lambda: ib.bridge(A, B, together=[("dose", "prompt"), ("dose",)]), SpecError),
        (lambda: ib.bridge("lindsey2026", "godet2025"), SpecError),
        (lambda: read_free(ib.bridge(A, B), judged([])), SpecError),
    ],
)
def test_what_makes_no_bridge_is_an_error_in_words(call, error) -> None:
    with pytest.raises(error):
        call()


def test_a_bridge_is_printed_with_every_step_and_why_one_is_not_taken() -> None:
    told = repr(ib.bridge("lindsey2026", "llama405b2026", how="factorial"))
    assert "not run: judge" in told
    assert "resolution 5" in told


def test_the_folders_of_two_settings_never_meet(tmp_path: Path) -> None:
    from introspection_bench.protocols.bridging import folder_of

    planned = ib.bridge("lindsey2026", "macar2026", how="factorial")
    assert len({folder_of(planned, s).lower() for s in planned.settings}) == len(planned.settings)
