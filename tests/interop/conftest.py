"""A file in the 405B study's layout, of our own making."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from introspection_bench.scaffolds import LINDSEY_405B, THINKING_ABOUT

YES = {"affirmative": True, "identifies": True, "immediate": False, "coherent": True, "notes": "n", "_usage": {}}


def entry(label: str, magnitude: float, trial_idx: int, judge: object = None) -> dict[str, Any]:
    return {
        "label": label,
        "magnitude": magnitude,
        "trial_idx": trial_idx,
        "first_word": "I",
        "response": f"Reply {trial_idx} of {label}.",
        "judge": dict(YES) if judge is None else judge,
    }


def small_study() -> dict[str, Any]:
    return {
        "model_path": "/models/Llama-3.1-405B-Instruct-FP8-dynamic",
        "layer": 90,
        "tp_size": 8,
        "magnitudes": [10.0],
        "n_trials": 2,
        "n_control_trials": 1,
        "temperature": 1.0,
        "top_p": 1.0,
        "max_new_tokens": 200,
        "norm_match": True,
        "lindsey_setup": LINDSEY_405B.turns[0].content,
        "lindsey_trial": LINDSEY_405B.turns[2].content,
        "alt_prompt": THINKING_ABOUT.turns[0].content,
        "timestamp": "20260101_000000",
        "vectors": {"love": {"cos_pn": 0.85, "hidden_dim": 8}},
        "judge_model": "some-judge",
        "n_errors": 0,
        "results": [
            entry("lindsey_control", 0.0, 0),
            entry("lindsey_love", 10.0, 0),
            entry("lindsey_love", 10.0, 1),
            entry("alt_all_caps", 10.0, 0),
        ],
    }


@pytest.fixture
def study() -> dict[str, Any]:
    return small_study()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def written(data: object, name: str = "study.judged.json") -> Path:
        path = tmp_path / name
        path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
        return path

    return written
