"""Commands that generate and measure: demo, run, study, freeze, measure."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from . import completing, console, pooling
from .sharding import PreparedOption, PrepareOption, ShardOption, check_options, prepare_shards
from .viewing import open_page
from .watching import TerminalWatcher, tell_plan

if TYPE_CHECKING:
    from ..sweep import RunSpec
    from ..sweep.making import Pool

#: The demo's sweep, a spec like any other, and the one on a model whose truth is known.
DEMO_SPEC, DEMO_KNOWN_SPEC = "demo.toml", "demo_known.toml"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog="Example: `introspection-bench demo --no-browser`")(demo)
    app.command(
        epilog="Examples: `introspection-bench run sweep.toml design.arms.injected.n=5 --backend vllm-lens`, "
        "`introspection-bench run --protocol lindsey2026 --model demo`, "
        "`introspection-bench run sweep.toml --workers 4`"
    )(run)
    app.command(epilog="Example: `introspection-bench study study.toml design.arms.injected.n=5`")(study)
    app.command(epilog="Example: `introspection-bench freeze sweep.toml`")(freeze)
    app.command(
        epilog='Example: `introspection-bench measure runs/demo \'{measure = "token_logprobs", '
        'sets = {yes = ["Yes"], no = ["No"]}}\'`'
    )(measure)


def demo(
    *,
    directory: Annotated[Path, typer.Option(help="Run directory.")] = Path("runs/demo"),
    browser: Annotated[bool, typer.Option(help="Open the report in a browser.")] = True,
    progress: console.ProgressOption = None,
) -> None:
    """Run the Lindsey protocol for real on a small model (SmolLM2-135M-Instruct, CPU), to a report.

    Extracts concept vectors, injects them, samples replies, judges them by rules, and writes tables, figures and an
    HTML report. Beside it stands the same on a model of which it is known that it reports what is injected, so that the
    page says what a report would have looked like. Interrupt it at any time: the same command goes on from there.
    """
    from .results import write_outputs

    console.show_progress(progress)

    def of(name: str, to: Path) -> Path:
        with resources.as_file(resources.files("introspection_bench") / name) as spec:
            return _run(_stated(spec, []), directory=to, backend=None)

    with console.interruptible():
        report = write_outputs(of(DEMO_SPEC, directory), beside=of(DEMO_KNOWN_SPEC, directory / "known"))
    if browser:
        open_page(report)


def run(
    spec: Annotated[
        Path | None,
        typer.Argument(
            help="The sweep as a TOML file (the docs' page sweeps), or a run directory to go on in; none with "
            "--protocol or --experiment."
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Take the place of the file's: design.arms.injected.n=5",
            autocompletion=completing.overrides,
        ),
    ] = None,
    *,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="A published protocol, or a TOML file of yours, in place of SPEC (protocols list).",
            autocompletion=completing.protocols,
        ),
    ] = None,
    experiment: Annotated[
        str | None,
        typer.Option(
            help="An experiment by name, in place of SPEC (experiments list).", autocompletion=completing.experiments
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model to run on, instead of the file's.")] = None,
    backend: Annotated[
        str | None, typer.Option(help="Backend to run on, instead of the file's.", autocompletion=completing.backends)
    ] = None,
    directory: Annotated[Path | None, typer.Option(help="Run directory, instead of the file's.")] = None,
    judge: Annotated[bool, typer.Option(help="Judge the replies when all are there.")] = True,
    frozen: Annotated[
        Path | None, typer.Option(help="The frozen plan to run under (introspection-bench freeze).")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="A smoke test of so many trials, spread over the cells; run again to go on.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what it would be; no weights, nothing written.")
    ] = False,
    tokens_per_second: Annotated[float | None, typer.Option(help="For --plan: the rate of generated tokens.")] = None,
    dollars_per_hour: Annotated[float | None, typer.Option(help="For --plan: what the machine costs.")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let Python code that comes with the checkpoint run.")
    ] = False,
    workers: pooling.WorkersOption = None,
    ray: pooling.RayOption = None,
    worker_gpus: pooling.WorkerGpusOption = None,
    prepare: PrepareOption = None,
    shard: ShardOption = None,
    prepared: PreparedOption = None,
    progress: console.ProgressOption = None,
) -> None:
    """Run a sweep, judge it, and write its report. Run it again to go on after an interruption.

    With `--experiment NAME` what follows are its settings: `run --experiment localisation trials=2 layers=20`.
    """
    console.show_progress(progress)
    pool = pooling.asked_pool(workers, ray, worker_gpus)
    check_options(plan=plan, prepare=prepare, shard=shard, prepared=prepared, directory=directory, limit=limit)
    stated = _stated(
        spec, overrides or [], protocol, experiment, model,
        backend=backend, directory=directory, trust_remote_code=trust_remote_code,
    )  # fmt: skip
    if plan:
        on = backend or stated.model.backend
        stated = attrs.evolve(stated, model=attrs.evolve(stated.model, backend=on))
        tell_plan(stated, tokens_per_second, dollars_per_hour)
        return
    if prepare is not None:
        prepare_shards(stated, prepare, backend=backend, trust_remote_code=trust_remote_code, frozen=frozen)
        return
    from .results import write_outputs

    with console.interruptible():
        made = _run(
            stated,
            directory=directory,
            backend=backend,
            with_judge=judge,
            trust_remote_code=trust_remote_code,
            frozen=frozen,
            limit=limit,
            on=pool,
            shard=shard,
            prepared=prepared,
        )
        if shard is None and stated.shard is None:
            write_outputs(made)
        else:
            console.tell(f"Shard {shard or stated.shard} is in {made}. Next: introspection-bench merge, of all shards")


def _stated(
    path: Path | None,
    overrides: list[str],
    protocol: str | None = None,
    experiment: str | None = None,
    model: str | None = None,
    *,
    backend: str | None = None,
    directory: Path | None = None,
    trust_remote_code: bool = False,
) -> RunSpec:
    """Return what a file says, or what a protocol or an experiment comes to; the first word may be a KEY=VALUE then."""
    from ..errors import SpecError, explain
    from ..sweep import RunSpec
    from .experiments import experiment_spec

    if protocol is None and experiment is None and path is not None:
        if os.path.isdir(path):  # False for a name that the system finds too long
            return _of_run(path, overrides, model)
        found = RunSpec.from_toml(path, overrides)
        return found if model is None else attrs.evolve(found, model=attrs.evolve(found.model, name=model))
    words = [*([] if path is None else [str(path)]), *overrides]
    strange = [word for word in words if "=" not in word]
    if (protocol is None) == (experiment is None) or (protocol is not None and model is None) or strange:
        raise SpecError(
            explain(
                "run",
                required="a specification SPEC, or --protocol NAME with --model NAME, or --experiment NAME; then any "
                "KEY=VALUE",
                got=f"--protocol {protocol}, --experiment {experiment}, --model {model}"
                + (f", and {strange}" if strange else ""),
                hint="'introspection-bench protocols list' and 'experiments list' show the names.",
            )
        )
    if experiment is not None:
        return experiment_spec(experiment, model, words, backend=backend, directory=directory)
    return _of_protocol(str(protocol), str(model), words, backend=backend, trust_remote_code=trust_remote_code)


def _of_run(path: Path, overrides: list[str], model: str | None) -> RunSpec:
    """Return what a run directory says that the run is, to go on there; ``model`` is where its weights lie now."""
    from ..errors import SpecError, explain
    from ..showing import few, plural
    from ..sweep import Store
    from ..sweep.store import FILE_NAME

    if overrides:
        raise SpecError(
            explain(
                f"run {path}",
                required="no KEY=VALUE: the run's specification is settled",
                got=overrides,
                hint="Give the TOML file and another --directory for another run.",
            )
        )
    if not Store.is_begun(path):
        inside = sorted(str(p.parent) for p in path.glob(f"*/{FILE_NAME}"))
        raise SpecError(
            explain(
                f"run {path}",
                required="a run directory, or a sweep's TOML file",
                got=f"a folder with {plural(len(inside), 'run')}",
                hint=f"Name one of them: {few(inside)}; all models of a study: study STUDY.toml."
                if inside
                else "Name the TOML file to begin a run.",
            )
        )
    with Store.open(path) as store:
        found = store.run_spec()
    on = found.model if model is None else attrs.evolve(found.model, name=model)
    return attrs.evolve(found, model=on, directory=str(path))


def _of_protocol(
    protocol: str, model: str, words: list[str], *, backend: str | None, trust_remote_code: bool
) -> RunSpec:
    from ..files import file_stem
    from ..protocols import load_protocol
    from ..sweep import ModelSpec

    asked = load_protocol(protocol)
    console.say(f"{asked.name}: {asked.title}")
    console.quiet_libraries()
    console.make_model(model)
    on = ModelSpec(model, backend or "torch", trust_remote_code=trust_remote_code)
    return asked.spec(on, directory=f"runs/{file_stem(asked.name)}", overrides=words)


def _run(
    stated: RunSpec,
    *,
    directory: Path | None,
    backend: str | None,
    with_judge: bool = True,
    trust_remote_code: bool = False,
    frozen: Path | None = None,
    limit: int | None = None,
    on: Pool | None = None,
    shard: str | None = None,
    prepared: Path | None = None,
) -> Path:
    from ..sweep import run_spec

    console.quiet_libraries()
    console.make_model(stated.model.name)
    found = run_spec(
        stated,
        backend=backend,
        directory=directory,
        judge=with_judge,
        trust_remote_code=trust_remote_code,
        frozen=frozen,
        limit=limit,
        on=on,
        shard=shard,
        prepared=prepared,
        watcher=TerminalWatcher(limit),
    )
    return Path(found.source)


def study(
    spec: Annotated[Path, typer.Argument(metavar="STUDY", help="The study as a TOML file (the docs' page studies).")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Take the place of the file's, as for run."),
    ] = None,
    *,
    directory: Annotated[Path | None, typer.Option(help="The study's directory, instead of the file's.")] = None,
    judge: Annotated[bool, typer.Option(help="Judge the replies of each model when all are there.")] = True,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what it would be; no weights, nothing written.")
    ] = False,
    tokens_per_second: Annotated[float | None, typer.Option(help="For --plan: the rate of generated tokens.")] = None,
    dollars_per_hour: Annotated[float | None, typer.Option(help="For --plan: what the machine costs.")] = None,
    progress: console.ProgressOption = None,
) -> None:
    """Run one design on several models, each in a directory of its own. Run it again to go on.

    Afterwards, `compare STUDY --by model` (or family, size, tuning, quantisation, template) sets them side by side.
    """
    from ..sweep import Study
    from .results import write_outputs

    console.show_progress(progress)
    found = Study.from_toml(spec, overrides or [])
    if directory is not None:
        found = attrs.evolve(found, directory=directory)
    if plan:
        for model in found.models:
            tell_plan(found.run_spec(model), tokens_per_second, dollars_per_hour)
        return
    console.quiet_libraries()
    with console.interruptible():
        for model in found.models:
            console.make_model(model.name)
        found.run(judge=judge, watcher=TerminalWatcher())
        for model in found.models:
            write_outputs(found.run_directory(model))
    console.tell(f"{len(found.models)} models in {found.directory}")


def freeze(
    spec: Annotated[Path, typer.Argument(help="The sweep as a TOML file with a [plan] (the docs' page sweeps).")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Take the place of the file's, as for run."),
    ] = None,
    *,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a plan that was frozen before.")] = False,
) -> None:
    """Freeze a plan before its run: SPEC.frozen.json with a digest, and SPEC.prereg.md for a registry.

    No model is opened. Then `run SPEC --frozen SPEC.frozen.json`: the report says that the run is as frozen, or lists
    each departure.
    """
    from ..errors import SpecError, explain
    from ..files import write_file
    from ..report import preregistration
    from ..sweep import RunSpec
    from ..sweep import freeze as freeze_spec

    found = freeze_spec(RunSpec.from_toml(spec, overrides or []))
    target = spec.with_suffix(".frozen.json")
    if target.exists() and not replace:
        raise SpecError(
            explain(str(target), required="no plan frozen before", got="one", hint="--replace freezes the plan anew.")
        )
    written = [
        write_file(target, found.to_text().encode()),
        write_file(spec.with_suffix(".prereg.md"), preregistration(found).encode()),
    ]
    console.tell(f"Frozen on {found.date}, digest {found.digest}")
    for path in written:
        console.tell(str(path))


def measure(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    what: Annotated[str, typer.Argument(metavar="MEASURE", help="A TOML table (the docs' page measures).")],
    *,
    backend: Annotated[
        str | None,
        typer.Option(help="Backend to measure on, instead of the run's.", autocompletion=completing.backends),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model to measure on, instead of the run's.")] = None,
    progress: console.ProgressOption = None,
) -> None:
    """Replay a run's replies and read something on the way. It never samples; what is read already is kept."""
    import attrs

    from ..sweep import Store, measure_run
    from ..sweep.spec import read_measure

    console.show_progress(progress)
    console.quiet_libraries()
    with Store.open(run) as store, console.interruptible():
        wanted, spec = read_measure(what, run), store.run_spec()
        chosen = attrs.evolve(spec.model, name=model or spec.model.name, backend=backend or spec.model.backend)
        console.make_model(chosen.name)
        with console.working(f"Opening {chosen.name}"):
            injector = chosen.open()
        with injector, console.working(f"Measuring {wanted.name}") as phase:
            summary = measure_run(store, wanted, injector, on_reading=phase.count("measured"))
    console.tell(f"{summary.measure}: {summary.measured} measured, {summary.kept} there already")
    for note in summary.notes:
        console.tell(note)
