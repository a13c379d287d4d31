"""What judging costs: prices as data, usage as counted by the service, estimates before, limits during."""

from __future__ import annotations

import threading
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Any

import attrs

from ..errors import CostLimitError, explain

#: Tokens that an answer is expected to take: five short words of JSON and two sentences.
EXPECTED_OUTPUT = 130
#: Tokens that a request costs besides its text: roles, and the schema that the service adds.
_REQUEST_OVERHEAD = 250


@attrs.frozen
class Price:
    """US dollars per million tokens; ``cache_minimum`` is the shortest prompt, in tokens, that is cached."""

    input: float
    output: float
    cache_write: float | None = None
    cache_read: float | None = None
    cache_minimum: int | None = None


@attrs.frozen
class Usage:
    """Tokens of one call as the service counted them; ``share`` is 0.5 in a batch."""

    input: int = 0
    output: int = 0
    cache_write: int = 0
    cache_read: int = 0
    share: float = 1.0

    def usd(self, price: Price | None) -> float | None:
        """What these tokens cost; None without a price."""
        if price is None:
            return None
        write = price.input if price.cache_write is None else price.cache_write
        read = price.input if price.cache_read is None else price.cache_read
        dollars = self.input * price.input + self.output * price.output
        return (dollars + self.cache_write * write + self.cache_read * read) * self.share / 1e6


@attrs.frozen
class CostEstimate:
    """What judging is expected to cost, before anything is sent.

    ``calls`` counts requests after identical cases were merged; ``calls_at_most`` includes those that a rubric makes
    only after certain answers. ``usd`` is the expected cost of ``calls_at_most`` requests with answers of ordinary
    length, None for a model without a known price. ``input_tokens`` are estimated from the text's length, not counted.
    """

    cases: int
    calls: int
    calls_at_most: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    priced: str


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("prices.toml").read_text(encoding="utf-8"))


def price_of(model: str) -> Price | None:
    """Return the price of a model; None if the table does not know it."""
    row = _table()["models"].get(model)
    return None if row is None else Price(**row)


def batch_share() -> float:
    """What a batch costs, as a share of the ordinary price."""
    return float(_table()["batch_share"])


def priced() -> str:
    """Where the prices are from, and of what day."""
    return f"{_table()['source']}, {_table()['as_of']}"


def estimate_tokens(text: str) -> int:
    """Return a rough count of tokens: 3.5 ASCII characters, or one other character, to a token."""
    ascii_only = len(text.encode("ascii", "ignore"))
    return round(ascii_only / 3.5 + (len(text) - ascii_only))


def request_tokens(system: str, user: str) -> int:
    """Return a rough count of a request's input tokens."""
    return estimate_tokens(system) + estimate_tokens(user) + _REQUEST_OVERHEAD


class Purse:
    """Counts what was spent, and refuses a call that could exceed the limit. Safe to use from several threads."""

    def __init__(self, price: Price | None, limit: float | None) -> None:
        if limit is not None and price is None:
            raise CostLimitError(
                explain(
                    "max_cost_usd",
                    required="a judge model whose price is known",
                    got="no price for this model",
                    hint="Give its price, or judge without a limit.",
                )
            )
        self.price = price
        self.limit = limit
        self.usages: list[Usage] = []
        self._spent = 0.0
        self._reserved = 0.0
        self._lock = threading.Condition()

    @property
    def spent_usd(self) -> float | None:
        """What all calls so far cost; None without a price."""
        return None if self.price is None else self._spent

    def reserve(self, most: Usage) -> bool:
        """Set aside what a call may cost at most; False if that could exceed the limit.

        Waits for calls under way where they may yet turn out cheap enough.
        """
        cost = most.usd(self.price) or 0.0
        with self._lock:
            if self.limit is not None:
                self._lock.wait_for(lambda: not self._over(cost) or self._reserved < 1e-12)
                if self._over(cost):
                    return False
            self._reserved += cost
            return True

    def affords(self, expected: Usage) -> bool:
        """Whether calls that are expected to cost this much stay within the limit."""
        with self._lock:
            return not self._over(expected.usd(self.price) or 0.0)

    def _over(self, cost: float) -> bool:
        return self.limit is not None and self._spent + self._reserved + cost > self.limit

    def settle(self, most: Usage, used: Usage | None) -> None:
        """Replace what was set aside by what the call cost (None: nothing is known to have been billed)."""
        with self._lock:
            self._reserved -= most.usd(self.price) or 0.0
            if used is not None:
                self.usages.append(used)
                self._spent += used.usd(self.price) or 0.0
            self._lock.notify_all()

    def check(self, estimate: CostEstimate) -> None:
        """Raise :class:`CostLimitError` if the estimate exceeds the limit."""
        if self.limit is not None and estimate.usd is not None and estimate.usd > self.limit:
            raise CostLimitError(
                explain(
                    "max_cost_usd",
                    required=f"an estimate of at most {self.limit:.2f} USD",
                    got=f"{estimate.usd:.2f} USD for {estimate.cases} cases in up to {estimate.calls_at_most} calls",
                    hint=f"Nothing was sent. Raise the limit, judge fewer, or use batches. Prices: {estimate.priced}.",
                )
            )


def total(usages: Iterable[Usage], price: Price | None) -> float | None:
    """Return what these calls cost together; None without a price or where nothing was counted."""
    costs = [usage.usd(price) for usage in usages]
    return None if not costs or None in costs else sum(c for c in costs if c is not None)
