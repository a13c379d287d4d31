from __future__ import annotations

import pytest
from cli_samples import command, write_sweep


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder in which a sweep was run, judged and reported by one command."""
    folder = write_sweep(tmp_path_factory.mktemp("cli"))
    command("run", "sweep.toml", cwd=folder)
    return folder
