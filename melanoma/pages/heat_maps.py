"""What the checks of the heat maps allow to say of them, in one sentence."""

from __future__ import annotations

import pandas as pd

from melanoma.pages.numbers import counted

DELETION = "deletion"
MEAN = "mean"
"""Check and item of checks.csv whose row holds the difference to random maps."""

NO_BETTER = "these maps are no better than chance here"


def beat_chance(checks: pd.DataFrame) -> bool:
    """Whether blurring the hottest places first lowers the probability sooner than random maps do.

    Args:
        checks: checks.csv, of at least one image.

    Returns:
        True only where the 95 % interval of the difference lies above zero.
    """
    return bool(_mean_row(checks)["low"] > 0)


def verdict(checks: pd.DataFrame) -> str:
    """The deletion check in a sentence, with its difference and interval.

    Args:
        checks: checks.csv, of at least one image.
    """
    row = _mean_row(checks)
    if not row["images"]:
        return f"No map of the images checked has any heat: {NO_BETTER}."
    figures = f"mean probability lower by {row['difference']:.3f}"
    if pd.notna(row["low"]):
        figures += f", 95 % interval {row['low']:.3f} to {row['high']:.3f}"
    figures += f", {counted(int(row['images']), 'image')}"
    if beat_chance(checks):
        return (
            "Blurring the hottest places first lowers the probability of the predicted class "
            f"sooner than blurring random ones does ({figures})."
        )
    return (
        "Blurring the hottest places first does not clearly lower the probability of the predicted "
        f"class sooner than blurring random ones does ({figures}): {NO_BETTER}."
    )


def _mean_row(checks: pd.DataFrame) -> pd.Series:
    rows = checks[(checks["check"] == DELETION) & (checks["item"] == MEAN)]
    return rows.iloc[0]
