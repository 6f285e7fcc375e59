"""One connection's share of a download: ask for what is missing, write it, say how far it is."""

from __future__ import annotations

import email.utils
import http.client
import io
import json
import logging
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melanoma.errors import FaultError, InputError
from melanoma.files import FULL, read_json, write_json

_LOG = logging.getLogger(__name__)

_BLOCK = 1 << 20
_LOG_SECONDS, _LOG_SHARE = 5.0, 0.05
_SPARE_BYTES = 1 << 20
"""Room left on the disk for the small files beside the large one."""

_TRY_LATER = {408, 425, 429}
"""4xx statuses that mean later, not never (RFC 9110, RFC 6585, RFC 8470)."""

_COMPRESSED = {"gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress"}
"""Content codings that change the bytes (IANA's registry, RFC 9110)."""

_CURES = {
    401: "it needs a login: fetch it by hand and give the local path instead",
    403: "access is refused: fetch it by hand in a browser and give the local path instead",
    404: "nothing is there: correct the address, or give the path of a local copy",
    407: "the proxy wants a login: set https_proxy=http://user:password@host:port",
    410: "it was taken away: correct the address, or give the path of a local copy",
}


class TransferError(Exception):
    """A failure that may pass: broken connection, busy server.

    Attributes:
        retry_after: seconds that the server asked to wait, 0 where it did not.
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True)
class Partial:
    """What has been received so far, and which version of the file it belongs to.

    Attributes:
        source: the URL.
        path: the bytes.
        state: JSON with source, etag, modified and length.
    """

    source: str
    path: Path
    state: Path

    @classmethod
    def of(cls, target: Path, source: str) -> Partial:
        """The partial file of a target; one that came from another source is thrown away."""
        path = target.with_name(f".{target.name}.part")
        partial = cls(source, path, target.with_name(f".{target.name}.part.json"))
        if partial.version().get("source") != source:
            partial.discard()
        return partial

    @property
    def received(self) -> int:
        """Bytes received so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self) -> dict[str, Any]:
        """The server's description of the file, empty where there is none."""
        try:
            state = read_json(self.state)
        except (OSError, json.JSONDecodeError):
            return {}
        return state if isinstance(state, dict) else {}

    def begin(self, version: dict[str, Any]) -> None:
        """Forget what was received and remember the version that comes next."""
        self.path.unlink(missing_ok=True)
        write_json(self.state, {"source": self.source, **version})

    def discard(self) -> None:
        """Remove what was received."""
        self.path.unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)

    def finish(self, target: Path) -> None:
        """Rename to the target, durably."""
        with self.path.open("rb") as stream:
            os.fsync(stream.fileno())
        self.path.replace(target)
        self.state.unlink(missing_ok=True)


def receive(
    partial: Partial,
    opener: urllib.request.OpenerDirector,
    size: int | None,
    *,
    timeout: float,
) -> None:
    """Receive what is missing of a file over one connection.

    Args:
        partial: what is there already; grows.
        opener: opens the URL.
        size: bytes expected in all, where known.
        timeout: seconds without a byte before the connection counts as broken.

    Raises:
        TransferError: it may work later; what was received is kept.
        InputError: it will not work.
    """
    version = partial.version()
    validator = _validator(version)
    start = partial.received if validator else 0
    if start and start == version.get("length"):
        return
    request = urllib.request.Request(  # noqa: S310 - the caller has checked the scheme
        partial.source, headers={"Accept-Encoding": "identity", "User-Agent": "melanoma"}
    )
    if start and validator:
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", validator)
    try:
        response = opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(partial, error) from error
    except (OSError, http.client.HTTPException) as error:
        raise _no_answer(partial.source, error) from error
    with response:
        _check_whole(partial, response)
        start, length = _agree(partial, response, start, size)
        _check_room(partial, (length or size or 0) - start)
        _copy(partial, response, start, length)


def _check_whole(partial: Partial, response: http.client.HTTPResponse) -> None:
    """Refuse an answer that isn't the file as it is, which no length would tell."""
    if response.status not in (200, 206):
        raise InputError(
            f"{partial.source}: HTTP {response.status}, which brings no file: correct the address"
        )
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding in _COMPRESSED:
        raise InputError(
            f"{partial.source}: sent as {encoding}, although the file itself was asked for: fetch "
            "it by hand and give the local path instead"
        )


def check_start(name: str, source: str, start: bytes) -> None:
    """Check by its first bytes that a file can be what its name says.

    Args:
        name: file name; .zip must begin as a zip, nothing may begin as a page.
        source: where it comes from, for the message.
        start: the first bytes.

    Raises:
        InputError: it is a page (of a login, of an error), JSON in place of a table, or no zip.
    """
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise InputError(
            f"{source}: a web page came in place of {name}, of a login or an error: "
            "fetch it by hand in a browser and give the local path instead"
        )
    if name.endswith(".csv") and start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        raise InputError(
            f"{source}: JSON came in place of {name}, perhaps of an error: {start[:80]!r}: correct "
            "the address, or give the path of a local copy"
        )
    if name.endswith(".zip") and not start.startswith(b"PK"):
        raise InputError(
            f"{source}: not a zip (begins with {start[:8]!r}): correct the address or path"
        )


def _validator(version: dict[str, Any]) -> str | None:
    """What tells one version from another in If-Range, which takes no weak ETag (RFC 9110)."""
    etag = version.get("etag")
    if etag and not etag.startswith("W/"):
        return str(etag)
    return version.get("modified")


