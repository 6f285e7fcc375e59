"""How often the 95 % intervals hold the truth, where the truth is known.

Lesions are drawn from a simulated world, with several images each that resemble one another, and
judged by two simulated classifiers; every repeat asks whether the interval of each figure, and of
each paired difference, holds the value that a very large sample of the same world has. In the
usual world every class has 40 images and more and the classifiers err as real ones do; in the
excellent one lesions are few and hardly any is misjudged, so that most figures are near 1 or at it.
Averages over classes are also tried where classes have few lesions and known recalls, all alike,
mixed or perfect (`FEW`), beside the interval that the bootstrap of the average alone would give.

    python tests/benchmarks/coverage_of_intervals.py [--repeats 400] [--few 2000] [--output c.csv]

Exits with status 1 where a headline figure, a difference of headline figures or the mean over the
classes of a per-class figure is covered in less than 93 % or more than 97 % of the repeats of the
usual world, or in less than 90 % of the excellent one; averages over classes, whose errors are
counted exactly, may be covered more often. With few lesions the balanced accuracy, the macro F1 and
the macro AUROC are to be covered in 93 % at the least, the balanced accuracy and the macro F1 in no
more than 97 % where every class has 20 lesions and no share is near its bound.

By chance alone a true 95 % comes out between 92.9 and 97.1 % in 95 of 100 runs of 400 repeats. Next
to a bound no interval can cover exactly as often as it says: a figure takes few values there, and a
resample sees only the errors that happened.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import softmax
from scipy.stats import norm

from melanoma.evaluation import metrics
from melanoma.evaluation.bootstrap import Resamples, estimate, headline_spreads
from melanoma.evaluation.compare import figure_spreads
from melanoma.evaluation.intervals import difference_interval, interval, of_cases
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


@dataclass(frozen=True)
class Few:
    """A world of few lesions: how many each class has, and the share of it that is recognised.

    Attributes:
        lesions: of each class.
        recalls: of each class, of the first classifier; those below 1 of the second are lower.
        images: share of the lesions that have no further image (geometric).
        most: coverage that is not to be exceeded, for balanced accuracy and macro F1.
    """

    lesions: tuple[int, ...]
    recalls: tuple[float, ...]
    images: float = 1.0
    most: float = 1.0


_SMALL = (3, 4, 5, 6, 7, 8, 9, 10)
_ISIC = (45, 127, 33, 9, 26, 2, 3, 6)
_MIXED = (0.5, 1.0, 0.9, 1.0, 0.99, 0.7, 1.0, 0.9)
_MIDDLE = (0.5, 0.6, 0.7, 0.8, 0.9, 0.5, 0.7, 0.9)

FEW = {
    f"{where}, {what}": Few(lesions, recalls)
    for where, lesions in (("3 to 10", _SMALL), ("ISIC", _ISIC))
    for what, recalls in (
        (".5", (0.5,) * 8),
        (".9", (0.9,) * 8),
        (".99", (0.99,) * 8),
        ("mixed", _MIXED),
        ("perfect", (1.0,) * 8),
    )
} | {
    "20, .5": Few((20,) * 8, (0.5,) * 8, most=0.97),
    "20, .9": Few((20,) * 8, (0.9,) * 8, most=0.97),
    "20, .5 to .9": Few((20,) * 8, _MIDDLE, most=0.97),
    "20, .5 to .9, several images": Few((20,) * 8, _MIDDLE, images=0.6, most=0.975),
    "3 to 10, .9, several images": Few(_SMALL, (0.9,) * 8, images=0.6),
}
"""ISIC: 250 lesions in the shares of ISIC 2019, two at least."""

ASKED = ("balanced_accuracy", "macro_f1", "macro_auroc")

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


def _judge(
    ends: tuple[float, float] | None, value: float, known_to: float = 0.0
) -> tuple[float, float]:
    """Whether the interval holds the value, and its width; NaN where there is none."""
    if ends is None:
        return (np.nan, np.nan)
    return ends[0] - known_to <= value <= ends[1] + known_to, ends[1] - ends[0]


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
    average = table["figure"].isin(list(metrics.AVERAGES))
    most = np.where(average, 1.0, world.bounds[1])
    table["within"] = (table["coverage"] >= world.bounds[0]) & (table["coverage"] <= most)
    return table


@cache
def _signal(recall: float) -> float:
    """What raises a class's logit so that it is the largest of eight normal ones so often."""
    if recall >= 1.0:
        return 60.0
    grid = np.linspace(-9, 9, 4001)
    mass = norm.pdf(grid) * (grid[1] - grid[0])
    return float(brentq(lambda s: mass @ norm.cdf(grid + s) ** 7 - recall, -8, 12))


