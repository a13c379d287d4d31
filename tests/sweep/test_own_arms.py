"""An arm of somebody's own, which no built-in one resembles, through everything that a run goes through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import attrs
import pytest

import introspection_bench as ib
from introspection_bench import arms
from introspection_bench.analysis import controls
from introspection_bench.conditions import Truth
from introspection_bench.errors import SpecError
from introspection_bench.interop import read_results, write_jsonl, write_parquet
from introspection_bench.sweep import Arm, ArmTrial, Cell, Injected, Store, Sweep, Unsteered

ASKED = ib.Scaffold(name="riddle", turns=[ib.Turn("user", "What has keys and no locks?")])


@attrs.frozen
class Riddle(Arm):
    """Half the trials ask a riddle instead, under two vectors at once; the truth is that nothing was injected."""

    name: ClassVar[str] = "riddle under two vectors"
    n: int

    @property
    def truth(self) -> Truth:
        return "nothing"

    def asks(self, scaffold: ib.Scaffold) -> tuple[ib.Scaffold, ...]:  # the port's
        return (ASKED,)

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        both = [i for concept in cell.concepts for i in cell.injections(concept, span=ib.Span.all())]
        for number in range(self.n):
            yield ArmTrial(None, both, asked=cell.concepts[0], scaffold=ASKED if number % 2 else None)


@pytest.fixture(scope="module")
def run(design, injector, tmp_path_factory):
    own = attrs.evolve(design, arms=[Injected(1), Unsteered(2), Riddle(4)], doses=["0.5 residual"], layers=[(0, 1)])
    sweep = Sweep(own, injector, tmp_path_factory.mktemp("arms") / "run")
    sweep.generate()
    sweep.judge("rules")
    return sweep


def test_its_trials_are_planned_recorded_and_judged_as_it_says(run):
    records = [r for r in run.results() if r.arm == Riddle.name]
    assert [r.scaffold for r in records] == ["lindsey", "riddle"] * 2
    assert {(r.condition.truth, r.condition.layers, r.concept) for r in records} == {("nothing", (0, 1), None)}
    assert {len(r.receipts) for r in records} == {4}
    assert {r.verdicts[0].concept for r in records} == {"Oceans"}
    with Store.open(run.directory) as store:
        assert [t.condition.arm for t in store.planned().values()].count(Riddle.name) == 4


def test_its_truth_decides_what_its_trials_count_as(run):
    frame = run.results().frame()
    assert len(controls(frame)) == 2 + 4


def test_tables_report_figures_and_exports_name_it(run, tmp_path):
    results = run.results()
    assert Riddle.name in ib.write_report(results, tmp_path / "r.html").read_text()
    assert Riddle.name in set(ib.rates(results.frame(), ["arm", "scaffold"])["arm"])
    for write, name in ((write_jsonl, "a.jsonl"), (write_parquet, "a.parquet")):
        write(results.records, tmp_path / name)
        again = read_results(tmp_path / name)
        assert [r.condition for r in again] == [r.condition for r in results]


def test_it_can_stand_in_no_file_unless_it_is_registered_and_the_error_says_so(run):
    with Store.open(run.directory) as store, pytest.raises(SpecError, match=Riddle.name):
        store.run_spec()
    # The design itself goes on with the run.
    assert len(Sweep(run.design, run.injector, run.directory).generate()) == len(run.planned)


def test_a_built_in_arms_name_can_not_mean_something_else():
    with pytest.raises(SpecError, match="truth of arm 'control'"):
        ib.Condition("control", "lindsey", truth="injected")


def test_the_built_in_arms_are_at_hand_where_the_docs_say():
    assert arms.Injected is Injected
