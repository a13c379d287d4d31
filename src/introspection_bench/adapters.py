"""LoRA adapters: values, one strict reader, and what merges one into the base that it was trained on.

An adapter is a safetensors file: for each matrix W that it changes, ``<module>.lora_A.weight`` (rank, in) and
``<module>.lora_B.weight`` (out, rank), and as metadata ``rank``, ``alpha`` and ``base``, the digest of the weights
that it belongs to (:func:`weights_digest`). Merged, W is W + (alpha / rank) B A. Nothing in such a file is executed,
and it is merged into no other weights.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from .boundaries import checked, guarded
from .digests import digest, digest_bytes
from .errors import AdapterError, UnknownNameError, explain, meant
from .freezing import frozen_mapping
from .untrusted import MOST_FILE, parse_json, regular_file

if TYPE_CHECKING:
    from torch import Tensor, nn

#: How the name of an adapter's file ends.
SUFFIX = ".safetensors"
_TENSOR = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.\w+)*)\.lora_(?P<side>[AB])\.weight", re.ASCII)
_SETTINGS = {
    "rank": re.compile(r"[1-9][0-9]{0,4}"),
    "alpha": re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,9})?"),
    "base": re.compile(r"[0-9a-f]{64}"),
}
#: Values that are hashed at once: 16 MB.
_AT_ONCE = 2**22


@guarded(AdapterError)
@attrs.frozen(eq=False, repr=False)
class Adapter:
    """A LoRA adapter.

    Attributes:
        name: as reports show it.
        rank: columns of B and rows of A.
        alpha: the change of a matrix is (alpha / rank) B A.
        base: the digest of the base's weights (:func:`weights_digest`), 64 hex digits.
        matrices: by module name A, (rank, in), and B, (out, rank), of 16 or 32 bit floats.
        digest: of rank, alpha, base and matrices, 64 hex digits; the order in which a file holds them does not count.
    """

    name: str
    rank: int
    alpha: float
    base: str
    matrices: Mapping[str, tuple[Tensor, Tensor]] = attrs.field(converter=frozen_mapping)
    digest: str

    def __repr__(self) -> str:
        return f"Adapter({self.name!r}, rank {self.rank}, {len(self.matrices)} matrices, {self.digest[:8]})"


def known_adapters() -> tuple[str, ...]:
    """Return the names of the adapters that come with the package: models of known truth for the demo's model."""
    found = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX)))


@checked(AdapterError)
def load_adapter(name: str | Path) -> Adapter:
    """Return an adapter by its name in the package, or by the path of a file (a name that ends in ``.safetensors``).

    Raises :class:`~introspection_bench.errors.UnknownNameError` for a name that is not built in, and
    :class:`~introspection_bench.errors.AdapterError` for a file that is missing, damaged or something else.
    """
    if isinstance(name, Path) or name.endswith(SUFFIX):
        try:
            data = regular_file(name, MOST_FILE).read_bytes()
        except (OSError, ValueError) as error:
            raise AdapterError(
                explain("adapter", required=f"a readable {SUFFIX} file", got=f"{name}: {error}", hint="Check the path.")
            ) from error
        return adapter_from_bytes(data, Path(name).stem)
    known = known_adapters()
    if name not in known:
        raise UnknownNameError(
            explain(
                "adapter",
                required=f"one of {list(known)}, or the path of a {SUFFIX} file",
                got=name,
                hint=meant(name, known),
            )
        )
    return adapter_from_bytes(_folder().joinpath(name + SUFFIX).read_bytes(), name)


