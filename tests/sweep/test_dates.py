"""A chat template that prints the date: one date a run, whatever the clock does."""

from __future__ import annotations

import datetime
from pathlib import Path

import attrs
import numpy as np
import pytest

from introspection_bench.concepts import Concept, ConceptSet, Pair
from introspection_bench.errors import SpecError, StoreError, StoreMismatchError
from introspection_bench.extraction import extract
from introspection_bench.injectors.torch.injector import TorchInjector
from introspection_bench.sweep import Design, Injected, RandomVector, RunSpec, Store, Sweep, Unsteered
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
DESIGN = Design(
    concepts=CONCEPTS,
    layers=[1],
    doses=["1 residual"],
    arms=[Unsteered(2), Injected(2), RandomVector(4)],
    sampling=Sampling(max_new_tokens=3),
)


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
    whole = Sweep(DESIGN, injector, tmp_path / "whole").generate()
    clock.days = list(DAYS)
    first = Sweep(DESIGN, injector, tmp_path / "cut")
    stop = iter(range(3))

    class FakeKillError(Exception):
        pass

    def killed(_: object) -> None:
        if next(stop) == 2:
            raise FakeKillError

    with pytest.raises(FakeKillError):
        first.generate(killed)
    clock.days = [DAYS[30]]
    resumed = Sweep(DESIGN, injector, tmp_path / "cut")
    with Store.open(tmp_path / "cut") as store:
        assert store.run_spec().design.date == resumed.design.date == DAYS[0]
    results = resumed.generate()
    assert [r.key for r in results] == [r.key for r in whole]
    assert [r.reply for r in results] == [r.reply for r in whole]
    prompts = {t.request.prompt.text for t in resumed.planned}
    assert all(t.request.prompt.date == DAYS[0] for t in resumed.planned)
    assert prompts == {t.request.prompt.text for t in first.planned}


def test_another_date_that_is_asked_for_is_another_run(clock: type[FakeDate], tmp_path: Path) -> None:
    injector = opened("date")
    clock.days = [DAYS[0]]
    Sweep(DESIGN, injector, tmp_path).generate()
    with pytest.raises(StoreMismatchError, match="date"):
        Sweep(attrs.evolve(DESIGN, date=DAYS[5]), injector, tmp_path).generate()


def test_the_runs_prompts_are_of_the_day_of_the_vectors_that_it_is_given(clock: type[FakeDate], tmp_path: Path) -> None:
    injector = opened("date")
    clock.days = [DAYS[0]]
    given = attrs.evolve(DESIGN, vectors=extract(injector, CONCEPTS, [1]))
    clock.days = [DAYS[1]]
    assert given.day == DAYS[0]
    assert Sweep(given, injector, tmp_path).planned[0].request.prompt.date == DAYS[0]


def test_a_template_without_a_clock_makes_the_same_run_on_any_day(clock: type[FakeDate], tmp_path: Path) -> None:
    model, tokenizer = tiny_model("llama")
    injector = TorchInjector.open(model, tokenizer=tokenizer)
    clock.days = [DAYS[0]]
    one = Sweep(DESIGN, injector, tmp_path / "one")
    clock.days = [DAYS[40]]
    other = Sweep(DESIGN, injector, tmp_path / "other")
    assert [t.key for t in one.planned] == [t.key for t in other.planned]
    assert {v.provenance.date for v in one.vectors} == {None}


def test_vectors_of_other_prompts_are_not_taken_for_the_runs_own(clock: type[FakeDate], tmp_path: Path) -> None:
    injector = opened("date")
    clock.days = [DAYS[0]]
    Sweep(DESIGN, injector, tmp_path).generate()
    clock.days = [DAYS[1]]
    others = attrs.evolve(CONCEPTS, baseline=["Desks", "Clouds"])
    kept = Sweep(attrs.evolve(DESIGN, concepts=others), injector, tmp_path).vectors
    expected = extract(injector, others, [1], date=DAYS[0])[0]
    assert kept[0].provenance.origin == expected.provenance.origin
    assert np.allclose(kept[0].values, expected.values, atol=1e-5)


def test_a_toml_file_may_state_the_date_and_resumes_with_the_runs(clock: type[FakeDate], tmp_path: Path) -> None:
    folder = save_tiny_model("llama", tmp_path / "model")
    template = folder / "chat_template.jinja"
    template.write_text(CLOCKS["date"] + template.read_text())
    text = f"""
        directory = "run"
        [model]
        name = "{folder}"
        [design]
        layers = [1]
        doses = ["1 residual"]
        date = %s
        [design.concepts]
        set = "pairs"
        names = ["love"]
        [design.arms.injected]
        n = 1
        [design.sampling]
        max_new_tokens = 2
    """
    (tmp_path / "s.toml").write_text(text % "2026-11-27")
    spec = RunSpec.from_toml(tmp_path / "s.toml")
    with spec.model.open() as injector:
        made = Sweep(spec.design, injector, str(spec.directory))
        assert (made.design.date, made.vectors[0].provenance.date) == (DAYS[2], "2026-11-27")
        made.generate()
        (tmp_path / "s.toml").write_text(text.replace("date = %s", ""))
        again = RunSpec.from_toml(tmp_path / "s.toml")
        assert [t.key for t in Sweep(again.design, injector, str(spec.directory)).planned] == [
            t.key for t in made.planned
        ]
    for wrong in ('"soon"', "2026-11-27T10:00:00", "5"):
        (tmp_path / "s.toml").write_text(text % wrong)
        with pytest.raises(SpecError, match="date"):
            RunSpec.from_toml(tmp_path / "s.toml")


def test_a_damaged_date_in_a_store_is_a_store_error(clock: type[FakeDate], tmp_path: Path) -> None:
    import sqlite3

    injector = opened("date")
    Sweep(DESIGN, injector, tmp_path).generate()
    with sqlite3.connect(tmp_path / "store.sqlite") as connection:
        connection.execute("UPDATE meta SET value = json_set(value, '$.design.date', 'soon') WHERE key = 'spec'")
    connection.close()
    with pytest.raises(StoreError, match="date"):
        Sweep(DESIGN, injector, tmp_path)
