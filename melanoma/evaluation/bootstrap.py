"""95 % intervals by resampling whole lesions, and paired differences between experiments.

Images of one lesion are alike: resampling images one by one would count them as independent and
give intervals that are too narrow. Every resample draws as many groups as there are, with
replacement, and each row counts as often as its group was drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from melanoma.evaluation import metrics
from melanoma.evaluation.averages import (
    Classes,
    Interval,
    average_interval,
    effective_groups,
    ranking_size,
)
from melanoma.evaluation.intervals import (
    Spread,
    Support,
    count_groups,
    interval,
    of_cases,
    of_ranking,
)
from melanoma.evaluation.metrics import Figures, Ints
from melanoma.evaluation.ranking import Floats, divide
from melanoma.isic import CLASSES, MELANOMA

_CELLS = 2_000_000
"""Rows x resamples held at once: 8 MB a working array in float32, whatever the number of rows."""


@dataclass(frozen=True)
class Resamples:
    """How often each row counts in each resample, made in blocks to bound the memory.

    Attributes:
        groups: int [n], group of each row, 0 to the number of groups - 1.
        number: resamples; 0 gives no intervals.
        seed: of the draws; equal seeds and groups give equal draws, which pairs experiments.
    """

    groups: Ints
    number: int
    seed: int

    @classmethod
    def by_group(cls, labels: NDArray[np.generic], number: int, seed: int = 0) -> Resamples:
        """Resamples of whole groups.

        Args:
            labels: [n], any label of each row's group.
            number: resamples.
            seed: of the draws.
        """
        _, groups = np.unique(labels, return_inverse=True)
        return cls(groups.astype(np.int64), number, seed)

    @property
    def size(self) -> int:
        """Number of groups."""
        return int(self.groups.max()) + 1 if len(self.groups) else 0

    def _drawn(self) -> Iterator[Ints]:
        """How often each group was drawn, int [b, groups], all blocks together `number` rows."""
        rng = np.random.default_rng(self.seed)
        block = max(1, _CELLS // max(len(self.groups), 1))
        for start in range(0, self.number if self.size else 0, block):
            rows = min(block, self.number - start)
            drawn = rng.integers(0, self.size, size=(rows, self.size))
            drawn += np.arange(rows)[:, None] * self.size
            yield np.bincount(drawn.ravel(), minlength=rows * self.size).reshape(rows, self.size)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Row counts, float32 [n, at most a block], all blocks together `number` columns."""
        for drawn in self._drawn():
            yield np.ascontiguousarray(drawn.T.astype(np.float32)[self.groups])

    def replicate(
        self, statistics: Callable[[NDArray[np.float32]], dict[str, Floats]]
    ) -> dict[str, Floats]:
        """Statistics in every resample.

        Args:
            statistics: row counts [n, b] -> name -> float [..., b].

        Returns:
            name -> float [..., number]; empty without rows or resamples.
        """
        parts = [statistics(counts) for counts in self.blocks()]
        names = parts[0] if parts else {}
        return {name: np.concatenate([part[name] for part in parts], axis=-1) for name in names}

    def freedom(self, replicates: Mapping[str, Floats]) -> dict[str, Floats]:
        """Degrees of freedom of each statistic's standard error: few where few groups decide it.

        A group's influence on a statistic is its covariance, over the resamples, with how often
        the group was drawn (Efron 2014). The standard error is the sum of squared influences,
        and its own spread follows from their fourth powers, as in Satterthwaite's formula. Both
        sums are freed of what the finite number of resamples adds to them.

        Args:
            replicates: name -> float [..., number], from `replicate` of the same resamples.

        Returns:
            name -> float [...], between 1 and the number of groups less one.
        """
        flat = {name: v.reshape(-1, self.number) for name, v in replicates.items()}
        if not flat:
            return {}
        stacked = np.vstack(list(flat.values()))
        undefined = np.isnan(stacked)
        centre = divide(np.where(undefined, 0.0, stacked).sum(axis=1), (~undefined).sum(axis=1))
        deviation = np.where(undefined, 0.0, stacked - centre[:, None])
        influence = np.zeros((len(stacked), self.size))
        start = 0
        for drawn in self._drawn():
            influence += deviation[:, start : start + len(drawn)] @ (drawn - 1.0)
            start += len(drawn)
        influence /= self.number
        noise = (deviation**2).mean(axis=1) / self.number
        square = (influence**2).sum(axis=1) - self.size * noise
        fourth = (influence**4).sum(axis=1) - 6 * noise * square - 3 * self.size * noise**2
        share = np.maximum(divide(fourth, square**2) - 1 / self.size, 0.0)
        most = max(self.size - 1.0, 1.0)
        degrees = np.clip(
            np.nan_to_num(divide(2.0 * np.ones_like(share), share), nan=most), 1, most
        )
        ends = np.cumsum([len(values) for values in flat.values()])[:-1]
        return {
            name: part.reshape(replicates[name].shape[:-1])
            for name, part in zip(flat, np.split(degrees, ends), strict=True)
        }


