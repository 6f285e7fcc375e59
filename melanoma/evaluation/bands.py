"""Bands of the melanoma curves: where ROC and precision-recall lie over the resamples."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.evaluation.bootstrap import Resamples
from melanoma.evaluation.ranking import Floats
from melanoma.evaluation.tables import Judged
from melanoma.isic import MELANOMA

GRID = 101
"""Abscissae of a band, evenly from 0 to 1: a figure shows no more."""

_ENDS = (2.5, 97.5)
"""Percentiles of a band of 95 %, at each abscissa by itself."""

COLUMNS = ("curve", "class", "abscissa", "low", "high")


def bands_table(judged: Judged, draws: Resamples) -> pd.DataFrame:
    """Bands of the melanoma class's curves.

    Args:
        judged: raw probabilities with the truth.
        draws: resamples of its rows.

    Returns:
        Columns `COLUMNS`: curve ("roc": sensitivity over 1 - specificity, "pr": precision over
        recall), class, abscissa, and the ends of the band. No rows without resamples, melanomas
        or others.
    """
    positive = judged.of_class(MELANOMA)
    if not draws.number or positive.all() or not positive.any():
        return pd.DataFrame(columns=list(COLUMNS))
    order = np.argsort(-judged.probability_of(MELANOMA), kind="stable")
    scores, positive = judged.probability_of(MELANOMA)[order], positive[order]
    last = np.flatnonzero(np.r_[np.diff(scores) != 0, True])
    grid = np.linspace(0.0, 1.0, GRID)
    found: dict[str, list[Floats]] = {"roc": [], "pr": []}
    for counts in draws.blocks():
        hits, false = _running(counts[order], positive, last)
        # A resample without melanomas, or of nothing else, has no curve.
        for column in np.flatnonzero((hits[-1] > 0) & (false[-1] > 0)):
            found["roc"].append(_sensitivity(hits[:, column], false[:, column], grid))
            found["pr"].append(_precision(hits[:, column], false[:, column], grid))
    tables = [_band(name, grid, values) for name, values in found.items() if values]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(COLUMNS))


def _running(
    counts: NDArray[np.float32], positive: NDArray[np.bool_], last: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """True and false positives at or above each distinct score, float64 [k, b] each."""
    hits = np.cumsum(counts * positive[:, None], axis=0, dtype=np.float64)[last]
    every = np.cumsum(counts, axis=0, dtype=np.float64)[last]
    return hits, every - hits


def _sensitivity(hits: Floats, false: Floats, grid: Floats) -> Floats:
    """Highest sensitivity at each false positive rate, straight between the corners."""
    rate = np.r_[0.0, false / false[-1]]
    reached = np.r_[0.0, hits / hits[-1]]
    # Of several points of one rate the last is the highest.
    keep = np.r_[np.diff(rate) > 0, True]
    between: Floats = np.interp(grid, rate[keep], reached[keep])
    return between


def _precision(hits: Floats, false: Floats, grid: Floats) -> Floats:
    """Precision at the first threshold that reaches each recall."""
    # At recall 0 the first hit, not the rows above it.
    place = np.searchsorted(hits / hits[-1], np.maximum(grid - 1e-12, 1e-12))
    taken = np.maximum(hits + false, 1e-12)
    return (hits / taken)[np.minimum(place, len(hits) - 1)]


def _band(name: str, grid: Floats, values: list[Floats]) -> pd.DataFrame:
    low, high = np.percentile(np.stack(values), _ENDS, axis=0)
    columns = {"curve": name, "class": MELANOMA, "abscissa": grid, "low": low, "high": high}
    return pd.DataFrame(columns)
