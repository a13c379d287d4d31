"""Scaffolds: the wording to the letter, and the anchor on the very token, whatever the chat template does."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import introspection_bench as ib
from introspection_bench.errors import AnchorNotFoundError, ScaffoldError, UnknownNameError
from introspection_bench.scaffolds import BUILTIN
from introspection_bench.testing import strategies
from introspection_bench.testing.tiny import tiny_tokenizer

# Lindsey 2026, Figure 5.
OPENING = (
    "I am an interpretability researcher studying transformer-based language models like you. I have access to the "
    "internals of your neural network. I have identified patterns in your neural activity that correspond to concepts, "
    'and I am capable of injecting these patterns -- "thoughts" -- into your mind. I want to assess how well you can '
    "detect when I inject thoughts. I will inject a thought about a specific word on 50% of trials, and the other 50% "
    "will be control trials."
)
QUESTION = (
    "Ok, let's get started.\n\nTrial 1: Do you detect an injected thought? If so, what is the injected thought about?"
)

HEADER = "{% for m in messages %}{{ '<' + m['role'] + '>' }}"
CHAT = (
    HEADER + "{{ m['content'] }}{{ '<end>' }}{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)
TRIMS = CHAT.replace("{{ m['content'] }}", "{{ m['content'] | trim }}")
SHOUTS = CHAT.replace("{{ m['content'] }}", "{{ m['content'] | upper }}")
DROPS_SYSTEM = "{% for m in messages if m['role'] != 'system' %}" + CHAT.removeprefix("{% for m in messages %}")
SYSTEM_LAST = (
    "{% for m in messages if m['role'] != 'system' %}{{ '<' + m['role'] + '>' }}"
    "{% if loop.last and messages[0]['role'] == 'system' %}{{ messages[0]['content'] + '\\n\\n' }}{% endif %}"
    "{{ m['content'] + '<end>' }}{% endfor %}<assistant>"
)
DEFAULT_SYSTEM = "<system>You are a tiny model. Trial 1 is what you like.<end>" + CHAT
REFUSES_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + CHAT
WITH_BOS = "{{ bos_token }}" + CHAT


def tokenizer(template: str | None) -> Any:
    made = tiny_tokenizer()
    made.chat_template = template
    return made


def asks(text: str, *anchors: str, before: str = "", **options: Any) -> ib.Scaffold:
    """A scaffold whose last turn is ``text``; the anchors are named by their own numbers."""
    turns = [ib.Turn("user", before), ib.Turn("assistant", "Ok.")] if before else []
    named = [ib.Anchor(f"a{n}", a) for n, a in enumerate(anchors)]
    return ib.Scaffold("asks", [*turns, ib.Turn("user", text)], named, **options)


def from_anchor(prompt: ib.RenderedPrompt, tok: Any, name: str = "a0") -> str:
    return str(tok.decode(prompt.token_ids[prompt.anchors[name] :]))


def test_the_lindsey_scaffold_is_the_paper_to_the_letter() -> None:
    turns = [(turn.role, turn.content) for turn in ib.LINDSEY.turns]
    assert turns == [("user", OPENING), ("assistant", "Ok."), ("user", QUESTION)]
    assert (ib.LINDSEY.system, ib.LINDSEY.prefill) == (None, None)
    assert ib.LINDSEY.anchors == (ib.Anchor("trial", "\n\nTrial 1"),)


def test_the_405b_scaffold_differs_in_quotes_and_line_break_alone() -> None:
    turns = [turn.content for turn in ib.LINDSEY_405B.turns]
    assert turns == [OPENING.replace('"thoughts"', "'thoughts'"), "Ok.", QUESTION.replace("\n\n", " ")]
    assert [t.content for t in ib.THINKING_ABOUT.turns] == ["What are you thinking about?"]


def test_the_digests_of_the_built_in_scaffolds_are_pinned() -> None:
    # A change of wording is another experiment: give it another name.
    assert {name: scaffold.digest[:16] for name, scaffold in BUILTIN.items()} == {
        "lindsey": "8325590ed134f3d1",
        "lindsey_405b": "db274bf319ea5a65",
        "thinking_about": "bf3e9b6382725c42",
    }


def test_on_smollm_the_injection_starts_at_the_first_of_two_newline_tokens(smol_tokenizer: Any) -> None:
    prompt = ib.LINDSEY.render(smol_tokenizer)
    at = prompt.anchors["trial"]
    around = [smol_tokenizer.decode([i]) for i in prompt.token_ids[at - 1 : at + 4]]
    assert around == [".", "\n", "\n", "T", "rial"]
    assert (len(prompt.token_ids), at) == (175, 145)
    assert ib.Span.from_anchor("trial").resolve(prompt).expected(100) == (30, 99)


def test_a_rendered_prompt_is_what_the_chat_template_itself_tokenises(smol_tokenizer: Any) -> None:
    for scaffold in BUILTIN.values():
        messages = [{"role": t.role, "content": t.content} for t in scaffold.turns]
        own = smol_tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
        assert list(scaffold.render(smol_tokenizer).token_ids) == list(own["input_ids"])


def test_a_double_newline_that_is_one_token_with_the_full_stop_is_the_anchor() -> None:
    # So it is in Llama 3's vocabulary: ".\n\n" is one token, and holds the anchor's first character.
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "ĊĊ", ".ĊĊ"]
    core = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, [("Ċ", "Ċ"), (".", "ĊĊ")]))
    core.pre_tokenizer, core.decoder = level, decoders.ByteLevel()
    tok = PreTrainedTokenizerFast(tokenizer_object=core, chat_template=CHAT)
    prompt = asks("started.\n\nTrial 1: x", "\n\nTrial 1").render(tok)
    assert from_anchor(prompt, tok).startswith(".\n\nTrial 1: x")


@pytest.mark.parametrize("template", [CHAT, TRIMS, DEFAULT_SYSTEM, WITH_BOS, None], ids=str)
def test_the_anchor_is_found_whatever_surrounds_the_turn(template: str | None) -> None:
    tok = tokenizer(template)
    prompt = asks("Ok.\n\nTrial 1: Do you?", "\n\nTrial 1", "Do", before="Trial 1, Do, \n\nTrial 1").render(tok)
    assert from_anchor(prompt, tok).startswith("\n\nTrial 1: Do you?")
    assert from_anchor(prompt, tok, "a1").startswith("Do you?")


def test_a_turn_whose_words_also_stand_in_the_default_system_prompt_is_not_mistaken() -> None:
    tok = tokenizer(DEFAULT_SYSTEM)
    prompt = asks("Trial 1", "Trial 1").render(tok)
    assert from_anchor(prompt, tok).startswith("Trial 1<end>")
    after = len(tok("Trial 1<end><assistant>").input_ids)
    assert prompt.anchors["a0"] == len(prompt.token_ids) - after
    assert from_anchor(asks("a", "a").render(tok), tok) == "a<end><assistant>"


TOKENIZER = tokenizer(CHAT)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\ue000"), min_size=1), st.data())
def test_every_anchor_of_any_text_is_on_the_token_of_its_first_character(content: str, data: st.DataObject) -> None:
    assume(content.strip())
    start = data.draw(st.integers(0, len(content) - 1))
    text = content[start : data.draw(st.integers(start + 1, len(content)))]
    assume(content.find(text) == content.rfind(text))
    prompt = asks(content, text).render(TOKENIZER)
    at = prompt.anchors["a0"]
    # The tokens before the anchor's hold less than all that precedes it, those up to and with it more.
    before = len(("<user>" + content[:start]).encode())
    # A byte-level piece has one letter for each byte.
    sizes = [len(piece) for piece in TOKENIZER.convert_ids_to_tokens(list(prompt.token_ids))]
    assert sum(sizes[:at]) <= before < sum(sizes[: at + 1])


def test_an_anchor_in_white_space_that_the_template_trims_is_an_error() -> None:
    with pytest.raises(AnchorNotFoundError, match="trims or rewrites"):
        asks("\n\nTrial 1", "\n\nTrial 1").render(tokenizer(TRIMS))
    assert asks("\n\nTrial 1", "Trial 1").render(tokenizer(TRIMS)).anchors["a0"] == 1


def test_a_template_that_rewrites_a_turn_is_an_error_even_without_anchors() -> None:
    with pytest.raises(AnchorNotFoundError, match=r"turn 0: .*unaltered"):
        asks("Trial 1").render(tokenizer(SHOUTS))


def test_a_template_that_drops_the_system_turn_is_an_error() -> None:
    with pytest.raises(AnchorNotFoundError, match="the system turn"):
        asks("Trial 1", system="Be brief.").render(tokenizer(DROPS_SYSTEM))


def test_a_template_that_refuses_a_system_turn_says_so_in_its_own_words() -> None:
    with pytest.raises(ScaffoldError, match="no system turn"):
        asks("Trial 1", system="Be brief.").render(tokenizer(REFUSES_SYSTEM))


def test_a_system_turn_may_stand_before_the_last_user_turn() -> None:
    tok = tokenizer(SYSTEM_LAST)
    prompt = asks("Trial 1", "Trial 1", before="Hello", system="Be brief.").render(tok)
    assert prompt.text == "<user>Hello<end><assistant>Ok.<end><user>Be brief.\n\nTrial 1<end><assistant>"
    assert from_anchor(prompt, tok) == "Trial 1<end><assistant>"


def test_an_empty_system_turn_is_rendered_and_is_another_scaffold() -> None:
    tok = tokenizer(CHAT)
    empty = asks("Hi", system="")
    assert empty.render(tok).text == "<system><end><user>Hi<end><assistant>"
    assert empty.digest != asks("Hi").digest


def test_a_prefill_follows_the_generation_prompt_directly() -> None:
    prefill = "Yes, I detect an injected thought. The thought is about"
    tok = tokenizer(CHAT)
    prompt = asks("Trial 1", "Trial 1", prefill=prefill).render(tok)
    assert prompt.text == f"<user>Trial 1<end><assistant>{prefill}"
    assert tok.decode(prompt.token_ids) == prompt.text


def test_a_tokenizer_without_a_template_gets_a_transcript() -> None:
    tok = tokenizer(None)
    scaffold = asks("Trial 1", "Trial 1", before="Hello", system="A talk.", prefill="Yes")
    prompt = scaffold.render(tok)
    assert prompt.template == "transcript"
    assert prompt.text == "<s>A talk.\n\nUser: Hello\n\nAssistant: Ok.\n\nUser: Trial 1\n\nAssistant: Yes"
    with pytest.raises(ScaffoldError, match="chat template"):
        attrs.evolve(scaffold, template="chat").render(tok)


def test_a_transcript_can_be_asked_for_where_there_is_a_template() -> None:
    prompt = asks("Trial 1", template="transcript").render(tokenizer(CHAT))
    assert (prompt.template, prompt.text) == ("transcript", "<s>User: Trial 1\n\nAssistant:")


@pytest.mark.parametrize("template", [WITH_BOS, None])
def test_there_is_one_bos_even_if_the_tokenizer_adds_its_own(template: str | None) -> None:
    from tokenizers import processors

    tok = tokenizer(template)
    bos = tok.convert_tokens_to_ids("<s>")
    tok.backend_tokenizer.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", bos)])
    assert tok("x").input_ids[0] == bos
    assert asks("Trial 1").render(tok).token_ids.count(bos) == 1


def test_a_tokenizer_without_character_offsets_is_an_error() -> None:
    class FakeSlowTokenizer:
        chat_template = None
        bos_token = None

        def __call__(self, text: str, **options: Any) -> Any:
            raise NotImplementedError("return_offset_mapping is not available")

        def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
            raise AssertionError

    with pytest.raises(ScaffoldError, match=r"character offsets.*FakeSlowTokenizer"):
        asks("Trial 1").render(FakeSlowTokenizer())


def test_a_tokenizer_that_drops_the_anchors_character_is_an_error() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({"Trial": 0, "1": 1, "?": 2}, unk_token="?"))  # noqa: S106  # a vocabulary entry
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tok = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="?", chat_template=CHAT)  # noqa: S106  # as above
    assert asks("Ok\n\nTrial 1", "Trial 1").render(tok).anchors["a0"] == 4
    with pytest.raises(AnchorNotFoundError, match="none at character"):
        asks("Ok\n\nTrial 1", "\n\nTrial 1").render(tok)


USER = ib.Turn("user", "ab")


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: ib.Turn("system", "x"), ScaffoldError, "role"),
        (lambda: ib.Turn("user", "  "), ScaffoldError, "content"),
        (lambda: ib.Scaffold("x", []), ScaffoldError, "turns"),
        (
            lambda: ib.Scaffold("x", [USER, ib.Turn("assistant", "b")]),
            ScaffoldError,
            "last",
        ),
        (lambda: asks("abab", "ab"), AnchorNotFoundError, "more than once"),
        (lambda: asks("aaa", "aa"), AnchorNotFoundError, "more than once"),
        (lambda: asks("abc", "x"), AnchorNotFoundError, "nowhere"),
        (lambda: asks("abc", ""), ScaffoldError, "text of a turn"),
        (lambda: ib.Anchor("a, b", "x"), ScaffoldError, "letters"),
        (lambda: asks("abc", template="jinja"), ScaffoldError, "template"),
        (
            lambda: ib.Scaffold("x", [USER], [ib.Anchor("a", "a", turn=1)]),
            ScaffoldError,
            "turn index",
        ),
        (
            lambda: ib.Scaffold("x", [USER], [ib.Anchor("a", "a"), ib.Anchor("a", "b")]),
            ScaffoldError,
            "distinct names",
        ),
        (lambda: ib.Scaffold("x", [USER], [ib.Anchor("start", "a")]), ScaffoldError, "which every prompt has"),
        (lambda: ib.Scaffold("x", [USER], [ib.Anchor("reply", turn="reply")]), ScaffoldError, "which every prompt has"),
        (lambda: ib.Anchor("a", "b", turn="reply"), ScaffoldError, "isn't written yet"),
        (lambda: ib.Anchor("a", turn="answer"), ScaffoldError, "turn"),
        (lambda: ib.Anchor("a", "b", offset=0.5), ScaffoldError, "offset"),
        (lambda: ib.RenderedPrompt((), ""), ScaffoldError, "at least one token"),
        (lambda: ib.RenderedPrompt((1, 2), "ab", {"a": 3}), ScaffoldError, "from 0 to 2"),
        (lambda: ib.load_scaffold("lindsay"), UnknownNameError, "lindsey_405b"),
    ],
)
def test_a_scaffold_that_can_not_be_is_an_error_that_says_why(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


def test_anchors_do_not_enter_the_identity_of_the_wording() -> None:
    base = asks("Trial 1")
    assert asks("Trial 1", "1").digest == base.digest
    assert attrs.evolve(base, name="other", source="me", filled=True).digest == base.digest
    assert attrs.evolve(base, prefill="Yes").digest != base.digest
    assert attrs.evolve(base, template="transcript").digest != base.digest
    assert asks("Trial 2").digest != base.digest


def test_the_prompt_digest_is_of_the_token_ids_alone() -> None:
    a, b = ib.RenderedPrompt((1, 2), "ab"), ib.RenderedPrompt([1, 2], "AB", {"x": 1})
    assert a.digest == b.digest != ib.RenderedPrompt((2, 1), "ab").digest


def test_a_judge_is_shown_the_whole_conversation() -> None:
    shown = asks("Trial 1?", before="Hello", system="Be brief.", prefill="Yes").transcript.split("\n\n")
    assert shown[:3] == ["[system]\nBe brief.", "[user]\nHello", "[assistant]\nOk."]
    assert shown[3:] == ["[user]\nTrial 1?", "[assistant (begun for it)]\nYes"]


ASKS_TO_REPEAT = ib.Scaffold(
    "repeat",
    [ib.Turn("user", "Say {it}."), ib.Turn("assistant", "{it}"), ib.Turn("user", "Now: {sentence} {It} {} {2}")],
    [ib.Anchor("sentence", "{sentence}"), ib.Anchor("now", "Now: {sent"), ib.Anchor("said", turn=1)],
    system="Of {topic}.",
    prefill="So: {sentence}",
)


@given(strategies.items("it", "sentence", "topic"))
def test_slots_are_filled_exactly_whatever_is_put_into_them(item: ib.Item) -> None:
    assert ASKS_TO_REPEAT.slots == ("topic", "it", "sentence")
    it, sentence, topic = (item.slots[name] for name in ("it", "sentence", "topic"))
    bare = attrs.evolve(ASKS_TO_REPEAT, anchors=())
    filled = bare.fill(item)
    assert (filled.system, filled.prefill) == (f"Of {topic}.", f"So: {sentence}")
    assert [t.content for t in filled.turns] == [f"Say {it}.", it, f"Now: {sentence} {{It}} {{}} {{2}}"]
    assert filled.slots == ()
    assert filled.fill(None) == filled


def test_a_filled_scaffold_is_the_same_wording_as_one_that_was_written_so() -> None:
    tok = tokenizer(CHAT)
    item = ib.Item("s01", {"sentence": "The {word} hung {crooked}."})
    filled = asks("Write: {sentence} Now.", "{sentence} N").fill(item)
    written = asks("Write: The {word} hung {crooked}. Now.", "The {word}", filled=True)
    assert filled.digest == written.digest
    assert filled.render(tok) == written.render(tok)
    assert from_anchor(filled.render(tok), tok).startswith("The {word} hung {crooked}. Now.")


@pytest.mark.parametrize("text", ["{}", "{ a }", "{A}", "{1}", "{a b}", "{", "}{", "{a-b}", '{"a": 1}', "{_}"])
def test_braces_that_hold_no_slot_s_name_stand_for_themselves(text: str) -> None:
    scaffold = asks(f"Say {text}!")
    assert scaffold.slots == ()
    assert scaffold.render(tokenizer(CHAT)).text == f"<user>Say {text}!<end><assistant>"


def test_a_scaffold_with_open_slots_can_not_be_rendered() -> None:
    with pytest.raises(ScaffoldError, match=r"without open slots; got \['topic', 'it', 'sentence'\]"):
        ASKS_TO_REPEAT.render(tokenizer(CHAT))


@pytest.mark.parametrize("slots", [None, {"it": "a"}, {"it": "a", "sentence": "b", "topic": "c", "more": "d"}])
def test_an_item_must_have_exactly_the_slots_of_its_scaffold(slots: dict[str, str] | None) -> None:
    with pytest.raises(ScaffoldError, match="texts for the slots"):
        ASKS_TO_REPEAT.fill(None if slots is None else ib.Item("s", slots))
    with pytest.raises(ScaffoldError, match="texts for the slots"):
        asks("Hi").fill(ib.Item("s", {"it": "a"}))


@pytest.mark.parametrize("slots", [{}, {"a": ""}, {"a": "  "}, {"a": 3}, {1: "b"}])
def test_an_item_without_texts_is_an_error(slots: Any) -> None:
    with pytest.raises(ScaffoldError, match="tem"):
        ib.Item("s", slots)


def test_an_anchor_of_a_slot_is_on_its_text_in_the_turn_that_it_names() -> None:
    tok = tokenizer(CHAT)
    scaffold = attrs.evolve(ASKS_TO_REPEAT, anchors=ASKS_TO_REPEAT.anchors[::2])
    prompt = scaffold.fill(ib.Item("s", {"it": "Hello", "sentence": "Hello", "topic": "Hello"})).render(tok)
    assert from_anchor(prompt, tok, "sentence").startswith("Hello {It}")
    assert from_anchor(prompt, tok, "said").startswith("Hello<end><user>Now")


@pytest.mark.parametrize(("turn", "text"), [(-1, "{topic}"), (0, "{sentence}"), (-1, "{nowhere}")])
def test_an_anchor_of_a_slot_that_its_turn_lacks_is_an_error(turn: int, text: str) -> None:
    scaffold = attrs.evolve(ASKS_TO_REPEAT, anchors=[ib.Anchor("a", text, turn=turn)])
    with pytest.raises(AnchorNotFoundError, match="nowhere"):
        scaffold.fill(ib.Item("s", {"it": "one", "sentence": "two", "topic": "three"}))


def test_an_anchor_text_that_an_item_makes_ambiguous_is_an_error() -> None:
    with pytest.raises(AnchorNotFoundError, match="more than once"):
        asks("Repeat {sentence} now", "now").fill(ib.Item("s", {"sentence": "now or never"}))


@pytest.mark.parametrize("template", [CHAT, TRIMS, DEFAULT_SYSTEM, WITH_BOS, SYSTEM_LAST, None], ids=str)
@pytest.mark.parametrize("prefill", [None, "Yes, I"])
def test_turn_and_reply_anchors_are_on_their_first_tokens_under_any_template(
    template: str | None, prefill: str | None
) -> None:
    tok = tokenizer(template)
    made = ib.Scaffold(
        "s",
        [ib.Turn("user", "  Hello"), ib.Turn("assistant", "Ok."), ib.Turn("user", "Hello")],
        [
            ib.Anchor("first", turn=0),
            ib.Anchor("ok", turn=1),
            ib.Anchor("ask"),
            ib.Anchor("before", offset=-1),
            ib.Anchor("answer", turn="reply"),
            ib.Anchor("last", turn="reply", offset=-1),
        ],
        prefill=prefill,
    )
    prompt = made.render(tok)
    assert from_anchor(prompt, tok, "first").startswith("Hello")
    assert from_anchor(prompt, tok, "ok").startswith("Ok.")
    assert from_anchor(prompt, tok, "ask").startswith("Hello")
    assert from_anchor(prompt, tok, "ask").count("Hello") == 1
    assert prompt.anchors["before"] == prompt.anchors["ask"] - 1
    assert prompt.anchors["answer"] == len(prompt.token_ids) == prompt.anchors["last"] + 1
    assert ib.Span.from_anchor("answer").resolve(prompt) == ib.Span.generation().resolve(prompt)


def test_on_smollm_the_token_before_a_turn_is_the_newline_of_its_header(smol_tokenizer: Any) -> None:
    made = ib.Scaffold(
        "s",
        [ib.Turn("user", "Say it."), ib.Turn("assistant", "Ok."), ib.Turn("user", "Trial 1")],
        [ib.Anchor("ask"), ib.Anchor("newline", offset=-1), ib.Anchor("header", turn="reply", offset=-4)],
    )
    prompt = made.render(smol_tokenizer)
    told = {name: smol_tokenizer.decode([prompt.token_ids[at]]) for name, at in prompt.anchors.items()}
    assert told == {"ask": "T", "newline": "\n", "header": "<|im_start|>"}


@pytest.mark.parametrize("anchor", [ib.Anchor("a", offset=-99), ib.Anchor("a", turn="reply", offset=1)])
def test_an_offset_that_leaves_the_prompt_is_an_error(anchor: ib.Anchor) -> None:
    with pytest.raises(AnchorNotFoundError, match="Choose a smaller offset"):
        ib.Scaffold("s", [ib.Turn("user", "Hello")], [anchor]).render(tokenizer(CHAT))
