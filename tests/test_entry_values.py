"""Every public value: whatever its constructor and its methods are given works, or is an error of ours."""

from __future__ import annotations

import contextlib
import datetime
import inspect
import itertools
import tempfile
import warnings
from pathlib import Path

import attrs
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import introspection_bench as ib
from introspection_bench import analysis, experiments, judges, measures, protocols, sweep
from introspection_bench.boundaries import guarded
from introspection_bench.errors import (
    AnalysisError,
    ConceptError,
    InjectionError,
    IntrospectionBenchError,
    ScaffoldError,
    SpecError,
    VectorError,
)
from introspection_bench.report import LIGHT, ListedRun
from introspection_bench.sweep.sessions import this_process
from introspection_bench.testing import ScriptedInjector
from tests.odd_values import ODD, a_few, exported, fault, made_vector, make_records, near

RECORD = make_records()[1]
INTERVAL = analysis.interval(1, 10)
BY_CONCEPT = analysis.ByConcept(("love", "dust"), analysis.ConceptCounts([0, 1], [10, 9]), (1, 0), 1)
BOUND = analysis.Bound("all", "coherent", BY_CONCEPT, analysis.null_bound(BY_CONCEPT.counts), BY_CONCEPT.whatever(), 2)
BEST = analysis.best_of_many([0, 1], [10, 9])
LEAST = analysis.CellBound("a cell", INTERVAL, 2)
PROMPT = ib.RenderedPrompt([1, 2, 3], "a b c", {"first": 1})
LOVE = ib.load_concepts("pairs")["love"]
STRICT4 = judges.load_rubric("strict4")
FRAME = pd.DataFrame({"a": [1]})
MARKED = ib.MarkedPrompt("m", PROMPT, ["a", " b", " c"], ib.Span.from_anchor("first"))
SPOTS = pd.DataFrame({"passes": [True], "established": [True], "ruled_out": [False]})
COUNTS = analysis.ConceptCounts([1, 0, 2], [10, 10, 12])
THESE = analysis.these_concepts(COUNTS)
AGREED = analysis.pair_agreement(analysis.PairTable(3, 1, 0, 16))
CELLS = pd.DataFrame(
    {"outcome": ["coherent"], "rate_first": [0.5], "rate_second": [0.6], "p_holm": [0.5], "verdict": ["neither"]}
)
CHANGED = pd.DataFrame({"field": ["dose"], "first": ["0.3 residual"], "second": ["0.35 residual"]})
SAME = analysis.same_as_zero(COUNTS, 0.2, estimand="these concepts")


class FakeTokenizer:
    """What a tokenizer must have; no text has any tokens."""

    chat_template = bos_token = None

    def __call__(self, text, **options):
        return {"input_ids": [], "offset_mapping": []}

    def apply_chat_template(self, conversation, **options):
        raise NotImplementedError


def fields(value):
    """The arguments that a value was made of."""
    return {f.name: getattr(value, f.name) for f in attrs.fields(type(value)) if f.init}


def judged():
    records = make_records()
    return analysis.judge_error(ib.Results("r", records), analysis.verdicts_of(records, "rules", "strict4"))


JUDGED = judged()
STOPPING = analysis.Stopping(0.2, 3, confidence=0.9)
STOPPED = analysis.stopped(make_records(), STOPPING)
SEARCH, LIMITS = analysis.Search(6, 5, 3), [ib.Dose(1, "residual"), ib.Dose(2, "residual")]
DOSED = [r for r in make_records() if r.condition.dose is not None and r.condition.dose.magnitude > 0]
SEARCHED = analysis.searched(DOSED, SEARCH, LIMITS)


def confusion():
    verdicts = analysis.verdicts_of(make_records(), "rules", "strict4")
    return analysis.agreement(verdicts, verdicts)


