"""Training: data on the device, augmentation, two stages, checkpoints, launching and resuming."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from melanoma.config import Experiment


@dataclass(frozen=True)
class TrainingJob:
    """What one training is made of.

    Attributes:
        experiment: its settings.
        fold: number of the fold.
        store: image store (.npy) of the training set.
        catalogue: the training set's catalogue (.csv).
        splits: the assignment of images to folds and splits (.csv).
        weights: pretrained weights of the backbone; None starts from random ones.
        output: folder of the checkpoints and tables.
        tensorboard: folder of the TensorBoard logs.
        code: version of the code behind the result; a resumed training must have the same.
    """

    experiment: Experiment
    fold: int
    store: Path
    catalogue: Path
    splits: Path
    weights: Path | None
    output: Path
    tensorboard: Path
    code: str


@dataclass(frozen=True)
class TrainingResult:
    """What a training came to.

    Attributes:
        output: folder with model.ckpt, last.ckpt, history.csv and restarts.csv.
        epochs: epochs trained, over all starts.
        best_epoch: the epoch that model.ckpt is from, counted from 0.
        metrics: validation figures of that epoch.
        stopped_early: whether patience ran out before the last epoch.
    """

    output: Path
    epochs: int
    best_epoch: int
    metrics: dict[str, float]
    stopped_early: bool
