"""Random vectors of every kind, and arms that remove a direction: what is injected, and that it stays the same."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import numpy as np
import pytest
from conftest import CONCEPTS, planned

import introspection_bench as ib
from introspection_bench import dosing as dosing_values
from introspection_bench.analysis import records_frame
from introspection_bench.background import LEAST_WORDS, Background, covariance_like
from introspection_bench.concepts import Concept, ConceptSet
from introspection_bench.conditions import CELL_COLUMNS, ordered
from introspection_bench.effects import Drawn, FoundDose
from introspection_bench.errors import EmptySpanError, SpecError, VectorError
from introspection_bench.injection import resolve
from introspection_bench.items import load_battery
from introspection_bench.measures import Residuals
from introspection_bench.sweep import (
    Cell,
    Design,
    Dosing,
    Injected,
    ModelSpec,
    ProjectedOut,
    PromptOnly,
    RandomVector,
    Removed,
    RunSpec,
    Store,
    Sweep,
    Unsteered,
    measure_run,
)
from introspection_bench.sweep.outline import outline
from introspection_bench.sweep.words import background_words
from introspection_bench.vectors import ConceptVector, Provenance

TOLD = Provenance("made", "m", "", "", 0, -1, 1.0, None)
COVARIANCE = RandomVector(4, "covariance")


def vector(values, concept="Bread", layer=1) -> ConceptVector:
    return ConceptVector(values, concept, layer, TOLD)


def made_background(width=32, layer=1, seed=0, strong=3.0) -> Background:
    """Words that vary three times as much along the first component as along any other."""
    values = np.random.default_rng(seed).standard_normal((240, width)) + 5
    values[:, 0] *= strong
    return Background([vector(row, f"w{n}", layer) for n, row in enumerate(values)])


@pytest.fixture(scope="module")
def drawing(design) -> Design:
    arms = [Injected(2), RandomVector(4), RandomVector(4, "permuted"), COVARIANCE]
    return attrs.evolve(design, arms=arms, layers=[1, (1, 2)], doses=["0.5 residual"], paired="draw")


@pytest.fixture(scope="module")
def drawn(drawing, injector, tmp_path_factory):
    design = attrs.evolve(drawing, sampling=ib.Sampling(max_new_tokens=2))
    sweep = Sweep(design, injector, tmp_path_factory.mktemp("drawn") / "run")
    sweep.generate()
    return sweep


def of(trials, arm):
    return [t for t in trials if t.condition.arm == arm]


def vectors_of(trial):
    return {s.layer: s.vector for s in trial.request.steers}


def concept_of(trial, trials):
    """The concept that a random trial stands for: that of the injected trial with its random numbers."""
    (found,) = {t.condition.concept for t in of(trials, "injected") if t.key.given_seed == trial.key.given_seed}
    return found


@pytest.mark.parametrize("arm", ["random", "random_permuted", "random_covariance"])
def test_each_trial_of_a_cell_has_a_vector_of_its_own_as_long_as_its_concepts_and_the_same_in_each_cell(drawn, arm):
    more = attrs.evolve(drawn.design, doses=["0.5 residual", "1 raw"], scaffolds=["lindsey", "lindsey_405b"])
    everything = more.ask(drawn._ground, [])
    trials = of(everything, arm)
    cells: dict[object, list[object]] = {}
    for trial in trials:
        concept = concept_of(trial, everything)
        for layer, found in vectors_of(trial).items():
            (own,) = (v for v in drawn.vectors if (v.concept, v.layer) == (concept, layer))
            assert found.norm == pytest.approx(own.norm, rel=1e-6)
            assert found.is_random
            assert found.concept == concept
        told = (trial.condition.layers, trial.condition.dose, trial.condition.scaffold)
        cells.setdefault(told, []).append({n: v.digest for n, v in vectors_of(trial).items()})
    assert len(cells) == 8
    for (layers, *_), found in cells.items():
        assert [set(one) for one in found] == [set(layers)] * 4
        assert found == next(other for (n, *_), other in cells.items() if n == layers)
        assert len({one[1] for one in found}) == 4
    assert {t.condition.truth for t in trials} == {"other"}
    assert {t.condition.concept for t in trials} == {None}


def test_a_permuted_vector_has_the_concepts_components_in_one_other_order_at_all_layers(drawn):
    for trial in of(drawn.planned, "random_permuted"):
        concept = concept_of(trial, drawn.planned)
        for layer, found in vectors_of(trial).items():
            (own,) = (v for v in drawn.vectors if (v.concept, v.layer) == (concept, layer))
            assert np.array_equal(np.sort(found.values), np.sort(own.values))
            assert not np.array_equal(found.values, own.values)
    some = vector(np.arange(50.0))
    assert np.array_equal(some.permuted_like(3).values, (some * 2).permuted_like(3).values / 2)


def test_vectors_of_a_covariance_lie_along_what_words_differ_in_and_across_the_concept():
    background = made_background()
    concept = vector(np.eye(32)[5] * 7)
    found = [covariance_like([concept], [background], seed)[0] for seed in range(300)]
    shares = np.mean([np.square(v.values / v.norm) for v in found], axis=0)
    isotropic = np.mean([np.square(concept.random_like(n).values / concept.norm) for n in range(300)], axis=0)
    assert shares[0] > 4 * isotropic[0]
    assert shares[0] > 4 * np.sort(shares)[-2]
    assert max(abs(v.cosine(concept)) for v in found) < 0.1
    # Around zero, not around the words' mean, which all components share.
    assert abs(np.mean([v.values.mean() for v in found])) < 0.05
    assert np.sign([v.values[0] for v in found]).mean() == pytest.approx(0, abs=0.2)


def test_the_shrinkage_is_that_of_ledoit_and_wolf_by_the_full_matrices():
    background = made_background(width=20)
    values = background.centred
    sample, count = values.T @ values / len(values), len(values)
    target = np.eye(20) * np.trace(sample) / 20
    noise = sum(np.square(np.outer(row, row) - sample).sum() for row in values) / count**2
    assert background.shrinkage == pytest.approx(noise / np.square(sample - target).sum(), abs=1e-6)
    assert 0 < background.shrinkage < 0.2
    many = np.random.default_rng(0).standard_normal((200, 4000))
    assert Background([vector(row, str(n)) for n, row in enumerate(many)]).shrinkage > 0.9


def test_draws_with_a_covariance_have_it():
    background = made_background(width=6)
    rng = np.random.default_rng(1)
    draws = np.array([background.combined(rng.standard_normal(240), rng.standard_normal(6)) for _ in range(20_000)])
    sample = background.centred.T @ background.centred / 240
    share = background.shrinkage
    wanted = (1 - share) * sample + share * background.variance * np.eye(6)
    assert np.allclose(draws.T @ draws / len(draws), wanted, atol=0.3)


def test_one_draw_combines_the_same_words_at_all_layers():
    first = made_background(seed=0)
    second = Background([attrs.evolve(v, values=v.values[::-1] * 2, layer=2) for v in first.vectors])
    concept = vector(np.eye(32)[5])
    a, b = covariance_like([concept, attrs.evolve(concept, values=np.eye(32)[3])], [first, second], 4)
    # But for what is each component's own, by which the shrunk matrix is wider than the sample's.
    assert a.cosine(attrs.evolve(b, values=b.values[::-1])) > 0.8


def test_what_is_no_background_is_refused():
    background = made_background()
    with pytest.raises(VectorError, match="at least 200 words"):
        Background(background.vectors[:50])
    with pytest.raises(VectorError, match="vectors that differ"):
        Background([background.vectors[0]] * 200)
    along = attrs.evolve(background.vectors[0], values=np.ones(1))
    with pytest.raises(VectorError, match="a background of the same words for each vector"):
        covariance_like([along], [background], 0)
    line = Background([vector([1.0 + n], str(n)) for n in range(200)])
    with pytest.raises(VectorError, match="none in 10,000"):
        covariance_like([along], [line], 0)


@pytest.mark.parametrize("concepts", ["lindsey2026", CONCEPTS], ids=["lindsey2026", "tiny"])
def test_the_words_are_no_concepts_of_the_run_and_not_in_their_baseline(design, concepts):
    design = attrs.evolve(design, concepts=concepts, arms=[COVARIANCE])
    words = [c.name for c in background_words(design)]
    assert len(words) >= 250
    names = {n.lower() for c in design.concepts for n in c.names} | {w.lower() for w in design.concepts.baseline}
    assert not names & {form for w in words for form in (w, f"{w}s", f"{w}es")}


def test_a_word_that_a_run_has_as_a_concept_in_another_form_is_left_out(design):
    own = ConceptSet("own", [Concept("Apples", ["bananas"], "Apples"), Concept("ZEBRA", word="ZEBRA")], ["Attics", "a"])
    words = {c.name for c in background_words(attrs.evolve(design, concepts=own, arms=[COVARIANCE]))}
    assert not {"banana", "attic", "zebra"} & words
    assert {"apron", "barn"} <= words
    assert background_words(attrs.evolve(design, concepts=own, arms=[RandomVector(1, "permuted")])) == []


def test_a_covariance_needs_words_of_the_designs_own_recipe(design):
    for changes in ({"concepts": "pairs"}, {"recipe": ib.Pairs()}, {"concepts": attrs.evolve(CONCEPTS, baseline=())}):
        with pytest.raises(SpecError, match="a recipe that makes vectors of words"):
            background_words(attrs.evolve(design, arms=[COVARIANCE], **changes))
    many = [Concept(i.slots["word"], word=i.slots["word"]) for i in load_battery("words").items[:80]]
    with pytest.raises(SpecError, match=f"leave {LEAST_WORDS}"):
        background_words(attrs.evolve(design, concepts=ConceptSet("many", many, ["x"]), arms=[COVARIANCE]))
    cell = Cell(ib.LINDSEY, [1], ib.Dose(1, "raw"), ib.Span.all(), ["Bread"], {("Bread", 1): vector(np.ones(8))}, 0)
    with pytest.raises(SpecError, match="a cell with the vectors of words"):
        list(COVARIANCE.trials(cell))


def test_a_resumed_run_draws_the_same_vectors_of_the_same_words_and_extracts_nothing(drawn, injector, monkeypatch):
    monkeypatch.setattr(type(injector), "capture", None)
    again = Sweep(drawn.design, injector, drawn.directory)
    assert [t.key for t in again.planned] == [t.key for t in drawn.planned]
    assert again.word_vectors == drawn.word_vectors
    assert {v.layer for v in again.word_vectors} == {1, 2}
    assert len(again.generate()) == len(drawn.planned)
    with Store.open(drawn.directory) as store:
        done = measure_run(store, Residuals([1], "from(trial) stop_at_prompt_end"), injector)
        found = [one for one in store.found() if isinstance(one, Drawn)]
    assert done.measured == len(drawn.planned)
    steers = [s for t in of(drawn.planned, "random_covariance") for s in t.request.steers]
    assert {one.key for one in found} == {s.vector.digest for s in steers}
    assert all(abs(one.cosine) < 0.1 for one in found)
    (step,) = found[0].steps
    assert "seed" in step
    assert f"of {len(drawn.word_vectors) // 2} words" in step
    # The folder of vectors is for people: the concepts' alone.
    assert len(list((drawn.directory / "vectors").iterdir())) == len(drawn.vectors) == 4


class FakeDosing(Dosing):
    """Says a dose for each question and keeps what it was asked."""

    def __init__(self):
        self.asked = []

    def by_effect(self, vectors, layers, dose):
        return ib.Dose(0.25 if vectors[0].concept == "Bread" else 0.75, "residual")

    def alike(self, injections, vectors, prompt):
        self.asked.append((injections, vectors, prompt))
        return ib.Dose(len(self.asked) / 64, "residual")

    def moved(self, prompt, by):
        raise NotImplementedError


@pytest.mark.parametrize("kind", ["isotropic", "covariance"])
def test_an_impact_matched_vector_has_the_dose_that_moves_its_own_prompts_answer_alike(design, injector, kind):
    wordings = ib.LINDSEY.asking("wordings")
    design = attrs.evolve(design, scaffolds=[wordings], items="wordings", doses=["0 residual", "0.5 kl", "2 raw"])
    design = attrs.evolve(design, arms=[Injected(2), RandomVector(4, kind), RandomVector(4, kind, "impact")])
    sweep = Sweep(attrs.evolve(design, doses=["2 raw"]), injector, Path("/no/such/run"))
    fake = FakeDosing()
    trials = design.ask(attrs.evolve(sweep._ground, dosing=fake), [])
    norm, impact = (of(trials, RandomVector(1, kind, m).name) for m in ("norm", "impact"))
    assert len(fake.asked) == 8
    numbers = iter(range(1, 9))
    for mine, other in zip(impact, norm, strict=True):
        assert mine.trial.item == other.trial.item
        assert mine.condition == attrs.evolve(other.condition, arm=mine.condition.arm, asked=mine.condition.asked)
        if mine.condition.dose.is_null:
            assert not mine.request.steers
            continue
        number = next(numbers)
        (steer,) = mine.request.steers
        injections, vectors, prompt = fake.asked[number - 1]
        assert steer.dose == ib.Dose(number / 64, "residual")
        assert (mine.key.steers[0].magnitude, mine.key.steers[0].unit) == (number / 64, "residual")
        assert prompt == mine.request.prompt
        assert vectors == (steer.vector,) == (other.request.steers[0].vector,)
        (own,) = injections
        assert own.vector == sweep._ground.vectors[steer.vector.concept, 1]
        assert own.dose == mine.condition.dose
    told = {(str(t.condition.effect), str(t.condition.dose)) for t in impact}
    found = {("0.5 kl", "0.25 residual"), ("0.5 kl", "0.75 residual")}
    assert told == found | {("None", "0 residual"), ("None", "2 raw")}


def test_impact_is_matched_on_a_model_stored_with_the_neutral_figure_and_its_cells_stay_whole(
    design, injector, tmp_path, monkeypatch
):
    design = attrs.evolve(
        design,
        arms=[Injected(1), RandomVector(2, matched="impact")],
        sampling=ib.Sampling(max_new_tokens=2),
    )
    sweep = Sweep(design, injector, tmp_path / "run")
    results = sweep.generate()
    doses = {one.dose.magnitude: one for one in results.doses}
    probe = dosing_values.Probe(injector, date=sweep.design.date)
    vectors = {v.concept: v for v in sweep.vectors}
    records = [(r, t) for r, t in zip(results, sweep.planned, strict=True) if r.arm == "random_impact"]
    for record, trial in records:
        (key,) = record.key.steers
        found, steer = doses[key.magnitude], trial.request.steers[0]
        assert isinstance(found, FoundDose)
        assert found.neutral > 0
        like = attrs.evolve(steer.injection, vector=vectors[steer.vector.concept], dose=record.condition.dose)
        prompt = trial.request.prompt
        mine, wanted = (probe.divergences([prompt], [i])[0] for i in (steer.injection, like))
        assert mine == pytest.approx(wanted, rel=0.02)
    frame = records_frame(results.records)
    cells = frame.groupby(list(CELL_COLUMNS), dropna=False).size()
    assert cells.xs("random_impact", level="arm").tolist() == [2, 2]
    monkeypatch.setattr(dosing_values, "find_dose", None)
    again = Sweep(design, injector, tmp_path / "run")
    assert [t.key for t in again.planned] == [t.key for t in sweep.planned]


PROJECTED = [
    ProjectedOut(2),
    ProjectedOut(2, other=True),
    ProjectedOut(2, from_layer=3),
    ProjectedOut(2, ib.Depth(3 / 4), other=True),
]


@pytest.fixture(scope="module")
def projected(design, injector, tmp_path_factory):
    arms = [Unsteered(1), Injected(2), *PROJECTED]
    made = attrs.evolve(design, arms=arms, doses=["0.5 residual"], paired="draw", span="between(trial, reply)")
    made = attrs.evolve(made, sampling=ib.Sampling(max_new_tokens=3))
    sweep = Sweep(made, injector, tmp_path_factory.mktemp("projected") / "run")
    sweep.generate()
    sweep.measure(Residuals([1, 2, 3], "from(trial)"))
    return sweep


def residual_cosines(record, trial, direction):
    """By layer, the largest |cosine| to a direction over the positions from the anchor on, the reply's included."""
    (reading,) = record.readings
    assert reading.axes["position"][0] == trial.request.prompt.anchors["trial"]
    assert reading.axes["position"][-1] >= len(trial.request.prompt.token_ids)
    values = np.asarray(reading.values, np.float64)
    cosines = values @ direction.values.astype(np.float64) / direction.norm / np.linalg.norm(values, axis=-1)
    return dict(zip(reading.axes["layer"], np.abs(cosines).max(axis=1), strict=True))


