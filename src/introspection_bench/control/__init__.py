"""Whether the whole chain, from vector to sentence, tells a report of the injected concept from its imitations."""

from .cast import CAST, held_out
from .expecting import Count, Decided, Member
from .lines import Control, Line
from .running import run_control

__all__ = ["CAST", "Control", "Count", "Decided", "Line", "Member", "held_out", "run_control"]
