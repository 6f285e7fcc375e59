"""Splits that a user has made, by hand or with another program."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from melanoma.errors import InputError
from melanoma.image_names import ImageNames, composed
from melanoma.splits import COLUMNS, check_splits, torn_groups, typed_splits
from melanoma.tables import Problems, read_table, with_ids
from melanoma.vocabulary import IMAGE_COLUMNS
from melanoma.wording import counted

_LOG = logging.getLogger(__name__)


def user_splits(
    path: Path | str, catalogue: pd.DataFrame, *, folds: int, test_fraction: float
) -> pd.DataFrame:
    """Read a user's own splits and make sure that they leak nothing and fit the configuration.

    Args:
        path: table (see `melanoma.table_text`) with the columns `splits.COLUMNS` in any order;
            others are ignored. Images are named as in the ground truth.
        catalogue: as for `check_splits`, and member, by which images named by path are found.
        folds: that the file must have.
        test_fraction: 0 where the file must have no test part, else it must have one.

    Returns:
        As `splits.read_splits`. Near-duplicates of two lesions may be in two parts, since who made
        the file knows the lesions; they are warned of.

    Raises:
        InputError: as `read_table`, `typed_splits` and `check_splits`, or another number of folds
            or a test part that is there or missing against the configuration.
    """
    path = Path(path)
    problems = Problems()
    table = read_table(
        path, required=[IMAGE_COLUMNS, *COLUMNS[1:]], problems=problems, unique=False
    )
    names = ImageNames(catalogue["member"])
    table = with_ids(table, list(catalogue["image"]), names, path, problems, unique=False)
    splits = typed_splits(table.assign(lesion_id=table["lesion_id"].map(composed)), path)
    found = splits["fold"].nunique()
    if found != folds:
        raise InputError(f"{path}: {found} folds, but splits.folds is {folds}; set it to {found}")
    has_test = bool((splits["split"] == "test").any())
    if has_test != (test_fraction > 0):
        cure = "leave test_fraction above 0" if has_test else "set test_fraction to 0"
        raise InputError(
            f"{path}: {'has a' if has_test else 'no'} test part, but splits.test_fraction is "
            f"{test_fraction}; {cure}"
        )
    check_splits(splits, catalogue, keep_groups=False)
    _warn_of_torn_groups(splits, catalogue, path)
    return splits


def _warn_of_torn_groups(splits: pd.DataFrame, catalogue: pd.DataFrame, path: Path) -> None:
    torn = torn_groups(splits, catalogue)["group"]
    if len(torn):
        _LOG.warning(
            "%s: %s in several parts, e.g. of %s: see results/splits_audit.csv and "
            "results/catalogue/train_duplicates.csv; what is learnt may be tested there",
            path,
            counted(torn.nunique(), "group of near-duplicates is", "groups of near-duplicates are"),
            torn.iloc[0],
        )
