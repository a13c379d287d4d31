"""The command that shows one injection: try."""

from __future__ import annotations

from typing import Annotated

import typer

from . import completing, console


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(
        "try",
        epilog='Example: `introspection-bench try demo --concept Oceans --layer 2/3 --dose "0.3 residual" '
        '"What is on your mind?"`',
    )(try_)


def try_(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Hub id, folder, GGUF file, or demo.")],
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="What the user says; by default Lindsey 2026's question.")
    ] = None,
    *,
    concept: Annotated[
        str, typer.Option(help="The concept, by its name in the set.", autocompletion=completing.concepts)
    ],
    layer: Annotated[str, typer.Option(help="A 0-based block, or a depth.")] = "2/3",
    dose: Annotated[str, typer.Option(help="How much, with its unit.")] = "0.3 residual",
    span: Annotated[str | None, typer.Option(help="Where: all, prompt, generation, from(text) …")] = None,
    concepts: Annotated[
        str, typer.Option(help="Concept set, by name or TOML file.", autocompletion=completing.concept_sets)
    ] = "lindsey2026",
    backend: Annotated[str, typer.Option(help="Backend by name.", autocompletion=completing.backends)] = "torch",
    temperature: Annotated[float, typer.Option(help="Of both replies; 0 is greedy.")] = 1.0,
    max_new_tokens: Annotated[int, typer.Option(help="The longest that a reply may be.")] = 100,
    seed: Annotated[int, typer.Option(help="Of both replies.")] = 0,
    progress: console.ProgressOption = None,
) -> None:
    """Show one steered and one unsteered reply side by side, the steered span within ⟦ ⟧. Nothing is stored."""
    from ..scaffolds import LINDSEY
    from ..trials import Sampling
    from ..trying import try_injection

    console.show_progress(progress)
    sampling = Sampling(temperature, max_new_tokens=max_new_tokens)
    console.quiet_libraries()
    console.make_model(model)
    with console.working(f"Trying {concept} on {model}"):
        found = try_injection(
            model,
            concept,
            LINDSEY if text is None else text,
            layer=layer,
            dose=dose,
            span=span,
            concepts=concepts,
            backend=backend,
            sampling=sampling,
            seed=seed,
        )
    console.tell(f"{found.title}\n\n{found.prompt}\n")
    console.table("", ["unsteered", "steered"], [found.replies])
