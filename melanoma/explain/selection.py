"""Which examples are shown: for each class right and wrong answers, confident and random ones."""

from __future__ import annotations

import hashlib
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
    "choice",
)
"""Columns of the table of examples."""

CONFIDENT = "most confident"
RANDOM = "random"
CHOICES = (CONFIDENT, RANDOM)
"""How an example was chosen: the values of the column choice."""

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
    seed: int = 0,
) -> pd.DataFrame:
    """Choose right and wrong answers of each class: the most confident, then as many at random.

    The most confident answers are the ones that look best; random ones tell how the rest looks.
    Each lesion is shown once before any is shown twice, so that one lesion of many images doesn't
    fill a row. The choice doesn't depend on the order of rows.

    Args:
        predictions: image and one raw softmax column per class.
        calibrated: the same images and columns, calibrated.
        catalogue: columns image, diagnosis, group, lesion_id, age, sex, site, source.
        per_class: at most so many right and so many wrong examples for each class; of an odd
            number, the one more is a confident one.
        seed: of the random examples.

    Returns:
        Columns `COLUMNS`: file (name of the example's picture), predicted (largest raw
        probability), correct (bool), rank (by confidence, from 1, within class and right or
        wrong, of all images), probability (raw, of the predicted class), melanoma_probability
        (calibrated), choice (one of `CHOICES`). Sorted by class in the official order, right
        before wrong, the most confident before random ones, rank.

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
    table["rank"] = _turns(table) + 1
    table = _choose(table[table["diagnosis"].isin(isic.CLASSES)], per_class, seed)
    table["file"] = [_file_name(row) for _, row in table.iterrows()]
    order = {name: place for place, name in enumerate((*isic.CLASSES, *CHOICES))}
    keys = pd.DataFrame(
        {
            "class": table["diagnosis"].map(order),
            "wrong": ~table["correct"].astype(bool),
            "choice": table["choice"].map(order),
            "rank": table["rank"],
        }
    )
    table = table.loc[keys.sort_values(list(keys.columns)).index]
    return table[list(COLUMNS)].reset_index(drop=True)


_PART = ["diagnosis", "correct"]


def _turns(table: pd.DataFrame) -> pd.Series:
    """Place of each row, from 0, within its class and right or wrong, the lesions taken in turns.

    Among lesions of the same turn, and images of one lesion, the order of rows counts.
    """
    turn = table.groupby([*_PART, "group"]).cumcount().sort_values(kind="stable")
    return table.loc[turn.index].groupby(_PART).cumcount().reindex(table.index)


def _choose(table: pd.DataFrame, per_class: int, seed: int) -> pd.DataFrame:
    """The most confident half of the examples, and as many of the others at random."""
    confident = table["rank"] <= (per_class + 1) // 2
    shown = set(table.loc[confident, "group"])
    rest = table[~confident]
    # By a hash, so that the draw depends on neither the order of rows nor the other images.
    drawn = pd.DataFrame(
        {
            "shown": [group in shown for group in rest["group"]],
            "lot": [hashlib.sha256(f"{seed}:{name}".encode()).digest() for name in rest["image"]],
        },
        index=rest.index,
    ).sort_values(["shown", "lot"])
    rest = rest.loc[drawn.index]
    rest = rest[_turns(rest) < per_class // 2]
    choices = ((table[confident], CONFIDENT), (rest, RANDOM))
    return pd.concat([rows.assign(choice=choice) for rows, choice in choices])


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
