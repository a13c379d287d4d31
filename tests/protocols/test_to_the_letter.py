"""Token ids and steered positions of every protocol, on two real tokenizers."""

from __future__ import annotations

import pytest

import introspection_bench as ib
from introspection_bench.protocols import protocol_names
from tests.protocols.letters import RECORDED, extraction_prompts, lines


@pytest.mark.parametrize("word", ["smol", "gemma"])
def test_every_protocol_comes_to_the_recorded_tokens_and_steered_positions(word, request):
    # Read through by hand when they were recorded; tests/protocols/letters.py writes them anew.
    tokenizer = request.getfixturevalue(f"{word}_tokenizer")
    recorded = [line for line in RECORDED.read_text().splitlines() if line.startswith(f"{word}\t")]
    assert [f"{word}\t{row}" for name in protocol_names() for row in lines(name, tokenizer)] == recorded


def prompt_of(name, tokenizer, number=0):
    protocol = ib.load_protocol(name)
    scaffold = protocol.scaffolds[number]
    prompt = scaffold.fill(protocol.design().items_of(scaffold)[0]).render(tokenizer)
    return prompt, protocol.design().span_of(scaffold.name).resolve(prompt)


def steered_text(tokenizer, prompt, positions):
    return tokenizer.decode(prompt.token_ids[positions.start : positions.stop])


def test_lindsey_is_steered_from_the_double_newline_before_the_trial_to_the_end(tokenizer):
    prompt, where = prompt_of("lindsey2026", tokenizer)
    assert steered_text(tokenizer, prompt, where).startswith("\n\nTrial 1: Do you detect")
    assert tokenizer.decode(prompt.token_ids[: where.start]).endswith("Ok, let's get started.")
    assert where.stop is None


def test_macar_is_steered_from_the_template_s_own_newline_before_the_trial(tokenizer):
    prompt, where = prompt_of("macar2026", tokenizer)
    assert tokenizer.decode(prompt.token_ids[where.start : where.start + 1]) == "\n"
    assert tokenizer.decode(prompt.token_ids[: where.start]).endswith("user")
    assert steered_text(tokenizer, prompt, where).startswith("\nTrial 1: Do you detect")


def test_macar_s_personas_are_steered_from_the_last_token_that_begins_before_the_trial(tokenizer):
    # As the study finds it: the number of tokens of what stands before "Trial", tokenised alone, less one.
    protocol = ib.load_protocol("macar2026/personas")
    for scaffold in protocol.scaffolds:
        prompt = scaffold.fill(protocol.items[0]).render(tokenizer)
        before = prompt.text[: prompt.text.index("Trial 1")]
        theirs = len(tokenizer(before, add_special_tokens=False)["input_ids"]) - 1
        assert protocol.span.resolve(prompt).start == theirs, scaffold.name


def test_the_405b_study_s_prompts_begin_with_two_bos_tokens_and_are_steered_from_the_first_on(gemma_tokenizer):
    # Its 173 and 42 tokens need the tokenizer of Llama 3, which no package has.
    bos = gemma_tokenizer.bos_token_id
    for number, plain in enumerate((ib.LINDSEY_405B, ib.THINKING_ABOUT)):
        prompt, where = prompt_of("llama405b2026", gemma_tokenizer, number)
        assert (where.start, where.stop) == (0, None)
        assert prompt.token_ids == (bos, *plain.render(gemma_tokenizer).token_ids)
        assert prompt.token_ids[:2] == (bos, bos)
    twice = ib.load_protocol("llama405b2026").scaffolds[0].render(gemma_tokenizer)
    assert gemma_tokenizer.decode(twice.token_ids[twice.anchors["trial"] :]).lstrip().startswith("Trial 1")


def test_a_tokenizer_that_puts_no_bos_before_a_text_puts_none_before_the_405b_study_s(smol_tokenizer):
    prompt, _ = prompt_of("llama405b2026", smol_tokenizer)
    assert prompt.token_ids == ib.LINDSEY_405B.render(smol_tokenizer).token_ids


def test_latent_introspection_stops_where_the_second_user_turn_begins(tokenizer):
    prompt, where = prompt_of("latent2026", tokenizer)
    rest = tokenizer.decode(prompt.token_ids[where.stop :])
    assert where.start == 0
    assert "{ }" in steered_text(tokenizer, prompt, where)
    assert rest.startswith(("<|im_start|>user\nOk, let's", "<start_of_turn>user\nOk, let's"))
    assert rest.endswith("The answer is")


@pytest.mark.parametrize("number", range(5))
def test_localisation_steers_one_sentence_and_nothing_around_it(tokenizer, number):
    prompt, where = prompt_of("godet2025/localisation", tokenizer, number)
    sentence = ib.load_protocol("godet2025/localisation").items[0].slots[f"s{number + 1}"]
    assert steered_text(tokenizer, prompt, where).strip() == sentence


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("lindsey2026", "Tell me about dust."),
        ("lederman2026", "Tell me about dust."),
        ("macar2026", "Tell me about Dust"),
        ("latent2026", "Please talk about cats."),
    ],
)
def test_full_stop_and_case_of_an_extraction_prompt_are_the_study_s(tokenizer, name, written):
    prompt = extraction_prompts(ib.load_protocol(name), tokenizer)[0]
    end = "<|im_end|>" if "<|im_end|>" in prompt.text else "<end_of_turn>"
    assert f"user\n{written}{end}" in prompt.text.replace("user\n\n\n", "user\n")


def test_latent_introspection_reads_behind_beginnings_of_replies_and_an_empty_system_turn(smol_tokenizer):
    protocol = ib.load_protocol("latent2026")
    prompts = extraction_prompts(protocol, smol_tokenizer)
    assert [p.text.rpartition("assistant\n")[2] for p in prompts[:10]] == list(protocol.recipe.endings)
    assert all(p.text.startswith("<|im_start|>system\n<|im_end|>\n") for p in prompts)


def test_macar_s_trial_numbers_are_spread_alike_over_injected_trials_and_controls(smol_tokenizer):
    from collections import Counter

    from introspection_bench.sweep.planner import Ground, plan
    from tests.protocols.letters import FakeReader

    protocol = ib.load_protocol("macar2026")
    design = protocol.design(ib.load_concepts("lindsey2026").select("Dust", "Bread", "Milk"))
    reader = FakeReader(smol_tokenizer)
    vectors = {(v.concept, 2): v for v in ib.extract(reader, design.concepts, [2], recipe=design.recipe)}
    ground = Ground(reader.model, "torch", 1, smol_tokenizer, design.day, vectors)
    counts = {"injected": Counter(), "control": Counter()}
    for planned in plan(design, ground):
        counts[planned.condition.arm][planned.trial.item] += 1
    assert set(counts["injected"].values()) == {30}
    assert set(counts["control"].values()) == {50}
    assert set(counts["injected"]) == set(counts["control"]) == {f"trial{n}" for n in range(1, 11)}
