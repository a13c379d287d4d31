"""The identity of a checkpoint folder, for engines that load it themselves and don't show their parameters."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ...digests import digest
from ...errors import ModelError, ModelNotFoundError, explain
from ...untrusted import parse_json, read_text
from .fingerprint import fingerprint_tokenizer, stable

#: What lies beside a checkpoint and alters nothing that is computed.
_BESIDE = frozenset({".md", ".png", ".jpg", ".jpeg", ".gif", ".pdf", ".svg", ".html", ".lock"})
_BESIDE_NAMES = frozenset({"license", "license.txt", "notice", "notice.txt", "use_policy.md"})
#: Files up to this size are read whole; of larger ones about as much, in blocks all over the file.
_WHOLE = 2**28
_BLOCK = 2**16
_BLOCKS = 1024
_LONGEST_HEADER = 2**27


def fingerprint_checkpoint(
    folder: str | Path, dtype: str, tokenizer: Any, *, stop_ids: Iterable[int] = (), trust_remote_code: bool = False
) -> str:
    """Return the fingerprint of a checkpoint folder that is run in ``dtype``.

    Covers every file in it and in folders below, but for texts, pictures and hidden files: configurations, index,
    adapters, tokenizer, code where ``trust_remote_code`` lets it run, and weights of any format. Files above 256 MiB
    are read in parts: 1,024 blocks of 64 KiB at even distances, and in safetensors files the header, every tensor up to
    64 KiB and the beginning, middle and end of each larger one. A change that lies between these blocks alone is not
    seen; whoever alters a few rows of a huge matrix should give the checkpoint another name.

    Raises :class:`ModelNotFoundError` for a folder without a config.json, :class:`ModelError` for files that can't be
    read.
    """
    folder = Path(folder)
    config = folder / "config.json"
    if not config.is_file():
        raise ModelNotFoundError(
            explain(
                "model", required="a folder with a config.json", got=str(folder), hint="Give the checkpoint folder."
            )
        )
    try:
        files = [[path.relative_to(folder).as_posix(), fingerprint_file(path)] for path in _files(folder)]
        settings = stable(json.loads(read_text(config)))  # not parse_json: honest ones hold Infinity
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            explain("model", required="a checkpoint whose files can be read", got=str(error), hint="Check the folder.")
        ) from error
    parts = [settings, files, dtype, fingerprint_tokenizer(tokenizer), sorted(set(stop_ids)), trust_remote_code]
    return digest("checkpoint", 3, parts)


def fingerprint_file(path: Path) -> str:
    """Return the digest of a file's size and contents, of a large one in parts: see :func:`fingerprint_checkpoint`."""
    size = path.stat().st_size
    sha = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= _WHOLE:
            while chunk := file.read(2**20):
                sha.update(chunk)
            return sha.hexdigest()
        header, offsets = _safetensors(file, size) if path.suffix == ".safetensors" else (b"", [])
        sha.update(header)
        spread = (n * (size - _BLOCK) // (_BLOCKS - 1) for n in range(_BLOCKS))
        for offset in sorted({*spread, *offsets}):
            file.seek(offset)
            sha.update(file.read(_BLOCK))
    return sha.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """What belongs to the checkpoint, in an order of its own; config.json is told apart, without what is volatile."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith((".", "__pycache__")) for part in inside.parts)
        beside = path.suffix.lower() in _BESIDE or path.name.lower() in _BESIDE_NAMES
        if path.is_file() and not hidden and not beside and inside != Path("config.json"):
            yield path


def _safetensors(file: Any, size: int) -> tuple[bytes, list[int]]:
    """The header of a safetensors file, and where to look at each of its tensors; nothing for a damaged header."""
    (length,) = struct.unpack("<Q", file.read(8))
    if length > min(size - 8, _LONGEST_HEADER):
        return b"", []
    header = file.read(length)
    try:
        spans = [entry["data_offsets"] for name, entry in parse_json(header).items() if name != "__metadata__"]
        begin = 8 + length
        offsets = [
            begin + place for start, stop in spans for place in (start, (start + stop) // 2, max(start, stop - _BLOCK))
        ]
    except (ValueError, TypeError, KeyError, AttributeError):
        return header, []
    return header, [offset for offset in offsets if 0 <= offset < size]
