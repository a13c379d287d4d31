"""The cluster examples: the Slurm scripts on a fake Slurm with a tiny model, the SkyPilot file by its own loader."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from cli_samples import write_sweep
from fake_slurm import FakeSlurm

CLUSTER = Path(__file__).parents[2] / "examples" / "cluster"
#: A folder with SkyPilot in it, installed apart: pip install --target FOLDER skypilot.
SKYPILOT = os.environ.get("IB_SKYPILOT", "")


@pytest.fixture
def slurm():
    with tempfile.TemporaryDirectory() as folder:  # short: a socket's address has a hundred characters
        yield FakeSlurm(Path(folder))


@pytest.mark.parametrize("script", sorted(CLUSTER.glob("*.s[bh]*")), ids=lambda path: path.name)
def test_each_script_is_bash(script):
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


def test_the_slurm_jobs_prepare_run_two_shards_each_and_merge_them_to_a_report(slurm, tmp_path):
    folder = write_sweep(tmp_path)
    done = slurm.run("bash", str(CLUSTER / "submit.sh"), "sweep.toml", "runs/x", "2", cwd=folder)
    assert done.returncode == 0, done.stdout
    assert "prepare 101, shards 102, merge 103" in done.stdout
    assert [words[0] for words in slurm.commands] == ["run", "run", "run", "merge", "report"]
    assert "20 of 20 planned trials recorded; added 20 trials, 20 verdicts" in " ".join(done.stdout.split())
    assert (folder / "runs" / "x" / "report.html").exists()


def test_when_preparing_fails_no_shard_and_no_merge_is_run(slurm, tmp_path):
    folder = write_sweep(tmp_path)
    shutil.rmtree(folder / "model")
    slurm.run("bash", str(CLUSTER / "submit.sh"), "sweep.toml", "runs/x", "2", cwd=folder)
    assert [words[3:5] for words in slurm.commands] == [["runs/x.prepared", "--progress"]]


LOADED = """
import sys
from sky.utils import dag_utils
dag = dag_utils.load_chain_dag_from_yaml(sys.argv[1])
print([(task.name, task.num_nodes, sorted(task.storage_mounts)) for task in dag.tasks])
"""


@pytest.mark.skipif(not SKYPILOT, reason="SkyPilot stands apart: IB_SKYPILOT=FOLDER of pip install --target FOLDER")
def test_skypilots_own_loader_reads_the_pipeline_of_three_tasks():
    told = subprocess.run(
        [sys.executable, "-c", LOADED, CLUSTER / "sky.yaml"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": SKYPILOT, "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"},
    )
    assert told.stdout.splitlines()[-1] == (
        "[('prepare', 1, ['/runs']), ('shards', 4, ['/runs']), ('merge', 1, ['/runs'])]"
    )
