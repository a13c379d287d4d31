"""What ends a reply, and what it says, on every backend."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from introspection_bench import LINDSEY, Sampling, open_injector
from introspection_bench.errors import EndTokenWarning
from introspection_bench.injectors.base import Request
from introspection_bench.injectors.hf.stopping import ReplyReader, end_tokens, end_tokens_of
from introspection_bench.scaffolds import RenderedPrompt, Scaffold, Turn
from introspection_bench.testing.tiny import tiny_model, tiny_tokenizer

EACH = "{% for message in messages %}"
BEGIN = "{% endfor %}{% if add_generation_prompt %}<assistant>OPENED{% endif %}"
HARMONY = (
    EACH + "{% if message.role == 'assistant' %}"
    "{% if message.thinking %}<|start|>assistant<|channel|>analysis<|message|>{{ message.thinking }}<|end|>{% endif %}"
    "<|start|>assistant<|channel|>final<|message|>{{ message.content }}"
    "{% if loop.last and not add_generation_prompt %}<|return|>{% else %}<|end|>{% endif %}"
    "{% else %}<|start|>{{ message.role }}<|message|>{{ message.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)


def chat(ending: str, opened: str = "") -> str:
    """Turns of the form <role>text, each with this ending, and what begins a reply."""
    return EACH + "<{{ message.role }}>{{ message.content }}" + ending + BEGIN.replace("OPENED", opened)


def tokenizer_with(template: str | None, *special: str, plain: tuple[str, ...] = ()) -> Any:
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    tokenizer.add_tokens(list(plain))
    tokenizer.chat_template = template
    return tokenizer


def model_for(tokenizer: Any, architecture: str = "llama") -> Any:
    model, _ = tiny_model(architecture)
    model.resize_token_embeddings(len(tokenizer))
    return model.eval()  # a resized head is a new module


def encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def read(tokenizer: Any, text: str, *, begun: str = "", limit: int = 500, template: Any = "chat") -> Any:
    ends = end_tokens(tokenizer, generation=None, configuration=None)
    return ReplyReader(tokenizer, ends).read(
        encode(tokenizer, text), limit, RenderedPrompt([0], text, begun=begun, template=template)
    )


@pytest.mark.parametrize(
    ("ending", "special", "plain", "token", "text"),
    [
        ("<turn_end>", ("<turn_end>",), (), "<turn_end>", ""),
        ("<turn_end>\n", ("<turn_end>",), (), "<turn_end>", ""),
        ("\n<turn_end>\n", ("<turn_end>",), (), "<turn_end>", ""),
        (" </s>", ("</s>",), (), "</s>", ""),
        ("<turn_end>", (), ("<turn_end>",), "<turn_end>", ""),  # an added token that is not marked as special
        ("<|im_end|>\n", ("<|im", "<|im_end|>"), (), "<|im_end|>", ""),  # the longest
        ("", (), (), "<user>", ""),  # the next role's token, as in GLM-4
        ("</s>\n", (), (), "<user>", "</s>"),  # no token of its own
        ("\nEND\n", ("<turn_end>",), ("END",), "<user>", "\nEND"),  # an added word is no markup
    ],
)  # fmt: skip
def test_the_end_of_a_turn_is_read_from_the_template(
    ending: str, special: tuple[str, ...], plain: tuple[str, ...], token: str, text: str
) -> None:
    tokenizer = tokenizer_with(chat(ending), *special, plain=plain)
    ends = end_tokens(tokenizer, generation=None, configuration=None)
    assert tokenizer.convert_ids_to_tokens(list(ends.named["chat template"])) == [token]
    assert ends.text == text


def test_a_token_that_also_ends_a_channel_is_no_end_of_a_reply() -> None:
    special = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>")
    tokenizer = tokenizer_with(HARMONY, *special)
    ends = end_tokens(tokenizer, generation=[tokenizer.convert_tokens_to_ids("<|return|>")], configuration=None)
    assert tokenizer.convert_ids_to_tokens(list(ends.ids)) == ["<end>", "<|return|>"]
    always = tokenizer_with(HARMONY.replace("<|return|>", "<|end|>"), *special)
    assert end_tokens(always, generation=None, configuration=None).named["chat template"] == ()
    assert end_tokens(always, generation=None, configuration=None).text == ""


@pytest.mark.parametrize(
    ("generation", "configuration", "ids"),
    [
        (None, None, (2,)),
        (-1, None, (2,)),
        (7, [8, 9], (2, 7, 8, 9)),
        ([2, 7], 7, (2, 7)),
        ((), -1, (2,)),
    ],
)  # fmt: skip
def test_the_set_is_all_that_any_source_names(generation: Any, configuration: Any, ids: tuple[int, ...]) -> None:
    assert end_tokens(tokenizer_with(None), generation=generation, configuration=configuration).ids == ids


def test_templates_that_refuse_a_dialogue_name_nothing() -> None:
    strict = tokenizer_with("{{ raise_exception('no') }}")
    assert end_tokens(strict, generation=None, configuration=None).named["chat template"] == ()
    last_only = tokenizer_with(
        "{% if messages[-1].role == 'assistant' %}{{ raise_exception('no') }}{% endif %}" + chat("<s>")
    )
    assert end_tokens(last_only, generation=None, configuration=None).named["chat template"] == (1,)


def test_a_warning_says_which_source_names_what() -> None:
    tokenizer = tokenizer_with(chat("<turn_end>"), "<turn_end>")
    model = model_for(tokenizer)
    with pytest.warns(EndTokenWarning, match=r"generation config: <end> \(2\).*chat template: <turn_end> \(\d+\)"):
        torch_injector = open_injector("torch", model, tokenizer=tokenizer)
    plain = tokenizer_with(chat("</s>"))
    with pytest.warns(EndTokenWarning, match="plain text '</s>'"):
        open_injector("torch", model_for(plain), tokenizer=plain)
    model.generation_config.eos_token_id = [2, *torch_injector._reader.ends.named["chat template"]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = open_injector("torch", model, tokenizer=tokenizer)
    assert same.model.fingerprint == torch_injector.model.fingerprint


@pytest.mark.filterwarnings("ignore::introspection_bench.errors.EndTokenWarning")
def test_other_ends_of_a_reply_are_another_model() -> None:
    tokenizer = tokenizer_with(None)
    model = model_for(tokenizer)
    before = open_injector("torch", model, tokenizer=tokenizer).model.fingerprint
    model.generation_config.eos_token_id = [2, 77]
    assert open_injector("torch", model, tokenizer=tokenizer).model.fingerprint != before


@pytest.mark.parametrize("backend", ["torch", "nnsight", "loop"])
@pytest.mark.filterwarnings("ignore::introspection_bench.errors.EndTokenWarning")
def test_every_backend_ends_a_reply_where_the_template_ends_a_turn(backend: str) -> None:
    from introspection_bench.testing.loop import LoopInjector

    tokenizer = tokenizer_with(chat("<turn_end>"), "<turn_end>")
    model = model_for(tokenizer)
    prompt = LINDSEY.render(tokenizer)
    end = tokenizer.convert_tokens_to_ids("<turn_end>")
    with torch.no_grad():
        stream = model.model(torch.tensor([prompt.token_ids])).last_hidden_state[0, -1]
        model.lm_head.weight[end] = 10 * stream
    kind: Any = LoopInjector if backend == "loop" else backend
    injector = open_injector(kind, model, tokenizer=tokenizer)
    (completion,) = injector.generate([Request(prompt, (), Sampling(0, max_new_tokens=6))])
    assert completion.reply.token_ids == (end,)
    assert (completion.reply.text, completion.reply.finish_reason) == ("", "stop")


def test_a_reply_is_cut_at_its_end_and_its_text_lacks_it() -> None:
    tokenizer = tokenizer_with(chat("<turn_end>"), plain=("<turn_end>",))
    reply = read(tokenizer, "No thoughts.<turn_end><user>Trial 2<turn_end>")
    assert (reply.text, reply.finish_reason) == ("No thoughts.", "stop")
    assert reply.token_ids[-1] == tokenizer.convert_tokens_to_ids("<turn_end>")
    cut = read(tokenizer, "No thoughts.<turn_end>", limit=3)
    assert (len(cut.token_ids), cut.finish_reason) == (3, "length")


def test_text_ends_where_the_template_ends_a_turn_by_plain_text() -> None:
    template = (
        EACH + "{{ {'user': '\\nHuman', 'assistant': '\\nBot'}[message.role] }}: {{ message.content }}{% endfor %}"
    )
    tokenizer = tokenizer_with(template + "{% if add_generation_prompt %}\nBot:{% endif %}")
    reply = read(tokenizer, " No thoughts.\nHuman: Trial 2")
    assert (reply.text, reply.finish_reason) == (" No thoughts.", "stop")
    assert len(reply.token_ids) == len(encode(tokenizer, " No thoughts.\nHuman: Trial 2"))
    assert read(tokenizer, "a\nHuman: b", template="transcript").text == "a\nHuman: b"


def test_channels_of_special_tokens_are_told_apart() -> None:
    tokenizer = tokenizer_with(HARMONY, "<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>")
    said = (
        "<|channel|>analysis<|message|>I must say yes.<|end|>"
        "<|start|>assistant<|channel|>final<|message|>I don't.<|return|>"
    )
    reply = read(tokenizer, said, begun="<|end|><|start|>assistant")
    assert (reply.text, reply.reasoning, reply.unclear) == ("I don't.", "I must say yes.", None)
    cut = read(tokenizer, said, begun="<|end|><|start|>assistant", limit=10)
    assert (cut.text, cut.finish_reason) == ("", "length")
    assert "ends inside its reasoning" in cut.unclear


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize(
    "names", [("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<|START_THINKING|>", "<|END_THINKING|>")]
)
def test_pairs_are_told_apart_whether_or_not_they_are_special_tokens(names: tuple[str, str], special: bool) -> None:
    tokenizer = tokenizer_with(chat("<end>"), *names) if special else tokenizer_with(chat("<end>"))
    reply = read(tokenizer, f"{names[0]}Say yes?{names[1]}\n\nNo.<end>")
    assert (reply.text, reply.reasoning, reply.unclear) == ("No.", "Say yes?", None)


def test_a_prompt_that_opens_the_reasoning_is_counted() -> None:
    tokenizer = tokenizer_with(chat("<end>", "<think>\n"), "<think>", "</think>")
    prompt = Scaffold("s", [Turn("user", "Use <think> tags?")]).render(tokenizer)
    assert prompt.begun == "<end><assistant><think>\n"
    assert read(tokenizer, "Say yes?</think>No.<end>", begun=prompt.begun).reasoning == "Say yes?"
    assert read(tokenizer, "Say yes?", begun=prompt.begun).unclear is not None


def test_special_tokens_other_than_markers_leave_no_trace() -> None:
    tokenizer = tokenizer_with(chat("<end>"), "<think>", "</think>")
    assert read(tokenizer, "<s><think>a<user></think>b<system><end>").text == "b"


def test_a_models_own_eos_ids_and_config_are_read(smol_path: Any) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smol_path)
    ends = end_tokens_of(AutoModelForCausalLM.from_pretrained(smol_path), tokenizer)
    assert tokenizer.convert_ids_to_tokens(list(ends.ids)) == ["<|im_end|>"]
