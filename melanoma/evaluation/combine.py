"""One table of predictions out of the folds': out-of-fold on validation, their mean elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from melanoma.errors import InputError
from melanoma.evaluation.calibration import apply_decision
from melanoma.isic import CLASSES


def combine(
    subset: str, folds: Sequence[pd.DataFrame], decisions: Sequence[Mapping[str, Any]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Join the folds' predictions of one subset, raw and calibrated by each fold's own decision.

    Args:
        subset: "val" (every image is in one fold's table), else every table has every image.
        folds: image, the eight classes' raw softmax and perhaps more, one table a fold.
        decisions: each fold's, in the same order.

    Returns:
        Raw and calibrated table: image and the eight classes, sorted by image.

    Raises:
        InputError: tables and decisions do not match in number, or the ids do not fit.
    """
    if not folds or len(folds) != len(decisions):
        raise InputError(f"{len(folds)} tables of predictions for {len(decisions)} decisions")
    columns = ["image", *CLASSES]
    calibrated = [apply_decision(t, d) for t, d in zip(folds, decisions, strict=True)]
    return (
        join_folds(subset, [table[columns] for table in folds]),
        join_folds(subset, calibrated),
    )


def join_folds(subset: str, folds: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Join tables of numbers: rows one after the other on validation, their mean elsewhere.

    Args:
        subset: "val", "test" or "official".
        folds: image and equal number columns, one table a fold.

    Returns:
        image and the number columns, sorted by image, every image once.

    Raises:
        InputError: an image in two folds' validation parts or twice in one table, or tables
            of a subset that do not have the same images.
    """
    tables = [table.sort_values("image", kind="stable", ignore_index=True) for table in folds]
    for fold, table in enumerate(tables):
        _refuse_repeated(table["image"], f"fold {fold}, {subset}")
    if subset == "val":
        joined = pd.concat(tables).sort_values("image", kind="stable", ignore_index=True)
        _refuse_repeated(joined["image"], "the folds' validation parts together")
        return joined
    first = tables[0]
    for fold, table in enumerate(tables[1:], start=1):
        odd = set(first["image"]) ^ set(table["image"])
        if odd:
            raise InputError(
                f"fold {fold}, {subset}: image {min(odd)} is not in every fold's table; "
                "predict again with the present splits"
            )
    numbers = [column for column in first.columns if column != "image"]
    joined = first.copy()
    joined[numbers] = np.mean([table[numbers].to_numpy(np.float64) for table in tables], axis=0)
    return joined


def _refuse_repeated(images: pd.Series, where: str) -> None:
    repeated = images[images.duplicated()]
    if len(repeated):
        raise InputError(
            f"{where}: image {repeated.iloc[0]} is there twice; predict again with the present "
            "splits"
        )
