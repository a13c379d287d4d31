"""How the trials of a report were made: dates, versions, the model's revision, dtype and seed, as a run states them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...results import Results
from ...untrusted import parse_json, read_text


def made(results: Results) -> dict[str, Any]:
    """Return ``created`` and ``versions`` from the manifest of the run that the results were read from.

    Versions are those of the sessions that generated; where these differ, each one in its order. Empty where there is
    no manifest, or none that can be read.
    """
    if not results.source:
        return {}
    try:
        manifest = parse_json(read_text(Path(results.source) / "manifest.json"))
    except (OSError, ValueError):  # a file of results, or a run that was moved: then the page does without
        return {}
    sessions = told(manifest, "sessions")
    found: dict[str, dict[str, None]] = {}
    for session in sessions if isinstance(sessions, list) else ():
        versions = told(session, "versions") if told(session, "stage") == "generate" else None
        for name, version in versions.items() if isinstance(versions, Mapping) else ():
            found.setdefault(str(name), {})[str(version)] = None
    stated = {"created": told(manifest, "created"), "versions": {n: ", then ".join(v) for n, v in found.items()}}
    return {name: value for name, value in stated.items() if value}


def model_facts(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (term, text) on the model's revision and fingerprint, its dtype, and the design's seed, where stated."""
    backend, name = told(spec, "model", "backend"), told(spec, "model", "name")
    revision = told(spec, "model", "options", backend, "revision")
    fingerprint = told(spec, "found", "fingerprint")
    if revision is not None or name is not None or fingerprint is not None:
        mark = "" if fingerprint is None else f"; fingerprint {str(fingerprint)[:12]}"
        yield "Model's revision", f"{'none stated' if revision is None else revision}{mark}"
    if (dtype := told(spec, "found", "dtype")) is not None:
        yield "Dtype", str(dtype)
    if (seed := told(spec, "design", "seed")) is not None:
        yield "Seed", f"{seed} of the design; each trial's own stands beside its reply"


def told(value: Any, *path: Any) -> Any:
    """Return what stands at a path of nested tables; None where one of them is none, or lacks the key."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
