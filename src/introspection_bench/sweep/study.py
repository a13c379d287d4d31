"""A study: one design over several models, a run directory each, and one results object over all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from ..boundaries import checked, guarded
from ..digests import digest
from ..effects import Effects
from ..errors import SpecError, explain
from ..files import file_stem
from ..freezing import frozen_tuple
from ..measures.base import Measure
from ..results import Results
from ..verdicts import Asked, Part
from .generating import OnTrial
from .judging import JudgingSummary, judge_run
from .measuring import MeasuringSummary, measure_run
from .planner import Planner
from .spec import ModelSpec, RunSpec
from .store import Store
from .sweep import Sweep

if TYPE_CHECKING:
    from ..judges.base import Judge


def _models(values: Sequence[object]) -> tuple[object, ...]:
    return tuple(ModelSpec(v) if isinstance(v, str) else v for v in frozen_tuple(values))


@guarded(SpecError)
@attrs.frozen
class Study:
    """One design over several models.

    ``models`` say what is opened, one after the other, each closed before the next; a name alone is a model on the
    backend ``torch``. Each has a run directory of its own within ``directory``, named after the model and the backend.
    Layers by :class:`~introspection_bench.Depth` and doses in ``residual`` mean the same on all of them. Raises
    :class:`SpecError` for a model that stands twice.
    """

    planner: Planner
    models: tuple[ModelSpec, ...] = attrs.field(converter=_models)
    directory: Path = attrs.field(converter=Path)

    def __attrs_post_init__(self) -> None:
        folders = [self.run_directory(m) for m in self.models]
        twice = sorted({str(f) for f in folders if folders.count(f) > 1})
        if twice or not folders:
            raise SpecError(
                explain("models", required="at least one model, each once", got=twice or "none", hint="See ib.Study.")
            )

    @checked(SpecError)
    def run_directory(self, model: ModelSpec) -> Path:
        """Return the run directory of a model."""
        # The digits tell two models of one last name apart; a whole path would make no folder's name.
        own = digest("study_run", 1, [model.name, model.backend])[:6]
        return self.directory / f"{file_stem(Path(model.name).name)}-{model.backend}-{own}"

    @checked(SpecError)
    def generate(self, on_trial: OnTrial | None = None) -> Results:
        """Run what is not recorded yet, model by model; see :meth:`Sweep.generate`."""
        for model in self.models:
            with model.open() as injector:
                spec = RunSpec(self.planner.design, model)
                Sweep(self.planner, injector, self.run_directory(model), spec=spec).generate(on_trial)
        return self.results()

    @checked(SpecError)
    def judge(
        self, judge: str | Judge, *, retry_unscored: bool = False, part: Part = "answer", asked: Asked = "own"
    ) -> list[JudgingSummary]:
        """Judge all runs that there are; see :func:`judge_run`. No model is opened."""
        return [judge_run(s, judge, retry_unscored=retry_unscored, part=part, asked=asked) for s in self._stores()]

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

        Raises :class:`SpecError` where none is begun.
        """
        parts = [store.results() for store in self._stores()]
        if not parts:
            raise SpecError(
                explain("study", required="a run that was begun", got=f"none in {self.directory}", hint="generate()")
            )
        return Results(
            name=self.directory.resolve().name,
            records=[record for part in parts for record in part.records],
            spec={**parts[0].spec, "study": [dict(part.spec) for part in parts]},
            source=str(self.directory),
            notes=[f"{part.name}: {note}" for part in parts for note in part.notes],
            effects=Effects([row for part in parts for row in part.effects]),
            doses=[dose for part in parts for dose in part.doses],
        )

    def _stores(self) -> Iterator[Store]:
        for model in self.models:
            if Store.is_begun(self.run_directory(model)):
                with Store.open(self.run_directory(model)) as store:
                    yield store
