"""What an experiment's figures lose when metadata are hidden or permuted, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from melanoma.catalogue import read_catalogue
from melanoma.errors import InputError
from melanoma.evaluation.bootstrap import Resamples
from melanoma.evaluation.combine import join_folds
from melanoma.evaluation.compare import difference_columns, figure_spreads
from melanoma.evaluation.intervals import Spread, mean_spread
from melanoma.evaluation.tables import judge, probability_table
from melanoma.metadata_changes import AS_IT_IS, Changed
from melanoma.seeds import Run

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
    "interval_excludes_zero",
    "images",
)


def metadata_table(
    files: Sequence[Path],
    catalogue: Path,
    subset: str,
    *,
    resamples: int,
    seed: int = 0,
    runs: Sequence[Run] | None = None,
) -> pd.DataFrame:
    """Figures under every change of the metadata, and their paired differences to no change.

    Args:
        files: each model's predictions under changed metadata (`melanoma.metadata_changes`).
        catalogue: CSV of the images.
        subset: "test", or "val" where there is no test part.
        resamples: bootstrap resamples; 0 leaves the intervals out.
        seed: of the resamples.
        runs: fold and seed of each model, as for `join_folds`.

    Returns:
        `COLUMNS`, a row a change, field and figure: the figure (of permutations the mean), its
        difference to the metadata as they are with its 95 % interval, and whether that leaves out
        zero (empty for the metadata as they are and without intervals).

    Raises:
        InputError: no fold, folds of other changes or images, or an image that the catalogue
            does not have.
    """
    tables = [Changed.read(path) for path in files]
    if not tables:
        raise InputError("metadata: no predictions under changed metadata")
    keys = [(table.changes, table.fields) for table in tables]
    if len(set(keys)) > 1:
        raise InputError(f"{files[0]}: not the changes of the other folds; predict again")
    images = read_catalogue(catalogue)
    found: dict[tuple[str, str], list[dict[str, Spread]]] = {}
    draws = None
    for number, key in enumerate(zip(*keys[0], strict=True)):
        joined = join_folds(
            subset, [probability_table(t.images, t.probabilities[number]) for t in tables], runs
        )
        judged = judge(joined, images)
        if draws is None:
            draws = Resamples.by_group(judged.groups.to_numpy(str), resamples, seed)
        found.setdefault(key, []).append(figure_spreads(judged, draws))
    means = {
        key: {name: mean_spread([spread[name] for spread in spreads]) for name in FIGURES}
        for key, spreads in found.items()
    }
    return pd.DataFrame(_rows(means), columns=list(COLUMNS)).assign(
        subset=subset, images=len(judged.images)
    )


def _rows(means: dict[tuple[str, str], dict[str, Spread]]) -> list[dict[str, object]]:
    """Rows of the table; the metadata as they are come first."""
    first = next(iter(means.values()))
    rows: list[dict[str, object]] = []
    for (change, field), spreads in means.items():
        for name, own in spreads.items():
            row: dict[str, object] = {"change": change, "field": field, "figure": name}
            row["value"] = own.point
            if change != AS_IT_IS:
                row |= difference_columns(first[name], own)
            rows.append(row)
    return rows
