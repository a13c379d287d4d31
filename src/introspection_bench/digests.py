"""Content digests: the one way in which vectors, scaffolds, trials and verdicts get their identity."""

from __future__ import annotations

import hashlib
import json
from typing import Any

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def canonical_json(payload: Any) -> str:
    """Return ``payload`` as JSON with sorted keys, no spaces and ASCII only; NaN and infinity raise ValueError."""
    return _ENCODER.encode(payload)


def digest(kind: str, version: int, payload: Any) -> str:
    """Return the SHA-256 (64 hex digits) of ``payload`` under a versioned name.

    ``kind`` and ``version`` are hashed too: two kinds of thing never share a digest, and a change of what is
    hashed is a new version, never a silent change of old identities.
    """
    return hashlib.sha256(canonical_json([kind, version, payload]).encode()).hexdigest()


def digest_bytes(kind: str, version: int, data: bytes) -> str:
    """Return the SHA-256 of raw bytes under a versioned name (arrays, files)."""
    return hashlib.sha256(f"{kind}/{version}\n".encode() + data).hexdigest()
