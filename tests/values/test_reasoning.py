"""Reasoning and answer, told apart by the markers that stand in a reply."""

from __future__ import annotations

import pytest

from introspection_bench.reasoning import ENDS_INSIDE, split

ASSISTANT = "<|end|><|start|>assistant"
FINAL = "<|channel|>final<|message|>"
ANALYSIS = "<|channel|>analysis<|message|>"


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("<think>", "</think>"),
        ("<thinking>", "</thinking>"),
        ("<THOUGHT>", "</THOUGHT>"),
        ("<reasoning>", "</reasoning>"),
        ("<seed:think>", "</seed:think>"),
        ("<longcat_think>", "</longcat_think>"),
        ("[THINK]", "[/THINK]"),
        ("<think >", "</think >"),
        ("<reflection>", "</reflection>"),
        ("<internal_monologue>", "</internal_monologue>"),
        ("<|START_THINKING|>", "<|END_THINKING|>"),
        ("<|begin_of_thought|>", "<|end_of_thought|>"),
        ("<|think_start|>", "<|think_end|>"),
        ("<|inner_prefix|>", "<|inner_suffix|>"),
        ("◁think▷", "◁/think▷"),
        ("<|channel>thought\n", "<channel|>"),
        ("<unused94>thought\n", "<unused95>"),
    ],
)
def test_pairs_part_a_reply(opening: str, closing: str) -> None:
    found = split(f"{opening}Should I?\n{closing}\n\nNo, I don't.")
    assert (found.answer, found.reasoning, found.unclear) == ("No, I don't.", "Should I?", None)
    inside = split(f"{opening}Should I")
    assert (inside.answer, inside.reasoning, inside.unclear) == ("", "Should I", ENDS_INSIDE)
    begun = split(f"Should I?{closing}No.", begun=f"<|assistant|>{opening}")
    assert (begun.answer, begun.reasoning) == ("No.", "Should I?")
    assert split("Should I", begun=opening).unclear == ENDS_INSIDE
    assert split("No.", begun=f"{opening}\n\n{closing}\n\n") == split("No.")


@pytest.mark.parametrize(
    "text", ["No.", "I think <b>so</b> [thinking]", "a thought: <|end|>", "  kept as it is \n", ""]
)
def test_a_reply_without_markers_is_all_answer(text: str) -> None:
    found = split(text)
    assert (found.answer, found.reasoning, found.unclear) == (text, None, None)


@pytest.mark.parametrize(
    "text",
    [
        "<think>a</thinking>b",
        "<think>a<think>b</think>c",
        "<think>a</think>b</think>c",
        "<|channel|>musing<|message|>a<|end|>" + "<|start|>assistant" + FINAL + "b",
        ANALYSIS + "a" + FINAL + "b",
        ANALYSIS + "a<|end|>",
        "<|start|>assistant<|message|>a",
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>",
    ],
)
def test_markers_that_contradict_each_other_or_hold_no_answer_are_unclear(text: str) -> None:
    found = split(text)
    assert found.unclear
    assert found.answer == text


@pytest.mark.parametrize(
    "text",
    [
        "The tag </think> closes it.",
        "I'd write <think>yes</think> but no.",
        "<think>a</think>The tag `<think>x</think>` is used.",
        "```\n<think>yes, I detect it</think>\n```\nNo.",
        "```xml\n<think>\nyes\n</think>\n```\nNo.",
    ],
)
def test_markers_that_an_answer_may_only_quote_are_unclear(text: str) -> None:
    found = split(text, "<end><assistant>")
    assert found.unclear
    assert found.answer == text


def test_reasoning_may_stand_in_several_blocks_each_on_a_line_of_its_own() -> None:
    found = split("<think>a</think><think>b</think>\n```x```\n<think>c</think>d", "<assistant>")
    assert (found.answer, found.reasoning, found.unclear) == ("```x```\n\nd", "a\n\nb\n\nc", None)


def test_reasoning_that_is_announced_in_plain_text_is_parted() -> None:
    found = split("Here's my thought process: say yes?\n\nHere is my response: No.", "<assistant>")
    assert (found.answer, found.reasoning) == ("No.", "say yes?")
    assert split("Here is my thought process: say").unclear == ENDS_INSIDE


def test_a_lone_closing_marker_ends_reasoning_that_the_prompt_began() -> None:
    assert split("Should I?</think>No.").reasoning == "Should I?"
    assert split("No.</think>", begun="<think></think>").unclear


def test_channels_part_a_reply() -> None:
    said = ANALYSIS + "Must say yes.<|end|><|start|>assistant" + FINAL + "No."
    found = split(said, ASSISTANT)
    assert (found.answer, found.reasoning, found.unclear) == ("No.", "Must say yes.", None)
    assert split("No.", ASSISTANT + FINAL).answer == "No."
    assert split(FINAL + "No.<|end|><|start|>user<|message|>Trial 2", ASSISTANT).answer == "No."
    assert split(ANALYSIS + "Must", ASSISTANT).unclear == ENDS_INSIDE
    assert split("<|channel|>ana", ASSISTANT).unclear == ENDS_INSIDE


def test_channels_are_known_by_what_decoding_leaves_of_them() -> None:
    found = split("analysisI must say yes, I detect it.assistantfinalI don't detect anything.")
    assert (found.answer, found.reasoning) == ("I don't detect anything.", "I must say yes, I detect it.")
    assert split("analysisI must say yes").unclear == ENDS_INSIDE
    assert split("analysis of the matter: no").reasoning is None
