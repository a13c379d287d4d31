"""A sweep: one design on one injector in one run directory, from the plan to the results."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from ..background import DRAWN
from ..boundaries import checked
from ..concepts import ConceptSet
from ..credentials import without_credentials
from ..dosing import Probe, measure_effects
from ..effects import Drawn, Effects, Found
from ..errors import SpecError, explain
from ..files import file_stem, make_own_folder
from ..injectors.base import Injector
from ..judges.registry import open_judge
from ..measures.base import Measure
from ..notebook import Bars, bars
from ..results import Results
from ..showing import plural, shown, table_html
from ..trials import TrialRecord
from ..verdicts import Asked, Part
from .choosing import Confirmation, Fresh, SelectionRule
from .confirming import Confirmed
from .design import Design
from .dosing import FindsDoses, dosed_cases
from .generating import OnTrial, check_once, generate_pending, generating, pending_trials
from .grounding import run_so_far, vectors_of, vectors_of_words
from .judging import JudgingSummary, judge_run
from .making import Maker, Pool, started
from .manifest import write_manifest
from .measuring import MeasuringSummary, OnReading, check_measure, measure_trials
from .moving import trials_shown
from .places import by_place, own_vectors
from .planner import Ground, PlannedTrial, Planner
from .sessions import this_process
from .sharding import check_begun
from .spec import EffectsSpec, ModelSpec, RunSpec
from .store import Store
from .words import background

if TYPE_CHECKING:
    from ..judges.base import Judge


class Sweep:
    """One design (or another planner), on one injector, in one run directory.

    Making a sweep plans it: vectors that the run has not got yet are extracted, every prompt is rendered and every
    request validated, and nothing is written. The same design on the same model continues a run, with the run's own
    date and vectors; another design is an error. ``spec`` is what the run's store says of it, by default made of the
    arguments. A notebook shows a bar of the extraction unless ``progress`` is False. Raises what :func:`extract`,
    :meth:`Planner.ask` and :meth:`Injector.validate` raise, and :class:`~introspection_bench.errors.StoreError` for a
    store that can't be read.
    """

    @checked(SpecError)
    def __init__(
        self,
        planner: Planner,
        injector: Injector,
        directory: str | Path,
        *,
        spec: RunSpec | None = None,
        progress: bool | Bars = True,
    ) -> None:
        self.injector = injector
        self.directory = Path(directory)
        #: What the planner asked for so far, in order.
        self.planned: list[PlannedTrial] = []
        self._first_asked = 0
        self._planner = planner
        begun = Store.is_begun(directory)
        with Store.open(directory) if begun else nullcontext() as store:
            known, day = run_so_far(store, planner.design)
            self._probe = functools.cache(lambda: Probe(injector, date=day))
            check_begun(planner, None if store is None else store.spec(), self.directory)
            self._dosing = FindsDoses([] if store is None else store.found(), self._probe)
            self.vectors = vectors_of(planner.whole, injector, known, day, progress)
            #: Those of the words that random vectors take after; none where no arm draws such.
            self.word_vectors = vectors_of_words(planner.design, injector, known, day, progress)
            self.design: Design = attrs.evolve(planner.design, date=day)
            self.spec = self._spec(spec)
            vectors = by_place(planner.whole, self.vectors, injector.model.n_layers)
            told = (injector.model, injector.name, injector.numerics, injector.tokenizer, day, vectors)
            self._ground = Ground(
                *told,
                dosing=self._dosing,
                background=background(planner.design, self.word_vectors, injector.model.n_layers),
                chosen=store.chosen() if store is not None and planner.confirmation is not None else None,
            )
            self._ask(store)

    def __repr__(self) -> str:
        told = (f"{str(self.directory)!r}", f"{plural(len(self.planned), 'trial')} planned")
        return shown(self, *told, repr(self.injector), repr(self.design))

    def _repr_html_(self) -> str:
        planned = plural(len(self.planned), "trial")
        rows = [("planned", planned), ("model", repr(self.injector)), ("design", repr(self.design))]
        return table_html(f"Sweep in {self.directory}", rows)

    @checked(SpecError)
    def generate(
        self,
        on_trial: OnTrial | None = None,
        *,
        limit: int | None = None,
        on: Pool | Maker | None = None,
        progress: bool | Bars = True,
    ) -> Results:
        """Run what is not recorded yet, until the planner asks for nothing more, and return the whole run.

        Where the specification asks for the effects of the doses, those are measured first. ``limit`` makes it a smoke
        test: only so many trials of what is planned so far, spread over the cells (:func:`.generating.pending_trials`).
        ``on`` says where they are generated: by the workers of a pool (:class:`~introspection_bench.RayPool`), by
        default in this process, which alone writes the store in any case. A notebook shows a bar of how far it is,
        unless ``progress`` is False; nothing is shown elsewhere.

        Each trial is recorded as soon as it is finished (many a second: some together), so an interrupted run loses
        only what was under way; run it again to go on. Raises
        :class:`~introspection_bench.errors.RunLockedError` where another process generates in the directory,
        :class:`~introspection_bench.errors.StoreMismatchError` for a directory with another run, and
        :class:`~introspection_bench.errors.SilentInjectionError` rather than record an unproven injection, or a reply
        that rests on a number which isn't finite; it names the trial, and with a pool
        :class:`~introspection_bench.errors.WorkerError`. Warns where the last session had other versions
        (:meth:`Store.begin_session`).
        """
        shown = bars(progress)
        with generating(self.directory) as lock, self.open_store() as store, started(on, self.injector) as maker:
            if self.spec.effects is not None:
                self._measure_effects(store)
            while True:
                recorded = store.recorded()
                pending = pending_trials(self.planned, recorded, limit)
                if pending and maker.process is not None:
                    store.begin_session(maker.process)
                self._write_aside(store)
                with trials_shown(shown, self.injector, len(recorded), pending, on_trial) as told:
                    generate_pending(store, maker, lock, pending, told)
                if pending and maker.process is None:
                    write_manifest(store)  # now that its workers have sessions
                if limit is not None or self._planner.judge is not None or not self._go_on(store):
                    return store.results()

    def run(
        self,
        judge: str | Judge | None = None,
        *,
        on_trial: OnTrial | None = None,
        on: Pool | Maker | None = None,
        progress: bool | Bars = True,
    ) -> Results:
        """Generate, and judge by ``judge`` (by default the planner's own), until the planner asks for nothing more.

        ``on`` and ``progress`` are as of :meth:`generate`; a pool's workers stay until the end.

        Raises :class:`SpecError` for another judge than the planner's, and what the stages raise.
        """
        judge = self._planner.judge if judge is None else judge
        if judge is not None:
            judge = open_judge(judge)
            self.check_judge(judge)
        shown = bars(progress)
        with started(on, self.injector) as maker:
            for turn in itertools.count():
                results = self.generate(on_trial, on=maker, progress=shown)
                if judge is None:
                    return results
                with Store.open(self.directory) as store:
                    # One that passed the control replies needn't do so again.
                    judge_run(store, judge, check=turn == 0, progress=shown)
                if not self.go_on():
                    break
        return self.results()

    def check_judge(self, judge: Judge) -> None:
        """Raise :class:`SpecError` unless a judge is the one that the planner needs, if it needs any."""
        needed = self._planner.judge
        if needed not in (None, judge.name):
            raise SpecError(
                explain("judge", required=f"{needed!r}, whose verdicts decide what is run", got=judge.name, hint="")
            )
        if self._planner.confirmation is not None:
            self._planner.confirmation.rule.check_judge(judge)

    def go_on(self) -> bool:
        """Ask the planner on with what is recorded and judged; return whether something is left to be generated."""
        with self.open_store() as store:
            return self._go_on(store)

    @checked(SpecError)
    def confirm(
        self,
        rule: SelectionRule,
        *,
        trials: int | Mapping[str, int] | None = None,
        fresh: Fresh = "seeds",
        concepts: ConceptSet | str | None = None,
    ) -> Sweep:
        """Choose a cell of this run by a rule, and return the sweep that confirms it, in the same directory.

        What was run so far becomes the selecting part; the returned sweep's plan has the confirming trials behind it,
        to be generated and judged. The same as a sweep of :class:`~introspection_bench.sweep.confirming.Confirmed` with
        this design, which states the rule before anything is run.

        Args:
            rule: what is chosen, and by what.
            trials: the arms' ``n``, for all or by name; None: as in the design.
            fresh: see :class:`~introspection_bench.sweep.choosing.Confirmation`.
            concepts: the fresh ones.

        Raises:
            SpecError: the run is not generated, or not judged by the rule's judge; and what
                :class:`~introspection_bench.sweep.confirming.Confirmed` raises.
            StoreMismatchError: the run has another confirmation already.
        """
        confirmation = Confirmation(rule, trials, fresh, concepts)
        confirmed = Confirmed(self._planner.design, confirmation, self._planner.search)
        planned = {t.key.digest for t in self.planned if t.trial.part != "confirmation"}
        with Store.open(self.directory) as store:
            done = [r for r in store.records() if r.key.digest in planned]
        judged = sum(r.verdict(rule.judge, rule.rubric) is not None for r in done)
        if len(done) < len(planned) or judged < len(done):
            raise SpecError(
                explain(
                    f"run {self.directory}",
                    required=f"all of its {len(planned)} trials generated and judged by {rule.judge!r}",
                    got=f"{len(done)} generated, {judged} judged",
                    hint="sweep.run(judge) first.",
                )
            )
        confirmed.choose(done)  # what it raises should change nothing
        sweep = Sweep(confirmed, self.injector, self.directory, spec=self.spec)
        sweep.open_store().close()
        return sweep

    def judge(
        self,
        judge: str | Judge,
        *,
        retry_unscored: bool = False,
        part: Part = "answer",
        asked: Asked = "own",
        progress: bool | Bars = True,
    ) -> JudgingSummary:
        """Judge every recorded reply that this judge has not scored; see :func:`judge_run`."""
        with Store.open(self.directory) as store:
            return judge_run(store, judge, retry_unscored=retry_unscored, part=part, asked=asked, progress=progress)

    def check_measure(self, measure: Measure) -> None:
        """Raise what is wrong with measuring the trials planned so far, before there are any replies."""
        of_run = measure.of_run(self._planner.whole.concepts, own_vectors(self._planner.whole, self.vectors))
        check_measure(of_run, self.injector, self.planned)

    def measure(
        self,
        measure: Measure,
        injector: Injector | None = None,
        *,
        on_reading: OnReading | None = None,
        progress: bool | Bars = True,
    ) -> MeasuringSummary:
        """Read a measure off every recorded trial that has no reading of it; see :mod:`.measuring`.

        ``injector`` may be another one than the run's: another backend or dtype of the same weights, or other weights,
        whose readings are then marked as another model's.
        """
        with Store.open(self.directory) as store:
            by = injector or self.injector
            return measure_trials(store, measure, by, self.planned, on_reading=on_reading, progress=progress)

    def results(self) -> Results:
        """What is recorded so far, with all verdicts and readings."""
        with Store.open(self.directory) as store:
            return store.results()

    def open_store(self) -> Store:
        """Create the run's store, or open it if it is this very run's."""
        trials = [t.trial for t in self.planned]
        vectors = [*self.vectors, *self.word_vectors]
        store = Store.create(self.directory, self.spec, trials[: self._first_asked], vectors, self._found())
        self._extend(store)
        return store

    def measure_effects(self, n_random: int | None = None) -> Effects:
        """Measure what every dose of the design does to neutral prompts, and store it; what is there is kept.

        Of a run that has chosen a cell, that of the concepts which confirm it, too. ``n_random`` is how many random
        vectors a live concept must outdo, by default what the specification says; see
        :func:`~introspection_bench.dosing.dose_effects`, whose errors it raises. :meth:`generate` does it first where
        the specification asks for it.
        """
        with self.open_store() as store:
            return self._measure_effects(store, n_random)

    def _measure_effects(self, store: Store, n_random: int | None = None) -> Effects:
        count = n_random or (self.spec.effects or EffectsSpec()).n_random
        names = {c.name: c.names for c in self._planner.whole.concepts or ()}
        known = {row.key: row for row in store.effects()}
        designs = self._planner.designs(self._ground.chosen)
        # Concepts that chose a cell may confirm it, too.
        cases = list(dict.fromkeys(case for design in designs for case in dosed_cases(design, self._ground)))
        found = measure_effects(self._probe(), cases, names, n_random=count, seed=self.design.seed, known=known)
        self._extend(store)  # doses by effect that no trial needed
        new = [row for row in found if row.key not in known]
        if new:
            store.begin_session(this_process("measure", self.injector))
            store.add_effects(new)
        return found

    def _go_on(self, store: Store) -> bool:
        more = self._ask(store)
        self._extend(store)
        return more

    def _extend(self, store: Store) -> None:
        store.extend([t.trial for t in self.planned], self._found(), self._ground.chosen)

    def _found(self) -> list[Found]:
        """Return what planning found on the model, and what it drew with the covariance of words."""
        drawn: dict[str, Found] = {}
        for steer in {s for t in self.planned for s in t.request.steers} if self.word_vectors else ():
            vector, like = steer.vector, self._ground.vectors.get((steer.vector.concept, steer.layer))
            if like is not None and any(step.startswith(DRAWN) for step in vector.provenance.steps):
                told = (vector.concept, steer.layer, vector.cosine(like), vector.provenance.steps)
                drawn.setdefault(vector.digest, Drawn(vector.digest, *told))
        return [*self._dosing.found.values(), *drawn.values()]

    def _ask(self, store: Store | None) -> bool:
        """Ask the planner on while all that it asked for is done; return whether something is left to run.

        Records are read only where everything is recorded: a run that goes on has mostly more to do.
        """
        recorded = set() if store is None else store.recorded()
        done: dict[str, TrialRecord] = {}
        while (known := {t.key.digest for t in self.planned}) <= recorded:
            if known and store is not None:
                done = done or {r.key.digest: r for r in store.records() if self._is_ready(r)}
            if not known <= done.keys():
                break
            records = [done[t.key.digest] for t in self.planned]
            if records and self._ground.chosen is None:
                self._ground = attrs.evolve(self._ground, chosen=self._planner.choose(records))
            found = self._planner.ask(self._ground, records)
            new = [t for t in found if t.key.digest not in known]
            if not new:
                return False
            check_once(new)
            for trial in new:
                self.injector.validate(trial.request)
            self._first_asked = self._first_asked or len(new)
            self.planned += new
        return True

    def _is_ready(self, record: TrialRecord) -> bool:
        """Whether a planner that needs verdicts may see a record."""
        needed = self._planner.judge
        return needed is None or any(v.judge == needed and v.asked == "own" for v in record.verdicts)

    def _spec(self, stated: RunSpec | None) -> RunSpec:
        """Return what the store says of the run: what a file stated, with what was found when the model was opened."""
        injector = self.injector
        if stated is None:
            options = without_credentials(dict(injector.opened_with or {}))
            model = ModelSpec(injector.model.name, injector.name, {injector.name: options} if options else {})
            stated = RunSpec(self.design, model)
        stated.model.facts.check(injector.model.facts, stated.model.name)
        return attrs.evolve(
            stated,
            design=self.design,
            model=attrs.evolve(stated.model, backend=injector.name),
            directory=None,
            confirm=self._planner.confirmation,
            stopping=self._planner.stopping,
            search=self._planner.search,
            found=injector.model,
            numerics=injector.numerics,
        )

    def _write_aside(self, store: Store) -> None:
        """Write what the store can always remake: vectors as files, and a manifest for people."""
        folder = make_own_folder(self.directory / "vectors")
        for vector in self.vectors:
            vector.save(folder / f"{file_stem(vector.concept)}-layer{vector.layer}-{vector.digest[:8]}.safetensors")
        write_manifest(store)
