"""What every built-in injector holds once its model is open: what was opened, its tokenizer, its limits."""

from __future__ import annotations

from typing import Any

from ..prompts import Tokenizer
from .base import Injector, Limits, ModelInfo


class OpenedInjector(Injector):
    """An injector whose constructor sets what was opened; the public properties are those of the port."""

    _info: ModelInfo
    _limits: Limits
    #: Libraries that make tokenizers ship no types for them.
    _tokenizer: Any

    @property
    def model(self) -> ModelInfo:
        """What was opened."""
        return self._info

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer."""
        tokenizer: Tokenizer = self._tokenizer
        return tokenizer

    @property
    def limits(self) -> Limits:
        """What the model's configuration and embedding, or its engine, allow."""
        return self._limits
