"""How far probabilities can be taken at their word: likelihood, Brier score, calibration error."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.evaluation.averages import moderated_sizes
from melanoma.evaluation.metrics import Ints
from melanoma.evaluation.ranking import Floats

FLOOR = 1e-15
"""Least probability whose logarithm is taken: a float32 softmax can round to zero."""

ECE_BINS = 15
"""Bins of equal width, as in Guo et al. (2017)."""

DIAGRAM_BINS = 10


def log_losses(truth: Ints, probabilities: Floats) -> Floats:
    """Negative logarithm (nats) of the true class's probability, float [n]."""
    own = probabilities[np.arange(len(truth)), truth]
    losses: Floats = -np.log(np.maximum(own, FLOOR))
    return losses


def brier_scores(truth: Ints, probabilities: Floats) -> Floats:
    """Squared distance to the one-hot truth, summed over the classes, float [n], 0 to 2."""
    distance = probabilities.copy()
    distance[np.arange(len(truth)), truth] -= 1.0
    scores: Floats = (distance**2).sum(axis=1)
    return scores


def calibration_error(truth: Ints, probabilities: Floats, bins: int = ECE_BINS) -> float:
    """Expected calibration error of the most likely class.

    Args:
        truth: int [n].
        probabilities: float [n, k].
        bins: of equal width over [0, 1].

    Returns:
        Mean over the rows of |accuracy - mean confidence| of their bin; NaN without rows.
    """
    if not len(truth):
        return float("nan")
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == truth
    place = _bin_of(confidence, bins)
    gap = np.bincount(place, weights=correct - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(truth))


def _bin_of(values: Floats, bins: int) -> Ints:
    place: Ints = np.minimum((values * bins).astype(np.int64), bins - 1)
    return place


def summary(truth: Ints, probabilities: Floats) -> dict[str, float]:
    """Negative log-likelihood (nats an image), Brier score and ECE; NaN without rows."""
    if not len(truth):
        return dict.fromkeys(("nll", "brier", "ece"), float("nan"))
    return {
        "nll": float(log_losses(truth, probabilities).mean()),
        "brier": float(brier_scores(truth, probabilities).mean()),
        "ece": calibration_error(truth, probabilities),
    }


def diagram(
    outcome: NDArray[np.bool_],
    probability: Floats,
    groups: NDArray[np.generic],
    bins: int = DIAGRAM_BINS,
) -> pd.DataFrame:
    """Reliability diagram of one probability.

    Args:
        outcome: bool [n], what came true.
        probability: float [n].
        groups: [n], label of each image's lesion.
        bins: of equal width over [0, 1]; empty ones are left out.

    Returns:
        low, high (ends of the bin), n (images), groups (lesions), probability (mean), observed
        (share), and observed_low, observed_high: Wilson's 95 % interval with the effective number
        of lesions; that of the whole range for a bin of one lesion.
    """
    place = _bin_of(probability, bins)
    count = np.bincount(place, minlength=bins)
    used = np.flatnonzero(count)
    n = count[used].astype(np.float64)
    observed = np.bincount(place, weights=outcome, minlength=bins)[used] / n
    lesions, sizes = _cases(outcome, place, groups, used)
    low, high = wilson(observed, sizes)
    alone = lesions < 2
    return pd.DataFrame(
        {
            "low": used / bins,
            "high": (used + 1) / bins,
            "n": count[used],
            "groups": lesions,
            "probability": np.bincount(place, weights=probability, minlength=bins)[used] / n,
            "observed": observed,
            "observed_low": np.where(alone, 0.0, low),
            "observed_high": np.where(alone, 1.0, high),
        }
    )


def _cases(
    outcome: NDArray[np.bool_], place: Ints, groups: NDArray[np.generic], used: Ints
) -> tuple[Ints, Floats]:
    """Lesions of each used bin, and the number of independent cases that they amount to."""
    _, lesion = np.unique(groups, return_inverse=True)
    lesions, sizes, variances, points = [], [], [], []
    for number in used:
        inside = place == number
        images = np.bincount(lesion[inside])
        hits = np.bincount(lesion[inside], weights=outcome[inside])
        share, own = outcome[inside].mean(), int((images > 0).sum())
        squares = ((hits - share * images) ** 2).sum()
        points.append(share)
        lesions.append(own)
        sizes.append(images.sum() ** 2 / (images**2).sum())
        variances.append(squares / inside.sum() ** 2 * own / max(own - 1, 1))
    counts = np.array(lesions, np.int64)
    freedom = np.maximum(counts - 1.0, 0.0)
    return counts, moderated_sizes(
        np.array(points, np.float64), np.array(variances), np.array(sizes), freedom
    )


def wilson(share: Floats, n: Floats) -> tuple[Floats, Floats]:
    """Wilson's 95 % interval (1927) of shares of n independent cases."""
    z = 1.959963984540054
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0)