BACKGROUND = sweep.Background([made_vector().random_like(n) for n in range(200)])
INJECTION = ib.Injection(made_vector(), 1, "0.5 residual", "from(first)")
STEERS = ib.resolve([INJECTION], PROMPT)
REQUEST = ib.Request(PROMPT, STEERS, ib.Sampling())
DESIGN = ib.Design(
    ["lindsey"],
    "pairs",
    ib.Pairs(),
    [1, ib.Depth(0.5), (2, 3)],
    ["0.5 residual"],
    arms=[sweep.Injected(2), sweep.Unsteered(1)],
    beside=[sweep.BesideSteer("ablated", [made_vector()], [0], "-1 projection")],
)
CELL = sweep.Cell(ib.LINDSEY, [1], ib.Dose(1, "raw"), ib.Span.all(), ["love"], {("love", 1): made_vector()}, 0)
EFFECT = ib.DoseEffect(
    "love", [1], ib.Dose(0.2, "residual"), ["v"], "p", 0, [0.5], [2.0], [1.5], [0.3], [0.4], [0.2], ib.Dose(0.5, "kl")
)
FOUND = ib.FoundDose("k", ib.Dose(0.5, "kl"), ib.Dose(0.2, "residual"), 0.5, 0.5, "love", [1], ["v"])
TINY = ib.ModelInfo("m", "f", 4, 64, "float32")
MODEL = sweep.ModelSpec("demo")
CONFIRM = sweep.Confirmation(sweep.SelectionRule(["layers"]), {"injected": 3}, "both", "lindsey2026")
PLAN = sweep.Plan([sweep.Hypothesis("a", "strict", ["injected"], "these concepts", "greater")], "b", ["c"])
FROZEN = sweep.freeze(ib.RunSpec(DESIGN, MODEL, plan=PLAN), date=datetime.date(2026, 1, 2))
CANDIDATE = sweep.Candidate("lindsey", [1], ib.Dose(1, "raw"), 1, 2, 3, 0)
NAMES = {"love": ("love", "loving"), "bread": ("bread",)}
SETS = {"yes": ("Yes",), "no": ("No", " No")}
READ = measures.Read("residuals", STEERS[0].positions, [1])
FINDING = analysis.Finding("mention", "naming", "holds", "said", 0.1, "mention", THESE, by_arm=[("mention", "holds")])
EXPLAINED = analysis.Explained("naming", THESE, False, [FINDING])
PROTOCOL = attrs.evolve(
    ib.load_protocol("llama405b2026"), items=[], span={"lindsey_405b": "all", "thinking_about": "all"}
)
ABLATION = protocols.Ablation("refusal", LOVE.pairs[:1], "-0.5 projection")
DIFFERENCES = ib.diff(PROTOCOL, ib.load_protocol("godet2025"))
FACTORS = analysis.fraction(["f", "g"])
ATTRIBUTED = analysis.attribute_factorial(dict.fromkeys(FACTORS.runs, BY_CONCEPT), FACTORS)
BRIDGE = ib.bridge("lindsey2026", "macar2026", how="factorial", judges=(("rules", "strict4"), ("rules", "strict4")))
BRIDGED = protocols.Bridged(BRIDGE, dict.fromkeys(BRIDGE.settings, ib.Results("r", make_records())))
#: Of each class a value, which the odd ones differ from in one argument.
VALUES = [
    ib.Adapter("made", 2, 4.0, "a" * 64, {"q": (torch.ones(2, 3), torch.ones(4, 2))}, "b" * 64),
    ib.load_battery("wordings"), EFFECT, FOUND, ib.Effects([EFFECT]),
    ib.Concept("Bread", ["loaf"], "Bread"), ib.load_concepts("pairs"), ib.Pair("a", "b"), ib.LINDSEY,
    ib.Turn("user", "a"), ib.Anchor("trial", "a"), ib.Item("s01", {"sentence": "a"}), PROMPT, ib.Sampling(), MARKED,
    ib.Dose(2, "raw"), ib.Depth(0.5), ib.Span.from_anchor("first"), INJECTION, *STEERS,
    ib.Receipt(1, 1, 0.1, 0.2), made_vector(), made_vector().provenance, RECORD, RECORD.trial, RECORD.condition,
    RECORD.key, RECORD.key.steers[0], RECORD.reply, RECORD.verdicts[0], RECORD.readings[0], STRICT4,
    ib.Word(), ib.Pairs(), DESIGN, ib.RunSpec(DESIGN, MODEL), MODEL, sweep.JudgeSpec(), sweep.EffectsSpec(), CELL,
    PLAN, PLAN.hypotheses[0], FROZEN, FROZEN.arms[0], analysis.Departure("design.seed", "0", "1"),
    CONFIRM, CONFIRM.rule, CANDIDATE, sweep.Chosen([CANDIDATE], 0, 1), sweep.Confirmed(DESIGN, CONFIRM),
    ib.TriedInjection("m", INJECTION, "a", "b", "c", True, RECORD.reply, RECORD.reply, ib.Receipt(1, 1, 0.1, 0.2)),
    sweep.VerifiedTrial(RECORD.trial, 3, True), sweep.Verification([sweep.VerifiedTrial(RECORD.trial, None, True)], 9),
    ib.Study(DESIGN, ["demo"], "nowhere"), sweep.ArmTrial("love", [INJECTION]), DESIGN.beside[0], ib.RayPool(2, 0.5),
    ib.ModelFacts("SmolLM2", "llama", 9, "base", "none"),
    sweep.Injected(2), sweep.Unsteered(2), sweep.RandomVector(2), sweep.Negated(2), sweep.PromptOnly(2),
    sweep.Mention(2), sweep.EditedInput(2), sweep.Questions(2), sweep.ThirdPerson(2), sweep.NeutralLabels(2),
    sweep.Worded(2), sweep.Offered(2), sweep.Located(2), ib.load_experiment("localisation"),
    sweep.ProjectedOut(2), BACKGROUND, sweep.Match("love", "p1", 0.5, 0.4),
    sweep.Removed(2, "first"), sweep.Ground(TINY, "torch", 1, FakeTokenizer(), datetime.date(2026, 1, 2), CELL.vectors),
    ib.NearestConcepts(made_vector(), [-made_vector()], 1, 0),
    ib.VectorRank("love", 1, "d", 3, 5), measures.YesNo(), measures.Naming(NAMES), measures.Observer(NAMES),
    measures.ConceptLens(NAMES), measures.Opening("Oh,", [" yes"], [" no"]), measures.YesNo(through=measures.OPENINGS),
    analysis.mutual_information(["a"], ["a"], shuffles=2),
    measures.TokenLogprobs(SETS), measures.Continuations({"a": "Yes, I"}), measures.Cosines([made_vector()]),
    measures.Lens(SETS), measures.Residuals([1]), READ, measures.Pass([1, 2], [READ]),
    measures.Replayed(PROMPT, [1, 2], FakeTokenizer(), 4),
    ib.Results("r", make_records(), {"a": 1}, effects=ib.Effects([EFFECT]), doses=[FOUND]),
    ib.TableLayout({"reply": "r", "arm": "a"}, {"c": "control"}), TINY, REQUEST,
    ib.Completion(0, RECORD.reply, [ib.Receipt.nothing()]), judges.Case("t", "q", "r", LOVE),
    judges.Disclosure(RECORD.condition), sweep.PlannedTrial(RECORD.trial, REQUEST),
    INTERVAL, BOUND, analysis.Scope(), analysis.Alternative(1, 10, 0.1, 0.5), LIGHT, ListedRun("a"),
    analysis.Exclusion("coherent", BOUND, BOUND, [BOUND], BEST, "a cell", LEAST), LEAST,
    analysis.Liveness(3, 60, 1, 20, 1, 10),
    analysis.MeanRate("coherent", BY_CONCEPT, THESE, THESE, THESE), analysis.sample_size(0.2),
    analysis.JudgeAccuracy(9, 10, 9, 10), JUDGED, JUDGED.strata[0],
    STOPPING, STOPPED, STOPPED.cells[0], sweep.Sequential(DESIGN, STOPPING),
    sweep.Shard("3/16"), sweep.WholePlan("ab", 3), sweep.Sharded(DESIGN, sweep.Shard("1/2")),
    sweep.Merged(Path("m"), 3, 2, {"trials": 2}, {}),
    SEARCH, SEARCHED, SEARCHED.curves[0], sweep.Searching(attrs.evolve(DESIGN, doses=LIMITS), SEARCH),
    analysis.JudgeName("rules", "strict4", None, True), analysis.LogisticFit("fitted", 3),
    analysis.SweetSpotRule(), analysis.SweetSpots(analysis.SweetSpotRule(), SPOTS, 0.95),
    analysis.sensitivity(COUNTS, COUNTS), analysis.Zero(SAME, SAME, THESE, 1),
    analysis.Contrast(COUNTS, COUNTS, True, THESE, THESE, THESE, 0.1, verdicts=[SAME]),
    analysis.ArmContrast(
        "strict", "rate", "difference", "injected", "control", [THESE], THESE, differences={"love": 1.0}, share=THESE
    ),
    analysis.RiseContrast(THESE, THESE, THESE, True, 1, [SAME]), EXPLAINED, EXPLAINED.findings[0],
    confusion(), confusion().criteria[0],
    analysis.Comparison("a", "b", CHANGED, CELLS, FRAME, FRAME, 0.95),
    analysis.FactorComparison("size", ["1M"], FRAME, FRAME, FRAME, 0.95, ["a"]),
    analysis.ModelRun("m", ib.ModelFacts(), {"size": "1M"}, FRAME),
    COUNTS, THESE, AGREED, AGREED.table, analysis.ByConcept(["a", "b", ""], COUNTS, [0, 1, 0], 0),
    analysis.best_of_many([1, 3], [10, 10]), analysis.AtSensitivity(0.5, 0.1, 0.0, 0.2),
    analysis.equivalence(COUNTS, COUNTS, 0.2, estimand="these concepts"),
    analysis.EquivalencePlan(0.1, 0.2, 0.8, 0.95, 50, 20, 10, 0.1), analysis.null_bound(COUNTS),
    analysis.plan_concepts(0.2, 6),
    analysis.tolerance_bound(COUNTS), analysis.VariationBound(0.1, 0.2),
    PROTOCOL, PROTOCOL.judging, ABLATION, DIFFERENCES, DIFFERENCES.rows[0], sweep.Blocks(1, ib.Depth(0.5)),
    FACTORS, ATTRIBUTED, ATTRIBUTED.whole, BRIDGE, BRIDGE.steps[0], BRIDGE.scorings[0], BRIDGED,
]  # fmt: skip
#: Classes that are no values.
OTHERS = {
    "IntrospectionBenchError": "the base of errors",
    "Injector": "a port: tests/conformance",
    "Judge": "a port: tests/judges",
    "Arm": "a port: tests/sweep",
    "Measure": "a port: tests/injectors",
    "Dosing": "a port: tests/sweep",
    "Planner": "a port: tests/sweep",
    "Watcher": "a port: tests/cli",
    "Reader": "a protocol",
    "Unit": "its parse is among METHODS",
    "Store": "its classmethods are among METHODS",
    "Sweep": "its constructor is among METHODS",
}
#: Methods that take arguments, with arguments that work.
METHODS = {
    "Span.parse": (ib.Span.parse, {"text": "all"}),
    "Span.from_anchor": (ib.Span.from_anchor, {"anchor": "first", "stop_at_prompt_end": True}),
    "Span.between": (ib.Span.between, {"first": "a", "last": "b"}),
    "Span.all": (ib.Span.all, {"stop_at_prompt_end": True}),
    "Span.resolve": (ib.Span.all().resolve, {"prompt": PROMPT}),
    "Unit.parse": (ib.Unit.parse, {"value": "raw"}),
    "ConceptVector.load": (ib.ConceptVector.load, {"path": "v.safetensors"}),
    "ConceptVector.save": (made_vector().save, {"path": "w.safetensors"}),
    "ConceptVector.from_bytes": (ib.ConceptVector.from_bytes, {"data": made_vector().to_bytes(), "where": "here"}),
    "ConceptVector.random_like": (made_vector().random_like, {"seed": 1}),
    "ConceptVector.permuted_like": (made_vector().permuted_like, {"seed": 1}),
    "ConceptVector.derived": (made_vector().derived, {"values": [1.0] * 64, "step": "made anew"}),
    "ConceptVector.cosine": (made_vector().cosine, {"other": made_vector()}),
    "Background.combined": (BACKGROUND.combined, {"by_word": np.ones(200), "own": np.ones(64)}),
    "ConceptSet.from_toml": (ib.ConceptSet.from_toml, {"path": "c.toml"}),
    "ConceptSet.select": (lambda name: ib.load_concepts("pairs").select(name), {"name": "love"}),
    "ConceptSet.__getitem__": (ib.load_concepts("pairs").__getitem__, {"name": "love"}),
    "Results.frame": (ib.Results("r", make_records()).frame, {"judge": "rules", "rubric": "strict4", "asked": "own"}),
    "FrozenPlan.read": (sweep.FrozenPlan.read, {"path": "f.frozen.json"}),
    "FrozenPlan.from_told": (sweep.FrozenPlan.from_told, {"told": FROZEN.told(), "where": "here"}),
    "Results.of_part": (ib.Results("r", make_records()).of_part, {"part": "all"}),
    "SelectionRule.check_judge": (CONFIRM.rule.check_judge, {"judge": judges.open_judge("rules")}),
    "Search.doses": (SEARCH.doses, {"limits": LIMITS}),
    "Confirmation.n_of": (CONFIRM.n_of, {"arm": "injected", "n": 2}),
    "Confirmed.confirming_design": (sweep.Confirmed(DESIGN, CONFIRM).confirming_design, {"cell": CANDIDATE}),
    "TrialRecord.verdict": (RECORD.verdict, {"judge": "rules", "rubric": "strict4", "asked": "own"}),
    "Explained.decided": (EXPLAINED.decided, {"decision": "holds"}),
    "ByConcept.counted": (analysis.ByConcept(["a", "b", ""], COUNTS, [0, 1, 0], 0).counted, {"success": True}),
    "ByConcept.whatever": (
        analysis.ByConcept(["a", "b", ""], COUNTS, [0, 1, 0], 0).whatever,
        {"estimand": "these concepts", "confidence": 0.9},
    ),
    "Reply.to_judge": (RECORD.reply.to_judge, {"part": "answer"}),
    "Verdict.key": (RECORD.verdicts[0].key, {"trial": "t"}),
    "JudgeName.of": (analysis.JudgeName.of, {"verdict": RECORD.verdicts[0]}),
    "Scope.apply": (analysis.Scope().apply, {"frame": ib.Results("r", make_records()).frame()}),
    "Scope.apply_with_unscored": (
        analysis.Scope().apply_with_unscored,
        {"frame": ib.Results("r", make_records()).frame()},
    ),
    "Exclusion.under": (analysis.Exclusion("a", BOUND, BOUND, best=BEST).under, {"rate": 0.2}),
    "Scaffold.render": (ib.LINDSEY.render, {}),
    "Scaffold.fill": (ib.LINDSEY.fill, {"item": None}),
    "Span.until": (ib.Span.all().until, {"anchor": "first"}),
    "Dose.parse": (ib.Dose.parse, {"value": "2 raw"}),
    "Depth.layer": (ib.Depth(0.5).layer, {"n_layers": 4}),
    "Verdict.answer": (RECORD.verdicts[0].answer, {"criterion": "coherent"}),
    "Verdict.outcome": (RECORD.verdicts[0].outcome, {"name": "strict"}),
    "Reading.key": (RECORD.readings[0].key, {"trial": "t"}),
    "Reading.at": (RECORD.readings[0].at, {"layer": 1, "set": "yes"}),
    "Cosines.of_run": (measures.Cosines().of_run, {"concepts": None, "vectors": [made_vector()]}),
    "Naming.of_run": (measures.Naming().of_run, {"concepts": ib.load_concepts("pairs"), "vectors": []}),
    "YesNo.sets": (measures.YesNo().sets, {"tokenizer": FakeTokenizer()}),
    "Cell.rendered": (CELL.rendered, {"scaffold": ib.LINDSEY, "item": None}),
    "Scaffold.asking": (ib.LINDSEY.asking, {"name": "mine", "question": "Well?"}),
    "Cell.dose_of": (CELL.dose_of, {"concept": "love"}),
    "Store.add_effects": (lambda **odd: in_a_store("add_effects", odd), {"effects": [EFFECT]}),
    "Cell.injections": (CELL.injections, {"concept": "love", "span": ib.Span.prompt()}),
    "Cell.injected": (
        lambda **odd: first_of(CELL.injected(**odd)),
        {"n": 3, "over": "spread", "span": ib.Span.prompt()},
    ),
    "Cell.item": (CELL.item, {"concept": "love", "number": 1}),
    "Cell.word": (CELL.word, {"concept": "love"}),
    "EditedInput.matches": (sweep.EditedInput(1).matches, {"cell": CELL}),
    "Item.beside": (ib.Item("a", {"a": "a"}).beside, {"other": ib.Item("b", {"b": "b"})}),
    "Word.written_word": (ib.Word().written_word, {"word": "Bread"}),
    "Cell.order": (lambda **odd: first_of(CELL.order(**odd)), {"n": 3, "over": "spread"}),
    "Design.span_of": (attrs.evolve(DESIGN, span={"lindsey": "all"}).span_of, {"scaffold": "lindsey"}),
    "Design.items_of": (DESIGN.items_of, {"scaffold": ib.LINDSEY}),
    "Design.left_open": (DESIGN.left_open, {"scaffold": ib.LINDSEY}),
    "Experiment.design": (
        ib.load_experiment("localisation").design,
        {
            "concepts": "lindsey2026",
            "layers": [1, ib.Depth(0.5)],
            "doses": ["1 raw"],
            "trials": 2,
            "sampling": None,
            "seed": 1,
        },
    ),
    "Experiment.designed": (ib.load_experiment("strength").designed, {"settings": experiments.Settings(trials=1)}),
    "Experiment.spec": (
        ib.load_experiment("forced_identification").spec,
        {"model": "demo", "backend": "torch", "directory": "r", "settings": experiments.Settings()},
    ),
    "Study.run_directory": (ib.Study(DESIGN, ["demo"], "nowhere").run_directory, {"model": MODEL}),
    "Study.from_toml": (ib.Study.from_toml, {"path": "s.toml", "overrides": ["design.seed=1"]}),
    "Study.run_spec": (ib.Study(DESIGN, ["demo"], "nowhere").run_spec, {"model": MODEL}),
    "Study.run": (
        ib.Study(DESIGN, ["no/such/model"], "nowhere").run,
        {"judge": False, "watcher": sweep.Watcher()},
    ),
    "RayPool.start": (ib.RayPool().start, {"injector": ib.open_injector(ScriptedInjector, "m")}),
    "ModelFacts.or_else": (ib.ModelFacts().or_else, {"found": ib.ModelFacts("SmolLM2")}),
    "ModelFacts.check": (ib.ModelFacts("SmolLM2").check, {"found": ib.ModelFacts("SmolLM2"), "name": "m"}),
    "ModelFacts.of_spec": (ib.ModelFacts.of_spec, {"spec": {"model": {"facts": {"family": "SmolLM2"}}}}),
    "Study.generate": (ib.Study(DESIGN, ["no/such/model"], "nowhere").generate, {"on_trial": print}),
    "Study.judge": (
        ib.Study(DESIGN, ["demo"], "nowhere").judge,
        {"judge": "rules", "part": "whole", "asked": "mismatched"},
    ),
    "Study.measure": (ib.Study(DESIGN, ["no/such/model"], "nowhere").measure, {"measure": measures.Residuals([1])}),
    "Request.of": (
        ib.Request.of,
        {"prompt": PROMPT, "injections": [INJECTION], "sampling": ib.Sampling(), "seed": 1, "forced": [1], "reads": []},
    ),
    "RunSpec.from_toml": (ib.RunSpec.from_toml, {"path": "r.toml", "overrides": ["design.seed=1"]}),
    "RunSpec.from_plain": (
        ib.RunSpec.from_plain,
        {"data": {"design": {}, "model": {"name": "demo"}}, "where": "here", "beside": Path(), "vectors": {}},
    ),
    "RunSpec.with_overrides": (ib.RunSpec(DESIGN, MODEL).with_overrides, {"overrides": ["design.seed=1"]}),
    "Protocol.remark": (PROTOCOL.remark, {"field": "concepts"}),
    "Protocol.design": (PROTOCOL.design, {"concepts": "pairs", "model": None, "seed": 1}),
    "Protocol.spec": (
        PROTOCOL.spec,
        {"model": "demo", "concepts": "pairs", "judge": None, "directory": "d", "overrides": [], "seed": 1},
    ),
    "Protocol.with_factors_of": (
        PROTOCOL.with_factors_of,
        {"other": ib.load_protocol("lindsey2026"), "names": ["concepts"], "name": "mine"},
    ),
    "Fraction.sign": (FACTORS.sign, {"term": ["f"], "run": ["f", "g"]}),
    "Bridge.protocol": (BRIDGE.protocol, {"setting": ["dose"]}),
    "Bridge.scoring": (BRIDGE.scoring, {"setting": ["outcome"]}),
    "Bridged.rate": (BRIDGED.rate, {"setting": [], "scoring": BRIDGE.scorings[0]}),
    "Bridged.name_of": (BRIDGED.name_of, {"setting": ["dose"]}),
    "Ablation.applied": (ABLATION.applied, {"design": DESIGN, "model": None}),
    "WholePlan.of": (sweep.WholePlan.of, {"keys": ["ab"]}),
    "Store.open": (ib.Store.open, {"path": "nowhere"}),
    "Store.is_begun": (ib.Store.is_begun, {"directory": "nowhere"}),
    "Store.create": (ib.Store.create, {"directory": "s", "spec": {}, "planned": [], "vectors": []}),
    "Store.create_from_records": (ib.Store.create_from_records, {"directory": "t", "spec": {}, "records": []}),
    "Store.record": (
        lambda **odd: in_a_store("record", odd),
        {"trial": RECORD.trial, "reply": RECORD.reply, "receipts": RECORD.receipts},
    ),
    "Store.record_all": (lambda **odd: in_a_store("record_all", odd), {"records": [RECORD]}),
    "Store.begin_session": (lambda **odd: in_a_store("begin_session", odd), {"process": this_process("other")}),
    "Store.extend": (lambda **odd: in_a_store("extend", odd), {"planned": [RECORD.trial]}),
    "Store.add_reading": (lambda **odd: in_a_store("add_reading", odd), {"trial": "t", "reading": RECORD.readings[0]}),
    "Store.add_verdict": (lambda **odd: in_a_store("add_verdict", odd), {"trial": "t", "verdict": RECORD.verdicts[0]}),
    "Store.verdict_keys": (lambda **odd: in_a_store("verdict_keys", odd), {"scored_only": True}),
    "Sweep": (ib.Sweep, {"planner": DESIGN, "injector": None, "directory": "d"}),
}
LEAVES_OUT = {"Scaffold.render": {"tokenizer": None, "date": None}}


