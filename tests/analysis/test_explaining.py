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
from introspection_bench.analysis.intervals import ConceptCounts, difference
from introspection_bench.analysis.same_trials import same_trials
from introspection_bench.conditions import BUILTIN, RANDOMS
from introspection_bench.errors import AnalysisError
from introspection_bench.verdicts import Verdict
from tests.sample_trials import MODEL, make_condition, make_verdict, record_of

CONCEPTS = ("love", "bread", "dust", "snow", "iron", "glass")
STEERED = ("injected", "prompt_only", "removed")
ASKING = {
    "no_questions": "questions",
    "yes_questions": "questions",
    "third_person": "third",
    "neutral_labels": "labels",
}
STILL = ("control", "mention", "edited_input", "no_questions_clean", "neutral_labels_clean", "yes_questions_clean")
ARMS = tuple(dict.fromkeys(arm for rule in RULES for arm in rule.arms)) + STILL[3:5] + ("injected",)
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


def alive(gain: float = 3.0, concepts=CONCEPTS, ranks=(500,)) -> Effects:
    of = make_condition("injected", "love")
    return Effects(
        [
            DoseEffect(c, [19], of.dose, ["v"], "p", 0, [0.5], [2.0], [1.5], [gain], [0.4], [1.0], None, MODEL, ranks)
            for c in concepts
        ]
    )


def second(reports: pd.DataFrame, *, other: bool = False, seen: bool = False, among: int = 6) -> dict[str, object]:
    """Second verdicts that find another concept or none, and an observer that names the concept or another one."""
    observed = reports[["trial", "arm"]].assign(observed=seen, among=among)
    return {
        "mismatched": reports.assign(identifies=pd.array([other] * len(reports), dtype="boolean")),
        "observed": observed[observed["arm"] == "injected"],
    }


def frames(records):
    return tuple(records_frame(records, rubric=rubric) for rubric in ("strict4", "yesno"))


@functools.cache
def scripted(script: Script):
    """The frames of a scripted model's whole run, made once."""
    return frames(run(script))


def judged(both, effects=None, **options):
    options = {**second(both[0]), **options}
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
    (found, naming) = explain_away(scripted(introspector)[0], None, alive())
    assert {"another concept", "observer"} == {f.rule for f in naming.decided("not run")}
    for how in ("judge --asked mismatched", "sweep.measure(measures.Observer(concepts))"):
        assert how in naming.sentences[-1]
    assert naming.verdicts == ()
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


def test_nothing_explains_reports_that_do_not_occur():
    def none(arm: str):
        return arm == "random", False, False

    records = [trial(a, CONCEPTS[0], i, none(a)) for a, n in (("injected", 12), ("random", 2)) for i in range(n)]
    found = explained(records)["detection"]
    assert not found.silent  # twelve trials don't show that it is rare
    assert found.verdicts == ()
    assert any("of 12 injected trials none is such a report" in f.sentence for f in found.decided("not decided"))


def test_an_arm_that_no_verdict_of_the_judge_scored_is_told_apart_from_one_that_was_not_run():
    reports, answers = scripted(introspector)
    mine = reports["arm"].isin(["random", "random_permuted"])
    unscored = {"unscored": reports["unscored"].where(~mine, "no answer")}
    blank = reports.assign(**unscored, affirmative=reports["affirmative"].where(~mine))
    found = explain_away(blank, answers, alive())[0]
    (rule,) = (f for f in found.decided("not run") if f.rule == "disturbance of equal norm")
    n = int((reports["arm"] == "random").sum())
    assert f"(random: judged, {n} of {n} unscored; random permuted: judged" in rule.sentence


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
    assert {"no injection", "guess", "steered reply", "another concept"} == {f.rule for f in found.decided("not run")}


