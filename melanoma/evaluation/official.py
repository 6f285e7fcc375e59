"""The official test set: the submission, and its score with and without images seen in training."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from melanoma.catalogue import read_catalogue
from melanoma.errors import InputError
from melanoma.evaluation.combine import join_folds
from melanoma.evaluation.tables import read_predictions
from melanoma.files import write_json, write_table
from melanoma.isic import CLASSES, UNKNOWN, WEIGHT_COLUMNS
from melanoma.scoring import official_scores
from melanoma.submission import KEPT, choose_threshold, ood_scores, submission

FILES = ("scores.json", "submission.csv", "ood.csv")
"""Names of the files that `evaluate_official` writes."""


def evaluate_official(
    official: Sequence[Path],
    validation: Sequence[Path],
    catalogue: Path,
    output: Path,
    *,
    ood: str,
    matched: Collection[str] = (),
) -> dict[str, Any]:
    """Write submission and score.

    Args:
        official: each fold's predictions of the official test set, with energy.
        validation: each fold's predictions of its validation part: the threshold's only source.
        catalogue: CSV of the test set's images.
        output: folder that gets `FILES`.
        ood: evaluation.ood, "energy" or "msp".
        matched: images of the test set that are also in training.

    Returns:
        What scores.json holds: "all" and "without_matched" (None without any matched) as
        `official_scores` gives them, "matched" (their number), and "unknown" (the threshold).

    Raises:
        InputError: predictions and catalogue are not of the same images.
    """
    tables = [read_predictions(path) for path in official]
    scores = _strangeness("official", tables, ood)
    known = _strangeness("val", [read_predictions(path) for path in validation], ood)
    rule = choose_threshold(known["ood"].to_numpy(float))
    probabilities = join_folds("official", [table[["image", *CLASSES]] for table in tables])
    table = submission(probabilities, scores["ood"].to_numpy(float), rule)
    truth = truth_table(read_catalogue(catalogue))
    result = {
        "all": official_scores(truth, table),
        "without_matched": _without(truth, table, matched),
        "matched": len(set(matched) & set(truth["image"])),
        "unknown": {"score": ood, "kept": KEPT, **asdict(rule)},
    }
    write_table(output / "submission.csv", table)
    write_table(output / "ood.csv", scores)
    write_json(output / "scores.json", result)
    return result


def _strangeness(subset: str, folds: Sequence[pd.DataFrame], ood: str) -> pd.DataFrame:
    """Columns image and ood: each fold's own score, out-of-fold on validation, else their mean."""
    return join_folds(
        subset, [table[["image"]].assign(ood=ood_scores(table, ood)) for table in folds]
    )


def _without(
    truth: pd.DataFrame, table: pd.DataFrame, matched: Collection[str]
) -> dict[str, Any] | None:
    """The score over what is left without the matched images."""
    if not set(matched) & set(truth["image"]):
        return None
    left = ~truth["image"].isin(list(matched))
    return official_scores(truth[left], table[~table["image"].isin(list(matched))])


def truth_table(catalogue: pd.DataFrame) -> pd.DataFrame:
    """Ground truth in the official form.

    Args:
        catalogue: image, diagnosis and perhaps the weights.

    Returns:
        image, the eight classes and UNK as 0/1, and the weights where the catalogue has them.

    Raises:
        InputError: a diagnosis that is none of these.
    """
    names = [*CLASSES, UNKNOWN]
    odd = catalogue[~catalogue["diagnosis"].isin(names)]
    if len(odd):
        row = odd.iloc[0]
        raise InputError(f"catalogue: image {row['image']} has the diagnosis {row['diagnosis']!r}")
    table = pd.DataFrame({"image": catalogue["image"]})
    for name in names:
        table[name] = (catalogue["diagnosis"] == name).astype(float)
    for column in WEIGHT_COLUMNS:
        if column in catalogue:
            table[column] = catalogue[column]
    return table
