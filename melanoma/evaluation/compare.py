"""Experiments side by side, and which of their differences are more than noise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from melanoma.catalogue import read_catalogue
from melanoma.errors import InputError
from melanoma.evaluation.averages import Interval
from melanoma.evaluation.bootstrap import Resamples, headline_spreads
from melanoma.evaluation.intervals import Spread, difference_interval
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
    found = {name: figure_spreads(other, draws) for name, other in judged.items()}
    first = next(iter(judged))
    rows: list[dict[str, object]] = []
    for name, spreads in found.items():
        for figure in FIGURES:
            own = spreads[figure]
            row: dict[str, object] = {"experiment": name, "subset": subset, "figure": figure}
            row |= {"images": len(judged[name].images), "value": own.point}
            row |= _ends(("low", "high"), own.ends)
            if name != first:
                row |= difference_columns(found[first][figure], own)
            rows.append(row)
    return rows


def figure_spreads(judged: Judged, draws: Resamples) -> dict[str, Spread]:
    """Headline figures with their intervals and replicates (empty without resamples)."""
    return headline_spreads(judged.truth, judged.probabilities, draws)


def _ends(names: tuple[str, str], ends: Interval | None) -> dict[str, object]:
    return dict(zip(names, ends or (np.nan, np.nan), strict=True))


def difference_columns(first: Spread, second: Spread) -> dict[str, object]:
    """Columns of a difference, paired resample by resample."""
    ends = difference_interval(first, second)
    row: dict[str, object] = {"difference": second.point - first.point}
    row |= _ends(("difference_low", "difference_high"), ends)
    row["beyond_noise"] = (ends[0] > 0 or ends[1] < 0) if ends else None
    return row
