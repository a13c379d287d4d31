"""Figures and the HTML report: pure functions from tables to figures, and one self-contained file per run."""

from .figures.drawings import against_controls, agreement_matrix, crossover, layer_panels, rate_map
from .figures.effects import effect_curves
from .figures.judged import judge_rates
from .figures.style import DARK, LIGHT, Theme, save_figure
from .page.compared import compared_tables, write_comparison
from .page.html import write_figures, write_report
from .page.runs import ListedRun, write_run_index
from .prereg import preregistration

__all__ = [
    "DARK",
    "LIGHT",
    "ListedRun",
    "Theme",
    "against_controls",
    "agreement_matrix",
    "compared_tables",
    "crossover",
    "effect_curves",
    "judge_rates",
    "layer_panels",
    "preregistration",
    "rate_map",
    "save_figure",
    "write_comparison",
    "write_figures",
    "write_report",
    "write_run_index",
]
