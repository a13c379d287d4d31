"""How far a model reaches: its positions, its vocabulary, and where its position encoding depends on the length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..base import Limits

#: RoPE scalings by which ``factor`` stretches the stated positions; other types (llama3, longrope) state the stretched
#: number themselves.
_STRETCHED = frozenset({"linear", "yarn"})
#: RoPE scalings with one set of frequencies for short sequences and another for long ones.
_SWITCHING = frozenset({"longrope", "su"})


def limits_of(config: Any, vocabulary: int | None = None) -> Limits:
    """Return the limits that a Hugging Face configuration states; ``vocabulary`` are the embedding's real rows.

    Learned positions and RoPE alike end at ``max_position_embeddings``; ``linear`` and ``yarn`` scalings stretch it by
    their factor. ``dynamic`` RoPE changes all frequencies with every token beyond it, which no cache can follow: there
    the limit is where that begins.
    """
    text = config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config
    stated = next((n for n in (getattr(text, k, None) for k in ("max_position_embeddings", "max_seq_len")) if n), None)
    reach, switches = [], []
    for rope in _ropes(text):
        kind = str(rope.get("rope_type", rope.get("type", "default")))
        original = rope.get("original_max_position_embeddings", getattr(text, "original_max_position_embeddings", None))
        if stated is not None:
            stretched = (original or stated) * float(rope.get("factor", 1.0)) if kind in _STRETCHED else 0
            reach.append(max(int(stated), int(stretched)))
        if kind in _SWITCHING and original is not None:
            switches.append(int(original))
    rows = getattr(text, "vocab_size", None) if vocabulary is None else vocabulary
    return Limits(
        # Layers of several kinds may each have their own scaling: the shortest reach binds.
        min(reach) if reach else None if stated is None else int(stated),
        None if rows is None else int(rows),
        min(switches, default=None),
    )


def _ropes(text: Any) -> Iterator[Mapping[str, Any]]:
    """All RoPE settings of a configuration: one, or one for each kind of layer."""
    found = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None)
    if not isinstance(found, Mapping):
        return
    nested = [value for value in found.values() if isinstance(value, Mapping)]
    yield from nested or [found]
