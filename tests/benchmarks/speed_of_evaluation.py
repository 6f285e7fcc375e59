"""Intervals against a loop over scikit-learn, and splits against its grouped ones."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import metrics as reference
from sklearn.model_selection import StratifiedGroupKFold

from melanoma.evaluation.bootstrap import Resamples, replicate_figures
from melanoma.isic import CLASSES
from melanoma.splits import assign_splits
from tests.benchmarks.figures import Figure, cpu_times, figure, ratios

ROWS, RESAMPLES = 3_800, 2_000
"""A test part of ISIC 2019, and the resamples of the default configuration."""

LOOPED = 20
"""Resamples that the loop makes: its time grows with their number."""

ROUNDS = 3
COUNTS = (4522, 12875, 3323, 867, 2624, 239, 253, 628)
"""Images of each class in ISIC 2019."""

SHARE = 0.5
"""Points by which a class's share in a fold may be off the whole's."""


def measure() -> Iterator[Figure]:
    """Figures of intervals and splits."""
    yield from _intervals()
    yield from _splits()


def _intervals() -> Iterator[Figure]:
    rng = np.random.default_rng(0)
    truth = rng.choice(8, ROWS, p=np.array(COUNTS) / sum(COUNTS))
    probabilities = rng.dirichlet(np.ones(8), ROWS)
    probabilities[np.arange(ROWS), truth] += 0.3
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    lesions = rng.integers(0, ROWS // 2, ROWS)
    resamples = Resamples.by_group(lesions, RESAMPLES)
    counts = next(resamples.blocks())[:, :LOOPED].astype(np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ways = {
            "ours": partial(replicate_figures, truth, probabilities, resamples),
            "loop": partial(_loop, truth, probabilities, counts),
        }
        times = cpu_times(ways, rounds=ROUNDS)
        expected = _loop(truth, probabilities, counts)
    faster = [ratio * RESAMPLES / LOOPED for ratio in ratios(times["loop"], times["ours"])]
    told = f"scikit-learn in a loop; {np.median(times['ours']):.1f} s"
    what = f"{RESAMPLES} resamples of {ROWS} images, all figures"
    yield figure("intervals", what, faster, target=">= 30", against=told)
    found = replicate_figures(truth, probabilities, resamples)
    assert found is not None
    everything = found.headline | found.per_class
    worst = max(
        float(np.nanmax(np.abs(everything[name][..., :LOOPED].T - values)))
        for name, values in expected.items()
    )
    yield figure(
        "intervals", "largest difference", worst, unit="", target="<= 1e-6", against="the same loop"
    )


def _loop(
    truth: NDArray[np.int64], probabilities: NDArray[np.float64], counts: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """The figures of each resample by scikit-learn: name -> [resamples] or [resamples, classes]."""
    rows = [np.repeat(np.arange(len(truth)), column) for column in counts.T]
    several = [_figures(truth[row], probabilities[row]) for row in rows]
    return {name: np.array([one[name] for one in several]) for name in several[0]}


def _figures(
    truth: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> dict[str, NDArray[np.float64] | float]:
    decided = probabilities.argmax(axis=1)
    labels = np.arange(8)
    each = reference.precision_recall_fscore_support(
        truth, decided, labels=labels, zero_division=np.nan
    )
    present = [(truth == label, probabilities[:, label]) for label in labels]
    return {
        "accuracy": reference.accuracy_score(truth, decided),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, decided),
        "macro_f1": reference.f1_score(truth, decided, average="macro", labels=labels),
        "weighted_f1": reference.f1_score(truth, decided, average="weighted", labels=labels),
        "recall": each[1],
        "auroc": np.array([reference.roc_auc_score(*one) for one in present]),
        "average_precision": np.array([reference.average_precision_score(*one) for one in present]),
    }


def _splits() -> Iterator[Figure]:
    rng = np.random.default_rng(1)
    diagnoses = np.repeat(np.array(CLASSES), COUNTS)
    lesions = np.concatenate(
        [
            [f"{name}_{number}" for number in rng.integers(0, max(count // 2, 5), count)]
            for name, count in zip(CLASSES, COUNTS, strict=True)
        ]
    )
    catalogue = pd.DataFrame(
        {
            "image": [f"ISIC_{number:07d}" for number in range(len(diagnoses))],
            "lesion_id": lesions,
            "diagnosis": diagnoses,
        }
    )
    settings = {"val_fraction": 0.15, "test_fraction": 0.0, "seed": 42}
    shuffled = StratifiedGroupKFold(5, shuffle=True, random_state=42)
    ways = {
        "ours": lambda: assign_splits(catalogue, folds=5, **settings),
        "usual": lambda: list(shuffled.split(catalogue, diagnoses, lesions)),
    }
    times = cpu_times(ways, rounds=ROUNDS)
    faster = ratios(times["usual"], times["ours"])
    told = f"StratifiedGroupKFold; {np.median(times['ours']):.2f} s"
    what = f"5 folds of {len(catalogue):,} images"
    yield figure("splits", what, faster, target=">= 20", against=told)
    splits = assign_splits(catalogue, folds=5, **settings)
    val = splits[splits["split"] == "val"]
    off = val.groupby("fold")["diagnosis"].value_counts(normalize=True).unstack("fold")
    whole = catalogue["diagnosis"].value_counts(normalize=True)
    worst = 100 * float(off.sub(whole, axis=0).abs().max(axis=None))
    yield figure(
        "splits", "class shares off the whole's", worst, unit="points", target=f"<= {SHARE}"
    )