def first_of(trials):
    """The first of trials: an odd number of them may be endless."""
    return list(itertools.islice(trials, 10))


def in_a_store(method, arguments):
    with tempfile.TemporaryDirectory() as folder, ib.Store.create_from_records(folder, {}, make_records()) as store:
        getattr(store, method)(**arguments)


def named(value):
    return type(value).__name__


def test_every_exported_class_has_a_value_here_or_is_none():
    classes = {name for name, value in exported().items() if inspect.isclass(value)}
    assert sorted(classes - {*map(named, VALUES), *OTHERS}) == []
    assert sorted({*map(named, VALUES), *OTHERS} - classes) == []


#: What planner, stages and backends ask of values, with values of ours, a hundred thousand times.
ASKED_WITHIN = {
    "ask", "most", "designs", "asks", "items", "trials", "contrast", "passes", "reading", "notes", "Replayed.blocks",
    "Read.shape", "Request.processed", "JudgeName.gave", "Confirmed.choose", "Confirmed.confirming", "Searching.again",
    "Searching.is_over",
}  # fmt: skip


def test_every_method_of_an_exported_class_that_takes_an_argument_is_tried():
    classes = [*map(type, VALUES), ib.Store]
    missing = []
    for cls in classes:
        for name, method in inspect.getmembers(cls, lambda m: inspect.isfunction(m) or inspect.ismethod(m)):
            mine = name in vars(cls) and not name.startswith("_")
            takes = mine and set(inspect.signature(method).parameters) - {"self"}
            told = f"{cls.__name__}.{name}"
            if takes and told not in METHODS and not {name, told} & ASKED_WITHIN:
                missing.append(told)
    assert missing == []