def test_every_arm_of_a_rule_is_built_in_and_a_margin_out_of_range_is_an_error():
    assert {arm for rule in RULES for arm in rule.arms} <= set(BUILTIN)
    with pytest.raises(AnalysisError, match="margin"):
        judged(scripted(introspector), margin=1.5)


def test_a_rise_that_is_not_decided_is_quoted_and_needs_more_trials_than_a_difference_of_two_arms_does():
    few = run(yes_sayer, n=5, arms=("injected", "control", "no_questions", "no_questions_clean"))
    (found,) = explained(few)["detection"].decided("not decided")
    assert found.sentence.startswith("“yes to no-questions rises as much: yes-bias” (+0 points")
    assert "would need about 42 trials an arm" in found.sentence


READS = alive(concepts=CONCEPTS[:4], ranks=[9]), alive(concepts=CONCEPTS[4:], ranks=[10])


@pytest.mark.parametrize(
    ("evidence", "effects", "rule", "words"),
    [
        ({"other": True}, alive(), "another concept", "names another concept as often: a judge that finds any concept"),
        ({"seen": True}, alive(), "observer", "names hardly more than a reader of the text before the name"),
        (
            {},
            Effects([*READS[0], *READS[1]]),
            "reads out",
            "naming may be the steering: the vector reads out as the word in 4 of 6 cells",
        ),
    ],
    ids=["finds any", "given away", "reads out"],
)
def test_what_a_trial_itself_tells_explains_naming_away_and_says_nothing_of_noticing(evidence, effects, rule, words):
    both = scripted(introspector)
    found = judged(both, effects, **second(both[0], **evidence))
    assert holding(found["naming"]) == {rule}
    assert found["naming"].verdicts[0].startswith(words)
    assert found["detection"].verdicts == (NOTHING_EXPLAINS,)


@pytest.mark.parametrize(("ranks", "decision"), [([3, 500], "holds"), ([10, 500], "excluded"), (None, "not run")])
def test_one_vector_of_a_band_that_reads_out_is_enough_and_without_ranks_nothing_is_said(ranks, decision):
    band = [attrs.evolve(row, vectors=["v", "w"], ranks=ranks) for row in alive()]
    (found,) = (f for f in judged(scripted(introspector), Effects(band))["naming"].findings if f.rule == "reads out")
    assert found.decision == decision


def test_half_of_the_cells_reading_out_are_not_more_than_half():
    half = Effects([*alive(concepts=CONCEPTS[:3], ranks=[0]), *alive(concepts=CONCEPTS[3:])])
    assert judged(scripted(introspector), half)["naming"].verdicts == (NOTHING_EXPLAINS,)


