"""Values that no parameter wants, values at the edge of what some want, and strategies that draw others."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import settings
from hypothesis import strategies as st

import introspection_bench as ib
from introspection_bench.errors import IntrospectionBenchError
from introspection_bench.trials import TrialRecord
from tests.sample_trials import make_condition, make_verdict, record_of

PACKAGES = ("", "analysis", "interop", "report", "sweep", "judges", "injectors", "measures", "protocols")
ODD = [
    None, True, 0, -1, 10**30, 0.5, math.nan, math.inf, -math.inf, 1e-320, "", "a\ud800b", "a\0b", "x" * 5000, b"x",
    "runs/demo", "lindsey", [], ["a", "b"], [None], {}, {"a": 1}, object(), Path("nowhere"), np.nan, np.zeros((2, 2)),
    np.int64(3), np.float32(0.5), pd.DataFrame(), pd.DataFrame({"arm": [1]}), (1, 2), [[1]], 3 + 4j, Ellipsis, int,
    lambda: None,
]  # fmt: skip
#: What of ODD stands for the rest where a call takes a tenth of a second.
FEW = [None, True, -1, 10**30, math.nan, "", "a\0b\ud800", b"x", "lindsey", [], ["a"], {"a": 1}, object(),
       Path("nowhere"), pd.DataFrame({"arm": [1]}), (1, 2), 3 + 4j, int]  # fmt: skip
#: One function or class is called with several arguments: a few examples of each in the suite, many under "torture".
a_few = settings(max_examples=max(settings.default.max_examples // 4, 20))


def exported() -> dict[str, Any]:
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(f"introspection_bench{'.' * bool(package)}{package}")
        found |= {name: getattr(module, name) for name in module.__all__}
    return found


def near(good: Any) -> st.SearchStrategy[Any]:
    """What comes near a good value: of its type, of its parts' types, or something else altogether."""
    drawn: list[st.SearchStrategy[Any]] = [st.sampled_from(ODD)]
    if isinstance(good, str):
        drawn += [st.text(st.characters(), max_size=20), st.just(good + " "), st.just([good])]
    if isinstance(good, int | float):
        drawn += [st.integers(), st.floats(), st.just(str(good)), st.just([good])]
    if isinstance(good, list | tuple):
        items = near(good[0]) if good else st.sampled_from(ODD)
        drawn += [
            st.lists(items, max_size=3),
            items.map(lambda item: (*good, item)),
            st.just((*good, *good)),
            st.just(good[0] if good else None),
        ]
    if isinstance(good, dict):
        some = st.sampled_from([*good.values(), *ODD])
        drawn += [st.dictionaries(st.text(st.characters(), max_size=5), some, max_size=2), near_items(good)]
    return st.one_of(drawn)


def near_items(good: dict[Any, Any]) -> st.SearchStrategy[Any]:
    """The mapping with one of its values, or all of its keys, altered."""
    if not good:
        return st.just({1: 2})
    return st.sampled_from(list(good)).flatmap(lambda key: near(good[key]).map(lambda odd: {**good, key: odd}))


def fault(call: Any, what: str) -> list[str]:
    """Return what is wrong with how a call fails: nothing where it works, or where the error is a short one of ours."""
    try:
        call()
    except IntrospectionBenchError as error:
        return [f"{what}: {len(str(error))} characters"] if len(str(error)) > 3000 else []
    except Exception as error:
        return [f"{what}: {type(error).__name__}: {error!s:.100}"]
    return []


def made_vector(layer: int = 1) -> ib.ConceptVector:
    made = ib.Provenance("pairs", "m", "f" * 64, "p" * 64, 2, -1, 1.0, 0.5)
    return ib.ConceptVector(np.arange(1, 65, dtype=np.float32), "love", layer, made)


def make_records() -> list[TrialRecord]:
    made = []
    for index in range(24):
        injected = index % 3 > 0
        condition = make_condition("injected" if injected else "control", "love", (index % 2,), float(index % 3))
        answers = {"affirmative": index % 5 == 0, "identifies": index % 4 == 0, "coherent": index % 3 == 0}
        made.append(
            record_of(
                condition, index, text="I see an ocean.", verdicts=(make_verdict(**answers),), readings=(READING,)
            )
        )
    return made


READING = ib.Reading(
    "lens", "d" * 64, {"layer": (1, 2), "set": ("yes", "joint")}, np.zeros((2, 2)), "f" * 64, "torch", 1, "float32"
)
