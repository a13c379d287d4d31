"""What each protocol comes to on a tokenizer, a line for each prompt; run it to write the recorded lines anew.

python -m tests.protocols.letters
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import introspection_bench as ib
from introspection_bench.injectors.base import Injector, ModelInfo
from introspection_bench.protocols import protocol_names

RECORDED = Path(__file__).parents[1] / "data" / "protocols.tsv"


class FakeReader(Injector):
    """Keeps the prompts that it is asked to read, and reads nothing."""

    name: ClassVar[str] = "fake-reader"

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.prompts: list[ib.RenderedPrompt] = []

    @classmethod
    def open(cls, model: Any) -> FakeReader:
        return cls(model)

    @property
    def model(self) -> ModelInfo:
        return ModelInfo("fake", "f", 4, 8, "float32")

    @property
    def tokenizer(self) -> Any:
        return self._tokenizer

    def _generate(self, requests: Sequence[ib.Request]) -> Iterator[ib.Completion]:
        raise NotImplementedError

    def _capture_steered(self, prompts, layers, position, beside):
        self.prompts += prompts
        return np.random.default_rng(0).standard_normal((len(prompts), len(layers), 8)).astype(np.float32)

    def _capture(self, prompts, layers):
        return self._capture_steered(prompts, layers, -1, ())


def extraction_prompts(protocol: ib.Protocol, tokenizer: Any) -> list[ib.RenderedPrompt]:
    """The prompts that the first concept's vector is made of, the concept's own first."""
    reader = FakeReader(tokenizer)
    concepts = protocol._design(protocol.concepts, 0).concepts
    ib.extract(reader, concepts.select(next(iter(concepts)).name), [0], recipe=protocol.recipe)
    return reader.prompts


def line(*columns: object) -> str:
    return "\t".join(str(c).encode("unicode_escape").decode() for c in columns)


def lines(name: str, tokenizer: Any) -> list[str]:
    """What is asked and steered, for the first item of each scaffold, and what the first vector is read behind."""
    protocol = ib.load_protocol(name)
    design = protocol._design(protocol.concepts, 0)
    found = []
    for scaffold in protocol.scaffolds:
        item = design.items_of(scaffold)[0]
        prompt = scaffold.fill(item).render(tokenizer)
        steered = design.span_of(scaffold.name).resolve(prompt)
        ids = prompt.token_ids
        first = tokenizer.decode(ids[steered.start : steered.start + 2])
        told = (len(ids), prompt.digest[:12], steered.start, steered.stop, first)
        found.append(line(name, scaffold.name, *told))
    prompts = extraction_prompts(protocol, tokenizer)
    found.append(line(name, "extraction", len(prompts), prompts[0].digest[:12], prompts[0].text))
    return found


def main() -> None:
    from transformers import AutoTokenizer

    from introspection_bench.demo_model import cache_folder, smollm2_path
    from tests.protocols.conftest import GEMMA_CHAT

    gemma = AutoTokenizer.from_pretrained(cache_folder() / "gemma-3-270m.Q4_K_M")
    gemma.chat_template = GEMMA_CHAT
    both = {"smol": AutoTokenizer.from_pretrained(smollm2_path()), "gemma": gemma}
    told = [
        f"{word}\t{row}" for word, tokenizer in both.items() for n in protocol_names() for row in lines(n, tokenizer)
    ]
    RECORDED.write_text("\n".join(told) + "\n")


if __name__ == "__main__":
    main()