def adapter_from_bytes(data: bytes, name: str) -> Adapter:
    """Return the adapter that a file's bytes hold; raises :class:`~introspection_bench.errors.AdapterError`."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(data)
        # The library checked the layout: 8 bytes of length, then a JSON header with the metadata.
        header = parse_json(data[8 : 8 + int.from_bytes(data[:8], "little")])
        told = _settings(header.get("__metadata__", {}))
        rank, alpha, base = int(told["rank"]), float(told["alpha"]), told["base"]
        identity = digest("adapter", 1, [rank, alpha, base, {name: _told(t) for name, t in tensors.items()}])
        return Adapter(name, rank, alpha, base, _matrices(tensors, rank), identity)
    except (SafetensorError, LookupError, TypeError, ValueError) as error:
        raise AdapterError(
            explain(
                f"adapter {name}",
                required="a safetensors file of lora_A and lora_B pairs with rank, alpha and base as metadata",
                got=str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}",
                hint="The file is damaged or was written by something else.",
            )
        ) from error


def weights_digest(model: nn.Module) -> str:
    """Return the digest of a model's weights: names, shapes and values as float32 of all parameters, each once.

    Neither the dtype in which the same values are held counts, nor configuration, tokenizer or end tokens. About a
    second for 500 MB.
    """
    import torch

    sha = hashlib.sha256(b"weights/1\n")
    for name, weight in sorted(model.named_parameters()):
        sha.update(f"{name} {list(weight.shape)}\n".encode())
        for some in torch.split(weight.detach().reshape(-1), _AT_ONCE):
            sha.update(some.float().cpu().numpy().astype("<f4", copy=False).data)
    return sha.hexdigest()


def merge(model: nn.Module, adapter: Adapter) -> None:
    """Add (alpha / rank) B A to each matrix of an adapter, in place.

    Computed in float32, and cast to the dtype of the weights. Raises
    :class:`~introspection_bench.errors.AdapterError`, and changes nothing, where the weights are others than those that
    the adapter was trained on.
    """
    import torch

    found = weights_digest(model)
    if found != adapter.base:
        raise AdapterError(
            explain(
                f"adapter {adapter.name}",
                required=f"the base that it was trained on, with weights {adapter.base[:12]}",
                got=f"weights {found[:12]}",
                hint="Name that base, or train an adapter for this one (the docs' page known).",
            )
        )
    weights = {name: _weight(model, name, adapter) for name in adapter.matrices}
    with torch.no_grad():
        for name, (down, up) in adapter.matrices.items():
            weight = weights[name]
            change = (adapter.alpha / adapter.rank) * (up.float() @ down.float())
            merged = (weight.float() + change.to(weight.device)).to(weight.dtype)
            if not torch.isfinite(merged).all():
                raise AdapterError(
                    explain(
                        f"adapter {adapter.name}",
                        required=f"a merged matrix that {weight.dtype} can hold",
                        got=f"infinite values in {name}",
                        hint="The adapter is damaged.",
                    )
                )
            weight.copy_(merged)


def _weight(model: nn.Module, name: str, adapter: Adapter) -> Tensor:
    """Return the matrix that an adapter changes, if it can be changed so."""
    from torch import nn

    module = dict(model.named_modules()).get(name)
    down, up = adapter.matrices[name]
    shape = (up.shape[0], down.shape[1])
    got = "no such module" if module is None else type(module).__name__
    if isinstance(module, nn.Linear):
        weight: Tensor = module.weight
        names = [n for n, p in model.named_parameters(remove_duplicate=False) if p is weight]
        if tuple(weight.shape) == shape and weight.is_floating_point() and len(names) == 1:
            return weight
        got = f"{weight.dtype} {list(weight.shape)}" + (f", which is also {names[1]}" if len(names) > 1 else "")
    raise AdapterError(
        explain(
            f"adapter {adapter.name}",
            required=f"a linear layer {name} of {list(shape)} floats that is nothing else",
            got=got,
            hint="The adapter is of another architecture.",
        )
    )


def _folder() -> Any:
    return resources.files(__package__).joinpath("known", "adapters")


def _settings(metadata: Any) -> Mapping[str, str]:
    """Check an adapter's metadata; raises ValueError."""
    if not isinstance(metadata, dict) or set(metadata) != set(_SETTINGS):
        raise ValueError(f"metadata {sorted(metadata)}, where {sorted(_SETTINGS)} are wanted")
    for name, shape in _SETTINGS.items():
        if not isinstance(metadata[name], str) or not shape.fullmatch(metadata[name]):
            raise ValueError(f"{name} {metadata[name]!r}")
    if not float(metadata["alpha"]) > 0:
        raise ValueError(f"alpha {metadata['alpha']!r}")
    return metadata


def _told(tensor: Tensor) -> list[Any]:
    import torch

    data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return [str(tensor.dtype), list(tensor.shape), digest_bytes("tensor", 1, data)]


def _matrices(tensors: Mapping[str, Tensor], rank: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Pair an adapter's tensors by module; raises ValueError for one that is none, or is alone."""
    import torch

    sides: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        parts = _TENSOR.fullmatch(name)
        if parts is None:
            raise ValueError(f"a tensor {name[:80]!r}")
        along = 0 if parts["side"] == "A" else 1
        if tensor.dtype not in (torch.bfloat16, torch.float16, torch.float32):
            raise ValueError(f"{name} of {tensor.dtype}")
        if tensor.ndim != 2 or not math.prod(tensor.shape) or tensor.shape[along] != rank:
            raise ValueError(f"{name} of shape {list(tensor.shape)} with rank {rank}")
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} with values that are not finite")
        sides.setdefault(parts["module"], {})[parts["side"]] = tensor
    alone = sorted(name for name, both in sides.items() if len(both) < 2)
    if alone or not sides:
        raise ValueError(f"one of lora_A and lora_B alone: {alone[:3]}" if alone else "no tensors")
    return {name: (both["A"], both["B"]) for name, both in sorted(sides.items())}
