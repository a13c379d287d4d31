"""The commands runs and status, and going on by a run's own store."""

from __future__ import annotations

import json
import shlex
import shutil

from cli_samples import command, write_sweep

from introspection_bench.cli import console
from introspection_bench.interop import read_results


def test_runs_lists_each_run_with_successes_and_controls_side_by_side_and_a_damaged_one_with_its_reason(
    place, tmp_path
):
    shutil.copytree(place / "run", tmp_path / "all" / "deep" / "fine")
    (tmp_path / "all" / "broken").mkdir(parents=True)
    (tmp_path / "all" / "broken" / "store.sqlite").write_bytes(b"nothing of ours")
    broken, fine = json.loads(command("runs", "all", "--format", "json", cwd=tmp_path).stdout)
    assert broken["run"] == "all/broken"
    assert "broken" in broken["error"]
    assert (fine["model"], fine["spec"], fine["planned"], fine["recorded"], fine["judged"]) == (
        "model",
        "lindsey",
        20,
        20,
        20,
    )
    frame = read_results(place / "run").frame()
    hits = {arm: int(frame.loc[frame["arm"] == arm, "strict"].sum()) for arm in ("injected", "control")}
    assert fine["headline"] == f"strict (rules): control {hits['control']}/4, injected {hits['injected']}/8"
    shown = command("runs", "all", cwd=tmp_path).stdout
    assert "2 runs in all" in shown
    assert fine["headline"] in " ".join(shown.split())  # broken over lines in a narrow terminal


def test_view_lists_what_runs_does_and_keeps_the_page_up_to_date_until_nothing_is_left(place, tmp_path, monkeypatch):
    shutil.copytree(place / "run", tmp_path / "all" / "fine")
    words = ("view", "all", "--no-browser")
    assert command(*words, "--watch", cwd=tmp_path).stdout == "all/index.html\n"  # all are finished
    page = (tmp_path / "all" / "index.html").read_text()
    listed = json.loads(command("runs", "all", "--format", "json", cwd=tmp_path).stdout)[0]
    assert all(part in page for part in (listed["headline"].split(", ")[-1], "20/20", 'href="fine/report.html"'))

    folder = write_sweep(tmp_path / "all")
    command("run", "sweep.toml", "--limit", "3", "--no-judge", "--progress", "none", cwd=folder)
    assert "1 not finished; --watch" in command(*words, cwd=tmp_path).stderr

    class FakeClock(console.Clock):
        def wait(self, stop, seconds):
            monkeypatch.undo()
            command("run", "run", "--progress", "none", cwd=folder)

    monkeypatch.setattr(console, "clock", FakeClock())
    command(*words, "--watch", cwd=tmp_path)
    assert (tmp_path / "all" / "index.html").read_text().count("20/20") == 2


def test_runs_of_a_folder_without_any_is_an_error(tmp_path):
    assert "a folder with runs" in command("runs", ".", cwd=tmp_path, check=False).stderr


def test_the_command_that_status_names_goes_on_with_the_run_until_nothing_is_left(tmp_path):
    folder = write_sweep(tmp_path)
    words = ("--limit", "3", "--no-judge", "--directory", "my run", "--progress", "none")
    few = command("run", "sweep.toml", *words, cwd=folder).stderr
    assert "Smoke test: 3 trials now" in few
    assert "trials:" not in few
    (folder / "sweep.toml").unlink()
    for recorded, go_on in ((3, "introspection-bench run 'my run'"), (20, None)):
        told = json.loads(command("status", "my run", "--format", "json", cwd=folder).stdout)
        assert (told["recorded"], told["go_on"]) == (recorded, go_on)
        assert sum(cell["recorded"] for cell in told["cells"]) == recorded
        if go_on is not None:
            assert f"go on: {go_on}" in command("status", "my run", cwd=folder).stdout
            command(*shlex.split(go_on)[1:], cwd=folder)
    assert told["judged"] == {"rules/strict4/1": 20}


def test_a_run_that_asks_on_by_what_it_saw_goes_on_by_its_directory_alone(tmp_path):
    folder = write_sweep(tmp_path)
    text = (folder / "sweep.toml").read_text().replace("[design.arms.random]\nn = 8\n", "")
    text = text.replace('doses = ["0.5 residual"]', 'doses = ["0.1 residual", "1 residual"]')
    (folder / "sweep.toml").write_text(f"{text}\n[search]\ntrials = 6\nbatch = 3\nsteps = 5\n")
    command("run", "sweep.toml", "--limit", "2", "--no-judge", "--progress", "none", cwd=folder)
    (folder / "sweep.toml").unlink()
    refused = command("run", ".", cwd=folder, check=False)
    assert "got a folder with 1 run. Name one of them: run;" in refused.stderr
    command("run", "run", "--progress", "none", cwd=folder)
    told = json.loads(command("status", "run", "--format", "json", cwd=folder).stdout)
    assert told["recorded"] == told["planned"] > 2
    assert told["judged"] == {"rules/strict4/1": told["recorded"]}
    again = command("run", "run", "--progress", "none", cwd=folder)
    assert f"{told['recorded']} trials planned, {told['recorded']} recorded" in again.stderr


def test_a_run_directory_takes_no_key_of_another_design(place):
    refused = command("run", "run", "design.arms.injected.n=9", cwd=place, check=False)
    assert "no KEY=VALUE" in refused.stderr
