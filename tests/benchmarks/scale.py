"""The official tables with as many generated images, from the archive to store and splits.

`python -m tests.benchmarks.scale FOLDER`, where FOLDER holds the official ground truth and metadata
of training. Prints time and memory of each rule, and what a million images would take.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import yaml

from tests.benchmarks.cost_of_start import ROOT
from tests.benchmarks.samples import save

WIDTH, HEIGHT = 300, 225
GRID = (6, 8)
"""Random colours that are blurred into an image: no two are alike."""

CORES = 2
SIZE = 64
MILLION = 1_000_000
TARGETS = ("results/splits.csv", f"results/images/train/lines-crop-{SIZE}.npy")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    source = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables = {
            "ground_truth": source / "ISIC_2019_Training_GroundTruth.csv",
            "metadata": source / "ISIC_2019_Training_Metadata.csv",
        }
        images = _write_archive(folder / "images.zip", tables["ground_truth"])
        _run(folder, {key: str(path.resolve()) for key, path in tables.items()})
        print(_table(folder, images))
    return 0


def _write_archive(path: Path, ground_truth: Path) -> int:
    """A zip with an image for each row; gives their number."""
    rng = np.random.default_rng(0)
    with ground_truth.open(newline="", encoding="utf-8") as stream:
        names = [row["image"] for row in csv.DictReader(stream)]
    with zipfile.ZipFile(path, "w") as archive:
        for image in names:
            colours = rng.integers(60, 230, (*GRID, 3), dtype=np.uint8)
            rgb = cv2.resize(colours, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
            jpeg = save(np.asarray(rgb, np.uint8), 90)
            archive.writestr(f"ISIC_2019_Training_Input/{image}.jpg", jpeg)
    return len(names)


def _run(folder: Path, tables: dict[str, str]) -> None:
    train = {"images": f"file:{folder / 'images.zip'}", **tables}
    values = {"data": {"train": train, "test": None}, "images": {"size": SIZE, "shards": CORES}}
    (folder / "config").mkdir()
    (folder / "config/config.yaml").write_text(yaml.safe_dump(values))
    command = ["snakemake", "--directory", str(folder), "--cores", str(CORES), *TARGETS]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr[-5000:])


def _table(folder: Path, images: int) -> str:
    """Time and memory of each rule, all its jobs together, and the projection."""
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    benchmarks = folder / "results/benchmarks"
    for path in sorted(benchmarks.rglob("*.tsv"), key=lambda path: path.stat().st_mtime):
        rule = path.relative_to(benchmarks).parts[0].removesuffix(".tsv")
        with path.open(newline="", encoding="utf-8") as stream:
            found[rule].extend(csv.DictReader(stream, delimiter="\t"))
    lines = [
        f"| rule | jobs | CPU s, {images:,} images | MB | CPU s, {MILLION:,} images |",
        "|---|---|---|---|---|",
    ]
    for rule, jobs in found.items():
        seconds = sum(_number(job["cpu_time"]) for job in jobs)
        memory = max(_number(job["max_rss"]) for job in jobs)
        more = seconds * MILLION / images
        lines.append(f"| {rule} | {len(jobs)} | {seconds:.1f} | {memory:.0f} | {more:,.0f} |")
    return "\n".join(lines)


def _number(text: str) -> float:
    return float(text) if text not in ("", "NA", "-") else 0.0


if __name__ == "__main__":
    sys.exit(main())
