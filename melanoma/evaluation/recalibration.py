"""How far probabilities are off beyond chance: debiased calibration error, slope and intercept.

The plain calibration error of perfect probabilities is not zero: every bin's share strays from its
mean probability by chance, and the error adds up the distances. Here what chance adds is taken off
(Kumar, Liang and Ma, "Verified uncertainty calibration", NeurIPS 2019). Lesions are the clusters of
every variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit, stdtrit
from scipy.stats import ncx2

from melanoma.evaluation.averages import LEVEL, Interval
from melanoma.evaluation.metrics import Ints
from melanoma.evaluation.ranking import Floats
from melanoma.evaluation.reliability import FLOOR

BINS = 15
"""Bins of the debiased error, of equal numbers of images, as in Kumar's code."""

LEAST_IN_BIN = 10
"""Images that a bin should hold: with fewer of them there are fewer bins."""

_TAIL = (1.0 - LEVEL) / 2

_STEPS = 50
"""Newton steps after which a fit that still moves is taken to have no end."""

_STEEPEST = 1e3
"""Slope or intercept beyond which there is no telling the images apart from a perfect ranking."""


@dataclass(frozen=True)
class Measured:
    """A figure and its 95 % interval.

    Attributes:
        value: NaN where undefined.
        ends: None where there is no interval.
    """

    value: float
    ends: Interval | None


_UNDEFINED = Measured(float("nan"), None)


