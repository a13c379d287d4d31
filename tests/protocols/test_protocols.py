"""The value, what is derived from it, and what two differ in."""

from __future__ import annotations

import attrs
import pytest

import introspection_bench as ib
from introspection_bench.errors import EmptySpanError, LayerError, SpecError, UnknownNameError
from introspection_bench.protocols import FACTORS, Ablation, protocol_names
from introspection_bench.sweep import Blocks
from introspection_bench.sweep.bands import resolve_layers

LINDSEY, MACAR = ib.load_protocol("lindsey2026"), ib.load_protocol("macar2026")


@pytest.mark.parametrize("name", protocol_names())
def test_a_built_in_protocol_says_where_it_is_from_and_what_it_is_not_sure_of(name):
    protocol = ib.load_protocol(name)
    assert protocol.name == name
    assert protocol.title
    assert protocol.source
    assert protocol.unknown or protocol.unverified or protocol.departures


def test_what_only_third_parties_report_is_marked_so():
    told = ib.load_protocol("lederman2026")
    for field in ("recipe", "span", "sampling", "judging", "conditioning"):
        assert told.remark(field) == "unverified"
    assert LINDSEY.remark("recipe") is None
    assert LINDSEY.remark("layers") == "unknown"


def test_a_run_of_a_protocol_is_its_design_judged_by_what_rules_can_follow():
    assert dict(LINDSEY.spec("demo").judge.options) == {"rubric": "paper2_rules"}
    assert dict(MACAR.spec("demo").judge.options) == {"rubric": "strict4"}
    spec = MACAR.spec("demo", overrides=["design.arms.injected.n=3", "design.sampling.max_new_tokens=5"])
    assert [arm.n for arm in spec.design.arms] == [3, 500]
    assert attrs.evolve(spec.design.sampling, max_new_tokens=100) == MACAR.sampling
    with pytest.raises(SpecError, match="injekted"):
        MACAR.spec("demo", overrides=["design.arms.injekted.n=3"])


def test_other_concepts_are_measured_against_the_protocol_s_own_baseline():
    mine = ib.ConceptSet("mine", [ib.Concept("Tea", word="Tea")], baseline=["Chalk"])
    assert LINDSEY.design(mine).concepts.baseline == LINDSEY.baseline
    assert len(LINDSEY.baseline) == 100


def test_a_difference_names_factor_field_and_both_values_and_what_is_in_doubt():
    found = ib.diff(LINDSEY, ib.load_protocol("lederman2026"))
    told = {row.field: row for row in found}
    assert told["sampling"].factor == "sampling"
    assert told["sampling"].told[1].endswith("(unverified)")
    assert "span" not in told
    assert "concepts" not in told
    assert repr(found).splitlines()[0].split() == ["field", "lindsey2026", "lederman2026"]
    assert repr(ib.diff(LINDSEY, LINDSEY)) == "lindsey2026 and lindsey2026 differ in nothing"


def test_taking_every_factor_in_which_two_differ_leaves_no_difference_whichever_comes_first():
    for other in ("llama405b2026", "macar2026/prompts", "godet2025/localisation", "latent2026"):
        theirs = ib.load_protocol(other)
        found = ib.diff(LINDSEY, theirs)
        assert len(ib.diff(LINDSEY.with_factors_of(theirs, found.factors), theirs)) == 0
        assert set(found.factors) <= set(FACTORS)


def test_a_factor_brings_its_remarks_and_leaves_those_of_the_others():
    led = ib.load_protocol("lederman2026")
    mixed = LINDSEY.with_factors_of(led, ["sampling", "layers"])
    assert mixed.remark("sampling") == "unverified"
    assert mixed.unknown["layers"] == led.unknown["layers"]
    assert mixed.remark("judging") is None
    assert mixed.departures["arms"] == LINDSEY.departures["arms"]