def many_named(named: float, seen: float, n: int = 1200):
    """Injected trials, so many of them named, of these so many by an observer, too; the others at random."""
    (reports, _) = scripted(introspector)
    one = reports[reports["arm"] == "injected"]
    frame = pd.concat([one] * (n // len(one)), ignore_index=True)
    frame["trial"] = [f"t{i}" for i in frame.index]
    place = pd.Series(frame.groupby("concept").cumcount() / (n / len(CONCEPTS)))
    frame["identifies"] = (place < named).astype("boolean")
    observed = frame[["trial"]].assign(observed=place < named * seen, among=2)
    (naming,) = (e for e in explain_away(frame, observed=observed) if e.task == "naming")
    return next(f for f in naming.findings if f.rule == "observer")


def test_an_observer_that_only_guesses_gives_nothing_away_however_few_the_concepts():
    assert many_named(0.16, seen=0.5).decision == "excluded"  # of two concepts, a guess is right on half of the trials
    assert many_named(0.16, seen=0.8).decision == "holds"


def test_an_observer_of_a_part_of_the_trials_or_of_one_concept_is_not_run():
    both = scripted(introspector)
    told = second(both[0])["observed"]
    for observed in (told.iloc[1:], told.assign(among=1)):
        found = judged(both, observed=observed)["naming"]
        (missing,) = found.decided("not run")
        assert missing.rule == "observer"
    assert "of two concepts or more" in missing.sentence


def test_outcomes_of_the_same_trials_that_exclude_each_other_get_wider_bounds_than_those_of_two_arms():
    either = pd.array([i % 2 == 0 for i in range(200)], dtype="boolean")
    frame = pd.DataFrame({"concept": "love", "unscored": pd.NA, "coherent": True, "a": either, "b": ~either})
    found = same_trials(frame, "a", "b", margin=0.1, confidence=0.95)
    arms = difference(ConceptCounts([100], [200]), ConceptCounts([100], [200]), estimand="these concepts")
    assert found.these.high - found.these.low > 1.4 * (arms.high - arms.low)
    assert found.verdicts[0].verdict == "neither"


def test_a_trial_without_a_second_verdict_may_be_either():
    second_one = pd.array([False] * 30 + [pd.NA] * 30, dtype="boolean")
    frame = pd.DataFrame({"concept": "love", "unscored": pd.NA, "coherent": True, "b": second_one})
    frame["a"] = pd.array([True] * 60, dtype="boolean")
    found = same_trials(frame, "a", "b", margin=0.1, confidence=0.95)
    assert found.these.estimate == 1
    assert found.these.low > 0.7
    assert found.whatever.low < 0


def denies(arm: str) -> tuple[bool, bool, bool]:
    return False, False, arm.startswith("yes_questions")


def broken(arm: str) -> tuple[bool, bool, bool]:
    """Under the injection it never says yes."""
    return False, False, arm == "yes_questions_clean"


def affirms_but_broken(arm: str) -> tuple[bool, bool, bool]:
    return arm == "injected", False, arm == "yes_questions_clean"


def simple(script, n: int = 10):
    arms = ("injected", "control", "yes_questions", "yes_questions_clean")
    return explained(run(script, n=n, arms=arms))["detection"]


def test_a_null_is_read_with_whether_yes_is_still_said_where_it_is_true():
    said = "the dose breaks simple answers: yes where yes is true falls, too (0 %, unsteered 100 %)"
    assert simple(broken).verdicts[1] == said
    assert "where yes is true it is said under the injection as without it (100 %," in simple(denies).sentences[1]
    assert len(simple(denies).verdicts) == 1
    (missing,) = (s for s in judged(scripted(parrot))["detection"].sentences if "not run" in s)
    assert "questions whose answer is yes" in missing


def test_broken_simple_answers_explain_no_yes_and_stand_beside_it():
    found = simple(affirms_but_broken)
    assert not [v for v in found.verdicts if "simple answers" in v]
    assert any(s.startswith("Detection, beside it: the dose breaks simple answers") for s in found.sentences)
    assert "simple answers" not in {f.rule for f in found.findings}


@pytest.mark.parametrize(
    ("own", "other", "words"),
    [
        (False, True, "comes to 0 %: it is read there, in part at least, from that direction"),
        (True, True, "comes to 100 %: what is left in other directions suffices"),
        (False, False, "comes to 0 %: another concept's direction costs as much, and nothing follows"),
        (False, None, "comes to 0 %: what any removal costs is not known"),
    ],
)
def test_what_is_left_without_the_concepts_own_direction_is_said_beside_the_verdict(own, other, words):
    def script(arm: str):
        says = {"projected_out@25": bool(own), "projected_other@25": bool(other), "injected": True}.get(arm, False)
        return says, says, False

    arms = ("projected_out@25", *(() if other is None else ("projected_other@25",)))
    records = run(script, arms=arms)
    both = tuple(pd.concat([one, more]) for one, more in zip(scripted(introspector), frames(records), strict=True))
    for task, found in judged(both).items():
        assert found.verdicts == (NOTHING_EXPLAINS,)
        (said,) = (s for s in found.sentences if s.startswith(f"{task.capitalize()}, beside it"))
        assert words in said
        assert "from layer 25 on" in said
