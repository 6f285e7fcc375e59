"""SLURM jobs that a killed run has left, which nobody waits for.

So that the same command, typed again, goes on, each run notes in Snakemake's folder by what name
its jobs go.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from melanoma.errors import InputError
from melanoma.files import read_json, write_json

NOTE = "melanoma_run.json"
ORPHAN_SECONDS = 300.0
"""How long cancelled jobs may take to end: SLURM's KillWait is 30 s, and nodes may be slow."""

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def begin_run(folder: Path, name: str, run: Run | None = None) -> list[str]:
    """Note how this run's jobs are called, and end jobs that earlier ones have left.

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
    earlier = _read(folder)
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


def _read(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(read_json(folder / NOTE)["names"])
    except (OSError, ValueError, TypeError, KeyError):
        return ()


def _write(folder: Path, names: tuple[str, ...]) -> None:
    write_json(folder / NOTE, {"names": names})
