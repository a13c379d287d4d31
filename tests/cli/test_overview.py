"""The commands runs and status, and going on by a run's own store."""

from __future__ import annotations

import json
import shlex
import shutil

from cli_samples import command, write_sweep

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


def test_a_run_directory_takes_no_key_of_another_design(place):
    refused = command("run", "run", "design.arms.injected.n=9", cwd=place, check=False)
    assert "no KEY=VALUE" in refused.stderr
