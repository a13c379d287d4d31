from __future__ import annotations

import sys
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
