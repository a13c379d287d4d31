"""What judging costs: prices as data, usage as counted by the service, estimates before, limits during."""

from __future__ import annotations

import math
import threading
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any

import attrs

from ...errors import CostLimitError, JudgeError, explain
from .ledger import Ledger, OpenBatch

#: Tokens that an answer is expected to take: five short words of JSON and two sentences.
EXPECTED_OUTPUT = 130
#: Tokens that a request costs besides its text: roles, and the schema that the service adds.
_REQUEST_OVERHEAD = 250
#: Tokens that a request may cost at most besides those of its text.
_MOST_OVERHEAD = 1000
#: No model reads or writes more in one call: a report above it is a fault of the report.
_MOST_TOKENS = 10_000_000
#: A token stands for fewer bytes of a prompt than this: a report of fewer tokens is a fault of the report.
_BYTES_PER_TOKEN = 30


def _dollars(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value >= 0):
        raise JudgeError(
            explain(f"price.{attribute.name}", required="US dollars per million tokens, >= 0", got=value, hint="")
        )


@attrs.frozen
class Price:
    """US dollars per million tokens; ``cache_minimum`` is the shortest prompt, in tokens, that is cached.

    Raises :class:`JudgeError` for a price that is negative or no finite number.
    """

    input: float = attrs.field(validator=_dollars)
    output: float = attrs.field(validator=_dollars)
    cache_write: float | None = attrs.field(default=None, validator=attrs.validators.optional(_dollars))
    cache_read: float | None = attrs.field(default=None, validator=attrs.validators.optional(_dollars))
    cache_minimum: int | None = None


@attrs.frozen
class Usage:
    """Tokens of one call; ``share`` is 0.5 in a batch.

    As the service counted them, or, where it gave no usable count (``assumed``), as many as there can have been.
    """

    input: int = 0
    output: int = 0
    cache_write: int = 0
    cache_read: int = 0
    share: float = 1.0
    assumed: bool = False

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


def most_tokens(*texts: str) -> int:
    """Return how many tokens a request with these texts can have at most: no token is shorter than a byte."""
    return sum(len(text.encode("utf-8", "replace")) for text in texts) + _MOST_OVERHEAD


def counted(used: Usage | None, most: Usage) -> Usage:
    """Return what a call is taken to have used: the service's count where it can be true, else ``most``.

    Absent, malformed, zero and negative counts can't be true, nor can counts beyond what any model reads or writes.
    """
    if used is not None:
        tokens = (used.input, used.output, used.cache_write, used.cache_read)
        whole = all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= _MOST_TOKENS for n in tokens)
        read = sum(tokens) - used.output if whole else 0
        if whole and used.output > 0 and read * _BYTES_PER_TOKEN >= most.input - _MOST_OVERHEAD and read > 0:
            return used
    return attrs.evolve(most, assumed=True)


@attrs.frozen
class Ticket:
    """What was set aside for one call; ``entry`` names it in the ledger."""

    entry: str
    most: Usage


