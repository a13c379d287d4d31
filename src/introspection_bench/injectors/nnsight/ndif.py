"""Jobs on NDIF (or a server of its kind): submitted without waiting, kept in a file, collected when they are done."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch
from nnsight import TransformersModel
from nnsight.intervention.backends.local import LocalSimulationBackend
from nnsight.intervention.backends.remote import RemoteBackend, RemoteError

from ...digests import digest
from ...errors import BackendUnavailableError, ModelError, ModelNotFoundError, SpecError, explain
from ...files import write_file
from ...loading import advice
from ...untrusted import parse_json, read_text
from .. import reading, steering
from ..hf import blocks, sampling
from ..requests import Request
from . import lens, traces

_FORMAT = 1


class NdifBackend(RemoteBackend):  # type: ignore[misc]  # nnsight ships no types
    """nnsight's backend for non-blocking jobs, with results that can't run code here.

    nnsight loads what a server sends with Python's pickle, which may execute anything; our traces save tensors,
    numbers and lists alone, so PyTorch's restricted loader will do.
    """

    def finalize(self, content: bytes) -> Any:
        """Decompress and load a result blob."""
        if self.compress:
            import zstandard

            content = zstandard.ZstdDecompressor().decompress(content)
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def check_remote(remote: bool | str, model: Any, local_options: Mapping[str, Any]) -> None:
    """Raise for a remote model that can't be opened as asked: no key, no name, options of local models."""
    given = sorted(name for name, value in local_options.items() if value)
    if given:
        raise ModelError(
            explain(
                "remote", required="no options of local models", got=given, hint="The server decides them; drop them."
            )
        )
    if not isinstance(model, str | Path):
        raise ModelError(
            explain("model", required="a hub id", got=type(model).__name__, hint="NDIF serves models by their name.")
        )
    if not (remote is True or remote == "local" or str(remote).startswith(("http://", "https://"))):
        raise ModelError(
            explain(
                "remote",
                required="True, 'local' or the URL of a server",
                got=remote,
                hint="See the docs' page nnsight.",
            )
        )
    if remote is True and not _key():
        raise BackendUnavailableError(
            explain(
                "remote",
                required="an NDIF key in the environment variable NDIF_API_KEY",
                got="none",
                hint="Get one from NDIF; it is never written to a file here.",
            )
        )


def load_tokenizer(model: str, revision: str | None, *, trust_remote_code: bool) -> Any:
    """Load a remote model's tokenizer; raises :class:`ModelNotFoundError` where the name leads nowhere."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model, revision=revision, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(
            explain(
                "model",
                required="a hub id with a tokenizer",
                got=f"{model}: {error}",
                hint=advice(error, "Check id and network."),
            )
        ) from error


def open_remote(model: str, tokenizer: Any, revision: str | None, *, trust_remote_code: bool) -> Any:
    """Build nnsight's model from the configuration alone: the weights stay on the server.

    Raises :class:`ModelNotFoundError` where the name leads nowhere, or to code that may not run.
    """
    try:
        return TransformersModel(
            model,
            task="text-generation",
            tokenizer=tokenizer,
            revision=revision,
            trust_remote_code=trust_remote_code,
        )
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(
            explain(
                "model",
                required="a hub id with a configuration",
                got=f"{model}: {error}",
                hint=advice(error, "Check id and network."),
            )
        ) from error


def _key() -> str | None:
    from nnsight import CONFIG

    return os.environ.get("NDIF_API_KEY") or CONFIG.API.APIKEY


def backend_for(model: Any, remote: bool | str) -> Any:
    """Return what runs a trace: None (here and now), nnsight's local simulation, or a job on a server."""
    if not remote:
        return None
    _ship_our_functions()
    if remote == "local":
        return LocalSimulationBackend(model)
    return NdifBackend(
        model.to_model_key(),
        host=None if remote is True else str(remote),
        api_key=_key(),
        env=model._remoteable_get_env(),
        blocking=False,
    )


def _ship_our_functions() -> None:
    """Have the source of what a trace calls travel with it: no server has this package installed."""
    import nnsight

    for module in (traces, lens, reading, steering, blocks, sampling):
        nnsight.register(module)


