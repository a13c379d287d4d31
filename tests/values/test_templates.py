"""Chat templates that print the date, and their clock."""

from __future__ import annotations

import datetime
from typing import Any

import attrs
import pytest

from introspection_bench import LINDSEY
from introspection_bench.errors import ScaffoldError
from introspection_bench.templates import write_chat
from introspection_bench.testing.tiny import tiny_tokenizer

DAY = datetime.date(2024, 7, 6)
ASKED = [{"role": "user", "content": "hi"}]
CHAT = "{% for message in messages %}<user>{{ message.content }}{% endfor %}"


def tokenizer_with(template: Any) -> Any:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("Today Date: {{ strftime_now('%d %b %Y') }}", "Today Date: 06 Jul 2024"),
        ("{{ strftime_now('%Y-%m-%dT%H:%M:%S') }}", "2024-07-06T12:00:00"),
        ("{{ strftime_now('100%% %-d/%m %A') }}", "100% 6/07 Saturday"),
        ("{{ strftime_now(format='%y')|int + 1 }}", "25"),
        ("{% if strftime_now is defined %}{{ strftime_now('%j') }}{% else %}never{% endif %}", "188"),
        ("{% macro day() %}{{ strftime_now('%d')[1:] }}{% endmacro %}{{ day() }}", "6"),
        ("\n  {%- set d = strftime_now('%b') %}\n  {{ d }}", "  Jul"),
    ],
)  # fmt: skip
def test_a_template_is_told_the_stated_date_and_noon(template: str, told: str) -> None:
    assert write_chat(tokenizer_with(template + CHAT), ASKED, date=DAY) == told + "<user>hi"
    assert (
        write_chat(tokenizer_with({"default": template + CHAT, "tool_use": "x"}), ASKED, date=DAY) == told + "<user>hi"
    )


def test_a_template_without_a_clock_is_left_as_it_is() -> None:
    for template in (CHAT, "\n  {% if true %}x{% endif %}\n\n" + CHAT, tiny_tokenizer().chat_template):
        tokenizer = tokenizer_with(template)
        own = tokenizer.apply_chat_template(ASKED, tokenize=False, add_generation_prompt=True)
        assert write_chat(tokenizer, ASKED, date=DAY) == own


def test_white_space_around_a_template_with_a_clock_is_its_own() -> None:
    for start in ("", "\n", "  ", "  {% if true %}", "\n\n{%- if true %}", "text {{ '' }}\n"):
        template = start + ("{% endif %}" if "if" in start else "") + "{{ strftime_now('%%') }}" + CHAT
        tokenizer = tokenizer_with(template)
        assert write_chat(tokenizer, ASKED, date=DAY) == tokenizer.apply_chat_template(ASKED, tokenize=False)


def test_a_template_that_never_begins_the_reply_is_refused_unless_the_prefill_does() -> None:
    header = "{% for message in messages %}<{{ message.role }}>{{ message.content }}<end>{% endfor %}"
    with pytest.raises(ScaffoldError, match="leaves out '<assistant>'"):
        LINDSEY.render(tokenizer_with(header))
    begun = attrs.evolve(LINDSEY, prefill="<assistant>")
    assert begun.render(tokenizer_with(header)).text.endswith("<end><assistant>")
    # Templates whose turns have no header (Llama 2), or that always begin the reply, are as they should be.
    for fine in (
        "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }} </s>"
        "{% endif %}{% endfor %}",
        header + "{% if messages[-1].role == 'user' %}<assistant>{% endif %}",
    ):
        assert LINDSEY.render(tokenizer_with(fine)).token_ids


def test_a_rendered_prompt_says_which_date_it_shows() -> None:
    plain, dated = tiny_tokenizer(), tiny_tokenizer()
    dated.chat_template = "{{ strftime_now('%d %b %Y') }}" + dated.chat_template
    assert LINDSEY.render(plain, DAY).date is None
    shown = LINDSEY.render(dated, DAY)
    assert shown.date == DAY
    assert shown.text.startswith("06 Jul 2024")
    assert shown.digest != LINDSEY.render(dated, DAY + datetime.timedelta(1)).digest
    assert LINDSEY.render(dated).date is not None


@pytest.mark.parametrize("chance", ["{{ ['a', 'b']|random }}", "{{ lipsum() }}"])
def test_a_template_that_draws_at_random_is_refused(chance: str) -> None:
    with pytest.raises(ScaffoldError, match="draws at random"):
        LINDSEY.render(tokenizer_with(chance + CHAT))
