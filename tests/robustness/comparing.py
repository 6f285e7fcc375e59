"""Whether two working folders hold the same results, and whether one holds half a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TIMES = {"seconds", "images_per_second", "gpu_memory_mb"}
"""Columns that tell how long something took."""

DIFFERENT_BY_NATURE = {
    "restarts.csv",
    "training_curves.svg",
    "training_curves.html",
    "provenance.html",
}
"""The record of what was killed, and what shows how long things took (their tables are compared).
Time and energy of each start, energy-*.csv, differ too."""


def differences(reference: Path, other: Path) -> list[str]:
    """Files under results/ that one folder lacks or that do not say the same.

    Args:
        reference: working folder of an undisturbed run.
        other: working folder of a run to be compared.

    Returns:
        Paths relative to the working folder, sorted; none where the results are the same.
    """
    names = {*_results(reference), *_results(other)}
    return sorted(name for name in names if not _same(reference / name, other / name))


def half_files(reference: Path, other: Path) -> list[str]:
    """Files under results/ that are there, in a run under way, and not as the reference has them.

    Args:
        reference: working folder of an undisturbed run.
        other: working folder of a run that was stopped anywhere.

    Returns:
        Paths relative to the working folder, sorted: what a reader would take for a result.
    """
    names = set(_results(reference)) & set(_results(other))
    wrong = [name for name in names if not _same(reference / name, other / name)]
    # Snakemake may have removed a failed job's outputs in the meantime.
    return sorted(name for name in wrong if (other / name).exists())


def leftovers(folder: Path) -> list[str]:
    """Temporary files of the package that still lie in a working folder, and what resumes."""
    found = [
        path
        for pattern in (".*.part", ".*.part.*", ".*.old", "resume-*")
        for path in folder.rglob(pattern)
    ]
    scripts = (folder / ".snakemake" / "scripts").glob("tmp*")
    return sorted(str(path.relative_to(folder)) for path in (*found, *scripts))


def _results(folder: Path) -> Iterator[str]:
    for path in (folder / "results").rglob("*"):
        name = path.relative_to(folder)
        passing = any(part.startswith((".", "resume-")) for part in name.parts)
        by_nature = path.name in DIFFERENT_BY_NATURE or path.name.startswith("energy-")
        if passing or by_nature or "benchmarks" in name.parts:
            continue
        if path.is_file():
            yield str(name)


def _same(first: Path, second: Path) -> bool:
    reader = _READERS.get(first.name, Path.read_bytes)
    try:
        return first.read_bytes() == second.read_bytes() or reader(first) == reader(second)
    except FileNotFoundError:
        return False


def _history(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return [
            {name: value for name, value in row.items() if name not in TIMES}
            for row in csv.DictReader(stream)
        ]


def _provenance(path: Path) -> Any:
    record = json.loads(path.read_text(encoding="utf-8"))
    by_nature = ("starts", "commit", "training", "time")
    return {name: value for name, value in record.items() if name not in by_nature}


_READERS: dict[str, Callable[[Path], Any]] = {
    "history.csv": _history,
    "training_curves.csv": _history,
    "provenance.json": _provenance,
}
