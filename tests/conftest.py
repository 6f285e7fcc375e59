"""Fixtures that more than one area of the tests needs."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

# Before anything imports numpy or torch: several test processes share the cores, and spinning
# threads cost them far more than they gain.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class ByFixtures(LoadFileScheduling):
    """Tests that share fixtures go to one process: those of a file, and all that use SLURM."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        return "slurm" if "/slurm/" in scope else scope


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFixtures:
    """How tests are shared out where there are several processes."""
    return ByFixtures(config, log)


def made_once(
    name: str, make: Callable[[Path], None], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder that the first test process to ask for it fills and all of them read."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        folder = tmp_path_factory.mktemp(name)
        make(folder)
        return folder
    folder = tmp_path_factory.getbasetemp().parent / name
    done = folder.with_suffix(".done")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def archive_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn archive of 64 training and 24 test images, all classes in it. Read only, please."""
    from runs import draw_archive

    return made_once("archive", draw_archive, tmp_path_factory)


@pytest.fixture(scope="session")
def finished_run(archive_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Working directory of a finished run of the whole workflow. Read only, please."""
    from runs import micro_config, snakemake, write_config

    def make(directory: Path) -> None:
        write_config(directory, micro_config(archive_folder))
        snakemake(directory)

    return made_once("run", make, tmp_path_factory)
