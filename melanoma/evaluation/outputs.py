"""Names of the files of an experiment's evaluation, for who writes, draws or asks for them."""

from __future__ import annotations

from collections.abc import Sequence

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
