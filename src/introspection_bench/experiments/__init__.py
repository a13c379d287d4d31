"""Experiments of the field as designs: what is asked, what is injected where, the outcome, and what chance comes to."""

from .base import Choices, Experiment, Settings, read_settings
from .library import EXPERIMENTS, load_experiment

__all__ = ["EXPERIMENTS", "Choices", "Experiment", "Settings", "load_experiment", "read_settings"]
