"""Experiments side by side, and which of their differences other seeds would show again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from melanoma.catalogue import read_catalogue
from melanoma.errors import InputError
from melanoma.evaluation.averages import Interval
from melanoma.evaluation.bootstrap import Resamples, headline_spreads
from melanoma.evaluation.differences import difference_over_seeds, holm, seed_variance
from melanoma.evaluation.intervals import Spread, difference_error, difference_interval, mean_spread
from melanoma.evaluation.tables import Judged, judge, read_predictions

PRIMARY = "balanced_accuracy"
"""The figure that experiments are compared by; others are told beside it, and not tested."""

FIGURES = (
    PRIMARY,
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
    "seeds",
    "single_model",
    "seed_deviation",
    "difference",
    "difference_low",
    "difference_high",
    "interval_excludes_zero",
    "p",
    "p_holm",
    "images",
)

Spreads = Mapping[str, Spread]
"""Headline figure -> figure with what its differences follow from."""


def compare(
    predictions: Mapping[str, Path],
    catalogue: Path,
    subset: str,
    *,
    resamples: int,
    seed: int = 0,
    singles: Mapping[str, Sequence[pd.DataFrame]] | None = None,
) -> pd.DataFrame:
    """Figures of every experiment, and their paired differences to the first.

    Every resample draws the same lesions for all experiments: what makes a lesion hard for all
    of them cancels out of the difference. Where experiments are trained with several seeds, a
    difference is that of single models (one seed's models of all folds), averaged over the seeds,
    and its interval holds the luck of the seeds too. With one seed for all it is that of the
    predictions, its interval tells of lesions alone, and nothing is said to be an effect.

    Args:
        predictions: experiment -> combined raw predictions of one subset; the first is the one
            that the others are compared with.
        catalogue: CSV of the images.
        subset: "test", or "val" where there is no test part.
        resamples: bootstrap resamples; 0 leaves the intervals out.
        seed: of the resamples.
        singles: experiment -> predictions of each seed's models; those that are left out have one
            seed, whose predictions are the combined ones.

    Returns:
        `COLUMNS`, a row an experiment and figure: the figure of the combined predictions with its
        95 % interval; number of seeds; mean of the figure over the single models and its standard
        deviation over the seeds (empty where all have one seed); difference to the first
        experiment, its interval, whether that leaves out zero (empty where all have one seed),
        and for `PRIMARY` its p value and that after Holm's correction for all experiments.

    Raises:
        InputError: no experiment, or experiments that judge different images.
    """
    images = read_catalogue(catalogue)
    judged = {name: judge(read_predictions(path), images) for name, path in predictions.items()}
    if not judged:
        raise InputError("comparison: no experiment to compare")
    each = {
        name: [judge(table, images) for table in (singles or {}).get(name, ())] for name in judged
    }
    _refuse_other_images(predictions, judged, each)
    first = next(iter(judged))
    draws = Resamples.by_group(judged[first].groups.to_numpy(str), resamples, seed)
    whole = {name: figure_spreads(other, draws) for name, other in judged.items()}
    models: dict[str, list[dict[str, Spread]]] = {
        name: [figure_spreads(one, draws) for one in each[name]] or [whole[name]] for name in judged
    }
    rows = _value_rows(whole, models)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["subset"], table["images"] = subset, len(judged[first].images)
    tested = table["p"].notna()
    table.loc[tested, "p_holm"] = holm(table.loc[tested, "p"].to_numpy(np.float64))
    return table


def _refuse_other_images(
    predictions: Mapping[str, Path],
    judged: Mapping[str, Judged],
    each: Mapping[str, Sequence[Judged]],
) -> None:
    first = next(iter(judged))
    known = set(judged[first].images)
    for name, other in judged.items():
        if odd := known ^ set(other.images):
            raise InputError(
                f"{predictions[name]}: image {min(odd)} is judged in only one of {first} and "
                f"{name}; run both on the present splits"
            )
        for number, one in enumerate(each[name]):
            if odd := known ^ set(one.images):
                raise InputError(
                    f"{name}, seed number {number}: image {min(odd)} is in only one of its own and "
                    "the combined predictions; predict again with the present splits"
                )


def _value_rows(
    whole: Mapping[str, Spreads], models: Mapping[str, Sequence[Spreads]]
) -> list[dict[str, object]]:
    """Rows by experiment and figure, but for what all rows together decide."""
    first = next(iter(whole))
    rows: list[dict[str, object]] = []
    for name, spreads in whole.items():
        for figure in FIGURES:
            own = spreads[figure]
            row: dict[str, object] = {"experiment": name, "figure": figure, "value": own.point}
            row |= _ends(("low", "high"), own.ends)
            of_figure = {n: [one[figure] for one in several] for n, several in models.items()}
            row |= _seed_columns(of_figure, name)
            if name != first:
                row |= seed_difference_columns(of_figure, first, name, tested=figure == PRIMARY)
            rows.append(row)
    return rows


def _seed_columns(models: Mapping[str, Sequence[Spread]], name: str) -> dict[str, object]:
    """What the single models of one experiment come to."""
    values = np.array([one.point for one in models[name]])
    row: dict[str, object] = {"seeds": len(values)}
    if max(map(len, models.values())) > 1:
        row["single_model"] = float(values.mean())
    if len(values) > 1:
        row["seed_deviation"] = float(values.std(ddof=1))
    return row


def seed_difference_columns(
    models: Mapping[str, Sequence[Spread]], first: str, name: str, *, tested: bool
) -> dict[str, object]:
    """Columns of an experiment's difference to the first one, lesions and seeds counted.

    Args:
        models: a figure of each experiment's single models, all in the same resamples.
        first: the experiment that is compared with.
        name: the other one.
        tested: whether to give p.
    """
    pair = mean_spread(models[first]), mean_spread(models[name])
    change, lesions = pair[1].point - pair[0].point, difference_error(*pair)
    luck = seed_variance([np.array([one.point for one in own]) for own in models.values()])
    row: dict[str, object] = {"difference": change}
    ends = ("difference_low", "difference_high")
    if luck is None or lesions is None:
        # What lesions alone say is no effect yet: nothing is marked.
        return row | _ends(ends, difference_interval(*pair))
    seeds = len(models[first]), len(models[name])
    found = difference_over_seeds(change, lesions, seeds, luck)
    if found is None:
        return row
    row |= _ends(ends, found.ends)
    row["interval_excludes_zero"] = found.excludes_zero
    return row | ({"p": found.p} if tested else {})


def figure_spreads(judged: Judged, draws: Resamples) -> dict[str, Spread]:
    """Headline figures with their intervals and replicates (empty without resamples)."""
    return headline_spreads(judged.truth, judged.probabilities, draws)


def _ends(names: tuple[str, str], ends: Interval | None) -> dict[str, object]:
    return dict(zip(names, ends or (np.nan, np.nan), strict=True))


def difference_columns(first: Spread, second: Spread) -> dict[str, object]:
    """Columns of a difference, paired resample by resample; its interval is that of lesions alone.

    Args:
        first: a figure of one classifier.
        second: the same of another, in the same resamples.
    """
    ends = difference_interval(first, second)
    row: dict[str, object] = {"difference": second.point - first.point}
    row |= _ends(("difference_low", "difference_high"), ends)
    row["interval_excludes_zero"] = (ends[0] > 0 or ends[1] < 0) if ends else None
    return row