def _refusal(partial: Partial, error: urllib.error.HTTPError) -> Exception:
    if error.code == 416:
        partial.discard()
        return TransferError("the server refused the range (HTTP 416): starting anew")
    if error.code in _TRY_LATER or error.code >= 500:
        wait = _seconds(error.headers.get("Retry-After"))
        return TransferError(f"HTTP {error.code} {error.reason}", wait)
    cure = _CURES.get(error.code, "correct the address, or give the path of a local copy")
    return InputError(f"{partial.source}: HTTP {error.code} {error.reason}: {cure}")


def _no_answer(source: str, error: Exception) -> Exception:
    reason = getattr(error, "reason", error)
    if isinstance(error, http.client.InvalidURL) or reason == "no host given":
        blank = "write %20 for a blank" if " " in source else "correct it"
        return InputError(f"{source}: not an address ({reason}): {blank}")
    if isinstance(reason, ssl.SSLCertVerificationError):
        return InputError(
            f"{source}: the server's certificate is not trusted ({reason.verify_message}): "
            "behind a proxy that opens TLS, set SSL_CERT_FILE to its certificate"
        )
    return TransferError(f"no answer ({reason or type(error).__name__})")


def _seconds(retry_after: str | None) -> float:
    """Retry-After in seconds, given as such or as a date; 0 where missing or unreadable."""
    if not retry_after:
        return 0.0
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return 0.0


def _agree(
    partial: Partial, response: http.client.HTTPResponse, start: int, size: int | None
) -> tuple[int, int | None]:
    """Where the bytes that come begin, and how long the whole file is.

    A server that ignores the range, or whose file has changed, sends the whole: what was there
    is thrown away.
    """
    headers = response.headers
    if headers.get_content_type() == "text/html":
        check_start(_name(partial), partial.source, b"<")
    version = {"etag": headers.get("ETag"), "modified": headers.get("Last-Modified")}
    if response.status == 206:
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        known = partial.version()
        same = all(known.get(key) == value for key, value in version.items() if value)
        if not (span and int(span[1]) == start and same):
            partial.discard()
            raise TransferError("the file has changed on the server: starting anew")
        length = known.get("length") if span[2] == "*" else int(span[2])
    else:
        start = 0
        announced = headers.get("Content-Length", "")
        length = int(announced) if announced.isdigit() else None
        partial.begin({**version, "length": length})
    if size is not None and length is not None and length != size:
        partial.discard()
        raise InputError(
            f"{partial.source}: expected {size} bytes, the server has {length}: "
            "not the file that was meant; correct the address"
        )
    return start, length


def _name(partial: Partial) -> str:
    return partial.path.name.removeprefix(".").removesuffix(".part")


def _check_room(partial: Partial, needed: int) -> None:
    folder = partial.path.parent
    free = shutil.disk_usage(folder).free
    if needed + _SPARE_BYTES > free:
        raise FaultError(
            f"{folder.absolute()}: no room for {_name(partial)}: {needed} bytes needed, "
            f"{free} free: make room, or work on another disk"
        )


def _copy(
    partial: Partial, response: http.client.HTTPResponse, start: int, length: int | None
) -> None:
    """Append what comes to the partial file."""
    progress = _Received(_name(partial), start, length)
    received = start
    # Unbuffered: a full disk must be noticed when writing, not when closing.
    with partial.path.open("ab", buffering=0) as stream:
        while block := _read(response):
            if received == 0:
                _check_first_block(partial, block)
            _write(partial, stream, block)
            received += len(block)
            progress.tell(received)
    if length is not None and received < length:
        raise TransferError(f"the connection broke after {received} of {length} bytes")


def _read(response: http.client.HTTPResponse) -> bytes:
    """What has come by now, at most a block: waiting for a whole one would be silent for long."""
    try:
        return response.read1(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise TransferError(f"the connection broke ({error or type(error).__name__})") from error


def _check_first_block(partial: Partial, block: bytes) -> None:
    try:
        check_start(_name(partial), partial.source, block)
    except InputError:
        partial.discard()
        raise


def _write(partial: Partial, stream: io.RawIOBase, block: bytes) -> None:
    rest = memoryview(block)
    try:
        while rest:
            rest = rest[stream.write(rest) or 0 :]
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise FaultError(
            f"{partial.path.parent.absolute()}: the disk or your quota is full; "
            f"make room: the same command resumes {_name(partial)}"
        ) from error


class _Received:
    """A log line every few seconds or percent."""

    def __init__(self, name: str, start: int, length: int | None) -> None:
        self._name, self._start, self._length = name, start, length
        self._began = self._last_time = time.monotonic()
        self._last = start
        if start:
            _LOG.info("%s: resuming at %.1f MB", name, start / 1e6)

    def tell(self, received: int) -> None:
        now = time.monotonic()
        step = _LOG_SHARE * self._length if self._length else float("inf")
        due = now - self._last_time >= _LOG_SECONDS or received - self._last >= step
        if not due and received != self._length:
            return
        self._last_time, self._last = now, received
        rate = (received - self._start) / max(now - self._began, 1e-3)
        if not self._length:
            _LOG.info("%s: %.1f MB, %.1f MB/s", self._name, received / 1e6, rate / 1e6)
            return
        _LOG.info(
            "%s: %.1f of %.1f MB, %.0f %%, %.1f MB/s, %.0f s to go",
            self._name,
            received / 1e6,
            self._length / 1e6,
            100 * received / self._length,
            rate / 1e6,
            (self._length - received) / max(rate, 1.0),
        )
