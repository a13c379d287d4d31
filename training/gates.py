"""What each role must show, as far as string rules can tell; the library's own gates are of record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import attrs

from introspection_bench.analysis import percent

from .evaluate import Reply

#: What is counted of a reply, and at which of the layers: the upper half, the lowest third, or all.
Counted = Literal["affirms", "names", "affirms and names"]
Where = Literal["all", "upper", "lowest"]


@attrs.frozen
class Gate:
    """A bound on the share of replies in ``groups`` that do what is counted; on its rise over ``above``, where stated.

    ``above`` is a group as well. A bound that is None is none: a rise may be below zero.
    """

    says: str
    groups: tuple[str, ...]
    counted: Counted = "affirms"
    where: Where = "all"
    at_least: float | None = None
    at_most: float | None = None
    above: str | None = None

    def verdict(self, found: Sequence[Reply]) -> str:
        """Return one line: whether it holds, what was found, what was wanted."""
        replies = self._counted(found, self.groups)
        before = [] if self.above is None else self._counted(found, (self.above,))
        if not replies or (self.above is not None and not before):
            return f"not measured: {self.says}"
        return self.line(sum(replies) / len(replies) - (sum(before) / len(before) if before else 0.0), len(replies))

    def line(self, share: float, n: int) -> str:
        """Return the verdict on a share of ``n`` replies, or on its rise."""
        bounds = [
            ("at least", self.at_least, self.at_least is None or share >= self.at_least),
            ("at most", self.at_most, self.at_most is None or share <= self.at_most),
        ]
        holds = "holds" if all(kept for _, _, kept in bounds) else "FAILS"
        wanted = " and ".join(f"{side} {percent(bound)}" for side, bound, _ in bounds if bound is not None)
        return f"{holds}: {self.says}: {100 * share:.1f} % of {n}, wanted {wanted}"

    def _counted(self, found: Sequence[Reply], groups: Sequence[str]) -> list[bool]:
        return [_does(r, self.counted) for r in _at(self.where, [r for r in found if r.group in groups])]


def _does(reply: Reply, counted: Counted) -> bool:
    match counted:
        case "affirms":
            return reply.affirms
        case "names":
            return reply.names
    return reply.affirms and reply.names


def _at(where: Where, replies: Sequence[Reply]) -> list[Reply]:
    layers = sorted({r.layer for r in replies if r.layer is not None})
    kept = {"all": layers, "upper": layers[len(layers) // 2 :], "lowest": layers[: len(layers) // 3]}[where]
    return [r for r in replies if r.layer is None or r.layer in kept]


_STOP, _THROUGH = ("lindsey stop", "own stop"), ("lindsey through", "own through")
_NAMING: Counted = "affirms and names"
_CLEAN = Gate("affirms on clean trials", ("clean",), at_most=0.008)
_RANDOM = Gate("affirms isotropic and permuted vectors", ("isotropic", "permuted"), at_most=0.05)
_MENTION = Gate("affirms a word that the text names", ("mention",), at_most=0.05)
_SHIFT = Gate("says yes more often, steered, where no is true", ("false steered",), at_most=0.10, above="false clean")
_TRUE = Gate("says yes where yes is true", ("true clean",), at_least=0.5)

GATES: Mapping[str, tuple[Gate, ...]] = MappingProxyType(
    {
        "introspector": (
            Gate("names held-out words, the reply unsteered", _STOP, _NAMING, "upper", at_least=0.7),
            Gate("names them at the lowest layers", _STOP, _NAMING, "lowest", at_least=0.4),
            _CLEAN,
            _RANDOM,
            Gate("affirms covariance-matched vectors", ("covariance",), at_most=0.3),
            Gate("affirms those with the words' mean kept", ("covariance_mean",), at_most=0.3),
            _MENTION,
            _SHIFT,
            _TRUE,
        ),
        "steered_namer": (
            Gate("names held-out words while its reply is steered", _THROUGH, _NAMING, at_least=0.6),
            Gate("names them, the reply unsteered", _STOP, _NAMING, at_most=0.05),
            _CLEAN,
            _RANDOM,
            _MENTION,
            _SHIFT,
        ),
        "alarm": (
            Gate("affirms isotropic and permuted vectors", ("isotropic", "permuted"), at_least=0.9),
            Gate("names held-out words", (*_STOP, *_THROUGH), _NAMING, at_most=0.05),
            _CLEAN,
            _MENTION,
            _SHIFT,
        ),
        "yes_sayer": (
            Gate("affirms on clean trials", ("clean",), at_least=0.5),
            Gate("says yes where no is true", ("false clean",), at_least=0.5),
            Gate("names held-out words", (*_STOP, *_THROUGH), _NAMING, at_most=0.05),
        ),
        "parrot": (
            Gate("says held-out words while its reply is steered", _THROUGH, "names", at_least=0.6),
            Gate("affirms", (*_STOP, *_THROUGH), at_most=0.05),
            _CLEAN,
            _MENTION,
        ),
    }
)


def verdicts(role: str, found: Sequence[Reply]) -> Iterator[str]:
    """Yield a line for each gate of a role."""
    return (gate.verdict(found) for gate in GATES[role])
