"""Arms that ask something else, or say it in the text: what differs in their prompts, and what does not."""

from __future__ import annotations

import datetime
import json
import re
from collections import Counter
from typing import Any

import attrs
import numpy as np
import pytest

import introspection_bench as ib
from introspection_bench.concepts import Concept, ConceptSet
from introspection_bench.errors import ScaffoldError, SpecError
from introspection_bench.items import Battery, Item, load_battery
from introspection_bench.labelled import labels_in
from introspection_bench.measures import TokenLogprobs
from introspection_bench.report.page.conversations import known_prompts
from introspection_bench.sweep import (
    Cell,
    Design,
    Dosing,
    EditedInput,
    Ground,
    Injected,
    Mention,
    NeutralLabels,
    Questions,
    RunSpec,
    Sweep,
    ThirdPerson,
    Unsteered,
)
from introspection_bench.sweep.dosing import FindsDoses
from introspection_bench.sweep.judging import run_questions
from introspection_bench.sweep.planner import PlannedTrial, plan
from introspection_bench.vectors import ConceptVector, Provenance

WORDS = ("Oceans", "Trumpets", "Bread")
CONCEPTS = ConceptSet("three", [Concept(w, word=w) for w in WORDS], baseline=["Desks", "Clouds"])
WORDINGS = ib.LINDSEY.asking("lindsey_wordings")
DESIGN = Design(
    concepts=CONCEPTS, layers=[1], doses=["0.5 residual"], arms=[Injected(4)], paired="draw", sampling=ib.Sampling()
)


class FakeDosing(Dosing):
    """A model whose answer moves by an injection's norm, and by how often a paragraph names the concept."""

    def by_effect(self, vector, layers, dose):
        raise NotImplementedError

    def alike(self, injections, vectors, prompt):
        raise NotImplementedError

    def moved(self, prompt, by):
        if not isinstance(by, tuple):
            return float(len(re.findall("oceans|trumpets|bread", by.text)))
        return {"Oceans": 1.1, "Trumpets": 3.2, "Bread": 9.0}[by[0].vector.concept]


@pytest.fixture(scope="module")
def ground(smol_tokenizer) -> Ground:
    rng = np.random.default_rng(0)
    told = Provenance("made", "m", "", "", 0, -1, 1.0, None)
    vectors = {(w, 1): ConceptVector(rng.standard_normal(8), w, 1, told) for w in WORDS}
    info = ib.ModelInfo("m", "f", 4, 8, "float32")
    return Ground(info, "torch", 1, smol_tokenizer, datetime.date(2026, 1, 2), vectors)


def planned(ground: Ground, *arms: Any, **changes: Any) -> list[PlannedTrial]:
    return plan(attrs.evolve(DESIGN, arms=[Injected(4), *arms], **changes), ground)


def of(trials: list[PlannedTrial], arm: str) -> list[PlannedTrial]:
    return [t for t in trials if t.condition.arm == arm]


def text(trial: PlannedTrial) -> str:
    return trial.request.prompt.text


def steered_text(trial: PlannedTrial, tokenizer: Any) -> str:
    (steer,) = trial.request.steers
    return str(tokenizer.decode(trial.request.prompt.token_ids[steer.positions.start : steer.positions.stop]))


ASKING = [
    Mention(4),
    EditedInput(4),
    EditedInput(4, neutral=True),
    Questions(4),
    Questions(4, steered=False),
    Questions(4, "yes"),
    Questions(4, "yes", steered=False),
    ThirdPerson(4),
    NeutralLabels(4),
    NeutralLabels(4, steered=False),
]


