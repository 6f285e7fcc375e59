"""Ending in good order when the cluster says so: SIGTERM, SIGUSR1 or Ctrl-C.

A handler in Python runs only when the main thread returns to Python, which a rank that waits for
others inside a collective does not. So a thread of its own takes the signal and ends the process.
At the warning before a time limit that is at the end of the epoch, if it comes in time; otherwise
what is lost is the epoch in progress, which the next start begins anew.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator

WATCHED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
"""Preemption and scancel; the warning before a time limit; a person at the keyboard."""

WARNED_SECONDS = 90.0
"""How long a process goes on after SIGUSR1. SLURM sends it at least 120 s before the limit
(`melanoma.cluster`); the rest is for writing a state that was begun."""

_PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""

logger = logging.getLogger(__name__)


class Notice:
    """That this process has been told to end, once an epoch is done.

    Args:
        on_end: called just before the process ends, with the name of the signal; must be quick.
        seconds: how long the process may go on after SIGUSR1.
    """

    def __init__(self, on_end: Callable[[str], None], seconds: float = WARNED_SECONDS) -> None:
        self._on_end = on_end
        self._seconds = seconds
        self._number = 0
        self._ending = threading.Lock()

    def received(self, number: int) -> None:
        """Act upon a signal: end at once, or after `seconds` at the latest."""
        if number != signal.SIGUSR1:
            self._end(self._number or number)
        elif not self._number:
            self._number = number
            timer = threading.Timer(self._seconds, self._end, args=(number,))
            timer.daemon = True
            timer.start()
            logger.warning(
                "SIGUSR1: stopping at the end of this epoch, in %.0f s at the latest", self._seconds
            )

    def end_if_told(self) -> None:
        """End the process if it has been told to; for a moment at which nothing would be lost."""
        if self._number:
            self._end(self._number)

    def _end(self, number: int) -> None:
        # Never released: whoever comes second waits for the end.
        self._ending.acquire()
        with contextlib.suppress(Exception):
            self._on_end(signal.Signals(number).name)
        os._exit(128 + number)


@contextlib.contextmanager
def watch(on_end: Callable[[str], None], seconds: float = WARNED_SECONDS) -> Iterator[Notice]:
    """End the process on a watched signal, with status 128 + its number.

    Outside the main thread, where Python allows no handlers, nothing is watched.

    Args:
        on_end: called just before the process ends, mostly in another thread, with the name of
            the signal; must be quick.
        seconds: how long the process may go on after SIGUSR1.

    Yields:
        What a moment at which nothing would be lost is told to.
    """
    notice = Notice(on_end, seconds)
    if threading.current_thread() is not threading.main_thread():
        yield notice
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = {number: signal.getsignal(number) for number in WATCHED}
    old_writer = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    claim()
    threading.Thread(target=_wait, args=(reader, notice), daemon=True).start()
    try:
        yield notice
    finally:
        signal.set_wakeup_fd(old_writer)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writer)


def claim() -> None:
    """Take the handlers of the watched signals back from whoever has set them since.

    Lightning's own handler of SIGTERM starts a collective, which hangs where a rank is gone.
    """
    if threading.current_thread() is threading.main_thread():
        for number in WATCHED:
            signal.signal(number, _noted)


def _noted(number: int, frame: object) -> None:
    """Python must have some handler: the byte in the pipe is what counts."""


def _wait(reader: int, notice: Notice) -> None:
    try:
        while received := os.read(reader, 1):
            if received[0] in WATCHED:
                notice.received(received[0])
    finally:
        os.close(reader)


def die_with_parent() -> None:
    """Have Linux end this process when the one that started it ends, in whatever way."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
