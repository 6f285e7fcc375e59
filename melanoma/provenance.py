"""What a result was made from, with and on: commit, configuration, versions, hashes, hardware."""

from __future__ import annotations

import csv
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from melanoma import energy
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
    "simplejpeg",
    "pillow",
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
    benchmarks: Path,
    results: Sequence[Path] = (),
) -> dict[str, Any]:
    """Gather the provenance of a run.

    Args:
        config: the whole validated configuration.
        checkout: folder of the workflow, for its git commit.
        tables: what the results were made from (official tables, catalogue, splits): their
            sha256 is recorded.
        recipes: the image stores' recipe files.
        restarts: restarts.csv of each training, by "experiment/fold".
        benchmarks: folder of the rules' benchmarks, as far as they are there.
        results: what was made (models, decisions, predictions, metrics): their sha256 likewise,
            for `melanoma.verify`.

    Returns:
        A mapping that JSON can hold.
    """
    starts = {name: _lines(path) for name, path in restarts.items()}
    return {
        "commit": git_commit(checkout),
        "config": dict(config),
        "data": _digests(tables),
        "images": {str(path): read_json(path) for path in recipes},
        "results": _digests(results),
        "starts": starts,
        "training": {
            name: energy.summary(path.parent, len(starts[name]) + 1)
            for name, path in restarts.items()
        },
        "time": rule_times(benchmarks),
        "hardware": hardware(),
        "versions": {"python": platform.python_version(), **package_versions()},
    }


def _digests(paths: Sequence[Path]) -> dict[str, dict[str, str]]:
    return {str(path): {"sha256": sha256_of(path)} for path in paths}


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
        "cores": usable_cores(),
    }


def usable_cores() -> int:
    """Cores that this process may use; macOS can't say, and gives all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    """Model name of the processor, as Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def rule_times(benchmarks: Path) -> dict[str, dict[str, float]]:
    """What the jobs of each rule took, those that ran last in this working directory.

    Args:
        benchmarks: folder of Snakemake's benchmark files, {rule}.tsv or {rule}/**/*.tsv.

    Returns:
        Rule -> jobs, hours (wall, all jobs added up), cpu_hours, and max_memory_mb of one job.
    """
    times: dict[str, dict[str, float]] = {}
    for path in sorted(benchmarks.rglob("*.tsv")):
        rule = path.relative_to(benchmarks).parts[0].removesuffix(".tsv")
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream, delimiter="\t"):
                total = times.setdefault(
                    rule, dict.fromkeys(("jobs", "hours", "cpu_hours", "max_memory_mb"), 0.0)
                )
                total["jobs"] += 1
                total["hours"] += _number(row["s"]) / 3600
                total["cpu_hours"] += _number(row["cpu_time"]) / 3600
                total["max_memory_mb"] = max(total["max_memory_mb"], _number(row["max_rss"]))
    return {
        rule: {name: round(value, 4) for name, value in total.items()}
        for rule, total in sorted(times.items())
    }


def _number(text: str) -> float:
    """A number of a benchmark file; jobs too short to be measured have none ("NA" or "-")."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()[1:]
