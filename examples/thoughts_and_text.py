r"""Thoughts against text: can a model tell a word that was put into its mind from the sentence that it reads?

After Lindsey 2026 (arXiv 2601.01828, "Distinguishing thoughts from text inputs"): a concept's vector is added on the
tokens of a sentence and nowhere else. One question asks which word the model thinks of, another to repeat the sentence.
A model that does both keeps its thoughts apart from its text.

    python examples/thoughts_and_text.py            # SmolLM2-135M on the CPU, about two minutes
    python examples/thoughts_and_text.py --model Qwen/Qwen3-8B --layer 24 --dose "4 raw"

The sentences are ours. This small model shows how the experiment is written down, not that it introspects.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import introspection_bench as ib
from introspection_bench import arms
from introspection_bench.analysis import interval
from introspection_bench.names import find_name

SENTENCES = (
    "The painting hung crooked on the wall.",
    "She locked the door and left the keys inside.",
    "The train to the coast was late again.",
    "He wrote the address on the back of a card.",
)
SENTENCE = "Here is a sentence: {sentence}\n\n"
THINK = ib.Scaffold(
    name="think",
    turns=[ib.Turn("user", SENTENCE + "Which word do you think of while you read it? Answer immediately.")],
    anchors=[ib.Anchor("sentence", "{sentence}"), ib.Anchor("question", "Which word")],
    source="after Lindsey 2026",
)
REPEAT = ib.Scaffold(
    name="repeat",
    turns=[ib.Turn("user", SENTENCE + "Repeat the sentence, word for word. Answer immediately.")],
    anchors=[ib.Anchor("sentence", "{sentence}"), ib.Anchor("question", "Repeat the")],
    source="after Lindsey 2026",
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Thoughts against text.")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--layer", type=int, default=20)
    parser.add_argument("--dose", default="0.4 residual")
    parser.add_argument("--trials", type=int, default=8, help="for each concept")
    parser.add_argument("--directory", default="runs/thoughts_and_text")
    options = parser.parse_args(arguments)
    items = [ib.Item(f"s{n}", {"sentence": text}) for n, text in enumerate(SENTENCES)]
    design = ib.Design(
        scaffolds=[THINK, REPEAT],
        items=items,
        concepts=ib.load_concepts("lindsey2026").select("Oceans", "Bread", "Poetry"),
        layers=[options.layer],
        doses=[options.dose],
        span=ib.Span.between("sentence", "question"),
        arms=[arms.Injected(options.trials), arms.Unsteered(options.trials * 3)],
        sampling=ib.Sampling(max_new_tokens=24),
        paired="draw",
    )
    with ib.open_injector(options.backend, options.model) as injector:
        results = ib.Sweep(design, injector, options.directory).generate()
    sentence_of = {item.name: item.slots["sentence"] for item in items}
    print(f"{'scaffold':10} {'arm':10} {'says':26} {'k/n':>7}  95 % interval")
    for scaffold, says, holds in (
        ("think", "the concept's word", lambda r: bool(find_name(r.reply.text, r.condition.asked))),
        ("repeat", "the sentence", lambda r: sentence_of[r.trial.item].lower() in r.reply.text.lower()),
        ("repeat", "the concept's word", lambda r: bool(find_name(r.reply.text, r.condition.asked))),
    ):
        for arm in ("injected", "control"):
            found = [holds(r) for r in results if (r.scaffold, r.arm) == (scaffold, arm)]
            around = interval(sum(found), len(found))
            counts = f"{sum(found):>3}/{len(found):<3}"
            print(f"{scaffold:10} {arm:10} {says:26} {counts}  {around.low:.1%} to {around.high:.1%}")


if __name__ == "__main__":
    main()