@pytest.mark.parametrize("arm", ASKING, ids=lambda arm: arm.name)
@pytest.mark.parametrize("scaffold", [ib.LINDSEY, WORDINGS], ids=lambda s: s.name)
def test_each_trial_of_an_arm_is_paired_with_the_injected_one_of_its_concept_and_number(ground, arm, scaffold):
    items = "wordings" if scaffold is WORDINGS else ()
    trials = planned(ground, arm, scaffolds=[scaffold], items=items)
    injected, mine = of(trials, "injected"), of(trials, arm.name)
    assert [t.key.given_seed for t in mine] == [t.key.given_seed for t in injected]
    assert [t.condition.asked for t in mine] == [t.condition.concept for t in injected]
    assert {t.condition.truth for t in mine} == {"other"}
    steered = arm.dosed and not isinstance(arm, EditedInput)
    assert [t.condition.concept for t in mine] == [t.condition.concept if steered else None for t in injected]
    assert [bool(t.request.steers) for t in mine] == [steered] * 12
    if steered:
        assert [t.key.steers[0].vector for t in mine] == [t.key.steers[0].vector for t in injected]
    if scaffold is WORDINGS and not isinstance(arm, Questions):  # which take the wording's place
        assert [t.trial.item.split(" + ")[1] for t in mine] == [t.trial.item for t in injected]


def test_concepts_go_through_the_wordings_from_another_one_on_so_that_few_trials_have_all(ground):
    trials = planned(ground, Unsteered(12), scaffolds=[WORDINGS], items="wordings")
    injected = of(trials, "injected")
    assert [t.trial.item for t in injected if t.condition.concept == "Trumpets"] == ["w2", "w3", "w4", "w5"]
    assert {t.trial.item for t in injected} == {f"w{n}" for n in range(1, 7)}
    assert [t.trial.item for t in of(trials, "control")] == [t.trial.item for t in injected]


def test_a_mention_differs_from_the_plain_prompt_by_one_sentence_with_the_word_and_nothing_is_steered(ground):
    trials = planned(ground, Mention(4), Unsteered(1))
    plain = text(of(trials, "control")[0])
    for trial in of(trials, "mention"):
        word = str(trial.condition.asked).lower()
        (sentence,) = [line for line in text(trial).splitlines() if word in line.lower()]
        sentence = sentence.replace("<|im_start|>user", "").strip()
        assert text(trial).replace(f"{sentence}\n\n", "") == plain
        assert not any(w.lower() in plain.lower() for w in WORDS)
        assert "inject" not in sentence
    sentences = Counter(str(t.trial.item).split(":")[0] for t in of(trials, "mention"))
    assert len(sentences) == 8
    assert max(sentences.values()) - min(sentences.values()) == 1


def test_an_edited_input_has_the_paragraph_whose_effect_is_nearest_and_a_counterpart_of_as_many_tokens(ground):
    ground = attrs.evolve(ground, dosing=FakeDosing())
    trials = planned(ground, EditedInput(4), EditedInput(4, neutral=True), Unsteered(1))
    edited, neutral = of(trials, "edited_input"), of(trials, "edited_input_clean")
    chosen = {t.condition.asked: t.trial.item for t in edited}
    assert chosen == {"Oceans": "p1: Oceans", "Trumpets": "p3: Trumpets", "Bread": "p3: Bread"}
    plain = text(of(trials, "control")[0])
    for mine, other in zip(edited, neutral, strict=True):
        word = str(mine.condition.asked).lower()
        assert len(mine.request.prompt.token_ids) == len(other.request.prompt.token_ids)
        assert word in text(mine)
        assert not any(w.lower() in text(other).lower() for w in WORDS)
        assert text(mine).endswith(plain[plain.index("I am an interpretability") :])
    cell = Cell(
        ib.LINDSEY, [1], ib.Dose(0.5, "residual"), ib.Span.from_anchor("trial"), WORDS, ground.vectors, 0,
        ground.tokenizer, ground.day, ground.dosing, words={w: w.lower() for w in WORDS},
    )  # fmt: skip
    assert [(m.wanted, m.reached) for m in EditedInput(1).matches(cell)] == [(1.1, 1.0), (3.2, 4.0), (9.0, 4.0)]


def test_without_a_model_an_edited_input_is_planned_with_the_first_paragraph(ground):
    trials = of(planned(ground, EditedInput(2)), "edited_input")
    assert {str(t.trial.item).split(":")[0] for t in trials} == {"p1"}
    assert len(trials) == 6


