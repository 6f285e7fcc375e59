"""What comparison.csv can tell, for those who show it."""

from __future__ import annotations

import pandas as pd

ONE_SEED = (
    "one seed: the luck of a seed cannot be told from an effect; set training.seeds to 3 or more"
)


def several_seeds(table: pd.DataFrame) -> bool:
    """Whether the comparison knows how much a seed moves the figures.

    Args:
        table: comparison.csv.
    """
    return bool((table["seeds"] > 1).any())
