"""The identity of a model: what must be the same for two trials to be the same trial."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..digests import digest, digest_bytes
from ..errors import ModelNotFoundError, explain

#: Settings that say where a model was loaded from or by what, not what it computes.
_VOLATILE = frozenset({"_name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures", "use_cache"})
#: Values taken from each tensor: enough to tell fine-tunes apart, cheap on any model.
_SAMPLES = 64
_CHUNK = 1 << 20


def fingerprint_module(model: Any, tokenizer: Any, *, stop_ids: Iterable[int] = ()) -> str:
    """Return the fingerprint of a loaded PyTorch model with its tokenizer.

    Covers the configuration, every parameter's name, shape and dtype with 64 evenly spaced values, and the
    tokenizer's vocabulary and chat template; ``stop_ids`` are the tokens that end a reply.
    """
    sha = hashlib.sha256()
    for name, tensor in model.named_parameters():
        sha.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        flat = tensor.detach().reshape(-1)
        sha.update(flat[:: max(1, flat.numel() // _SAMPLES)][:_SAMPLES].float().cpu().numpy().astype("<f4").tobytes())
    config = _stable(model.config.to_dict())
    return digest("model", 2, [config, sha.hexdigest(), fingerprint_tokenizer(tokenizer), sorted(set(stop_ids))])


def fingerprint_tokenizer(tokenizer: Any) -> str:
    """Return the digest of a tokenizer's vocabulary and chat template."""
    template = getattr(tokenizer, "chat_template", None)
    return digest("tokenizer", 1, [sorted(tokenizer.get_vocab().items()), template])


def fingerprint_checkpoint(folder: str | Path, dtype: str, tokenizer: Any, *, stop_ids: Iterable[int] = ()) -> str:
    """Return the fingerprint of a checkpoint folder, for engines that don't show their parameters.

    Covers config.json, the first and last mebibyte and the size of every weight file, the dtype it is run in,
    the tokenizer, and the tokens that end a reply. Raises :class:`ModelNotFoundError` without a config.json.
    """
    folder = Path(folder)
    config = folder / "config.json"
    if not config.is_file():
        raise ModelNotFoundError(
            explain(
                "model", required="a folder with a config.json", got=str(folder), hint="Give the checkpoint folder."
            )
        )
    weights = sorted(p for p in folder.iterdir() if p.suffix in {".safetensors", ".bin", ".gguf"})
    files = [[p.name, p.stat().st_size, fingerprint_file(p)] for p in weights]
    settings = _stable(json.loads(config.read_text()))
    told = [settings, files, dtype, fingerprint_tokenizer(tokenizer), sorted(set(stop_ids))]
    return digest("checkpoint", 2, told)


def fingerprint_file(path: Path) -> str:
    """Return the digest of a file's size and of its first and last mebibyte."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_CHUNK)
        file.seek(max(0, size - _CHUNK))
        return digest_bytes("file", 1, str(size).encode() + head + file.read(_CHUNK))


def _stable(config: Mapping[str, Any]) -> Any:
    kept = {k: v for k, v in config.items() if k not in _VOLATILE}
    # Through JSON once, because configurations hold tuples, enums and dtypes.
    return json.loads(json.dumps(kept, default=str, sort_keys=True))
