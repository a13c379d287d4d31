"""What info prints for a bug report."""

from __future__ import annotations

from importlib.metadata import version

from cli_samples import command

import introspection_bench


def test_info_says_versions_backends_and_plugins_and_of_keys_only_whether_they_are_set(tmp_path, monkeypatch):
    secrets = {"ANTHROPIC_API_KEY": "sk-ant-hushhush", "OPENAI_BASE_URL": "https://me:hushhush@example.org/v1"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("INTROSPECTION_BENCH_CACHE", str(tmp_path / "kept"))
    shown = command("info", cwd=tmp_path).stdout
    assert f"introspection-bench {introspection_bench.__version__}, code " in shown
    assert f"transformers {version('transformers')}" in shown
    assert "ANTHROPIC_API_KEY set: yes" in shown
    assert "OPENAI_API_KEY set: no" in shown
    assert "hushhush" not in shown
    assert f"cache {tmp_path / 'kept'} (not made yet)" in shown
    for name in ("torch", "nnsight", "rules", "claude"):
        assert f" {name} " in shown
