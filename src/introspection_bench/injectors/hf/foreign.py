"""What programs hang on a model besides its weights: hooks, replaced methods, objects that hold tensors.

Steering libraries leave such things behind (a hook, a block in a wrapper that holds a control vector): they alter what
is computed, so that they belong to the model's identity. What transformers, torch, accelerate and nnsight put there
themselves belongs to the loading, and is left out.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import nn

#: Modules of these libraries keep weights in parameters and buffers alone; their plain tensors are caches, and their
#: private attributes belong to the loading.
LIBRARIES = ("transformers.", "torch.", "accelerate.")
#: Their objects hold working memory, or are described by what is saved of them.
_OPAQUE = (*LIBRARIES, "nnsight.", "bitsandbytes.", "introspection_bench.")
_DEEPEST = 8


def is_foreign(value: Any) -> bool:
    """Whether the class or function of a value comes from none of the libraries that load and run models."""
    made = getattr(value, "__module__", None) or type(value).__module__
    return not f"{made}.".startswith(_OPAQUE)


def attached(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield each foreign hook and each foreign method that stands in a module's place, with its full name."""
    for name, module in model.named_modules():
        for kind in ("_forward_pre_hooks", "_forward_hooks"):
            # By their order, not by torch's numbers, which count all hooks that the process has ever made.
            for number, hook in enumerate(filter(_made_elsewhere, getattr(module, kind).values())):
                yield f"{name}.{kind}.{number}", hook
        for key, value in sorted(vars(module).items()):
            if callable(getattr(type(module), key, None)) and _made_elsewhere(value):
                yield f"{name}.{key}", value


def described(value: Any, tell: Any, depth: int = 0, seen: frozenset[int] = frozenset()) -> Iterator[str]:
    """Yield lines that tell any two values apart which compute differently, the same in each process.

    ``tell(tensor)`` yields the lines of a tensor. Tensors, numbers and texts count wherever they are held: in
    containers, in an object's attributes, in what a function has closed over, beside the function's own code.
    """
    import torch

    if isinstance(value, str | int | float | bool | bytes | torch.dtype | None):
        yield repr(value)
        return
    yield type(value).__qualname__
    if isinstance(value, torch.Tensor):
        yield from tell(value.detach())
        return
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        yield from tell(torch.from_numpy(np.ascontiguousarray(value).view(np.uint8).reshape(-1)))
        return
    if depth >= _DEEPEST or id(value) in seen or isinstance(value, type | types.ModuleType):
        yield getattr(value, "__qualname__", "")
        return
    for name, part in _parts(value):
        yield name
        yield from described(part, tell, depth + 1, seen | {id(value)})


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from sorted(((str(k), v) for k, v in value.items()), key=lambda item: item[0])
    elif isinstance(value, list | tuple):
        yield from ((str(n), part) for n, part in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield "members", sorted(map(str, filter(_is_text_or_number, value)))
    elif isinstance(value, types.CodeType):
        yield "code", value.co_code
        yield "names", value.co_names
        yield "constants", value.co_consts
    elif isinstance(value, types.FunctionType):
        yield "code", value.__code__
        yield "defaults", (value.__defaults__, value.__kwdefaults__)
        yield from (("closed over", cell) for cell in map(_contents, value.__closure__ or ()))
    elif isinstance(value, types.MethodType):
        yield "function", value.__func__
        yield "self", value.__self__
    elif isinstance(value, functools.partial):
        yield "partial", [value.func, value.args, value.keywords]
    elif hasattr(value, "state_dict") and not hasattr(value, "config_class"):  # a module that is registered nowhere
        yield from value.state_dict().items()
    elif is_foreign(value):
        slots = [s for kind in type(value).__mro__ for s in getattr(kind, "__slots__", ()) if isinstance(s, str)]
        held = {s: getattr(value, s) for s in slots if hasattr(value, s)} | getattr(value, "__dict__", {})
        yield from sorted((k, v) for k, v in held.items() if not k.startswith("__"))


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty: the function names itself before it is there
        return None


def _is_text_or_number(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _made_elsewhere(value: Any) -> bool:
    while isinstance(value, functools.partial):
        value = value.func
    return callable(value) and is_foreign(value)
