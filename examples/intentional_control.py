r"""Intentional control: does a model's residual stream hold a word more when it is told to think of it?

After Lindsey 2026 (arXiv 2601.01828, "Intentional control of internal states"): the model copies a sentence while it is
told to think, or not to think, about a word. Nothing is steered. Read is the cosine of the residual stream with the
word's vector on the tokens of the reply, from a replay of each recorded reply.

    python examples/intentional_control.py          # SmolLM2-135M on the CPU, two to three minutes

The sentences are ours. This small model shows how the experiment is written down, not that it has such control.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

import introspection_bench as ib
from introspection_bench import arms, measures

SENTENCES = ("The old clock stopped at noon.", "A man in a grey coat crossed the square.")
COPY = 'Write the sentence "{sentence}" '


def scaffold(name: str, text: str) -> ib.Scaffold:
    return ib.Scaffold(name=name, turns=[ib.Turn("user", COPY + text)], source="after Lindsey 2026")


THINK = scaffold("think", "Think about {word} while you write it. Write nothing else.")
DONT = scaffold("don't think", "Don't think about {word} while you write it. Write nothing else.")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Intentional control of the residual stream.")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--layers", type=int, nargs="+", default=[10, 15, 20, 25])
    parser.add_argument("--trials", type=int, default=3, help="for each word and sentence")
    parser.add_argument("--directory", default="runs/intentional_control")
    options = parser.parse_args(arguments)
    concepts = ib.load_concepts("lindsey2026").select("Oceans", "Bread", "Poetry", "Volcanoes")
    items = [
        ib.Item(f"{c.name}, sentence {n}", {"word": str(c.word).lower(), "sentence": text})
        for c in concepts
        for n, text in enumerate(SENTENCES)
    ]
    design = ib.Design(
        scaffolds=[THINK, DONT],
        items=items,
        arms=[arms.Unsteered(options.trials * len(items))],
        sampling=ib.Sampling(max_new_tokens=20),
    )
    with ib.open_injector(options.backend, options.model) as injector:
        vectors = ib.extract(injector, concepts, options.layers)
        sweep = ib.Sweep(design, injector, options.directory)
        sweep.generate()
        for layer in options.layers:
            own = tuple(v for v in vectors if v.layer == layer)
            sweep.measure(measures.Cosines(own, over="generation"))
    print(f"{'layer':>5} {'words':28} {'think':>8} {'dont':>8} {'difference':>11}")
    for layer in options.layers:
        of_word, of_others = cosines(sweep.results(), layer)
        for told, found in (("the word it is told of", of_word), ("the other words", of_others)):
            think, dont = (float(np.mean(found[s.name])) for s in (THINK, DONT))
            print(f"{layer:>5} {told:28} {think:>8.4f} {dont:>8.4f} {think - dont:>11.4f}")


def cosines(results: ib.Results, layer: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return, by scaffold, each trial's mean cosine with the vector of its own word, and with those of the others."""
    own: dict[str, list[float]] = {}
    others: dict[str, list[float]] = {}
    for record in results:
        word = str(record.trial.item).partition(",")[0]
        for reading in record.readings:
            if reading.axes["layer"] != (layer,) or not reading.axes["position"]:
                continue
            mine = float(reading.at(layer=layer, vector=word).mean())
            rest = [reading.at(layer=layer, vector=v).mean() for v in reading.axes["vector"] if v != word]
            own.setdefault(record.scaffold, []).append(mine)
            others.setdefault(record.scaffold, []).append(float(np.mean(rest)))
    return own, others


if __name__ == "__main__":
    main()
