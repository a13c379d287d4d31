"""Signs of life where the output is no terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import attrs
import pytest
import transformers.modeling_gguf_pytorch_utils as gguf
from cli_samples import command, write_sweep
from transformers.utils import logging

from introspection_bench.cli import console
from introspection_bench.cli.weights import tell_of_weights
from introspection_bench.judges.registry import open_judge
from introspection_bench.sweep import Store
from introspection_bench.sweep.judging import case_maker

GATED = Path(__file__).parent / "gated_command.py"


class FakeClock:
    """Time passes only while something waits for it: ``beats`` waits run out, the next ones last until the stop."""

    def __init__(self, beats: int) -> None:
        self.time, self.beats = 0.0, beats
        self.ran_out = threading.Event()

    def now(self) -> float:
        return self.time

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        if self.beats:
            self.beats -= 1
            self.time += seconds
            return False
        self.ran_out.set()
        return stop.wait()


@pytest.fixture
def clock(monkeypatch):
    fake = FakeClock(beats=2)
    monkeypatch.setattr(console, "clock", fake)
    return fake


def test_a_phase_says_that_it_begins_how_far_it_is_every_thirty_seconds_and_that_it_is_done(clock, capsys):
    with console.working("Judging") as phase:
        counted = phase.count("judged")
        counted(None)
        counted(None)
        assert clock.ran_out.wait()
        clock.time = 75.0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Judging …"
    assert lines[1].startswith("Judging: 30 s")
    assert lines[2].startswith("Judging: 60 s")
    assert lines[3:] == ["Judging: 75 s, 2 judged"]


def test_a_run_says_trials_cells_where_it_is_tokens_per_second_and_time_left(clock, capsys, place):
    with Store.open(place / "run") as store:
        record, case_of = store.records()[0], case_maker(store)
    clock.beats = 0
    with console.run_view(100, [record] * 40, [record.condition.cell] * 60, case_of) as view:
        for _ in range(20):
            view.on_trial(record)
        clock.time = 30.0
    tokens = 20 * len(record.reply.token_ids) / 30
    assert capsys.readouterr().err.splitlines() == [
        "trials: 40 of 100, cells: 0 of 1, 0.0 tokens/s, time left not known yet",
        f"trials: 60 of 100, cells: 0 of 1 (at {record.condition.cell}), {tokens:.1f} tokens/s, about 1 min 0 s left",
    ]


def test_within_a_batch_the_line_and_the_bar_move_by_tokens_of_unfinished_replies(clock, place):
    with Store.open(place / "run") as store:
        record, case_of = store.records()[0], case_maker(store)
    length = len(record.reply.token_ids)
    shown = []
    view = console.RunView(10, [record] * 2, [record.condition.cell] * 8, case_of, show=shown.append)
    view.trials.longest = 2 * length
    for _ in range(length):
        view.on_tokens(4)
    clock.time = 10.0
    assert view.trials.position == 2 + 4 / 2
    assert view.describe() == f"trials: 2 of 10, cells: 0 of 1, {4 * length / 10:.1f} tokens/s, about 30 s left"
    for _ in range(4):
        view.on_trial(record)
    assert view.trials.position == 6
    assert f"{4 * length / 10:.1f} tokens/s" in shown[-1]


def test_a_run_hears_of_each_step_of_its_batches(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(console.RunView, "on_tokens", lambda view, count: told.append(count))
    command("run", "sweep.toml", "--no-judge", "--limit", "4", cwd=write_sweep(tmp_path))
    with Store.open(tmp_path / "run") as store:
        assert sum(told) == sum(len(record.reply.token_ids) for record in store.records())
    assert len(told) > 1


def test_opening_and_planning_say_how_many_weights_are_loaded_and_prompts_read(tmp_path):
    done = command("run", "sweep.toml", "--no-judge", "--limit", "1", cwd=write_sweep(tmp_path))
    for phase, what in [("Opening", "Loading weights"), ("Vectors and plan", "extraction prompts read")]:
        (line,) = [line for line in done.stderr.splitlines() if re.match(rf"{phase}.*: \d+ s", line)]
        read, of = re.search(rf"{what}: (\d+) of (\d+)$", line).groups()
        assert int(read) == int(of) > 1


def test_a_gguf_file_that_is_made_weights_of_shows_no_bar_of_tqdm_and_tells_the_phase(monkeypatch, capsys):
    monkeypatch.setattr(gguf, "tqdm", gguf.tqdm)
    for name, value in [("_tqdm_active", False), ("_tqdm_hook", None)]:
        monkeypatch.setattr(logging, name, value)
    tell_of_weights(console._progress.tell)
    with console.working("Opening") as phase:
        assert list(gguf.tqdm([7, 8, 9], desc="Converting and de-quantizing GGUF tensors...")) == [7, 8, 9]
        assert phase.note == "Converting and de-quantizing GGUF tensors: 3 of 3"
    gguf.tqdm([1], desc="no phase")
    assert capsys.readouterr().err.splitlines()[0] == "Opening …"


def test_progress_none_says_only_what_was_done_and_lasts_for_no_other_command(place):
    words = ("judge", "run", "--judge", "rules")
    silent = command(*words, "--progress", "none", cwd=place)
    assert "0 judged, 0 unscored, 20 there already" in silent.stdout
    assert silent.stderr == ""
    assert "Judging with rules …" in command(*words, cwd=place).stderr


def test_bars_are_refused_where_they_would_fill_a_file_with_control_characters(place):
    refused = command("run", "sweep.toml", "--progress", "rich", cwd=place, check=False)
    assert refused.returncode == 1
    assert "a terminal on stderr" in refused.stderr


def test_the_live_view_counts_as_affirmative_what_the_judging_stage_will_store(place):
    with Store.open(place / "run") as store:
        records, case_of = store.records(), case_maker(store)
    # Answers that only their question makes a claim of: "Yes." to "Do you detect an injected thought?"
    texts = ["Yes.", "No.", "Yes, I do.", "I detect an injected thought.", "Not really.", "Yes"] * 4
    records = [attrs.evolve(r, reply=attrs.evolve(r.reply, text=t)) for r, t in zip(records, texts, strict=False)]
    stored = [v.answer("affirmative") for _, v in open_judge("rules").judge([case_of(r) for r in records])]
    assert stored.count(True) == 13
    shown = []
    view = console.RunView(20, records[:8], [r.condition.cell for r in records[8:]], case_of, shown.append)
    for record in records[8:]:
        view.on_trial(record)
    counted = re.findall(r"(\d+)/(\d+)", shown[-1].rpartition(":")[2])
    assert sum(int(affirmed) for affirmed, _ in counted) == stored.count(True)
    assert sum(int(seen) for _, seen in counted) == len(records)


def test_a_phase_that_fails_says_nothing_more_and_leaves_no_thread(clock):
    with pytest.raises(ValueError, match="no"), console.working("Judging"):
        raise ValueError("no")
    assert "signs of life" not in [t.name for t in threading.enumerate()]


@pytest.mark.slow
def test_the_lines_reach_a_pipe_while_the_command_still_works(tmp_path):
    folder = write_sweep(tmp_path)
    with subprocess.Popen(
        [sys.executable, GATED, "3", "run", "sweep.toml"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            # It waits for us, so whatever is read here was written before it ended.
            assert process.stdout.readline() == "recorded\n"
            lines = [process.stderr.readline() for _ in range(8)]
        finally:
            process.kill()
    told = "".join(lines)
    assert "Opening" in told
    assert "Vectors and plan" in told
    assert "trials: 0 of 20" in told
