"""Ending at once, and cleanly, when the cluster says so: SIGTERM, SIGUSR1 or Ctrl-C.

A handler in Python runs only when the main thread returns to Python, which a rank that waits for
others inside a collective does not. So a thread of its own takes the signal and ends the process;
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

_PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def watch(on_signal: Callable[[str], None]) -> Iterator[None]:
    """End the process on a watched signal, with status 128 + its number.

    Outside the main thread, where Python allows no handlers, nothing is watched.

    Args:
        on_signal: called first, in another thread, with the signal's name; must be quick.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = {number: signal.getsignal(number) for number in WATCHED}
    old_writer = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    claim()
    threading.Thread(target=_wait, args=(reader, on_signal), daemon=True).start()
    try:
        yield
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


def _wait(reader: int, on_signal: Callable[[str], None]) -> None:
    try:
        while received := os.read(reader, 1):
            number = received[0]
            if number in WATCHED:
                with contextlib.suppress(Exception):
                    on_signal(signal.Signals(number).name)
                os._exit(128 + number)
    finally:
        os.close(reader)


def die_with_parent() -> None:
    """Have Linux end this process when the one that started it ends, in whatever way."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
