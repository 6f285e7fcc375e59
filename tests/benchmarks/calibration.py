"""Calibration against the best of simple ways, where the true probabilities are known.

Logits are z ~ N(0, 1.6) plus the logarithm of ISIC 2019's class shares, and labels are drawn from
softmax(z). A network has taken up a part of the class weights and is sharper or blunter than it
should be: raw = softmax((z - part * log(8 * shares)) * sharpness). What is fitted on one half is
judged on the other.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from melanoma.evaluation import reliability
from melanoma.evaluation.calibration import calibrate, fit_decision
from melanoma.evaluation.tables import probability_table
from melanoma.isic import CLASSES
from tests.benchmarks.figures import Figure, figure

COUNTS = (4522, 12875, 3323, 867, 2624, 239, 253, 628)
"""Images of each class in ISIC 2019."""

WORLDS = ((1.0, 1.0), (0.5, 1.0), (0.5, 2.0), (0.0, 2.0))
"""Part of the class weights that is taken up, and sharpness."""

ROWS, DRAWS = 2_000, 20
WORSE, OFF = 0.005, 0.045
"""Most that the mean negative log-likelihood may lie above the best simple way's, in nats, and the
mean calibration error."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SHARES = np.array(COUNTS) / sum(COUNTS)
_SHIFT = np.log(8 * _SHARES)


def measure() -> Iterator[Figure]:
    """Figures of calibration, over the draws of each world."""
    for part, sharpness in WORLDS:
        worse, off = zip(*(_one(part, sharpness, draw) for draw in range(DRAWS)), strict=True)
        world = f"class weights taken up {part:g}, sharpness {sharpness:g}"
        told = f"mean of {DRAWS} draws, {ROWS} to fit and {ROWS} to judge"
        yield figure(
            "calibration",
            f"{world}: NLL above the best of raw, temperature, temperature and strength",
            float(np.mean(worse)),
            unit="nats",
            target=f"<= {WORSE}",
            against=told,
        )
        yield figure(
            "calibration",
            f"{world}: calibration error",
            float(np.mean(off)),
            unit="",
            target=f"<= {OFF}",
            against=f"{told}, {reliability.ECE_BINS} bins",
        )


def _one(part: float, sharpness: float, draw: int) -> tuple[float, float]:
    """NLL above the best simple way's, and calibration error, of one draw."""
    rng = np.random.default_rng([draw, round(10 * part), round(10 * sharpness)])
    (raw, truth), (fresh, fresh_truth) = (_draw(rng, part, sharpness) for _ in range(2))
    decision = fit_decision(
        probability_table([f"i{row}" for row in range(ROWS)], raw),
        [CLASSES[number] for number in truth],
        dict(zip(CLASSES, COUNTS, strict=True)),
        "weighted",
    )
    held = calibrate(fresh, decision)
    others = [_loss(_search(raw, truth, free), fresh, fresh_truth) for free in range(3)]
    own = float(reliability.log_losses(fresh_truth, held).mean())
    return own - min(others), reliability.calibration_error(fresh_truth, held)


def _draw(rng: np.random.Generator, part: float, sharpness: float) -> tuple[Floats, Ints]:
    logits = rng.normal(0, 1.6, (ROWS, 8)) + np.log(_SHARES)
    above = rng.random((ROWS, 1)) > softmax(logits, axis=1).cumsum(axis=1)
    truth: Ints = np.minimum(above.sum(axis=1), 7)
    return softmax((logits - part * _SHIFT) * sharpness, axis=1), truth


def _search(raw: Floats, truth: Ints, free: int) -> Floats:
    """Logarithm of the temperature and strength of least loss, the first `free` of them free."""
    if not free:
        return np.zeros(0)
    options = {"xatol": 1e-6, "fatol": 1e-10, "maxiter": 1000}
    found = minimize(_loss, np.zeros(free), (raw, truth), method="Nelder-Mead", options=options)
    return np.asarray(found.x)


def _loss(values: Floats, raw: Floats, truth: Ints) -> float:
    temperature, strength = np.pad(values, (0, 2 - len(values)))
    scaled = log_softmax(np.log(raw) / np.exp(temperature) + strength * _SHIFT, axis=1)
    return -float(scaled[np.arange(len(truth)), truth].mean())
