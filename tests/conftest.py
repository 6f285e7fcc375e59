"""Fixtures that more than one area of the tests needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before anything imports numpy or torch: several test processes share the cores, and spinning
# threads cost them far more than they gain.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session")
def archive_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn archive of 64 training and 24 test images, all classes in it. Read only, please."""
    from runs import draw_archive

    folder = tmp_path_factory.mktemp("archive")
    draw_archive(folder)
    return folder


@pytest.fixture(scope="session")
def finished_run(archive_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Working directory of a finished run of the whole workflow. Read only, please."""
    from runs import micro_config, snakemake, write_config

    directory = tmp_path_factory.mktemp("run")
    write_config(directory, micro_config(archive_folder))
    snakemake(directory)
    return directory
