"""How far something is that takes its time: a bar in a notebook, or a line for whoever asks; else nothing is shown.

In a notebook a bar is a display of IPython's own that is updated in place: it needs no widgets, and a saved notebook
keeps its last state.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any, Self, TypeVar

from .untrusted import visible

T = TypeVar("T")

#: Seconds between two updates of a bar: each is a message to whoever looks.
_EVERY_S = 0.2


class Bar:
    """How far something is: ``done`` of ``total``, of which a part may be of what is under way; and a note."""

    def __init__(self, what: str) -> None:
        self.what, self.note = what, ""
        self.done: float = 0
        self.total = 0
        #: Called with this bar when it has moved.
        self.tell: Callable[[Bar], None] = lambda _: None
        self._shown = self._began = time.monotonic()
        self._from: float = 0

    def begin(self, done: int, total: int) -> Self:
        """Take it that ``done`` of ``total`` are done when this begins."""
        self.done, self.total, self._from, self._began = done, total, done, time.monotonic()
        self.show()
        return self

    def step(self) -> None:
        """Take in one more that is done."""
        self.reach(self.done + 1)

    def reach(self, done: float, note: str = "") -> None:
        """Take in how far it is, and show it unless that was done just now."""
        self.done, self.note = done, note
        if time.monotonic() - self._shown >= _EVERY_S:
            self.show()

    def show(self) -> None:
        """Show how far it is, at once."""
        self._shown = time.monotonic()
        self.tell(self)

    def __repr__(self) -> str:
        return visible(f"{self.what}: {self._told()}")

    def _repr_html_(self) -> str:
        what, told = escape(visible(self.what)), escape(visible(self._told()))
        bar = f'<progress value="{self.done:.2f}" max="{max(self.total, 1)}" style="vertical-align: middle"></progress>'
        return f'<label style="font-variant-numeric: tabular-nums">{what} {bar} {told}</label>'

    def _told(self) -> str:
        parts = [f"{int(self.done):,} of {self.total:,}", self.note, self._left()]
        return ", ".join(part for part in parts if part)

    def _left(self) -> str:
        new, missing = self.done - self._from, self.total - self.done
        if new <= 0 or missing <= 0:
            return ""
        seconds = round(missing * (time.monotonic() - self._began) / new)
        return f"about {seconds // 60} min {seconds % 60} s left" if seconds >= 60 else f"about {seconds} s left"


class Bars:
    """The bars of one call, each under its name: what goes on in several turns moves one bar.

    They are told to ``tell``, or else shown in a notebook if they are ``wanted`` and there is one.
    """

    def __init__(self, tell: Callable[[Bar], None] | None = None, *, wanted: bool = True) -> None:
        self._tell = tell
        self._shown = tell is not None or (wanted and in_notebook())
        self._bars: dict[str, Bar] = {}

    @contextmanager
    def bar(self, what: str, done: int, total: int) -> Iterator[Bar | None]:
        """Show a bar meanwhile, its last state afterwards; None where nothing is shown, or nothing is to be done."""
        if not self._shown or done >= total:
            yield None
            return
        known = self._bars.get(what)
        bar = (known or Bar(what)).begin(done, total)
        if known is None:
            bar.tell = self._tell or _displayed(bar)
            self._bars[what] = bar
        try:
            yield bar
        finally:
            bar.show()


def _displayed(bar: Bar) -> Callable[[Bar], None]:
    """Show a bar in the notebook's cell, and return what updates it there."""
    from IPython.display import display

    show: Any = display  # untyped
    update: Callable[[Bar], None] = show(bar, display_id=True).update
    return update


def bars(progress: bool | Bars) -> Bars:
    """Return the bars of a call that was told whether to show any, or is part of another call that has them."""
    return progress if isinstance(progress, Bars) else Bars(wanted=progress)


def stepping(bar: Bar | None, on_one: Callable[[T], None] | None) -> Callable[[T], None]:
    """Return what is called with each one that is done, moves the bar and tells whoever else listens."""

    def one_more(one: T) -> None:
        if bar is not None:
            bar.step()
        if on_one is not None:
            on_one(one)

    return one_more


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    # Imported by whoever is one; IPython in a terminal is none.
    ipython = sys.modules.get("IPython")
    return hasattr(ipython.get_ipython() if ipython is not None else None, "kernel")