def test_the_concepts_direction_is_gone_from_every_later_layer_to_the_end_of_the_reply(projected):
    vectors = {v.concept: v for v in projected.vectors}
    later = {"projected_out": (2, 3), "projected_out@3": (3,), "projected_other": (), "projected_other@3/4": ()}
    pairs = list(zip(projected.results(), projected.planned, strict=True))
    assert {r.arm for r, _ in pairs} == {*later, "injected", "control"}
    for record, trial in pairs:
        if record.concept is None:
            continue
        found = residual_cosines(record, trial, vectors[record.concept])
        gone = later.get(record.arm, ())
        assert all(found[layer] < 1e-4 for layer in gone)
        assert all(found[layer] > 0.05 for layer in {1, 2, 3} - set(gone))
        if record.arm.startswith("projected_other"):
            (other,) = set(vectors) - {record.concept}
            assert residual_cosines(record, trial, vectors[other])[3] < 1e-4


def test_a_projected_trial_is_the_injected_one_beside_a_removal_and_stands_in_its_cell(projected):
    injected = [t for t in projected.planned if t.condition.arm == "injected"]
    names = {"projected_out": "its own direction", "projected_other": "another concept's direction"}
    for arm in PROJECTED:
        mine = of(projected.planned, arm.name)
        for one, own in zip(mine, injected, strict=True):
            assert one.key.given_seed == own.key.given_seed
            assert one.condition.truth == "other"
            (beside,) = one.condition.beside
            assert beside.name == names[arm.name.partition("@")[0]]
            assert (beside.dose, beside.span) == (ib.Dose(-1, "projection"), "from(trial)")
            assert beside.layers == ((3,) if arm.from_layer else (2, 3))
            assert attrs.evolve(one.condition, arm="injected", truth="injected", beside=()) == own.condition
            assert own.request.steers[0] in one.request.steers
            assert len(one.request.steers) == 1 + len(beside.layers)
    assert ordered(t.condition.arm for t in projected.planned) == [
        "control", "injected", "projected_out", "projected_out@3", "projected_other", "projected_other@3/4"
    ]  # fmt: skip


