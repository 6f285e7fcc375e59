"""Submissions in the challenge's form: the ninth class's probability, and the rules of the form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.errors import InputError
from melanoma.image_names import composed
from melanoma.isic import CLASSES, UNKNOWN
from melanoma.wording import quoted, shortened

Floats = NDArray[np.float64]

_MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "None")
"""Spellings of a missing probability."""

_LEAST = 1e-15
"""Least share that is left where a class is masked: a float32 softmax can round to zero."""

_BELOW = 0.2
"""Highest value below the threshold, times 1/2: under the least possible largest of 8 shares."""


@dataclass(frozen=True)
class UnknownThreshold:
    """Where an image counts as none of the known diagnoses.

    Attributes:
        threshold: score above which it does.
        scale: spread of the scores of known images, in the score's own unit.
        never: no image does; the threshold then only ranks.
    """

    threshold: float
    scale: float
    never: bool = False


def ood_scores(predictions: pd.DataFrame, kind: str) -> Floats:
    """How unlike the known diagnoses each image looks; higher is stranger.

    Args:
        predictions: class columns and, for "energy", the column energy.
        kind: "energy" (-logsumexp of the logits) or "msp" (1 - largest softmax).

    Returns:
        float [n].

    Raises:
        InputError: another kind, or no column energy.
    """
    if kind == "msp":
        strangeness: Floats = 1.0 - predictions[list(CLASSES)].to_numpy(np.float64).max(axis=1)
        return strangeness
    if kind != "energy":
        raise InputError(f"evaluation.ood: {kind!r} is neither energy nor msp")
    if "energy" not in predictions:
        raise InputError("predictions: column energy is missing; predict again, or use msp")
    return predictions["energy"].to_numpy(np.float64)


def stand_in_scores(predictions: pd.DataFrame, kind: str, classes: NDArray[np.int64]) -> Floats:
    """How strange each image looks to the model without a class: its logit is masked.

    Args:
        predictions: as for `ood_scores`.
        kind: likewise.
        classes: int [n], index into `CLASSES` of the class that each image does without.

    Returns:
        float [n].

    Raises:
        InputError: as `ood_scores`.
    """
    probabilities = predictions[list(CLASSES)].to_numpy(np.float64, copy=True)
    probabilities[np.arange(len(probabilities)), classes] = 0.0
    # Added up rather than taken from 1, where rounding would leave nothing of small ones.
    left = np.maximum(probabilities.sum(axis=1), _LEAST)
    if kind == "msp":
        strangeness: Floats = 1.0 - probabilities.max(axis=1) / left
        return strangeness
    energy: Floats = ood_scores(predictions, kind) - np.log(left)
    return energy


def choose_threshold(validation_scores: Floats, kept: float) -> UnknownThreshold:
    """Threshold that lets a share of the validation images pass as known.

    Args:
        validation_scores: float [n], from `ood_scores`, of known images only.
        kept: share of them at or below the threshold.

    Raises:
        InputError: no scores, or one that is not finite.
    """
    scores = np.asarray(validation_scores, np.float64)
    if not len(scores) or not np.isfinite(scores).all():
        raise InputError("validation scores: empty, or not all finite: no threshold can be chosen")
    spread = float(np.subtract(*np.quantile(scores, [0.75, 0.25])))
    return UnknownThreshold(float(np.quantile(scores, kept, method="higher")), spread or 1.0)


def unknown_probability(scores: Floats, rule: UnknownThreshold) -> Floats:
    """UNK's value in a submission: rises with the score, above 0.5 exactly above the threshold.

    Where UNK is never said it rises all the same, for the ranking, and stays under 0.1.

    Below the threshold it stays under 0.1, so that the most likely known class, which has at
    least (1 - 0.1) / 8, keeps the arg-max whatever the softmax looks like.

    Args:
        scores: float [n], from `ood_scores`.
        rule: chosen on validation.

    Returns:
        float [n] in [0, 1].
    """
    distance = (np.asarray(scores, np.float64) - rule.threshold) / rule.scale
    value = np.exp(-np.logaddexp(0.0, -distance))
    if rule.never:
        return value * _BELOW / 2
    return np.where(distance > 0, value, value * _BELOW)


def submission(
    predictions: pd.DataFrame, ood_scores: Floats, rule: UnknownThreshold
) -> pd.DataFrame:
    """Nine-class submission: the known classes share what UNK leaves.

    Args:
        predictions: image and the eight classes' softmax.
        ood_scores: float [n], in the rows' order.
        rule: chosen on validation.

    Returns:
        image, the eight classes, UNK; rows add up to 1; UNK is the arg-max exactly where the
        score is above the threshold, or nowhere if it is never said.
    """
    unknown = unknown_probability(ood_scores, rule)
    known = predictions[list(CLASSES)].to_numpy(np.float64)
    known = known / known.sum(axis=1, keepdims=True) * (1.0 - unknown)[:, None]
    table = pd.DataFrame(known, columns=list(CLASSES))
    table.insert(0, "image", predictions["image"].to_numpy())
    table[UNKNOWN] = unknown
    return table


def read_submission(path: Path | str, images: Sequence[str]) -> pd.DataFrame:
    """Read a nine-class submission file by the challenge's rules.

    Args:
        path: CSV, UTF-8.
        images: ids of the ground truth.

    Returns:
        As `check_submission`.

    Raises:
        InputError: unreadable, a column of whole numbers or text, or a rule that is broken.
    """
    path = Path(path)
    # An image may be called NA, or 001.
    gaps = dict.fromkeys((*CLASSES, UNKNOWN), _MISSING)
    try:
        table = pd.read_csv(path, dtype={"image": "str"}, keep_default_na=False, na_values=gaps)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path}: not a readable CSV: {error}") from None
    checked = check_submission(table, images, [*CLASSES, UNKNOWN], str(path))
    for column in (*CLASSES, UNKNOWN):
        if table[column].dtype != np.float64:
            raise InputError(
                f"{path}: column {column} holds whole numbers, which the challenge refuses; "
                "write them with a decimal point"
            )
    return checked


def check_submission(
    table: pd.DataFrame,
    images: Sequence[str],
    classes: Sequence[str],
    name: str = "predictions",
) -> pd.DataFrame:
    """Check predictions by the challenge's rules.

    Args:
        table: image and class columns, in any order of rows and columns.
        images: ids of the ground truth; the same ids must be there, each once.
        classes: columns beside image; exactly these.
        name: of the table, in messages.

    Returns:
        float [n, classes], indexed by image, rows in the order of `images`.

    Raises:
        InputError: a missing or extra column, a duplicated, missing or extra image, a missing
            value, text, or a value outside [0, 1].
    """
    columns = [str(column) for column in table.columns]
    for column in ("image", *classes):
        if column not in columns:
            raise InputError(f"{name}: column {column} is missing")
        if columns.count(column) > 1:
            raise InputError(f"{name}: column {column} is there twice")
    extra = [column for column in columns if column not in {"image", *classes}]
    if extra:
        raise InputError(f"{name}: column {shortened(extra[0])} is not allowed; remove it")
    found = canonical_images(table["image"], name)
    _same_images(found, pd.Index(list(images)), name)
    values = table[list(classes)].set_axis(found, axis=0).loc[list(images)]
    for column in classes:
        _check_column(values[column], name)
    return values.astype(np.float64)


def canonical_images(column: pd.Series, name: str) -> pd.Index:
    """Image ids in composed form, without a trailing .jpg, which the challenge allows.

    Args:
        column: ids.
        name: of the table, in messages.

    Raises:
        InputError: an id that is there twice.
    """
    ids = column.astype("str").map(composed).str.replace(r"\.jpg$", "", case=False, regex=True)
    repeated = ids[ids.duplicated()]
    if len(repeated):
        raise InputError(f"{name}: image {repeated.iloc[0]} is there twice; keep one row")
    return pd.Index(ids)


def _same_images(found: pd.Index, expected: pd.Index, name: str) -> None:
    """Raises InputError where ids are missing or extra."""
    missing, extra = expected.difference(found), found.difference(expected)
    if len(missing):
        raise InputError(f"{name}: image {missing[0]} is missing ({len(missing)} in all)")
    if len(extra):
        raise InputError(
            f"{name}: image {extra[0]} is not in the ground truth ({len(extra)} in all); remove it"
        )


def _check_column(values: pd.Series, name: str) -> None:
    """Raises InputError for a value that is missing, no number or outside [0, 1]."""

    def refuse(wrong: pd.Series, reason: str) -> None:
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            raise InputError(
                f"{name}: image {values.index[row]}, column {values.name}: "
                f"{quoted(values.iloc[row])} {reason}"
            )

    refuse(values.isna(), "is a missing value; give every class a probability")
    if not pd.api.types.is_numeric_dtype(values.dtype):
        refuse(pd.to_numeric(values, errors="coerce").isna(), "is not a number")
    refuse(~pd.to_numeric(values).between(0.0, 1.0), "is outside [0, 1]")
