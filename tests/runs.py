"""The whole workflow on a micro configuration, started as a user does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]

MICRO = {
    "images": {"size": 32, "shards": 2},
    "model": {"backbone": "resnet18", "pretrained": False},
    "training": {
        "gpus_per_node": 0,
        "batch_size": 16,
        "max_epochs": 2,
        "freeze_epochs": 1,
        "lr": 1.0e-3,
        "patience": 0,
    },
    "evaluation": {"bootstrap": 50},
    "gradcam": {"per_class": 1},
    "experiments": {"fusion": {}, "metadata_only": {"model": {"image": False}}},
}


def draw_archive(folder: Path) -> None:
    """A drawn archive of 64 training and 24 test images, all classes in it."""
    from melanoma.synthetic import write_archive

    sizes = ((160, 120), (120, 160), (160, 160), (240, 180))
    write_archive(folder, images=64, test_images=24, seed=7, sizes=sizes)


def micro_config(archive: Path) -> dict[str, object]:
    """The micro configuration on a drawn archive."""

    def files(name: str) -> dict[str, str]:
        return {
            "images": str(archive / f"ISIC_2019_{name}_Input.zip"),
            "ground_truth": str(archive / f"ISIC_2019_{name}_GroundTruth.csv"),
            "metadata": str(archive / f"ISIC_2019_{name}_Metadata.csv"),
        }

    return {"data": {"train": files("Training"), "test": files("Test")}, **MICRO}


def write_config(directory: Path, values: dict[str, object]) -> None:
    """Put a configuration where the workflow looks for it."""
    (directory / "config").mkdir(parents=True, exist_ok=True)
    (directory / "config" / "config.yaml").write_text(yaml.safe_dump(values))


def snakemake(
    directory: Path, *arguments: str, check: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake as a user types it, from the checkout, in another working directory."""
    # The installed command: `python -m snakemake` would look for the package in `cwd` first.
    program = Path(sys.executable).with_name("snakemake")
    command = [str(program), "--directory", str(directory), *arguments]
    result = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )
    if check:
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
    return result


def planned(result: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Rules that a dry run would start, with the number of their jobs."""
    table = re.search(r"Job stats:\n.*?\n-[- ]+\n(.*?)\ntotal", result.stdout + result.stderr, re.S)
    if table is None:
        return {}
    rows = [line.split() for line in table[1].splitlines() if line.strip()]
    return {name: int(count) for name, count in rows if name != "all"}
