"""Published protocols by name: inspected, run, derived from, and compared field by field."""

from .ablation import Ablation
from .bridge import FREE, GENERATED, Bridge, Scoring, Step, bridge
from .bridging import Bridged, read_free, run_bridge
from .differences import Difference, Differences, diff, shown
from .library import derived, load_protocol, protocol_names
from .protocol import FACTORS, Judging, Protocol
from .telling import write_bridge

__all__ = [
    "FACTORS",
    "FREE",
    "GENERATED",
    "Ablation",
    "Bridge",
    "Bridged",
    "Difference",
    "Differences",
    "Judging",
    "Protocol",
    "Scoring",
    "Step",
    "bridge",
    "derived",
    "diff",
    "load_protocol",
    "protocol_names",
    "read_free",
    "run_bridge",
    "shown",
    "write_bridge",
]
