"""Which part of a reply a judge reads, and what happens where the parts can't be told apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import attrs
import pytest

from introspection_bench import LINDSEY, Concept
from introspection_bench.conditions import Condition
from introspection_bench.errors import ResultsFormatError
from introspection_bench.frames import records_frame
from introspection_bench.judges.base import Case, Judge
from introspection_bench.judges.labels import Label, comparable, draw_sample
from introspection_bench.judges.panel import PanelJudge
from introspection_bench.judges.rubrics import load_rubric
from introspection_bench.records import from_json, to_json
from introspection_bench.report.page.transcripts import judge_label, transcripts_payload
from introspection_bench.results import JudgeName
from introspection_bench.structuring import plain
from introspection_bench.sweep import Store, judge_run
from introspection_bench.sweep.judging import case_maker
from introspection_bench.trials import Reply, Trial, TrialRecord
from introspection_bench.verdicts import Evidence, Verdict
from tests.keys import control_key

CONCEPTS = (Concept("Oceans", word="Oceans"),)
REPLIES = (
    Reply("No, nothing.", (1,), "stop", "I must say yes, I detect it."),
    Reply("", (1,), "length", "I must", "the reply ends inside its reasoning, before an answer"),
    Reply("<think>a</thinking>Yes", (1,), "stop", None, "contradictory markers"),
    Reply("<think>Yes, I detect it.</think>No, nothing.", (1,), "unknown"),  # as another program wrote it
    Reply("", (1,), "length", "I must say yes."),
    Reply("", (1,), "stop", "I must say nothing."),
    Reply("No, nothing.", (1,), "stop"),
)


class FakeJudge(Judge):
    """Affirms what holds "yes", and remembers what it was shown."""

    name: ClassVar[str] = "fake"

    def __init__(self, model: str | None = None) -> None:
        self.rubric = load_rubric("strict4")
        self.model = model
        self.shown: list[str] = []

    def judge(self, cases: Sequence[Case]) -> Iterator[tuple[int, Verdict]]:
        for index, case in enumerate(cases):
            self.shown.append(case.reply)
            yes = "yes" in case.reply.lower()
            at = case.reply.lower().find("yes") if yes else 0
            yield (
                index,
                Verdict(
                    self.name,
                    self.rubric.id,
                    self.rubric.digest,
                    case.concept.name,
                    {"affirmative": yes, "identifies": False, "coherent": True},
                    judge_model=self.model,
                    evidence=[Evidence("affirmative", at, at + 3, "")],
                ),
            )


def record(index: int, reply: Reply) -> TrialRecord:
    return TrialRecord(Trial(control_key(index), Condition("control", LINDSEY.name, model="model"), draw=index), reply)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    spec = {
        "model": {"name": "model", "backend": "torch"},
        "found": {"name": "model", "fingerprint": "m"},
        "numerics": 1,
        "design": {
            "concepts": {"name": "c", "concepts": [plain(c) for c in CONCEPTS]},
            "scaffolds": [{"name": LINDSEY.name, "digest": LINDSEY.digest, "transcript": LINDSEY.transcript}],
        },
    }
    records = [record(index, reply) for index, reply in enumerate(REPLIES)]
    with Store.create_from_records(tmp_path / "run", spec, records) as opened:
        yield opened


def test_the_answer_is_judged_and_unscored_where_it_cannot_be_told(store: Store) -> None:
    judge = FakeJudge()
    summary = judge_run(store, judge, check=False)
    assert judge.shown == ["No, nothing.", "No, nothing.", "", "No, nothing."]
    verdicts = [r.verdicts[0] for r in store.records()]
    assert [v.unscored for v in verdicts] == [
        None,
        "the reply ends inside its reasoning, before an answer",
        "contradictory markers",
        None,
        "the token limit came before an answer",
        None,
        None,
    ]
    assert (summary.judged, summary.unscored) == (7, 3)
    assert {v.answer("affirmative") for v in verdicts} == {False, None}
    assert {v.judged for v in verdicts} == {"answer"}
    assert judge_run(store, judge, check=False).judged == 0


def test_the_whole_reply_is_judged_where_that_is_asked_for(store: Store) -> None:
    judge = FakeJudge()
    judge_run(store, judge, check=False)
    judge.shown.clear()
    assert judge_run(store, judge, check=False, part="whole").judged == 7
    assert judge.shown[0] == "I must say yes, I detect it.\n\nNo, nothing."
    assert judge.shown[3] == "Yes, I detect it.\n\nNo, nothing."
    first = store.records()[0]
    assert {(v.judged, v.answer("affirmative")) for v in first.verdicts} == {("answer", False), ("whole", True)}
    names = {JudgeName.of(v) for v in first.verdicts}
    assert len({str(name) for name in names}) == 2
    assert len({judge_label(v) for v in first.verdicts}) == 2


def test_a_panel_is_unscored_for_the_same_reason_and_no_member_is_asked(store: Store) -> None:
    members = [FakeJudge("a"), FakeJudge("b")]
    judge_run(store, PanelJudge(judges=members), check=False)
    assert [r.verdicts[0].unscored is None for r in store.records()] == [True, False, False, True, False, True, True]
    assert all("contradict" not in shown and len(m.shown) == 4 for m in members for shown in m.shown)


def test_people_label_the_part_that_judges_read(store: Store) -> None:
    sample = draw_sample(store.records(), case_maker(store), n=9, seed=0)
    assert sorted(case.reply for case in sample) == ["", "No, nothing.", "No, nothing.", "No, nothing."]
    whole = draw_sample(store.records(), case_maker(store, part="whole"), n=9, seed=0)
    assert len(whole) == 7
    answers = {"affirmative": False, "identifies": False, "immediate": None, "coherent": True, "refused": False}
    rubric = load_rubric("strict4")
    label = Label(2, sample[0].trial, "Oceans", rubric.id, rubric.digest, "ada", answers, judged="whole")
    ((_, verdict),) = FakeJudge().judge(sample[:1])
    with pytest.raises(ResultsFormatError, match="part of the reply"):
        comparable({sample[0].trial: verdict}, [label])


def test_reasoning_goes_through_store_exports_frames_and_report(store: Store) -> None:
    judge_run(store, FakeJudge(), check=False, part="whole")
    for index, found in enumerate(store.records()):
        assert found.reply == REPLIES[index]
        assert from_json(to_json(found), "here") == found
    first, *_, last = store.records()
    frame = records_frame([first, last])
    assert tuple(frame.loc[0, ["reply", "reasoning", "judged"]]) == (
        "No, nothing.",
        "I must say yes, I detect it.",
        "whole",
    )
    assert frame["reasoning"].isna().tolist() == [False, True]
    trials = transcripts_payload(store.records())["trials"]
    assert [t[11] for t in trials][:4] == [
        "I must say yes, I detect it.",
        "I must",
        None,
        "Yes, I detect it.",
    ]
    # Evidence from the reasoning points at no place of the answer.
    assert trials[0][9][0][5] == [["affirmative", 0, 0, ""]]


def test_evidence_in_the_answer_of_a_whole_reply_is_shown_at_its_place() -> None:
    reply = Reply("Oh yes.", (), "stop", "hm")
    assert reply.to_judge("whole")[0][7:10] == "yes"
    verdict = Verdict("j", "r", "d", "c", evidence=[Evidence("affirmative", 7, 10, "")], judged="whole")
    made = attrs.evolve(record(0, reply), verdicts=[verdict])
    assert transcripts_payload([made])["trials"][0][9][0][5] == [["affirmative", 3, 6, ""]]


def test_a_judges_verdict_on_the_answer_comes_before_its_verdict_on_the_whole(store: Store) -> None:
    judge = FakeJudge()
    judge_run(store, judge, check=False, part="whole")
    assert {r.verdict("fake").judged for r in store.records()} == {"whole"}
    judge_run(store, judge, check=False)
    assert {r.verdict("fake").judged for r in store.records()} == {"answer"}