def test_other_concepts_directions_come_in_turn_and_never_the_trials_own(injector, design):
    words = ["Oceans", "Bread", "Horses", "Dust"]
    concepts = ConceptSet("four", [Concept(w, word=w) for w in words], baseline=["Desks", "Clouds"])
    design = attrs.evolve(design, concepts=concepts, arms=[ProjectedOut(3, other=True)], doses=["0.5 residual"])
    trials = planned(design, injector)
    for concept in words:
        mine = [t for t in trials if t.condition.concept == concept]
        removed = [{s.vector.concept for s in t.request.steers if s.dose.unit == "projection"} for t in mine]
        assert sorted(next(iter(r)) for r in removed) == sorted(set(words) - {concept})
        assert {len(r) for r in removed} == {1}
    assert len({str(t.condition.cell) for t in trials}) == 4


def test_all_directions_of_a_band_are_removed_each_once(injector, design):
    design = attrs.evolve(design, layers=[(0, 1)], doses=["0.5 residual"], arms=[ProjectedOut(1)])
    sweep = Sweep(design, injector, Path("/no/such/run"))
    for trial in sweep.planned:
        steers = trial.request.steers
        injected = [s.vector for s in steers if s.dose.unit == "residual"]
        removed = [s.vector for s in steers if s.dose.unit == "projection" and s.layer == 2]
        assert [s.layer for s in steers if s.dose.unit == "projection"].count(3) == len(removed) == 2
        assert removed[0].cosine(removed[1]) == pytest.approx(0, abs=1e-6)
        left = np.stack([v.values / v.norm for v in injected]).astype(np.float64)
        for v in removed:
            unit = v.values.astype(np.float64) / v.norm
            left = left - np.outer(left @ unit, unit)
        assert np.abs(left).max() < 1e-6
    # One given vector at both layers is one direction.
    given = attrs.evolve(design, vectors=[v for v in sweep.vectors if v.layer == 0])
    for trial in planned(given, injector):
        assert [s.layer for s in trial.request.steers if s.dose.unit == "projection"] == [2, 3]


