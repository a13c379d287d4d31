"""Two real tokenizers: SmolLM2's with its ChatML template, and Gemma 3's with the chat format of Gemma."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from introspection_bench.demo_model import cache_folder
from introspection_bench.errors import ModelNotFoundError

#: The base model's tokenizer comes without a template. This is the format of google/gemma-3-27b-it, in our words: a
#: system turn stands before the first user turn, and every turn is trimmed.
GEMMA_CHAT = (
    "{{ bos_token }}"
    "{% set ns = namespace(first='', turns=messages) %}"
    "{% if messages[0].role == 'system' %}"
    "{% set ns.first = messages[0].content + '\n\n' %}{% set ns.turns = messages[1:] %}{% endif %}"
    "{% for turn in ns.turns %}"
    "{{ '<start_of_turn>' + ('model' if turn.role == 'assistant' else turn.role) + '\n' }}"
    "{{ ns.first if loop.first else '' }}{{ turn.content | trim }}{{ '<end_of_turn>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)


@pytest.fixture(scope="session")
def gemma_tokenizer() -> Any:
    """The real tokenizer of gemma-3-270m, where somebody installed and converted that model."""
    from transformers import AutoTokenizer

    folder = cache_folder() / "gemma-3-270m.Q4_K_M"
    if importlib.util.find_spec("introspection_bench.gemma_model") is not None:
        from introspection_bench.gemma_model import gemma_path

        try:
            folder = gemma_path()
        except ModelNotFoundError as error:
            pytest.skip(str(error))
    if not folder.is_dir():
        pytest.skip("gemma-3-270m is not in the cache: its tokenizer is the second one of these tests")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = GEMMA_CHAT
    return tokenizer


@pytest.fixture(params=["smol", "gemma"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    """Each of both."""
    return request.getfixturevalue(f"{request.param}_tokenizer")
