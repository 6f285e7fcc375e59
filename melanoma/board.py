"""What TensorBoard shows of a training: figures, confusion matrix, sample predictions, settings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from melanoma import drawing, isic
from melanoma.drawing import Cell, Row

if TYPE_CHECKING:
    from melanoma import config

SAMPLES_PER_CLASS = 2

_SIDE = 128
_COLUMNS = 8


@dataclass(frozen=True)
class Samples:
    """Validation images whose predictions are shown in every epoch.

    Attributes:
        positions: places in the validation part.
        pixels: uint8[n, s, s, 3].
        labels: int64[n], positions in `isic.CLASSES`.
    """

    positions: npt.NDArray[np.int64]
    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def sample_positions(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Places of the first few of each class, the same in every epoch.

    Args:
        labels: int64[n].
    """
    chosen = [np.flatnonzero(labels == one)[:SAMPLES_PER_CLASS] for one in np.unique(labels)]
    return np.concatenate(chosen) if chosen else np.zeros(0, np.int64)


class Board:
    """Writes one fold's events.

    Args:
        folder: logs/tensorboard/{experiment}/fold{fold}.
        first_epoch: the first that will be written; what an earlier start wrote of it and of
            later epochs is no longer shown.
    """

    def __init__(self, folder: Path, first_epoch: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=first_epoch)

    def epoch(
        self, row: Mapping[str, object], per_class: Mapping[str, Sequence[float]], epoch: int
    ) -> None:
        """The figures of an epoch.

        Args:
            row: of history.csv.
            per_class: figure -> its value for each class; NaN is left out.
            epoch: counted from 0.
        """
        for name, value in row.items():
            if isinstance(value, int | float) and name != "epoch":
                self._writer.add_scalar(name, value, epoch)
        for name, column in per_class.items():
            for diagnosis, value in zip(isic.CLASSES, column, strict=True):
                if not math.isnan(value):
                    self._writer.add_scalar(f"{name}/{diagnosis}", value, epoch)
        self._writer.flush()

    def figure(self, name: str, figure: Any, epoch: int) -> None:
        """A matplotlib figure."""
        self._writer.add_figure(name, figure, epoch)

    def samples(self, samples: Samples, probabilities: npt.NDArray[np.float32], epoch: int) -> None:
        """Some validation images with what the model says of them.

        Args:
            samples: the images.
            probabilities: float32[n, classes], of the same images.
            epoch: counted from 0.
        """
        sheet = draw_samples(samples, probabilities)
        self._writer.add_image("samples", sheet, epoch, dataformats="HWC")

    def finish(
        self, experiment: config.Experiment, figures: Mapping[str, float], best_epoch: int
    ) -> None:
        """The settings, with the figures of the best epoch: a row of the HPARAMS tab.

        Args:
            experiment: all settings.
            figures: of the best epoch.
            best_epoch: counted from 0.
        """
        from torch.utils.tensorboard import summary

        best = {f"best/{name}": value for name, value in figures.items()}
        best["best/epoch"] = float(best_epoch)
        # Not `add_hparams`, which would open a folder of its own for them.
        hparams: Any = summary.hparams
        for one in hparams(settings(experiment), best):
            self._writer.file_writer.add_summary(one)
        for name, value in best.items():
            self._writer.add_scalar(name, value, best_epoch)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def settings(experiment: config.Experiment) -> dict[str, bool | int | float | str]:
    """What decides an experiment's results, as TensorBoard takes it: one level, no lists."""
    sections = json.loads(experiment.result_settings())
    values: dict[str, bool | int | float | str] = {"experiment": sections.pop("name")}
    for section, found in sections.items():
        for key, value in found.items():
            plain = isinstance(value, bool | int | float | str)
            text = ", ".join(map(str, value)) if isinstance(value, list) else "none"
            values[f"{section}.{key}"] = value if plain else text
    return values


def draw_samples(samples: Samples, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """The sheet of sample predictions.

    Args:
        samples: the images.
        probabilities: float32[n, classes], of the same images.

    Returns:
        uint8[h, w, 3].
    """
    cells = []
    for picture, label, row in zip(samples.pixels, samples.labels, probabilities, strict=True):
        best = int(row.argmax())
        caption = (f"{isic.CLASSES[best]} {row[best]:.2f}", f"true: {isic.CLASSES[label]}")
        colour = drawing.RIGHT if best == label else drawing.WRONG
        cells.append(Cell((picture,), caption, colour))
    rows = [Row((), tuple(cells[i : i + _COLUMNS])) for i in range(0, len(cells), _COLUMNS)]
    title = ("Sample predictions", "Raw probability of the predicted class; below, the true one.")
    return drawing.draw_sheet(rows, side=_SIDE, title=title, label_width=0)
