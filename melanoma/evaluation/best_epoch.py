"""Which epoch a model is from, as its history tells; nothing here needs torch."""

from __future__ import annotations

import pandas as pd

from melanoma.seeds import Run

TRAINING = ("fold", "seed")
"""Columns of training_curves.csv that tell whose an epoch is."""

SCORE = "val_balanced_accuracy"
"""Column of a history that chose the epoch of model.ckpt."""


def best_epochs(history: pd.DataFrame) -> dict[Run, int]:
    """The epoch that each training's model.ckpt is from.

    Args:
        history: rows of every training, in the order trained: columns fold, seed, epoch and
            `SCORE`.

    Returns:
        Training -> epoch, counted from 0: the first of the highest score, as training keeps it;
        trainings without any score are left out.
    """
    scored = history[history[SCORE].notna()]
    rows = scored.loc[scored.groupby(list(TRAINING), sort=True)[SCORE].idxmax()]
    return {
        Run(int(row["fold"]), int(row["seed"])): int(row["epoch"]) for _, row in rows.iterrows()
    }


def best_text(history: pd.DataFrame) -> str:
    """The epochs of `best_epochs` in words, e.g. "best: epoch 6" and "best: epochs 6, 4"."""
    epochs = list(best_epochs(history).values())
    if not epochs:
        return "best: none"
    return f"best: epoch{'' if len(epochs) == 1 else 's'} {', '.join(map(str, epochs))}"
