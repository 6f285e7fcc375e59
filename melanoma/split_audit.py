"""What the parts of a split hold and share, and what an image-level split would have leaked."""

from __future__ import annotations

import hashlib
import itertools
import math
from typing import Any

import numpy as np
import pandas as pd

from melanoma.isic import METADATA_FIELDS
from melanoma.splits import PARTS, torn_groups

COLUMNS = ("fold", "quantity", "value", *PARTS, "all")
"""Columns of the audit: counts, or shares from 0 to 1, per part and of the whole."""

NO_LESION_ID = "images without a lesion id"
"""The quantity that tells groups from known lesions."""

TORN_GROUP = "near-duplicates in several parts"

SHARE_OF_SOURCE = "share of source"

AGE_BANDS = (0, 20, 40, 60, 80, math.inf)
"""Bounds in years; a band holds its lower bound."""


def audit_splits(splits: pd.DataFrame, catalogue: pd.DataFrame, *, seed: int = 42) -> pd.DataFrame:
    """Describe the parts of every fold.

    Args:
        splits: checked splits.
        catalogue: columns image, lesion_id, group, diagnosis, source, age, sex, site, surround.
        seed: of the image-level split it is compared with.

    Returns:
        Columns `COLUMNS`, one row per fold and quantity: numbers of images, known lesions, images
        without a lesion id and groups; shares of each diagnosis, source, sex and age band, of
        missing fields and of images with a surround; then, for val and test, how many lesions and
        groups they share with train (lesions: zero, or `check_splits` fails), the share of their
        images whose lesion is in train, and that share had the images been split one by one,
        stratified by diagnosis, into parts of the same sizes; last, of splits of one's own, each
        group in several parts with its images in each.
    """
    known = catalogue.drop(columns=["diagnosis"])
    torn = torn_groups(splits, catalogue)
    tables = []
    for fold, rows in splits.groupby("fold"):
        joined = rows[["image", "diagnosis", "split"]].merge(known, on="image")
        quantities = [*_counts(joined), *_shares(joined), *_shared(joined, seed)]
        quantities += [
            _row(TORN_GROUP, str(row["group"]), row[list(PARTS)], sum(row[list(PARTS)]))
            for _, row in torn[torn["fold"] == fold].iterrows()
        ]
        tables.append(pd.DataFrame(quantities, columns=list(COLUMNS[1:])).assign(fold=fold))
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)]


Row = tuple[str, ...]


def _row(quantity: str, value: str, by_part: pd.Series[Any], whole: float | None = None) -> Row:
    return (quantity, value, *(_cell(by_part.get(part)) for part in PARTS), _cell(whole))


def _cell(value: float | None) -> str:
    """A count as it is, a share with six places, nothing where there is none."""
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _counts(table: pd.DataFrame) -> list[Row]:
    known = table["lesion_id"] != ""
    lesions, nameless = table[known], ~known
    return [
        _row("images", "", table.groupby("split").size(), len(table)),
        _distinct("lesions", lesions, "lesion_id"),
        _row(NO_LESION_ID, "", nameless.groupby(table["split"]).sum(), int(nameless.sum())),
        _distinct("groups", table, "group"),
    ]


def _distinct(quantity: str, table: pd.DataFrame, column: str) -> Row:
    return _row(quantity, "", table.groupby("split")[column].nunique(), table[column].nunique())


def _shares(table: pd.DataFrame) -> list[Row]:
    """Shares of images per part by diagnosis and metadata."""
    age = pd.cut(table["age"], list(AGE_BANDS), right=False, labels=_age_labels())
    described = {
        "diagnosis": table["diagnosis"],
        "source": table["source"],
        "sex": table["sex"].where(table["sex"] != "", "missing"),
        "age": age.astype("object").fillna("missing"),
    }
    rows = []
    for quantity, values in described.items():
        for value in sorted(values.unique()):
            rows.append(_share(quantity, value, values == value, table["split"]))
    for field in METADATA_FIELDS:
        missing = table[field].isna() if field == "age" else table[field] == ""
        rows.append(_share("missing", field, missing, table["split"]))
    rows.append(_share("images", "with a surround", table["surround"] > 0, table["split"]))
    return rows


def _age_labels() -> list[str]:
    last = len(AGE_BANDS) - 2
    return [
        f"{low:.0f} and above" if i == last else f"{low:.0f} to {high - 1:.0f}"
        for i, (low, high) in enumerate(itertools.pairwise(AGE_BANDS))
    ]


def _share(quantity: str, value: str, holds: pd.Series[bool], split: pd.Series[str]) -> Row:
    return _row(f"share of {quantity}", value, holds.groupby(split).mean(), float(holds.mean()))


def _shared(table: pd.DataFrame, seed: int) -> list[Row]:
    """What val and test share with train, in these splits and in an image-level one."""
    rows = []
    for name, column in (("lesions", "lesion_id"), ("groups", "group")):
        learnt = set(table.loc[table["split"] == "train", column]) - {""}
        shared = {
            part: len(learnt & set(table.loc[table["split"] == part, column]))
            for part in ("val", "test")
            if (table["split"] == part).any()
        }
        rows.append(_row(f"{name} shared with train", "", pd.Series(shared, dtype="int64")))
    for name, split in (("as split", table["split"]), ("image by image", _by_image(table, seed))):
        rows.append(_row("share of images whose lesion is in train", name, _leak(table, split)))
    return rows


def _leak(table: pd.DataFrame, split: pd.Series[str]) -> pd.Series[Any]:
    learnt = set(table.loc[split == "train", "lesion_id"]) - {""}
    leaks = table["lesion_id"].isin(learnt).groupby(split).mean()
    return leaks.drop("train", errors="ignore")


def _by_image(table: pd.DataFrame, seed: int) -> pd.Series[str]:
    """An image-level split, stratified by diagnosis, with parts of the same sizes."""
    lots = [hashlib.sha256(f"{seed}\0{image}".encode()).digest() for image in table["image"]]
    drawn = table.assign(lot=lots).sort_values("lot")
    place = drawn.groupby("diagnosis").cumcount() + 0.5
    rank = place / drawn.groupby("diagnosis")["image"].transform("size")
    train, val, _ = ((table["split"] == part).mean() for part in PARTS)
    split = np.select([rank < train, rank < train + val], ["train", "val"], "test")
    return pd.Series(split, index=drawn.index).reindex(table.index)