def replicate_figures(truth: Ints, probabilities: Floats, resamples: Resamples) -> Figures | None:
    """All classification figures in every resample; None without resamples.

    Args:
        truth: int [n].
        probabilities: float [n, k].
        resamples: of the same n rows.
    """

    def flat(counts: NDArray[np.float32]) -> dict[str, Floats]:
        figures = metrics.compute(truth, probabilities, counts)
        per_class = {f"class {name}": values for name, values in figures.per_class.items()}
        return figures.headline | per_class | {"support": figures.support}

    values = resamples.replicate(flat)
    if not values:
        return None
    return Figures(
        {name: values[name] for name in metrics.HEADLINE},
        {name: values[f"class {name}"] for name in metrics.PER_CLASS},
        values["support"],
    )


def interval_ends(
    points: Mapping[str, Floats],
    replicates: Mapping[str, Floats],
    resamples: Resamples,
    supports: Mapping[str, Sequence[Support]],
) -> dict[str, tuple[Floats, Floats]]:
    """Intervals of several figures between 0 and 1 at several settings, e.g. thresholds.

    Args:
        points: name -> float [k].
        replicates: name -> float [k, b]; empty without resamples.
        resamples: that the replicates come from.
        supports: name -> what the figure rests on, at each of the k settings.

    Returns:
        name -> lower and upper ends, float [k] each; NaN where there is no interval.
    """
    freedom = resamples.freedom(replicates)
    result = {}
    for name, values in points.items():
        ends = np.full((2, len(values)), np.nan)
        for k, value in enumerate(values if replicates else ()):
            found = interval(value, replicates[name][k], freedom[name][k], supports[name][k])
            ends[:, k] = found or np.nan
        result[name] = (ends[0], ends[1])
    return result


def supports_of(
    truth: Ints, probabilities: Floats, groups: Ints
) -> tuple[dict[str, Support], dict[str, list[Support]]]:
    """What every classification figure rests on but the averages over classes.

    Args:
        truth: int [n].
        probabilities: float [n, k].
        groups: int [n].

    Returns:
        Headline figure -> support; figure of a class -> support for each class.
    """
    decided = probabilities.argmax(axis=1)
    classes = range(probabilities.shape[1])
    own = [count_groups(groups, truth == c) for c in classes]
    others = [count_groups(groups, truth != c) for c in classes]
    called = [count_groups(groups, decided == c) for c in classes]
    per_class = {
        "precision": [of_cases(count) for count in called],
        "recall": [of_cases(count) for count in own],
        "specificity": [of_cases(count) for count in others],
        "f1": [of_cases(count) for count in own],
        "auroc": [of_ranking(*counts) for counts in zip(own, others, strict=True)],
        "average_precision": [of_cases(count) for count in own],
    }
    melanoma = CLASSES.index(MELANOMA)
    whole = of_cases(len(np.unique(groups)))
    headline = {name: whole for name in metrics.HEADLINE if name not in metrics.AVERAGES}
    headline |= {
        f"melanoma_{name}": per_class[figure][melanoma]
        for name, figure in metrics.MELANOMA_FIGURES.items()
    }
    return headline, per_class


