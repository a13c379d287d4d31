"""A chat template that prints the date: one date a run, whatever the clock does."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from introspection_bench.concepts import Concept, ConceptSet, Pair
from introspection_bench.errors import SpecError, StoreError, StoreMismatchError
from introspection_bench.extraction import extract, random_controls
from introspection_bench.injectors.torch.injector import TorchInjector
from introspection_bench.sweep import Grid, Sweep
from introspection_bench.sweep.runner import run_date
from introspection_bench.sweep.spec import SweepSpec
from introspection_bench.testing import save_tiny_model, tiny_model
from introspection_bench.trials import Sampling

DAYS = [datetime.date(2026, 11, 25) + datetime.timedelta(n) for n in range(60)]
CLOCKS = {
    "date": "Today Date: {{ strftime_now('%d %b %Y') }}\n",
    "seconds": "{{ strftime_now('%Y-%m-%d %H:%M:%S.%f') }}",
    "either": "{% set d = '?' %}{% if strftime_now is defined %}{% set d = strftime_now('%j') %}{% endif %}{{ d }}",
}
LOVE = Concept("love", pairs=[Pair("I adore you", "I see you")])
CONCEPTS = ConceptSet("s", [Concept("Oceans", word="Oceans"), LOVE], ["Desks", "Sand"])
SHORT: dict[str, Any] = {"trials": 2, "controls": 2, "sampling": Sampling(max_new_tokens=3)}


REAL = datetime.date


class AnyDate(type):
    """Lets real dates pass for the fake kind."""

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, REAL)


class FakeDate(datetime.date, metaclass=AnyDate):
    """The clock as our code reads it: the next of these days at each look."""

    days: list[datetime.date] = []  # noqa: RUF012  # set by each test

    @classmethod
    def today(cls) -> datetime.date:
        return cls.days.pop(0) if len(cls.days) > 1 else cls.days[0]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[FakeDate]:
    monkeypatch.setattr(datetime, "date", FakeDate)
    FakeDate.days = list(DAYS)
    return FakeDate


def opened(kind: str) -> TorchInjector:
    model, tokenizer = tiny_model("llama")
    tokenizer.chat_template = CLOCKS[kind] + tokenizer.chat_template
    return TorchInjector.open(model, tokenizer=tokenizer)


def grid(injector: TorchInjector, **changes: Any) -> Grid:
    vectors = extract(injector, CONCEPTS, [1])
    return Grid([*vectors, *random_controls(vectors)], tuple(CONCEPTS), [1.0], "residual", **(SHORT | changes))


@pytest.mark.parametrize("kind", CLOCKS)
def test_all_prompts_of_an_extraction_are_of_one_date(kind: str, clock: type[FakeDate]) -> None:
    injector = opened(kind)
    clock.days = list(DAYS)
    one = extract(injector, CONCEPTS, [1])
    clock.days = [DAYS[0]]
    other = extract(injector, CONCEPTS, [1])
    assert [v.digest for v in one] == [v.digest for v in other]
    assert {v.provenance.date for v in one} == {DAYS[0].isoformat()}
    assert [v.digest for v in extract(injector, CONCEPTS, [1], date=DAYS[9])] != [v.digest for v in one]


@pytest.mark.parametrize("kind", CLOCKS)
def test_a_run_goes_on_with_the_date_and_vectors_that_it_began_with(
    kind: str, clock: type[FakeDate], tmp_path: Path
) -> None:
    injector = opened(kind)
    clock.days = list(DAYS)  # midnight passes at every look at the clock
    whole = Sweep(grid(injector), injector, tmp_path / "whole").run()
    clock.days = list(DAYS)
    first = Sweep(grid(injector), injector, tmp_path / "cut")
    stop = iter(range(3))

    class FakeKillError(Exception):
        pass

    def killed(_: object) -> None:
        if next(stop) == 2:
            raise FakeKillError

    with pytest.raises(FakeKillError):
        first.run(killed)
    clock.days = [DAYS[30]]
    resumed = Sweep(grid(injector), injector, tmp_path / "cut")
    assert run_date(tmp_path / "cut") == resumed.grid.date == DAYS[0]
    results = resumed.run()
    assert [r.key for r in results] == [r.key for r in whole]
    assert [r.reply for r in results] == [r.reply for r in whole]
    prompts = {t.request.prompt.text for t in resumed.planned}
    assert all(t.request.prompt.date == DAYS[0] for t in resumed.planned)
    assert prompts == {t.request.prompt.text for t in first.planned}


def test_another_date_that_is_asked_for_is_another_run(clock: type[FakeDate], tmp_path: Path) -> None:
    injector = opened("date")
    clock.days = [DAYS[0]]
    Sweep(grid(injector), injector, tmp_path).run()
    with pytest.raises(StoreMismatchError, match="date"):
        Sweep(grid(injector, date=DAYS[5]), injector, tmp_path).run()


def test_the_runs_prompts_are_of_the_day_of_its_vectors(clock: type[FakeDate], tmp_path: Path) -> None:
    injector = opened("date")
    clock.days = [DAYS[0]]
    made = grid(injector)
    clock.days = [DAYS[1]]
    assert made.day == DAYS[0]
    assert Sweep(made, injector, tmp_path).planned[0].request.prompt.date == DAYS[0]


def test_a_template_without_a_clock_makes_the_same_run_on_any_day(clock: type[FakeDate], tmp_path: Path) -> None:
    model, tokenizer = tiny_model("llama")
    injector = TorchInjector.open(model, tokenizer=tokenizer)
    clock.days = [DAYS[0]]
    one = Sweep(grid(injector), injector, tmp_path / "one")
    clock.days = [DAYS[40]]
    other = Sweep(grid(injector), injector, tmp_path / "other")
    assert [t.key for t in one.planned] == [t.key for t in other.planned]
    assert {v.provenance.date for v in one.grid.vectors} == {None}


def test_vectors_of_other_prompts_are_not_taken_for_the_runs_own(clock: type[FakeDate], tmp_path: Path) -> None:
    injector = opened("date")
    clock.days = [DAYS[0]]
    Sweep(grid(injector), injector, tmp_path).run()
    clock.days = [DAYS[1]]
    others = extract(injector, CONCEPTS, [1], baseline=["Desks", "Clouds"])
    changed = Grid(
        others, tuple(CONCEPTS), [1.0], "residual", trials=2, controls=2, sampling=Sampling(max_new_tokens=3)
    )
    kept = Sweep(changed, injector, tmp_path).grid.vectors
    assert kept[0].digest == others[0].digest
    assert np.array_equal(kept[0].values, others[0].values)


def test_a_toml_file_may_state_the_date_and_resumes_with_the_runs(clock: type[FakeDate], tmp_path: Path) -> None:
    folder = save_tiny_model("llama", tmp_path / "model")
    template = folder / "chat_template.jinja"
    template.write_text(CLOCKS["date"] + template.read_text())
    text = f"""
        directory = "run"
        [model]
        name = "{folder}"
        [concepts]
        set = "pairs"
        names = ["love"]
        [grid]
        layers = [1]
        magnitudes = [1.0]
        unit = "residual"
        trials = 1
        controls = 1
        date = %s
        [sampling]
        max_new_tokens = 2
    """
    (tmp_path / "s.toml").write_text(text % "2026-11-27")
    spec = SweepSpec.from_toml(tmp_path / "s.toml")
    with spec.open_injector() as injector:
        made = spec.build_grid(injector, spec.concept_set())
        assert (made.date, made.vectors[0].provenance.date) == (DAYS[2], "2026-11-27")
        Sweep(made, injector, spec.directory).run()
        (tmp_path / "s.toml").write_text(text.replace("date = %s", ""))
        again = SweepSpec.from_toml(tmp_path / "s.toml")
        assert again.build_grid(injector, spec.concept_set()).vectors == made.vectors
    for wrong in ('"2026-11-27"', "2026-11-27T10:00:00", "5"):
        (tmp_path / "s.toml").write_text(text % wrong)
        with pytest.raises(SpecError, match="date"):
            SweepSpec.from_toml(tmp_path / "s.toml")


def test_a_damaged_date_in_a_store_is_a_store_error(clock: type[FakeDate], tmp_path: Path) -> None:
    import sqlite3

    injector = opened("date")
    Sweep(grid(injector), injector, tmp_path).run()
    with sqlite3.connect(tmp_path / "store.sqlite") as connection:
        connection.execute("UPDATE meta SET value = json_set(value, '$.grid.date', 'soon') WHERE key = 'spec'")
    connection.close()
    with pytest.raises(StoreError, match="date"):
        Sweep(grid(injector), injector, tmp_path)