def draw_few(rng: np.random.Generator, world: Few, times: int = 1) -> tuple[np.ndarray, ...]:
    """One sample of a world of few lesions: as `draw`, its lesions `times` as many."""
    kind = np.repeat(np.arange(8), np.array(world.lesions) * times)
    images = np.minimum(rng.geometric(world.images, size=len(kind)), 31)
    lesion = np.repeat(np.arange(len(kind)), images)
    truth, rows = kind[lesion], np.arange(len(lesion))

    def noise() -> np.ndarray:
        alike = np.sqrt(0.7) * rng.normal(size=(len(kind), 8))[lesion]
        return alike + np.sqrt(0.3) * rng.normal(size=(len(lesion), 8))

    logits = noise()
    other = np.sqrt(0.8) * logits + np.sqrt(0.2) * noise()
    raised = np.array([_signal(recall) for recall in world.recalls])[truth]
    logits[rows, truth] += raised
    other[rows, truth] += np.where(raised > 50, raised, raised - 0.25)
    return truth, softmax(1.5 * logits, axis=1), softmax(1.5 * other, axis=1), lesion


def true_few(world: Few) -> list[dict[str, float]]:
    """Averages over classes of both classifiers in a very large sample."""
    times = max(1, 400_000 // sum(world.lesions))
    truth, *both, _ = draw_few(np.random.default_rng(5), world, times)
    found = [metrics.point_figures(truth, values).headline for values in both]
    return [{name: float(one[name][0]) for name in metrics.AVERAGES} for one in found]


def few_repeat(
    seed: int, resamples: int, world: Few, true: Sequence[dict[str, float]]
) -> dict[str, tuple]:
    """Whether the intervals of one sample hold the truth, and how wide they are."""
    truth, one, other, lesion = draw_few(np.random.default_rng(seed), world)
    draws = Resamples.by_group(lesion, resamples, seed)
    first, second = (headline_spreads(truth, values, draws) for values in (one, other))
    freedom = draws.freedom({name: first[name].replicates for name in metrics.AVERAGES})
    held = {}
    for name in metrics.AVERAGES:
        own, value = first[name], true[0][name]
        # The large sample is itself known to this much.
        held[name] = _judge(own.ends, value, 1e-4)
        alone = interval(own.point, own.replicates, float(freedom[name]), of_cases(draws.size))
        held[f"bootstrap {name}"] = _judge(alone, value, 1e-4)
        ends = difference_interval(own, second[name])
        held[f"difference {name}"] = _judge(ends, true[1][name] - value, 1e-4)
    return held


def few_coverage(repeats: int, resamples: int, seed: int, world: Few) -> pd.DataFrame:
    """Share of the repeats in which each interval holds the truth, and its mean width.

    Returns:
        figure, truth, coverage and width, of the bootstrap of the average alone and of the
        difference of two classifiers, and whether it is as it should be.
    """
    true = true_few(world)
    runs = [few_repeat(10_000 * seed + n, resamples, world, true) for n in range(repeats)]
    held = pd.DataFrame([{n: v[0] for n, v in run.items()} for run in runs]).astype(float).mean()
    width = pd.DataFrame([{n: v[1] for n, v in run.items()} for run in runs]).mean()
    rows = []
    for name in metrics.AVERAGES:
        row: dict[str, object] = {"figure": name, "truth": true[0][name]}
        for kind, prefix in (
            ("", ""),
            ("bootstrap_", "bootstrap "),
            ("difference_", "difference "),
        ):
            row[f"{kind}coverage"] = held[prefix + name]
            row[f"{kind}width"] = width[prefix + name]
        most = 1.0 if name == "macro_auroc" else world.most
        least = min(held[name], held[f"difference {name}"])
        row["within"] = name not in ASKED or (least >= 0.93 and held[name] <= most)
        rows.append(row)
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--few", type=int, default=2000, help="samples of each world of few")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="CSV of the coverages")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    tables = []
    for name, world in WORLDS.items() if options.repeats else ():
        table = coverage(options.repeats, options.resamples, options.seed, world)
        print(f"{name}: {world.lesions} lesions a sample, {options.repeats} samples")
        print(table.to_string(index=False, float_format="{:.3f}".format), flush=True)
        tables.append(table.assign(world=name))
    for name, few in FEW.items():
        if options.few:
            table = few_coverage(options.few, options.resamples, options.seed, few)
            print(f"{name}: {options.few} samples")
            print(table.to_string(index=False, float_format="{:.3f}".format), flush=True)
            tables.append(table.assign(world=name, kind="few"))
    print(f"{time.perf_counter() - start:.0f} s")
    found = pd.concat(tables, ignore_index=True)
    if options.output:
        found.to_csv(options.output, index=False)
    return 0 if found["within"].all() else 1


if __name__ == "__main__":
    sys.exit(main())
