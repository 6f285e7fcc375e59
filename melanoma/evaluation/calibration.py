"""From a classifier's softmax to probabilities that hold: one temperature, and the real priors.

Training with class weights teaches the model a world in which every class is equally frequent, as
far as it takes the weights up. Its temperature-scaled softmax is therefore multiplied by a power of
the ratio of the real priors to those that the loss implied (Saerens et al. 2002), which leaves the
raw softmax to decide the class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.config import Experiment
from melanoma.errors import InputError
from melanoma.evaluation import reliability
from melanoma.evaluation.metrics import Ints, plain
from melanoma.evaluation.operating_points import DEFAULT, absent_points, choose_points
from melanoma.evaluation.ranking import Floats
from melanoma.evaluation.scaling import choose_scaling, scale
from melanoma.evaluation.tables import BY_OTHER_SET, probability_table
from melanoma.isic import CLASSES, MELANOMA, source_of
from melanoma.prediction_columns import KNOWN_FIELDS, WITHOUT_METADATA

FEW_LESIONS = 5
"""With fewer lesions of a class in validation, nobody has seen whether its probabilities hold."""

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
    groups: Sequence[str] | None = None,
    natural_counts: Mapping[str, int] | None = None,
    tta: bool = False,
) -> dict[str, Any]:
    """Fit temperature, strength of the prior shift and operating points on validation alone.

    Args:
        predictions: image and the eight classes' raw softmax, of the validation part; with the
            columns `WITHOUT_METADATA`, a second set is fitted for images without metadata.
        diagnoses: of the same rows.
        train_counts: images of each class that were trained on.
        loss: training.loss; "weighted" implies equal priors, the others the trained ones.
        groups: lesion of each row; None where each is of another lesion.
        natural_counts: images of each class as they really occur; by default `train_counts`.
        tta: whether the predictions are means over flips and quarter turns: the thresholds then
            hold for such means alone.

    Returns:
        JSON-ready: classes, loss, tta, priors {"trained", "natural"} (class -> share); temperature,
        strength (None where the loss implies the real priors), chosen ("raw", "temperature" or
        "temperature_and_strength"), at_bound (which of the two the fit's bounds stopped),
        operating_points (name -> goal, target, threshold, sensitivity, specificity on validation,
        lesions, right), absent_points (name -> why there is none), default (a name, or None),
        validation (images, lesions, melanomas, melanoma_lesions, few_lesions: classes of fewer than
        `FEW_LESIONS`, cross_validated_nll, and before/after: nll, brier, ece); and
        without_metadata: temperature to validation once more, for images of which nothing else is
        known, or None.

    Raises:
        InputError: no row, a diagnosis that is none of the classes, or another number of groups.
    """
    truth = _truth_of(diagnoses)
    lesions = np.asarray(predictions["image"] if groups is None else groups, dtype=np.str_)
    if len(lesions) != len(truth) or len(predictions) != len(truth):
        raise InputError(
            f"calibration: {len(predictions)} predictions, {len(truth)} diagnoses and "
            f"{len(lesions)} lesions; there must be one of each for every image"
        )
    natural = _shares(natural_counts or train_counts)
    trained = _implied_priors(train_counts, loss)
    shift = np.log(natural / trained)
    raw = predictions[list(CLASSES)].to_numpy(np.float64)
    other = None
    if set(WITHOUT_METADATA) <= set(predictions):
        hidden = predictions[list(WITHOUT_METADATA)].to_numpy(np.float64)
        other = _fit_set(hidden, truth, shift, lesions)
    return {
        "classes": list(CLASSES),
        "loss": loss,
        "tta": tta,
        "priors": {
            "trained": dict(zip(CLASSES, trained.tolist(), strict=True)),
            "natural": dict(zip(CLASSES, natural.tolist(), strict=True)),
        },
        **_fit_set(raw, truth, shift, lesions),
        "without_metadata": other,
    }


def decide(
    predictions: pd.DataFrame,
    catalogue: pd.DataFrame,
    splits: pd.DataFrame,
    folds: Sequence[int],
    experiment: Experiment,
    *,
    tta: bool,
) -> dict[str, Any]:
    """Fit the decision of one model, or of an experiment's models together.

    Args:
        predictions: of the validation images of `folds`, as from `read_predictions`.
        catalogue: image, diagnosis, group, source or lesion_id.
        splits: image, fold, split.
        folds: whose training parts the models were trained on.
        experiment: its settings.
        tta: as for `fit_decision`.

    Returns:
        As `fit_decision`.

    Raises:
        InputError: an image that the catalogue does not have, or predictions of a model that uses
            metadata without what it says where they are missing.
    """
    missing = set(WITHOUT_METADATA) - set(predictions)
    if experiment.model.metadata and missing:
        raise InputError(
            f"predictions: column {min(missing)} is missing: they are of an older version of the "
            "code; remove results/predictions and run the workflow again"
        )
    known = catalogue.set_index("image")
    strangers = predictions["image"][~predictions["image"].isin(known.index)]
    if len(strangers):
        raise InputError(
            f"predictions: image {strangers.iloc[0]} is not in the catalogue; "
            "predict again with the present data"
        )
    rows = known.loc[predictions["image"]]
    excluded = experiment.training.exclude_sources
    trained, natural = Counter[str](), Counter[str]()
    for fold in folds:
        of_fold = training_counts(catalogue, splits, fold, excluded)
        trained.update(of_fold[0])
        natural.update(of_fold[1])
    return fit_decision(
        predictions,
        list(rows["diagnosis"]),
        trained,
        experiment.training.loss,
        groups=list(rows["group"]),
        natural_counts=natural,
        tta=tta,
    )


def _fit_set(raw: Floats, truth: Ints, shift: Floats, lesions: NDArray[np.str_]) -> dict[str, Any]:
    """One set of what decides: from temperature to validation, as `fit_decision` describes."""
    scaling = choose_scaling(raw, truth, shift, lesions)
    calibrated = scale(raw, scaling.temperature, (scaling.strength or 0.0) * shift)
    melanoma = truth == CLASSES.index(MELANOMA)
    points = choose_points(melanoma, calibrated[:, CLASSES.index(MELANOMA)], lesions)
    sides = [len(np.unique(lesions[side])) for side in (melanoma, ~melanoma)]
    counts = [len(np.unique(lesions[truth == number])) for number in range(len(CLASSES))]
    return {
        "temperature": scaling.temperature,
        "strength": scaling.strength,
        "chosen": scaling.chosen,
        "at_bound": list(scaling.at_bound),
        "operating_points": {name: point.to_dict() for name, point in points.items()},
        "absent_points": absent_points(*sides),
        "default": DEFAULT if DEFAULT in points else None,
        "validation": {
            "images": len(truth),
            "lesions": len(np.unique(lesions)),
            "melanomas": int(melanoma.sum()),
            "melanoma_lesions": sides[0],
            "few_lesions": [
                n for n, count in zip(CLASSES, counts, strict=True) if count < FEW_LESIONS
            ],
            "cross_validated_nll": scaling.losses,
            "before": _plain(reliability.summary(truth, raw)),
            "after": _plain(reliability.summary(truth, calibrated)),
        },
    }


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


def without_metadata(decision: Mapping[str, Any]) -> dict[str, Any]:
    """The decision for images of which the model knows nothing but the image.

    Args:
        decision: from `fit_decision`.

    Returns:
        A decision in its own right; the one given where it makes no difference.
    """
    return {**decision, **(decision["without_metadata"] or {})}


def calibrate(raw: Floats, decision: Mapping[str, Any]) -> Floats:
    """Calibrated probabilities of raw softmax rows.

    Args:
        raw: float [n, 8].
        decision: from `fit_decision`, or from `without_metadata` for rows without metadata.

    Returns:
        float [n, 8], rows adding up to 1.
    """
    natural, trained = (
        np.array([decision["priors"][kind][name] for name in CLASSES])
        for kind in ("natural", "trained")
    )
    shift = (decision["strength"] or 0.0) * np.log(natural / trained)
    return scale(raw, decision["temperature"], shift)


def apply_decision(predictions: pd.DataFrame, decision: Mapping[str, Any]) -> pd.DataFrame:
    """Calibrated table of a raw one.

    Args:
        predictions: image, the eight classes' raw softmax and, for a decision with a set for images
            without metadata, `KNOWN_FIELDS`: 0 where that is the one to use.
        decision: from `fit_decision` of the same fold.

    Returns:
        image and the eight classes, rows in the same order; for a decision with such a set also
        `BY_OTHER_SET`, 1 where it was used and 0 elsewhere.

    Raises:
        InputError: a decision for other classes, or predictions that lack a column.
    """
    if list(decision.get("classes", [])) != list(CLASSES):
        raise InputError(
            f"decision.json: classes are {decision.get('classes')}, expected {list(CLASSES)}; "
            "delete it and run again"
        )
    raw = predictions[list(CLASSES)].to_numpy(np.float64)
    calibrated = calibrate(raw, decision)
    if decision["without_metadata"] is None:
        return probability_table(predictions["image"], calibrated)
    if KNOWN_FIELDS not in predictions:
        raise InputError(
            f"predictions: column {KNOWN_FIELDS} is missing, by which images without metadata are "
            "told; predict again (rule predict)"
        )
    nothing = (predictions[KNOWN_FIELDS] == 0).to_numpy()
    calibrated[nothing] = calibrate(raw[nothing], without_metadata(decision))
    table = probability_table(predictions["image"], calibrated)
    return table.assign(**{BY_OTHER_SET: nothing.astype(np.int64)})
