"""A good example of every text file that is read, and what reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melanoma import config, inference_input, isic
from melanoma.catalogue import COLUMNS, read_catalogue
from melanoma.evaluation.decision_file import read_decision
from melanoma.evaluation.tables import read_predictions
from melanoma.official import read_ground_truth, read_metadata
from melanoma.splits import read_splits
from melanoma.submission import read_submission
from melanoma.tables import Problems

Reader = Callable[[Path], Any]

IMAGES = tuple(f"ISIC_{number:07d}" for number in range(12))
DIAGNOSES = tuple(isic.CLASSES[number % 8] for number in range(12))


def readers() -> dict[str, Reader]:
    """File name -> its reader, which gives something or raises `InputError`."""
    return {
        "truth.csv": lambda path: read_ground_truth(path, kind="train", problems=Problems()),
        "test_truth.csv": lambda path: read_ground_truth(path, kind="test", problems=Problems()),
        "metadata.csv": lambda path: read_metadata(path, kind="train", problems=Problems()),
        "own_metadata.csv": inference_input.read_metadata,
        "catalogue.csv": read_catalogue,
        "splits.csv": read_splits,
        "predictions.csv": read_predictions,
        "submission.csv": lambda path: read_submission(path, IMAGES),
        "decision.json": read_decision,
        "config.yaml": config.read,
    }


@cache
def examples() -> dict[str, bytes]:
    """File name -> a good one."""
    softmax = np.random.default_rng(0).dirichlet(np.ones(8), 12)
    scores = pd.DataFrame(softmax, columns=list(isic.CLASSES))
    scores.insert(0, "image", IMAGES)
    marks = pd.DataFrame({"image": IMAGES})
    for name in isic.GROUND_TRUTH_COLUMNS[1:]:
        marks[name] = [float(diagnosis == name) for diagnosis in DIAGNOSES]
    return {
        "truth.csv": _csv(marks, end="\r\n"),
        "test_truth.csv": _csv(marks.assign(score_weight=1.0, validation_weight=0.5), end="\r\n"),
        "metadata.csv": _csv(_metadata(), end="\r\n"),
        "own_metadata.csv": _csv(_metadata()[["image", "age_approx", "sex"]]),
        "catalogue.csv": _csv(_catalogue()),
        "splits.csv": _csv(_splits()),
        "predictions.csv": _csv(scores),
        "submission.csv": _csv(scores.assign(UNK=0.0)),
        "decision.json": json.dumps(_decision()).encode(),
        "config.yaml": b"images: {size: 64, shards: 2}\ntraining:\n  lr: 1.0e-3\n  batch_size: 32\n"
        b"experiments:\n  fusion: {}\n  image_only:\n    model: {metadata: false}\n",
    }


def _metadata() -> pd.DataFrame:
    values = [IMAGES, [55.0] * 12, ["head/neck"] * 12, [f"HAM_{n:07d}" for n in range(12)]]
    return pd.DataFrame(
        dict(zip(isic.METADATA_COLUMNS, [*values, ["male", "female"] * 6], strict=True))
    )


def _catalogue() -> pd.DataFrame:
    lesions = [f"HAM_{number:07d}" for number in range(12)]
    members = [f"in/{image}.jpg" for image in IMAGES]
    texts = [IMAGES, lesions, lesions, DIAGNOSES, [50.0] * 12, ["male"] * 12, ["head/neck"] * 12]
    numbers = [[600] * 12, [450] * 12, [1000] * 12, ["00000000"] * 12, ["ab"] * 12, [0.0] * 12]
    columns = [*texts, ["HAM"] * 12, members, *numbers]
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))


def _splits() -> pd.DataFrame:
    table = _catalogue()[["image", "lesion_id", "diagnosis"]]
    return table.assign(fold=0, split=["train", "val", "test"] * 4)


def _decision() -> dict[str, Any]:
    even = dict.fromkeys(isic.CLASSES, 0.125)
    point = {"goal": "sensitivity", "target": 0.9, "threshold": 0.2, "sensitivity": 0.9}
    point |= {"specificity": 0.5, "lesions": 9, "right": 9}
    one = {
        "temperature": 1.2,
        "strength": 0.5,
        "chosen": "temperature_and_strength",
        "at_bound": [],
        "operating_points": {"sensitivity_90": point},
        "absent_points": {"sensitivity_95": "there are 9"},
        "default": "sensitivity_90",
    }
    return {
        "classes": list(isic.CLASSES),
        "tta": False,
        "priors": {"trained": even, "natural": even},
        **one,
        "without_metadata": one,
    }


def _csv(table: pd.DataFrame, *, end: str = "\n") -> bytes:
    return table.to_csv(index=False, lineterminator=end).encode()
