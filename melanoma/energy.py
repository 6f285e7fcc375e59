"""Time and energy of a training, as far as the hardware tells: one row for each of its starts.

Energy is that of the GPUs alone, from their own counters (NVML, since the Volta generation). That
of processors is not measured: their counters are for administrators to read, and count what other
users of the node draw.
"""

from __future__ import annotations

import contextlib
import csv
import ctypes
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from melanoma.files import read_rows

COLUMNS = ("time", "key", "seconds", "gpus", "joules")
"""When (UTC) a start ended, what it trained, how long, on how many GPUs of its node, with what
energy; gpus is 0 and joules empty where no counter can be read."""

_LIBRARY = "libnvidia-ml.so.1"

Reading = tuple[int, float]
"""GPUs read, and the joules that they have drawn since their driver was loaded."""


def key_of(*settings: str) -> str:
    """What tells one training's rows from another's: a hash of its settings, 12 hex digits."""
    return hashlib.sha256("\0".join(settings).encode()).hexdigest()[:12]


def gpu_reading(environment: Mapping[str, str], library: Any = None) -> Reading | None:
    """Read the energy counters of the GPUs that this process may use.

    Args:
        environment: of this process; CUDA_VISIBLE_DEVICES may name some by their numbers.
        library: NVML; None loads it.

    Returns:
        The reading; None where there is no driver, no GPU or no counter.
    """
    try:
        nvml = library or ctypes.CDLL(_LIBRARY)
        count = ctypes.c_uint()
        if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            return None
        chosen = _visible(environment, count.value)
        joules = [_joules(nvml, number) for number in chosen]
    except (OSError, AttributeError):
        return None
    known = [value for value in joules if value is not None]
    return (len(known), sum(known)) if known and len(known) == len(joules) else None


def _visible(environment: Mapping[str, str], count: int) -> list[int]:
    """Numbers of the GPUs in use: all that the driver shows unless the environment names some."""
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return list(range(count))
    numbers = [int(name) for name in named.split(",") if name.strip().isdigit()]
    return [number for number in numbers if number < count]


def _joules(nvml: Any, number: int) -> float | None:
    handle, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
    if nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(number), ctypes.byref(handle)):
        return None
    if nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules)):
        return None
    return millijoules.value / 1000


@contextlib.contextmanager
def recorded(
    folder: Path,
    key: str,
    environment: Mapping[str, str],
    *,
    rank: int = 0,
    local_rank: int = 0,
    first: bool = False,
    read: Callable[[Mapping[str, str]], Reading | None] = gpu_reading,
) -> Iterator[Callable[[], None]]:
    """Record time and energy of what runs inside, also where it ends in an error.

    One process of each node records, in a file of its own: `energy-{rank}.csv`. A start that is
    killed leaves no row.

    Yields:
        What records at once, for a process that ends without leaving: it is done once.

    Args:
        folder: gets the file.
        key: of what is trained; other keys' rows are of other trainings.
        environment: of this process, for `gpu_reading`.
        rank: of this process among all.
        local_rank: of this process on its node; the first of each node records.
        first: that it is the training's first start: rows of an earlier training are removed.
        read: reads the counters.
    """
    if local_rank:
        yield lambda: None
        return
    for path in folder.glob("energy-*.csv") if first else ():
        path.unlink()
    before, start = read(environment), time.monotonic()

    @cache
    def record() -> None:
        seconds, after = time.monotonic() - start, read(environment)
        gpus, joules = 0, ""
        if before and after and after[1] >= before[1]:
            gpus, joules = after[0], f"{after[1] - before[1]:.0f}"
        path = folder / f"energy-{rank}.csv"
        now = datetime.now(UTC).isoformat(timespec="seconds")
        _append(path, (now, key, f"{seconds:.0f}", gpus, joules))

    try:
        yield record
    finally:
        record()


def _append(path: Path, row: tuple[object, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # One short line at once: a file cut short is one row short.
    with path.open("a", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if not stream.tell():
            writer.writerow(COLUMNS)
        writer.writerow(row)
        stream.flush()
        os.fsync(stream.fileno())


def summary(folder: Path, starts: int) -> dict[str, float | int | None]:
    """Time and energy of a training, over its starts and nodes.

    Args:
        folder: with the files that `recorded` wrote; there may be none.
        starts: of the training.

    Returns:
        starts; measured, those of them that left a row on the first node: one that was killed did
        not; of these hours (wall), gpu_hours, and kilowatt_hours of the GPUs (None where not all
        starts were measured, or GPUs have no counters). Rows of the latest training's key alone
        count.
    """
    rows: list[dict[str, str]] = []
    for path in sorted(folder.glob("energy-*.csv")):
        rows += [{**row, "file": path.name} for row in read_rows(path)]
    if not rows:
        nothing = {"hours": None, "gpu_hours": None, "kilowatt_hours": None}
        return {"starts": starts, "measured": 0, **nothing}
    latest = max(rows, key=lambda row: row["time"])["key"]
    rows = [row for row in rows if row["key"] == latest]
    first = [row for row in rows if row["file"] == rows[0]["file"]]
    measured = len(first) >= starts and all(row["joules"] for row in rows)
    joules = sum(float(row["joules"]) for row in rows) if measured else None
    return {
        "starts": starts,
        "measured": len(first),
        "hours": _hours(sum(float(row["seconds"]) for row in first)),
        "gpu_hours": _hours(sum(float(row["seconds"]) * int(row["gpus"]) for row in rows)),
        "kilowatt_hours": None if joules is None else round(joules / 3.6e6, 4),
    }


def _hours(seconds: float) -> float:
    return round(seconds / 3600, 4)