def test_removals_that_can_not_be_made_are_errors_when_planned(injector, design):
    for layers, arm, told in (
        ([3], ProjectedOut(1), "a first layer from 4 to 3"),
        ([1], ProjectedOut(1, 1), "from 2 to 3.*got 1"),
        ([1], ProjectedOut(1, 4), "from 2 to 3.*got 4"),
    ):
        with pytest.raises(SpecError, match=told):
            planned(attrs.evolve(design, layers=layers, arms=[arm]), injector)
    one = attrs.evolve(design, concepts=CONCEPTS.select("Bread"), arms=[ProjectedOut(1, other=True)])
    with pytest.raises(SpecError, match="two concepts"):
        planned(one, injector)


@pytest.mark.parametrize("span", ["from(trial)", "all", "generation"])
def test_what_is_removed_was_steered_on_the_earlier_turns_alone_whatever_the_designs_span(injector, design, span):
    arms = [Injected(1), PromptOnly(1), Removed(1)] if span != "generation" else [Injected(1), Removed(1)]
    trials = planned(attrs.evolve(design, span=span, arms=arms, doses=["0.5 residual"]), injector)
    own = [t for t in trials if t.condition.arm == "injected"]
    for trial, other in zip(of(trials, "removed"), own, strict=True):
        (steer,) = trial.request.steers
        asked = trial.request.prompt.anchors["trial"]
        assert (steer.positions.start, steer.positions.stop) == (0, asked)
        assert steer.vector == other.request.steers[0].vector
        assert trial.condition.truth == "injected"
    with pytest.raises(EmptySpanError):
        planned(attrs.evolve(design, arms=[Removed(1, since="trial")]), injector)


