"""The lock of a working folder: a run that was killed must not lock out the one that follows.

Snakemake's own lock is a folder of files, which stays behind when Snakemake is killed or the power
fails; then the same command is refused until somebody adds --unlock. Here, a run also holds a
lock of the kernel's, which ends with the process in whatever way that ends. Who gets it for
itself knows that nobody else works in the folder, and that a lock lying there is a dead one's.
"""

from __future__ import annotations

import logging
import platform
import shutil
from pathlib import Path
from typing import IO

from melanoma import locks

_LOG = logging.getLogger(__name__)

NAME = "melanoma.lock"
"""The file, in Snakemake's hidden folder, that the kernel's lock is on."""

_MACHINE_ID = Path("/etc/machine-id")


def outlive_kills(folder: Path) -> IO[str] | None:
    """Remove the lock that a killed run has left in a working folder, and hold the kernel's.

    A lock is left alone where another process works in the folder, be it a dry run, and where
    the last run was on another machine: on some network file systems it could not be seen.

    Args:
        folder: Snakemake's hidden folder, `.snakemake` in the working folder.

    Returns:
        What must be kept, open, for as long as the run goes on; None where the folder cannot be
        written to or the file system knows no locks.
    """
    try:
        folder.mkdir(exist_ok=True)
        stream = (folder / NAME).open("a+", encoding="utf-8")
    except OSError:
        return None
    try:
        if locks.lock(stream):
            _remove_stale(folder, stream)
        # Shared with dry runs and the like, which may come and go while a run works.
        locks.share(stream)
    except OSError:
        stream.close()
        return None
    return stream


def _remove_stale(folder: Path, stream: IO[str]) -> None:
    """Remove a dead run's lock if it was this machine's; say whose the next one will be."""
    stale = folder / "locks"
    stream.seek(0)
    left = stale.is_dir() and any(stale.iterdir())
    if left and stream.read() != _machine():
        return
    if left:
        shutil.rmtree(stale)
        for script in folder.glob("scripts/tmp*"):  # copies made for jobs, which the kill has left
            script.unlink(missing_ok=True)
        _LOG.warning("the last run in this folder was killed; its lock is removed")
    stream.truncate(0)
    stream.write(_machine())
    stream.flush()


def _machine() -> str:
    """This machine's name and, where it has one, the number that its system was installed with."""
    number = _MACHINE_ID.read_text(encoding="utf-8").strip() if _MACHINE_ID.is_file() else ""
    return f"{platform.node()} {number}"
