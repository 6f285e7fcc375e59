"""The ISIC 2019 challenge's score, over nine classes and over the eight known ones.

Follows the rules of the challenge's own scorer (ImageMarkup/isic-challenge-scoring): the arg-max
decides the class and ties decide nothing, per-class figures are at the fixed threshold 0.5, rows
are weighted, and an ill-defined ratio counts as perfect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.errors import InputError
from melanoma.isic import CLASSES, UNKNOWN, WEIGHT_COLUMNS
from melanoma.submission import canonical_images, check_submission

Floats = NDArray[np.float64]

THRESHOLD = 0.5
"""Probability above which a class counts as predicted in the per-class figures."""

SENSITIVITY = 0.8
"""Sensitivity from which the two partial areas count."""

EXCLUDED_IMAGES = ("ISIC_0035068",)
"""Images that the challenge's scorer gives no weight."""

PER_CLASS = (
    "accuracy",
    "sensitivity",
    "specificity",
    "dice",
    "ppv",
    "npv",
    "auc",
    "auc_sens_80",
    "pauc_80",
    "ap",
)
"""Figures of each class, by the names of the challenge's scorer, and `pauc_80`.

Two areas go by "AUC above 80 % sensitivity". `auc_sens_80` is the scorer's: the whole area under
the part of the curve that has that sensitivity, down to zero, at most 1. `pauc_80` is the part of
it above the line of 0.8, at most 0.2.
"""


@dataclass(frozen=True)
class Decided:
    """Which rows the arg-max decides rightly, over some classes.

    Attributes:
        images: ids [n].
        classes: the classes [k].
        truth: bool [n, k], one-hot.
        scores: float [n, k].
        right: bool [n]: the true class alone has the largest value.
        weight: float [n], score_weight, zero for `EXCLUDED_IMAGES`.
    """

    images: tuple[str, ...]
    classes: tuple[str, ...]
    truth: NDArray[np.bool_]
    scores: Floats
    right: NDArray[np.bool_]
    weight: Floats


def decide(truth: pd.DataFrame, predictions: pd.DataFrame, classes: Sequence[str]) -> Decided:
    """Decide rows by the rules of the score.

    Args:
        truth: as for `official_scores`.
        predictions: likewise.
        classes: all nine, or the eight known ones: then of the images of known diagnosis alone.

    Returns:
        One row an image, in the order of `truth`.

    Raises:
        InputError: as `official_scores`.
    """
    labels, weights = _check_truth(truth)
    allowed = [c for c in (*CLASSES, UNKNOWN) if c in predictions]
    table = check_submission(predictions, list(labels.index), allowed)
    rows = labels[list(classes)].any(axis=1).to_numpy()
    own = labels.loc[rows, list(classes)].to_numpy() == 1.0
    scores = table.loc[rows, list(classes)].to_numpy(np.float64)
    return Decided(
        images=tuple(str(image) for image in labels.index[rows]),
        classes=tuple(classes),
        truth=own,
        scores=scores,
        right=(own & _alone_at_the_top(scores)).any(axis=1),
        weight=weights.loc[rows, WEIGHT_COLUMNS[0]].to_numpy(np.float64),
    )


