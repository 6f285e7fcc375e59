"""What a run that was killed has left: Snakemake's lock, and jobs that nobody waits for.

So that the same command, typed again, goes on, each run notes in Snakemake's folder which process
it is and by what name its jobs go.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from melanoma.errors import InputError
from melanoma.files import write_json

NOTE = "melanoma_run.json"
CLOCK_SECONDS = 10.0
"""How far a process's time of creation may seem to move when the clock is set."""
ORPHAN_SECONDS = 300.0
"""How long cancelled jobs may take to end: SLURM's KillWait is 30 s, and nodes may be slow."""

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Note:
    """Who a run is.

    Attributes:
        host: where it was started.
        pid: its process there.
        created: when that process began, in seconds since the epoch.
        names: names of its SLURM jobs, and of jobs that earlier runs may have left.
    """

    host: str
    pid: int
    created: float
    names: tuple[str, ...] = ()

    def is_dead(self) -> bool:
        """Whether that process is known to have ended; on another host that can't be known."""
        if self.host != socket.gethostname():
            return False
        try:
            created = psutil.Process(self.pid).create_time()
        except psutil.NoSuchProcess:
            return True
        return abs(created - self.created) > CLOCK_SECONDS


def free_lock(folder: Path) -> bool:
    """Remove Snakemake's lock if the process that holds it is dead.

    Args:
        folder: Snakemake's own folder, `.snakemake`.

    Returns:
        Whether there was such a lock.
    """
    note = _read(folder)
    locks = list((folder / "locks").glob("*.lock"))
    if note is None or not locks or not note.is_dead():
        return False
    # A lock that came after the note belongs to a run that hasn't left its own yet.
    noted = (folder / NOTE).stat().st_mtime
    if any(lock.stat().st_mtime > noted for lock in locks):
        return False
    shutil.rmtree(folder / "locks")
    return True


def begin_run(folder: Path, name: str, run: Run | None = None) -> list[str]:
    """Note who this run is, and end jobs that earlier ones have left.

    Two jobs for the same file would write it both; this run submits all that is needed again.

    Args:
        folder: Snakemake's own folder, `.snakemake`.
        name: of this run's SLURM jobs; "" for a run without SLURM.
        run: runs a command.

    Returns:
        Ids of the SLURM jobs that were cancelled.

    Raises:
        InputError: such jobs don't end, or SLURM doesn't say whether there are any.
    """
    before = _read(folder)
    earlier = before.names if before else ()
    own = (name,) if name else ()
    _write(folder, (*earlier, *own))
    ended = _end_jobs(earlier, run or _run) if earlier else []
    _write(folder, own)
    return ended


def _end_jobs(names: Iterable[str], run: Run) -> list[str]:
    cancelled: list[str] = []
    end = time.monotonic() + ORPHAN_SECONDS
    while True:
        found = _jobs(names, run)
        if found == []:
            return cancelled
        new = [job for job in found or [] if job not in cancelled]
        if new:
            run(["scancel", *new])
            cancelled += new
        if time.monotonic() > end:
            which = ", ".join(found) if found else "SLURM doesn't say which"
            raise InputError(f"jobs of an earlier run don't end ({which}): look at squeue --me")
        time.sleep(1)


def _jobs(names: Iterable[str], run: Run) -> list[str] | None:
    """Jobs that haven't ended, by id; None without an answer."""
    try:
        done = run(["squeue", "--noheader", "--format=%A", f"--name={','.join(names)}"])
    except FileNotFoundError:
        return []  # SLURM isn't here any more
    if done.returncode:
        return None
    return sorted(set(done.stdout.split()))


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(command), capture_output=True, text=True, check=False)


def _read(folder: Path) -> Note | None:
    try:
        values = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        return Note(**{**values, "names": tuple(values["names"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write(folder: Path, names: tuple[str, ...]) -> None:
    process = psutil.Process()
    note = Note(socket.gethostname(), os.getpid(), process.create_time(), names)
    write_json(folder / NOTE, asdict(note))