@dataclass(frozen=True)
class Estimated:
    """Figures with their intervals.

    Attributes:
        figures: name -> figure, NaN where undefined.
        intervals: name -> lower and upper end, or None.
        per_class: name -> figure of each class.
        per_class_intervals: name -> interval or None of each class.
        averages: headline figure that is an average over classes -> what it is made of; empty
            without resamples.
    """

    figures: dict[str, float]
    intervals: dict[str, Interval | None]
    per_class: dict[str, list[float]]
    per_class_intervals: dict[str, list[Interval | None]]
    averages: dict[str, Classes] = field(default_factory=dict, compare=False)


def estimate(truth: Ints, probabilities: Floats, resamples: Resamples) -> Estimated:
    """All classification figures with their 95 % intervals.

    Args:
        truth: int [n], index into `CLASSES`.
        probabilities: float [n, 8].
        resamples: of the same rows; with none, every interval is None.
    """
    point = metrics.point_figures(truth, probabilities)
    figures = {name: float(values[0]) for name, values in point.headline.items()}
    per_class = {name: values[:, 0].tolist() for name, values in point.per_class.items()}
    spread = replicate_figures(truth, probabilities, resamples)
    if spread is None:
        nothing: list[Interval | None] = [None] * probabilities.shape[1]
        return Estimated(
            figures, dict.fromkeys(figures), per_class, dict.fromkeys(per_class, nothing)
        )
    supports, class_supports = supports_of(truth, probabilities, resamples.groups)
    freedom = resamples.freedom(spread.headline | spread.per_class)
    lesions = np.array(
        [effective_groups(resamples.groups, truth == c) for c in range(len(CLASSES))]
    )
    averages = _averages(lesions, point, spread, freedom, class_supports)
    ends = {name: average_interval(classes) for name, classes in averages.items()}
    ends |= {
        name: interval(figures[name], spread.headline[name], float(freedom[name]), support)
        for name, support in supports.items()
    }
    class_ends = {
        name: [
            interval(*of_class)
            for of_class in zip(
                values,
                spread.per_class[name],
                freedom[name].tolist(),
                class_supports[name],
                strict=True,
            )
        ]
        for name, values in per_class.items()
    }
    return Estimated(figures, {n: ends[n] for n in figures}, per_class, class_ends, averages)


def headline_spreads(truth: Ints, probabilities: Floats, resamples: Resamples) -> dict[str, Spread]:
    """Headline figures with what their differences follow from.

    Args:
        truth: int [n], index into `CLASSES`.
        probabilities: float [n, 8].
        resamples: of the same rows; with none, no figure has an interval or replicates.
    """
    point = metrics.point_figures(truth, probabilities)
    figures = {name: float(values[0]) for name, values in point.headline.items()}
    spread = replicate_figures(truth, probabilities, resamples)
    if spread is None:
        return {name: Spread(value, None, np.zeros(0)) for name, value in figures.items()}
    supports, class_supports = supports_of(truth, probabilities, resamples.groups)
    needed = {of: spread.per_class[of] for of in metrics.AVERAGES.values()}
    freedom = resamples.freedom(spread.headline | needed)
    lesions = np.array(
        [effective_groups(resamples.groups, truth == c) for c in range(len(CLASSES))]
    )
    averages = _averages(lesions, point, spread, freedom, class_supports)
    found = {}
    for name, value in figures.items():
        values = spread.headline[name]
        if name in averages:
            ends = average_interval(averages[name])
            found[name] = Spread(value, ends, values, averages[name])
        else:
            ends = interval(value, values, float(freedom[name]), supports[name])
            found[name] = Spread(value, ends, values)
    return found


def _averages(
    lesions: Floats,
    point: Figures,
    spread: Figures,
    freedom: Mapping[str, Floats],
    supports: Mapping[str, Sequence[Support]],
) -> dict[str, Classes]:
    """What each average over classes is made of; `lesions`: effective number in each class."""
    # An error is a miss or a false alarm, and either takes half of what a missed case takes.
    sizes = {"f1": 2.0 * lesions}
    sizes["auroc"] = np.array([ranking_size(support.reach) for support in supports["auroc"]])
    return {
        name: Classes(
            points=point.per_class[of][:, 0],
            replicates=spread.per_class[of],
            freedom=freedom[of],
            sizes=sizes.get(of, lesions),
            groups=np.array([support.groups for support in supports[of]], np.int64),
            shares=of == "recall",
        )
        for name, of in metrics.AVERAGES.items()
    }
