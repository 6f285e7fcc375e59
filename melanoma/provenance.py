"""What a result was made from, with and on: commit, configuration, versions, hashes, hardware."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from melanoma.files import read_json, sha256_of

PACKAGES = (
    "melanoma",
    "snakemake",
    "snakemake-executor-plugin-slurm",
    "torch",
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "opencv-python-headless",
    "numpy",
    "pandas",
    "scikit-learn",
    "grad-cam",
)


def collect(
    *,
    config: Mapping[str, Any],
    checkout: Path,
    tables: Sequence[Path],
    recipes: Sequence[Path],
    restarts: Mapping[str, Path],
) -> dict[str, Any]:
    """Gather the provenance of a run.

    Args:
        config: the whole validated configuration.
        checkout: folder of the workflow, for its git commit.
        tables: files whose sha256 is recorded (catalogue, splits).
        recipes: the image stores' recipe files.
        restarts: restarts.csv of each training, by "experiment/fold".

    Returns:
        A mapping that JSON can hold.
    """
    return {
        "commit": git_commit(checkout),
        "config": dict(config),
        "data": {str(path): {"sha256": sha256_of(path)} for path in tables},
        "images": {str(path): read_json(path) for path in recipes},
        "starts": {name: _lines(path) for name, path in restarts.items()},
        "hardware": hardware(),
        "versions": {"python": platform.python_version(), **package_versions()},
    }


def git_commit(checkout: Path) -> str:
    """Commit of a checkout, "+changes" added where files differ from it; "unknown" without git."""
    command = [
        "git",
        "-C",
        str(checkout),
        "describe",
        "--always",
        "--abbrev=40",
        "--dirty=+changes",
    ]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return result.stdout.strip()


def package_versions() -> dict[str, str]:
    """Installed version of each package that decides results."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def hardware() -> dict[str, Any]:
    """Processor, cores and system of this machine; no host name, which may be private."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
    }


def _processor() -> str:
    """Model name of the processor, as Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()[1:]
