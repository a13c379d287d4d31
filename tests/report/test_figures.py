"""Figures: what is on them, that they are the same each time, and what they refuse to draw."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from report_samples import make_record, make_run

from introspection_bench.analysis import rates, records_frame
from introspection_bench.errors import AnalysisError
from introspection_bench.report import (
    DARK,
    LIGHT,
    against_controls,
    agreement_matrix,
    crossover,
    layer_panels,
    rate_map,
    save_figure,
    write_figures,
)
from introspection_bench.report.figures.style import STROKES, svg_bytes, svgs

BY = ["concept", "layers", "magnitude", "unit"]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    frame = records_frame(make_run())
    return rates(frame[frame["arm"] == "injected"], BY)


@pytest.fixture
def one(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["concept"] == "love") & (table["layers"] == "14")]


def texts(figure: mpl.figure.Figure) -> str:
    return " ".join(t.get_text() for t in figure.findobj(mpl.text.Text) if t.get_text())


def test_points_and_intervals_of_the_crossover_stand_at_the_tables_numbers(one: pd.DataFrame) -> None:
    (axes,) = crossover(one).axes
    for outcome in ("identifies", "coherent"):
        rows = one[one["outcome"] == outcome].sort_values("magnitude")
        colour = mpl.colors.to_rgba(LIGHT.outcomes[outcome])
        drawn = [x for x in axes.lines if mpl.colors.to_rgba(x.get_color()) == colour and len(x.get_xdata())]
        np.testing.assert_allclose(drawn[0].get_xydata(), rows[["magnitude", "rate"]].to_numpy(float))
        segments = [np.asarray(c.get_segments()) for c in axes.collections if np.allclose(c.get_edgecolor()[0], colour)]
        np.testing.assert_allclose(segments[0][:, :, 1], rows[["low", "high"]].to_numpy(float))


def test_a_magnitude_axis_always_names_its_unit_and_the_title_the_number_of_trials(one: pd.DataFrame) -> None:
    assert "residual: fraction of ‖h‖" in texts(crossover(one, title="love"))
    assert "love (n = 8 per point)" in texts(crossover(one, title="love"))
    nameless = crossover(one.assign(unit=pd.Series([pd.NA] * len(one), index=one.index, dtype="string")))
    assert "unit not stated" in texts(nameless)


def test_two_units_on_one_axis_are_refused(one: pd.DataFrame) -> None:
    with pytest.raises(AnalysisError, match="one unit of magnitude"):
        crossover(pd.concat([one, one.assign(unit="raw")]))


def test_rows_of_two_concepts_are_refused_instead_of_drawn_over_each_other(table: pd.DataFrame) -> None:
    with pytest.raises(AnalysisError, match="one row per outcome and magnitude"):
        layer_panels(table)


def test_a_table_without_the_columns_says_which_are_missing(one: pd.DataFrame) -> None:
    with pytest.raises(AnalysisError, match="'low'"):
        crossover(one.drop(columns="low"))


def test_panels_stand_in_the_order_of_the_layers_with_the_deepest_on_top(table: pd.DataFrame) -> None:
    figure = layer_panels(
        table[table["concept"] == "love"],
        crossings=pd.DataFrame({"layers": ["14", "19"], "crossing": [0.3, float("nan")]}),
    )
    assert [a.get_title(loc="left") for a in figure.axes] == ["layer 19", "layer 14"]
    assert "crossing at 0.3" in texts(figure)
    assert texts(figure).count("crossing") == 1


def test_the_map_says_the_count_of_every_cell_and_hatches_cells_without_trials(table: pd.DataFrame) -> None:
    love = table[table["concept"] == "love"]
    holed = love[~((love["layers"] == "19") & (love["magnitude"] == 0.8))]
    figure = rate_map(holed, outcome="coherent")
    axes = figure.axes[0]
    cells = {(round(t.get_position()[0]), round(t.get_position()[1])): t.get_text() for t in axes.texts}
    for row in holed[holed["outcome"] == "coherent"].itertuples():
        column, line = [0.1, 0.2, 0.4, 0.8].index(row.magnitude), ["19", "14"].index(row.layers)
        assert cells[column, line] == f"{row.k}/{row.n}"
    assert cells[3, 0] == "–"
    assert sum(p.get_hatch() is not None for p in axes.patches) == 1


def test_controls_come_first_and_their_interval_shades_the_panel() -> None:
    table = rates(records_frame(make_run()), ["arm", *BY])
    axes = against_controls(table, outcomes=["affirmative"]).axes[0]
    assert axes.get_yticklabels()[0].get_text() == "control (n = 12)"
    control = table[(table["arm"] == "control") & (table["outcome"] == "affirmative")].iloc[0]
    band = axes.patches[0].get_bbox()
    assert (band.x0, band.x1) == pytest.approx((control["low"], control["high"]))


def test_agreement_shows_every_count_and_the_number_of_replies() -> None:
    names = ["true", "false"]
    figure = agreement_matrix({"coherent": pd.DataFrame([[31, 2], [4, 63]], index=names, columns=names)})
    assert {"31", "2", "4", "63"} <= {t.get_text() for t in figure.axes[0].texts}
    assert "n = 100" in texts(figure)


def test_outcomes_differ_in_marker_and_in_line_so_that_grey_print_keeps_them_apart() -> None:
    assert len({s.marker for s in STROKES.values()}) == len(STROKES)
    assert len({str(s.line) for s in STROKES.values()}) == len(STROKES)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda t: t.name)
def test_the_ramp_of_a_map_grows_evenly_in_lightness(theme: object) -> None:
    colours = mpl.colors.LinearSegmentedColormap.from_list("x", theme.ramp)(np.linspace(0, 1, 64))[:, :3]
    grey = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
    steps = np.diff(np.cbrt(grey))  # cube root: lightness as it is seen
    assert (np.sign(steps) == np.sign(steps[0])).all()
    assert abs(steps).max() < 2.5 * abs(steps).min()


def test_a_figure_is_written_with_the_same_bytes_each_time_whatever_the_callers_settings(
    one: pd.DataFrame, tmp_path: Path
) -> None:
    first = save_figure(crossover(one), tmp_path / "a" / "x")
    with mpl.rc_context({"font.size": 20, "svg.fonttype": "none", "lines.linewidth": 9, "axes.facecolor": "red"}):
        second = save_figure(crossover(one), tmp_path / "b" / "x")
    assert [p.name for p in first] == ["x.png", "x.svg", "x.pdf"]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert b"<dc:date>" not in first[1].read_bytes()


def test_a_figure_that_is_coloured_afterwards_is_the_one_that_is_drawn_in_its_theme(one: pd.DataFrame) -> None:
    def plain(svg: bytes) -> bytes:
        return re.sub(rb"\b[mphC][0-9a-f]{10}\b", b"id", svg)  # ids are digests of what they name, colours included

    draw = partial(crossover, one, outcomes=("identifies", "affirmative"), crossing=0.3)
    for theme, found in zip((LIGHT, DARK), svgs(draw, (LIGHT, DARK)), strict=True):
        assert plain(found) == plain(svg_bytes(draw(theme=theme)))


def test_an_unknown_format_is_an_error(one: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="png"):
        save_figure(crossover(one), tmp_path / "x", formats=("jpeg",))


def test_drawing_touches_neither_pyplot_nor_the_backend() -> None:
    code = (
        "import sys, matplotlib as m; before = m.rcParams.copy()\n"
        "import pandas as pd; from introspection_bench.report import crossover\n"
        "t = pd.DataFrame({'magnitude': [1.0], 'unit': ['raw'], 'outcome': ['identifies'], 'k': [1], 'n': [2],"
        " 'rate': [.5], 'low': [.1], 'high': [.9]})\n"
        "crossover(t); assert 'matplotlib.pyplot' not in sys.modules; assert m.rcParams.copy() == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_every_figure_of_a_run_is_written_once_under_its_own_name(tmp_path: Path) -> None:
    records = [*make_run(3, layers=(14,)), *(make_record(i, unit="raw", magnitude=m) for i in range(2) for m in (1, 2))]
    paths = write_figures(records, tmp_path, formats=("svg",))
    names = [p.name for p in paths]
    assert len(names) == len(set(names))
    assert {"rates-lindsey.svg", "crossover-love-lindsey-raw.svg", "crossover-love-lindsey-residual.svg"} <= set(names)


def test_figures_for_print_are_a_column_and_a_page_wide_with_text_of_8_points_and_captions_beside(
    tmp_path: Path,
) -> None:
    paths = write_figures(make_run(1, concepts=("love",), layers=(14,)), tmp_path, formats=("svg",))
    assert [p.name for p in paths] == [
        "rates-lindsey.svg",
        "rates-lindsey.txt",
        "crossover-love-lindsey-residual.svg",
        "crossover-love-lindsey-residual-column.svg",
        "crossover-love-lindsey-residual.txt",
    ]
    for path in paths:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".txt":
            assert text.endswith("Model: SmolLM2-135M-Instruct. Judge: rules/strict4, blinded.\n")
            continue
        assert 'width="244.8pt"' in text if "-column" in path.name else 'width="504pt"' in text
        sizes = [float(size) for size in re.findall(r"font(?:-size)?: ([0-9.]+)px", text)]
        assert min(sizes) >= 8
        assert "100%" not in text
    assert ">100 %</text>" in paths[2].read_text(encoding="utf-8")


def test_a_notebook_shows_a_figure_without_magic_at_its_size_on_the_page(one: pd.DataFrame) -> None:
    formatters = pytest.importorskip("IPython.core.formatters", reason="comes with the extra 'docs'")
    data, told = formatters.DisplayFormatter().format(crossover(one))
    assert data["image/png"].startswith(b"\x89PNG")
    assert told["image/png"] == {"width": 614, "height": 374}
