"""What a loaded model tells of itself: the facts that need not be stated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ...model_facts import ModelFacts
from ...prompts import Tokenizer


def facts_of(model: Any, tokenizer: Tokenizer, dequantised: str | None = None) -> ModelFacts:
    """Return the facts of a Hugging Face model; ``dequantised`` is how its weights were rounded before.

    Family and tuning stand nowhere in a checkpoint.
    """
    found = facts_of_config(model.config, tokenizer, dequantised)
    return attrs.evolve(found, parameters=int(model.num_parameters()))


def facts_of_config(config: Any, tokenizer: Tokenizer, quantisation: str | None = None) -> ModelFacts:
    """Return what a configuration and a tokenizer tell without the weights, which alone can be counted."""
    stated = getattr(config, "quantization_config", None)
    method = stated.get("quant_method") if isinstance(stated, Mapping) else getattr(stated, "quant_method", None)
    named = getattr(method, "value", method)
    return ModelFacts(
        architecture=getattr(config, "model_type", None) or None,
        quantisation=quantisation or (None if named is None else str(named)) or "none",
        chat_template=bool(tokenizer.chat_template),
    )
