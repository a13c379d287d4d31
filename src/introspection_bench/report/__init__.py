"""Figures and the HTML report: pure functions from tables to figures, and one self-contained file per run."""

from .figures import against_controls, agreement_matrix, crossover, layer_panels, rate_map
from .html import write_figures, write_report
from .style import DARK, LIGHT, Theme, save_figure

__all__ = [
    "DARK",
    "LIGHT",
    "Theme",
    "against_controls",
    "agreement_matrix",
    "crossover",
    "layer_panels",
    "rate_map",
    "save_figure",
    "write_figures",
    "write_report",
]
