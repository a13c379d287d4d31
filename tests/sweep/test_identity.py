"""What makes two trials one, shown by its cause: what a plan does decides its keys, and nothing that it is called."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import attrs
import pytest
from conftest import planned

from introspection_bench import LINDSEY, THINKING_ABOUT, Anchor, Span
from introspection_bench.errors import SpecError, StoreError, StoreMismatchError
from introspection_bench.injectors.torch.injector import TorchInjector
from introspection_bench.sweep import Ground, Injected, Store, Sweep, Unsteered
from introspection_bench.testing import save_tiny_model

#: LINDSEY, steered from its question on.
LATER = attrs.evolve(LINDSEY, name="later", anchors=(Anchor("trial", "Do you detect"),))


def keys(design, injector):
    return [t.key.digest for t in planned(design, injector)]


def steered(trials):
    return [t for t in trials if t.condition.arm == "injected"]


def test_two_anchors_of_one_name_make_two_keys_where_they_stand_at_two_positions(design, injector):
    here, there = planned(design, injector), planned(attrs.evolve(design, scaffolds=(LATER,)), injector)
    assert {t.condition.span for t in steered(here)} == {t.condition.span for t in steered(there)} == {"from(trial)"}
    starts = [{t.key.steers[0].start for t in steered(trials)} for trials in (here, there)]
    assert starts[0] == {Span.from_anchor("trial").resolve(here[-1].request.prompt).start} != starts[1]
    assert not {t.key.digest for t in steered(here)} & {t.key.digest for t in steered(there)}
    assert not {t.request.seed for t in steered(here)} & {t.request.seed for t in steered(there)}


def test_a_mended_anchor_does_not_go_on_with_the_old_run(design, injector, tmp_path):
    design = attrs.evolve(design, arms=[Injected(1)])
    Sweep(design, injector, tmp_path / "run").generate()
    mended = attrs.evolve(LATER, name="lindsey")
    with pytest.raises(StoreMismatchError, match="scaffolds"):
        Sweep(attrs.evolve(design, scaffolds=(mended,)), injector, tmp_path / "run").generate()


def test_two_scaffolds_of_one_wording_run_beside_each_other_where_they_steer_other_positions(
    design, injector, tmp_path
):
    design = attrs.evolve(design, scaffolds=(LINDSEY, LATER), arms=[Unsteered(2), Injected(1)])
    results = Sweep(design, injector, tmp_path / "run").generate()
    assert [r.scaffold for r in results] == ["lindsey"] * 6 + ["later"] * 6
    # The controls of both are draws of one thing: each is another one.
    assert [(r.scaffold, r.key.draw) for r in results if r.arm == "control"] == [
        ("lindsey", 0),
        ("lindsey", 1),
        ("later", 2),
        ("later", 3),
    ]
    shorter = {r.scaffold: r.receipts[0].prompt_positions for r in results if r.arm == "injected"}
    assert shorter["later"] < shorter["lindsey"]


def test_scaffolds_that_do_the_same_have_the_same_keys_whatever_they_are_called(design, injector):
    renamed = attrs.evolve(
        LINDSEY,
        name="mine",
        source="",
        anchors=(Anchor("mark", "\n\nTrial 1"), Anchor("unused", "Ok", 1)),
    )
    assert keys(attrs.evolve(design, scaffolds=(renamed,), span="from(mark)"), injector) == keys(design, injector)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("prompt", "all stop_at_prompt_end", True),
        ("between(trial, detect)", "between(trial, question)", True),
        ("from(trial)", "from(trial) stop_at_prompt_end", False),
        ("all", "from(trial)", False),
        ("generation", "all", False),
        ("between(trial, detect)", "from(trial)", False),
    ],
)
def test_spans_have_one_key_exactly_where_they_come_to_the_same_positions(design, injector, one, other, same):
    anchors = (*LINDSEY.anchors, Anchor("detect", "Do you detect"), Anchor("question", "Do you"))
    design = attrs.evolve(design, scaffolds=(attrs.evolve(LINDSEY, anchors=anchors),), arms=[Injected(5)])
    found = [keys(attrs.evolve(design, span=Span.parse(span)), injector) for span in (one, other)]
    assert (found[0] == found[1]) is same
    assert same or not set(found[0]) & set(found[1])


def test_scaffolds_that_come_to_the_same_trials_are_an_error_that_names_both(design, injector):
    twins = (LINDSEY, attrs.evolve(LINDSEY, name="copy"))
    for arms in ([Injected(5), Unsteered(6)], [Injected(5)], [Unsteered(6)]):
        with pytest.raises(SpecError, match=r"design\.scaffolds: .*'lindsey' and 'copy'"):
            planned(attrs.evolve(design, scaffolds=twins, arms=arms), injector)


def test_a_span_that_makes_two_scaffolds_one_is_an_error_that_names_both(design, injector):
    with pytest.raises(SpecError, match=r"'lindsey' and 'later'"):
        planned(attrs.evolve(design, scaffolds=(LINDSEY, LATER), span=Span.all()), injector)


def test_vectors_of_the_same_values_at_one_layer_make_further_draws_and_never_one_trial_twice(design, injector):
    vectors = Sweep(design, injector, "/no/such/run").vectors
    same = [attrs.evolve(vectors[1], values=vectors[0].values), vectors[0]]
    found = keys(attrs.evolve(design, vectors=same), injector)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("backend", ["torch", "nnsight"])
def test_a_model_that_ends_its_replies_elsewhere_has_other_keys(design, tmp_path, backend):
    if backend == "nnsight":
        pytest.importorskip("nnsight")
        from introspection_bench.injectors.nnsight.injector import NnsightInjector as Opened
    else:
        Opened = TorchInjector  # noqa: N806  # a class
    folder = save_tiny_model("llama", tmp_path / "model")
    found = []
    for ends in (None, [2, 7]):
        path = folder / "generation_config.json"
        settings = json.loads(path.read_text())
        path.write_text(json.dumps(settings if ends is None else settings | {"eos_token_id": ends}))
        with Opened.open(str(folder)) as injector:
            found.append(keys(attrs.evolve(design, scaffolds=(THINKING_ABOUT,), span="all"), injector))
    assert not set(found[0]) & set(found[1])


class OtherNumerics(TorchInjector):
    """The torch backend after a change of its arithmetic."""

    numerics = 2


def test_another_version_of_a_backends_numerics_has_other_keys_and_goes_on_with_no_run(design, tiny_folder, tmp_path):
    design = attrs.evolve(design, arms=[Unsteered(1), Injected(1)])
    with TorchInjector.open(str(tiny_folder), device="cpu") as before:
        Sweep(design, before, tmp_path / "run").generate()
        old = keys(design, before)
    with OtherNumerics.open(str(tiny_folder), device="cpu") as after:
        assert after.model == before.model
        assert not set(keys(design, after)) & set(old)
        with pytest.raises(StoreMismatchError, match="numerics 1, which made it; got 2"):
            Sweep(design, after, tmp_path / "run").generate()


@pytest.mark.parametrize("numerics", [None, 0, -1, True, "1", 1.5])
def test_numerics_that_are_no_version_are_an_error(design, injector, numerics):
    with pytest.raises(SpecError, match="numerics"):
        Ground(injector.model, injector.name, numerics, injector.tokenizer, design.day, {})


def test_a_run_tells_the_span_and_the_wording_that_its_keys_leave_out(design, injector, tmp_path):
    design = attrs.evolve(design, arms=[Unsteered(1), Injected(1)])
    results = Sweep(design, injector, tmp_path / "run").generate()
    assert {(r.arm, r.condition.span) for r in results} == {("control", None), ("injected", "from(trial)")}
    assert {r.condition.wording for r in results} == {LINDSEY.digest}
    assert set(results.frame()["span"].dropna()) == {"from(trial)"}
    assert results.facts["span"] == ["from(trial)"]
    assert results.facts["wording"] == [LINDSEY.digest]


def test_a_store_of_the_older_keys_is_refused_and_the_error_says_how_to_export_it(design, injector, tmp_path):
    sweep = Sweep(attrs.evolve(design, arms=[Unsteered(1)]), injector, tmp_path / "run")
    sweep.open_store().close()
    edit(tmp_path / "run" / "store.sqlite", "UPDATE meta SET value = '1' WHERE key = 'schema'")
    with pytest.raises(
        StoreError, match=r"version 6; got 1\. Export it with the version .*'introspection-bench export"
    ):
        Store.open(tmp_path / "run")
    with pytest.raises(StoreError, match="schema version 6"):
        sweep.generate()


def edit(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()
