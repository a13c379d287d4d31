"""What can be read of a recorded trial, and what was.

A measure never runs while a reply is sampled. Its :meth:`~.base.Measure.passes` say which tokens a model is fed, under
the trial's own steers, and what is read on the way; :meth:`~.base.Measure.reading` makes one named array of that.
"""

from .base import Axes, Found, Measure, Pass, Read, ReadKind, Replayed
from .naming import NAMING_PREFIX, Naming
from .observer import Observer
from .openings import OPENINGS, Opening
from .readings import Reading
from .stream import ConceptLens, Cosines, Lens, Residuals
from .tokens import JOINT, Continuations, TokenLogprobs
from .yes_no import YesNo

__all__ = [
    "JOINT",
    "NAMING_PREFIX",
    "OPENINGS",
    "Axes",
    "ConceptLens",
    "Continuations",
    "Cosines",
    "Found",
    "Lens",
    "Measure",
    "Naming",
    "Observer",
    "Opening",
    "Pass",
    "Read",
    "ReadKind",
    "Reading",
    "Replayed",
    "Residuals",
    "TokenLogprobs",
    "YesNo",
]
