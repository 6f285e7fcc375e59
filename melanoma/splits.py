"""Sharing images out over training, validation and test: always by whole groups.

A group is a lesion with all its photographs and their near-duplicates. Split image by image,
more than half of a test part shows lesions that training has seen.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from melanoma.errors import InputError
from melanoma.isic import source_of
from melanoma.wording import first_few, quoted

COLUMNS = ("image", "lesion_id", "diagnosis", "fold", "split")
PARTS = ("train", "val", "test")

_SHOWN = 5


class _Group(NamedTuple):
    """Images that stay together.

    Attributes:
        name: its name.
        diagnosis: the commonest of its images, of equals the first by name.
        source: contributing collection of its first lesion.
        size: number of images.
    """

    name: str
    diagnosis: str
    source: str
    size: int


@dataclass
class _Part:
    """One receiver of groups.

    Attributes:
        share: wanted share of images, above 0.
        least: groups of each class that it should get if there are enough.
        total: images it has got.
    """

    share: float
    least: int
    total: int = 0


def assign_splits(
    catalogue: pd.DataFrame,
    *,
    folds: int,
    val_fraction: float,
    test_fraction: float,
    seed: int,
) -> pd.DataFrame:
    """Assign every image to train, val or test in each fold.

    Groups of one diagnosis are dealt out one by one, collection after collection, the largest
    first, each to the part that is furthest below its share (the method of Sainte-Laguë). So the
    parts agree in diagnoses, in collections and in how many photographs a lesion has; the test
    part depends on neither `folds` nor `val_fraction`. Every diagnosis is in every part that has
    a group for it.

    Args:
        catalogue: columns image, lesion_id ("" or NaN where missing: the image is on its own),
            diagnosis, and optionally group, which then stays whole. Other columns, and the
            order of rows, change nothing.
        folds: 1 for one split; k for k folds with the same test part.
        val_fraction: share of images for validation; ignored with several folds.
        test_fraction: share of images for testing; 0 for none.
        seed: decides between groups that are alike.

    Returns:
        One row per image and fold, columns `COLUMNS`, sorted by fold and image.

    Raises:
        InputError: no images, an image twice, fractions that leave nothing to train on, a
            diagnosis with fewer groups than there are kinds of parts, or one that training lacks
            since it is the commonest of no group.
    """
    _check_settings(folds, val_fraction, test_fraction)
    table = _with_groups(catalogue)
    groups = _groups(table)
    _check_groups(groups, needed=3 if test_fraction > 0 else 2)
    rest = groups
    test: set[str] = set()
    if test_fraction > 0:
        parts = [_Part(1 - test_fraction, least=2), _Part(test_fraction, least=1)]
        dealt = _deal(groups, parts, f"{seed} test")
        test = {name for name, part in dealt.items() if part == 1}
        rest = [group for group in groups if group.name not in test]
    if folds == 1:
        val = val_fraction / (1 - test_fraction)
        parts = [_Part(val, least=1), _Part(1 - val, least=1)]
    else:
        parts = [_Part(1 / folds, least=1) for _ in range(folds)]
    fold_of = _deal(rest, parts, f"{seed} folds")
    rows = _rows(table, test, fold_of, folds)
    # All others are in every part, as dealt.
    if rare := set(table["diagnosis"].tolist()) - {group.diagnosis for group in groups}:
        _check_training(rows[rows["diagnosis"].isin(rare)], folds)
    return rows


def _check_settings(folds: int, val_fraction: float, test_fraction: float) -> None:
    if folds < 1:
        raise InputError(f"splits.folds: {folds}; at least 1")
    if not 0 <= test_fraction < 1:
        raise InputError(f"splits.test_fraction: {test_fraction}; from 0 to below 1")
    if folds == 1 and not 0 < val_fraction < 1 - test_fraction:
        raise InputError(
            f"splits.val_fraction: {val_fraction}; above 0, and below 1 together with "
            f"test_fraction ({test_fraction})"
        )


def _with_groups(catalogue: pd.DataFrame) -> pd.DataFrame:
    """Columns image, lesion_id, diagnosis and group, sorted by image."""
    table = catalogue[["image", "lesion_id", "diagnosis"]].copy()
    table["lesion_id"] = table["lesion_id"].fillna("")
    own = table["lesion_id"].where(table["lesion_id"] != "", table["image"])
    table["group"] = catalogue.get("group", own)
    if table.empty:
        raise InputError("the catalogue has no image to split")
    twice = table.loc[table["image"].duplicated(), "image"]
    if len(twice):
        raise InputError(f"the catalogue has image {twice.iloc[0]} twice")
    table = table.astype("str")
    if table["image"].is_monotonic_increasing:
        return table.reset_index(drop=True)
    return table.sort_values("image", ignore_index=True)


def _groups(table: pd.DataFrame) -> list[_Group]:
    """The groups of a table sorted by image."""
    groups, lesions = table["group"].tolist(), table["lesion_id"].tolist()
    first = {g: lesion for g, lesion in zip(groups[::-1], lesions[::-1], strict=True) if lesion}
    size = Counter(groups)
    counts = Counter(zip(groups, table["diagnosis"].tolist(), strict=True))
    ranked = list(counts)
    if len(counts) > len(size):
        # Later ones replace earlier ones: the commonest comes last, of equals the first by name.
        ranked.sort(key=lambda pair: pair[1], reverse=True)
        ranked.sort(key=counts.__getitem__)
    commonest = dict(ranked)
    return [_Group(name, commonest[name], source_of(first.get(name)), size[name]) for name in size]


def _check_groups(groups: Sequence[_Group], needed: int) -> None:
    found = Counter(group.diagnosis for group in groups)
    few = {diagnosis: count for diagnosis, count in sorted(found.items()) if count < needed}
    if few:
        told = ", ".join(f"{name} has {count}" for name, count in few.items())
        raise InputError(
            f"every diagnosis needs at least {needed} lesions, one for each of training, "
            f"validation{' and test' if needed == 3 else ''}: {told}; "
            "add images or leave the diagnosis out of the ground truth"
        )


def _check_training(rows: pd.DataFrame, folds: int) -> None:
    """Refuse a diagnosis that some fold can't learn: groups are dealt by their commonest alone."""
    for diagnosis, own in rows.groupby("diagnosis"):
        if own.loc[own["split"] == "train", "fold"].nunique() < folds:
            raise InputError(
                "every diagnosis needs at least one image in training, in every fold, but "
                f"{diagnosis} has none there: its images are in groups that are mostly of other "
                "diagnoses; look for wrong lesion_id or diagnosis, or leave it out of the ground "
                "truth"
            )


