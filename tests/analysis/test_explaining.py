"""What explains a result away: scripted models, each with its own verdict in words and none of the others'."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import attrs
import pandas as pd
import pytest

from introspection_bench import DoseEffect, Effects
from introspection_bench.analysis import RULES, explain_away, records_frame
from introspection_bench.analysis.explaining import NOTHING_EXPLAINS
from introspection_bench.conditions import BUILTIN, RANDOMS
from introspection_bench.errors import AnalysisError
from introspection_bench.verdicts import Verdict
from tests.sample_trials import MODEL, make_condition, make_verdict, record_of

CONCEPTS = ("love", "bread", "dust", "snow", "iron", "glass")
STEERED = ("injected", "prompt_only", "removed")
ASKING = {"no_questions": "questions", "third_person": "third", "neutral_labels": "labels"}
STILL = ("control", "mention", "edited_input", "no_questions_clean", "neutral_labels_clean")
ARMS = tuple(dict.fromkeys(arm for rule in RULES for arm in rule.arms)) + STILL[3:] + ("injected",)
DISTURBANCE = {"disturbance of equal norm", "disturbance like words", "disturbance of equal effect"}

#: What a scripted model does on a trial of an arm: (affirms, names) of a report, says yes to another question.
Script = Callable[[str], tuple[bool, bool, bool]]


def introspector(arm: str) -> tuple[bool, bool, bool]:
    return arm in STEERED, arm in STEERED, arm == "neutral_labels"


def yes_sayer(arm: str) -> tuple[bool, bool, bool]:
    """The concept's injection makes it say yes, whatever it is asked, and as this word."""
    return arm in STEERED, False, arm in ("no_questions", "third_person")


def always_yes(arm: str) -> tuple[bool, bool, bool]:  # a script
    return True, False, True


def magnitude_alarm(arm: str) -> tuple[bool, bool, bool]:
    return arm in STEERED or arm in RANDOMS, False, arm == "neutral_labels"


def parrot(arm: str) -> tuple[bool, bool, bool]:
    return False, arm in STEERED, False


def steered_namer(arm: str) -> tuple[bool, bool, bool]:
    return arm in STEERED, arm == "injected", arm == "neutral_labels"


def reader(arm: str) -> tuple[bool, bool, bool]:
    """It takes what stands in the text for an injected thought."""
    return arm in (*STEERED, "mention"), arm in (*STEERED, "mention"), arm == "neutral_labels"


def trial(arm: str, concept: str, number: int, told: tuple[bool, bool, bool], **where):
    affirms, names, yes = told
    base = arm.removesuffix("_clean")
    scaffold = f"lindsey:{ASKING[base]}" if base in ASKING else "lindsey"
    made = make_condition(arm, concept, () if arm in STILL else (19,), scaffold=scaffold, **where)
    if arm in STILL or arm in RANDOMS:
        made = attrs.evolve(made, concept=None)
    report = make_verdict(concept, affirmative=affirms, identifies=names, immediate=names or None)
    answer = Verdict("rules", "yesno/1", "e" * 64, concept, {"says_yes": yes, "coherent": True}, ("says_yes",))
    return record_of(made, number, verdicts=(report, answer))


def run(script: Script, *, n: int = 10, arms=ARMS, concepts=CONCEPTS, **where):
    return [
        trial(arm, concept, number, script(arm), **where)
        for arm, (place, concept) in itertools.product(arms, enumerate(concepts))
        for number in range(place * n, place * n + n)
    ]


def alive(gain: float = 3.0, concepts=CONCEPTS) -> Effects:
    of = make_condition("injected", "love")
    return Effects(
        [
            DoseEffect(c, [19], of.dose, ["v"], "p", 0, [0.5], [2.0], [1.5], [gain], [0.4], [1.0], None, MODEL)
            for c in concepts
        ]
    )


def frames(records):
    return tuple(records_frame(records, rubric=rubric) for rubric in ("strict4", "yesno"))


@functools.cache
def scripted(script: Script):
    """The frames of a scripted model's whole run, made once."""
    return frames(run(script))


def judged(both, effects=None, **options):
    found = explain_away(*both, alive() if effects is None else effects, **options)
    return {each.task: each for each in found}


def explained(records, effects=None, **options):
    return judged(frames(records), effects, **options)


def without(script: Script, *arms: str):
    """The frames of a run in which some arms were left out."""
    return tuple(frame[~frame["arm"].isin(arms)] for frame in scripted(script))


def holding(found):
    return {f.rule for f in found.decided("holds")}


