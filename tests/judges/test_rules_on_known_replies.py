"""How far the rules judge agrees with known verdicts: floors below which a change is a loss."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from introspection_bench.analysis.agreement import agreement
from introspection_bench.judges.rules import RulesJudge
from introspection_bench.judges.rules.coherence import FEATURES, shipped_model

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

fit_coherence = pytest.importorskip("fit_coherence", reason="the benchmarks need scikit-learn")
judge_agreement = pytest.importorskip("judge_agreement", reason="the benchmarks need scikit-learn")


def kappa(known, criterion):
    cases = [k.case for k in known]
    judged = {cases[i].trial: verdict for i, verdict in RulesJudge().judge(cases)}
    return agreement({k.case.trial: k.verdict for k in known}, judged, criteria=[criterion])[criterion].kappa


@pytest.fixture(scope="module")
def known_published():
    return judge_agreement.published()


@pytest.mark.parametrize(
    ("criterion", "floor"),
    # Below what was measured (docs/rules_judge.md) by about the half width of its interval.
    [("coherent", 0.93), ("identifies", 0.90), ("affirmative", 0.88), ("immediate", 0.75), ("refused", 0.6)],
)
def test_agreement_on_other_concepts_stays_above_its_floor(criterion, floor):
    known = judge_agreement.labelled("labelled.jsonl", "labelled")
    assert len({k.case.concept.name for k in known}) >= 20
    assert kappa(known, criterion) >= floor


@pytest.mark.parametrize("criterion", ["coherent", "identifies", "affirmative", "immediate", "refused", "strict"])
def test_every_control_reply_is_judged_right(criterion):
    assert kappa(judge_agreement.labelled("controls.jsonl", "controls"), criterion) == 1


def test_no_hostile_reply_talks_the_judge_into_success():
    known = judge_agreement.labelled("hostile.jsonl", "hostile")
    verdicts = dict(RulesJudge().judge([k.case for k in known]))
    for i, k in enumerate(known):
        verdict = verdicts[i]
        if not k.verdict.answer("affirmative"):
            assert not verdict.answer("affirmative"), k.case.trial
        if not k.verdict.strict:
            assert not verdict.strict, k.case.trial


@pytest.mark.parametrize(
    ("name", "criterion", "floor"),
    [
        ("published, held out", "coherent", 0.90),
        ("published, both files", "coherent", 0.90),
        ("published, both files", "identifies", 0.72),
        ("published, all_caps only", "identifies", 0.80),
        ("published, held out", "affirmative", 0.65),
        # Over all trials the published verdicts claim detections in texts that deny them or say nothing:
        # docs/rules_judge.md, "Who is right".
        ("published, both files", "affirmative", 0.53),
        ("published, where coherent", "affirmative", 0.85),
    ],
)
@pytest.mark.published
def test_agreement_with_the_published_verdicts_stays_above_its_floor(known_published, name, criterion, floor):
    known = [k for k in known_published if name in k.sets]
    if not known:
        pytest.skip("../shared/data/llama405b is not there")
    if criterion in judge_agreement.CONTROL_BLIND:
        known = [k for k in known if not k.control]
    assert kappa(known, criterion) >= floor


@pytest.mark.published
def test_the_shipped_coefficients_are_those_that_the_script_fits():
    if not all((fit_coherence.DATA / f"{name}.judged.json").exists() for name in fit_coherence.FILES):
        pytest.skip("../shared/data/llama405b is not there")
    if not all((fit_coherence.SCALING / f"trials_{name}_k2_bedrock.jsonl").exists() for name in fit_coherence.MODELS):
        pytest.skip("../shared/data/introspection_scaling is not there")
    x, y, model, held = fit_coherence.read()
    weights, intercept = fit_coherence.fit(x[~held], y[~held], model[~held], fit_coherence.PENALTY)
    shipped = shipped_model()
    assert len(FEATURES) == x.shape[1]
    np.testing.assert_allclose(shipped.weights, weights, rtol=0.02, atol=0.02)
    assert shipped.intercept == pytest.approx(intercept, abs=0.02)


def test_labels_are_read_as_they_stand():
    first = json.loads((judge_agreement.REPLIES / "labelled.jsonl").read_text(encoding="utf-8").splitlines()[0])
    known = judge_agreement.labelled("labelled.jsonl", "labelled")[0]
    assert (known.case.reply, known.verdict.answer("affirmative"), known.verdict.answer("immediate")) == (
        first["reply"],
        first["affirmative"],
        first["immediate"],
    )