def official_scores(truth: pd.DataFrame, predictions: pd.DataFrame) -> dict[str, Any]:
    """Score predictions as the challenge does.

    Args:
        truth: image, the eight classes and perhaps UNK as 0/1, exactly one of them 1; perhaps
            score_weight and validation_weight (1 where missing).
        predictions: image and the same classes, in [0, 1]; UNK may be left out where the truth
            has none. Rows and columns in any order.

    Returns:
        JSON-ready: "classes" (9 or 8: the score that the truth and the predictions allow) and its
        "balanced_accuracy"; "nine_class" (None without UNK) and "eight_class" (images of known
        diagnosis, UNK's column left out), each with classes, images, weight, balanced_accuracy,
        validation_balanced_accuracy (None without validation_weight), threshold (of the per-class
        figures accuracy to npv, not of the balanced accuracy), per_class {class: figures},
        macro_average and undefined {"class figure": reason}. A figure is None where undefined.

    Raises:
        InputError: names the rule that is broken and the column or image.
    """
    labels, weights = _check_truth(truth)
    classes = [c for c in (*CLASSES, UNKNOWN) if c in labels.columns]
    if UNKNOWN in classes and UNKNOWN not in predictions and not labels[UNKNOWN].any():
        classes.remove(UNKNOWN)
    table = check_submission(predictions, list(labels.index), classes)
    known = labels[list(CLASSES)].any(axis=1).to_numpy()
    eight = _score(labels, table, weights, list(CLASSES), known)
    nine = _score(labels, table, weights, classes, known | True) if UNKNOWN in classes else None
    headline = nine or eight
    return {
        "classes": len(classes),
        "balanced_accuracy": headline["balanced_accuracy"],
        "nine_class": nine,
        "eight_class": eight,
    }


