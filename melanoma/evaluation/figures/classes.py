"""Figures by class: the confusion matrix, and each class's figures with intervals."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from melanoma import style
from melanoma.evaluation.figures import parts

PER_CLASS = ("recall", "precision", "f1", "auroc")


def draw_confusion(
    table: pd.DataFrame, path: Path, *, subset: str, counted: str = "Images"
) -> None:
    """Counts, and shares of each true class, side by side.

    Args:
        table: true, and one column of counts per class.
        path: the figure.
        subset: named in the title.
        counted: what the counts are of, likewise.
    """
    names = [str(name) for name in table["true"]]
    counts = table[names].to_numpy(np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    figure, axes = style.new_figure(13, 6.4, columns=2)
    with style.styled():
        where = parts.SUBSETS.get(subset, subset)
        _matrix(axes[0], shares, [[f"{int(v)}" for v in row] for row in counts], names)
        axes[0].set_title(f"{counted}, {where} (n = {int(counts.sum())})")
        _matrix(axes[1], shares, [[f"{100 * v:.0f}" for v in row] for row in shares], names)
        axes[1].set_title("Per cent of the true class")
        figure.supxlabel("colour, left and right: share of the row (true class)", fontsize=11)
    style.save_figure(figure, path)


def _matrix(axis: Axes, shares: np.ndarray, texts: list[list[str]], names: list[str]) -> None:
    """One matrix, both coloured by the share of the row, so that rare classes are seen."""
    colours = mpl.colormaps[style.SEQUENTIAL]
    # Cells as shapes: an SVG then holds no bitmap that viewers smooth.
    axis.pcolormesh(shares, cmap=colours, vmin=0, vmax=1, edgecolors="white", linewidth=1.5)
    places = np.arange(len(names)) + 0.5
    for row, line in enumerate(texts):
        for column, text in enumerate(line):
            dark = shares[row, column] > 0.5
            axis.text(
                column + 0.5,
                row + 0.52,
                text,
                ha="center",
                va="center",
                color="white" if dark else style.INK,
                fontweight="bold" if row == column else "normal",
            )
    axis.set_xticks(places, names)
    axis.set_yticks(places, names)
    axis.tick_params(length=0)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    axis.invert_yaxis()
    axis.set_aspect("equal")
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")


def draw_per_class(table: pd.DataFrame, path: Path, *, subset: str) -> None:
    """Recall, precision, F1 and AUROC of every class, with intervals.

    Args:
        table: per_class.csv.
        path: the figure.
        subset: the one shown.
    """
    rows = table[table["subset"] == subset]
    places = [float(place) for place in range(len(rows))]
    colours = [style.CLASS_COLOURS[str(name)] for name in rows["class"]]
    labels = [f"{name}  (n = {n})" for name, n in zip(rows["class"], rows["support"], strict=True)]
    figure, axes = style.new_figure(13, 5.2, columns=len(PER_CLASS), sharey=True)
    with style.styled():
        for axis, name in zip(axes, PER_CLASS, strict=True):
            parts.dots(axis, rows, name, places, colours=colours)
            parts.limit(axis, rows, name)
            axis.set_title(parts.name_of(name))
            parts.note_if_empty(axis, rows, name, parts.ONE_SIDED)
        parts.rows_axis(axes[0], labels, places)
        note = parts.interval_note(rows, PER_CLASS)
        figure.supxlabel(f"{parts.SUBSETS.get(subset, subset)}; {note}", fontsize=11)
    style.save_figure(figure, path)
