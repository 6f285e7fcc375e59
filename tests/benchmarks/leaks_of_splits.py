"""Measure what splits of the official training set leak, against a split image by image.

    python tests/benchmarks/leaks_of_splits.py FOLDER

FOLDER holds the official ISIC_2019_Training_GroundTruth.csv and ISIC_2019_Training_Metadata.csv.
Exit status 1 where a lesion is in two parts, where a class's share of a part is more than 0.5
points off its share of the whole, or where the image-level split of seed 42 (70/15/15, by class)
leaks other than the 59 % of validation and 57 % of test images that were counted for it (± 2).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import pandas as pd

from melanoma.isic import source_of
from melanoma.official import read_ground_truth, read_metadata
from melanoma.split_audit import audit_splits
from melanoma.splits import assign_splits, check_splits
from melanoma.tables import Problems

SHARE = 0.005
LEAKS = {"val": 0.59, "test": 0.57}
TOLERANCE = 0.02


def read_catalogue(folder: Path) -> pd.DataFrame:
    """The columns of a catalogue that splits and their audit look at, groups being lesions."""
    stem, problems = folder / "ISIC_2019_Training_", Problems()
    truth = read_ground_truth(f"{stem}GroundTruth.csv", kind="train", problems=problems)
    fields = read_metadata(f"{stem}Metadata.csv", kind="train", problems=problems)
    table = truth.merge(fields, on="image")
    table["group"] = table["lesion_id"].where(table["lesion_id"] != "", table["image"])
    table["source"] = [source_of(lesion) for lesion in table["lesion_id"]]
    return table


def worst_share(audit: pd.DataFrame) -> float:
    """Largest distance of a class's share in a part of a fold from its share of the whole."""
    rows = audit[audit["quantity"] == "share of diagnosis"]
    shares = rows[["train", "val", "test"]].astype(float)
    return float(shares.sub(rows["all"].astype(float), axis=0).abs().max(axis=None))


def row(audit: pd.DataFrame, quantity: str, value: str = "") -> pd.DataFrame:
    """Values of a quantity in val and test, a row a fold."""
    chosen = audit[(audit["quantity"] == quantity) & (audit["value"] == value)]
    return chosen[["val", "test"]].astype(float)


def measure(catalogue: pd.DataFrame, folds: int) -> bool:
    """Print what one way of splitting leaks; tells whether it is good."""
    start = time.process_time()
    splits = assign_splits(catalogue, folds=folds, val_fraction=0.15, test_fraction=0.15, seed=42)
    check_splits(splits, catalogue)
    seconds = time.process_time() - start
    audit = audit_splits(splits, catalogue, seed=42)
    shared = row(audit, "lesions shared with train")
    share = worst_share(audit)
    print(f"{folds} fold(s), {seconds:.1f} s of CPU")
    print(f"  lesions shared with train, at most: {shared.max(axis=None):.0f}")
    print(f"  share of a class off the whole, at most: {100 * share:.2f} points")
    good = shared.max(axis=None) == 0 and share <= SHARE
    if folds == 1:
        leak = row(audit, "share of images whose lesion is in train", "image by image").iloc[0]
        print(f"  split image by image: {leak['val']:.3f} of val, {leak['test']:.3f} of test leak")
        good &= all(abs(leak[part] - share) <= TOLERANCE for part, share in LEAKS.items())
    return bool(good)


def main() -> int:
    parser = argparse.ArgumentParser(description="What splits of the official set leak.")
    parser.add_argument("folder", type=Path)
    catalogue = read_catalogue(parser.parse_args().folder)
    good = [measure(catalogue, folds) for folds in (1, 5)]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
