"""ROC and precision-recall curves as tables that a figure can be drawn from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.evaluation.ranking import Floats
from melanoma.evaluation.tables import Judged
from melanoma.isic import CLASSES

Curve = Callable[[Floats, Floats], tuple[Floats, Floats, NDArray[np.int64]]]
"""From running counts of true and false positives: abscissa, ordinate, rows worth keeping."""

POINTS = 400
"""Points kept of a curve: no figure shows more."""


def roc_table(judged: Judged) -> pd.DataFrame:
    """ROC curve of every class that has both sides.

    Returns:
        class, threshold, false_positive_rate, sensitivity.
    """
    return _tables(judged, _roc, ["threshold", "false_positive_rate", "sensitivity"])


def pr_table(judged: Judged) -> pd.DataFrame:
    """Precision-recall curve of every class that has both sides.

    Returns:
        class, threshold, recall, precision.
    """
    return _tables(judged, _precision_recall, ["threshold", "recall", "precision"])


def _tables(judged: Judged, curve: Curve, columns: list[str]) -> pd.DataFrame:
    parts = []
    for name in CLASSES:
        positive = judged.of_class(name)
        if positive.all() or not positive.any():
            continue
        thresholds, hits, false = _running_counts(positive, judged.probability_of(name))
        abscissa, ordinate, rows = curve(hits, false)
        kept = rows[np.linspace(0, len(rows) - 1, min(len(rows), POINTS)).round().astype(np.int64)]
        values = np.column_stack([thresholds, abscissa, ordinate])[kept]
        table = pd.DataFrame(values, columns=columns)
        table.insert(0, "class", name)
        parts.append(table)
    return (
        pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["class", *columns])
    )


def _running_counts(positive: NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats, Floats]:
    """Each distinct score, from high to low, and the true and false positives at or above it."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.r_[np.diff(scores[order]) != 0, True])
    hits = np.cumsum(positive[order])[last].astype(np.float64)
    return scores[order][last], hits, last + 1.0 - hits


def _roc(hits: Floats, false: Floats) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Corners of the curve: what lies on the line between its neighbours shows nothing."""
    step = np.column_stack([np.diff(hits), np.diff(false)])
    turn = step[1:, 0] * step[:-1, 1] != step[1:, 1] * step[:-1, 0]
    corners = np.flatnonzero(np.r_[True, turn, True][: len(hits)])
    return false / false[-1], hits / hits[-1], corners


def _precision_recall(hits: Floats, false: Floats) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """The first threshold that reaches each recall, as the average precision counts."""
    reached = np.flatnonzero(np.diff(hits, prepend=0.0) > 0)
    return hits / hits[-1], hits / (hits + false), reached
