"""Loaded by every Python process that has this folder on its path: notes whom it talks to."""

import os
import sys


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        with open(os.environ["WATCHED"], "a") as stream:  # noqa: PTH123 - while Python starts
            address = arguments[1] if event == "socket.connect" else arguments[0]
            stream.write(f"{event} {address!r} in {' '.join(sys.argv)[:200]!r}\n")


if "WATCHED" in os.environ:
    sys.addaudithook(_note)
