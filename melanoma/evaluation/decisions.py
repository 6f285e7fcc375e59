"""What the melanoma probability is worth at fixed thresholds: never chosen on these images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.evaluation.bootstrap import Resamples, interval_ends
from melanoma.evaluation.intervals import Support, count_groups, of_cases, plain_interval
from melanoma.evaluation.operating_points import OperatingPoint
from melanoma.evaluation.ranking import Floats, divide

FIGURES = ("sensitivity", "specificity", "ppv", "npv")

PREVALENCES = (0.01, 0.05, 0.10, 0.20)
"""Shares of melanoma among the lesions examined, from screening to a specialised clinic."""

BENEFIT_PREVALENCES = (0.02, 0.05, 0.10, 0.20)
"""Shares of melanoma at which net benefit is given beside the data's own, likewise."""

THRESHOLDS = tuple(round(0.01 * step, 2) for step in range(1, 61))
"""Threshold probabilities of the decision curve."""


def table_columns(figures: Sequence[str]) -> list[str]:
    """Column names of figures with the ends of their intervals."""
    return [name for figure in figures for name in (figure, f"{figure}_low", f"{figure}_high")]


def points_table(
    melanoma: NDArray[np.bool_],
    probability: Floats,
    points: Mapping[str, OperatingPoint],
    resamples: Resamples,
    *,
    thresholds: Floats | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Operating points as they do on these images.

    Args:
        melanoma: bool [n].
        probability: float [n], calibrated.
        points: chosen on validation.
        resamples: of the same rows.
        thresholds: float [n, points], where not every image is held against the point's own.

    Returns:
        One row a point: point, goal, target, threshold, images, melanomas, then sensitivity,
        specificity, ppv, npv at the subset's own prevalence with _low and _high (95 %); and one
        row a point and prevalence: point, prevalence, ppv, npv with _low and _high.
    """
    own = np.array([point.threshold for point in points.values()])
    cuts = np.broadcast_to(own if thresholds is None else thresholds, (len(melanoma), len(own)))

    def figures(weights: NDArray[np.floating]) -> dict[str, Floats]:
        return _figures(*_counts(melanoma, probability, cuts, weights))

    found = {n: values[:, 0] for n, values in figures(np.ones((len(melanoma), 1))).items()}
    spread = resamples.replicate(figures)
    supports = _supports(melanoma, probability, cuts, resamples)
    ends = interval_ends(found, spread, resamples, supports)
    reached = pd.DataFrame(
        {
            "point": list(points),
            "goal": [point.goal for point in points.values()],
            "target": [point.target for point in points.values()],
            "threshold": own,
            "images": len(melanoma),
            "melanomas": int(melanoma.sum()),
        }
    )
    predictive = []
    for prevalence in PREVALENCES:
        values = _predictive_values(found, prevalence)
        draws = _predictive_values(spread, prevalence) if spread else {}
        rests_on = _predictive_supports(values, ends, supports, prevalence)
        table = pd.DataFrame({"point": list(points), "prevalence": prevalence})
        predictive.append(
            _with_intervals(table, values, interval_ends(values, draws, resamples, rests_on))
        )
    return _with_intervals(reached, found, ends), pd.concat(predictive, ignore_index=True)


def _with_intervals(
    table: pd.DataFrame,
    values: Mapping[str, Floats],
    ends: Mapping[str, tuple[Floats, Floats]],
) -> pd.DataFrame:
    """The table with a column for each figure and for the ends of its interval."""
    columns = {}
    for name, figure in values.items():
        columns[name] = figure
        columns[f"{name}_low"], columns[f"{name}_high"] = ends[name]
    return table.assign(**columns)


def _supports(
    melanoma: NDArray[np.bool_], probability: Floats, thresholds: Floats, resamples: Resamples
) -> dict[str, list[Support]]:
    """What each of `FIGURES` rests on, at each threshold, float [n, t]."""

    def at_each(members: Callable[[Floats], NDArray[np.bool_]]) -> list[Support]:
        counts = [count_groups(resamples.groups, members(cut)) for cut in thresholds.T]
        return [of_cases(count) for count in counts]

    return {
        "sensitivity": at_each(lambda _cut: melanoma),
        "specificity": at_each(lambda _cut: ~melanoma),
        "ppv": at_each(lambda cut: probability >= cut),
        "npv": at_each(lambda cut: probability < cut),
    }


def _predictive_supports(
    values: Mapping[str, Floats],
    ends: Mapping[str, tuple[Floats, Floats]],
    supports: Mapping[str, Sequence[Support]],
    prevalence: float,
) -> dict[str, list[Support]]:
    """What predictive values at a prevalence rest on: both sensitivity and specificity.

    Where one is 0 or 1 its interval reaches as far as both ends of theirs take it.
    """
    sides = ("sensitivity", "specificity")
    low, high = (
        _predictive_values({side: ends[side][k] for side in sides}, prevalence) for k in (0, 1)
    )
    groups = [min(a.groups, b.groups) for a, b in zip(*(supports[s] for s in sides), strict=True)]
    return {
        name: [
            Support(count, float(reach))
            for count, reach in zip(
                groups, np.where(value >= 1.0, 1.0 - low[name], high[name]), strict=True
            )
        ]
        for name, value in values.items()
    }


def _counts(
    melanoma: NDArray[np.bool_],
    probability: Floats,
    thresholds: Floats,
    weights: NDArray[np.floating],
) -> tuple[Floats, Floats, Floats, Floats]:
    """Weight of hits and of false alarms [t, b], of melanomas and of others [b].

    Thresholds are one a column [t], or one an image and column [n, t].
    """
    called = (probability[:, None] >= thresholds).astype(weights.dtype)
    hits = called[melanoma].T @ weights[melanoma]
    alarms = called[~melanoma].T @ weights[~melanoma]
    return (
        hits.astype(np.float64),
        alarms.astype(np.float64),
        weights[melanoma].sum(axis=0, dtype=np.float64),
        weights[~melanoma].sum(axis=0, dtype=np.float64),
    )


def _figures(hits: Floats, alarms: Floats, melanomas: Floats, others: Floats) -> dict[str, Floats]:
    missed, cleared = melanomas - hits, others - alarms
    return {
        "sensitivity": divide(hits, melanomas),
        "specificity": divide(cleared, others),
        "ppv": divide(hits, hits + alarms),
        "npv": divide(cleared, cleared + missed),
    }


def _predictive_values(values: Mapping[str, Floats], prevalence: float) -> dict[str, Floats]:
    """PPV and NPV that a sensitivity and a specificity give at a prevalence (Bayes)."""
    sensitivity, specificity = values["sensitivity"], values["specificity"]
    hits, alarms = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    missed, cleared = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
    return {"ppv": divide(hits, hits + alarms), "npv": divide(cleared, cleared + missed)}


def decision_curve(
    melanoma: NDArray[np.bool_], probability: Floats, resamples: Resamples
) -> pd.DataFrame:
    """Net benefit of acting on the model (Vickers and Elkin 2006).

    At another prevalence the same sensitivity and specificity are weighed by it, as is done for
    case-control data (Pfeiffer and Gail 2020, "Estimating the decision curve and its precision from
    three study designs", Biometrical Journal 62); probabilities stay as they are.

    Args:
        melanoma: bool [n].
        probability: float [n], calibrated.
        resamples: of the same rows.

    Returns:
        threshold, model, model_low, model_high (95 %), all (everyone is treated); and the same
        columns with the suffix of `at_prevalence` for each of `BENEFIT_PREVALENCES`, the first
        being at the data's own. Treating no one has net benefit 0. In true positives per image;
        empty without rows.
    """
    thresholds = np.array(THRESHOLDS)
    odds = (thresholds / (1 - thresholds))[:, None]

    def benefit(weights: NDArray[np.floating]) -> dict[str, Floats]:
        hits, alarms, melanomas, others = _counts(melanoma, probability, thresholds, weights)
        found = {"": divide(hits - alarms * odds, melanomas + others)}
        hit, alarm = divide(hits, melanomas), divide(alarms, others)
        for share in BENEFIT_PREVALENCES:
            found[at_prevalence(share)] = hit * share - alarm * (1 - share) * odds
        return found

    point = benefit(np.ones((len(melanoma), 1)))
    draws = resamples.replicate(benefit)
    groups = min(count_groups(resamples.groups, side) for side in (melanoma, ~melanoma))
    ends = _plain_ends(point, draws, resamples, groups)
    own = float(melanoma.mean()) if len(melanoma) else np.nan
    shares = {"": own, **{at_prevalence(share): share for share in BENEFIT_PREVALENCES}}
    columns = {"threshold": thresholds}
    for suffix, share in shares.items():
        columns[f"model{suffix}"] = point[suffix][:, 0]
        columns[f"model{suffix}_low"], columns[f"model{suffix}_high"] = ends[suffix]
        columns[f"all{suffix}"] = share - (1 - share) * odds[:, 0]
    return pd.DataFrame(columns)


def at_prevalence(share: float) -> str:
    """Suffix of the columns at a prevalence, e.g. "_at_5_percent"."""
    return f"_at_{100 * share:g}_percent"


def _plain_ends(
    values: Mapping[str, Floats], draws: Mapping[str, Floats], resamples: Resamples, groups: int
) -> dict[str, Floats]:
    """Ends of the intervals of net benefits, float [2, t]; NaN where there is none."""
    found = {name: np.full((2, len(value)), np.nan) for name, value in values.items()}
    freedom = resamples.freedom(draws)
    for name in draws:
        for k, (value,) in enumerate(values[name]):
            ends = plain_interval(value, draws[name][k], freedom[name][k], groups=groups)
            found[name][:, k] = ends or np.nan
    return found
