"""Figures of an experiment and of the comparison, drawn from the tables that hold their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from melanoma.evaluation.figures import calibrated, classes, comparison, curves, groups, training
from melanoma.evaluation.figures.official import draw_official
from melanoma.evaluation.outputs import NEEDED, read_numbers
from melanoma.files import read_json, write_table
from melanoma.seeds import Run

__all__ = (
    "draw",
    "draw_comparison",
    "draw_official",
    "draw_training",
)


def draw(numbers: Path, output: Path, subsets: Sequence[str]) -> None:
    """Draw an experiment's figures.

    Args:
        numbers: folder with the tables and metrics.json that `evaluate` wrote.
        output: folder that gets `melanoma.evaluation.outputs.figure_files(subsets)`; may be the
            same.
        subsets: the subsets evaluated, e.g. "val" and "test". Figures with room for one show
            the last.
    """

    def table(name: str) -> pd.DataFrame:
        return read_numbers(numbers / name, NEEDED.get(name, ()))

    last = subsets[-1]
    per_class, metrics = table("per_class.csv"), read_json(numbers / "metrics.json")
    for subset in subsets:
        classes.draw_confusion(
            table(f"confusion_{subset}.csv"), output / f"confusion_{subset}.svg", subset=subset
        )
    classes.draw_per_class(per_class, output / "per_class.svg", subset=last)
    bands = table("bands.csv")
    curves.draw_roc(table("roc.csv"), per_class, bands, output / "roc.svg", subsets=subsets)
    curves.draw_pr(table("pr.csv"), per_class, bands, output / "pr.svg", subsets=subsets)
    calibrated.draw_reliability(
        table("reliability.csv"), metrics["calibration"][last], output / "reliability.svg", last
    )
    calibrated.draw_decision_curve(
        table("decision_curve.csv"), output / "decision_curve.svg", subset=last
    )
    groups.draw_operating_points(
        table("operating_points.csv"),
        metrics["melanoma"],
        output / "operating_points.svg",
        subsets=subsets,
    )
    groups.draw_subgroups(table("subgroups.csv"), metrics, output / "subgroups.svg", subset=last)


def draw_training(histories: Mapping[Run, Path], output: Path) -> None:
    """Draw the training curves of all folds and seeds.

    Args:
        histories: history.csv of each training.
        output: folder that gets training_curves.svg and training_curves.csv.
    """
    table = training.join_histories(histories)
    write_table(output / "training_curves.csv", table)
    training.draw_history(table, output / "training_curves.svg")


def draw_comparison(table: Path, output: Path) -> None:
    """Draw the comparison of experiments.

    Args:
        table: comparison.csv.
        output: the figure, .svg or .png.
    """
    comparison.draw_comparison(pd.read_csv(table), output)
