r"""A refusal direction removed beside an injected concept: does a model report more when it can't refuse?

After Macar 2026 (arXiv 2603.21396): a direction of refusal, one for each layer, is the mean over harmful prompts minus
the mean over harmless ones. It is removed in every trial, the unsteered ones too, with the unit ``projection`` at each
layer, and a concept is injected beside it. Concept vectors are extracted under the removal as well. Macar takes 512 and
512 prompts, which are not used here, and small weights; here are sixteen pairs of ours (the battery ``refusal``), and
``--weight`` is the share that is removed.

    python examples/refusal_direction.py            # SmolLM2-135M on the CPU, about a minute

This small model shows how the experiment is written down; so few pairs make a coarse direction.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import introspection_bench as ib
from introspection_bench import arms
from introspection_bench.analysis import interval
from introspection_bench.sweep import BesideSteer


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="A refusal direction removed beside an injected concept.")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--layer", type=int, default=20)
    parser.add_argument("--dose", default="0.3 residual")
    parser.add_argument("--weight", type=float, default=1.0, help="share of the direction that is removed")
    parser.add_argument("--trials", type=int, default=8, help="for each concept")
    parser.add_argument("--tokens", type=int, default=30, help="of a reply, at most")
    parser.add_argument("--directory", default="runs/refusal_direction")
    options = parser.parse_args(arguments)
    requests = [item.slots for item in ib.load_battery("refusal").items]
    refusal = ib.Concept("refusal", pairs=[ib.Pair(told["declined"], told["granted"]) for told in requests])
    concepts = ib.load_concepts("lindsey2026").select("Oceans", "Bread", "Poetry")
    with ib.open_injector(options.backend, options.model) as injector:
        layers = list(range(injector.model.n_layers))
        directions = ib.extract(injector, [refusal], layers, recipe=ib.Pairs(position=-2))
        removed = BesideSteer("refusal removed", directions, layers, ib.Dose(-options.weight, "projection"))
        for name, beside in (("as it is", ()), ("refusal removed", (removed,))):
            steers = [ib.Injection(v, v.layer, removed.dose, removed.span) for v in directions] if beside else []
            design = ib.Design(
                concepts=concepts,
                vectors=ib.extract(injector, concepts, [options.layer], beside=steers),
                layers=[options.layer],
                doses=[options.dose],
                beside=beside,
                arms=[arms.Injected(options.trials), arms.Unsteered(options.trials * 3)],
                sampling=ib.Sampling(max_new_tokens=options.tokens),
            )
            sweep = ib.Sweep(design, injector, f"{options.directory}/{name.replace(' ', '_')}")
            sweep.generate()
            sweep.judge("rules")
            tell(name, sweep.results())


def tell(name: str, results: ib.Results) -> None:
    for arm in ("injected", "control"):
        verdicts = [r.verdicts[0] for r in results if r.arm == arm]
        for criterion in ("affirmative", "identifies"):
            k = sum(v.answer(criterion) is True for v in verdicts)
            around = interval(k, len(verdicts))
            print(f"{name:16} {arm:9} {criterion:12} {k:>3}/{len(verdicts):<3}  {around.low:.1%} to {around.high:.1%}")


if __name__ == "__main__":
    main()