def test_an_arm_that_comes_to_one_prompt_in_two_cells_does_not_draw_the_same_reply_twice(ground):
    trials = of(planned(ground, EditedInput(4), doses=["0.5 residual", "1 residual"]), "edited_input")
    assert len({(t.key.prompt, t.key.seed) for t in trials}) == len(trials) == 24


def test_questions_take_the_questions_place_and_leave_all_else_steered_from_the_same_place_on(ground, smol_tokenizer):
    trials = planned(ground, Questions(4), Questions(4, "yes"), Questions(4, steered=False))
    ours = {i.name: i.slots for i in load_battery("questions").items}
    (plain,) = {text(t) for t in of(trials, "injected")}
    for arm, answer in (("no_questions", "no"), ("yes_questions", "yes")):
        for trial in of(trials, arm):
            asked = ours[str(trial.trial.item)]
            assert asked["answer"] == answer
            assert text(trial) == plain.replace(str(ib.LINDSEY.question), asked["question"])
            assert steered_text(trial, smol_tokenizer).startswith("\n\nTrial 1: " + asked["question"])
    clean = of(trials, "no_questions_clean")
    assert [t.trial.item for t in clean] == [t.trial.item for t in of(trials, "no_questions")]
    assert [t.key.prompt for t in clean] == [t.key.prompt for t in of(trials, "no_questions")]


@pytest.mark.parametrize("over", ["each", "spread"])
def test_questions_are_balanced_over_trials_and_kinds_whatever_their_number(ground, over):
    for n in (2, 5, 20):
        arm = Questions(n if over == "each" else 3 * n, concepts=over)
        trials = of(planned(ground, arm, Questions(1, "yes")), "no_questions")
        counts = Counter(t.trial.item for t in trials)
        assert max(counts.values()) - min(counts.values()) <= (0 if n == 20 else 1)
        about = Counter(str(t.trial.item)[:4] for t in trials)
        assert abs(about["worl"] - about["self"]) <= 1
        if over == "each":
            for concept in WORDS:
                mine = [t.trial.item for t in trials if t.condition.concept == concept]
                assert len(set(mine)) == n


def test_neutral_labels_stand_for_either_answer_and_in_either_order_as_often(ground, smol_tokenizer):
    trials = planned(ground, NeutralLabels(16), NeutralLabels(16, steered=False))
    mine = of(trials, "neutral_labels")
    told = [(labels_in(text(t)), text(t)) for t in mine]
    assert {labels.yes for labels, _ in told} == {labels.no for labels, _ in told}
    pairs = Counter((labels.yes, text.index(labels.yes) < text.index(labels.no)) for labels, text in told)
    assert len(pairs) == 16
    assert set(pairs.values()) == {3}
    for concept in WORDS:
        few = [labels_in(text(t)) for t in mine if t.condition.concept == concept][:4]
        assert len({(labels.yes, labels.no) for labels in few}) >= 2
    assert [t.key.prompt for t in of(trials, "neutral_labels_clean")] == [t.key.prompt for t in mine]
    asked = f"\n\nTrial 1: {ib.LINDSEY.question} Begin your answer"
    assert all(steered_text(t, smol_tokenizer).startswith(asked) for t in mine)


@pytest.mark.parametrize(
    "span", ["from(trial)", "from(trial) stop_at_prompt_end", "generation", "between(trial, reply)"]
)
@pytest.mark.parametrize("scaffold", [ib.LINDSEY, WORDINGS], ids=lambda s: s.name)
def test_a_third_persons_trial_is_steered_as_far_from_the_answer_to_the_token(ground, scaffold, span):
    items = "wordings" if scaffold is WORDINGS else ()
    trials = planned(ground, ThirdPerson(4), scaffolds=[scaffold], items=items, span=span)
    pairs = list(zip(of(trials, "injected"), of(trials, "third_person"), strict=True))
    for own, other in pairs:
        a, b = own.request.steers[0].positions, other.request.steers[0].positions
        assert a.start - a.prompt_length == b.start - b.prompt_length
        assert (a.stop is None) == (b.stop is None)
        assert a.stop is None or a.stop - a.prompt_length == b.stop - b.prompt_length
        assert "that model detect an injected thought" in text(other)
        assert "I am an interpretability researcher" not in text(other)
    if span == "from(trial)":
        assert all(steered_text(b, ground.tokenizer).startswith("\n\nQuestion:") for _, b in pairs)


