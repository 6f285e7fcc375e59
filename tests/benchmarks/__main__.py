"""Measure the pipeline against the usual ways and against its targets: `make bench`."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

# Before numpy and torch are imported: every figure is of one core.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from tests.benchmarks import (  # noqa: E402
    calibration,
    cost_of_start,
    gpu,
    hair_quality,
    memory_of_jobs,
    speed_of_evaluation,
    speed_of_images,
    speed_of_loader,
    speed_of_store,
)
from tests.benchmarks.figures import FAILED, Figure, to_table, write  # noqa: E402

DOWNLOADED = Path("resources/isic2019/train/images.zip")
OUTPUT = Path("results/benchmarks")


def measures(archive: Path | None) -> dict[str, Callable[[], Iterator[Figure]]]:
    """What can be measured, by area, the quick ones first."""
    return {
        "start": cost_of_start.measure,
        "memory": partial(memory_of_jobs.measure, archive),
        "evaluation": speed_of_evaluation.measure,
        "calibration": calibration.measure,
        "store": partial(speed_of_store.measure, archive),
        "loader": partial(speed_of_loader.measure, archive),
        "images": partial(speed_of_images.measure, archive),
        "hair": partial(hair_quality.figures, archive),
        "gpu": gpu.figures,
    }


def main() -> int:
    """Print every figure as it comes, write them all; 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--archive", type=Path, help="zip of images to measure on")
    parser.add_argument("--only", nargs="+", choices=measures(None), help="and write nothing")
    arguments = parser.parse_args()
    archive: Path | None = arguments.archive
    if archive is None and DOWNLOADED.is_file():
        archive = DOWNLOADED
    if archive is not None and not archive.is_file():
        parser.error(f"{archive}: no such file")
    found = []
    for area, measure in measures(archive).items():
        for one in measure() if area in (arguments.only or [area]) else ():
            found.append(one)
            print(to_table([one]).splitlines()[-1], flush=True)
    missed = [one for one in found if one.status == FAILED]
    print(f"\n{len(found) - len(missed)} of {len(found)} figures hold or have no target")
    for one in missed:
        print(f"missed: {one.area}: {one.what}: {one.median:.3g}, wanted {one.target}")
    if not arguments.only:
        about = {
            "images": archive.name if archive else "drawn",
            "processor": _processor(),
            "python": platform.python_version(),
        }
        write(found, OUTPUT, about=about)
        print(f"written to {OUTPUT}/benchmarks.md and .json")
    return 1 if missed else 0


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    sys.exit(main())
