"""What run --plan says of judging, and of what the run can exclude."""

from __future__ import annotations

import pytest
from cli_samples import command, write_sweep

JUDGES = """
[judge]
name = "claude"
options.model = "claude-opus-4-6"
[[also_judged]]
name = "panel"
options.judges = ["claude:claude-opus-4-6", {name = "chat", model = "x"}, "rules"]
options.rubric = "stages2"
[[also_judged]]
asked = "mismatched"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = write_sweep(tmp_path_factory.mktemp("plan"))
    (made / "judged.toml").write_text((made / "sweep.toml").read_text() + JUDGES)
    return made


def test_a_plan_says_what_a_null_of_its_trials_would_exclude(folder):
    one = 'design.concepts={set = "concepts.toml", names = ["Bread"]}'
    words = ("run", "sweep.toml", "--plan", one, "design.layers=[1, 2]", "design.arms.injected.n=20")
    shown = command(*words, cwd=folder).stdout
    pooled, cell = (100 * (1 - 0.025 ** (1 / n)) for n in (40, 20))  # Clopper-Pearson at no success
    assert f"All injected trials, 0 of 40: rates above {pooled:.3g} % are excluded on the one concept, Bread" in shown
    assert f"The smallest of the 2 cells, 0 of 20: rates above {cell:.3g} % are excluded on the one" in shown


def test_a_plan_says_both_estimands_where_concepts_are_several(folder):
    shown = command("run", "sweep.toml", "--plan", cwd=folder).stdout
    assert "0 of 8 on 2 concepts: of mean rates on these concepts, those above" in shown
    assert "Of mean rates over concepts like these" in shown


def test_a_plan_counts_the_calls_of_the_judge_and_of_further_verdicts_without_a_key(folder, monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    shown = command("run", "judged.toml", "--plan", cwd=folder).stdout
    assert "Judge claude: 20 calls to a model" in shown  # strict4 asks all in one call
    assert "Judge panel: 40 to 80 calls to a model" in shown  # stages2 asks on where a reply affirms; rules asks none
    assert "Judge rules (mismatched): no calls to a model" in shown
