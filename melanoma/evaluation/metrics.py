"""Classification figures, computed for many weightings of the rows at once.

A weighting of ones gives the figures themselves, resampling counts their bootstrap distribution:
one implementation for both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from melanoma.evaluation.ranking import Floats, divide, ranking_figures
from melanoma.isic import CLASSES, MELANOMA

Ints = NDArray[np.int64]

HEADLINE = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "weighted_f1",
    "macro_auroc",
    "macro_average_precision",
    "melanoma_sensitivity",
    "melanoma_specificity",
    "melanoma_auroc",
    "melanoma_average_precision",
)
"""Figures of a whole subset; the melanoma ones are the class decision's and the raw ranking's."""

AVERAGES = {
    "balanced_accuracy": "recall",
    "macro_f1": "f1",
    "macro_auroc": "auroc",
    "macro_average_precision": "average_precision",
}
"""Headline figure that is an average over the classes -> the figure of one class it is made of."""

MELANOMA_FIGURES = {
    "sensitivity": "recall",
    "specificity": "specificity",
    "auroc": "auroc",
    "average_precision": "average_precision",
}
"""Headline figure of melanoma, without its prefix -> the figure of one class that it is."""

PER_CLASS = ("precision", "recall", "specificity", "f1", "auroc", "average_precision")
"""Figures of one class against all others."""


@dataclass(frozen=True)
class Figures:
    """Figures under b weightings.

    Attributes:
        headline: name -> float [b].
        per_class: name -> float [k, b], a row per class.
        support: float [k, b], weight of the rows of each class.
    """

    headline: dict[str, Floats]
    per_class: dict[str, Floats]
    support: Floats


def compute(truth: Ints, probabilities: Floats, weights: NDArray[np.floating]) -> Figures:
    """Every figure under every weighting; a class without rows is left out of the averages.

    Args:
        truth: int [n], index of each row's class.
        probabilities: float [n, k]; the largest decides the class, the first among equals.
        weights: [n, b], e.g. how often a resample drew each row.

    Returns:
        The figures; NaN where undefined (a class without rows, a precision without predictions).
    """
    matrix = weighted_confusion(truth, probabilities, weights)
    per_class, support = _from_confusion(matrix)
    auroc, precision = [], []
    for index in range(probabilities.shape[1]):
        area, average = ranking_figures(truth == index, probabilities[:, index], weights)
        auroc.append(area)
        precision.append(average)
    per_class["auroc"], per_class["average_precision"] = np.array(auroc), np.array(precision)
    return Figures(_headline(matrix, per_class, support), per_class, support)


def weighted_confusion(truth: Ints, probabilities: Floats, weights: NDArray[np.floating]) -> Floats:
    """Confusion matrices, float [b, k, k]: true class by row, decided class by column."""
    classes = probabilities.shape[1]
    pairs = truth * classes + probabilities.argmax(axis=1)
    members = np.zeros((len(truth), classes * classes), weights.dtype)
    members[np.arange(len(truth)), pairs] = 1
    counts = (weights.T @ members).astype(np.float64)
    return counts.reshape(-1, classes, classes)


def confusion_matrix(truth: Ints, probabilities: Floats) -> Ints:
    """Counts, int [k, k]: true class by row, decided class by column."""
    ones = np.ones((len(truth), 1))
    counts: Ints = weighted_confusion(truth, probabilities, ones)[0].round().astype(np.int64)
    return counts


def _from_confusion(matrix: Floats) -> tuple[dict[str, Floats], Floats]:
    """Per-class figures [k, b] that follow from the decided classes, and the support [k, b]."""
    hit = np.diagonal(matrix, axis1=1, axis2=2).T
    support, decided = matrix.sum(axis=2).T, matrix.sum(axis=1).T
    total = support.sum(axis=0)
    absent = support == 0
    f1 = divide(2 * hit, support + decided)
    f1[absent] = np.nan
    figures = {
        "precision": divide(hit, decided),
        "recall": divide(hit, support),
        "specificity": divide(total - support - decided + hit, total - support),
        "f1": f1,
    }
    return figures, support


def _headline(
    matrix: Floats, per_class: Mapping[str, Floats], support: Floats
) -> dict[str, Floats]:
    total = support.sum(axis=0)
    hit = np.trace(matrix, axis1=1, axis2=2)
    figures = {
        "accuracy": divide(hit, total),
        "weighted_f1": divide((np.nan_to_num(per_class["f1"]) * support).sum(axis=0), total),
    }
    figures |= {name: mean_of_defined(per_class[of]) for name, of in AVERAGES.items()}
    figures = {name: figures[name] for name in HEADLINE if name in figures}
    index = CLASSES.index(MELANOMA)
    for name, figure in MELANOMA_FIGURES.items():
        figures[f"melanoma_{name}"] = per_class[figure][index]
    return figures


def mean_of_defined(values: Floats) -> Floats:
    """Mean over the first axis of what is not NaN; NaN where nothing is left."""
    defined = ~np.isnan(values)
    return divide(np.where(defined, values, 0.0).sum(axis=0), defined.sum(axis=0))


def point_figures(truth: Ints, probabilities: Floats) -> Figures:
    """The figures themselves: `compute` with every row counted once (b = 1)."""
    return compute(truth, probabilities, np.ones((len(truth), 1)))


def plain(value: float | np.floating[Any] | None) -> float | None:
    """A number as JSON takes it: None for NaN, which JSON does not have."""
    return None if value is None or math.isnan(value) else float(value)


def undefined_reasons(
    headline: Mapping[str, float | None], support: Sequence[float]
) -> dict[str, str]:
    """Why headline figures are None, and which classes the averages leave out.

    Args:
        headline: name -> figure or None.
        support: rows of each class, in the order of `CLASSES`.

    Returns:
        Figure name, or "averages", -> reason; empty when everything is defined.
    """
    absent = [name for name, rows in zip(CLASSES, support, strict=True) if not rows]
    reasons = {}
    if absent:
        reasons["averages"] = f"over the classes present; without rows: {', '.join(absent)}"
    for name, value in headline.items():
        if value is None:
            reasons[name] = "undefined: a class it needs has no rows, or nothing but its rows"
    return reasons
