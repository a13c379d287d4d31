"""One process at a time where two would do the same work: a lock that names its holder and goes with it.

The lock is the operating system's (``flock``) on a file in the run directory, so that it can't outlive its process;
what stands in the file only tells who holds it. Which stages exclude each other is said in ``docs/sweeps.md``.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from platform import node

from ..errors import IntrospectionBenchWarning, OutputError, RunLockedError, StoreError, explain
from ..files import make_folder
from ..untrusted import parse_json, read_text

#: What a file system answers that knows no such locks.
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}
_BLINK_S = 0.05


class RunLock:
    """A lock that is held. Made by :func:`hold`."""

    def __init__(self, path: Path, work: str, handle: int) -> None:
        self._path = path
        self._work = work
        self._handle = handle

    def check(self) -> None:
        """Raise :class:`RunLockedError` where somebody deleted the lock's file and another process took it since."""
        if not _is_at(self._path, self._handle):
            handle = _take(self._path, self._work)
            os.close(self._handle)
            self._handle = handle

    def release(self) -> None:
        """Give it back, and remove its file."""
        if _is_at(self._path, self._handle):
            with suppress(OSError):
                self._path.unlink()
        os.close(self._handle)


@contextmanager
def hold(directory: str | Path, name: str, work: str, *, patience_s: float = 0.0) -> Iterator[RunLock]:
    """Hold one of a run directory's locks while the block runs.

    Args:
        directory: the run directory; made where it is missing.
        name: which lock, as part of a file name.
        work: what the holder does, in words ("generates").
        patience_s: seconds to wait for another holder.

    Raises:
        RunLockedError: another process holds it; the message names host, process and since when.
        StoreError: the directory can't be written. On a file system without locks nothing is held, and an
            :class:`~introspection_bench.errors.IntrospectionBenchWarning` says so.
    """
    path = Path(directory) / f".{name}.lock"
    try:
        make_folder(path.parent)
    except OutputError as error:
        raise StoreError(str(error)) from error
    until = time.monotonic() + patience_s
    while True:
        try:
            lock = RunLock(path, work, _take(path, work))
            break
        except RunLockedError:
            if time.monotonic() >= until:
                raise
            time.sleep(_BLINK_S)
    try:
        yield lock
    finally:
        lock.release()


def _take(path: Path, work: str) -> int:
    """Return a handle that holds the lock."""
    while True:
        handle = _opened(path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise _held(path, work) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(handle)
                raise StoreError(
                    explain(str(path), required="a lock on this file", got=str(error), hint="Check its folder.")
                ) from error
            warnings.warn(
                f"{path.parent}: this file system knows no locks, so see to it that no other process {work} there.",
                IntrospectionBenchWarning,
                stacklevel=2,
            )
        # Between opening and locking, the holder before us may have removed the file with its lock.
        if _is_at(path, handle):
            who = {"host": node(), "process": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
            with suppress(OSError):  # a full disk: the lock holds without it
                os.truncate(handle, 0)
                os.pwrite(handle, json.dumps(who).encode(), 0)
            return handle
        os.close(handle)


def _opened(path: Path) -> int:
    try:
        # Not through a link, and without waiting for the other end of a pipe.
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            os.close(handle)
            raise OSError(errno.EEXIST, "a pipe, a device or a hard link")
    except OSError as error:
        raise StoreError(
            explain(
                str(path),
                required="a lock file of this package, or none yet",
                got=error.strerror,
                hint="Check your rights on the run directory; reading it needs none.",
            )
        ) from error
    return handle


def _is_at(path: Path, handle: int) -> bool:
    try:
        there = path.lstat()
    except OSError:
        return False
    return os.path.samestat(there, os.fstat(handle))


def _held(path: Path, work: str) -> RunLockedError:
    try:
        who = parse_json(read_text(path))
        got = f"process {who['process']} on {who['host']}, since {who['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        got = "another process, which has not said yet who it is"
    return RunLockedError(
        explain(
            f"run {path.parent}",
            required=f"no other process that {work}",
            got=got,
            hint="Wait until it is done, or end it: the lock goes with it.",
        )
    )
