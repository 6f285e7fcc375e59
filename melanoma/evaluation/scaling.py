"""Temperature and strength of the prior shift: fitted together, kept only where they pay.

Networks that are trained with class weights take up only a part of them (Byrd and Lipton 2019,
"What is the effect of importance weighting in deep learning?", ICML, arXiv:1812.03372), so that
undoing all of the weights overshoots. How much was taken up is fitted: logarithms of probabilities
are divided by the temperature, and that of the priors' ratio is added `strength` times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import softmax

from melanoma.evaluation import reliability
from melanoma.evaluation.metrics import Ints
from melanoma.evaluation.ranking import Floats

TEMPERATURES = (0.05, 20.0)
"""Bounds of the temperature: beyond them a model is broken, not miscalibrated."""

STRENGTHS = (0.0, 1.5)
"""Bounds of the strength: from nothing to half as much again as the loss asked for."""

RAW, TEMPERATURE, BOTH = "raw", "temperature", "temperature_and_strength"
CANDIDATES = (RAW, TEMPERATURE, BOTH)
"""What is chosen among, the simplest first."""

FOLDS = 5
SEED = 0
"""Of the cross-validation: fixed, so that equal predictions give equal decisions."""

_PRECISION = 1e-9
"""Of the fit, in the gradient of the mean NLL; no reported digit depends on it."""

_AT_BOUND = 1e-6
"""Relative distance from a bound below which a value counts as stopped by it."""


@dataclass(frozen=True)
class Scaling:
    """What turns raw softmax into calibrated probabilities.

    Attributes:
        temperature: that logarithms of raw probabilities are divided by.
        strength: how often the logarithm of the priors' ratio is added; None where the loss implies
            the real priors, so that there is nothing to add.
        chosen: one of `CANDIDATES`.
        at_bound: "temperature" and "strength" where the fit was stopped by a bound.
        losses: candidate -> cross-validated negative log-likelihood, nats an image; empty where
            there are too few lesions to share out.
    """

    temperature: float
    strength: float | None
    chosen: str
    at_bound: tuple[str, ...]
    losses: dict[str, float]


def scale(raw: Floats, temperature: float, shift: Floats) -> Floats:
    """Softmax of log(raw) / temperature + shift.

    Args:
        raw: float [n, k], probabilities.
        temperature: above 0.
        shift: float [k], added to the logarithms.

    Returns:
        float [n, k], rows adding up to 1.
    """
    probabilities: Floats = softmax(_logarithms(raw) / temperature + shift, axis=1)
    return probabilities


def _logarithms(raw: Floats) -> Floats:
    logarithms: Floats = np.log(np.maximum(raw, reliability.FLOOR))
    return logarithms


def choose_scaling(
    raw: Floats, truth: Ints, shift: Floats, groups: Sequence[str] | NDArray[np.str_]
) -> Scaling:
    """Fit each of `CANDIDATES`, and keep the simplest that predicts as well as the best.

    As well as: its negative log-likelihood on lesions that the fit has not seen is at most one
    standard error above the least (Breiman et al. 1984, "Classification and regression trees"),
    the standard error being that of the paired difference, over lesions.

    Args:
        raw: float [n, k], softmax.
        truth: int [n].
        shift: float [k], logarithm of real over implied priors; zeros where they are the same.
        groups: text [n], the lesion of each row.

    Returns:
        The scaling, fitted on all rows.
    """
    shifted = bool(np.ptp(shift) > _PRECISION)
    names = CANDIDATES if shifted else CANDIDATES[:2]
    losses = _held_out_losses(raw, truth, shift, np.asarray(groups, dtype=np.str_), names)
    chosen = _simplest_of_the_best(losses, np.asarray(groups, dtype=np.str_)) if losses else RAW
    temperature, strength = _fit(_logarithms(raw), truth, shift, chosen)
    return Scaling(
        temperature,
        strength if shifted else None,
        chosen,
        _stopped(temperature, strength, chosen),
        {name: float(values.mean()) for name, values in losses.items()},
    )


def _held_out_losses(
    raw: Floats, truth: Ints, shift: Floats, groups: NDArray[np.str_], names: Sequence[str]
) -> dict[str, Floats]:
    """Each candidate's loss of each row, by fits to other lesions; empty for a single lesion."""
    lesions, lesion = np.unique(groups, return_inverse=True)
    folds = min(FOLDS, len(lesions))
    if folds < 2:
        return {}
    # By the lesions in the order of their names: that of the rows changes nothing.
    fold = (np.random.default_rng(SEED).permutation(len(lesions)) % folds)[lesion]
    logarithms = _logarithms(raw)
    losses = {name: np.empty(len(truth)) for name in names}
    for number in range(folds):
        held = fold == number
        for name in names:
            temperature, strength = _fit(logarithms[~held], truth[~held], shift, name)
            probabilities = softmax(logarithms[held] / temperature + strength * shift, axis=1)
            losses[name][held] = reliability.log_losses(truth[held], probabilities)
    return losses


