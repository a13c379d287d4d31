"""A backend by a third party: installed from its own package, found by its name, and held to the same suite."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from introspection_bench.testing import CHECKS
from tests.conftest import ROOT

PLUGIN = ROOT / "examples" / "plugin_backend"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The example, built and installed into a folder of its own; pip fetches nothing."""
    source = shutil.copytree(PLUGIN, tmp_path_factory.mktemp("source") / "plugin")
    target = tmp_path_factory.mktemp("target")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", target, source], check=True)
    return target


def run(installed, *command):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_an_installed_plugin_passes_the_suite_under_its_registered_name(installed):
    done = run(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", PLUGIN / "tests", "-c", os.devnull)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert f"{len(CHECKS)} passed" in done.stdout


def test_without_the_installation_its_name_is_unknown_and_the_error_lists_what_is_known():
    code = "from introspection_bench import open_injector; open_injector('recompute', 'model')"
    done = run(os.devnull, "-c", code)
    assert "UnknownNameError" in done.stderr
    assert "torch" in done.stderr


def test_an_option_that_the_plugin_does_not_have_is_an_error_that_names_it(installed):
    code = "from introspection_bench import open_injector; open_injector('recompute', None, colour=3)"
    done = run(installed, "-c", code)
    assert "PluginError" in done.stderr
    assert "colour" in done.stderr
