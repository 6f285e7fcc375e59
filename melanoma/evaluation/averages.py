"""95 % intervals of averages over classes, and of their paired differences, from the classes.

Where a class makes no mistake in the sample, resampling sees no spread in it, and an average over
classes looks surer than the figures it is made of. Here each class counts as a share with an
effective number of lesions: the number that explains its spread over the resamples, drawn towards
the number of its lesions where few of them decide that spread. Where a class is perfect the number
of its lesions alone is left.

The interval holds every value of the average that the sample does not contradict: for each value,
the classes are given the shares that fit them best while averaging to it (a score interval of a
linear combination of shares; Martin Andres, Alvarez Hernandez and Herranz Tejedor, Statistical
Methods in Medicine 2011, 20, 679-698), and the average with the variance that they imply is tested
as a share of as many cases as that variance amounts to, by the exact binomial test (Clopper and
Pearson 1934; with effective numbers, Korn and Graubard, Survey Methodology 1998, 24, 193-201).
Nothing changes abruptly when a class gets its first error. Of the ways tried (Wilson's with the
bootstrap's error, MOVER from Wilson's or exact intervals, the score interval with a normal or mid-p
tail) it is the one that covers at least as often as it says with hardly an error as well as with
many, and the narrowest of those that do (tests/benchmarks/coverage_of_intervals.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import betainc

from melanoma.evaluation.ranking import Floats, divide

Interval = tuple[float, float]

LEVEL = 0.95
"""Coverage that all intervals aim at."""

_TAIL = (1.0 - LEVEL) / 2

_BORROWED = 2.0
"""Lesions at the average that every class borrows when the variance is asked for. The best-fitting
shares of classes with three lesions fit them too well: without it .91 are covered there, with 1
still .94, and with more than 2 all intervals widen for nothing (simulated)."""

_PRIOR_FREEDOM = 2.0
"""Degrees of freedom with which the number of a class's lesions counts beside its spread over the
resamples (a moderated variance; Smyth 2004, Statistical Applications in Genetics 3, 3)."""

_NO_SPREAD = 1e-9
"""Standard error that is rounding alone."""

_PULLS = (-12.0, 25.0)
"""Logarithms of the least and the strongest pull on the shares: beyond them nothing moves."""


@dataclass(frozen=True)
class Classes:
    """What an average over classes is made of.

    Attributes:
        points: float [k], each class's figure, from 0 to 1; NaN where undefined: left out.
        replicates: float [k, b], the same in every resample.
        freedom: float [k], degrees of freedom of each class's spread.
        sizes: float [k], effective number of the lesions that each figure rests on.
        groups: int [k], their number; a class of one lesion may be anywhere between 0 and 1.
        shares: the figures are shares of cases, whose variance is known but for how alike images
            of a lesion are; the variance of others is estimated, a little too small, from few.
    """

    points: Floats
    replicates: Floats
    freedom: Floats
    sizes: Floats
    groups: NDArray[np.int64]
    shares: bool

    @property
    def point(self) -> float:
        """The average over the classes that are defined; NaN without any."""
        defined = self.points[~np.isnan(self.points)]
        return float(defined.mean()) if len(defined) else float("nan")

    def over(self, chosen: NDArray[np.bool_]) -> Classes:
        """The average over some of the classes alone.

        Args:
            chosen: bool [k].
        """
        return replace(self, points=np.where(chosen, self.points, np.nan))


def effective_groups(
    groups: NDArray[np.int64], members: NDArray[np.bool_], weights: Floats | None = None
) -> float:
    """Effective number of groups behind a weighted share (Kish 1965): fewer if they differ in size.

    Args:
        groups: int [n], group of each row.
        members: bool [n], the rows that count.
        weights: float [n], of the rows; 1 each by default.

    Returns:
        (sum of the groups' weights)^2 / sum of their squares; 0 without weight.
    """
    own = members.astype(np.float64) if weights is None else members * weights
    mass = np.bincount(groups, weights=own) if len(groups) else np.zeros(0)
    square = float((mass**2).sum())
    return float(mass.sum() ** 2 / square) if square else 0.0


def ranking_size(reach: float) -> float:
    """Number of cases of which a perfect share would reach as far as a perfect ranking does.

    Args:
        reach: how far the interval reaches from an area of 1 (`intervals.of_ranking`).
    """
    return float(np.log(_TAIL) / np.log1p(-min(reach, 1.0 - 1e-9)))


def average_interval(classes: Classes) -> Interval | None:
    """Interval of an average over classes.

    Args:
        classes: what it is made of.

    Returns:
        Lower and upper end, from 0 to 1; None without resamples or a defined class, with less than
        two lesions in all, or where no class shows any spread though one lies between 0 and 1, as
        the ranking of a model that gives one answer to everything.
    """
    defined = ~np.isnan(classes.points)
    if not defined.any() or classes.replicates.shape[1] < 2 or classes.groups[defined].sum() < 2:
        return None
    points = np.clip(classes.points[defined], 0.0, 1.0)
    variances, together = _spread(classes.replicates[defined])
    still = variances < _NO_SPREAD**2
    if still.all() and ((points > 0.0) & (points < 1.0)).any():
        return None
    sizes = _effective_sizes(points, variances, classes, defined)
    known = classes.groups[defined] > 1
    down, up = _reaches(points[known], sizes[known], together) if known.any() else (0.0, 0.0)
    # The average of the known classes is a part of the whole like a class of one lesion.
    share, alone = known.mean(), points[~known] / len(points)
    down = float(np.hypot(share * down, np.sqrt((alone**2).sum())))
    up = float(np.hypot(share * up, np.sqrt(((1.0 / len(points) - alone) ** 2).sum())))
    middle = float(points.mean())
    return max(middle - down, 0.0), min(middle + up, 1.0)


def _spread(replicates: Floats) -> tuple[Floats, float]:
    """Each class's variance over the resamples, and how much more their sum varies than that.

    Args:
        replicates: float [k, b], NaN where undefined.

    Returns:
        float [k], 0 where undefined; and the ratio, 1 where the classes are independent.
    """
    deviations, variances = _deviations(replicates)
    alone = (deviations**2).sum()
    together = float((deviations.sum(axis=0) ** 2).sum() / alone) if alone > 0 else 1.0
    return variances, max(together, 0.5)


def _deviations(replicates: Floats) -> tuple[Floats, Floats]:
    """Deviations from each class's mean, 0 where undefined, and their variances: [k, b], [k]."""
    undefined = np.isnan(replicates)
    count = (~undefined).sum(axis=1)
    centre = divide(np.where(undefined, 0.0, replicates).sum(axis=1), count)
    deviations = np.where(undefined, 0.0, replicates - np.nan_to_num(centre)[:, None])
    return deviations, np.nan_to_num(divide((deviations**2).sum(axis=1), count))


def _effective_sizes(
    points: Floats, variances: Floats, classes: Classes, defined: NDArray[np.bool_]
) -> Floats:
    """Number of cases whose share would vary as each class's figure does."""
    freedom = np.where(variances < _NO_SPREAD**2, 0.0, classes.freedom[defined])
    freedom = np.minimum(freedom, np.maximum(classes.groups[defined] - 1.0, 0.0))
    if not classes.shares:
        variances = variances * (1.0 + 1.0 / np.maximum(freedom, 1.0))
    return moderated_sizes(points, variances, classes.sizes[defined], freedom)


def moderated_sizes(points: Floats, variances: Floats, sizes: Floats, freedom: Floats) -> Floats:
    """Number of independent cases whose share would vary as a figure does.

    Args:
        points: float [k], figures from 0 to 1.
        variances: float [k], seen among lesions.
        sizes: float [k], effective number of lesions, which has a say like `_PRIOR_FREEDOM`
            degrees of freedom, and the only one where a figure is 0 or 1.
        freedom: float [k], degrees of freedom of the variances.

    Returns:
        float [k], at least 1.
    """
    sizes = np.maximum(sizes, 1.0)
    binomial = points * (1.0 - points)
    moderated = _PRIOR_FREEDOM * binomial / sizes + freedom * variances
    moderated /= _PRIOR_FREEDOM + freedom
    found = np.divide(binomial, moderated, out=sizes.copy(), where=moderated > 0)
    return np.where(binomial > 0, np.maximum(found, 1.0), sizes)


def _reaches(points: Floats, sizes: Floats, together: float) -> tuple[float, float]:
    """How far below and above their average the interval reaches."""
    middle = float(points.mean())
    low = _least(points, sizes, together)
    high = 1.0 - _least(1.0 - points, sizes, together)
    return max(middle - low, 0.0), max(high - middle, 0.0)


def _least(points: Floats, sizes: Floats, together: float) -> float:
    """Least average of shares that the sample does not contradict.

    Args:
        points: float [k], shares seen.
        sizes: float [k], effective cases of each.
        together: variance of their sum over that of independent shares.
    """
    seen = float(points.mean())
    if seen <= 0.0:
        return 0.0
    borrowed = (sizes * points + _BORROWED * seen) / (sizes + _BORROWED)

    def excess(pull: float) -> float:
        shares = _best_shares(np.exp(pull), borrowed, sizes)
        value = float(shares.mean())
        if value >= seen:
            return 1.0
        spread = shares * (1.0 - shares) / sizes
        variance = together * float(spread.sum()) / len(points) ** 2
        cases = value * (1.0 - value) / max(variance, 1e-300)
        tail = float(betainc(cases * seen, cases * (1.0 - seen) + 1.0, value))
        # At least as likely as that all are perfect, which is no average's matter where classes
        # differ in size.
        perfect = np.exp(float((sizes * np.log(np.maximum(shares, 1e-300))).sum()) / together)
        return max(tail, float(perfect)) - _TAIL

    pull = _root(excess)
    return min(float(_best_shares(np.exp(pull), borrowed, sizes).mean()), seen)


def _root(excess: Callable[[float], float]) -> float:
    """Where the excess becomes negative, at the ends of `_PULLS` if it does not change its sign."""
    low, high = _PULLS
    if excess(low) <= 0.0:
        return low
    return float(brentq(excess, low, high, xtol=1e-7)) if excess(high) < 0.0 else high


def _best_shares(pull: float, points: Floats, sizes: Floats) -> Floats:
    """Likeliest shares whose average is lower: the stronger the pull, the lower.

    They solve size (seen - share) = pull share (1 - share), Lagrange's condition of the binomial
    likelihood with a given average.
    """
    linear = pull + sizes
    root = np.sqrt(np.maximum(linear**2 - 4.0 * pull * sizes * points, 0.0))
    shares: Floats = 2.0 * sizes * points / (linear + root)
    return shares


def average_difference(first: Classes, second: Classes) -> Interval | None:
    """Interval of `second - first`, averages over the same classes of the same images.

    From both intervals and the averages' correlation over the resamples (MOVER; Zou and Donner
    2008, Statistics in Medicine 27, 1693-1702). Two that are right and wrong in the same lesions
    may yet differ in others: the interval reaches at least as far as a perfect average's would.

    Args:
        first: of one classifier.
        second: of the other, in the same resamples.

    Returns:
        Lower and upper end, from -1 to 1; None where either average has no interval.
    """
    ends = average_interval(first), average_interval(second)
    if ends[0] is None or ends[1] is None:
        return None
    together = _correlation(first, second)
    unseen = unseen_reach(first, second)
    points = first.point, second.point
    below = points[1] - ends[1][0], ends[0][1] - points[0]
    above = ends[1][1] - points[1], points[0] - ends[0][0]
    down, up = (
        float(np.sqrt(max(a * a + b * b - 2 * together * a * b, unseen**2)))
        for a, b in (below, above)
    )
    change = points[1] - points[0]
    return max(change - down, -1.0), min(change + up, 1.0)


def unseen_reach(first: Classes, second: Classes) -> float:
    """How far two averages may be apart by lesions that are not there, however alike they are.

    Args:
        first: of one classifier.
        second: of the other, over the same classes of the same images.
    """
    return max(_unseen(first), _unseen(second))


def _unseen(classes: Classes) -> float:
    """How far the interval of the average would reach if every class were perfect."""
    defined = ~np.isnan(classes.points)
    known = classes.groups[defined] > 1
    sizes = np.maximum(classes.sizes[defined][known], 1.0)
    reach = 1.0 - _least(np.ones(len(sizes)), sizes, 1.0) if known.any() else 0.0
    return float(np.hypot(known.mean() * reach, np.sqrt((~known).sum()) / len(known)))


def _correlation(first: Classes, second: Classes) -> float:
    """Correlation of two averages over the resamples; 0 where one does not vary."""
    sums = [_deviations(classes.replicates)[0].sum(axis=0) for classes in (first, second)]
    scale = np.sqrt((sums[0] ** 2).sum() * (sums[1] ** 2).sum())
    return float(np.clip((sums[0] * sums[1]).sum() / scale, -1.0, 1.0)) if scale > 0 else 0.0
