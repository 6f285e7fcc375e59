"""A tiny data set and settings for the tests of training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from melanoma import config, isic
from melanoma.store import pack
from melanoma.training import TrainingJob
from melanoma.training.module import Classifier

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
            "surround": 0.0,
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


def weights_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Every parameter and buffer."""
    contents: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    weights: dict[str, torch.Tensor] = contents["state_dict"]
    return weights


def assert_same_weights(one: Path, other: Path) -> None:
    """Two checkpoints hold the same, bit for bit."""
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys()
    different = [key for key in first if not torch.equal(first[key], second[key])]
    assert different == []


@contextlib.contextmanager
def interrupted(monkeypatch: pytest.MonkeyPatch, epoch: int, step: int) -> Iterator[None]:
    """Have a training end in an error, in the middle of an epoch."""
    original = Classifier.on_train_batch_end

    def ending(self: Classifier, outputs: Any, batch: Any, batch_idx: int) -> None:
        original(self, outputs, batch, batch_idx)
        if (self.current_epoch, batch_idx) == (epoch, step):
            raise OSError("disk gone")

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "on_train_batch_end", ending)
        yield