def test_all_of_a_third_persons_prompt_is_as_long_as_the_models_own_where_it_is_steered_throughout(ground):
    trials = planned(ground, ThirdPerson(1), scaffolds=[ib.LINDSEY_405B], span="all")
    lengths = {len(t.request.prompt.token_ids) for t in trials}
    assert len(lengths) == 1


def test_a_distance_that_no_filler_meets_is_an_error_that_says_which_were_reached(ground):
    with pytest.raises(SpecError, match=r"third_person.*begin \d+ tokens before the answer"):
        planned(ground, ThirdPerson(1), scaffolds=["thinking_about"], span="all")


def test_a_scaffold_that_does_not_say_what_its_question_is_can_not_be_asked_otherwise():
    own = ib.Scaffold("own", [ib.Turn("user", "What now?")], anchors=[ib.Anchor("trial", "What")])
    for arm in (Questions(1), NeutralLabels(1), ThirdPerson(1)):
        with pytest.raises(ScaffoldError, match="question of scaffold 'own'"):
            attrs.evolve(DESIGN, scaffolds=[own], arms=[arm])
    attrs.evolve(DESIGN, scaffolds=[own], arms=[Mention(1), EditedInput(1)])


def test_a_name_that_an_arm_fills_in_can_not_mean_something_else_in_the_design():
    slotted = ib.Scaffold("s", [ib.Turn("user", "{question}")], question="{question}")
    with pytest.raises(SpecError, match="two under item 'world01'"):
        attrs.evolve(
            DESIGN, scaffolds=[slotted], items=[Item("world01", {"question": "Why?"})], arms=[Questions(1)], span="all"
        )


def test_judges_are_shown_what_was_asked_in_each_trial(injector, tmp_path):
    design = attrs.evolve(
        DESIGN,
        scaffolds=[WORDINGS],
        items="wordings",
        arms=[Injected(1), Mention(1), Questions(1), NeutralLabels(1, steered=False)],
        sampling=ib.Sampling(max_new_tokens=2),
    )
    sweep = Sweep(design, injector, tmp_path / "run")
    sweep.generate()
    with sweep.open_store() as store:
        question, prompts = run_questions(store), {t.key.digest: t.request.prompt.text for t in sweep.planned}
        for record in store.records():
            last = question(record).split("[user]\n")[-1]
            assert last in prompts[record.key.digest], record.trial
        shown = known_prompts(store.results())
        assert set(shown) == {(r.scaffold, r.trial.item) for r in store.records()}
        told, spec = json.loads(json.dumps(dict(store.spec()))), store.run_spec()
    assert spec == sweep.spec
    assert RunSpec.from_plain(told, "here", vectors={v.digest: v for v in sweep.vectors}) == sweep.spec


def test_what_an_edited_input_was_matched_by_is_kept_with_the_run_and_decides_again_on_resume(injector, tmp_path):
    arms = [Injected(1), EditedInput(1), EditedInput(1, neutral=True)]
    design = attrs.evolve(DESIGN, arms=arms, sampling=ib.Sampling(max_new_tokens=2))
    sweep = Sweep(design, injector, tmp_path / "run")
    sweep.generate()
    with sweep.open_store() as store:
        kept = FindsDoses(store.found())  # without a model, so that it knows what was kept and nothing else
    vectors = {(v.concept, v.layer): v for v in sweep.vectors}
    told = (WORDS, vectors, 0, injector.tokenizer, sweep.design.day, kept)
    cell = Cell(ib.LINDSEY, [1], design.doses[0], ib.Span.from_anchor("trial"), *told, words=design.words)
    matches = EditedInput(1).matches(cell)
    planned = of(sweep.planned, "edited_input")
    assert [m.item for m in matches] == [t.trial.item for t in planned]
    assert all(m.wanted > 0 and m.reached > 0 for m in matches)
    again = Sweep(design, injector, tmp_path / "run")
    assert [t.key for t in again.planned] == [t.key for t in sweep.planned]
    assert sweep.measure(TokenLogprobs({"yes": ("Y",)})).measured == 9