@pytest.mark.parametrize(
    ("script", "detection", "naming", "words"),
    [
        (introspector, set(), set(), NOTHING_EXPLAINS),
        (
            yes_sayer,
            {"yes-bias", "somebody else", "the word yes"},
            None,
            "yes to no-questions rises as much: yes-bias",
        ),
        (
            magnitude_alarm,
            DISTURBANCE,
            None,
            "affirms as often under random vectors of equal effect: a disturbance alarm, no content",
        ),
        (parrot, None, {"parrot"}, "repeats the concept without affirming: a parrot"),
        (steered_namer, set(), {"steered reply"}, "names the concept only while its reply is steered"),
        (reader, {"mention"}, {"mention"}, "names the concept as often when the concept only stands in the text"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_scripted_model_gets_its_own_verdict_in_words_and_none_of_the_others(script, detection, naming, words):
    found = judged(scripted(script))
    for task, expected in (("detection", detection), ("naming", naming)):
        assert not found[task].decided("not decided")
        assert not found[task].decided("not run")
        assert found[task].silent == (expected is None)
        assert holding(found[task]) == (expected or set())
        assert (found[task].verdicts == (NOTHING_EXPLAINS,)) == (expected == set())
    assert any(said.startswith(words) for said in found["detection"].verdicts + found["naming"].verdicts)


def test_what_is_decided_of_these_concepts_alone_is_said_to_be():
    few = tuple(
        frame[frame["concept"].isin(CONCEPTS[:4]) | frame["concept"].isna()] for frame in scripted(introspector)
    )
    (said,) = judged(few)["detection"].verdicts
    assert said == f"{NOTHING_EXPLAINS} (of these concepts; not decided of concepts like these)"


def test_a_model_that_always_says_yes_is_told_by_its_controls_and_not_as_a_bias_that_the_injection_makes():
    found = judged(scripted(always_yes))["detection"]
    assert "no injection" in holding(found)
    assert "affirms as often without any injection" in found.verdicts


@pytest.mark.parametrize("missing", [rule for rule in RULES if "detection" in rule.tasks], ids=lambda r: r.name)
def test_without_any_one_of_the_controls_nothing_is_claimed_and_the_missing_one_is_listed(missing):
    found = judged(without(introspector, *missing.arms))["detection"]
    assert found.verdicts == ()
    assert missing.missing in found.sentences[-1]


def test_without_the_clean_battery_or_verdicts_on_answers_the_rise_of_yes_is_not_run():
    found = judged(without(introspector, "no_questions_clean"))["detection"]
    assert "yes-bias" in {f.rule for f in found.decided("not run")}
    (found, _) = explain_away(scripted(introspector)[0], None, alive())
    assert {"yes-bias", "somebody else", "the word yes"} <= {f.rule for f in found.decided("not run")}


def test_a_few_trials_decide_nothing_and_the_trials_that_would_are_said():
    def half(arm: str):
        return arm == "injected", False, False

    records = [
        trial(a, c, i, half(a) if i else (True, False, False))
        for a in ("injected", "random", "control")
        for c in CONCEPTS[:2]
        for i in range(3)
    ]
    found = explained(records)["detection"]
    undecided = {f.rule: f for f in found.decided("not decided")}
    assert {"no injection", "disturbance of equal norm"} <= set(undecided)
    assert "would need about" in undecided["no injection"].sentence
    assert found.verdicts == ()


def test_a_dose_that_is_dead_in_most_cells_is_counted_and_its_effects_unmeasured_are_missing():
    half = Effects([*alive(0.5, CONCEPTS[:4]), *alive(3.0, CONCEPTS[4:])])
    found = judged(scripted(introspector), half)["detection"]
    assert found.verdicts == ("dose not alive in 4 of 6 cells",)
    found = judged(scripted(introspector), Effects())["detection"]
    assert found.verdicts == ()
    assert "the doses' effects" in found.sentences[-1]


def test_arms_are_matched_by_the_dose_asked_for_and_never_with_another_cells():
    records = run(magnitude_alarm, arms=("injected", "control")) + run(magnitude_alarm, arms=("random",), magnitude=0.1)
    found = {f.rule: f.decision for f in explained(records)["detection"].findings}
    assert found["disturbance of equal norm"] == "not run"
    records += run(magnitude_alarm, arms=("random",))
    found = {f.rule: f.decision for f in explained(records)["detection"].findings}
    assert found["disturbance of equal norm"] == "holds"


def losing(every: Callable[[int], bool]):
    """The introspector's frames, some verdicts on trials under random vectors of equal norm being lost."""
    reports, answers = scripted(introspector)
    rows = reports.index[reports["arm"] == "random"]
    lost = rows[[every(i) for i in range(len(rows))]]
    changed = reports.copy()
    changed.loc[lost, "unscored"] = "timeout"
    changed.loc[lost, ["affirmative", "identifies", "coherent", "strict"]] = pd.NA
    return changed, answers


def test_where_unscored_trials_could_change_a_verdict_that_is_said_and_else_not():
    found = judged(losing(lambda i: i % 2 == 0))["detection"]  # half of them yes is still less often than always
    assert not [f.rule for f in found.findings if f.open]
    found = judged(losing(lambda i: i % 20 != 0))["detection"]
    assert [f.rule for f in found.findings if f.open] == ["disturbance of equal norm"]
    assert any("unscored trials could change" in s for s in found.sentences)


def test_a_judge_that_knows_of_the_injection_says_nothing_of_names_on_controls():
    found = judged(scripted(introspector), blinded=False)["naming"]
    assert {"no injection", "guess", "steered reply"} == {f.rule for f in found.decided("not run")}


def test_every_arm_of_a_rule_is_built_in_and_a_margin_out_of_range_is_an_error():
    assert {arm for rule in RULES for arm in rule.arms} <= set(BUILTIN)
    with pytest.raises(AnalysisError, match="margin"):
        judged(scripted(introspector), margin=1.5)


def test_a_rise_that_is_not_decided_is_quoted_and_needs_more_trials_than_a_difference_of_two_arms_does():
    few = run(yes_sayer, n=5, arms=("injected", "control", "no_questions", "no_questions_clean"))
    (found,) = explained(few)["detection"].decided("not decided")
    assert found.sentence.startswith("“yes to no-questions rises as much: yes-bias” (+0 points")
    assert "would need about 42 trials an arm" in found.sentence
