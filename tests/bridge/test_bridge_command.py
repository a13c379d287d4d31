"""The command bridge: from one protocol to another on a real model, by one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from introspection_bench.cli import app
from introspection_bench.cli.bridging import overridden
from introspection_bench.errors import SpecError
from introspection_bench.interop import read_results
from introspection_bench.protocols import load_protocol
from introspection_bench.testing import save_tiny_model

ENDS = ["lindsey2026", "lederman2026"]
FEW = [
    'concepts={set = "lindsey2026", names = ["Oceans", "Bread"]}',
    'baseline=["Desks", "Jackets", "Clouds"]',
    "sampling.max_new_tokens=6",
    "sampling.temperature=1.0",
    "sampling.top_p=1.0",
    "sampling.top_k=0",
    'a.doses=["0.3 residual"]',
    'b.doses=["0.5 residual"]',
    'b.scaffolds=["lindsey"]',
    "--trials",
    "1",
    "--controls",
    "1",
]


def called(*words: str) -> str:
    done = CliRunner().invoke(app, ["bridge", *words])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.slow
def test_on_smollm2_a_bridge_takes_one_command_to_its_page(tmp_path: Path) -> None:
    told = called(*ENDS, *FEW, "layers=[23]", "--model", "demo", "--directory", str(tmp_path))
    assert "free: outcome: strict -> affirmed" in told
    assert "generated: dose: 0.3 residual -> 0.5 residual" in told
    assert (tmp_path / "bridge.html").stat().st_size > 10_000
    for folder, dose in (("a", 0.3), ("b", 0.5)):
        run = read_results(tmp_path / folder)
        assert {r.dose.magnitude for r in run.conditions if r.dose} == {dose}
        assert {j.rubric for j in run.judges} == {"paper2_rules/1", "lenient/1"}
        assert len(run) == 3


def test_a_plan_runs_nothing_and_a_second_call_goes_on_where_the_first_has_ended(tmp_path: Path) -> None:
    model = str(save_tiny_model("llama", tmp_path / "tiny"))
    words = [*ENDS, *FEW, "layers=[1]", "--model", model, "--directory", str(tmp_path / "to")]
    called(*words, "--plan")
    assert not (tmp_path / "to").exists()
    first = called(*words)
    again = called(*words)
    assert "trials: 3 of 3" not in again
    assert first[first.index("Injected trials") :] == again[again.index("Injected trials") :]


def test_overrides_are_of_both_ends_or_of_one() -> None:
    protocol = load_protocol("lindsey2026")
    given = ["sampling.max_new_tokens=7", 'a.doses=["3 raw"]', "b.conditioning=coherent"]
    a, b = (overridden(protocol, given, end) for end in "ab")
    assert (a.sampling.max_new_tokens, b.sampling.max_new_tokens) == (7, 7)
    assert [str(d) for d in a.doses] == ["3 raw"]
    assert b.doses == protocol.doses
    assert (a.conditioning, b.conditioning) == ("all", "coherent")
    for wrong in ("doses", "=3", "a.=3", "a.nothing=3", 'doses="3 furlongs"', "sampling=3", "sampling.x.y=1"):
        with pytest.raises(SpecError):
            overridden(protocol, [wrong], "a")
