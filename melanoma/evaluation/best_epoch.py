"""Which epoch a model is from, as its history tells; nothing here needs torch."""

from __future__ import annotations

import pandas as pd

SCORE = "val_balanced_accuracy"
"""Column of a history that chose the epoch of model.ckpt."""


def best_epochs(history: pd.DataFrame) -> dict[int, int]:
    """The epoch that each fold's model.ckpt is from.

    Args:
        history: rows of every fold, in the order trained: columns fold, epoch and `SCORE`.

    Returns:
        Fold -> epoch, counted from 0: the first of the highest score, as training keeps it; folds
        without any score are left out.
    """
    scored = history[history[SCORE].notna()]
    rows = scored.loc[scored.groupby("fold", sort=True)[SCORE].idxmax()]
    return {int(row["fold"]): int(row["epoch"]) for _, row in rows.iterrows()}


def best_text(history: pd.DataFrame) -> str:
    """The epochs of `best_epochs` in words, e.g. "best: epoch 6" and "best: epochs 6, 4"."""
    epochs = list(best_epochs(history).values())
    if not epochs:
        return "best: none"
    return f"best: epoch{'' if len(epochs) == 1 else 's'} {', '.join(map(str, epochs))}"
