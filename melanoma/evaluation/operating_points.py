"""Thresholds on the melanoma probability, chosen where the truth may be looked at: validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from melanoma.evaluation.ranking import Floats

Goal = Literal["sensitivity", "specificity"]

TARGETS = (0.80, 0.90, 0.95)

DEFAULT = "sensitivity_90"
"""The point named as default: a missed melanoma costs more than a needless excision."""

_ROUNDING = 1e-9
"""Of sums of shares of lesions, and of products like 20 * 0.95."""

_LESIONS = {"sensitivity": "melanoma", "specificity": "other"}
"""Which lesions a goal is counted on."""


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and what it reached where it was chosen.

    Attributes:
        goal: the figure that must reach the target.
        target: its least value, for a new image of a new lesion, on average.
        threshold: a probability of at least this calls melanoma.
        sensitivity: on the images it was chosen on.
        specificity: on the images it was chosen on.
        lesions: how many it was chosen on: melanoma lesions for sensitivity, others for
            specificity.
        right: how many of them it had to get right.
    """

    goal: Goal
    target: float
    threshold: float
    sensitivity: float
    specificity: float
    lesions: int
    right: int

    @property
    def name(self) -> str:
        """E.g. "sensitivity_90"."""
        return point_name(self.goal, self.target)

    def to_dict(self) -> dict[str, Any]:
        """Its attributes, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> OperatingPoint:
        """The point that `to_dict` described; further keys are left out."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__})


def point_name(goal: str, target: float) -> str:
    """Name of a point, e.g. "sensitivity_90"."""
    return f"{goal}_{round(100 * target)}"


def needed(lesions: int, target: float) -> int:
    """How many of some lesions a threshold must get right to reach a target on a further one.

    A further lesion is as likely to come in any place among those that the threshold is chosen on,
    so ceil((lesions + 1) * target) of them hold the target on average (Vovk, Gammerman and Shafer
    2005, "Algorithmic learning in a random world").

    Args:
        lesions: how many the threshold is chosen on.
        target: 0 to 1.

    Returns:
        More than `lesions` where they are too few for any threshold.
    """
    return math.ceil((lesions + 1) * target - _ROUNDING)


def least_lesions(target: float) -> int:
    """The fewest lesions that a target can be held with: 4 for 80, 9 for 90, 19 for 95 %."""
    return math.ceil(target / (1.0 - target) - _ROUNDING)


def choose_points(
    melanoma: NDArray[np.bool_],
    probability: Floats,
    groups: Sequence[str] | NDArray[np.str_] | None = None,
) -> dict[str, OperatingPoint]:
    """The threshold of each goal and target that costs least of the other figure.

    A lesion with several images counts once, each image for its share of it, which holds the target
    for an image of a new lesion (Lee, Barber and Willett 2023, "Distribution-free inference with
    hierarchical data", arXiv:2306.06342). Thresholds lie half-way between two neighbouring
    probabilities, so that the last digit of a stored number decides nothing.

    Args:
        melanoma: bool [n].
        probability: float [n], calibrated.
        groups: text [n], the lesion of each image; None where each is of another lesion.

    Returns:
        Name -> point. Without those that the lesions are too few for (`absent_points` says why);
        empty where there is no melanoma or nothing else to choose on.
    """
    if melanoma.all() or not melanoma.any():
        return {}
    lesions = np.arange(len(melanoma)) if groups is None else np.asarray(groups)
    levels = np.unique(probability)
    cuts = np.r_[0.0, (levels[1:] + levels[:-1]) / 2, 1.0 + 1e-9]
    sensitivity = 1.0 - _share_below(cuts, probability[melanoma])
    specificity = _share_below(cuts, probability[~melanoma])
    points = {}
    sides: tuple[tuple[Goal, NDArray[np.bool_]], ...] = (
        ("sensitivity", melanoma),
        ("specificity", ~melanoma),
    )
    for goal, side in sides:
        below, count = _lesions_below(cuts, probability[side], lesions[side])
        right = count - below if goal == "sensitivity" else below
        for target in TARGETS:
            wanted = needed(count, target)
            fits = np.flatnonzero(right >= wanted - _ROUNDING)
            if wanted > count:
                continue
            best = int(fits[-1] if goal == "sensitivity" else fits[0])
            figures = float(cuts[best]), float(sensitivity[best]), float(specificity[best])
            point = OperatingPoint(goal, target, *figures, count, wanted)
            points[point.name] = point
    return points


def absent_points(melanoma_lesions: int, other_lesions: int) -> dict[str, str]:
    """Why there is no operating point of a name, for people.

    Args:
        melanoma_lesions: on which points would be chosen.
        other_lesions: likewise.

    Returns:
        Name -> reason; of the points that `choose_points` leaves out.
    """
    if not (melanoma_lesions and other_lesions):
        which = "melanoma" if not melanoma_lesions else "lesion that is no melanoma"
        reason = f"validation has no {which} to choose a threshold on"
        return {point_name(goal, target): reason for goal in get_args(Goal) for target in TARGETS}
    counts = {"sensitivity": melanoma_lesions, "specificity": other_lesions}
    return {
        point_name(goal, target): (
            f"{100 * target:.0f} % {goal} takes at least {least_lesions(target)} {_LESIONS[goal]} "
            f"lesions in validation to choose a threshold on; there are {count}"
        )
        for goal, count in counts.items()
        for target in TARGETS
        if needed(count, target) > count
    }


def _share_below(cuts: Floats, values: Floats) -> Floats:
    """Share of the values below each cut."""
    shares: Floats = np.searchsorted(np.sort(values), cuts) / len(values)
    return shares


def _lesions_below(cuts: Floats, values: Floats, lesions: NDArray[Any]) -> tuple[Floats, int]:
    """Lesions below each cut, an image counting for its share of its lesion; and all lesions."""
    _, lesion, images = np.unique(lesions, return_inverse=True, return_counts=True)
    order = np.argsort(values, kind="stable")
    sums = np.r_[0.0, np.cumsum(1.0 / images[lesion[order]])]
    below: Floats = sums[np.searchsorted(values[order], cuts)]
    return below, len(images)
