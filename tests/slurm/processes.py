"""The processes of a test cluster: finding them, and ending all of them whatever happens.

Run as a program (`python processes.py FOLDER`), it waits until its standard input is closed, which
the death of the test run does too, and then ends every process of that cluster.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

MARK = "MELANOMA_TEST_CLUSTER"
"""Environment variable of daemons and jobs: the cluster's folder."""


def marked(folder: Path) -> Iterator[tuple[psutil.Process, dict[str, str]]]:
    """Daemons and processes of jobs, with their environment."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            environment = {} if _is_zombie(process) else process.environ()
            if environment.get(MARK) == str(folder) and process.pid != os.getpid():
                yield process, environment


def steps(folder: Path) -> Iterator[psutil.Process]:
    """The slurmstepd that start jobs: their title has overwritten their environment."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name().startswith("slurmstepd") and not _is_zombie(process):
                where = Path(process.cwd())
                if where == folder or folder in where.parents:
                    yield process


def _is_zombie(process: psutil.Process) -> bool:
    return bool(process.status() == psutil.STATUS_ZOMBIE)


def end_all(folder: Path) -> None:
    """End every process of a cluster; twice, since the first pass may meet new ones."""
    for _ in range(2):
        for process in [*steps(folder), *(process for process, _ in marked(folder))]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


if __name__ == "__main__":
    sys.stdin.read()
    end_all(Path(sys.argv[1]))
    shutil.rmtree(sys.argv[1], ignore_errors=True)
