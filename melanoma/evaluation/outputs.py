"""Names of the files of an experiment's evaluation, for who writes, draws or asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from melanoma.errors import InputError

TABLES = (
    "per_class.csv",
    "operating_points.csv",
    "predictive_values.csv",
    "decision_curve.csv",
    "reliability.csv",
    "calibration.csv",
    "subgroups.csv",
    "roc.csv",
    "pr.csv",
    "bands.csv",
)
"""Tables over all subsets, with a column `subset`."""


def table_files(subsets: Sequence[str]) -> tuple[str, ...]:
    """Names of the tables that `melanoma.evaluation.report.evaluate` writes beside metrics.json."""
    return (*TABLES, *(f"confusion_{subset}.csv" for subset in subsets))


def read_numbers(path: Path, needed: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table that `melanoma.evaluation.report.evaluate` wrote.

    Args:
        path: CSV.
        needed: columns by which a table of this version is known from earlier ones, whose other
            columns mean something else.

    Raises:
        InputError: a column is missing.
    """
    table = pd.read_csv(path)
    missing = [column for column in needed if column not in table]
    if missing:
        raise InputError(
            f"{path}: row 1: column {missing[0]} is missing: an earlier version of the workflow "
            "wrote it; delete it and run the workflow again"
        )
    return table


NEEDED = {"subgroups.csv": ("shared_classes",), "reliability.csv": ("groups",)}
"""Columns that tables of earlier versions lack, in which averages and intervals are others."""


def figure_files(subsets: Sequence[str]) -> tuple[str, ...]:
    """Names of the figures that `melanoma.evaluation.figures.draw` writes."""
    return (
        *(f"confusion_{subset}.svg" for subset in subsets),
        "per_class.svg",
        "roc.svg",
        "pr.svg",
        "reliability.svg",
        "decision_curve.svg",
        "operating_points.svg",
        "subgroups.svg",
    )