def _deal(groups: Sequence[_Group], parts: Sequence[_Part], salt: str) -> dict[str, int]:
    """Deal groups out to parts; gives the index of the part of each group.

    Rare diagnoses first, since the common ones, with their many small groups, level the totals.
    """
    by_diagnosis: dict[str, list[_Group]] = {}
    for group in groups:
        by_diagnosis.setdefault(group.diagnosis, []).append(group)
    order = sorted(by_diagnosis, key=lambda name: (len(by_diagnosis[name]), name))
    dealt: dict[str, int] = {}
    for diagnosis in order:
        members = by_diagnosis[diagnosis]
        members.sort(key=lambda g: (g.source, -g.size, _lot(salt, g.name)))
        dealt.update(_deal_one(members, parts))
    return dealt


def _lot(salt: str, name: str) -> bytes:
    """A number drawn for a group: the same on every machine and with every library version."""
    return hashlib.sha256(f"{salt}\0{name}".encode()).digest()


def _deal_one(groups: Sequence[_Group], parts: Sequence[_Part]) -> dict[str, int]:
    """Deal the groups of one diagnosis, given in order."""
    filled = [0.0] * len(parts)
    needs = [part.least for part in parts]
    shares = [part.share for part in parts]
    totals = [part.total for part in parts]
    dealt: dict[str, int] = {}
    for number, group in enumerate(groups):
        only_short = len(groups) - number <= sum(needs)
        half = group.size / 2
        chosen, least = -1, (math.inf, math.inf)
        for index, share in enumerate(shares):
            level = (filled[index] + half) / share
            if level > least[0] or (only_short and needs[index] == 0):
                continue
            if (both := (level, totals[index] / share)) < least:
                chosen, least = index, both
        dealt[group.name] = chosen
        filled[chosen] += group.size
        totals[chosen] += group.size
        needs[chosen] = max(0, needs[chosen] - 1)
    for part, total in zip(parts, totals, strict=True):
        part.total = total
    return dealt


def _rows(table: pd.DataFrame, test: set[str], fold_of: dict[str, int], folds: int) -> pd.DataFrame:
    """One row per image and fold; with one fold, part 0 of `fold_of` is validation."""
    of_group = [-1 if group in test else fold_of[group] for group in table["group"].tolist()]
    own = np.tile(np.array(of_group, np.int64), folds)
    fold = np.repeat(np.arange(folds, dtype=np.int64), len(table))
    train, val, test_part = (PARTS.index(name) for name in ("train", "val", "test"))
    part = np.select([own < 0, own == fold], [test_part, val], default=train)
    rows = pd.concat([table[["image", "lesion_id", "diagnosis"]]] * folds, ignore_index=True)
    return rows.assign(fold=fold, split=pd.array(PARTS, dtype="str").take(part))


