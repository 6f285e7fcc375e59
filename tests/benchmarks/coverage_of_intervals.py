"""How often the 95 % intervals hold the truth, where the truth is known.

Lesions are drawn from a simulated world, with several images each that resemble one another, and
judged by two simulated classifiers; every repeat asks whether the interval of each figure, and of
each paired difference, holds the value that a very large sample of the same world has. In the
usual world every class has 40 images and more and the classifiers err as real ones do; in the
excellent one lesions are few and hardly any is misjudged, so that most figures are near 1 or at it.

    python tests/benchmarks/coverage_of_intervals.py [--repeats 400] [--output coverage.csv]

Exits with status 1 where a headline figure, a difference of headline figures or the mean over the
classes of a per-class figure is covered in less than 93 % or more than 97 % of the repeats of the
usual world, or in less than 90 % of the excellent one. By chance alone a true 95 % comes out
between 92.9 and 97.1 % in 95 of 100 runs of 400 repeats. Next to a bound no interval can cover
exactly as often as it says: a figure takes few values there, and a resample sees only the errors
that happened.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from melanoma.evaluation import metrics
from melanoma.evaluation.bootstrap import Resamples, estimate
from melanoma.evaluation.compare import figure_spreads
from melanoma.evaluation.intervals import difference_interval
from melanoma.evaluation.tables import Judged

SHARES = np.array([0.20, 0.30, 0.15, 0.07, 0.12, 0.06, 0.05, 0.05])


@dataclass(frozen=True)
class World:
    """What is simulated: lesions a sample, least images of every class, and how good the first
    classifier is (what the true class's logit is raised by); and how often the intervals may
    hold the truth."""

    lesions: int
    least: int
    signal: float
    bounds: tuple[float, float]


WORLDS = {
    "usual": World(lesions=700, least=40, signal=2.0, bounds=(0.93, 0.97)),
    "excellent": World(lesions=200, least=8, signal=5.0, bounds=(0.90, 1.0)),
}


def draw(
    rng: np.random.Generator, lesions: int, least: int, signal: float
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
    logits[rows, truth] += signal
    logits += 0.3 * np.log(SHARES)
    # The second classifier is a little worse, and wrong about much the same lesions.
    other = logits + 0.5 * rng.normal(size=(lesions, 8))[lesion]
    return truth, softmax(logits, axis=1), softmax(other, axis=1), lesion


def true_figures(
    seed: int, signal: float
) -> tuple[dict[str, float], dict[str, float], dict[str, list[float]]]:
    """Headline figures of both classifiers and per-class figures of the first, in the world."""
    rng = np.random.default_rng(seed)
    samples = [draw(rng, 100_000, 0, signal) for _ in range(3)]
    truth = np.concatenate([sample[0] for sample in samples])
    found = [
        metrics.point_figures(truth, np.concatenate([sample[k] for sample in samples]))
        for k in (1, 2)
    ]
    headline = [{n: float(v[0]) for n, v in one.headline.items()} for one in found]
    return headline[0], headline[1], {n: v[:, 0].tolist() for n, v in found[0].per_class.items()}


Truth = tuple[dict[str, float], dict[str, float], dict[str, list[float]]]


def one_repeat(seed: int, resamples: int, world: World, true: Truth) -> dict[str, tuple]:
    """Whether each interval of one sample holds the truth, and how wide it is."""
    first, second, per_class = true
    truth, one, other, lesion = draw(
        np.random.default_rng(seed), world.lesions, world.least, world.signal
    )
    draws = Resamples.by_group(lesion, resamples, seed)
    found = estimate(truth, one, draws)
    held = {name: _judge(ends, first[name]) for name, ends in found.intervals.items()}
    for name, intervals in found.per_class_intervals.items():
        for index, ends in enumerate(intervals):
            held[f"class {name} {index}"] = _judge(ends, per_class[name][index])
    names = tuple(map(str, range(len(truth))))
    spreads = [
        figure_spreads(Judged(names, truth, values, pd.Series(lesion)), draws)
        for values in (one, other)
    ]
    for name in metrics.HEADLINE:
        ends = difference_interval(spreads[0][name], spreads[1][name])
        held[f"difference {name}"] = _judge(ends, second[name] - first[name])
    return held


def _judge(ends: tuple[float, float] | None, value: float) -> tuple[float, float]:
    """Whether the interval holds the value, and its width; NaN where there is none."""
    return (np.nan, np.nan) if ends is None else (ends[0] <= value <= ends[1], ends[1] - ends[0])


def coverage(repeats: int, resamples: int, seed: int, world: World) -> pd.DataFrame:
    """Share of the repeats in which each interval holds the truth, and its mean width."""
    true = true_figures(99, world.signal)
    runs = [one_repeat(1000 * seed + number, resamples, world, true) for number in range(repeats)]
    held = pd.DataFrame([{n: v[0] for n, v in run.items()} for run in runs]).astype(float).mean()
    width = pd.DataFrame([{n: v[1] for n, v in run.items()} for run in runs]).mean()
    rows = []
    for kind, prefix in (("headline", ""), ("difference", "difference ")):
        for name in metrics.HEADLINE:
            own = held[prefix + name]
            rows.append((kind, name, true[0][name], own, own, width[prefix + name]))
    for name in metrics.PER_CLASS:
        columns = [f"class {name} {index}" for index in range(8)]
        value = float(np.mean(true[2][name]))
        own = held[columns]
        rows.append(("per class", name, value, own.mean(), own.min(), width[columns].mean()))
    table = pd.DataFrame(rows, columns=["kind", "figure", "truth", "coverage", "least", "width"])
    table["within"] = table["coverage"].between(*world.bounds)
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="CSV of the coverages")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    tables = []
    for name, world in WORLDS.items():
        table = coverage(options.repeats, options.resamples, options.seed, world)
        print(f"{name}: {world.lesions} lesions a sample, {options.repeats} samples")
        print(table.to_string(index=False, float_format="{:.3f}".format), flush=True)
        tables.append(table.assign(world=name))
    print(f"{time.perf_counter() - start:.0f} s")
    found = pd.concat(tables, ignore_index=True)
    if options.output:
        found.to_csv(options.output, index=False)
    return 0 if found["within"].all() else 1


if __name__ == "__main__":
    sys.exit(main())