def _simplest_of_the_best(losses: dict[str, Floats], groups: NDArray[np.str_]) -> str:
    best = min(losses, key=lambda name: float(losses[name].mean()))
    for name, values in losses.items():
        difference = values - losses[best]
        if name == best or difference.mean() <= _standard_error(difference, groups):
            return name
    return best


def _standard_error(values: Floats, groups: NDArray[np.str_]) -> float:
    """Standard error of a mean over rows, the rows of one group taken as one draw."""
    _, group, rows = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.bincount(group, weights=values) - rows * values.mean()
    count = len(rows)
    return float(np.sqrt((sums**2).sum() * count / (count - 1)) / len(values))


def _fit(logarithms: Floats, truth: Ints, shift: Floats, name: str) -> tuple[float, float]:
    """Temperature and strength of least negative log-likelihood, those not fitted at 1 and 0.

    In 1 / temperature and strength it is convex, so there is one minimum.
    """
    if name == RAW:
        return 1.0, 0.0
    shift = shift if name == BOTH else np.zeros_like(shift)
    own = np.arange(len(truth)), truth

    def loss(values: Floats) -> tuple[float, Floats]:
        scaled = values[0] * logarithms + values[1] * shift
        scaled -= scaled.max(axis=1, keepdims=True)
        weights = np.exp(scaled)
        total = weights.sum(axis=1)
        probabilities = weights / total[:, None]
        mean = float((np.log(total) - scaled[own]).mean())
        slopes = (
            ((probabilities * logarithms).sum(axis=1) - logarithms[own]).mean(),
            (probabilities @ shift - shift[truth]).mean(),
        )
        return mean, np.array(slopes)

    found = minimize(
        loss,
        # The raw softmax: the fit can only be better than that.
        (1.0, 0.0),
        jac=True,
        method="L-BFGS-B",
        bounds=((1 / TEMPERATURES[1], 1 / TEMPERATURES[0]), STRENGTHS),
        options={"ftol": 0.0, "gtol": _PRECISION, "maxiter": 200},
    )
    # The reciprocal of a bound's reciprocal may be next to the bound.
    temperature = np.clip(1 / found.x[0], *TEMPERATURES)
    return float(temperature), float(found.x[1])


def _stopped(temperature: float, strength: float, chosen: str) -> tuple[str, ...]:
    """Which of the fitted values lie at a bound."""
    fitted = {TEMPERATURE: ("temperature",), BOTH: ("temperature", "strength")}.get(chosen, ())
    values = {"temperature": (temperature, TEMPERATURES), "strength": (strength, STRENGTHS)}
    return tuple(
        name
        for name in fitted
        if any(abs(values[name][0] - end) <= _AT_BOUND * max(end, 1e-3) for end in values[name][1])
    )
