"""Commands that generate: demo, run, status."""

from __future__ import annotations

import os
import webbrowser
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from . import console

if TYPE_CHECKING:
    from ..sweep.grid import PlannedTrial

#: The demo's sweep, a spec like any other.
DEMO_SPEC = "demo.toml"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog="Example: `introspection-bench demo --no-browser`")(demo)
    app.command(epilog="Example: `introspection-bench run sweep.toml --backend vllm-lens`")(run)
    app.command(epilog="Example: `introspection-bench status runs/demo`")(status)


def demo(
    *,
    directory: Annotated[Path, typer.Option(help="Run directory.")] = Path("runs/demo"),
    browser: Annotated[bool, typer.Option(help="Open the report in a browser.")] = True,
) -> None:
    """Run the Lindsey protocol for real on a small model (SmolLM2-135M-Instruct, CPU), to a report.

    Extracts concept vectors, injects them, samples replies, judges them by rules, and writes tables, figures and an
    HTML report. Interrupt it at any time: the same command goes on from there.
    """
    with resources.as_file(resources.files("introspection_bench") / DEMO_SPEC) as spec, console.interruptible():
        report = _run(spec, directory=directory, backend=None)
    # Nobody is looking in CI or on a machine without a display.
    display = os.name != "posix" or os.uname().sysname == "Darwin" or os.environ.get("DISPLAY")
    if browser and display and not os.environ.get("CI"):
        webbrowser.open(report.resolve().as_uri())


def run(
    spec: Annotated[Path, typer.Argument(help="The sweep as a TOML file (docs/sweeps.md).")],
    *,
    backend: Annotated[str | None, typer.Option(help="Backend to run on, instead of the file's.")] = None,
    directory: Annotated[Path | None, typer.Option(help="Run directory, instead of the file's.")] = None,
    judge: Annotated[bool, typer.Option(help="Judge the replies when all are there.")] = True,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let Python code that comes with the checkpoint run.")
    ] = False,
) -> None:
    """Run a sweep, judge it, and write its report. Run it again to go on after an interruption."""
    with console.interruptible():
        _run(spec, directory=directory, backend=backend, with_judge=judge, trust_remote_code=trust_remote_code)


def _run(
    spec_path: Path,
    *,
    directory: Path | None,
    backend: str | None,
    with_judge: bool = True,
    trust_remote_code: bool = False,
) -> Path:
    from ..judges.registry import open_judge
    from ..sweep import Store, Sweep, judge_run
    from ..sweep.judging import case_maker
    from ..sweep.runner import generating
    from ..sweep.spec import SweepSpec
    from .results import write_outputs

    spec = SweepSpec.from_toml(spec_path)
    if directory is not None:
        spec = attrs.evolve(spec, directory=str(directory))
    if trust_remote_code:
        spec = attrs.evolve(spec, model=attrs.evolve(spec.model, trust_remote_code=True))
    concepts = spec.concept_set(spec_path.parent)
    if Store.is_begun(spec.directory):
        with generating(spec.directory):
            pass  # another process at work there should be known of before a model is loaded
    # Opened before the model: a judge that can't work should not cost a GPU hour first.
    judge = open_judge(spec.judge.name, **spec.judge.options) if with_judge else None
    console.quiet_libraries()
    console.convert_demo_model(spec.model.name)
    with console.working(f"Opening {spec.model.name}"):
        injector = spec.open_injector(backend)
    with injector:
        with console.working(f"Vectors for {len(concepts)} concepts"):
            grid = spec.build_grid(injector, concepts, spec_path.parent)
        sweep = Sweep(grid, injector, spec.directory)
        with sweep.open_store() as store:
            recorded, case_of = store.records(), case_maker(store)
        done = {record.key.digest for record in recorded}
        left = [t for t in sweep.planned if t.key.digest not in done]
        console.say(
            f"{len(sweep.planned)} trials planned, {len(done)} recorded, on {injector.model.name} "
            f"({injector.name}), in {spec.directory}"
        )
        if left:
            cells = [_cell_of(t) for t in left]
            with console.run_view(len(sweep.planned), recorded, cells, case_of) as view:
                sweep.run(view.on_trial)
    if judge is not None:
        with console.working(f"Judging with {judge.name}") as phase, Store.open(spec.directory) as store:
            summary = judge_run(store, judge, part=spec.judge.judged, on_verdict=phase.count("judged"))
        console.say(f"{summary.judged} judged, {summary.unscored} unscored, {summary.kept} kept")
    return write_outputs(Path(spec.directory))


def _cell_of(trial: PlannedTrial) -> tuple[object, ...]:
    key = trial.key
    return (trial.scaffold, trial.arm, trial.concept, key.layer, key.magnitude, key.unit)


def status(run_directory: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")]) -> None:
    """Show what of a run is planned, recorded and judged, per cell."""
    from ..sweep import Store
    from ..sweep.sessions import sessions_note

    with Store.open(run_directory) as store:
        planned, recorded = store.planned(), store.recorded()
        verdicts: dict[str, int] = {}
        for record in store.records():
            for verdict in record.verdicts:
                name = f"{verdict.judge}/{verdict.rubric}"
                verdicts[name] = verdicts.get(name, 0) + (verdict.unscored is None)
        spec, note = store.spec(), sessions_note(store.sessions())
    cells: dict[tuple[object, ...], list[int]] = {}
    for key, cell in planned.items():
        place = tuple(cell[c] for c in ("scaffold", "arm", "concept", "layer", "magnitude", "unit"))
        counts = cells.setdefault(place, [0, 0])
        counts[0] += 1
        counts[1] += key in recorded
    console.table(
        f"{run_directory}: {spec['model']['name']} on {spec['backend']}, {len(recorded)} of {len(planned)} trials",
        ["scaffold", "arm", "concept", "layer", "magnitude", "unit", "planned", "recorded"],
        [[*("" if v is None else v for v in place), *counts] for place, counts in cells.items()],
    )
    for name, count in sorted(verdicts.items()):
        console.tell(f"{name}: {count} of {len(recorded)} scored")
    if note:
        console.tell(note)
    if not verdicts:
        console.tell(f"not judged yet: introspection-bench judge {run_directory}")
