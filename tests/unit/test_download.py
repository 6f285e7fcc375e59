"""Downloads against a server on the loopback that misbehaves as real ones do."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from melanoma import download, isic, transfer
from melanoma.download import fetch, fetch_official
from melanoma.errors import InputError

CONTENT = bytes(range(256)) * 2048
"""512 KiB, no two neighbouring blocks of which could be swapped unnoticed by a digest."""


@dataclass
class Reply:
    """What the server does with one request; the last one holds for all that follow."""

    status: int = 200
    content: bytes = CONTENT
    etag: str | None = '"v1"'
    modified: str | None = None
    cut: int | None = None
    """Close the connection after so many bytes."""
    ranges: bool = True
    """Honour Range and If-Range."""
    headers: dict[str, str] = field(default_factory=dict)
    length: bool = True
    pace: float = 0.0
    """Seconds of rest after each 16 KiB."""


class Server:
    """An HTTP server in a thread: `replies` in turn, `requests` as they came."""

    def __init__(self) -> None:
        self.replies = [Reply()]
        self.requests: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append({"path": self.path, **dict(self.headers)})
                reply = outer.replies.pop(0) if len(outer.replies) > 1 else outer.replies[0]
                _answer(self, reply)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _answer(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    body, status = reply.content, reply.status
    headers = dict(reply.headers)
    if reply.etag:
        headers["ETag"] = reply.etag
    if reply.modified:
        headers["Last-Modified"] = reply.modified
    asked = handler.headers.get("Range")
    current = handler.headers.get("If-Range") in (None, reply.etag, reply.modified)
    if asked and reply.ranges and status == 200 and current:
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        status, body = 206, reply.content[start:]
        total = len(reply.content)
        headers.setdefault("Content-Range", f"bytes {start}-{total - 1}/{total}")
    handler.send_response(status)
    if reply.length:
        headers["Content-Length"] = str(len(body))
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    body = body[: reply.cut]
    try:
        for begin in range(0, len(body), 1 << 14):
            handler.wfile.write(body[begin : begin + (1 << 14)])
            time.sleep(reply.pace)
    except OSError:
        pass
    handler.close_connection = True


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def waits():
    return []


@pytest.fixture
def get(server, waits, tmp_path):
    """Fetch from the server to `data.bin` (or another name) and return the target."""

    def run(name: str = "data.bin", **options) -> Path:
        target = tmp_path / "out" / name
        settings = {"allow_http": True, "sleep": waits.append, "timeout": 5.0} | options
        fetch(f"{server.url}/{name}", target, **settings)
        return target

    return run


def left_over(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "out").iterdir()}


def small_zip(names: tuple[str, ...] = ("a/1.jpg",)) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, name * 100)
    return buffer.getvalue()


def test_plain_download(get, server, waits, tmp_path):
    target = get(size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
    assert target.read_bytes() == CONTENT
    assert left_over(tmp_path) == {"data.bin"}
    assert waits == []
    assert "Range" not in server.requests[0]


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize(
    "version",
    [
        {"etag": '"v1"'},
        {"etag": 'W/"v1"', "modified": "Mon, 13 May 2019 00:00:00 GMT"},
    ],
    ids=["strong etag", "date"],
)
def test_a_broken_connection_is_taken_up(get, server, waits, version, length):
    server.replies = [Reply(cut=100_000, **version), Reply(length=length, **version)]
    assert get().read_bytes() == CONTENT
    assert server.requests[1]["Range"] == "bytes=100000-"
    assert server.requests[1]["If-Range"] == version.get("modified", version["etag"])
    assert len(waits) == 1


def test_without_a_validator_it_starts_anew(get, server):
    server.replies = [Reply(cut=100_000, etag=None), Reply(etag=None)]
    assert get().read_bytes() == CONTENT
    assert "Range" not in server.requests[1]


def test_a_server_that_ignores_the_range(get, server):
    server.replies = [Reply(cut=100_000), Reply(ranges=False)]
    assert get().read_bytes() == CONTENT
    assert server.requests[1]["Range"] == "bytes=100000-"


def test_a_file_that_changed_between_two_parts(get, server):
    changed = CONTENT[::-1]
    server.replies = [Reply(cut=100_000), Reply(content=changed, etag='"v2"')]
    assert get().read_bytes() == changed


@pytest.mark.parametrize(
    "liar",
    [
        Reply(
            status=206,
            content=b"other",
            etag='"v2"',
            headers={"Content-Range": "bytes 100000-100004/9"},
        ),
        Reply(headers={"Content-Range": f"bytes 7-{len(CONTENT) - 1}/{len(CONTENT)}"}),
        Reply(headers={"Content-Range": "nonsense"}),
        Reply(status=416),
    ],
    ids=["another version", "another start", "unreadable", "refused"],
)
def test_a_range_that_does_not_fit_starts_anew(get, server, liar):
    server.replies = [Reply(cut=100_000), liar, Reply()]
    assert get().read_bytes() == CONTENT
    assert "Range" not in server.requests[2]


def test_a_range_of_unknown_total(get, server):
    end = f"bytes 100000-{len(CONTENT) - 1}/*"
    server.replies = [Reply(cut=100_000), Reply(headers={"Content-Range": end})]
    assert get().read_bytes() == CONTENT


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_passing_trouble_is_waited_out(get, server, waits, status):
    server.replies = [Reply(status=status), Reply(status=status), Reply()]
    assert get().read_bytes() == CONTENT
    assert len(waits) == 2
    assert 0.5 <= waits[0] <= 1.0 <= waits[1] <= 2.0


@pytest.mark.parametrize(
    ("retry_after", "span"),
    [("7", (7, 7)), ("100000", (60, 60)), ("soon", (0, 1)), ("", (0, 1))],
)
def test_retry_after_is_honoured_within_a_bound(get, server, waits, retry_after, span):
    server.replies = [Reply(status=503, headers={"Retry-After": retry_after}), Reply()]
    get()
    assert span[0] <= waits[0] <= span[1]


def test_retry_after_as_a_date(get, server, waits):
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 20))
    server.replies = [Reply(status=429, headers={"Retry-After": date}), Reply()]
    get()
    assert 15 <= waits[0] <= 20


@pytest.mark.parametrize(
    ("status", "cure"),
    [
        (403, "fetch it by hand in a browser"),
        (404, "correct the address, or give the path"),
        (400, "correct the address"),
    ],
)
def test_a_refusal_is_final_and_names_address_status_and_cure(get, server, waits, status, cure):
    server.replies = [Reply(status=status)]
    with pytest.raises(InputError, match=f"{server.url}/data.bin: HTTP {status} .*{cure}"):
        get()
    assert waits == []
    assert len(server.requests) == 1


def test_giving_up_keeps_what_was_received(get, server, waits, tmp_path):
    server.replies = [Reply(cut=100_000), Reply(status=503)]
    with pytest.raises(
        InputError, match=r"gave up after 3 attempts.*HTTP 503.*100000 bytes are kept"
    ):
        get(attempts=3)
    assert len(waits) == 2
    assert (tmp_path / "out" / ".data.bin.part").stat().st_size == 100_000
    server.replies = [Reply()]
    assert get().read_bytes() == CONTENT
    assert server.requests[-1]["Range"] == "bytes=100000-"


def test_progress_resets_the_count_of_failures(get, server, waits):
    server.replies = [*[Reply(cut=50_000) for _ in range(6)], Reply()]
    assert get(attempts=2).read_bytes() == CONTENT
    assert len(waits) == 6
    assert max(waits) <= 1.0


def test_nobody_listens(tmp_path, server, waits):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"allow_http": True, "attempts": 2, "sleep": waits.append}
    with pytest.raises(InputError, match=r"gave up after 2 attempts.*no answer"):
        fetch(f"http://127.0.0.1:{port}/x", tmp_path / "x", **settings)
    assert len(waits) == 1


def test_a_silent_server_times_out(get, server):
    server.replies = [Reply(pace=4.0), Reply()]
    assert get(timeout=1.0).read_bytes() == CONTENT
    assert server.requests[1]["Range"] == "bytes=16384-"


def test_an_announced_length_that_is_wrong_is_refused_at_once(get, server, tmp_path):
    with pytest.raises(InputError, match="expected 99 bytes, the server has 524288"):
        get(size=99)
    assert left_over(tmp_path) == set()


def test_an_unannounced_length_that_is_wrong(get, server, tmp_path):
    server.replies = [Reply(length=False)]
    with pytest.raises(InputError, match="expected 99 bytes, found 524288"):
        get(size=99)
    assert left_over(tmp_path) == set()


def test_a_wrong_digest_names_both_and_removes_the_partial(get, tmp_path):
    found = hashlib.sha256(CONTENT).hexdigest()
    with pytest.raises(InputError, match=f"expected sha256 {'0' * 64}, found {found}"):
        get(sha256="0" * 64)
    assert left_over(tmp_path) == set()


@pytest.mark.parametrize("name", ["images.zip", "table.csv"])
@pytest.mark.parametrize(
    "page",
    [
        Reply(content=b"<html>login", headers={"Content-Type": "text/html; charset=utf-8"}),
        Reply(content=b"\n  <!DOCTYPE html>login"),
    ],
    ids=["by type", "by content"],
)
def test_a_page_in_place_of_a_file(get, server, tmp_path, name, page):
    server.replies = [page]
    with pytest.raises(InputError, match=f"a web page came in place of {name}"):
        get(name)
    assert left_over(tmp_path) == set()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"image,MEL\r\n", "not a zip"),
        (small_zip()[:-8], "not a readable zip"),
        (small_zip(()), "this zip is empty"),
    ],
)
def test_zips_are_opened_before_the_rename(get, server, tmp_path, content, message):
    server.replies = [Reply(content=content)]
    with pytest.raises(InputError, match=message):
        get("images.zip")
    assert left_over(tmp_path) == set()
    server.replies = [Reply(content=small_zip())]
    assert get("images.zip").read_bytes() == small_zip()


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "http://127.0.0.1/x"])
def test_redirects_to_a_lesser_scheme_are_refused(server, tmp_path, location):
    server.replies = [Reply(status=302, headers={"Location": location})]
    opener = download._opener(allow_http=False)
    partial = transfer.Partial.of(tmp_path / "x", server.url)
    with pytest.raises(InputError, match=f"redirects to {location}, which is not https"):
        transfer.receive(partial, opener, None, timeout=5.0)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(status=204, content=b""), "HTTP 204, which brings no file"),
        (Reply(content=b"", length=False), "empty"),
        (Reply(content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}), "sent as gzip"),
        (Reply(content=b'{"error": "quota"}'), "JSON came in place of table.csv"),
    ],
)
def test_what_is_no_file_is_refused(get, server, tmp_path, reply, message):
    server.replies = [reply]
    with pytest.raises(InputError, match=message):
        get("table.csv")
    assert len(server.requests) == 1
    assert "table.csv" not in left_over(tmp_path)


@pytest.mark.parametrize("coding", ["identity", "aws-chunked", ""])
def test_codings_that_change_no_byte_are_taken(get, server, coding):
    server.replies = [Reply(headers={"Content-Encoding": coding})]
    assert get().read_bytes() == CONTENT


def test_a_length_that_is_no_number_is_none(get, server):
    server.replies = [Reply(length=False, headers={"Content-Length": "abc"})]
    assert get().read_bytes() == CONTENT


@pytest.mark.parametrize(
    "source", ["http://localhost/a b.csv", "https://", "https:///a.csv", "https://[::1/a.csv"]
)
def test_an_address_that_can_never_work_is_refused_at_once(tmp_path, waits, source):
    with pytest.raises(InputError, match="not an address"):
        fetch(source, tmp_path / "a.csv", allow_http=True, sleep=waits.append)
    assert waits == []


def test_redirects_are_followed(get, server):
    server.replies = [Reply(status=302, headers={"Location": f"{server.url}/moved"}), Reply()]
    assert get().read_bytes() == CONTENT
    assert server.requests[1]["path"] == "/moved"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("http://example.org/a.zip", "http is not safe"),
        ("ftp://example.org/a.zip", r"ftp:// is not supported"),
        ("file://host/a.zip", "names another machine"),
    ],
)
def test_sources_that_are_not_taken(tmp_path, source, message):
    with pytest.raises(InputError, match=message):
        fetch(source, tmp_path / "a.zip")


def test_no_room_is_said_before_anything_is_received(get, monkeypatch, tmp_path):
    room = SimpleNamespace(total=10**9, used=0, free=400_000)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: room)
    with pytest.raises(InputError, match=f"{tmp_path}/out: no room .*524288 .*400000 free"):
        get()
    assert not (tmp_path / "out" / ".data.bin.part").exists()


def test_room_counts_only_what_is_missing(get, server, monkeypatch):
    server.replies = [Reply(cut=500_000), Reply(status=404)]
    with pytest.raises(InputError, match="HTTP 404"):
        get()
    room = SimpleNamespace(free=transfer._SPARE_BYTES + 24_288)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: room)
    server.replies = [Reply()]
    assert get().read_bytes() == CONTENT


def test_a_disk_that_fills_up_is_said_plainly(tmp_path):
    partial = transfer.Partial.of(tmp_path / "data.bin", "https://example.org/data.bin")
    with (
        Path("/dev/full").open("ab", buffering=0) as stream,
        pytest.raises(InputError, match=rf"{tmp_path}: the disk .* is full.*resumes data\.bin"),
    ):
        transfer._write(partial, stream, b"x" * 4096)


def test_a_disk_that_breaks_is_no_input_error(tmp_path):
    class Broken(io.RawIOBase):
        def write(self, _: object) -> int:
            raise OSError(errno.EIO, "broken disk")

    partial = transfer.Partial.of(tmp_path / "data.bin", "https://example.org/data.bin")
    with pytest.raises(OSError, match="broken disk"):
        transfer._write(partial, Broken(), b"x")


def test_an_untrusted_certificate_is_final(tmp_path, waits, monkeypatch):
    fault = transfer.ssl.SSLCertVerificationError("untrusted")
    fault.verify_message = "self-signed certificate"

    def refuse(*_: object, **__: object):
        raise transfer.urllib.error.URLError(fault)

    monkeypatch.setattr(download, "_opener", lambda _: SimpleNamespace(open=refuse))
    with pytest.raises(InputError, match=r"not trusted \(self-signed certificate\).*SSL_CERT_FILE"):
        fetch("https://example.org/a.zip", tmp_path / "a.zip", sleep=waits.append)
    assert waits == []


def test_a_partial_of_another_source_is_not_used(get, server, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".data.bin.part").write_bytes(b"x" * 1000)
    state = {"source": "https://elsewhere.org", "etag": '"v1"', "length": len(CONTENT)}
    (folder / ".data.bin.part.json").write_text(json.dumps(state))
    assert get().read_bytes() == CONTENT
    assert "Range" not in server.requests[0]


def test_a_damaged_state_starts_anew(get, server, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".data.bin.part").write_bytes(b"x" * 1000)
    (folder / ".data.bin.part.json").write_text('{"source": ')
    assert get().read_bytes() == CONTENT


def test_a_whole_partial_needs_no_request(get, server, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".data.bin.part").write_bytes(CONTENT)
    state = {"source": f"{server.url}/data.bin", "etag": '"v1"', "length": len(CONTENT)}
    (folder / ".data.bin.part.json").write_text(json.dumps(state))
    assert get().read_bytes() == CONTENT
    assert server.requests == []


def test_killed_half_way_then_resumed(get, server, tmp_path):
    server.replies = [Reply(pace=0.1), Reply()]
    target = tmp_path / "out" / "data.bin"
    code = "import sys; from melanoma.download import fetch; fetch(*sys.argv[1:], allow_http=True)"
    command = [sys.executable, "-c", code, f"{server.url}/data.bin", str(target)]
    partial = target.with_name(".data.bin.part")
    process = subprocess.Popen(command, env={**os.environ, "no_proxy": "*"})
    deadline = time.monotonic() + 20
    while not (partial.exists() and partial.stat().st_size > 0) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = partial.stat().st_size
    assert 0 < kept < len(CONTENT)
    assert not target.exists()
    assert get().read_bytes() == CONTENT
    assert server.requests[1]["Range"] == f"bytes={kept}-"
    assert left_over(tmp_path) == {"data.bin"}


@pytest.fixture
def log_lines(caplog, monkeypatch):
    monkeypatch.setattr(transfer, "_LOG_SECONDS", 0.0)
    monkeypatch.setattr(logging.getLogger("melanoma"), "propagate", True)
    caplog.set_level(logging.INFO, "melanoma")
    return caplog


@pytest.mark.parametrize(
    ("length", "pattern"),
    [(True, r"0\.5 of 0\.5 MB, 100 %, .* MB/s, 0 s to go"), (False, r"0\.\d MB, .* MB/s")],
)
def test_progress_is_logged(get, server, log_lines, length, pattern):
    server.replies = [Reply(length=length)]
    get()
    assert any(re.search(pattern, line) for line in log_lines.messages)
    assert any("complete" in line for line in log_lines.messages)


# Local sources


def test_a_path_becomes_a_link(tmp_path, monkeypatch):
    (tmp_path / "in.zip").write_bytes(small_zip())
    monkeypatch.chdir(tmp_path)
    target = tmp_path / "deep" / "images.zip"
    fetch("in.zip", target)
    assert target.is_symlink()
    assert target.readlink() == tmp_path / "in.zip"
    other = tmp_path / "other.zip"
    other.write_bytes(small_zip(("b",)))
    fetch(str(other), target)
    assert target.readlink() == other
    assert {path.name for path in target.parent.iterdir()} == {"images.zip"}


@pytest.mark.parametrize("host", ["", "localhost"])
def test_a_file_url_with_spaces_and_percents(tmp_path, host):
    source = tmp_path / "my data 100%.csv"
    source.write_text("image\r\n")
    url = f"file://{host}{tmp_path}/my%20data%20100%25.csv"
    fetch(url, tmp_path / "table.csv", size=7, sha256=hashlib.sha256(b"image\r\n").hexdigest())
    assert (tmp_path / "table.csv").readlink() == source


def test_a_target_that_is_its_own_source_is_refused_and_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target = tmp_path / "table.csv"
    target.write_text("image\r\n")
    for source in (str(target), "table.csv", target.as_uri()):
        with pytest.raises(InputError, match=r"table\.csv: this is where the workflow puts"):
            fetch(source, target)
    assert target.read_text() == "image\n"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.csv", "does not exist .*relative paths start from"),
        ("/missing/x.csv", "does not exist"),
        (".", "is not a file"),
    ],
)
def test_a_missing_local_file(tmp_path, monkeypatch, source, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        fetch(source, tmp_path / "table.csv")


def test_an_unreadable_local_file(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("image")
    monkeypatch.setattr(download.os, "access", lambda *_: False)
    with pytest.raises(InputError, match="not readable by you"):
        fetch(str(tmp_path / "a.csv"), tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"size": 3}, "expected 3 bytes, found 5"), ({"sha256": "ab" * 32}, "expected sha256 abab")],
)
def test_a_local_file_is_verified(tmp_path, options, message):
    (tmp_path / "a.csv").write_text("image")
    with pytest.raises(InputError, match=message):
        fetch(str(tmp_path / "a.csv"), tmp_path / "table.csv", **options)
    assert not (tmp_path / "table.csv").is_symlink()
    assert (tmp_path / "a.csv").read_text() == "image"


def test_a_local_page_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("\ufeff<html>", encoding="utf-8")
    with pytest.raises(InputError, match="a web page"):
        fetch(str(tmp_path / "a.csv"), tmp_path / "table.csv")


@pytest.mark.parametrize("official", [True, False])
def test_official_files_are_held_to_what_is_known(tmp_path, monkeypatch, official):
    calls = []
    monkeypatch.setattr(download, "fetch", lambda *args, **options: calls.append((args, options)))
    file = isic.OFFICIAL_FILES["train", "metadata"]
    source = file.url if official else "my.csv"
    fetch_official("train", "metadata", source, tmp_path / "m.csv")
    (args, options), expected = calls[0], (file.size, file.sha256) if official else (None, None)
    assert args == (source, tmp_path / "m.csv")
    assert (options["size"], options["sha256"]) == expected
