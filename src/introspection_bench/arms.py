"""Arms: what was done to a trial. Three are built in; a record may name any other, and it is carried through.

What an arm's trials are good for is said here, once. On ``injected`` a yes is right; on ``control`` nothing was done
and a yes is a false alarm; on every other arm, ``random`` among them, something was done: they are shown and compared
under their own names, and never counted among hits or false alarms.
"""

from __future__ import annotations

from collections.abc import Iterable

from .errors import SpecError, explain
from .names import folded
from .untrusted import visible

INJECTED = "injected"
RANDOM = "random"
CONTROL = "control"
#: The built-in arms in the order of tables and figures; all others follow, by name.
BUILTIN = (CONTROL, RANDOM, INJECTED)
_LONGEST = 60


def check_arm(arm: str) -> None:
    """Raise :class:`SpecError` for what is no arm's name.

    A name that a reader takes for a built-in one ("Control") is refused: it would be another arm, and the false alarms
    in it would be counted nowhere.
    """
    if arm in BUILTIN:
        return
    fine = isinstance(arm, str) and 0 < len(arm) <= _LONGEST and arm == arm.strip() and visible(arm) == arm
    alike = [name for name in BUILTIN if fine and folded(arm) == name != arm]
    if not fine or alike:
        raise SpecError(
            explain(
                "arm",
                required=f"{alike[0]!r}, written so" if alike else f"a name of 1 to {_LONGEST} visible characters",
                got=repr(arm),
                hint=f"Built in are {BUILTIN}; any other name is an arm of its own.",
            )
        )


def place(arm: str) -> tuple[int, str]:
    """Return where an arm stands among others: the built-in ones as in :data:`BUILTIN`, then the rest by name."""
    return (BUILTIN.index(arm), "") if arm in BUILTIN else (len(BUILTIN), arm)


def ordered(arms: Iterable[str]) -> list[str]:
    """Return the different arms in the order of tables and figures."""
    return sorted(set(arms), key=place)


def further(arms: Iterable[str]) -> list[str]:
    """Return the different arms that aren't built in, by name."""
    return sorted(set(arms) - set(BUILTIN))


def label(arm: str) -> str:
    """Return how a cell's name begins: nothing for an injection, which the concept and the dose tell."""
    return {INJECTED: "", RANDOM: "random vector"}.get(arm, arm)


def is_dosed(arm: str, layer: int | None, unit: str | None) -> bool:
    """Say whether trials have a dose, and are shown with it; an arm of somebody's own may have steered nothing."""
    return arm != CONTROL and (arm in BUILTIN or layer is not None or unit is not None)
