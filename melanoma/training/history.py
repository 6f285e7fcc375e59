"""history.csv: one row for each epoch, none twice, however often training starts again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from melanoma.files import read_rows, write_rows

COLUMNS = (
    "epoch",
    "stage",
    "train_loss",
    "val_loss",
    "val_accuracy",
    "val_balanced_accuracy",
    "val_macro_f1",
    "val_weighted_f1",
    "val_macro_auroc",
    "lr_head",
    "lr_stem",
    "seconds",
    "images_per_second",
    "gpu_memory_mb",
)
"""Epochs count from 0; learning rates are the epoch's last; images_per_second is of the training
steps alone; gpu_memory_mb is the highest of rank 0, 0 on the CPU."""

Row = Mapping[str, object]


def append(path: Path, row: Row) -> None:
    """Add an epoch's row, in place of any rows of that epoch or later ones."""
    rows: list[Row] = [old for old in read(path) if int(old["epoch"]) < int(str(row["epoch"]))]
    write_rows(path, COLUMNS, [*rows, {column: _cell(row[column]) for column in COLUMNS}])


def trim(path: Path, epochs: int) -> None:
    """Keep the rows of the first `epochs` epochs: those after them will be trained again."""
    write_rows(path, COLUMNS, [row for row in read(path) if int(row["epoch"]) < epochs])


def read(path: Path) -> list[dict[str, str]]:
    """Rows as text; none where there is no file."""
    return read_rows(path)


def _cell(value: object) -> object:
    """Empty where a figure could not be computed."""
    return "" if isinstance(value, float) and math.isnan(value) else value