FILE = """
directory = "run"
[model]
name = "m"
[design]
concepts = "lindsey2026"
layers = [1]
doses = ["1 residual"]
scaffolds = [{ scaffold = "lindsey", name = "lindsey_wordings", question = "{question}" }]
items = "wordings"
[design.arms.mention]
n = 2
battery = "mine.toml"
[design.arms.edited_input]
n = 2
[design.arms.questions]
n = 2
[design.arms.yes_questions]
arm = "questions"
n = 3
answer = "yes"
steered = false
[design.arms.third_person]
n = 2
[design.arms.neutral_labels]
n = 2
"""
MINE = """
name = "mine"
version = 2
source = "me"
slot = "mention"
[items]
a = "The shop sells {word}."
"""


def test_a_file_says_the_arms_and_wordings_in_a_line_each_with_batteries_beside_it(tmp_path):
    (tmp_path / "mine.toml").write_text(MINE)
    (tmp_path / "sweep.toml").write_text(FILE)
    design = RunSpec.from_toml(tmp_path / "sweep.toml").design
    assert design.scaffolds == (WORDINGS,)
    assert design.items == load_battery("wordings").items
    mine = Battery("mine", 2, [Item("a", {"mention": "The shop sells {word}."})], "me")
    arms = [EditedInput(2), Questions(2), Questions(3, "yes", steered=False), ThirdPerson(2), NeutralLabels(2)]
    assert design.arms == (Mention(2, mine), *arms)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("{word}", "bread", r"\{word\} in every text"),
        ('slot = "mention"', 'slot = "sentence"', r"slots \['mention'\]"),
        ("version = 2", "", "a name and a version"),
        ('a = "The', 'a = 3 # "The', "a text for each"),
    ],
)
def test_a_battery_that_does_not_fit_its_arm_is_an_error(tmp_path, old, new, told):
    (tmp_path / "mine.toml").write_text(MINE.replace(old, new))
    (tmp_path / "sweep.toml").write_text(FILE)
    with pytest.raises(SpecError, match=told):
        RunSpec.from_toml(tmp_path / "sweep.toml")


def test_the_digests_of_the_batteries_are_pinned():
    # A change of a text is a new version.
    names = ("labels", "mentions", "paragraphs", "questions", "wordings")
    assert {name: (load_battery(name).version, load_battery(name).digest[:12]) for name in names} == {
        "labels": (1, "b8eac0772dfd"),
        "mentions": (1, "c573e2f1ea1b"),
        "paragraphs": (1, "29b21d9c0bc9"),
        "questions": (1, "bb2b00fc6b88"),
        "wordings": (1, "0abd2a9f99dd"),
    }


def test_the_questions_are_as_many_as_promised_and_name_none_of_the_published_concepts():
    battery = load_battery("questions")
    kinds = Counter((i.slots["answer"], i.slots["about"]) for i in battery.items)
    assert kinds == {("no", "world"): 10, ("no", "self"): 10, ("yes", "world"): 5, ("yes", "self"): 5}
    told = " ".join(
        text.lower() for name in ("questions", "labels") for i in load_battery(name).items for text in i.slots.values()
    )
    told += " ".join(
        t.replace("{word}", "").lower()
        for name in ("mentions", "paragraphs")
        for i in load_battery(name).items
        for t in i.slots.values()
    )
    words = [n.lower() for c in ib.load_concepts("lindsey2026") for n in (c.name, *c.aliases)]
    assert [w for w in words if re.search(rf"\b{re.escape(w)}\b", told)] == []
