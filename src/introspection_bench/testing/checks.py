"""All conformance checks, in order.

What an injection adds is measured, not believed: the steered run's residuals at the injected layer, minus the
unsteered residuals over the same tokens (:meth:`~introspection_bench.testing.subject.Subject.clean`). Since
nothing below that layer knows of the injection, the difference is the addition, whatever became of the reply.
"""

from __future__ import annotations

from . import checks_groups, checks_numbers, checks_positions, checks_replays, checks_requests, checks_steers
from .check import Check, CheckSkipped, registered

__all__ = ["CHECKS", "Check", "CheckSkipped"]

#: The checks by number.
CHECKS: tuple[Check, ...] = registered(
    checks_positions, checks_requests, checks_numbers, checks_groups, checks_steers, checks_replays
)
