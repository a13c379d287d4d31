"""What a run shows in a notebook."""

from __future__ import annotations

from pathlib import Path

import nbclient
import nbformat
import pytest

from introspection_bench.injectors.torch.injector import TorchInjector
from introspection_bench.notebook import Bars
from introspection_bench.sweep import Design, Sweep

SETTING = """
import introspection_bench as ib
from introspection_bench.sweep import Design, Injected, Sweep, Unsteered

concepts = ib.ConceptSet("tiny", [ib.Concept("Oceans", word="Oceans")], baseline=["Desks", "Jackets", "Clouds"])
design = Design(
    concepts=concepts, layers=[1], doses=["2 residual"], arms=[Unsteered(3), Injected(2)],
    sampling=ib.Sampling(max_new_tokens=4),
)
injector = ib.open_injector("torch", "TINY", device="cpu", batch_size=4)
"""
CELLS = [
    "sweep = Sweep(design, injector, 'RUN')",
    "_ = sweep.run('rules')",
    "_ = sweep.run('rules')",
    "_ = Sweep(design, injector, 'RUN2', progress=False).run('rules', progress=False)",
]


def test_a_notebook_keeps_one_bar_for_each_thing_done_and_none_where_nothing_was_or_none_is_wanted(
    tiny_folder: Path, tmp_path: Path
) -> None:
    texts = [SETTING, *CELLS]
    paths = {"TINY": str(tiny_folder), "RUN2": str(tmp_path / "2"), "RUN": str(tmp_path / "1")}
    for name, path in paths.items():
        texts = [text.replace(name, path) for text in texts]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in texts])
    nbclient.NotebookClient(notebook, timeout=120).execute()
    shown = [[output["data"] for output in cell.outputs] for cell in notebook.cells[1:]]
    assert [[data["text/plain"].partition(",")[0] for data in cell] for cell in shown] == [
        ["extraction prompts read: 4 of 4"],
        ["trials: 5 of 5", "verdicts by rules: 5 of 5"],
        [],
        [],
    ]
    assert 'value="5.00" max="5"' in shown[1][0]["text/html"]


def test_within_a_batch_a_bar_moves_by_tokens_and_whoever_listened_before_still_does(
    design: Design, injector: TorchInjector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("introspection_bench.notebook._EVERY_S", 0.0)
    told: list[float] = []
    heard: list[int] = []
    monkeypatch.setattr(injector, "on_tokens", heard.append)
    shown = Bars(lambda bar: told.append(bar.done))
    results = Sweep(design, injector, tmp_path / "run").generate(limit=4, progress=shown)
    assert told == sorted(told)
    assert told[-1] == 4
    assert any(place % 1 for place in told)
    assert sum(heard) == sum(len(record.reply.token_ids) for record in results)
    assert injector.on_tokens == heard.append


def test_a_bar_carries_a_name_as_text_not_as_html() -> None:
    shown: list[str] = []
    with Bars(lambda bar: shown.append(bar._repr_html_())).bar("<script>", 0, 1):
        pass
    assert "<script>" not in shown[-1]
