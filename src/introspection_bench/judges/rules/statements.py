"""What a reply is found to state: claims and denials of detection, each with its place."""

from __future__ import annotations

from typing import Literal

import attrs

Kind = Literal["claim", "denial"]


@attrs.frozen
class Claim:
    """One statement about detection: characters ``start`` to ``stop``, and the words that made it one.

    ``hedged`` says that it stands under a might, may or perhaps; ``bare`` that it is a yes which runs on into
    something other than a statement of its own. ``able`` says that it speaks of what can be done: a denial of the
    ability to detect, or a claim under a "can". ``returns`` says that a "but" or a "wait" leads to it; ``answer``
    that it answers the question by itself, ``opening`` that the reply begins with it. ``vague`` says that it calls
    detection hard in general, which takes no claim back.
    """

    kind: Kind
    start: int
    stop: int
    why: str
    hedged: bool = False
    bare: bool = False
    able: bool = False
    returns: bool = False
    answer: bool = False
    opening: bool = False
    vague: bool = False
