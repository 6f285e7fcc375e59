"""What an experiment's figures lose when metadata are hidden or permuted, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from melanoma.catalogue import read_catalogue
from melanoma.errors import InputError
from melanoma.evaluation import metrics
from melanoma.evaluation.bootstrap import Resamples, replicate_figures
from melanoma.evaluation.combine import join_folds
from melanoma.evaluation.intervals import plain_interval
from melanoma.evaluation.ranking import Floats
from melanoma.evaluation.tables import judge, probability_table
from melanoma.metadata_changes import AS_IT_IS, Changed

FIGURES = ("balanced_accuracy", "macro_auroc", "melanoma_auroc", "melanoma_sensitivity")

COLUMNS = (
    "subset",
    "change",
    "field",
    "figure",
    "value",
    "difference",
    "difference_low",
    "difference_high",
    "beyond_noise",
    "images",
)


def metadata_table(
    folds: Sequence[Path], catalogue: Path, subset: str, *, resamples: int, seed: int = 0
) -> pd.DataFrame:
    """Figures under every change of the metadata, and their paired differences to no change.

    Args:
        folds: each fold's predictions under changed metadata (`melanoma.metadata_changes`).
        catalogue: CSV of the images.
        subset: "test", or "val" where there is no test part.
        resamples: bootstrap resamples; 0 leaves the intervals out.
        seed: of the resamples.

    Returns:
        `COLUMNS`, a row a change, field and figure: the figure (of permutations the mean), its
        difference to the metadata as they are with its 95 % interval, and whether that leaves out
        zero (empty for the metadata as they are and without intervals).

    Raises:
        InputError: no fold, folds of other changes or images, or an image that the catalogue
            does not have.
    """
    tables = [Changed.read(path) for path in folds]
    if not tables:
        raise InputError("metadata: no predictions under changed metadata")
    keys = [(table.changes, table.fields) for table in tables]
    if len(set(keys)) > 1:
        raise InputError(f"{folds[0]}: not the changes of the other folds; predict again")
    images = read_catalogue(catalogue)
    points: dict[tuple[str, str], list[dict[str, float]]] = {}
    spreads: dict[tuple[str, str], dict[str, Floats]] = {}
    draws = count = None
    for number, key in enumerate(zip(*keys[0], strict=True)):
        joined = join_folds(
            subset, [probability_table(t.images, t.probabilities[number]) for t in tables]
        )
        judged = judge(joined, images)
        if draws is None:
            draws = Resamples.by_group(judged.groups.to_numpy(str), resamples, seed)
            count = len(judged.images)
        found = metrics.point_figures(judged.truth, judged.probabilities).headline
        points.setdefault(key, []).append({f: float(found[f][0]) for f in FIGURES})
        spread = replicate_figures(judged.truth, judged.probabilities, draws)
        if spread is not None:
            sums = spreads.setdefault(key, {f: np.zeros(resamples) for f in FIGURES})
            spreads[key] = {f: sums[f] + spread.headline[f] for f in FIGURES}
    assert draws is not None
    means = {
        key: {f: float(np.mean([point[f] for point in found])) for f in FIGURES}
        for key, found in points.items()
    }
    spreads = {
        key: {f: values[f] / len(points[key]) for f in FIGURES} for key, values in spreads.items()
    }
    return _table(subset, means, spreads, draws).assign(images=count)


def _table(
    subset: str,
    means: dict[tuple[str, str], dict[str, float]],
    spreads: dict[tuple[str, str], dict[str, Floats]],
    draws: Resamples,
) -> pd.DataFrame:
    """All rows; `means` and `spreads` by change and field, the metadata as they are first."""
    first = next(iter(means))
    rows: list[dict[str, object]] = []
    for (change, field), values in means.items():
        changes = {f: v - spreads[first][f] for f, v in spreads.get((change, field), {}).items()}
        freedom = draws.freedom(changes)
        for f in FIGURES:
            row: dict[str, object] = {"subset": subset, "change": change, "field": field}
            row |= {"figure": f, "value": values[f]}
            if change != AS_IT_IS:
                difference = values[f] - means[first][f]
                row["difference"] = difference
                ends = changes and plain_interval(
                    difference, changes[f], float(freedom[f]), groups=draws.size
                )
                if ends:
                    row["difference_low"], row["difference_high"] = ends
                    row["beyond_noise"] = ends[0] > 0 or ends[1] < 0
            rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))
