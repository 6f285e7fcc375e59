"""One table of predictions out of the folds': out-of-fold on validation, their mean elsewhere.

The decision is the ensemble's own. It is fitted on the out-of-fold union, where each image has the
probability of one model, and applied to it and to the mean of the models alike.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melanoma.config import Experiment
from melanoma.errors import InputError
from melanoma.evaluation.calibration import apply_decision, decide
from melanoma.isic import CLASSES


def decide_together(
    validation: Sequence[pd.DataFrame],
    catalogue: pd.DataFrame,
    splits: pd.DataFrame,
    experiment: Experiment,
    *,
    models: Sequence[str],
    target: str,
    tta: bool,
) -> dict[str, Any]:
    """Fit the decision of an experiment's models on the union of their validation parts.

    Args:
        validation: predictions of each fold's model on its own validation part, in the order of
            the folds.
        catalogue: image, diagnosis, group, source or lesion_id.
        splits: image, fold, split.
        experiment: its settings.
        models: their checkpoints, in the same order.
        target: the file that the decision is for.
        tta: whether the predictions are means over flips and quarter turns.

    Returns:
        As `melanoma.evaluation.calibration.fit_decision`, with members: the checkpoints as paths
        from the folder of `target`.

    Raises:
        InputError: as `join_folds` and `melanoma.evaluation.calibration.decide`.
    """
    union = join_folds("val", validation)
    decision = decide(union, catalogue, splits, range(len(validation)), experiment, tta=tta)
    folder = Path(target).parent
    return decision | {"members": [Path(os.path.relpath(m, folder)).as_posix() for m in models]}


def combine(
    subset: str, folds: Sequence[pd.DataFrame], decision: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Join the folds' predictions of one subset, raw and calibrated by the ensemble's decision.

    Args:
        subset: "val" (every image is in one fold's table), else every table has every image.
        folds: image, the eight classes' raw softmax and perhaps more, one table a fold.
        decision: of the folds' models together.

    Returns:
        Raw table: image and the eight classes, sorted by image; and calibrated table, as from
        `melanoma.evaluation.calibration.apply_decision`.

    Raises:
        InputError: no table, the ids do not fit, or a table lacks what the decision asks for.
    """
    if not folds:
        raise InputError(f"no table of predictions to combine for {subset}")
    joined = join_folds(subset, folds)
    return joined[["image", *CLASSES]], apply_decision(joined, decision)


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
    return mean_of(tables)


def mean_of(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Mean of tables that have the same images in the same order.

    Args:
        tables: image and equal number columns.
    """
    numbers = [column for column in tables[0].columns if column != "image"]
    joined = tables[0].copy()
    means = np.mean([table[numbers].to_numpy(np.float64) for table in tables], axis=0)
    joined[numbers] = means
    return joined


def _refuse_repeated(images: pd.Series, where: str) -> None:
    repeated = images[images.duplicated()]
    if len(repeated):
        raise InputError(
            f"{where}: image {repeated.iloc[0]} is there twice; predict again with the present "
            "splits"
        )