def debiased_error(
    truth: Ints, probabilities: Floats, groups: NDArray[np.generic], bins: int = BINS
) -> Measured:
    """Debiased calibration error of the most likely class, the root of a mean square.

    Args:
        truth: int [n].
        probabilities: float [n, k].
        groups: [n], label of each image's lesion.
        bins: of equal numbers of images, fewer where they would hold less than `LEAST_IN_BIN`.

    Returns:
        The error, 0 where its square is estimated to be negative, with an interval that follows
        from the sum of squares of the bins' differences, taken as a noncentral chi-square (scaled
        as Satterthwaite's); undefined without two lesions.
    """
    _, lesion = np.unique(groups, return_inverse=True)
    if not len(truth) or lesion.max() < 1:
        return _UNDEFINED
    confidence = probabilities.max(axis=1)
    outcome = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    place = _equal_bins(confidence, max(1, min(bins, len(truth) // LEAST_IN_BIN)))
    counts = np.bincount(place).astype(np.float64)
    observed = np.bincount(place, weights=outcome) / counts
    gap = observed - np.bincount(place, weights=confidence) / counts
    variance = _clustered_variance(outcome - observed[place], place, lesion, counts)
    weight = counts / counts.sum()
    square, noise = float(weight @ gap**2), float(weight @ variance)
    ends = _square_interval(square, noise, float((weight * variance) @ (weight * variance)))
    return Measured(
        float(np.sqrt(max(square - noise, 0.0))),
        (float(np.sqrt(ends[0])), float(np.sqrt(ends[1]))) if ends else None,
    )


def _equal_bins(values: Floats, bins: int) -> Ints:
    """Bin of each value, from 0 up without gaps; equal values are in one."""
    edges = np.unique(np.quantile(values, np.arange(1, bins) / bins))
    place: Ints = np.searchsorted(edges, values, side="left").astype(np.int64)
    return np.unique(place, return_inverse=True)[1].astype(np.int64)


def _clustered_variance(residual: Floats, place: Ints, lesion: Ints, counts: Floats) -> Floats:
    """Variance of each bin's mean residual; one image a lesion gives s^2 / n with n - 1."""
    cells, cell = np.unique(place * (lesion.max() + 1) + lesion, return_inverse=True)
    sums = np.bincount(cell, weights=residual)
    owner = cells // (lesion.max() + 1)
    lesions = np.bincount(owner, minlength=len(counts)).astype(np.float64)
    squares = np.bincount(owner, weights=sums**2, minlength=len(counts))
    variance: Floats = squares / counts**2 * lesions / np.maximum(lesions - 1.0, 1.0)
    return variance


def _square_interval(square: float, noise: float, noise_square: float) -> Interval | None:
    """Interval of the mean square that is left when chance is taken off; None without chance."""
    if noise <= 0.0 or noise_square <= 0.0:
        return None
    scale, freedom = noise_square / noise, noise**2 / noise_square

    def end(share: float) -> float:
        def excess(value: float) -> float:
            return float(ncx2.cdf(square / scale, freedom, value / scale)) - share

        # At zero, chance alone: what is seen is less than it would be for any error.
        if excess(1e-12) <= 0.0:
            return 0.0
        top = square + noise
        while excess(top) > 0.0:
            top *= 2.0
        return float(brentq(excess, 1e-12, top))

    return end(1.0 - _TAIL), end(_TAIL)


def recalibration(
    outcome: NDArray[np.bool_], probability: Floats, groups: NDArray[np.generic]
) -> dict[str, Measured]:
    """Logistic recalibration of a probability (Cox 1958): logit P(outcome) = a + b logit p.

    Args:
        outcome: bool [n], what came true.
        probability: float [n].
        groups: [n], label of each image's lesion.

    Returns:
        "slope" b (1 where probabilities are as extreme as they should be, below 1 where they are
        too extreme), "intercept" a of the same fit, and "in_the_large", the intercept with the
        slope held at 1 (0 where their mean is right, above 0 where they are too low). Intervals
        are Student's t with errors clustered by lesion (Liang and Zeger 1986), as many degrees of
        freedom as the rarer outcome has lesions, less one. Undefined where one outcome is missing
        or the probability separates them perfectly.
    """
    nothing = dict.fromkeys(("slope", "intercept", "in_the_large"), _UNDEFINED)
    if outcome.all() or not outcome.any():
        return nothing
    _, lesion = np.unique(groups, return_inverse=True)
    score = logit(np.clip(probability, FLOOR, 1.0 - 1e-12))
    freedom = min(len(np.unique(lesion[side])) for side in (outcome, ~outcome)) - 1.0
    ones = np.ones_like(score)
    both = _fit(np.column_stack([ones, score]), np.zeros_like(score), outcome, lesion)
    large = _fit(ones[:, None], score, outcome, lesion)
    found = dict(nothing)
    if both is not None:
        found["intercept"], found["slope"] = (_measured(*one, freedom) for one in both)
    if large is not None:
        found["in_the_large"] = _measured(*large[0], freedom)
    return found


def _measured(value: float, error: float, freedom: float) -> Measured:
    if freedom < 1.0:
        return Measured(value, None)
    half = float(stdtrit(freedom, 1.0 - _TAIL)) * error
    return Measured(value, (value - half, value + half))


def _fit(
    design: Floats, offset: Floats, outcome: NDArray[np.bool_], lesion: Ints
) -> list[tuple[float, float]] | None:
    """Logistic regression by Newton's method: (coefficient, clustered error) of each column.

    None where it has no maximum, as where the outcomes are separated.
    """
    beta = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        fitted = expit(design @ beta + offset)
        information = (design * (fitted * (1.0 - fitted))[:, None]).T @ design
        if np.linalg.cond(information) > 1e12:
            return None
        step = np.linalg.solve(information, design.T @ (outcome - fitted))
        # A step of more than two on the logit scale may overshoot.
        beta += step * min(1.0, 2.0 / max(float(np.abs(design @ step).max()), 1e-12))
        if np.abs(beta).max() > _STEEPEST:
            return None
        if np.abs(step).max() < 1e-9:
            break
    else:
        return None
    bread = np.linalg.inv(information)
    scores = np.zeros((int(lesion.max()) + 1, design.shape[1]))
    np.add.at(scores, lesion, design * (outcome - fitted)[:, None])
    lesions = len(scores)
    meat = scores.T @ scores * lesions / max(lesions - 1, 1)
    errors = np.sqrt(np.diag(bread @ meat @ bread))
    return [(float(value), float(error)) for value, error in zip(beta, errors, strict=True)]
