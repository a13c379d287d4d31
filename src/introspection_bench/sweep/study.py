"""A study: one design over several models, a run directory each, and one results object over all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from ..boundaries import checked, guarded
from ..digests import digest
from ..effects import Effects
from ..errors import SpecError, explain
from ..files import file_stem
from ..freezing import frozen_tuple
from ..measures.base import Measure
from ..results import Results
from ..showing import named, shown, table_html
from ..structuring import Keys, plain
from ..verdicts import Asked, Part
from .generating import OnTrial
from .judging import JudgingSummary, judge_run
from .measuring import MeasuringSummary, measure_run
from .outline import check_early
from .planner import Planner
from .running import Watcher, run_spec
from .spec import ModelSpec, RunSpec
from .store import Store
from .sweep import Sweep
from .tables import Tables, read_tables

if TYPE_CHECKING:
    from ..judges.base import Judge

#: What a run's file has that a study's can't: its one model, and a plan that was frozen for it.
_OF_ONE_RUN = ("model", "frozen")


def _models(values: Sequence[object]) -> tuple[object, ...]:
    return tuple(ModelSpec(v) if isinstance(v, str) else v for v in frozen_tuple(values))


@guarded(SpecError)
@attrs.frozen
class Study:
    """One design over several models.

    ``models`` say what is opened, one after the other, each closed before the next; a name alone is a model on the
    backend ``torch``. Each has a run directory of its own within ``directory``, named after the model and the backend;
    the same model stands twice where its options differ, as in another quantisation. Layers by
    :class:`~introspection_bench.Depth` and doses in ``residual`` or by their effect mean the same on all of them.
    ``spec`` is what else the runs are (judge, measures, effects), as a file states it; its model and directory are each
    run's own. Raises :class:`SpecError` for a model that stands twice.
    """

    planner: Planner
    models: tuple[ModelSpec, ...] = attrs.field(converter=_models)
    directory: Path = attrs.field(converter=Path)
    spec: RunSpec | None = None

    def __attrs_post_init__(self) -> None:
        folders = [self.run_directory(m) for m in self.models]
        twice = sorted({str(f) for f in folders if folders.count(f) > 1})
        if twice or not folders:
            raise SpecError(
                explain(
                    "models",
                    required="at least one model, each once",
                    got=twice or "none",
                    hint="The same one stands twice with other options; see the docs' page studies.",
                )
            )

    def __repr__(self) -> str:
        models = [f"{m.name} ({m.backend})" for m in self.models]
        return shown(self, f"{str(self.directory)!r}", named("models", models), repr(self.planner))

    def _repr_html_(self) -> str:
        rows = [(m.name, m.backend, self.run_directory(m)) for m in self.models]
        return table_html(f"Study in {self.directory}", rows, ["model", "backend", "run"], [repr(self.planner)])

    @classmethod
    @checked(SpecError)
    def from_toml(cls, path: str | Path, overrides: Sequence[str] = ()) -> Study:
        """Read and check a study's file, without loading any model; ``directory`` counts from the file's folder.

        The file is a run's (docs/sweeps.md) with a list ``[[models]]`` in the place of the table ``[model]``.
        ``overrides`` are as of :meth:`RunSpec.from_toml`. Raises :class:`SpecError` that names line or key, and what
        :meth:`RunSpec.from_toml` raises.
        """
        path = Path(path)
        tables = read_tables(path, overrides)
        data = dict(tables.data)
        models = _listed(data.pop("models", None), path)
        for name in _OF_ONE_RUN:
            if name in data:
                raise SpecError(
                    explain(f"{path}: {name}", required="a key of a study", got=name, hint="It is of a single run.")
                )
        specs = [
            RunSpec.from_plain(
                {**data, "model": model},
                f"{path}, models[{place}]",
                beside=path.parent,
                places=partial(_places, tables, place),
            )
            for place, model in enumerate(models)
        ]
        first = specs[0]
        if first.directory is None:
            raise SpecError(
                explain(f"{path}: directory", required="the study's directory", got="none", hint='directory = "runs/x"')
            )
        return cls(first.planner, [s.model for s in specs], path.parent / first.directory, first)

    @checked(SpecError)
    def run_directory(self, model: ModelSpec) -> Path:
        """Return the run directory of a model."""
        # The digits tell two models of one last name apart; a whole path would make no folder's name.
        options = plain(model.options.get(model.backend, {}))
        own = digest("study_run", 1, [model.name, model.backend, *([options] if options else [])])[:6]
        return self.directory / f"{file_stem(Path(model.name).name)}-{model.backend}-{own}"

    @checked(SpecError)
    def run_spec(self, model: ModelSpec) -> RunSpec:
        """Return the specification of one model's run."""
        shared = RunSpec(self.planner.design, model) if self.spec is None else self.spec
        return attrs.evolve(shared, model=model, directory=str(self.run_directory(model)))

    @checked(SpecError)
    def run(self, *, judge: bool = True, watcher: Watcher | None = None) -> Results:
        """Run the specification on each model in turn, as :func:`~introspection_bench.run_spec` does; again to go on.

        ``judge`` says whether replies are judged, by the specification's judge ("rules" without one). ``watcher`` hears
        of each run in turn. Raises :class:`SpecError` for a planner that no specification holds, and what
        :func:`~introspection_bench.run_spec` raises, with the runs before it recorded.
        """
        specs = [self.run_spec(model) for model in self.models]
        if any(spec.planner != self.planner for spec in specs):
            raise SpecError(
                explain(
                    "planner",
                    required="a design, or what a file can state beside it",
                    got=type(self.planner).__name__,
                    hint="Use generate() and judge().",
                )
            )
        for spec in specs:
            if not Store.is_begun(str(spec.directory)):  # what is wrong for the last model should not cost the first
                check_early(spec)
        for spec in specs:
            run_spec(spec, judge=judge, watcher=watcher)
        return self.results()

    @checked(SpecError)
    def generate(self, on_trial: OnTrial | None = None) -> Results:
        """Run what is not recorded yet, model by model; see :meth:`Sweep.generate`."""
        for model in self.models:
            with model.open() as injector:
                Sweep(self.planner, injector, self.run_directory(model), spec=self.run_spec(model)).generate(on_trial)
        return self.results()

    @checked(SpecError)
    def judge(
        self, judge: str | Judge, *, retry_unscored: bool = False, part: Part = "answer", asked: Asked = "own"
    ) -> list[JudgingSummary]:
        """Judge all runs that there are; see :func:`judge_run`. No model is opened."""
        return [judge_run(s, judge, retry_unscored=retry_unscored, part=part, asked=asked) for _, s in self._stores()]

    @checked(SpecError)
    def measure(self, measure: Measure) -> list[MeasuringSummary]:
        """Read a measure off every recorded trial, each on its own model; see :func:`measure_run`."""
        found = []
        for model in self.models:
            with model.open() as injector, Store.open(self.run_directory(model)) as store:
                found.append(measure_run(store, measure, injector))
        return found

    @checked(SpecError)
    def results(self) -> Results:
        """What is recorded so far, of all models, as one value; conditions name the model.

        ``spec["study"]`` has the specification of each run, with the facts that the study now states of its model.
        Raises :class:`SpecError` where none is begun.
        """
        parts = [(model, store.results()) for model, store in self._stores()]
        if not parts:
            raise SpecError(
                explain("study", required="a run that was begun", got=f"none in {self.directory}", hint="generate()")
            )
        specs = [_stating(part.spec, model) for model, part in parts]
        return Results(
            name=self.directory.resolve().name,
            records=[record for _, part in parts for record in part.records],
            spec={**specs[0], "study": specs},
            source=str(self.directory),
            notes=[f"{part.name}: {note}" for _, part in parts for note in part.notes],
            effects=Effects([row for _, part in parts for row in part.effects]),
            doses=[dose for _, part in parts for dose in part.doses],
        )

    def _stores(self) -> Iterator[tuple[ModelSpec, Store]]:
        for model in self.models:
            if Store.is_begun(self.run_directory(model)):
                with Store.open(self.run_directory(model)) as store:
                    yield model, store


def _places(tables: Tables, place: int) -> dict[Keys, str]:
    """Return where the keys of one model's run stand in a study's file."""
    found = tables.places()
    return found | {("model", *keys[2:]): at for keys, at in found.items() if keys[:2] == ("models", place)}


def _listed(models: Any, path: Path) -> list[Any]:
    """Return the tables of a file's models, of which a name alone is one."""
    if not isinstance(models, list) or not models:
        raise SpecError(
            explain(
                f"{path}: models", required="a list of models", got=models or "none", hint='[[models]] name = "demo"'
            )
        )
    return [{"name": model} if isinstance(model, str) else model for model in models]


def _stating(spec: Mapping[str, Any], model: ModelSpec) -> dict[str, Any]:
    """Return a run's specification with the facts that are stated of its model now; they change no reply."""
    return {**spec, "model": {**spec["model"], "facts": plain(model.facts)}}
