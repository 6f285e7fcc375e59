"""How often a comparison of experiments takes noise for an effect, and how often it sees one.

Test parts are drawn with the class shares of ISIC 2019. Twelve experiments with three seeds each
are right or wrong on the same lesions; a lesion's difficulty is common to all, in part an
experiment's own, in part a single model's, and each seed moves all recalls of its model by a normal
number of points. The differences of all others to the first are judged as comparison.csv does.

    python tests/benchmarks/differences_of_experiments.py [--repeats 1000] [--lesions 1000]
        [--seeds 3] [--output differences.csv]

Exits with status 1 where there is no difference and more than 7 % of the repeats mark a given
comparison, or more than 7 % any of the eleven after Holm's correction.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

from melanoma.evaluation.averages import Classes
from melanoma.evaluation.bootstrap import Resamples
from melanoma.evaluation.compare import seed_difference_columns
from melanoma.evaluation.differences import holm
from melanoma.evaluation.intervals import Spread, difference_interval

DEVIATIONS = (0.5, 1.0, 2.0)
"""Points of balanced accuracy by which a seed moves a model."""

EFFECT = 3.0
"""Points by which the first of the others is better where there is a difference."""

EXPERIMENTS = 12
"""As many as config/ablations.yaml has."""

COUNTS = np.array([4522, 12875, 3323, 867, 2624, 239, 253, 628])
"""Images of each class in ISIC 2019."""

RECALLS = np.array([0.70, 0.85, 0.80, 0.60, 0.65, 0.70, 0.85, 0.55])

COMMON, OWN = 0.5, 0.25
"""Shares of a lesion's difficulty that are common to all, and to an experiment's models."""

RESAMPLES = 200
MOST = 0.07


def rights(
    rng: np.random.Generator, truth: np.ndarray, seeds: int, deviation: float, effect: float
) -> np.ndarray:
    """Which lesions each model gets right, bool [experiments, seeds, n].

    Args:
        rng: of the draw.
        truth: int [n], class of each lesion.
        seeds: of each experiment.
        deviation: of a seed, in points.
        effect: of the second experiment, in points.
    """
    shape = (EXPERIMENTS, seeds)
    hardness = np.sqrt(COMMON) * rng.normal(size=(1, 1, len(truth)))
    hardness = hardness + np.sqrt(OWN) * rng.normal(size=(EXPERIMENTS, 1, len(truth)))
    rest = np.sqrt(1 - COMMON - OWN)
    hardness = hardness + rest * rng.normal(size=(*shape, len(truth)))
    points = rng.normal(0.0, deviation, shape)
    points[1] += effect
    recalls = np.clip(RECALLS[truth] + points[..., None] / 100, 0.01, 0.99)
    easy: np.ndarray = hardness < norm.ppf(recalls)
    return easy


def spreads(truth: np.ndarray, right: np.ndarray, draws: Resamples) -> list[list[Spread]]:
    """Balanced accuracy of each experiment's models, with what differences follow from."""
    of_class = np.eye(len(COUNTS))[truth]
    hits = (right[..., None] * of_class).reshape(-1, *of_class.shape)
    flat = hits.transpose(1, 0, 2).reshape(len(truth), -1)

    def recalls(counts: np.ndarray) -> dict[str, np.ndarray]:
        support = np.tile(of_class.T @ counts, (len(hits), 1))
        with np.errstate(invalid="ignore"):
            return {"recall": (flat.T @ counts) / np.where(support, support, np.nan)}

    replicates = draws.replicate(recalls)["recall"].reshape(len(hits), len(COUNTS), -1)
    freedom = draws.freedom({"recall": replicates})["recall"]
    sizes = of_class.sum(axis=0)
    points = hits.sum(axis=1) / sizes
    found = [
        Spread(
            float(points[k].mean()),
            # Asked only whether there are any: the difference's follow from the classes.
            (0.0, 1.0),
            replicates[k].mean(axis=0),
            Classes(points[k], replicates[k], freedom[k], sizes, sizes.astype(np.int64), True),
        )
        for k in range(len(hits))
    ]
    seeds = right.shape[1]
    return [found[start : start + seeds] for start in range(0, len(found), seeds)]


def one_repeat(
    rng: np.random.Generator, lesions: int, seeds: int, deviation: float, effect: float
) -> dict[str, float]:
    """What one test part and one set of trainings are taken for."""
    truth = np.r_[np.repeat(np.arange(8), 2), rng.choice(8, lesions - 16, p=COUNTS / COUNTS.sum())]
    draws = Resamples.by_group(np.arange(lesions), RESAMPLES, int(rng.integers(2**31)))
    each = spreads(truth, rights(rng, truth, seeds, deviation, effect), draws)
    models = {str(number): own for number, own in enumerate(each)}
    rows = [seed_difference_columns(models, "0", name, tested=True) for name in list(models)[1:]]
    p = holm(np.array([row["p"] for row in rows], dtype=np.float64))
    alone = difference_interval(each[0][0], each[1][0])
    assert alone is not None
    return {
        "one": float(bool(rows[0]["interval_excludes_zero"])),
        "one_by_holm": float(p[0] < 0.05),
        "any_by_holm": float((p < 0.05).any()),
        "any_without_holm": float(any(row["interval_excludes_zero"] for row in rows)),
        "one_seed_by_lesions": float(alone[0] > 0 or alone[1] < 0),
    }


def measure(repeats: int, lesions: int, seeds: int) -> Iterator[dict[str, float]]:
    """A row for each deviation and effect: shares of the repeats that are marked."""
    for effect in (0.0, EFFECT):
        for deviation in DEVIATIONS:
            rng = np.random.default_rng([int(effect), int(10 * deviation), lesions, seeds])
            found = [one_repeat(rng, lesions, seeds, deviation, effect) for _ in range(repeats)]
            marked = pd.DataFrame(found).mean().to_dict()
            yield {"effect": effect, "seed_deviation": deviation, **marked}


def main() -> int:
    """Print the table; 1 where noise is marked more often than it may be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--lesions", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows = []
    for row in measure(arguments.repeats, arguments.lesions, arguments.seeds):
        rows.append(row)
        print({name: round(value, 3) for name, value in row.items()}, flush=True)
    table = pd.DataFrame(rows)
    if arguments.output:
        table.to_csv(arguments.output, index=False)
    noise = table[table["effect"] == 0.0]
    return int((noise[["one", "any_by_holm"]] > MOST).any(axis=None))


if __name__ == "__main__":
    sys.exit(main())
