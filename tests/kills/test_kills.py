"""Whatever moment a process is killed at: nothing that it said was recorded is lost, and the same command finishes."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
from multiprocessing import forkserver
from pathlib import Path

import pytest
from kill_child import in_child

from introspection_bench.interop import read_results
from introspection_bench.sweep import Store
from introspection_bench.testing import save_tiny_model

CONTEXT = multiprocessing.get_context("forkserver")
#: How many processes are killed; ``make torture`` asks for 200.
KILLS = int(os.environ.get("IB_KILLS", "20"))
#: What draws the points: another number, other points.
SEED = int(os.environ.get("IB_KILL_SEED", "0"))
STAGES = ("run", "judge", "import", "report")


class Place:
    """A model folder, and for each stage a directory as it is before the stage and as it is after it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = save_tiny_model("llama", folder / "model")
        self.points: dict[str, int] = {}
        (folder / "before run").mkdir()
        self._finish("run", "before run")
        shutil.copytree(folder / "after run", folder / "before judge")
        self._finish("judge", "before judge")
        shutil.copytree(folder / "after judge", folder / "before report")
        self._finish("report", "before report")
        shutil.copy(folder / "after report" / "all.jsonl", folder / "all.jsonl")
        (folder / "before import").mkdir()
        self._finish("import", "before import")

    def _finish(self, stage: str, before: str) -> None:
        directory = self.folder / f"after {stage}"
        shutil.copytree(self.folder / before, directory)
        code, told = self.child(stage, directory, ("never", 0))
        assert code == 0
        self.points[stage] = int(told[-1].split()[1])

    def child(self, stage: str, directory: Path, kill: tuple[str, int]) -> tuple[int, list[str]]:
        log = directory.with_name(f"{directory.name}.log")
        log.unlink(missing_ok=True)
        process = CONTEXT.Process(target=in_child, args=(stage, self.model, directory, log, kill))
        process.start()
        process.join()
        return process.exitcode, log.read_text().splitlines()

    def draw(self, stage: str, chance: random.Random) -> tuple[str, int]:
        if chance.random() < 0.5:
            return "point", chance.randint(1, self.points[stage])
        size = max(p.stat().st_size for p in (self.folder / f"after {stage}").rglob("*") if p.is_file())
        return "byte", chance.choice([chance.randint(1, size), chance.randint(1, 20_000)])


@pytest.fixture(scope="module")
def place():
    with pytest.MonkeyPatch.context() as patch:
        # A child starts in milliseconds: the fork server has imported everything.
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        CONTEXT.set_forkserver_preload(["kill_child"])
        forkserver.ensure_running()
    # In memory where that is a folder: a killed process loses none of it, and waiting for a disk is most of the time.
    memory = Path("/dev/shm")  # noqa: S108  # a fresh folder of a random name is made in it
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Place(Path(folder))


def contents(directory: Path):
    """Every trial with its verdicts, by key; nothing where no run is begun."""
    if not Store.is_begun(directory):
        return {}
    with Store.open(directory) as store:
        records = store.records()
        assert {r.key.digest for r in records} <= set(store.planned())
    found = {r.key.digest: r for r in records}
    assert len(found) == len(records)
    return found


def assert_nothing_lost(stage, before, now, told) -> None:
    for key, record in before.items():
        assert now[key].reply == record.reply
        assert set(record.verdicts) <= set(now[key].verdicts)
    if stage == "run":
        assert {t for t in told if not t.startswith("points")} <= now.keys()
    if stage == "judge":
        assert sum(len(r.verdicts) for r in now.values()) >= told.count("verdict")
    if stage == "import":
        assert now == {} or all(r.verdicts for r in now.values())


@pytest.mark.parametrize("number", range(KILLS))
def test_a_process_killed_at_a_random_point_leaves_a_run_that_opens_and_goes_on_without_loss(place, number):
    chance = random.Random(f"{SEED} {number}")  # noqa: S311  # repeatable, not secret
    stage = STAGES[number % len(STAGES)]
    directory = place.folder / f"killed {number}"
    shutil.copytree(place.folder / f"before {stage}", directory)
    old = {p.name: p.read_bytes() for p in directory.iterdir() if p.suffix in (".html", ".jsonl", ".json")}
    before = contents(directory)
    for _ in range(chance.choice([1, 1, 2, 3])):
        kill = place.draw(stage, chance)
        if stage == "import" and contents(directory):
            break
        code, told = place.child(stage, directory, kill)
        assert code in (0, -signal.SIGKILL, -signal.SIGXFSZ), kill
        now = contents(directory)
        assert_nothing_lost(stage, before, now, told)
        before = now
    whole = place.folder / f"after {stage}"
    for name in ("report.html", "all.jsonl"):
        if (directory / name).exists():
            assert (directory / name).stat().st_size in {
                len(old.get(name, b"")),
                (whole / name).stat().st_size,
            }, f"half a {name}"
    if (directory / "manifest.json").exists():  # one session for each process that got so far
        written = json.loads((directory / "manifest.json").read_bytes())["sessions"]
        with Store.open(directory) as store:
            assert [s["id"] for s in written] == [s.id for s in store.sessions()][: len(written)]
    if stage != "import" or not before:
        assert place.child(stage, directory, ("never", 0))[0] == 0
    assert contents(directory) == contents(whole)
    assert {p.name for p in directory.iterdir() if not p.name.startswith(".")} >= {p.name for p in whole.iterdir()}
    if stage == "report":
        assert read_results(directory / "all.jsonl").records == read_results(whole / "all.jsonl").records
