"""Fetching a file whole: linked where it is local, resumed and verified where it is not."""

from __future__ import annotations

import logging
import os
import random
import time
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from melanoma import isic
from melanoma.errors import InputError
from melanoma.files import atomic, sha256_of
from melanoma.transfer import Partial, TransferError, check_start, receive

_LOG = logging.getLogger(__name__)

_ATTEMPTS = 8
"""Failures in a row, without a byte of progress, before giving up."""

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
"""Seconds between attempts; doubled each time, and the bound of a server's Retry-After."""


def fetch(
    source: str,
    target: Path | str,
    *,
    size: int | None = None,
    sha256: str | None = None,
    allow_http: bool = False,
    attempts: int = _ATTEMPTS,
    timeout: float = 30.0,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Make `target` the file that `source` names.

    A local source is never copied: `target` becomes a symbolic link to its absolute path. A
    remote one is received under another name and renamed when it is whole and verified; a call
    that was killed is taken up again by the same call.

    Args:
        source: https URL, http URL where allowed, file:// URL, or a path relative to the working
            directory.
        target: what to write; its suffix says what to expect (.zip, .csv).
        size: bytes expected, where known.
        sha256: hex digest expected, or the start of one, where known.
        allow_http: also accept http, which anyone on the way can tamper with.
        attempts: failures in a row, without progress, before giving up.
        timeout: seconds without a byte before the connection counts as broken.
        sleep: waits between attempts.

    Raises:
        InputError: the source is missing, refused, not what was expected, or there is no room.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    scheme = scheme_of(source)
    if scheme in ("http", "https"):
        if scheme == "http" and not allow_http:
            raise InputError(f"{source}: http is not safe against tampering: use https")
        partial = Partial.of(target, source)
        opener = _opener(allow_http)
        _receive_all(partial, opener, size, attempts=attempts, timeout=timeout, sleep=sleep)
        _verify_partial(partial, target, size, sha256)
        partial.finish(target)
        _LOG.info("%s: complete, %d bytes", target, target.stat().st_size)
    elif scheme in ("", "file"):
        refuse_itself(source, target)
        _link(local_path(source), target, size, sha256)
    else:
        raise InputError(f"{source}: {scheme}:// is not supported: use https://, file:// or a path")


def fetch_official(
    set_name: str, kind: str, source: str, target: Path | str, *, allow_http: bool = False
) -> None:
    """Fetch one file of the challenge; the official one is held to its known size and digest.

    Args:
        set_name: "train" or "test".
        kind: "images", "ground_truth" or "metadata".
        source: as for `fetch`.
        target: as for `fetch`.
        allow_http: as for `fetch`.

    Raises:
        InputError: as for `fetch`.
    """
    official = isic.OFFICIAL_FILES[set_name, kind]
    known = source == official.url
    fetch(
        source,
        target,
        size=official.size if known else None,
        sha256=official.sha256 if known else None,
        allow_http=allow_http,
    )


def scheme_of(source: str) -> str:
    """The scheme of a source in small letters, "" for a path.

    Raises:
        InputError: an address that is none, such as https://[::1/a.csv.
    """
    try:
        return urlsplit(source).scheme.lower()
    except ValueError as error:
        raise InputError(f"{source}: not an address ({error}): correct it") from None


def local_path(source: str) -> Path:
    """The file that a local source names, relative ones as they are.

    Args:
        source: a file:// URL, or a path.

    Raises:
        InputError: it names another machine.
    """
    if not source.lower().startswith("file:"):
        return Path(source).expanduser()
    parts = urlsplit(source)
    if parts.netloc not in ("", "localhost"):
        raise InputError(
            f"{source}: file://{parts.netloc}/ names another machine: "
            "write file:/// and the absolute path"
        )
    return Path(urllib.request.url2pathname(parts.path))


def refuse_itself(source: str, target: Path | str) -> None:
    """Refuse a local source that is the very file to be made, which is removed to be made anew.

    Args:
        source: as for `fetch`.
        target: what is to be written.

    Raises:
        InputError: they are one file; a link from the target to the source is none of that.
    """
    if scheme_of(source) in ("http", "https"):
        return
    path, target = local_path(source), Path(target)
    place = target.parent.resolve() / target.name
    if place in (path.parent.resolve() / path.name, path.resolve()):
        raise InputError(
            f"{source}: this is where the workflow puts the file, and would remove it to make it "
            "anew: name the file's address instead (what lies there isn't fetched again), or move "
            "it elsewhere and name that place"
        )


def _link(path: Path, target: Path, size: int | None, sha256: str | None) -> None:
    where = path.absolute()
    if not path.is_file():
        cure = f"relative paths start from {Path.cwd()}" if not path.is_absolute() else "check it"
        state = "is not a file" if path.exists() else "does not exist"
        raise InputError(f"{path}: this local file {state} (looked at {where}): {cure}")
    if not os.access(path, os.R_OK):
        raise InputError(f"{where}: not readable by you: change its permissions (chmod u+r)")
    with path.open("rb") as stream:
        check_start(target.name, str(where), stream.read(512))
    _verify(where, str(where), size, sha256)
    with atomic(target) as link:
        link.symlink_to(where)
    _LOG.info("%s -> %s", target, where)


def _receive_all(
    partial: Partial,
    opener: urllib.request.OpenerDirector,
    size: int | None,
    *,
    attempts: int,
    timeout: float,
    sleep: Callable[[float], None],
) -> None:
    """Receive until the file is whole, however often the connection breaks."""
    failures = 0
    while True:
        before = partial.received
        try:
            receive(partial, opener, size, timeout=timeout)
            return
        except TransferError as fault:
            failures = 1 if partial.received > before else failures + 1
            if failures >= attempts:
                raise InputError(
                    f"{partial.source}: gave up after {attempts} attempts without progress "
                    f"({fault}); {partial.received} bytes are kept: the same command resumes"
                ) from fault
            wait = min(_FIRST_WAIT * 2 ** (failures - 1), _LONGEST_WAIT)
            # Jobs that failed together must not come back together.
            wait *= random.uniform(0.5, 1.0)  # noqa: S311
            wait = max(wait, min(fault.retry_after, _LONGEST_WAIT))
            _LOG.warning("%s: %s; again in %.0f s", partial.source, fault, wait)
            sleep(wait)


def _verify_partial(partial: Partial, target: Path, size: int | None, sha256: str | None) -> None:
    """Verify what was received; what is wrong is removed, so that the next call starts anew."""
    try:
        _verify(partial.path, partial.source, size, sha256)
        if target.suffix == ".zip":
            _verify_zip(partial)
    except InputError:
        partial.discard()
        raise


def _verify(path: Path, source: str, size: int | None, sha256: str | None) -> None:
    found_size = path.stat().st_size
    if not found_size:
        raise InputError(f"{source}: empty: correct its address, or fetch it by hand")
    if size is not None and found_size != size:
        raise InputError(
            f"{source}: expected {size} bytes, found {found_size}: "
            "not the file that was meant; fetch it again or correct its address"
        )
    if sha256 is None:
        return
    _LOG.info("%s: checking sha256 of %d bytes", path, found_size)
    found = sha256_of(path)
    if not found.startswith(sha256.lower()):
        raise InputError(
            f"{source}: expected sha256 {sha256}, found {found}: "
            "damaged or not the file that was meant; fetch it again or correct its address"
        )


def _verify_zip(partial: Partial) -> None:
    try:
        with zipfile.ZipFile(partial.path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise InputError(
            f"{partial.source}: not a readable zip ({error}): fetch it again"
        ) from error
    if not names:
        raise InputError(f"{partial.source}: this zip is empty: correct its address")


def _opener(allow_http: bool) -> urllib.request.OpenerDirector:
    """Opens URLs as urllib does, proxies honoured, but follows no redirect to a lesser scheme."""
    return urllib.request.build_opener(_Redirects(("https", "http") if allow_http else ("https",)))


class _Redirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, schemes: tuple[str, ...]) -> None:
        self._schemes = schemes

    def redirect_request(  # type: ignore[no-untyped-def]  # noqa: PLR0917
        self, req, fp, code, msg, headers, newurl
    ) -> urllib.request.Request | None:
        """As urllib does, unless the new address has a scheme that is not allowed."""
        if urlsplit(newurl).scheme.lower() not in self._schemes:
            raise InputError(
                f"{req.full_url}: redirects to {newurl}, which is not "
                f"{' or '.join(self._schemes)}: correct the address"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)
