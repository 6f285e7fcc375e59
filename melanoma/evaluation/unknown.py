"""How much of the known is given up to say UNK, chosen on validation where no image is unknown.

Every class in turn stands in for the unknown: its images are scored as by a model without that
class, with its logit masked. What is maximised is the challenge's score as it would then be, the
mean of the eight recalls and of the recall of the stand-in. To say UNK never is the choice unless
the gain of another exceeds its standard error.

The stand-ins are no fair sample of the unknown. Training has seen them, and what a network has
learnt to tell apart it finds less strange; and they are scored by seven logits where unknown images
are by eight, which makes them look a little stranger.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melanoma.evaluation.metrics import Ints
from melanoma.evaluation.ranking import Floats
from melanoma.isic import CLASSES
from melanoma.submission import UnknownThreshold, choose_threshold

SHARES = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3)
"""Shares of the known images that may be given up; denser where a good detector gains most."""


@dataclass(frozen=True)
class UnknownChoice:
    """What was chosen on validation.

    Attributes:
        rule: where an image counts as unknown.
        share: of the validation images that do; 0 where UNK is never said.
        gain: of the mean of nine recalls against never, on validation; 0 for never.
        error: its standard error, lesions taken as clusters.
        recall: of the stand-ins, their mean; 0 for never.
        best: the share that gains most, whether it was chosen or not.
        best_gain: its gain.
        best_error: its standard error.
    """

    rule: UnknownThreshold
    share: float
    gain: float
    error: float
    recall: float
    best: float
    best_gain: float
    best_error: float


def choose_unknown(
    scores: Floats,
    masked: Floats,
    truth: Ints,
    right: NDArray[np.bool_],
    groups: NDArray[np.generic],
) -> UnknownChoice:
    """Choose where to say UNK.

    Args:
        scores: float [n], strangeness of validation images, all of known diagnosis.
        masked: float [n], of the same images with their own class's logit masked.
        truth: int [n], index into `CLASSES`.
        right: bool [n], whether the most likely class is the true one.
        groups: [n], label of each image's lesion.

    Returns:
        The choice.

    Raises:
        InputError: no scores, or one that is not finite.
    """
    found = []
    for share in SHARES:
        rule = choose_threshold(scores, 1.0 - share)
        called, caught = scores > rule.threshold, masked > rule.threshold
        gain, error = _gain(called & right, caught, truth, groups)
        found.append((gain, share, error, rule, _mean_share(caught, truth)))
    gain, share, error, rule, recall = max(found, key=lambda one: one[:2])
    best = {"best": share, "best_gain": gain, "best_error": error}
    if gain > error:
        taken = float((scores > rule.threshold).mean())
        return UnknownChoice(rule, taken, gain, error, recall, **best)
    never = UnknownThreshold(rule.threshold, rule.scale, never=True)
    return UnknownChoice(never, 0.0, 0.0, 0.0, 0.0, **best)


def _gain(
    lost: NDArray[np.bool_],
    caught: NDArray[np.bool_],
    truth: Ints,
    groups: NDArray[np.generic],
) -> tuple[float, float]:
    """Gain of the mean of nine recalls, and its standard error with lesions as clusters.

    Args:
        lost: bool [n], right but for UNK.
        caught: bool [n], as a stand-in.
        truth: int [n].
        groups: [n].
    """
    counts = np.bincount(truth, minlength=len(CLASSES)).astype(np.float64)
    present = int((counts > 0).sum())
    # The stand-in's recall is the mean over the classes that stand in, the ninth of the score.
    value = caught / present - lost
    means = np.bincount(truth, weights=value, minlength=len(CLASSES)) / np.maximum(counts, 1.0)
    weight = 1.0 / (counts[truth] * (present + 1))
    _, lesion = np.unique(groups, return_inverse=True)
    influence = np.bincount(lesion, weights=weight * (value - means[truth]))
    return float((weight * value).sum()), float(np.sqrt((influence**2).sum()))


def _mean_share(marked: NDArray[np.bool_], truth: Ints) -> float:
    """Mean over the classes present of the share of their images that are marked."""
    return float(np.mean([marked[truth == label].mean() for label in np.unique(truth)]))
