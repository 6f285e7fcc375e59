"""Experiments side by side, and which of their differences are more than noise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from melanoma.catalogue import read_catalogue
from melanoma.errors import InputError
from melanoma.evaluation import metrics
from melanoma.evaluation.bootstrap import Resamples, replicate_figures, supports_of
from melanoma.evaluation.intervals import Interval, interval, plain_interval
from melanoma.evaluation.ranking import Floats
from melanoma.evaluation.tables import Judged, judge, read_predictions

FIGURES = (
    "balanced_accuracy",
    "accuracy",
    "macro_f1",
    "weighted_f1",
    "macro_auroc",
    "melanoma_auroc",
    "melanoma_sensitivity",
)

COLUMNS = (
    "experiment",
    "subset",
    "figure",
    "value",
    "low",
    "high",
    "difference",
    "difference_low",
    "difference_high",
    "beyond_noise",
    "images",
)


def compare(
    predictions: Mapping[str, Path],
    catalogue: Path,
    subset: str,
    *,
    resamples: int,
    seed: int = 0,
) -> pd.DataFrame:
    """Figures of every experiment, and their paired differences to the first.

    Every resample draws the same lesions for all experiments: what makes a lesion hard for all
    of them cancels out of the difference.

    Args:
        predictions: experiment -> combined raw predictions of one subset; the first is the one
            that the others are compared with.
        catalogue: CSV of the images.
        subset: "test", or "val" where there is no test part.
        resamples: bootstrap resamples; 0 leaves the intervals out.
        seed: of the resamples.

    Returns:
        `COLUMNS`, a row an experiment and figure: the figure with its 95 % interval, its
        difference to the first experiment with its own, and whether that interval leaves out
        zero (empty for the first experiment and without intervals).

    Raises:
        InputError: no experiment, or experiments that judge different images.
    """
    images = read_catalogue(catalogue)
    judged = {name: judge(read_predictions(path), images) for name, path in predictions.items()}
    if not judged:
        raise InputError("comparison: no experiment to compare")
    first = next(iter(judged))
    for name, other in judged.items():
        odd = set(judged[first].images) ^ set(other.images)
        if odd:
            raise InputError(
                f"{predictions[name]}: image {min(odd)} is judged in only one of {first} and "
                f"{name}; run both on the present splits"
            )
    draws = Resamples.by_group(judged[first].groups.to_numpy(str), resamples, seed)
    rows = _rows(judged, draws, subset)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(judged: Mapping[str, Judged], draws: Resamples, subset: str) -> list[dict[str, object]]:
    first = next(iter(judged))
    point, spread, supports = {}, {}, {}
    for name, other in judged.items():
        found = metrics.point_figures(other.truth, other.probabilities).headline
        point[name] = {figure: float(found[figure][0]) for figure in FIGURES}
        replicated = replicate_figures(other.truth, other.probabilities, draws)
        spread[name] = {f: replicated.headline[f] for f in FIGURES} if replicated else {}
        supports[name], _ = supports_of(other.truth, other.probabilities, draws.groups)
    rows: list[dict[str, object]] = []
    for name in judged:
        changes = {f: values - spread[first][f] for f, values in spread[name].items()}
        freedom, change_freedom = draws.freedom(spread[name]), draws.freedom(changes)
        for f in FIGURES:
            row: dict[str, object] = {"experiment": name, "subset": subset, "figure": f}
            row |= {"images": len(judged[name].images), "value": point[name][f]}
            if spread[name]:
                row |= _ends(
                    ("low", "high"),
                    interval(point[name][f], spread[name][f], float(freedom[f]), supports[name][f]),
                )
            if name != first:
                row |= _difference(
                    point[name][f] - point[first][f],
                    changes.get(f),
                    float(change_freedom.get(f, np.array(np.nan))),
                    supports[name][f].groups,
                )
            rows.append(row)
    return rows


def _ends(names: tuple[str, str], ends: Interval | None) -> dict[str, object]:
    return dict(zip(names, ends or (np.nan, np.nan), strict=True))


def _difference(
    change: float, draws: Floats | None, freedom: float, groups: int
) -> dict[str, object]:
    """Columns of a difference, paired resample by resample."""
    row: dict[str, object] = {"difference": change}
    ends = None if draws is None else plain_interval(change, draws, freedom, groups=groups)
    row |= _ends(("difference_low", "difference_high"), ends)
    row["beyond_noise"] = (ends[0] > 0 or ends[1] < 0) if ends else None
    return row
