from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing import forkserver
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "servers"))

from judging_services import FakeServices


@pytest.fixture
def services(monkeypatch):
    """A local service of its own for each test; the environment points nowhere else."""
    server = FakeServices()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret-0123456789")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-9876543210")
    for name in ("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL", "ANTHROPIC_CUSTOM_HEADERS"):
        monkeypatch.delenv(name, raising=False)
    yield server
    server.close()


@pytest.fixture(scope="module")
def fork_server():
    """A process that has imported everything, so that a child starts in milliseconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        multiprocessing.get_context("forkserver").set_forkserver_preload(["batch_child", "pytest"])
        forkserver.ensure_running()
