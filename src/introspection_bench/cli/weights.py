"""How far transformers is while it loads weights, as a note of the phase that goes on instead of bars of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from typing import Any


def tell_of_weights(tell: Callable[[str], None]) -> None:
    """Have ``tell`` hear of each weight that transformers loads from now on, or makes of a GGUF file's."""
    import transformers.modeling_gguf_pytorch_utils as gguf
    from transformers.utils import logging

    # Older releases have no hook; they say nothing then.
    set_hook = getattr(logging, "set_tqdm_hook", None)
    if set_hook is None:
        return

    def counted(make: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        items, *others = arguments or (None,)
        if isinstance(items, Sized):
            return make(_told(items, str(options.get("desc") or "").rstrip(". "), tell), *others, **options)
        return make(*arguments, **options)

    set_hook(counted)
    # Conversion takes a bar of tqdm's own, which neither the hook nor disable_progress_bar reaches.
    if hasattr(gguf, "tqdm"):
        gguf.tqdm = logging.tqdm


def _told(items: Any, what: str, tell: Callable[[str], None]) -> Iterator[Any]:
    total = len(items)
    for number, item in enumerate(items, 1):
        yield item
        tell(f"{what}: {number} of {total}")
