"""Files that are whole or not there, and never somebody else's: the one way in which this package writes to disk.

What is written goes into a new file beside its place, to the disk, and is then moved: a killed process, a full disk or
a lost machine leaves the old file or the new one. Nothing is written through a link, into a pipe or onto a device.
"""

from __future__ import annotations

import errno
import os
import stat
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from .digests import digest
from .errors import IntrospectionBenchError, OutputError, explain

#: What a file under way is called ends so; one that a killed process left is removed after a day.
_PART = ".part"
_LEFT_OVER_S = 24 * 3600.0

_WAYS_OUT = {
    errno.ENOSPC: "The disk is full: make room and do it again.",
    errno.EDQUOT: "Your quota is used up: make room and do it again.",
    errno.EFBIG: "The file would be larger than this process may write (ulimit -f).",
    errno.EROFS: "That disk can only be read: name a place that can be written.",
    errno.EACCES: "You have no right to write there: name another place.",
    errno.EPERM: "You have no right to write there: name another place.",
    errno.ENOTDIR: "A part of the path is a file: name another place.",
    errno.EEXIST: "There is a file where a folder is needed: name another place.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ELOOP: "A part of the path is a link that leads in a circle.",
}


def write_file(path: str | Path, data: bytes) -> Path:
    """Write a file, whole or not at all, and return its path; see :func:`replacing`."""
    with replacing(path) as new:
        new.write_bytes(data)
    return Path(path)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield the path of an empty new file; what was written to it takes the place of ``path`` at the end.

    Missing folders are made. An existing file keeps its permissions, a new one gets the usual ones (umask). Raises
    :class:`OutputError`, with ``path`` as it was, where it is a link, a folder, a pipe or a device, and where the
    disk is full or can't be written.
    """
    path = Path(path)
    with explaining(path):
        make_folder(path.parent)
        _check_place(path)
        new = _new_beside(path)
        try:
            yield new
            _to_disk(new)
            new.replace(path)
            # The name is on the disk only when its folder is.
            _to_disk(path.parent)
        finally:
            new.unlink(missing_ok=True)


def make_folder(path: str | Path) -> Path:
    """Make a folder with its parents, or take the one that is there; raises :class:`OutputError`."""
    path = Path(path)
    with explaining(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def make_own_folder(path: str | Path) -> Path:
    """Like :func:`make_folder`, for a folder within one of ours: raises :class:`OutputError` where it is a link."""
    path = Path(path)
    with explaining(path):
        if path.is_symlink():
            raise _not_ours(path, f"a link to {os.readlink(path)!r}", "a folder, or nothing yet")
    return make_folder(path)


def check_in_place(path: str | Path) -> None:
    """Raise :class:`OutputError` unless a file that is changed in place is nobody else's: no link, one name alone.

    A hard link is another file's name: a copy that was made by linking would change with it.
    """
    path = Path(path)
    with explaining(path):
        _check_place(path)
        names = 1
        with suppress(FileNotFoundError):  # another process's journal may go at any moment
            names = path.stat().st_nlink
    if names > 1:
        raise _not_ours(path, f"a file with {names} names (hard links)", "a file of its own")


def file_stem(text: str) -> str:
    """Return the beginning of a file name that says ``text``: at most 40 letters, digits and "_", 80 bytes.

    Not unique by itself: add what tells two apart, such as a digest, which also tells names apart where a file system
    takes "A" for "a", and keeps them from being a name that a system reserves ("CON").
    """
    composed = unicodedata.normalize("NFC", text)
    letters = "".join(c if c.isalnum() else "_" for c in composed)[:40]
    return letters.encode()[:80].decode(errors="ignore") or "_"


def _check_place(path: Path) -> None:
    try:
        found = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found):
        raise _not_ours(path, f"a link to {os.readlink(path)!r}", "a file, or nothing yet")
    if not stat.S_ISREG(found):
        raise _not_ours(path, "a folder" if stat.S_ISDIR(found) else "a pipe or device", "a file, or nothing yet")


def _not_ours(path: Path, got: str, required: str) -> OutputError:
    return OutputError(
        explain(str(path), required=required, got=got, hint="Nothing was written; move it away, or name another place.")
    )


def _new_beside(path: Path) -> Path:
    # The name is short whatever the file's is, and says which file it was to be.
    prefix = f".{digest('part', 1, str(path.name))[:8]}-"
    for old in path.parent.glob(f"{prefix}*{_PART}"):
        with suppress(OSError):
            if time.time() - old.lstat().st_mtime > _LEFT_OVER_S:
                old.unlink()
    new = path.parent / f"{prefix}{token_hex(6)}{_PART}"
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    with suppress(FileNotFoundError):
        new.chmod(stat.S_IMODE(path.stat().st_mode))
    return new


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems can't do it for a folder
            raise
    finally:
        os.close(handle)


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Turn what the system raises where ``path`` can't be written into :class:`OutputError` that says what to do."""
    try:
        yield
    except IntrospectionBenchError:
        raise
    except OSError as error:
        hint = _WAYS_OUT.get(error.errno or 0, "Nothing was left half written.")
        raise OutputError(
            explain(str(path), required="a place that can be written", got=error.strerror or str(error), hint=hint)
        ) from error
    except ValueError as error:
        # Python's answer to a path with NUL or half a surrogate pair in it; any other is the caller's.
        if _is_name(path):
            raise
        raise OutputError(
            explain("path", required="a path that the system can write", got=repr(str(path)), hint="Choose another.")
        ) from error


def _is_name(path: Path) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False