def request_key(request: Request, server: Sequence[str]) -> str:
    """Return what decides a request's answer by ``server`` (model and address): under this its job is found again."""
    reads = [
        [r.kind, attrs.astuple(r.positions), r.layers, r.sets, [v.digest for v in r.vectors]] for r in request.reads
    ]
    return digest(
        "ndif_request",
        2,
        [
            server,
            request.prompt.token_ids,
            [attrs.astuple(steer.key) for steer in request.steers],
            attrs.asdict(request.sampling),
            request.seed,
            request.forced,
            reads,
        ],
    )


@attrs.frozen(eq=False)
class Saved:
    """What a trace saved, by name; None while its job is still running, with the job's id and rows."""

    values: dict[str, Any] | None
    job: str | None = None
    backend: Any = None


class Jobs:
    """The jobs that were submitted and not yet collected.

    With a ``path`` they are kept in a JSON file (job id to the keys of its requests, in row order, and the server's
    address; no key, no prompt), rewritten as a whole and renamed into place, so that a killed process leaves the old
    one or the new. A later process with the same requests collects them instead of paying again.

    Raises :class:`SpecError` for a file that isn't one of ours.
    """

    def __init__(self, path: Path | None, poll_seconds: float = 2.0) -> None:
        self._path = path
        self._poll_seconds = poll_seconds
        self._rows: dict[str, list[str]] = {}
        if path is not None and path.exists():
            self._rows = _read(path)

    def add(self, backend: Any, keys: Sequence[str]) -> Saved:
        """Note a job that was just submitted."""
        self._rows[backend.job_id] = list(keys)
        self._write()
        return Saved(None, backend.job_id, backend)

    def known(self, keys: Sequence[str], make_backend: Callable[[], Any]) -> Saved | None:
        """Return the unfinished job that answers exactly these requests, in this order, or None."""
        for job, rows in self._rows.items():
            if rows == list(keys):
                backend = make_backend()
                backend.job_id = job
                return Saved(None, job, backend)
        return None

    def wait(self, waiting: Sequence[tuple[Any, Saved]]) -> Iterator[tuple[tuple[Any, Saved], dict[str, Any]]]:
        """Yield each job with its result, as they finish; a job is forgotten once its result is here."""
        open_jobs = list(waiting)
        while open_jobs:
            still = []
            for item in open_jobs:
                values = self._poll(item[1])
                if values is None:
                    still.append(item)
                    continue
                yield item, values
                # Only now: had the consumer died over it, the next process would collect it again.
                self._forget(item[1].job)
            open_jobs = still
            if open_jobs:
                time.sleep(self._poll_seconds)

    def result(self, backend: Any) -> dict[str, Any]:
        """Wait for one small job that is not worth keeping."""
        saved = Saved(None, backend.job_id, backend)
        while True:
            values = self._poll(saved)
            if values is not None:
                return values
            time.sleep(self._poll_seconds)

    def _poll(self, saved: Saved) -> dict[str, Any] | None:
        try:
            values: dict[str, Any] | None = saved.backend.poll()
        except RemoteError:
            self._forget(saved.job)  # it failed there; submitting it again is the caller's to decide
            raise
        return values

    def _forget(self, job: str | None) -> None:
        if job is not None and self._rows.pop(job, None) is not None:
            self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        text = json.dumps({"format": _FORMAT, "jobs": self._rows}, indent=1)
        write_file(self._path, text.encode())


def _read(path: Path) -> dict[str, list[str]]:
    try:
        data = parse_json(read_text(path))
        jobs = data["jobs"]
        fine = data["format"] == _FORMAT and all(
            isinstance(k, str) and isinstance(v, list) and all(isinstance(r, str) for r in v) for k, v in jobs.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        jobs, fine, problem = {}, False, f"{type(error).__name__}: {error}"
    else:
        problem = "another layout"
    if not fine:
        raise SpecError(
            explain(
                f"jobs file {path}",
                required="a file that this injector wrote",
                got=problem,
                hint="Name another file; the jobs in this one would be submitted again.",
            )
        )
    return dict(jobs)