def make_and_use(cls, arguments):
    """Make a value, and ask it for all that it tells."""
    value = cls(**arguments)
    repr(value), str(value), value == value
    for name, member in inspect.getmembers(cls):
        if isinstance(member, property):
            getattr(value, name)


def quietly(call):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        call()


@pytest.mark.parametrize("value", VALUES, ids=named)
def test_a_value_of_an_odd_argument_works_in_all_it_tells_or_is_an_error_of_ours(value):
    make_and_use(type(value), fields(value))
    wrong = []
    for name in fields(value):
        for odd in ODD:
            arguments = {**fields(value), name: odd}
            wrong += fault(lambda a=arguments: quietly(lambda: make_and_use(type(value), a)), f"{name}={odd!r:.40}")
    assert wrong == []


@pytest.mark.parametrize("value", VALUES, ids=named)
@a_few
@given(data=st.data())
def test_a_value_of_nearly_right_arguments_works_or_is_an_error_of_ours(value, data):
    good = fields(value)
    name = data.draw(st.sampled_from(sorted(good)))
    odd = data.draw(near(good[name]))
    assert fault(lambda: quietly(lambda: make_and_use(type(value), {**good, name: odd})), name) == []


@pytest.mark.parametrize("name", METHODS)
def test_a_method_given_an_odd_argument_works_or_is_an_error_of_ours(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    method, good = METHODS[name]
    good = LEAVES_OUT.get(name, good)
    wrong = []
    for parameter in good:
        for odd in ODD:
            arguments = {**good, parameter: odd}
            wrong += fault(lambda a=arguments: quietly(lambda: method(*a.values())
                           if "__getitem__" in name else method(**a)), f"{parameter}={odd!r:.40}")  # fmt: skip
    assert wrong == []


#: A frame multiplies its cells, which is pandas' own matter.
NO_FRAMES = [odd for odd in ODD if not isinstance(odd, pd.DataFrame)]


@pytest.mark.parametrize("odd", NO_FRAMES, ids=lambda odd: f"{odd!r:.20}")
def test_a_vector_times_anything_is_a_vector_an_error_of_ours_or_python_s_own_refusal(odd):
    with contextlib.suppress(IntrospectionBenchError, TypeError):
        assert isinstance(made_vector() * odd, ib.ConceptVector)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: ib.Design(doses="2 raw", arms=[sweep.Unsteered(1)]), SpecError, "doses"),
        (lambda: ib.Design(doses=[2], arms=[sweep.Unsteered(1)]), SpecError, "doses"),
        (lambda: ib.Design(vectors=made_vector(), arms=[sweep.Unsteered(1)]), SpecError, "vectors"),
        (lambda: ib.Design(vectors=["love"], arms=[sweep.Unsteered(1)]), SpecError, "vectors"),
        (lambda: ib.Design(concepts=["love"], arms=[sweep.Unsteered(1)]), SpecError, "concepts"),
        (lambda: ib.Design(scaffolds=ib.LINDSEY, arms=[sweep.Unsteered(1)]), SpecError, "scaffolds"),
        (lambda: ib.Design(scaffolds=[3], arms=[sweep.Unsteered(1)]), SpecError, "scaffolds"),
        (lambda: ib.Design(layers=3, arms=[sweep.Unsteered(1)]), SpecError, "layers"),
        (lambda: ib.Design(layers=["last"], arms=[sweep.Unsteered(1)]), SpecError, "layers"),
        (lambda: ib.Design(arms=sweep.Unsteered(1)), SpecError, "arms"),
        (lambda: ib.Design(arms=["control"]), SpecError, "arms"),
        (lambda: ib.Design(arms=[sweep.Unsteered]), SpecError, "arms"),
        (lambda: ib.Design(recipe="words", arms=[sweep.Unsteered(1)]), SpecError, "recipe"),
        (lambda: ib.Design(sampling=0.7, arms=[sweep.Unsteered(1)]), SpecError, "Sampling"),
        (lambda: ib.Design(span=["all"], arms=[sweep.Unsteered(1)]), SpecError, "span"),
        (lambda: sweep.Injected(2, concepts="some"), SpecError, "concepts"),
        (lambda: sweep.Unsteered("many"), SpecError, "n"),
        (lambda: measures.TokenLogprobs({"yes": "Yes"}), SpecError, "sets"),
        (lambda: measures.TokenLogprobs(["Yes"]), SpecError, "sets"),
        (lambda: measures.Cosines(made_vector()), SpecError, "vectors"),
        (lambda: measures.Residuals([1], over="everywhere"), IntrospectionBenchError, "span"),
        (lambda: ib.Word(layer="deep"), SpecError, "layer"),
        (lambda: ib.Depth("deep"), IntrospectionBenchError, "fraction"),
        (lambda: ib.Dose("much", "raw"), InjectionError, "magnitude"),
        (lambda: ib.Item("s01", "The painting hung crooked."), ScaffoldError, "slots"),
        (lambda: ib.Study(DESIGN, "demo", "runs"), SpecError, "models"),
        (lambda: ib.Study("design", ["demo"], "runs"), SpecError, "planner"),
        (lambda: ib.Study(DESIGN, ["demo"], 3), SpecError, "directory"),
        (lambda: ib.RunSpec("design", MODEL), SpecError, "design"),
        (lambda: ib.RunSpec(DESIGN, "demo"), SpecError, "model"),
        (lambda: ib.resolve(INJECTION, PROMPT), InjectionError, "injections"),
        (lambda: ib.Request(PROMPT, [INJECTION], ib.Sampling()), SpecError, "steers"),
        (lambda: ib.run_spec(DESIGN), SpecError, "spec"),
        (lambda: ib.Scaffold("s", ["Do you notice?"]), ScaffoldError, "Turn"),
        (lambda: ib.Scaffold("s", "Do you notice?"), IntrospectionBenchError, "list"),
        (lambda: ib.Scaffold("s", [ib.Turn("user", "a")], "trial"), ScaffoldError, "anchors"),
        (lambda: ib.ConceptSet("s", ["Bread"]), ConceptError, "concepts"),
        (lambda: ib.Concept("love", pairs=[("a", "b")]), ConceptError, "pairs"),
        (lambda: ib.Injection("love", 1, "0.5 residual", "all"), InjectionError, "ConceptVector"),
        (lambda: ib.Injection(made_vector(), 1, 0.5, "all"), InjectionError, "dose"),
        (lambda: ib.ConceptVector("love", "love", 1, made_vector().provenance), VectorError, "values"),
        (lambda: ib.ConceptVector([1.0], "love", 1, "mine"), VectorError, "provenance"),
        (lambda: ib.Sampling(temperature="hot"), SpecError, "temperature"),
        (lambda: ib.rates("runs/demo", ["layer"]), AnalysisError, "frame"),
        (lambda: ib.rates("runs/demo", ["layer"]), AnalysisError, r"read_results\(path\)"),
        (lambda: ib.rates(Path("runs/demo")), AnalysisError, "read_results"),
        (lambda: ib.rates(0.5), AnalysisError, "frame"),
        (lambda: ib.rates(["a", "b"], ["layer"]), AnalysisError, "frame"),
        (lambda: analysis.detection("runs/demo"), AnalysisError, "read_results"),
        (lambda: analysis.excludes(["love"]), AnalysisError, "frame"),
        (lambda: ib.contrast("runs/demo", "strict"), AnalysisError, "results"),
        (lambda: ib.mark_span(["lindsey"], FakeTokenizer()), ScaffoldError, "scaffold"),
        (lambda: ib.mark_span(0.5, FakeTokenizer()), ScaffoldError, "scaffold"),
        (lambda: ib.mark_span("lindsay", FakeTokenizer()), IntrospectionBenchError, "lindsey"),
        (lambda: ib.mark_span("lindsey", "demo"), ScaffoldError, "tokenizer"),
        (lambda: ib.compare("runs/a", "runs/b"), AnalysisError, "read_results"),
        (lambda: ib.extract("torch", "pairs", 3), ConceptError, "injector"),
        (lambda: ib.random_controls(made_vector()), VectorError, "vectors"),
        (lambda: ib.Results("r", "runs/demo"), IntrospectionBenchError, "list"),
        (lambda: ib.Results("r", ["a"]), AnalysisError, "records"),
        (lambda: ib.write_report("runs/demo", "x.html"), AnalysisError, "records"),
        (lambda: ib.judge_run("runs/demo", "rules"), SpecError, "store"),
        (lambda: ib.read_table("x.csv", {"reply": "r"}), IntrospectionBenchError, "layout"),
    ],
)  # fmt: skip
def test_a_name_a_path_texts_or_a_number_where_something_else_is_wanted_is_named(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_results_may_be_given_where_a_frame_of_them_is_wanted():
    results = ib.Results("r", make_records())
    for function in (ib.rates, analysis.counts, analysis.detection, analysis.coherent, analysis.rates_table):
        pd.testing.assert_frame_equal(function(results), function(results.frame()))


def test_what_is_built_in_may_be_given_to_a_design_by_its_name_and_what_is_written_as_written():
    assert ib.Design(recipe="word", arms=[sweep.Unsteered(1)]).recipe == ib.Word()
    assert DESIGN.scaffolds == (ib.LINDSEY,)
    assert DESIGN.concepts == ib.load_concepts("pairs")
    assert DESIGN.doses == (ib.Dose(0.5, "residual"),)
    assert DESIGN.layers == ((1,), (ib.Depth(0.5),), (2, 3))
    assert DESIGN.span == ib.Span.from_anchor("trial")


@pytest.mark.parametrize("arguments", [{"positives": "a"}, {"positive": "a", "negative": "b", "more": 1}])
def test_a_misspelt_or_missing_argument_stays_python_s_own_error(arguments):
    with pytest.raises(TypeError, match="argument"):
        ib.Pair(**arguments)


def test_a_fault_that_no_argument_is_to_blame_for_is_not_hidden():
    @guarded(SpecError)
    @attrs.frozen
    class Broken:
        name: str

        def __attrs_post_init__(self):
            raise LookupError("of our own")

    with pytest.raises(LookupError, match="of our own"):
        Broken("a")
    with pytest.raises(SpecError, match=r"Broken\.name: required text; got 3"):
        Broken(3)
