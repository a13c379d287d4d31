"""Figures: how they look, what they are made of, and which of them a run gets."""
