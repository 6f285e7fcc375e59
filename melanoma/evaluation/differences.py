"""Differences between experiments that other lesions and other seeds would show again.

Two trainings that differ in nothing but their seeds differ by some tenths of a point to some
points (Bouthillier et al., "Accounting for variance in machine learning benchmarks", MLSys 2021):
an interval from lesions alone takes that for an effect. Here the difference of the mean over the
seeds has both variances, and a t interval with the degrees of freedom of Satterthwaite (Biometrics
Bulletin 1946, 2, 110-114).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from melanoma.evaluation.averages import LEVEL, Interval
from melanoma.evaluation.ranking import Floats


@dataclass(frozen=True)
class SeedVariance:
    """How much the seed moves a figure of single models.

    Attributes:
        variance: of the figure over seeds, in its squared unit.
        freedom: degrees of freedom of that estimate.
    """

    variance: float
    freedom: int


def seed_variance(figures: Sequence[Floats]) -> SeedVariance | None:
    """Variance over seeds around each experiment's own mean, pooled over all experiments.

    Two or three seeds of one experiment tell little of their spread; that of twelve experiments
    together is known well, if they do not differ in it.

    Args:
        figures: float [seeds] of each experiment; NaN where undefined.

    Returns:
        None where no experiment has two seeds with a figure.
    """
    defined = [values[~np.isnan(values)] for values in figures]
    several = [values for values in defined if len(values) > 1]
    freedom = sum(len(values) - 1 for values in several)
    if not freedom:
        return None
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in several)
    return SeedVariance(squares / freedom, freedom)


@dataclass(frozen=True)
class Difference:
    """A difference with what lesions and seeds make of it.

    Attributes:
        ends: its 95 % interval.
        p: two-sided; 0.05 where the interval just reaches zero.
    """

    ends: Interval
    p: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.ends[0] > 0.0 or self.ends[1] < 0.0


def difference_over_seeds(
    change: float, lesions: float, seeds: tuple[int, int], luck: SeedVariance
) -> Difference | None:
    """Interval and p of a difference of two experiments' means over their seeds.

    Its variance is that from lesions plus s^2 (1/k_a + 1/k_b), s^2 that of a seed. The degrees of
    freedom are Satterthwaite's, with infinite ones for the lesions' part. What a single model alone
    gets wrong among the lesions is in both parts: the interval is a little wide.

    Args:
        change: the difference.
        lesions: its standard error from paired resamples of lesions, the seeds as they are.
        seeds: number of seeds of either experiment, k_a and k_b.
        luck: of the seeds, from `seed_variance`.

    Returns:
        None where neither lesions nor seeds vary.
    """
    from_lesions = lesions**2
    from_seeds = luck.variance * (1 / seeds[0] + 1 / seeds[1])
    variance = from_lesions + from_seeds
    if not variance > 0.0:
        return None
    share = from_seeds / variance
    freedom = luck.freedom / share**2 if share > 0.0 else np.inf
    error = float(np.sqrt(variance))
    half = float(stdtrit(freedom, 0.5 + LEVEL / 2)) * error
    p = 2.0 * float(stdtr(freedom, -abs(change) / error))
    return Difference((change - half, change + half), p)


def holm(p: Floats) -> Floats:
    """Adjust p values of several comparisons, so that one is below a level by chance as rarely.

    Holm (Scandinavian Journal of Statistics 1979, 6, 65-70): the smallest counts as often as there
    are comparisons, the next once less, and so on; none is smaller than one before it.

    Args:
        p: float [n]; NaN is no comparison and stays.

    Returns:
        float [n], from 0 to 1.
    """
    adjusted = np.full(len(p), np.nan)
    defined = np.flatnonzero(~np.isnan(p))
    order = defined[np.argsort(p[defined], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted
