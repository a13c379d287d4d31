"""Tiny models as folders, which the training command takes, and what it is given with them."""

import pytest

from introspection_bench.testing.tiny import save_tiny_model

#: Words that are neither held out nor in the baseline.
WORDS = ("kiosk", "zither", "ferry", "lantern")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """Returns the folder of a tiny random model of an architecture."""
    made = {}

    def folder(architecture):
        if architecture not in made:
            made[architecture] = save_tiny_model(architecture, tmp_path_factory.mktemp(architecture))
        return made[architecture]

    return folder


@pytest.fixture
def words_file(tmp_path):
    """Returns a file of a few training words."""
    path = tmp_path / "words.txt"
    path.write_text("\n".join(WORDS))
    return path
