"""Logs for Inspect, read back by the real inspect_ai.

It is no part of the development environment (300 MB): pip install --target DIR inspect_ai; PYTHONPATH=DIR pytest.
"""

from __future__ import annotations

import math
from collections import Counter

import attrs
import pytest

from introspection_bench import LINDSEY, Reply, Results
from introspection_bench.errors import SpecError
from introspection_bench.interop.inspect_log import write_inspect
from introspection_bench.results import JudgeName
from tests.odd_values import make_records


@pytest.fixture
def results() -> Results:
    """Trials with answers of each kind, one unscored and one not judged."""
    first, second, third, *rest = make_records()
    (verdict,) = second.verdicts
    failed = attrs.evolve(verdict, answers={}, unscored="timeout \ud800")
    reasoned = Reply("Yes. \ud800", [1], "length", reasoning="hm")
    worded = attrs.evolve(third.trial, condition=attrs.evolve(third.condition, wording=LINDSEY.digest))
    changed = [
        attrs.evolve(first, verdicts=()),
        attrs.evolve(second, verdicts=[failed]),
        attrs.evolve(third, reply=reasoned, trial=worded),
    ]
    return Results("run", [*changed, *rest])


@pytest.mark.parametrize("ending", ["eval", "json"])
def test_inspect_reads_every_trial_verdict_and_count(tmp_path, results, ending):
    log = pytest.importorskip("inspect_ai.log", reason="not installed: see the first lines of this file")
    assert write_inspect(results, tmp_path / f"run.{ending}") == len(results)
    found = log.read_eval_log(str(tmp_path / f"run.{ending}"))
    samples = {sample.metadata["trial"]: sample for sample in found.samples}
    assert len({sample.id for sample in found.samples}) == len(results)
    assert set(samples) == {record.key.digest for record in results}
    arms = Counter(record.arm for record in results)
    counts: Counter[tuple[str, str, bool | None]] = Counter()
    for record in results:
        sample = samples[record.key.digest]
        assert sample.metadata["condition"]["arm"] == record.arm
        assert sample.metadata["seed"] == str(record.seed)
        assert len(sample.metadata["receipts"]) == len(record.receipts)
        assert len(sample.metadata["steers"]) == len(record.key.steers)
        assert set(sample.scores or ()) == {str(JudgeName.of(v)) for v in record.verdicts}
        for verdict in record.verdicts:
            value = sample.scores[str(JudgeName.of(verdict))].value
            if verdict.unscored is not None:
                assert math.isnan(value)
            else:
                assert value == {"strict": verdict.strict, **verdict.answers}
            counts.update((f"{name} on {record.arm}", name, met) for name, met in verdict.answers.items())
    for score in found.results.scores:
        name = score.name.split(" on ")[0]
        if name != "strict":
            assert score.metrics["met"].value == counts[score.name, name, True]
            n_scored = counts[score.name, name, True] + counts[score.name, name, False]
            assert score.scored_samples == n_scored
            # What could not be judged, and what nobody judged.
            assert score.unscored_samples == arms[score.name.split(" on ")[1]] - n_scored
    third = samples[results.records[2].key.digest]
    assert third.output.choices[0].stop_reason == "max_tokens"
    assert [message.role for message in third.messages] == [turn.role for turn in LINDSEY.turns] + ["assistant"]
    assert third.output.completion == "Yes. \\ud800"


def test_a_log_is_of_one_model_and_of_a_kind_that_inspect_knows(tmp_path, results):
    for wrong, name in ((results, "run.csv"), (Results("none", []), "run.eval")):
        with pytest.raises(SpecError, match="one model"):
            write_inspect(wrong, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
