"""What others wrote: files read within bounds, JSON and TOML that can't exhaust the reader, text made safe to show.

Everything here raises OSError or ValueError with a reason; the caller says which file it was and what was wanted.
"""

from __future__ import annotations

import codecs
import json
import math
import os
import re
import stat
import sys
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

#: Bytes of a file that people write by hand (specs, concepts, rubrics, labels).
MOST_TEXT = 2**24
#: Bytes of one line of an export, and of a results file that has to be read whole.
MOST_LINE, MOST_FILE = 2**26, 2**30
#: Levels of nesting; honest files have fewer than ten.
MOST_DEPTH = 100
#: Control, format and private characters, halves of pairs, what is not assigned, line and paragraph separators.
_UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
_LONG_KEY = re.compile(rf"""^[\s\[]*(?:[\w"'-]+[ \t]*\.[ \t]*){{{MOST_DEPTH}}}""", re.MULTILINE)
#: What a cell begins with that a spreadsheet takes for a formula; some full-width forms count as well.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_OTHER_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def regular_file(path: str | Path, most: int) -> Path:
    """Return the path of an ordinary file of at most so many bytes.

    Folders, pipes and devices are refused: reading those never ends or has effects. Raises OSError or ValueError.
    """
    path = Path(path)
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{os.fspath(path)} is not an ordinary file")
    if found.st_size > most:
        raise ValueError(f"{found.st_size:,} bytes; at most {most:,} are read")
    return path


def read_text(path: str | Path, most: int = MOST_TEXT) -> str:
    """Return an ordinary file's text, which must be UTF-8 without NUL; a byte order mark is dropped.

    Raises OSError or ValueError that says what is wrong.
    """
    with regular_file(path, most).open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:  # it grew meanwhile
        raise ValueError(f"more than {most:,} bytes")
    for mark, name in _OTHER_ENCODINGS.items():
        if data.startswith(mark):
            raise ValueError(f"text in {name}; save it as UTF-8")
    text = data.decode("utf-8-sig")
    if "\0" in text:
        raise ValueError("NUL characters; it is no text file, or in another encoding than UTF-8")
    return text


def lines(path: str | Path, most: int | None = None) -> Iterator[bytes]:
    """Yield an ordinary file's lines, a byte order mark dropped; raises OSError for one of more than ``most`` bytes."""
    most = MOST_LINE if most is None else most
    with regular_file(path, sys.maxsize).open("rb") as file:
        number = 0
        while line := file.readline(most + 1):
            number += 1
            if len(line) > most:
                raise OSError(f"line {number} has more than {most:,} bytes")
            yield line.removeprefix(codecs.BOM_UTF8) if number == 1 else line


def parse_toml(text: str) -> dict[str, Any]:
    """Return a TOML document; raises ValueError also where it is nested too deep."""
    if _LONG_KEY.search(text):  # a key of n parts takes tomllib n² steps: a minute for 100 kB
        raise ValueError(f"a key of more than {MOST_DEPTH} parts")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def parse_json(text: str | bytes) -> Any:
    """Return a JSON value; raises ValueError for what is none, nested too deep, or holds a number that isn't finite.

    A key that stands twice is refused too: readers take one or the other.
    Python's reader takes NaN and Infinity, and makes infinity of 1e999: no JSON, and no measurement. A lone surrogate
    stays, since replies may hold one; whoever writes or shows it has to escape it (:func:`visible`).
    """
    try:
        value = json.loads(text, parse_constant=_not_json, parse_float=_finite, object_pairs_hook=each_once)
    except RecursionError:
        raise ValueError("nested too deep") from None
    brackets = (text.count("{") + text.count("[")) if isinstance(text, str) else (text.count(b"{") + text.count(b"["))
    if brackets > MOST_DEPTH and _depth_exceeds(value, MOST_DEPTH):
        raise ValueError(f"nested deeper than {MOST_DEPTH} levels")
    return value


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object's pairs a dict; raises :class:`ValueError` where a key stands twice."""
    check_once(name for name, _ in pairs)
    return dict(pairs)


def check_once(names: Iterable[str]) -> None:
    """Raise ValueError where a name (of a key, of a column) stands twice: readers would take one or the other."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{name[:40]!r} stands twice")
        seen.add(name)


def _depth_exceeds(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most + 1):
        level = [v for v in level if isinstance(v, dict | list)]
        level = [inner for v in level for inner in (v.values() if isinstance(v, dict) else v)]
    return bool(level)


def _not_json(name: str) -> float:
    raise ValueError(f"the number {name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:40]} is too large")
    return number


def visible(text: str, keep: str = "") -> str:
    """Return text in which what can't be seen, or steers a terminal, stands as an escape; ``keep`` stays as it is.

    Controls, escapes of terminals, bidirectional overrides, lone surrogates, line separators. The result can always be
    encoded as UTF-8.
    """
    if text.isprintable():  # most texts, at a hundredth of the cost
        return text
    return "".join(escape(c) if unicodedata.category(c) in _UNSEEN and c not in keep else c for c in text)


def escape(character: str) -> str:
    """Return a character as JSON writes it in ASCII: a backslash, u and four digits."""
    code = ord(character)
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def encodable(text: str) -> str:
    """Return text that UTF-8 can carry: a lone surrogate, which frames and Parquet refuse, stands as an escape."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def one_line(text: str, most: int) -> str:
    """Return text as one line of at most so many characters, for cells, titles and labels."""
    line = visible(" ".join(text.split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def no_formula(text: str) -> str:
    """Return text for a spreadsheet: behind an apostrophe where that would calculate it (OWASP, CSV injection)."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text
