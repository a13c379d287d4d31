"""What the model is asked, as token ids: the form in which every backend takes it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Literal

import attrs

from .boundaries import guarded
from .digests import digest
from .errors import ScaffoldError, explain
from .freezing import frozen_ints, frozen_mapping
from .showing import few, plural, quoted, shown
from .templates import Tokenizer as Tokenizer  # noqa: PLC0414  # importers know it from here


@guarded(ScaffoldError)
@attrs.frozen
class RenderedPrompt:
    """A prompt as a backend takes it.

    ``token_ids`` hold everything up to where the reply begins; ``anchors`` map names to 0-based positions, of a token
    of the prompt or, just behind it, of the first token of the reply; ``text`` is what was tokenised; ``template`` says
    whether the chat template or the plain transcript made it. ``begun`` is the end of ``text``, behind the last turn:
    what of the reply is written already, such as a marker that opens its reasoning. ``date`` is the day that the
    template printed, None where it prints none. ``scaffold_digest`` is that of the wording.
    """

    token_ids: tuple[int, ...] = attrs.field(converter=frozen_ints)
    text: str
    anchors: Mapping[str, int] = attrs.field(converter=frozen_mapping, factory=dict, hash=False)
    scaffold_digest: str = ""
    template: Literal["chat", "transcript", "raw"] = "raw"
    begun: str = ""
    date: datetime.date | None = None

    @token_ids.validator
    def _check_token_ids(self, _: object, value: tuple[int, ...]) -> None:
        if not value:
            raise ScaffoldError(
                explain("token_ids", required="at least one token", got=value, hint="The prompt is empty.")
            )

    @anchors.validator
    def _check_anchors(self, _: object, value: Mapping[str, int]) -> None:
        outside = {name: place for name, place in value.items() if not 0 <= place <= len(self.token_ids)}
        if outside:
            raise ScaffoldError(
                explain(
                    "anchors",
                    required=f"positions from 0 to {len(self.token_ids)}",
                    got=outside,
                    hint="An anchor is the 0-based position of a prompt token, or of the reply's first one.",
                )
            )

    @property
    def digest(self) -> str:
        """SHA-256 of the token ids: what the model reads."""
        return digest("prompt", 1, list(self.token_ids))

    def __repr__(self) -> str:
        places = [f"{name} at {place}" for name, place in self.anchors.items()]
        return shown(self, plural(len(self.token_ids), "token"), self.template, few(places), quoted(self.text))