def test_the_span_of_a_removal_reaches_from_the_first_steered_position_to_the_end():
    prompt = ib.RenderedPrompt([1, 2, 3, 4], "abcd", {"a": 1, "b": 3})
    for text in ("all", "prompt", "generation", "from(a) stop_at_prompt_end", "between(a, b)"):
        span = ib.Span.parse(text)
        before, after = span.resolve(prompt), span.onwards.resolve(prompt)
        assert (after.start, after.stop) == (before.start, None)


FILE = """
directory = "run"
[model]
name = "MODEL"
[design]
layers = [1]
doses = ["0.5 residual"]
concepts = { set = "lindsey2026", names = ["Bread", "Dust"] }
[design.arms.injected]
n = 1
[design.arms.random]
n = 2
[design.arms.permuted]
arm = "random"
kind = "permuted"
n = 2
[design.arms.covariance]
arm = "random"
kind = "covariance"
n = 2
[design.arms.impact]
arm = "random"
matched = "impact"
n = 2
[design.arms.removed]
n = 1
[design.arms.projected_out]
n = 1
[design.arms.later]
arm = "projected_out"
n = 1
from_layer = 3
[design.arms.other]
arm = "projected_out"
n = 1
from_layer = "3/4"
other = true
"""


def test_a_file_names_each_kind_and_its_plan_needs_no_model(tiny_folder, tmp_path):
    (tmp_path / "run.toml").write_text(FILE.replace("MODEL", str(tiny_folder)))
    spec = RunSpec.from_toml(tmp_path / "run.toml")
    names = [
        "injected", "random", "random_permuted", "random_covariance", "random_impact", "removed",
        "projected_out", "projected_out@3", "projected_other@3/4",
    ]  # fmt: skip
    assert [a.name for a in spec.design.arms] == names
    assert RunSpec.from_plain(json.loads(json.dumps(spec.plain())), "plain") == spec
    assert outline(spec).trials == dict.fromkeys(names, 2)
    assert RunSpec(spec.design, ModelSpec("m")).design.arms[-1] == ProjectedOut(1, ib.Depth(0.75), other=True)


def test_two_arms_of_one_kind_are_one_too_many(design):
    with pytest.raises(SpecError, match=r"arms.*twice"):
        attrs.evolve(design, arms=[RandomVector(1), RandomVector(2)])
    attrs.evolve(design, arms=[RandomVector(1), RandomVector(1, "permuted"), ProjectedOut(1), ProjectedOut(1, 3)])
    for wrong in ({"kind": "gaussian"}, {"matched": "dose"}):
        with pytest.raises(SpecError):
            RandomVector(1, **wrong)


def test_a_cell_holds_what_an_arm_may_draw_from():
    background = made_background()
    concept = vector(np.eye(32)[4])
    told = (ib.LINDSEY, [1], ib.Dose(1, "raw"), ib.Span.all(), ["Bread"], {("Bread", 1): concept}, 7)
    cell = Cell(*told, background={1: background})
    found = [t.injections[0].vector for t in COVARIANCE.trials(cell)]
    assert found == [t.injections[0].vector for t in COVARIANCE.trials(cell)]
    other = [t.injections[0].vector for t in COVARIANCE.trials(attrs.evolve(cell, seed=8))]
    assert not {v.digest for v in found} & {v.digest for v in other}
    assert resolve([], ib.RenderedPrompt([1], "a")) == ()