class Purse:
    """Counts what is spent in a ledger, and refuses calls that could exceed the limit. Safe to use from threads.

    The limit is on everything that the ledger holds, whoever spent it, and on what this purse spent in ledgers
    before. What a call may cost at most is set aside before it is made. A service that bills more for a call than
    was thought possible is believed: later calls are reckoned up by the same factor.
    """

    def __init__(self, price: Price | None, limit: float | None, *, model: str, ledger: Ledger | None = None) -> None:
        if limit is not None and not (math.isfinite(limit) and limit >= 0):
            raise CostLimitError(explain("max_cost_usd", required="US dollars, >= 0", got=limit, hint=""))
        if limit is not None and price is None:
            raise CostLimitError(
                explain(
                    "max_cost_usd",
                    required="a judge model whose price is known",
                    got=f"no price for {model}",
                    hint="Give its price (price = {input = 1.0, output = 5.0}), or judge without a limit.",
                )
            )
        self.price = price
        self.limit = limit
        self.usages: list[Usage] = []
        self._model = model
        self._given = ledger is not None
        self.ledger = ledger or Ledger()
        self._here = 0.0
        self._elsewhere = 0.0
        self._factor = 1.0
        self._under_way: set[str] = set()
        self._changed = threading.Condition()

    def keep_in(self, ledger: Ledger) -> None:
        """Count in this ledger from now on, unless one was given when the purse was made."""
        with self._changed:
            if self._given or self.ledger.is_same(ledger):
                return
            self._elsewhere += self._here
            self._here = 0.0
            self.ledger = ledger

    @property
    def spent_usd(self) -> float | None:
        """What the calls of this purse cost so far; None without a price."""
        return None if self.price is None else self._here + self._elsewhere

    def left(self) -> str:
        """Return how much of the limit is left, in words."""
        spent = self.ledger.total() + self._elsewhere
        return f"{spent:.4f} of {self.limit or 0.0:.2f} USD (max_cost_usd) are spent or set aside"

    def reserve(self, most: Usage) -> Ticket | None:
        """Set aside what a call may cost at most; None if that could exceed the limit.

        Waits for calls under way where they may yet turn out cheap enough.
        """
        with self._changed:
            while True:
                entry = self.ledger.reserve(self._model, self._at_most(most), self._limit())
                if entry is not None:
                    self._under_way.add(entry)
                    return Ticket(entry, most)
                if not self._under_way:
                    return None
                self._changed.wait()

    def intend(self, most: Mapping[str, Usage]) -> OpenBatch | None:
        """Set aside what a batch may cost at most; it holds as many requests as the limit allows, None if none."""
        return self.ledger.intend(self._model, {c: self._at_most(usage) for c, usage in most.items()}, self._limit())

    def settle(self, ticket: Ticket, used: Usage | None) -> Usage:
        """Replace what was set aside by what the call cost; returns what it is taken to have used."""
        usage = counted(used, ticket.most)
        usd = usage.usd(self.price)
        with self._changed:
            self.ledger.settle(ticket.entry, self._model, usd)
            most = ticket.most.usd(self.price)
            if usd and most:
                self._factor = max(self._factor, usd / most)
            self.usages.append(usage)
            self._here += usd or 0.0
            self._finish(ticket)
        return usage

    def release(self, ticket: Ticket) -> None:
        """Give back what was set aside for a call that certainly was not billed."""
        with self._changed:
            self.ledger.release([ticket.entry])
            self._finish(ticket)

    def _finish(self, ticket: Ticket) -> None:
        self._under_way.discard(ticket.entry)
        self._changed.notify_all()

    def _at_most(self, most: Usage) -> float | None:
        usd = most.usd(self.price)
        return None if usd is None else usd * self._factor

    def _limit(self) -> float | None:
        return None if self.limit is None else self.limit - self._elsewhere

    def check(self, estimate: CostEstimate, besides: float = 0.0) -> None:
        """Raise :class:`CostLimitError` if the estimate, with what is spent already, exceeds the limit.

        ``besides``: US dollars that others are expected to spend from the same ledger.
        """
        spent = self.ledger.total() + self._elsewhere
        if self.limit is not None and estimate.usd is not None and spent + estimate.usd + besides > self.limit:
            beside = f", {besides:.2f} USD for others" if besides else ""
            before = f", after {spent:.2f} USD that were spent already" if spent else ""
            raise CostLimitError(
                explain(
                    "max_cost_usd",
                    required=f"an estimate of at most {self.limit:.2f} USD",
                    got=f"{estimate.usd:.2f} USD for {estimate.cases} cases in up to {estimate.calls_at_most} calls"
                    + beside
                    + before,
                    hint=f"Nothing was sent. Raise the limit, judge fewer, or use batches. Prices: {estimate.priced}.",
                )
            )


def total(usages: Iterable[Usage], price: Price | None) -> float | None:
    """Return what these calls cost together; None without a price or where nothing was counted."""
    costs = [usage.usd(price) for usage in usages]
    return None if not costs or None in costs else sum(c for c in costs if c is not None)
