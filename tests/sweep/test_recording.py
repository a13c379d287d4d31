"""Trials that end faster than a disk takes them are recorded together, and none is lost by that."""

from __future__ import annotations

from pathlib import Path

import pytest

from introspection_bench.injectors.torch.injector import TorchInjector
from introspection_bench.sweep import Design, Sweep, generating
from introspection_bench.sweep.store import Store


class FakeFullDiskError(Exception):
    """What ends a run."""


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many trials each transaction recorded, of a run that counts as fast."""
    monkeypatch.setattr(generating, "_FAST_FROM", 0)
    monkeypatch.setattr(generating, "_FAST_PER_S", 0)
    sizes: list[int] = []
    real = Store.record_all

    def record_all(store: Store, records: list) -> None:
        sizes.append(len(records))
        real(store, records)

    monkeypatch.setattr(Store, "record_all", record_all)
    return sizes


def test_a_fast_run_records_several_trials_a_transaction_and_tells_of_each_once(
    injector: TorchInjector, design: Design, tmp_path: Path, together: list[int]
) -> None:
    told: list[str] = []
    Sweep(design, injector, tmp_path).generate(lambda record: told.append(record.key.digest))
    with Store.open(tmp_path) as store:
        assert sorted(told) == sorted(store.recorded())
    assert together == [26]


def test_what_had_ended_is_recorded_when_a_fast_run_is_stopped(
    injector: TorchInjector, design: Design, tmp_path: Path, together: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = TorchInjector._generate

    def cut(self: TorchInjector, requests: list):
        for number, completion in enumerate(real(self, requests)):
            if number == 7:
                raise KeyboardInterrupt
            yield completion

    monkeypatch.setattr(TorchInjector, "_generate", cut)
    with pytest.raises(KeyboardInterrupt):
        Sweep(design, injector, tmp_path).generate()
    with Store.open(tmp_path) as store:
        assert len(store.recorded()) == 7
    assert together == [7]


def test_a_slow_run_records_each_trial_at_once(
    injector: TorchInjector, design: Design, tmp_path: Path, together: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generating, "_FAST_PER_S", 1e9)
    Sweep(design, injector, tmp_path).generate()
    assert together == [1] * 26
