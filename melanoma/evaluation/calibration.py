"""From a classifier's softmax to probabilities that hold: one temperature, and the real priors.

Training with class weights teaches the model a world in which every class is equally frequent.
Its temperature-scaled softmax is therefore multiplied by the ratio of the real priors to those
that the loss implied (Saerens et al. 2002), which leaves the raw softmax to decide the class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from melanoma.errors import InputError
from melanoma.evaluation import reliability
from melanoma.evaluation.metrics import Ints, plain
from melanoma.evaluation.operating_points import DEFAULT, choose_points
from melanoma.evaluation.ranking import Floats
from melanoma.evaluation.tables import probability_table
from melanoma.isic import CLASSES, MELANOMA, source_of

TEMPERATURES = (0.05, 20.0)
"""Bounds of the temperature: beyond them a model is broken, not miscalibrated."""

_ABSENT = 0.5
"""Images counted for a class that training has none of, so that its prior is not zero."""


def training_counts(
    catalogue: pd.DataFrame,
    splits: pd.DataFrame,
    fold: int,
    exclude_sources: Sequence[str] = (),
) -> tuple[dict[str, int], dict[str, int]]:
    """Images of each class that a fold trained on, and that its training part holds.

    Args:
        catalogue: image, diagnosis, source.
        splits: image, fold, split.
        fold: the fold.
        exclude_sources: left out of training, but not of the world.

    Returns:
        Class -> images trained on; class -> images of the whole training part.

    Raises:
        InputError: no training image in that fold.
    """
    chosen = splits["image"][(splits["fold"] == fold) & (splits["split"] == "train")]
    rows = catalogue[catalogue["image"].isin(chosen)]
    if rows.empty:
        raise InputError(f"splits.csv: fold {fold} has no training image of the catalogue")
    source = rows["source"] if "source" in rows else rows["lesion_id"].map(source_of)
    trained = rows[~source.isin(list(exclude_sources))]
    return _counts(trained["diagnosis"]), _counts(rows["diagnosis"])


def _counts(diagnoses: pd.Series) -> dict[str, int]:
    found = diagnoses.value_counts()
    return {name: int(found.get(name, 0)) for name in CLASSES}


def fit_decision(
    predictions: pd.DataFrame,
    diagnoses: Sequence[str],
    train_counts: Mapping[str, int],
    loss: str,
    *,
    natural_counts: Mapping[str, int] | None = None,
    tta: bool = False,
) -> dict[str, Any]:
    """Fit temperature, priors and operating points on validation predictions alone.

    Args:
        predictions: image and the eight classes' raw softmax, of the validation part.
        diagnoses: of the same rows.
        train_counts: images of each class that were trained on.
        loss: training.loss; "weighted" implies equal priors, the others the trained ones.
        natural_counts: images of each class as they really occur; by default `train_counts`.
        tta: whether the predictions are means over flips and quarter turns: the thresholds then
            hold for such means alone.

    Returns:
        JSON-ready: classes, loss, tta, temperature, prior_correction, priors {"trained", "natural"}
        (class -> share), operating_points (name -> goal, target, threshold, sensitivity,
        specificity on validation), default (a name, or None), and validation (images, melanomas,
        and before/after: nll, brier, ece).

    Raises:
        InputError: no row, or a diagnosis that is none of the classes.
    """
    truth = _truth_of(diagnoses)
    raw = predictions[list(CLASSES)].to_numpy(np.float64)
    natural = _shares(natural_counts or train_counts)
    trained = _implied_priors(train_counts, loss)
    temperature, correct = _fit(raw, truth, np.log(natural / trained))
    decision: dict[str, Any] = {
        "classes": list(CLASSES),
        "loss": loss,
        "tta": tta,
        "temperature": temperature,
        "prior_correction": correct,
        "priors": {
            "trained": dict(zip(CLASSES, trained.tolist(), strict=True)),
            "natural": dict(zip(CLASSES, natural.tolist(), strict=True)),
        },
    }
    calibrated = calibrate(raw, decision)
    melanoma = truth == CLASSES.index(MELANOMA)
    points = choose_points(melanoma, calibrated[:, CLASSES.index(MELANOMA)])
    decision["operating_points"] = {name: point.to_dict() for name, point in points.items()}
    decision["default"] = DEFAULT if DEFAULT in points else None
    decision["validation"] = {
        "images": len(truth),
        "melanomas": int(melanoma.sum()),
        "before": _plain(reliability.summary(truth, raw)),
        "after": _plain(reliability.summary(truth, calibrated)),
    }
    return decision


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: plain(value) for name, value in values.items()}


def _truth_of(diagnoses: Sequence[str]) -> Ints:
    numbers = {name: index for index, name in enumerate(CLASSES)}
    unknown = [name for name in diagnoses if name not in numbers]
    if unknown or not len(diagnoses):
        found = f"found {unknown[0]!r}" if unknown else "no image"
        raise InputError(f"calibration: {found}; it needs images of {', '.join(CLASSES)}")
    return np.array([numbers[name] for name in diagnoses], np.int64)


def _shares(counts: Mapping[str, int]) -> Floats:
    values = np.array([counts.get(name, 0) or _ABSENT for name in CLASSES], np.float64)
    shares: Floats = values / values.sum()
    return shares


def _implied_priors(train_counts: Mapping[str, int], loss: str) -> Floats:
    """Priors that the loss makes the model believe in."""
    if loss == "weighted":
        return np.full(len(CLASSES), 1.0 / len(CLASSES))
    return _shares(train_counts)


def _fit(raw: Floats, truth: Ints, shift: Floats) -> tuple[float, bool]:
    """Temperature of least validation NLL, and whether the priors are corrected.

    On few images either can miss: what does not lower the NLL is left out.
    """
    logits = np.log(np.maximum(raw, reliability.FLOOR))
    before = float(reliability.log_losses(truth, raw).mean())

    def loss_at(log_temperature: float, bias: Floats) -> float:
        probabilities = softmax(logits / np.exp(log_temperature) + bias, axis=1)
        return float(reliability.log_losses(truth, probabilities).mean())

    for bias, corrected in ((shift, True), (np.zeros_like(shift), False)):
        found = minimize_scalar(
            loss_at,
            bounds=tuple(np.log(TEMPERATURES)),
            args=(bias,),
            method="bounded",
            options={"xatol": 1e-8},
        )
        if found.fun <= before:
            return float(np.exp(found.x)), corrected
    return 1.0, False


def calibrate(raw: Floats, decision: Mapping[str, Any]) -> Floats:
    """Calibrated probabilities of raw softmax rows.

    Args:
        raw: float [n, 8].
        decision: from `fit_decision`.

    Returns:
        float [n, 8], rows adding up to 1.
    """
    scaled = np.log(np.maximum(raw, reliability.FLOOR)) / decision["temperature"]
    if decision["prior_correction"]:
        natural, trained = (
            np.array([decision["priors"][kind][name] for name in CLASSES])
            for kind in ("natural", "trained")
        )
        scaled = scaled + np.log(natural / trained)
    probabilities: Floats = softmax(scaled, axis=1)
    return probabilities


def apply_decision(predictions: pd.DataFrame, decision: Mapping[str, Any]) -> pd.DataFrame:
    """Calibrated table of a raw one.

    Args:
        predictions: image and the eight classes' raw softmax.
        decision: from `fit_decision` of the same fold.

    Returns:
        image and the eight classes, rows in the same order.

    Raises:
        InputError: a decision for other classes.
    """
    if list(decision.get("classes", [])) != list(CLASSES):
        raise InputError(
            f"decision.json: classes are {decision.get('classes')}, expected {list(CLASSES)}; "
            "delete it and run again"
        )
    raw = predictions[list(CLASSES)].to_numpy(np.float64)
    return probability_table(predictions["image"], calibrate(raw, decision))
