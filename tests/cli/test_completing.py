"""The shell completes the names that options and arguments take, asked as a shell asks."""

from __future__ import annotations

import pytest

from introspection_bench.cli import app
from introspection_bench.errors import PluginError


@pytest.mark.parametrize(
    ("typed", "found", "not_found"),
    [
        ("judge run --judge ", {"rules", "claude", "panel"}, {"torch"}),
        ("judge run --judge cl", {"claude"}, {"chat"}),
        ("judge run --judge rules --rubric st", {"strict4", "strict5", "stages2"}, {"lenient"}),
        ("table run --format ", {"text", "markdown", "latex", "csv"}, set()),
        ("status run --format ", {"table", "json"}, set()),
        ("run sweep.toml --backend v", {"vllm", "vllm-lens"}, {"torch"}),
        ("run --protocol macar", {"macar2026", "macar2026/forced"}, {"lindsey2026"}),
        ("run --experiment lo", {"localisation"}, set()),
        ("run sweep.toml judge.name=ru", {"judge.name=rules"}, set()),
        ("run sweep.toml design.sc", {"design.scaffolds="}, {"judge.name="}),
        ("run sweep.toml design.scaffolds=", {'design.scaffolds=["lindsey"]'}, set()),
        ("try demo --concept Oc", {"Oceans"}, {"Bread"}),
        ("try demo --concepts pairs --concept ", {"love", "all_caps"}, {"Oceans"}),
        ("concepts l", {"lindsey2026", "latent2026"}, {"pairs"}),
        ("protocols diff lindsey2026 le", {"lederman2026"}, set()),
        ("experiments show inj", {"injected_thoughts"}, set()),
        ("check n", {"nnsight"}, {"torch"}),
    ],
)
def test_a_tab_offers_the_names_that_fit_and_no_others(monkeypatch, capsys, typed, found, not_found):
    offered = asked(typed, monkeypatch, capsys)
    assert found <= offered
    assert not offered & not_found
    last = typed.rpartition(" ")[2]
    assert all(name.startswith(last) for name in offered)


def test_a_tab_says_nothing_where_a_plugin_is_broken(monkeypatch, capsys):
    def broken(*_):
        raise PluginError("two of one name")

    monkeypatch.setattr("introspection_bench.plugins.registered", broken)
    assert asked("check n", monkeypatch, capsys) == set()


def asked(typed, monkeypatch, capsys):
    words = f"introspection-bench {typed}"
    monkeypatch.setenv("_INTROSPECTION_BENCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    with pytest.raises(SystemExit):
        app(prog_name="introspection-bench")
    return set(capsys.readouterr().out.split("\n")) - {""}
