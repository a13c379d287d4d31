"""What the clients of both services need: an endpoint that is never left, errors in words, bounded waits."""

from __future__ import annotations

import email.utils
import math
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import attrs

from ...errors import IntrospectionBenchWarning, JudgeError, explain
from ...untrusted import MOST_FILE, MOST_TEXT
from .interview import redact

#: HTTP statuses after which no call can work: key, payment, permission, unknown model or path.
FATAL = frozenset({401, 402, 403, 404})
#: Statuses by which a service says that it did nothing: such a call is not billed, such a batch does not exist.
REJECTED = frozenset({*range(300, 400), 400, 401, 402, 403, 404, 405, 413, 415, 422, 429, 529})
#: What both clients' transport raises before anything was sent.
_UNSENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol", "LocalProtocolError"}
#: A wait from this many seconds on is shown.
_SHOWN_FROM_S = 5.0
#: A header's value that is shorter is no secret.
_SHORTEST_SECRET = 8
#: An answer that comes slower than this, in bytes a second, for as long as a call may take does not come.
_LEAST_BYTES_PER_S = 10_000

C = TypeVar("C")


class ForeignAddressError(RuntimeError):
    """A request was about to go to another place than the judge's endpoint."""


class AnswerTooLargeError(RuntimeError):
    """A service sends more than any answer of its can hold."""


class FatalAnswerError(Exception):
    """The service will answer no call at all (key, permission, unknown model); holds a text without the key."""


def key_from_environment(name: str, *, required: bool, environment: Mapping[str, str]) -> str:
    """Return the API key; raises :class:`JudgeError` that names the variable where it is missing or can't be sent."""
    key = environment.get(name, "").strip()
    if required and not key:
        raise JudgeError(
            explain(
                name,
                required="an API key in this environment variable",
                got="nothing",
                hint="Set it, or use the judge 'rules', which needs none. Keys are read from nowhere else.",
            )
        )
    # A header can't hold anything else, and the transport's own error would show the key.
    if not re.fullmatch(r"[\x21-\x7e]*", key):
        raise JudgeError(
            explain(
                name,
                required="an API key of visible ASCII characters",
                got="something else (not shown)",
                hint="Copy the key again: it may hold a line break, a space or a typographic character.",
            )
        )
    return key


def secret_headers(name: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return what this variable has the client send as headers of its own: behind gateways, keys as a rule.

    Values of less than eight characters are left out: they hide nothing, and stand in any text.
    """
    values = (line.partition(":")[2].strip() for line in environment.get(name, "").split("\n"))
    return tuple(value for value in values if len(value) >= _SHORTEST_SECRET)


def open_client(
    client: Callable[..., C], http: Callable[..., Any], *, base_url: str, api_key: str, timeout_s: float
) -> C:
    """Return a service's client that never leaves ``base_url`` and never repeats a call by itself.

    ``client`` and ``http`` are the package's own classes (``Anthropic`` and its ``DefaultHttpxClient``). Redirects
    are not followed, and a request to another scheme, host or port is stopped before it is sent. An answer is read
    within bounds of size and time, whatever it unpacks to and however it drips. Raises :class:`JudgeError` for an
    address that is none, and for proxy or certificate settings that can't be used.
    """
    base_url = base_url.strip()
    if re.search(r"[\s?#\\]", base_url):  # what the client would drop, or send in another form
        raise _no_address(base_url)
    home = _origin(base_url)

    def stay(request: Any) -> None:
        if not same_origin(str(request.url), home):
            raise ForeignAddressError(f"refused to leave {home} for {request.url.copy_with(path='/', query=None)}")

    try:
        transport = http(follow_redirects=False, event_hooks={"request": [stay]})
        transport.send = _within_bounds(transport.send, timeout_s)
        opened: Any = client(
            base_url=base_url, max_retries=0, http_client=transport, api_key=api_key, timeout=timeout_s
        )
        # As the client writes it: a host's name of other letters than ASCII is sent in another form.
        home = _origin(str(opened.base_url))
        return cast("C", opened)
    except Exception as error:  # whatever the environment's proxy and certificate settings lead to
        # Not its message: of a proxy's address, with its password, it shows any part.
        problem = type(error).__name__
    named = [n for n in os.environ if n.lower().endswith("_proxy") or n in ("SSL_CERT_FILE", "SSL_CERT_DIR")]
    raise JudgeError(
        explain(
            "proxy and certificate settings in the environment",
            required="what the HTTP client can use",
            got=problem,
            hint=f"Set here: {sorted(named) or 'none'}. A SOCKS proxy needs the package socksio (pip install socksio); "
            "unset them, or except the endpoint by NO_PROXY.",
        )
    )


def _within_bounds(send: Callable[..., Any], timeout_s: float) -> Callable[..., Any]:
    """Return a transport's ``send`` that reads the answer by itself, within bounds.

    The transport's own timeout begins anew with each byte that comes, and it unpacks whatever it is sent.
    """

    def bounded(request: Any, *, stream: bool = False, **options: Any) -> Any:  # noqa: ARG001  # read whole, always
        response = send(request, stream=True, **options)
        # Only files of results are large.
        most = MOST_FILE if request.method == "GET" else MOST_TEXT
        content = bytearray()
        begun = time.monotonic()
        try:
            for part in response.iter_bytes():
                content += part
                if len(content) > most:
                    raise AnswerTooLargeError(f"an answer of more than {most:,} bytes")
                if time.monotonic() - begun > timeout_s + len(content) / _LEAST_BYTES_PER_S:
                    raise TimeoutError(f"{len(content)} bytes of an answer in {time.monotonic() - begun:.0f} s")
        finally:
            response.close()
        packed = ("content-encoding", "content-length", "transfer-encoding")
        headers = [(k, v) for k, v in response.headers.multi_items() if k.lower() not in packed]
        return type(response)(response.status_code, headers=headers, content=bytes(content), request=request)

    return bounded


def _origin(url: str) -> str:
    """The scheme, host and port of an address; raises :class:`JudgeError` where it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}[parts.scheme]
        if parts.hostname and parts.hostname.encode("idna") and parts.username is None and url.isprintable():
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            return f"{parts.scheme}://{host}:{port}"
    except (ValueError, KeyError):
        pass
    raise _no_address(url)


