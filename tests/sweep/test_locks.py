"""One process at a time where two would do the same work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from platform import node

import pytest

from introspection_bench.errors import IntrospectionBenchWarning, RunLockedError, StoreError
from introspection_bench.judges.registry import open_judge
from introspection_bench.sweep import Store, Sweep, judge_run, locks
from introspection_bench.sweep.generating import generating
from introspection_bench.sweep.judging import _judging

HOLDER = """
import sys
from introspection_bench.sweep.locks import hold
with hold(sys.argv[1], "generate", "generates"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that generates in the directory "run" until it is ended."""
    command = [sys.executable, "-c", HOLDER, tmp_path / "run"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_second_process_is_told_which_one_is_at_work_and_since_when(other, design, injector, tmp_path):
    with pytest.raises(RunLockedError, match=rf"process {other.pid} on {node()}, since 20\d\d-.*the lock goes with it"):
        Sweep(design, injector, tmp_path / "run").generate()
    assert not Store.is_begun(tmp_path / "run")


def test_a_lock_goes_with_a_killed_process_though_its_file_stays(other, design, injector, tmp_path):
    other.kill()
    other.wait()
    assert (tmp_path / "run" / ".generate.lock").exists()
    assert len(Sweep(design, injector, tmp_path / "run").generate()) == 26
    assert not (tmp_path / "run" / ".generate.lock").exists()


def test_a_run_can_be_read_and_judged_while_another_process_generates(other, design, injector, tmp_path):
    with Sweep(design, injector, tmp_path / "run").open_store() as store:
        assert store.records() == []
        assert judge_run(store, "rules").judged == 0


def test_one_judge_judges_a_run_once_at_a_time_and_another_judge_beside_it(design, injector, tmp_path):
    sweep = Sweep(design, injector, tmp_path / "run")
    sweep.generate()
    with Store.open(sweep.directory) as store:
        with (
            _judging(store, open_judge("rules"), "answer", "own"),
            pytest.raises(RunLockedError, match="judges by rules"),
        ):
            judge_run(store, "rules")
        with _judging(store, open_judge("rules", rubric="paper2"), "answer", "own"):
            assert judge_run(store, "rules").judged == 26


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"process": 1}', b"\xff", b"{}" * 9999])
def test_what_stands_in_a_left_lock_file_does_not_matter(tmp_path, content):
    (tmp_path / ".generate.lock").write_bytes(content)
    with generating(tmp_path):
        assert json.loads((tmp_path / ".generate.lock").read_text())["process"] == os.getpid()
        (tmp_path / ".generate.lock").write_bytes(content)
        with pytest.raises(RunLockedError, match="another process"), generating(tmp_path):
            pass


def test_a_lock_whose_file_was_deleted_is_taken_again_or_the_work_stops(tmp_path):
    with generating(tmp_path) as lock:
        (tmp_path / ".generate.lock").unlink()
        lock.check()
        with pytest.raises(RunLockedError), generating(tmp_path):
            pass
        (tmp_path / ".generate.lock").unlink()
        with generating(tmp_path), pytest.raises(RunLockedError, match=f"process {os.getpid()}"):
            lock.check()


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda p: os.symlink("/etc/hostname", p)])
def test_something_else_in_the_place_of_the_lock_file_is_an_error_and_stays(tmp_path, make):
    make(tmp_path / ".generate.lock")
    with pytest.raises(StoreError, match="lock"), generating(tmp_path):
        pass
    assert os.path.lexists(tmp_path / ".generate.lock")


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(locks.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with pytest.warns(IntrospectionBenchWarning, match="no other process generates"), generating(tmp_path):
        pass
