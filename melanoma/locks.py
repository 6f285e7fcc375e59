"""Locks of the kernel's: they end with the process that holds them, in whatever way that ends."""

from __future__ import annotations

import fcntl
from typing import IO


def lock(file: int | IO[str]) -> bool:
    """Try to lock an open file for this process alone.

    Args:
        file: the file, or its descriptor; closing it gives the lock back.

    Returns:
        False where another process holds it.

    Raises:
        OSError: the file system knows no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # EWOULDBLOCK, and what some file systems say
        return False
    return True


def share(file: int | IO[str]) -> None:
    """Lock an open file together with others that share it, waiting for one that doesn't.

    Raises:
        OSError: the file system knows no locks.
    """
    fcntl.flock(file, fcntl.LOCK_SH)
