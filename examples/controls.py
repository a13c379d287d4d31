r"""Is it introspection? One injection with every control beside it, and what each of them rules out.

    python examples/controls.py                    # SmolLM2-135M on the CPU, some minutes
    python examples/controls.py --model Qwen/Qwen3-8B --layer 24 --dose "4 raw" --times 10

The design is that of examples/controls.toml; docs/explaining.md says what each part is for. On the demo's model it
shows how such a run is written down and read: so few trials decide little, and are not meant to.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import introspection_bench as ib
from introspection_bench import arms, measures
from introspection_bench.analysis import explain_away
from introspection_bench.judges import open_judge

CONCEPTS = ("Oceans", "Bread")


def controls(layer: int = 20, dose: str = "0.3 residual", times: int = 1) -> ib.Design:
    """Return the design; ``times`` multiplies all numbers of trials."""
    n = times
    return ib.Design(
        scaffolds=[ib.LINDSEY.asking("wordings")],
        items="wordings",
        concepts=ib.load_concepts("lindsey2026").select(*CONCEPTS),
        layers=[layer],
        doses=[dose],
        paired="draw",
        sampling=ib.Sampling(max_new_tokens=30),
        arms=[
            arms.Injected(6 * n),
            arms.PromptOnly(4 * n),
            arms.Removed(2 * n),
            arms.Unsteered(12 * n),
            arms.Mention(2 * n),
            arms.EditedInput(n),
            arms.EditedInput(n, neutral=True),
            arms.RandomVector(8 * n),
            arms.RandomVector(4 * n, "permuted"),
            arms.RandomVector(4 * n, "covariance"),
            arms.RandomVector(2 * n, matched="impact"),
            arms.Negated(n),
            arms.ProjectedOut(2 * n),
            arms.ProjectedOut(2 * n, other=True),
            arms.Questions(5 * n),
            arms.Questions(5 * n, steered=False),
            arms.Questions(3 * n, answer="yes"),
            arms.Questions(3 * n, answer="yes", steered=False),
            arms.ThirdPerson(2 * n),
            arms.NeutralLabels(2 * n),
            arms.NeutralLabels(2 * n, steered=False),
        ],
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="An injection with every control beside it.")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--layer", type=int, default=20)
    parser.add_argument("--dose", default="0.3 residual")
    parser.add_argument("--times", type=int, default=1, help="as many times the trials")
    parser.add_argument("--directory", default="runs/controls_py")
    options = parser.parse_args(arguments)
    design = controls(options.layer, options.dose, options.times)
    with ib.open_injector(options.backend, options.model) as model:
        sweep = ib.Sweep(design, model, options.directory)
        sweep.measure_effects()
        sweep.generate()
        for measure in (
            measures.YesNo(),
            measures.Naming(),
            measures.Observer(),
            measures.ConceptLens(),
            measures.Cosines(at="reply"),
        ):
            sweep.measure(measure)
    sweep.judge("rules")
    sweep.judge(open_judge("rules", rubric="yesno"))
    sweep.judge("rules", asked="mismatched")
    results = sweep.results()
    for each in ib.contrast(results, "affirmative", against=["control", "random", "mention", "no_questions"]):
        print("\n".join(each.sentences))
    for each in ib.contrast(results, measure="log-odds", against=["random", "no_questions"]):
        print("\n".join(each.sentences))
    reports, answers = (results.frame("rules", rubric) for rubric in ("strict4", "yesno"))
    for task in explain_away(reports, answers, results.effects):
        print("\n".join(task.sentences))
    print("The report:", ib.write_report(results, f"{options.directory}/report.html", rubric="strict4/1"))


if __name__ == "__main__":
    main()
