"""Area under the ROC curve and average precision of one score, for many weightings at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def ranking_figures(
    positive: NDArray[np.bool_], scores: Floats, weights: NDArray[np.floating]
) -> tuple[Floats, Floats]:
    """Weighted AUROC (ties count half) and average precision (step-wise, ties as one threshold).

    One sort serves every weighting: running sums of the weights in the order of the scores give
    both figures.

    Args:
        positive: bool [n].
        scores: float [n], higher is more positive.
        weights: [n, b], b weightings of the rows; whole numbers below 2^24 in float32 are exact.

    Returns:
        AUROC [b] and average precision [b]; NaN where a weighting has no positive row or, for
        the AUROC, no negative one.
    """
    order = np.argsort(-scores, kind="stable")
    ordered, is_positive = scores[order], positive[order]
    rows = np.flatnonzero(is_positive)
    mass = weights[order]
    above = np.cumsum(mass, axis=0, out=mass)
    own = weights[order[rows]]
    if not len(rows):
        undefined = np.full(weights.shape[1], np.nan)
        return undefined, undefined.copy()
    positives_above = np.cumsum(own, axis=0)
    total = above[-1].astype(np.float64)
    positives = positives_above[-1].astype(np.float64)
    first, last = _tie_blocks(ordered)
    count = np.cumsum(is_positive)
    all_end = above[last[rows]].astype(np.float64)
    positive_end = positives_above[count[last[rows]] - 1].astype(np.float64)
    negative_middle = all_end - positive_end
    if len(np.unique(first)) < len(first):
        before = np.vstack([np.zeros((1, above.shape[1]), above.dtype), above])[first[rows]]
        positive_before = np.vstack([np.zeros((1, own.shape[1]), own.dtype), positives_above])[
            count[first[rows]] - is_positive[first[rows]]
        ]
        negative_middle = (negative_middle + before - positive_before) / 2
    negatives = total - positives
    won = (own * (negatives - negative_middle)).sum(axis=0)
    precision = np.divide(positive_end, all_end, out=np.zeros_like(all_end), where=all_end > 0)
    return (
        divide(won, positives * negatives),
        divide((own * precision).sum(axis=0), positives),
    )


def _tie_blocks(ordered: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last row of the block of equal scores that each row of a sorted score is in."""
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    ends = np.r_[starts[1:], len(ordered)] - 1
    block = np.repeat(np.arange(len(starts)), ends - starts + 1)
    return starts[block], ends[block]


def divide(numerator: Floats, denominator: Floats) -> Floats:
    """`numerator / denominator`, NaN where the denominator is zero."""
    numerator, denominator = np.broadcast_arrays(
        np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    )
    undefined = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=undefined, where=denominator != 0)
    return undefined
