"""How far a long step is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import logging
import sys
import time
from typing import TextIO

log = logging.getLogger(__name__)

SECONDS = 20.0
"""Between lines in a log."""

_WIDTH = 30
_REDRAWN = 0.1


class Progress:
    """Tells of one step.

    Args:
        what: the step, e.g. "predicting".
        stream: where a bar is drawn if it is a terminal; None for stderr.
    """

    def __init__(self, what: str, stream: TextIO | None = None) -> None:
        self._what = what
        self._stream = stream or sys.stderr
        self._bar = self._stream.isatty()
        self._began = time.monotonic()
        self._told = self._began if not self._bar else float("-inf")

    def tell(self, done: int, total: int) -> None:
        """Say how far it is, if it is time to; the end is always told.

        Args:
            done: things done, from 0.
            total: things in all.
        """
        now = time.monotonic()
        if done < total and now - self._told < (_REDRAWN if self._bar else SECONDS):
            return
        self._told = now
        text = f"{self._what} {done} of {total}{self._left(now, done, total)}"
        if not self._bar:
            log.info("%s", text)
            return
        filled = _WIDTH * done // max(total, 1)
        bar = "#" * filled + "-" * (_WIDTH - filled)
        # Erases to the end of the line, since the text may get shorter.
        self._stream.write(f"\r[{bar}] {text}\x1b[K" + ("\n" if done >= total else ""))
        self._stream.flush()

    def _left(self, now: float, done: int, total: int) -> str:
        if not 0 < done < total:
            return ""
        return f", {(now - self._began) / done * (total - done):.0f} s to go"
