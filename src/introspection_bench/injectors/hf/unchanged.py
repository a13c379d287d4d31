"""Whether a model is still the one that was opened: a trial's key names the weights as they were then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import torch

from ...errors import ModelError, explain
from .foreign import attached

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Numbers that are looked at in each tensor, at even distances: all of a model's would take too long for each call.
_LOOKS = 1024


@attrs.frozen(eq=False)
class Unchanged:
    """What a model looked like, to be compared with what it looks like later.

    Looks at each tensor's identity, its count of changes in place, and some numbers at even distances; at each module's
    class, mode and adapters; and at what programs have hung on it. A few rows that are rewritten behind PyTorch's back
    (through ``.data``) may stay unseen; the fingerprint, which is made at opening, would see them.
    """

    _model: Any
    _before: dict[str, Any] = attrs.field(init=False)

    @_before.default
    def _look(self) -> dict[str, Any]:
        with torch.inference_mode():
            return _appearance(self._model)

    def check(self) -> None:
        """Raise :class:`ModelError` where something is different."""
        now = self._look()
        names = {*now, *self._before}
        changed = sorted(n for n in names if now.get(n) != self._before.get(n))
        if changed:
            raise ModelError(
                explain(
                    "model",
                    required="the weights, adapters and hooks with which it was opened",
                    got=f"{len(changed)} changed since: {', '.join(changed[:5])}",
                    hint="Its fingerprint names what it was. Open the injector after the last change to the model.",
                )
            )


def _appearance(model: nn.Module) -> dict[str, Any]:
    found: dict[str, Any] = {f"{name} (attached)": id(value) for name, value in attached(model)}
    looks: dict[torch.device, list[tuple[str, Tensor]]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if isinstance(tensor, torch.Tensor):
            changes = None if tensor.is_inference() else tensor._version
            found[name] = [tuple(tensor.shape), tensor.dtype, changes]
            if type(tensor) in (torch.Tensor, torch.nn.Parameter):
                looks.setdefault(tensor.device, []).append((name, _look(tensor.detach())))
    for some in looks.values():
        # One copy from each device.
        for (name, _), number in zip(some, torch.stack([look for _, look in some]).tolist(), strict=True):
            found[name].append(number)
    for name, module in model.named_modules():
        adapters = {k: str(v) for k, v in vars(module).items() if "adapter" in k or k == "scaling"}
        found[f"{name or 'the model'} (module)"] = (type(module), module.training, adapters)
    return found


def _look(tensor: Tensor) -> Tensor:
    """A number that some bits of a tensor make, int64, on its device."""
    flat = tensor.contiguous().reshape(-1)
    some = flat[:: max(1, flat.numel() // _LOOKS)]
    words = some.contiguous().view(torch.uint8).to(torch.int64)
    return (words * torch.arange(1, words.numel() + 1, device=words.device)).sum()
