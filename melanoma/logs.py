"""Logging of commands and of the rules' scripts: lines with a time, errors a person can read."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from melanoma.errors import InputError

_FORMAT = "%(asctime)s %(levelname)s %(message)s"


@contextlib.contextmanager
def to_stderr(path: str | Path | None = None) -> Iterator[None]:
    """Send the package's log lines to stderr and, if given, to the end of a file.

    Args:
        path: a log file; its folder is made if missing.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path))
    logger = logging.getLogger("melanoma")
    before = (logger.level, logger.propagate)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for handler in handlers:
        handler.setFormatter(logging.Formatter(_FORMAT, datefmt="%H:%M:%S"))
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.setLevel(before[0])
        logger.propagate = before[1]
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


@contextlib.contextmanager
def job_log(path: str | Path | None = None) -> Iterator[None]:
    """Around a command or a rule's script: log lines, and any error, on stderr and in a file.

    Args:
        path: the log file, or None for stderr alone.

    Raises:
        SystemExit: status 2 after an `InputError`, whose message alone is shown.
        Exception: any other, after its traceback was logged.
    """
    with to_stderr(path):
        logger = logging.getLogger("melanoma")
        try:
            yield
        except InputError as error:
            logger.error("%s", error)
            raise SystemExit(2) from None
        except Exception:
            logger.exception("stopped by an unexpected error")
            raise