def _no_address(url: str) -> JudgeError:
    return JudgeError(
        explain(
            "base_url",
            required="an address such as http://localhost:8000/v1, without user name, password or query",
            got=re.sub(r"[?#].*", "?…", re.sub(r".*@", "…@", url, flags=re.DOTALL), flags=re.DOTALL),
            hint="Keys are read from the environment only.",
        )
    )


def same_origin(url: object, other: str) -> bool:
    """Whether an address that a service gave stands at the endpoint ``other``."""
    try:
        return isinstance(url, str) and _origin(url) == _origin(other)
    except JudgeError:
        return False


def status_of(error: Exception | None) -> int | None:
    """The HTTP status behind a client's exception, None where there was no response."""
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def rejected(error: Exception) -> bool:
    """Whether a call certainly did nothing: the service said so, or the request was never sent."""
    return status_of(error) in REJECTED or _unsent(error)


def _unsent(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ForeignAddressError) or type(error).__name__ in _UNSENT:
            return True
        error = error.__cause__
    return False


def worth_repeating(error: Exception) -> bool:
    """Whether the same call may work in a moment: 408, 409, 429, 5xx, a timeout or a cut connection."""
    status = status_of(error)
    if status is not None:
        return status in (408, 409, 429) or status >= 500
    if isinstance(error.__cause__, ForeignAddressError | AnswerTooLargeError):
        return False
    return isinstance(error, TimeoutError) or any(kind.__name__ == "APIConnectionError" for kind in type(error).__mro__)


def describe(error: Exception, secrets: Sequence[str]) -> str:
    """Return one line about a client's exception, without the key and its like: status or kind, then its message."""
    status = status_of(error)
    kind = f"HTTP {status}" if status is not None else type(error).__name__
    message = str(error)
    if status is not None and 300 <= status < 400:
        target = getattr(error, "response").headers.get("location", "nowhere")  # noqa: B009  # any client's error
        message = f"redirects are not followed; this one leads to {target.partition('?')[0]}"
    elif error.__cause__ is not None:
        message += f" ({type(error.__cause__).__name__}: {error.__cause__})"
    # Cut only after the key is out: half a key would not be recognised.
    return redact(f"{kind}: {' '.join(message.split())}", secrets)[:300]


@attrs.frozen
class Tries:
    """How often a call is repeated, and how long at most is waited before. ``stopped`` ends waits of other threads."""

    max_retries: int
    max_wait_s: float
    stopped: threading.Event = attrs.field(factory=threading.Event, eq=False)

    def again(self, error: Exception | None, tried: int) -> bool:
        """Wait and return True where another try is left after ``tried``; False where it isn't."""
        if tried > self.max_retries or self.stopped.is_set():
            return False
        asked = asked_wait_s(error)
        wait = min(min(2.0 ** min(tried - 2, 10), 30.0) if asked is None else asked, self.max_wait_s)
        if wait >= _SHOWN_FROM_S or (asked or 0.0) > wait:
            status = status_of(error)
            wish = "" if asked is None else f"; the service asks for {asked:.0f} s, max_wait_s is {self.max_wait_s:g}"
            warnings.warn(
                f"{'no answer' if status is None else f'HTTP {status}'}: waiting {wait:.0f} s before try "
                f"{tried + 1} of {self.max_retries + 1}{wish}",
                IntrospectionBenchWarning,
                stacklevel=2,
            )
        return not self.stopped.wait(wait)


def asked_wait_s(error: Exception | None) -> float | None:
    """Seconds that a response asks to wait (``retry-after``: seconds or a date); None for nothing usable."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        text = headers.get(name, "")
        try:
            seconds = float(text) * unit
        except ValueError:
            seconds = _until(text)
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None


def _until(date: str) -> float:
    try:
        when = email.utils.parsedate_to_datetime(date)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()
    except (ValueError, OverflowError, IndexError):
        return math.nan
