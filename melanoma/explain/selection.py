"""Which examples are shown: for each class, confident right and confident wrong answers."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from melanoma import isic
from melanoma.errors import InputError

CALIBRATED = "{}_calibrated"
"""Name of the column of a class's calibrated probability."""

DETAILS = ("lesion_id", "age", "sex", "site", "source")
"""What is told of an example from the catalogue."""

COLUMNS = (
    "file",
    "image",
    "diagnosis",
    "predicted",
    "correct",
    "rank",
    "probability",
    "melanoma_probability",
    *DETAILS,
    *isic.CLASSES,
    *(CALIBRATED.format(name) for name in isic.CLASSES),
)
"""Columns of the table of examples, index.csv."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
"""What is no part of a picture's name, such as the slashes of ids that are paths."""

_LONGEST = 150
"""Characters of an id in a picture's name; class and rank alone tell it from all others."""


def select_examples(
    predictions: pd.DataFrame,
    calibrated: pd.DataFrame,
    catalogue: pd.DataFrame,
    *,
    per_class: int,
) -> pd.DataFrame:
    """Choose the most confident right and wrong answers of each class.

    Each lesion is shown once before any is shown twice, so that one lesion of many images doesn't
    fill a row. The choice doesn't depend on the order of rows.

    Args:
        predictions: image and one raw softmax column per class.
        calibrated: the same images and columns, calibrated.
        catalogue: columns image, diagnosis, group, lesion_id, age, sex, site, source.
        per_class: at most so many right and so many wrong examples for each class.

    Returns:
        Columns `COLUMNS`: file (name of the example's picture), predicted (largest raw
        probability), correct (bool), rank (from 1, within class and right or wrong), probability
        (raw, of the predicted class), melanoma_probability (calibrated). Sorted by class in the
        official order, right before wrong, rank.

    Raises:
        InputError: a predicted image is not in the catalogue or not in the calibrated table.
    """
    table = _join(predictions, calibrated, catalogue)
    raw = table[list(isic.CLASSES)].to_numpy(float)
    table["predicted"] = np.asarray(isic.CLASSES)[raw.argmax(axis=1)] if len(table) else ""
    table["probability"] = raw.max(axis=1, initial=0.0)
    table["melanoma_probability"] = table[CALIBRATED.format(isic.MELANOMA)]
    table["correct"] = table["predicted"] == table["diagnosis"]
    table = table.sort_values(["probability", "image"], ascending=[False, True], kind="stable")
    part = ["diagnosis", "correct"]
    table["repeat"] = table.groupby([*part, "group"]).cumcount()
    table = table.sort_values("repeat", kind="stable")
    table["rank"] = table.groupby(part).cumcount() + 1
    table = table[(table["rank"] <= per_class) & table["diagnosis"].isin(isic.CLASSES)].copy()
    table["order"] = table["diagnosis"].map({name: i for i, name in enumerate(isic.CLASSES)})
    table["file"] = [_file_name(row) for _, row in table.iterrows()]
    table = table.sort_values(["order", "correct", "rank"], ascending=[True, False, True])
    return table[list(COLUMNS)].reset_index(drop=True)


def _join(
    predictions: pd.DataFrame, calibrated: pd.DataFrame, catalogue: pd.DataFrame
) -> pd.DataFrame:
    classes = list(isic.CLASSES)
    names = {name: CALIBRATED.format(name) for name in classes}
    told = catalogue[["image", "diagnosis", "group", *DETAILS]]
    second = calibrated[["image", *classes]].rename(columns=names)
    table = predictions[["image", *classes]].merge(told, "left", on="image", validate="1:1")
    _refuse_missing(table, "diagnosis", "the catalogue")
    table = table.merge(second, "left", on="image", validate="1:1")
    _refuse_missing(table, names[isic.MELANOMA], "the calibrated predictions")
    return table


def _refuse_missing(table: pd.DataFrame, column: str, where: str) -> None:
    missing = table.loc[table[column].isna(), "image"]
    if len(missing):
        raise InputError(
            f"predictions: image {missing.iloc[0]!r} (and {len(missing) - 1} more) is not in "
            f"{where}: predict again with the present data"
        )


def _file_name(row: pd.Series) -> str:
    verdict = "right" if row["correct"] else "wrong"
    image = _UNSAFE.sub("_", str(row["image"]))[:_LONGEST]
    return f"{row['diagnosis']}_{verdict}_{row['rank']}_{image}.png"
