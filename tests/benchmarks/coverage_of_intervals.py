"""How often the 95 % intervals hold the truth, where the truth is known.

Lesions are drawn from a simulated world, with several images each that resemble one another, and
judged by two simulated classifiers; every repeat asks whether the interval of each figure, and of
each paired difference, holds the value that a very large sample of the same world has.

    python tests/benchmarks/coverage_of_intervals.py [--repeats 400] [--output coverage.csv]

Exits with status 1 where a headline figure, a difference of headline figures or the mean over the
classes of a per-class figure is covered in less than 93 or more than 97 % of the repeats. By
chance alone a true 95 % comes out between 92.9 and 97.1 % in 95 of 100 runs of 400 repeats.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from melanoma.evaluation import metrics
from melanoma.evaluation.bootstrap import (
    Resamples,
    estimate,
    groups_of,
    plain_interval,
    replicate_figures,
)

SHARES = np.array([0.20, 0.30, 0.15, 0.07, 0.12, 0.06, 0.05, 0.05])
LESIONS = 700
LEAST_IMAGES = 40
"""Images of every class in every repeat."""

BOUNDS = (0.93, 0.97)


def draw(
    rng: np.random.Generator, lesions: int, least: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One sample of the world.

    Returns:
        True class [n], two classifiers' softmax [n, 8] each, and lesion [n].
    """
    while True:
        kind = rng.choice(8, size=lesions, p=SHARES)
        images = np.minimum(rng.geometric(0.6, size=lesions), 31)
        if np.bincount(kind, weights=images, minlength=8).min() >= least:
            break
    lesion = np.repeat(np.arange(lesions), images)
    truth = kind[lesion]
    rows = np.arange(len(lesion))
    logits = rng.normal(size=(lesions, 8))[lesion] + 0.7 * rng.normal(size=(len(lesion), 8))
    logits[rows, truth] += 2.0
    logits += 0.3 * np.log(SHARES)
    # The second classifier is a little worse, and wrong about much the same lesions.
    other = logits + 0.5 * rng.normal(size=(lesions, 8))[lesion]
    return truth, softmax(logits, axis=1), softmax(other, axis=1), lesion


def true_figures(seed: int) -> tuple[dict[str, float], dict[str, float], dict[str, list[float]]]:
    """Headline figures of both classifiers and per-class figures of the first, in the world."""
    rng = np.random.default_rng(seed)
    samples = [draw(rng, 100_000, 0) for _ in range(3)]
    truth = np.concatenate([sample[0] for sample in samples])
    found = [
        metrics.point_figures(truth, np.concatenate([sample[k] for sample in samples]))
        for k in (1, 2)
    ]
    headline = [{n: float(v[0]) for n, v in one.headline.items()} for one in found]
    return headline[0], headline[1], {n: v[:, 0].tolist() for n, v in found[0].per_class.items()}


def one_repeat(seed: int, resamples: int, world: tuple) -> dict[str, bool]:
    """Whether each interval of one sample holds the truth."""
    first, second, per_class = world
    truth, one, other, lesion = draw(np.random.default_rng(seed), LESIONS, LEAST_IMAGES)
    draws = Resamples.by_group(lesion, resamples, seed)
    found = estimate(truth, one, draws)
    held = {}
    for name, ends in found.intervals.items():
        held[name] = ends is not None and ends[0] <= first[name] <= ends[1]
    for name, intervals in found.per_class_intervals.items():
        for index, ends in enumerate(intervals):
            inside = ends is not None and ends[0] <= per_class[name][index] <= ends[1]
            held[f"class {name} {index}"] = inside
    spread = [replicate_figures(truth, values, draws) for values in (one, other)]
    point = metrics.point_figures(truth, other).headline
    melanoma = groups_of(draws.groups, truth == 0)
    changes = {n: spread[1].headline[n] - spread[0].headline[n] for n in metrics.HEADLINE}
    freedom = draws.freedom(changes)
    for name in metrics.HEADLINE:
        change = float(point[name][0]) - found.figures[name]
        groups = melanoma if name.startswith("melanoma") else LESIONS
        ends = plain_interval(change, changes[name], float(freedom[name]), groups=groups)
        held[f"difference {name}"] = ends[0] <= second[name] - first[name] <= ends[1]
    return held


def coverage(repeats: int, resamples: int, seed: int = 0) -> pd.DataFrame:
    """Share of the repeats in which each interval holds the truth."""
    world = true_figures(99)
    held = pd.DataFrame(
        [one_repeat(1000 * seed + repeat, resamples, world) for repeat in range(repeats)]
    ).mean()
    rows = []
    for name in metrics.HEADLINE:
        rows.append(("headline", name, held[name], held[name]))
    for name in metrics.HEADLINE:
        value = held[f"difference {name}"]
        rows.append(("difference", name, value, value))
    for name in metrics.PER_CLASS:
        values = held[[f"class {name} {index}" for index in range(8)]]
        rows.append(("per class", name, values.mean(), values.min()))
    return pd.DataFrame(rows, columns=["kind", "figure", "coverage", "least"])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="CSV of the coverages")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    table = coverage(options.repeats, options.resamples, options.seed)
    table["within"] = table["coverage"].between(*BOUNDS)
    print(table.to_string(index=False, float_format="{:.3f}".format))
    print(f"{options.repeats} repeats, {time.perf_counter() - start:.0f} s")
    if options.output:
        table.to_csv(options.output, index=False)
    return 0 if table["within"].all() else 1


if __name__ == "__main__":
    sys.exit(main())
