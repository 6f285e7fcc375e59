"""Thresholds on the melanoma probability, chosen where the truth may be looked at: validation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from melanoma.evaluation.ranking import Floats

Goal = Literal["sensitivity", "specificity"]

TARGETS = (0.80, 0.90, 0.95)

DEFAULT = "sensitivity_90"
"""The point named as default: a missed melanoma costs more than a needless excision."""


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and what it reached where it was chosen.

    Attributes:
        goal: the figure that must reach the target.
        target: its least value.
        threshold: a probability of at least this calls melanoma.
        sensitivity: on the images it was chosen on.
        specificity: on the images it was chosen on.
    """

    goal: Goal
    target: float
    threshold: float
    sensitivity: float
    specificity: float

    @property
    def name(self) -> str:
        """E.g. "sensitivity_90"."""
        return f"{self.goal}_{round(100 * self.target)}"

    def to_dict(self) -> dict[str, Any]:
        """Its attributes, for JSON."""
        return asdict(self)


def choose_points(melanoma: NDArray[np.bool_], probability: Floats) -> dict[str, OperatingPoint]:
    """The threshold of each goal and target that costs least of the other figure.

    Thresholds lie half-way between two neighbouring probabilities, so that the last digit of a
    stored number decides nothing.

    Args:
        melanoma: bool [n].
        probability: float [n], calibrated.

    Returns:
        Name -> point; empty where there is no melanoma or nothing else to choose on.
    """
    if melanoma.all() or not melanoma.any():
        return {}
    levels = np.unique(probability)
    cuts = np.r_[0.0, (levels[1:] + levels[:-1]) / 2, 1.0 + 1e-9]
    sensitivity = 1.0 - _share_below(cuts, probability[melanoma])
    specificity = _share_below(cuts, probability[~melanoma])
    points = {}
    goals: tuple[tuple[Goal, Floats], ...] = (
        ("sensitivity", sensitivity),
        ("specificity", specificity),
    )
    for goal, reached in goals:
        for target in TARGETS:
            fits = np.flatnonzero(reached >= target - 1e-12)
            best = int(fits[-1] if goal == "sensitivity" else fits[0])
            point = OperatingPoint(
                goal,
                target,
                float(cuts[best]),
                float(sensitivity[best]),
                float(specificity[best]),
            )
            points[point.name] = point
    return points


def _share_below(cuts: Floats, values: Floats) -> Floats:
    """Share of the values below each cut."""
    shares: Floats = np.searchsorted(np.sort(values), cuts) / len(values)
    return shares
