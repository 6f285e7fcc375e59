"""95 % intervals from bootstrap replicates, also of figures that are nearly or wholly perfect.

A figure between 0 and 1 gets a score interval, Wilson's (1927) with the effective number of cases
that the bootstrap's standard error implies and Student's t in place of the normal. Of the intervals
tried (percentile, basic, normal, BC, BCa, t on the logit scale) it is the narrowest that covers the
truth as often as it says, also where a classifier errs on one lesion or none
(tests/benchmarks/coverage_of_intervals.py).

Averages over classes have intervals of their own (`melanoma.evaluation.averages`).

Where nothing is wrong the bootstrap sees no spread at all. The interval is then one-sided and
follows from how many groups the figure rests on (`Support`). A figure between 0 and 1 without any
spread, such as the accuracy in lesions that are all half right, gets no interval: that it would be
the same with other lesions is not known, just not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import stdtrit

from melanoma.evaluation.averages import (
    LEVEL,
    Classes,
    Interval,
    average_difference,
    unseen_reach,
)
from melanoma.evaluation.ranking import Floats

LEAST_FREEDOM = 4.0
"""Fewest degrees of freedom of a score interval. Where one or two groups decide a figure it is
near its bound, and the score interval is skewed already: fewer widen it three- to fivefold there
without covering more."""

_LEAST_DEFINED = 0.5
"""Share of resamples in which a figure must be defined for an interval to be given."""

_NO_SPREAD = 1e-9
"""Standard error that is rounding alone."""

_TAIL = (1.0 - LEVEL) / 2

NORMAL_REACH = float(stdtrit(np.inf, 1.0 - _TAIL))
"""Standard errors from a normal figure to the end of its interval: 1.96."""


@dataclass(frozen=True)
class Support:
    """What a figure rests on.

    Attributes:
        groups: groups of images behind it.
        reach: how far the interval reaches from a figure of exactly 0 or 1.
    """

    groups: int
    reach: float


def of_cases(groups: int) -> Support:
    """A share of cases, of which each group is one: exact (Clopper and Pearson 1934)."""
    return Support(groups, 1.0 - _TAIL ** (1.0 / groups) if groups else 1.0)


def of_ranking(positive: int, negative: int) -> Support:
    """An area under the ROC curve of that many groups with and without the class.

    At 1 the interval inverts the score test with the variance of Hanley and McNeil (1982), the
    best of Newcombe's methods (Statistics in Medicine 2006, 25, 559-573).
    """
    groups = min(positive, negative)
    if not groups:
        return Support(groups, 1.0)
    critical = NORMAL_REACH**2

    def excess(area: float) -> float:
        return float((1.0 - area) ** 2 - critical * _area_variance(area, positive, negative))

    lowest = brentq(excess, 0.5, 1.0 - 1e-9) if excess(0.5) > 0 else 0.5
    return Support(groups, 1.0 - float(lowest))


def _area_variance(area: float, positive: int, negative: int) -> float:
    """Variance of an area under the ROC curve, from exponential scores."""
    two_positive, two_negative = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area)
    spread += (positive - 1) * (two_positive - area**2) + (negative - 1) * (two_negative - area**2)
    return spread / (positive * negative)


def interval(point: float, replicates: Floats, freedom: float, support: Support) -> Interval | None:
    """Interval of a figure between 0 and 1.

    Args:
        point: the figure.
        replicates: float [b], NaN where a resample leaves it undefined.
        freedom: degrees of freedom, from `Resamples.freedom`.
        support: what the figure rests on.

    Returns:
        Lower and upper end; None where the figure is undefined, in half the resamples or more
        too, rests on one group, or is the same in every resample without being 0 or 1.
    """
    error = _standard_error(point, replicates, support.groups)
    if error is None or np.isnan(support.reach):
        return None
    if 0.0 < point < 1.0 and error < _NO_SPREAD:
        return None
    if point <= 0.0 or point >= 1.0:
        return (0.0, support.reach) if point <= 0.0 else (1.0 - support.reach, 1.0)
    half = _reach(error, max(freedom, LEAST_FREEDOM), support.groups)
    inverse_size = half**2 / (point * (1.0 - point))
    centre = (point + inverse_size / 2) / (1.0 + inverse_size)
    half = np.sqrt(half**2 + inverse_size**2 / 4) / (1.0 + inverse_size)
    return float(centre - half), float(centre + half)


@dataclass(frozen=True)
class Spread:
    """A figure with what its difference to another one follows from.

    Attributes:
        point: the figure.
        ends: its interval.
        replicates: float [b], in the same resamples as the other's.
        classes: what an average over classes is made of.
    """

    point: float
    ends: Interval | None
    replicates: Floats
    classes: Classes | None = None


def difference_interval(first: Spread, second: Spread) -> Interval | None:
    """Interval of `second - first`, two figures of the same images.

    From the figures' own intervals and their correlation over the resamples (Zou and Donner 2008,
    Statistics in Medicine 27, 1693-1702; for paired shares Newcombe's method 10, 1998). Where two
    classifiers err alike in every resample it does not shrink to nothing, as the bootstrap of the
    difference would: what tells them apart may be in lesions that are not there. Averages over
    classes differ as their classes do (`average_difference`).

    Args:
        first: of one classifier.
        second: of the other.

    Returns:
        Lower and upper end; None where a figure has no interval.
    """
    if first.ends is None or second.ends is None:
        return None
    if first.classes is not None and second.classes is not None:
        return average_difference(first.classes, second.classes)
    together = _correlation(first.replicates, second.replicates)
    change = second.point - first.point
    down = _joint(second.point - second.ends[0], first.ends[1] - first.point, together)
    up = _joint(second.ends[1] - second.point, first.point - first.ends[0], together)
    return change - down, change + up


def difference_error(first: Spread, second: Spread) -> float | None:
    """Standard error of `second - first` from lesions, paired resample by resample.

    That of averages over classes is at least what lesions that are not there may hide; that of
    other figures follows from `difference_interval`, which allows for them likewise.

    Args:
        first: of one classifier, or the mean of several.
        second: of the other, in the same resamples.

    Returns:
        None where a figure has no interval.
    """
    if first.ends is None or second.ends is None:
        return None
    if first.classes is not None and second.classes is not None:
        seen = float(np.nanstd(second.replicates - first.replicates))
        return max(seen, unseen_reach(first.classes, second.classes) / NORMAL_REACH)
    ends = difference_interval(first, second)
    return None if ends is None else (ends[1] - ends[0]) / 2 / NORMAL_REACH


def mean_spread(several: Sequence[Spread]) -> Spread:
    """Mean of a figure over permutations or seeds: figure, ends and replicates alike.

    The mean of the ends is a little wide, since several vary less together than each.

    Args:
        several: at least one, all in the same resamples.
    """
    if len(several) == 1:
        return several[0]
    ends = [one.ends for one in several if one.ends is not None]
    low, high = np.mean(ends, axis=0) if len(ends) == len(several) else (np.nan, np.nan)
    classes = [one.classes for one in several if one.classes is not None]
    return Spread(
        float(np.mean([one.point for one in several])),
        None if np.isnan(low) else (float(low), float(high)),
        np.mean([one.replicates for one in several], axis=0),
        _mean_classes(classes) if classes else None,
    )


def _mean_classes(several: Sequence[Classes]) -> Classes:
    """Mean of what an average over classes is made of."""
    return replace(
        several[0],
        points=np.mean([one.points for one in several], axis=0),
        replicates=np.mean([one.replicates for one in several], axis=0),
        freedom=np.mean([one.freedom for one in several], axis=0),
    )


def _correlation(a: Floats, b: Floats) -> float:
    """Correlation over the resamples that define both; 0 where one does not vary."""
    both = ~(np.isnan(a) | np.isnan(b))
    a, b = a[both], b[both]
    if not len(a) or np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return 0.0
    return float(np.clip(np.corrcoef(a, b)[0, 1], -1.0, 1.0))


def _joint(one: float, other: float, correlation: float) -> float:
    """How far a difference reaches whose two sides reach so far."""
    return float(np.sqrt(max(one**2 + other**2 - 2 * correlation * one * other, 0.0)))


def plain_interval(
    point: float, replicates: Floats, freedom: float, *, groups: int
) -> Interval | None:
    """Interval of a figure without bounds: Student's t.

    Args:
        point: the figure.
        replicates: float [b], NaN where undefined.
        freedom: degrees of freedom, from `Resamples.freedom`.
        groups: groups behind the figure.

    Returns:
        Lower and upper end; None as for `interval`.
    """
    error = _standard_error(point, replicates, groups)
    if error is None:
        return None
    half = _reach(error, freedom, groups)
    return point - half, point + half


def _standard_error(point: float, replicates: Floats, groups: int) -> float | None:
    defined = replicates[~np.isnan(replicates)]
    if np.isnan(point) or groups < 2 or len(defined) <= _LEAST_DEFINED * len(replicates):
        return None
    if len(defined) < 2:
        return None
    return float(defined.std())


def _reach(error: float, freedom: float, groups: int) -> float:
    """Half the width of a t interval; a bootstrap's standard error is a little too small."""
    degrees = min(float(freedom), groups - 1.0)
    return float(error * np.sqrt(1.0 + 1.0 / degrees) * stdtrit(degrees, 1.0 - _TAIL))


def count_groups(labels: NDArray[np.generic], members: NDArray[np.bool_]) -> int:
    """Number of groups that have a member.

    Args:
        labels: group of each row [n].
        members: bool [n].
    """
    return len(np.unique(labels[members]))