def read_splits(path: Path | str) -> pd.DataFrame:
    """Read the workflow's splits; a user's are read by `melanoma.own_splits`.

    Args:
        path: CSV with the columns `COLUMNS` in any order; others are ignored.

    Returns:
        Columns `COLUMNS`, fold as int64, the rest str, sorted by fold and image.

    Raises:
        InputError: no such file, columns missing, a fold that is no number from 0, a split that
            is not one of `PARTS`; names the row.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        table = pd.read_csv(path, dtype="str", keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{path}: not a table of splits ({error})") from error
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise InputError(f"{path}: row 1: column {', '.join(missing)} missing")
    return typed_splits(table.set_axis(np.arange(2, len(table) + 2)), path)


def typed_splits(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Splits with folds as numbers, checked cell by cell.

    Args:
        table: columns `COLUMNS` as text; index: the line of each row in the file.
        path: the file, for messages.

    Returns:
        As `read_splits`.

    Raises:
        InputError: a fold that is no number from 0, a split that is not one of `PARTS`; names
            the row.
    """
    for column, good, cure in (
        ("fold", table["fold"].str.fullmatch(r"[0-9]{1,3}"), "folds are numbered from 0"),
        ("split", table["split"].isin(PARTS), f"one of {', '.join(PARTS)}"),
    ):
        if not good.all():
            row = table.index[~good][0]
            value = quoted(table.at[row, column])
            raise InputError(f"{path}: row {row}, column {column}: found {value}; {cure}")
    table = table[list(COLUMNS)].astype({"fold": "int64"})
    return table.sort_values(["fold", "image"], ignore_index=True)


def torn_groups(splits: pd.DataFrame, catalogue: pd.DataFrame) -> pd.DataFrame:
    """Groups of near-duplicates that splits tear apart.

    Args:
        splits: columns `COLUMNS`.
        catalogue: as for `check_splits`.

    Returns:
        One row per fold and group in several parts: fold, group, and its images in each of `PARTS`.
    """
    group = _with_groups(catalogue).set_index("image")["group"]
    known = splits[splits["image"].isin(group.index)]
    named = known.assign(group=group.loc[known["image"]].to_numpy(str))
    counts = named.groupby(["fold", "group", "split"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=list(PARTS), fill_value=0)
    return counts[(counts > 0).sum(axis=1) > 1].reset_index().rename_axis(columns=None)


def check_splits(
    splits: pd.DataFrame, catalogue: pd.DataFrame, *, keep_groups: bool = True
) -> None:
    """Make sure that splits leak nothing and fit the catalogue.

    Args:
        splits: columns `COLUMNS`.
        catalogue: columns image, lesion_id, diagnosis and, if near-duplicates count, group.
        keep_groups: whether near-duplicates of several lesions must be in one part, too.

    Raises:
        InputError: a lesion or group in two parts of a fold; a test part that differs between
            folds; an image missing, twice or unknown; another diagnosis than in the catalogue;
            a fold without training or validation images; with several folds, an image that is
            not validated exactly once. Names the first offenders.
    """
    table = _with_groups(catalogue)
    numbers = sorted(splits["fold"].unique())
    if numbers != list(range(len(numbers))) or not numbers:
        raise InputError(f"splits: folds {numbers}; they are numbered from 0 without a gap")
    for fold in numbers:
        _check_fold(splits[splits["fold"] == fold], table, int(fold), keep_groups)
    _check_across_folds(splits, len(numbers))


def _check_fold(fold_rows: pd.DataFrame, table: pd.DataFrame, fold: int, keep_groups: bool) -> None:
    images = fold_rows["image"]
    _refuse(images[images.duplicated()], f"fold {fold} has images twice")
    _refuse(images[~images.isin(table["image"])], f"fold {fold} has images not in the catalogue")
    _refuse(table["image"][~table["image"].isin(images)], f"fold {fold} lacks images")
    joined = table.merge(fold_rows[["image", "diagnosis", "split"]], on="image")
    other = joined[joined["diagnosis_x"] != joined["diagnosis_y"]]
    _refuse(other["image"], f"fold {fold} and the catalogue differ in the diagnosis of images")
    for part in ("train", "val"):
        if not (joined["split"] == part).any():
            raise InputError(f"splits: fold {fold} has no image in {part}")
    kept = [("lesion_id", "lesion")] + keep_groups * [("group", "group of near-duplicates")]
    for column, what in kept:
        placed = joined.loc[joined[column] != "", [column, "split"]].drop_duplicates()
        torn = sorted(placed.loc[placed[column].duplicated(), column])
        if torn:
            found = sorted(placed.loc[placed[column] == torn[0], "split"])
            more = f" (and {len(torn) - 1} more)" if len(torn) > 1 else ""
            raise InputError(
                f"splits: {what} {torn[0]}{more} is in {' and '.join(found)} of fold {fold}: "
                "the same lesion would be learnt and tested; keep it in one part"
            )


def _check_across_folds(splits: pd.DataFrame, folds: int) -> None:
    test = splits["split"] == "test"
    times = test.groupby(splits["image"]).sum()
    _refuse(times.index[(times > 0) & (times < folds)], "the test part differs between folds for")
    if folds > 1:
        val = (splits["split"] == "val").groupby(splits["image"]).sum()
        wrong = val.index[(times == 0) & (val != 1)]
        _refuse(wrong, "not validated exactly once over the folds")


def _refuse(images: Sequence[str] | pd.Series[str] | pd.Index[str], what: str) -> None:
    names = sorted(images)
    if names:
        raise InputError(f"splits: {what}: {first_few(names, _SHOWN)}")
