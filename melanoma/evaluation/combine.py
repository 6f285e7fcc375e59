"""One table of predictions out of all trainings': out-of-fold on validation, their mean elsewhere.

Where folds are trained with several seeds, the mean over a fold's seeds takes the place of its one
model. The decision is the ensemble's own. It is fitted on the out-of-fold union, where each image
has the probability of the models that have not seen it, and applied to it and to the mean of all
models alike.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melanoma.config import Experiment
from melanoma.errors import InputError
from melanoma.evaluation.calibration import apply_decision, decide
from melanoma.isic import CLASSES
from melanoma.seeds import Run


def decide_together(
    validation: Sequence[pd.DataFrame],
    catalogue: pd.DataFrame,
    splits: pd.DataFrame,
    experiment: Experiment,
    *,
    models: Sequence[str],
    target: str,
    tta: bool,
    runs: Sequence[Run] | None = None,
) -> dict[str, Any]:
    """Fit the decision of an experiment's models on the union of their validation parts.

    Args:
        validation: predictions of each model on its own fold's validation part.
        catalogue: image, diagnosis, group, source or lesion_id.
        splits: image, fold, split.
        experiment: its settings.
        models: their checkpoints, in the same order.
        target: the file that the decision is for.
        tta: whether the predictions are means over flips and quarter turns.
        runs: fold and seed of each model, as for `join_folds`.

    Returns:
        As `melanoma.evaluation.calibration.fit_decision`, with members: the checkpoints as paths
        from the folder of `target`.

    Raises:
        InputError: as `join_folds` and `melanoma.evaluation.calibration.decide`.
    """
    runs = _each_run(validation, runs)
    union = join_folds("val", validation, runs)
    folds = sorted({run.fold for run in runs})
    decision = decide(union, catalogue, splits, folds, experiment, tta=tta)
    folder = Path(target).parent
    return decision | {"members": [Path(os.path.relpath(m, folder)).as_posix() for m in models]}


def combine(
    subset: str,
    tables: Sequence[pd.DataFrame],
    decision: Mapping[str, Any],
    runs: Sequence[Run] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Join the models' predictions of one subset, raw and calibrated by the ensemble's decision.

    Args:
        subset: "val" (every image is in one fold's tables), else every table has every image.
        tables: image, the eight classes' raw softmax and perhaps more, one table a model.
        decision: of the models together.
        runs: fold and seed of each model, as for `join_folds`.

    Returns:
        Raw table: image and the eight classes, sorted by image; and calibrated table, as from
        `melanoma.evaluation.calibration.apply_decision`.

    Raises:
        InputError: no table, the ids do not fit, or a table lacks what the decision asks for.
    """
    if not tables:
        raise InputError(f"no table of predictions to combine for {subset}")
    joined = join_folds(subset, tables, runs)
    return joined[["image", *CLASSES]], apply_decision(joined, decision)


def join_folds(
    subset: str, tables: Sequence[pd.DataFrame], runs: Sequence[Run] | None = None
) -> pd.DataFrame:
    """Join tables of numbers: on validation the folds' one after the other, else their mean.

    Args:
        subset: "val", "test" or "official".
        tables: image and equal number columns, one table a model. A fold's models, which differ
            by their seeds, are averaged on validation too.
        runs: fold and seed of each table; by default one seed of fold 0, 1, ...

    Returns:
        image and the number columns, sorted by image, every image once.

    Raises:
        InputError: an image in two folds' validation parts or twice in one table, or tables
            of a subset, on validation of a fold, that do not have the same images.
    """
    runs = _each_run(tables, runs)
    sorted_tables = [t.sort_values("image", kind="stable", ignore_index=True) for t in tables]
    for run, table in zip(runs, sorted_tables, strict=True):
        _refuse_repeated(table["image"], f"fold {run.name}, {subset}")
    if subset != "val":
        return _mean_of_same(subset, sorted_tables, runs)
    parts = []
    for fold in dict.fromkeys(run.fold for run in runs):
        own = [place for place, run in enumerate(runs) if run.fold == fold]
        parts.append(_mean_of_same(subset, [sorted_tables[p] for p in own], [runs[p] for p in own]))
    joined = pd.concat(parts).sort_values("image", kind="stable", ignore_index=True)
    _refuse_repeated(joined["image"], "the folds' validation parts together")
    return joined


def join_seeds(
    subset: str, tables: Sequence[pd.DataFrame], runs: Sequence[Run]
) -> list[pd.DataFrame]:
    """The predictions of each seed's models alone, their folds joined as by `join_folds`.

    Args:
        subset: "val", "test" or "official".
        tables: image and equal number columns, one table a model.
        runs: fold and seed of each table.

    Returns:
        One table a seed, in the order of the seeds.

    Raises:
        InputError: as `join_folds`.
    """
    joined = []
    for seed in sorted({run.seed for run in runs}):
        own = [place for place, run in enumerate(runs) if run.seed == seed]
        joined.append(join_folds(subset, [tables[p] for p in own], [runs[p] for p in own]))
    return joined


def _each_run(tables: Sequence[pd.DataFrame], runs: Sequence[Run] | None) -> list[Run]:
    """Fold and seed of each table."""
    return [Run(fold, 0) for fold in range(len(tables))] if runs is None else list(runs)


def _mean_of_same(subset: str, tables: Sequence[pd.DataFrame], runs: Sequence[Run]) -> pd.DataFrame:
    """Mean of tables of the same images; refuses others."""
    for run, table in zip(runs[1:], tables[1:], strict=True):
        odd = set(tables[0]["image"]) ^ set(table["image"])
        if odd:
            raise InputError(
                f"fold {run.name}, {subset}: image {min(odd)} is not in every fold's table; "
                "predict again with the present splits"
            )
    return mean_of(tables) if len(tables) > 1 else tables[0]


def mean_of(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Mean of tables that have the same images in the same order.

    Args:
        tables: image and equal number columns.
    """
    numbers = [column for column in tables[0].columns if column != "image"]
    joined = tables[0].copy()
    means = np.mean([table[numbers].to_numpy(np.float64) for table in tables], axis=0)
    joined[numbers] = means
    return joined


def _refuse_repeated(images: pd.Series, where: str) -> None:
    repeated = images[images.duplicated()]
    if len(repeated):
        raise InputError(
            f"{where}: image {repeated.iloc[0]} is there twice; predict again with the present "
            "splits"
        )