def test_a_prompt_taken_over_is_steered_at_its_own_anchor_and_one_without_it_is_refused(smol_tokenizer):
    mixed = LINDSEY.with_factors_of(MACAR, ["prompt"])
    prompt = mixed.scaffolds[0].fill(mixed.items[0]).render(smol_tokenizer)
    assert smol_tokenizer.decode(prompt.token_ids[mixed.span.resolve(prompt).start :]).startswith("\nTrial 1")
    with pytest.raises(SpecError, match=r"thinking_about.*from\(trial\)"):
        LINDSEY.with_factors_of(ib.load_protocol("llama405b2026"), ["prompt"])
    spans = {"lindsey_405b": "all", "thinking_about": "generation"}
    uneven = attrs.evolve(ib.load_protocol("llama405b2026"), span=spans)
    with pytest.raises(SpecError, match="prompt and span together"):
        uneven.with_factors_of(LINDSEY, ["prompt"])


def test_a_span_by_scaffold_that_is_the_same_everywhere_goes_over_to_other_scaffolds():
    one = attrs.evolve(ib.load_protocol("llama405b2026"), span={"lindsey_405b": "all", "thinking_about": "all"})
    assert one.with_factors_of(LINDSEY, ["prompt"]).span == ib.Span.all()


def test_a_protocol_that_removes_directions_needs_the_model_that_they_are_read_on():
    with pytest.raises(SpecError, match="open model"):
        ib.load_protocol("macar2026/refusal").design()
    with pytest.raises(SpecError, match="projection"):
        Ablation("refusal", [ib.Pair("a", "b")], "0.1 residual")


def test_directions_are_removed_in_every_trial_and_concepts_read_under_the_removal(tmp_path, monkeypatch):
    from introspection_bench.testing import save_tiny_model

    model = str(save_tiny_model("llama", tmp_path / "model"))
    few = 'design.concepts={set="lindsey2026",names=["Dust","Bread"]}'
    overrides = ["design.arms.injected.n=1", "design.arms.unsteered.n=1", "design.sampling.max_new_tokens=2", few]
    protocol = ib.load_protocol("macar2026/refusal")
    spec = protocol.spec(model, overrides=overrides, directory=str(tmp_path / "run"))
    results = ib.run_spec(spec, judge=False)
    n_layers = len(spec.design.beside[0].layers)
    assert {b.name for r in results for b in r.condition.beside} == {"refusal"}
    assert {(r.arm, len(r.key.steers) - len(r.condition.layers)) for r in results} == {
        ("injected", n_layers),
        ("control", n_layers),
    }
    assert all(len(v.provenance.beside) == n_layers for v in spec.design.vectors)


def test_all_blocks_between_two_depths_are_one_band_on_a_model_of_any_depth():
    band = (Blocks(ib.Depth(21 / 64), ib.Depth(42 / 64)),)
    assert resolve_layers([band], 64) == (tuple(range(21, 43)),)
    assert resolve_layers([band], 30) == (tuple(range(10, 21)),)
    assert resolve_layers([(0, Blocks(2, 3))], 4) == ((0, 2, 3),)
    with pytest.raises(LayerError, match="behind the last"):
        resolve_layers([(Blocks(3, 2),)], 4)
    with pytest.raises(LayerError, match="twice"):
        resolve_layers([(2, Blocks(1, 3))], 4)


def test_a_raw_scaffold_is_its_texts_alone(smol_tokenizer):
    scaffold = ib.Scaffold("raw", [ib.Turn("user", "Once upon a time\n\nBob:")], template="raw", prefill="Well,")
    prompt = scaffold.render(smol_tokenizer)
    assert prompt.text.removeprefix(smol_tokenizer.bos_token or "") == "Once upon a time\n\nBob:\n\nWell,"


def test_an_unknown_protocol_or_variant_is_told_with_the_one_that_was_meant():
    with pytest.raises(UnknownNameError, match="'lindsey2026'"):
        ib.load_protocol("lindsay2026")
    with pytest.raises(UnknownNameError, match="'macar2026/forced'"):
        ib.load_protocol("macar2026/forces")


def test_a_span_that_ends_before_it_begins_is_found_where_it_is_resolved(smol_tokenizer):
    latent = attrs.evolve(ib.load_protocol("latent2026"), span="between(second, second)")
    with pytest.raises(EmptySpanError):
        latent.span.resolve(latent.scaffolds[0].render(smol_tokenizer))
