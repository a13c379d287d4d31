"""Where a report's transcripts lie: within the page, or beside it in files that load as they are looked at.

A page from ``file://`` can fetch nothing, but a script of its own may load further scripts. So each file is a script
that hands over its transcripts: one call, whose arguments are JSON.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs

from ...files import make_own_folder, write_file
from ...trials import TrialRecord
from .transcripts import Transcripts, script_json

#: Up to so many bytes of transcripts a report is one file: about 10,000 trials with replies of 100 tokens.
MOST_IN_PAGE = 8_000_000
#: How large a file beside the page becomes before the next one begins, in bytes.
PART_BYTES = 1_000_000
#: What ``assets/report.js`` calls its end of the call.
_HANDS_OVER = "introspectionBenchPart"
_PART = re.compile(r"\d{4,}-[0-9a-f]{16}\.js")


@attrs.frozen
class Kept:
    """A page's transcripts: ``data`` is the JSON within; beside it lie so many ``files`` in the folder of this name."""

    data: str
    folder: str = ""
    files: int = 0


def folder_beside(page: Path) -> Path:
    """Return the folder in which the transcripts of a large run lie beside its page."""
    return Path(f"{page}.transcripts")


@contextmanager
def kept_transcripts(
    page: Path, records: Sequence[TrialRecord], prompts: Mapping[tuple[str, str | None], str]
) -> Iterator[Kept]:
    """Yield the transcripts for ``page``, to be written within; files beside it are there already.

    The names of files say their content: an older page finds its own until the new one has taken its place. After
    that, files that the new page does not name are removed, and where it was not written, those made for it.
    """
    folder = folder_beside(page)
    before = _parts_in(folder)
    transcripts = Transcripts(records, prompts)
    if _fits(transcripts):
        yield Kept(script_json(transcripts.payload(list(transcripts.rows()))))
        _remove(folder, before)
        return
    make_own_folder(folder)
    try:
        heads, parts = _write(transcripts, folder)
        beside = {"folder": folder.name, "address": quote(os.fsencode(folder.name)), "parts": parts}
        yield Kept(script_json(transcripts.payload(heads) | beside), folder.name, len(parts))
    except BaseException:
        _remove(folder, _parts_in(folder) - before)
        raise
    _remove(folder, _parts_in(folder) - {name for name, _ in parts})


def _fits(transcripts: Transcripts) -> bool:
    total = 0
    for row in transcripts.rows():
        total += len(script_json(row))
        if total > MOST_IN_PAGE:
            return False
    return True


def _write(transcripts: Transcripts, folder: Path) -> tuple[list[list[Any]], list[tuple[str, int]]]:
    """Write the files; return what the page holds of each trial, and each file's name and number of trials."""
    heads: list[list[Any]] = []
    parts: list[tuple[str, int]] = []
    waiting: list[str] = []
    size = 0
    for row in transcripts.rows():
        heads.append(_head(row))
        waiting.append(script_json(_rest(row)))
        size += len(waiting[-1])
        if size > PART_BYTES:
            parts.append((_write_part(folder, len(parts), waiting), len(waiting)))
            waiting, size = [], 0
    if waiting:
        parts.append((_write_part(folder, len(parts), waiting), len(waiting)))
    return heads, parts


def _write_part(folder: Path, number: int, rows: Sequence[str]) -> str:
    text = f"{_HANDS_OVER}({number},[{','.join(rows)}])\n".encode("ascii")
    name = f"{number:04}-{hashlib.sha256(text).hexdigest()[:16]}.js"
    write_file(folder / name, text)
    return name


def _head(row: list[Any]) -> list[Any]:
    """Return what filters and the list need of a trial: its name, and what was answered about it."""
    return [*row[:4], [[judge, values, None if unscored is None else ""] for judge, values, unscored, *_ in row[9]]]


def _rest(row: list[Any]) -> list[Any]:
    return [*row[4:9], [verdict[2:] for verdict in row[9]], *row[10:]]


def _parts_in(folder: Path) -> set[str]:
    found: set[str] = set()
    with suppress(OSError, ValueError):  # not there, or not to be read: who writes to it is told
        if not folder.is_symlink():
            found.update(path.name for path in folder.iterdir() if _PART.fullmatch(path.name))
    return found


def _remove(folder: Path, names: set[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError, ValueError):  # something else is in it, or it isn't there
        folder.rmdir()
