"""One cluster for all SLURM tests of a run, started by the first that asks for it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, missing_commands


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    """A running cluster; its environment is this process's while it runs."""
    missing = missing_commands()
    if missing:
        reason = (
            f"SLURM isn't installed here ({', '.join(missing)}): apt-get install slurm-wlm munge"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    # Sockets have short names only, and a node must be able to read it: not pytest's own folder.
    folder = Path(tempfile.mkdtemp(prefix="melanoma-slurm-"))
    folder.chmod(0o755)
    cluster = Cluster(folder, gpus=8)
    atexit.register(cluster.stop)
    before = dict(os.environ)
    try:
        cluster.start()
        os.environ.update(cluster.environment)
        yield cluster
    finally:
        os.environ.clear()
        os.environ.update(before)
        cluster.stop()
        atexit.unregister(cluster.stop)
        shutil.rmtree(folder, ignore_errors=True)
