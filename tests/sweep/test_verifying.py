"""Stored trials generated again and compared."""

from __future__ import annotations

import shutil
import sqlite3

import pytest

from introspection_bench.errors import SpecError
from introspection_bench.injectors.torch.injector import TorchInjector
from introspection_bench.sweep import Store, Sweep, verify_run
from introspection_bench.testing import save_tiny_model


@pytest.fixture(scope="module")
def run(design, injector, tmp_path_factory):
    made = tmp_path_factory.mktemp("verified") / "run"
    Sweep(design, injector, made).generate()
    return made


def altered(run, to, old, new):
    """A copy of a run in which every record has one text in the place of another."""
    shutil.copytree(run, to)
    with sqlite3.connect(to / "store.sqlite") as connection:
        found = connection.execute("UPDATE trials SET record = replace(record, ?, ?)", (old, new)).rowcount
    connection.close()
    assert found
    return to


def test_all_trials_of_a_run_come_out_as_recorded_and_its_store_stays_as_it_was(run, injector):
    before = (run / "store.sqlite").read_bytes()
    with Store.open(run) as store:
        found = verify_run(store, injector, sample=1000)
    assert len(found.trials) == found.recorded == 26
    assert found.different == ()
    assert str(found).startswith("26 of 26 trials came out as recorded")
    assert (run / "store.sqlite").read_bytes() == before


def test_a_sample_says_the_exact_bound_and_another_seed_draws_other_trials(run, injector):
    with Store.open(run) as store:
        one, other = (verify_run(store, injector, sample=10, seed=seed) for seed in (0, 1))
    assert [t.trial.key for t in one.trials] != [t.trial.key for t in other.trials]
    assert "at most 25.9 % differ" in str(one)  # 1 - 0.05 ** (1 / 10)


def test_a_reply_that_was_changed_is_found_with_the_first_token_that_differs(run, injector, tmp_path):
    with Store.open(run) as store:
        tokens = store.records()[0].reply.token_ids
    old, new = (f"[{','.join(map(str, told))}]" for told in (tokens, [*tokens[:-1], (tokens[-1] + 1) % 50]))
    with Store.open(altered(run, tmp_path / "run", old, new)) as store:
        (wrong,) = verify_run(store, injector, sample=26).different
    assert (wrong.differs_at, wrong.receipts) == (len(tokens) - 1, True)


def test_receipts_of_another_dose_are_found_though_the_replies_are_the_same(run, injector, tmp_path):
    with Store.open(altered(run, tmp_path / "run", '"mean_ratio":', '"mean_ratio":1')) as store:
        found = verify_run(store, injector, sample=26)
    assert len(found.different) == 20  # the injected ones
    assert {t.differs_at for t in found.different} == {None}


def test_another_model_is_refused(run, tmp_path):
    with (
        TorchInjector.open(str(save_tiny_model("llama", tmp_path / "other", seed=7)), device="cpu") as other,
        Store.open(run) as store,
        pytest.raises(SpecError, match="the run's model"),
    ):
        verify_run(store, other)