def _check_truth(truth: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One-hot labels and the two weights, indexed by image.

    Raises:
        InputError: a missing column, a duplicate, or a row without exactly one class.
    """
    missing = [c for c in ("image", *CLASSES) if c not in truth.columns]
    if missing:
        raise InputError(f"ground truth: column {missing[0]} is missing")
    images = canonical_images(truth["image"], "ground truth")
    names = [c for c in (*CLASSES, UNKNOWN) if c in truth.columns]
    labels = truth[names].astype(np.float64).set_axis(images, axis=0)
    wrong = ~(labels.isin([0.0, 1.0]).all(axis=1) & (labels.sum(axis=1) == 1.0))
    if wrong.any():
        raise InputError(
            f"ground truth: image {wrong.idxmax()} must have 1 in exactly one class column "
            f"({', '.join(names)}) and 0 in the others"
        )
    weights = pd.DataFrame(1.0, index=images, columns=list(WEIGHT_COLUMNS))
    for column in set(WEIGHT_COLUMNS) & set(truth.columns):
        weights[column] = truth[column].to_numpy(np.float64)
    bad = ~(weights >= 0.0).all(axis=1)
    if bad.any():
        raise InputError(f"ground truth: image {bad.idxmax()} has a weight that is no number >= 0")
    weights.loc[weights.index.isin(EXCLUDED_IMAGES)] = 0.0
    weights.attrs["validation"] = WEIGHT_COLUMNS[1] in truth.columns
    return labels, weights


def _score(
    labels: pd.DataFrame,
    table: pd.DataFrame,
    weights: pd.DataFrame,
    classes: Sequence[str],
    rows: NDArray[np.bool_],
) -> dict[str, Any]:
    """The score over some classes and some rows."""
    truth = labels.loc[rows, list(classes)].to_numpy() == 1.0
    scores = table.loc[rows, list(classes)].to_numpy(np.float64)
    weight, validation = (weights.loc[rows, c].to_numpy(np.float64) for c in WEIGHT_COLUMNS)
    figures = {
        name: _class_figures(truth[:, i], scores[:, i], weight) for i, name in enumerate(classes)
    }
    undefined = {
        f"{name} {figure}": "no image of this class, or none of any other, has weight"
        for name, values in figures.items()
        for figure, value in values.items()
        if value is None
    }
    return {
        "classes": list(classes),
        "images": len(truth),
        "weight": float(weight.sum()),
        "balanced_accuracy": _balanced_accuracy(truth, scores, weight),
        "validation_balanced_accuracy": (
            _balanced_accuracy(truth, scores, validation) if weights.attrs["validation"] else None
        ),
        "threshold": THRESHOLD,
        "per_class": figures,
        "macro_average": {
            figure: _mean([values[figure] for values in figures.values()]) for figure in PER_CLASS
        },
        "undefined": undefined,
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of what is defined."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _balanced_accuracy(truth: NDArray[np.bool_], scores: Floats, weight: Floats) -> float | None:
    """Mean over the classes present of the weighted share of rows that their arg-max decides."""
    total = weight @ truth
    present = total > 0
    if not present.any():
        return None
    right = truth & _alone_at_the_top(scores)
    return float(((weight @ right)[present] / total[present]).mean())


def _alone_at_the_top(scores: Floats) -> NDArray[np.bool_]:
    """Where a row's largest value is, bool [n, k]; nowhere in a row with several equal ones."""
    top = scores == scores.max(axis=1, keepdims=True, initial=-np.inf)
    decided: NDArray[np.bool_] = top & (top.sum(axis=1, keepdims=True) == 1)
    return decided


def _class_figures(
    truth: NDArray[np.bool_], scores: Floats, weight: Floats
) -> dict[str, float | None]:
    """All figures of one class against the others, in the order of `PER_CLASS`."""
    said = scores > THRESHOLD
    hit, missed = weight[truth & said].sum(), weight[truth & ~said].sum()
    false, right = weight[~truth & said].sum(), weight[~truth & ~said].sum()
    total = hit + missed + false + right
    figures = {
        "accuracy": float((hit + right) / total) if total else None,
        "sensitivity": _perfect_if_empty(hit, hit + missed),
        "specificity": _perfect_if_empty(right, right + false),
        "dice": _perfect_if_empty(2 * hit, 2 * hit + false + missed),
        "ppv": _perfect_if_empty(hit, hit + false),
        "npv": _perfect_if_empty(right, right + missed),
    }
    return figures | _ranking_figures(truth, scores, weight)


def _perfect_if_empty(part: float, whole: float) -> float:
    """A ratio; 1 where there is nothing to be wrong about, as the challenge has it."""
    return float(part / whole) if whole else 1.0


def _ranking_figures(
    truth: NDArray[np.bool_], scores: Floats, weight: Floats
) -> dict[str, float | None]:
    """Areas and average precision; None without weight on both sides."""
    used = weight != 0.0
    truth, scores, weight = truth[used], scores[used], weight[used]
    if truth.all() or not truth.any():
        return dict.fromkeys(("auc", "auc_sens_80", "pauc_80", "ap"))
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.r_[np.diff(scores[order]) != 0, True])
    hits = np.r_[0.0, np.cumsum((weight * truth)[order])[last]]
    false = np.r_[0.0, np.cumsum((weight * ~truth)[order])[last]]
    sensitivity, fall_out = hits / hits[-1], false / false[-1]
    precision = hits[1:] / (hits[1:] + false[1:])
    whole, above = partial_areas(fall_out, sensitivity)
    return {
        "auc": float(np.trapezoid(sensitivity, fall_out)),
        "auc_sens_80": whole,
        "pauc_80": above,
        "ap": float(np.sum(np.diff(sensitivity) * precision)),
    }


def partial_areas(
    fall_out: Floats, sensitivity: Floats, least: float = SENSITIVITY
) -> tuple[float, float]:
    """Areas under the part of a ROC curve that reaches a sensitivity; neither is rescaled.

    Args:
        fall_out: 1 - specificity of each point, rising from 0 to 1.
        sensitivity: of each point, rising from 0 to 1.
        least: where the part starts; a point is interpolated there.

    Returns:
        The area down to a sensitivity of zero (at most 1) and the area down to `least` (at most
        1 - least).
    """
    start = int(np.searchsorted(sensitivity, least, side="left"))
    low, high = sensitivity[start - 1], sensitivity[start]
    share = (least - low) / (high - low)
    entry = fall_out[start - 1] + share * (fall_out[start] - fall_out[start - 1])
    whole = np.trapezoid(np.r_[least, sensitivity[start:]], np.r_[entry, fall_out[start:]])
    return float(whole), float(whole - least * (1.0 - entry))
