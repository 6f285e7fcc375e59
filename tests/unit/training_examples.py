"""A tiny data set and settings for the tests of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melanoma import config, isic
from melanoma.store import pack
from melanoma.training import TrainingJob

SIZE = 32
SMALLEST = "shufflenet_v2_x0_5"


def write_data(
    folder: Path, *, train: int = 40, val: int = 13, test: int = 4, size: int = SIZE
) -> None:
    """Write store, catalogue and splits; classes differ in colour, so that learning shows."""
    folder.mkdir(parents=True, exist_ok=True)
    n = train + val + test
    rng = np.random.default_rng(1)
    images = [f"ISIC_{number:07d}" for number in range(n)]
    labels = rng.permutation(np.arange(n) % len(isic.CLASSES))
    pixels = rng.integers(0, 80, (n, size, size, 3), dtype=np.uint8)
    pixels += (labels * 20).astype(np.uint8)[:, None, None, None]
    np.save(folder / "shard.npy", pixels)
    pack(
        [folder / "shard.npy"],
        pd.DataFrame({"image": images}),
        folder / f"none-crop-{size}.npy",
        recipe={"hair_removal": "none", "framing": "crop", "size": size, "code": "0"},
    )
    diagnoses = [isic.CLASSES[label] for label in labels]
    catalogue = pd.DataFrame(
        {
            "image": images,
            "lesion_id": [f"HAM_{number:07d}" for number in range(n)],
            "group": [f"g{number}" for number in range(n)],
            "diagnosis": diagnoses,
            "age": [np.nan if number % 9 == 0 else float(number) for number in range(n)],
            "sex": [("", *isic.SEXES)[number % 3] for number in range(n)],
            "site": [("", *isic.SITES)[number % 9] for number in range(n)],
            "source": ["BCN" if number % 5 == 0 else "HAM" for number in range(n)],
            "member": [f"x/{image}.jpg" for image in images],
            "width": 600,
            "height": 450,
            "bytes": 1000,
            "crc": "00000000",
            "fingerprint": "00",
        }
    )
    catalogue.to_csv(folder / "train.csv", index=False, lineterminator="\n")
    parts = rng.permutation(["train"] * train + ["val"] * val + ["test"] * test)
    splits = pd.DataFrame(
        {
            "image": images,
            "lesion_id": catalogue["lesion_id"],
            "diagnosis": diagnoses,
            "fold": 0,
            "split": parts,
        }
    )
    splits.to_csv(folder / "splits.csv", index=False, lineterminator="\n")


def experiment(
    model: dict[str, Any] | None = None, training: dict[str, Any] | None = None
) -> config.Experiment:
    """Settings small enough for the CPU."""
    return config.Experiment(
        name="fusion",
        images=config.Images(hair_removal="none", size=SIZE),
        model=config.Model(**{"backbone": SMALLEST, "pretrained": False, **(model or {})}),
        training=config.Training(
            **{
                "gpus_per_node": 0,
                "accelerator": "cpu",
                "batch_size": 16,
                "max_epochs": 3,
                "freeze_epochs": 1,
                "lr": 1e-3,
                **(training or {}),
            }
        ),
    )


def job(
    data: Path,
    output: Path,
    model: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    code: str = "code",
) -> TrainingJob:
    """A job on what `write_data` wrote."""
    return TrainingJob(
        experiment=experiment(model, training),
        fold=0,
        store=data / "none-crop-32.npy",
        catalogue=data / "train.csv",
        splits=data / "splits.csv",
        weights=None,
        output=output,
        tensorboard=output / "tensorboard",
        code=code,
    )
