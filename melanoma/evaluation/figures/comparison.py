"""Experiments side by side: their figures, and their differences to the first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from melanoma import style
from melanoma.evaluation.averages import LEVEL
from melanoma.evaluation.comparison_table import ONE_SEED, several_seeds
from melanoma.evaluation.figures import parts

FIGURES = ("balanced_accuracy", "macro_auroc", "melanoma_auroc", "melanoma_sensitivity")


def draw_comparison(table: pd.DataFrame, path: Path) -> None:
    """Above the figures of every experiment, below their differences to the first.

    Args:
        table: comparison.csv.
        path: the figure.
    """
    names = [str(name) for name in table["experiment"].unique()]
    several = len(names) > 1
    height = 2.0 + 0.45 * len(names) * (2 if several else 1) + (1.2 if several else 0)
    figure, axes = style.new_figure(
        14, height, rows=2 if several else 1, columns=len(FIGURES), sharey="row"
    )
    with style.styled():
        for column, figure_name in enumerate(FIGURES):
            rows = table[table["figure"] == figure_name].reset_index(drop=True)
            _values(axes[column], rows, figure_name)
            if several:
                below = axes[len(FIGURES) + column]
                marked = (rows["p_holm"] < 1.0 - LEVEL).to_list()
                differences(below, rows.iloc[1:], marked[1:])
                parts.note_if_empty(below, rows.iloc[1:], "difference")
        parts.rows_axis(axes[0], names, [float(place) for place in range(len(names))])
        if several:
            places = [float(place) for place in range(len(names) - 1)]
            parts.rows_axis(axes[len(FIGURES)], names[1:], places)
            axes[len(FIGURES)].set_title(f"difference to {names[0]}")
        subset = str(table["subset"].iloc[0])
        figure.supxlabel(
            f"{parts.SUBSETS.get(subset, subset)}; {parts.INTERVAL_NOTE}, the same lesions for all;"
            f"\n{_note(table)}",
            fontsize=11,
        )
    style.save_figure(figure, path)


def _note(table: pd.DataFrame) -> str:
    """What a hollow dot means."""
    if table["experiment"].nunique() < 2:
        return "hollow: no interval"
    if not several_seeds(table):
        return f"hollow: no interval, and all differences; {ONE_SEED}"
    return (
        "hollow: no interval, and all differences but those in balanced accuracy with "
        f"p below {1.0 - LEVEL:.2f} after Holm's correction"
    )


def _values(axis: Axes, rows: pd.DataFrame, name: str) -> None:
    table = rows.rename(columns={"value": name, "low": f"{name}_low", "high": f"{name}_high"})
    places = [float(place) for place in range(len(table))]
    parts.dots(axis, table, name, places, colours=style.SERIES_COLOURS[0])
    axis.set_title(parts.name_of(name))
    axis.tick_params(axis="y", length=0)
    low = table[[f"{name}_low", name, f"{name}_high"]].min().min()
    start = max(0.0, np.floor(10 * low - 0.5) / 10) if not np.isnan(low) else 0.0
    axis.set_xlim(*parts.with_margins(start))
    parts.note_if_empty(axis, table, name)


def differences(axis: Axes, rows: pd.DataFrame, filled: Sequence[bool]) -> None:
    """Differences with their intervals, one a row from 0 up.

    Args:
        axis: to draw in.
        rows: difference, difference_low and difference_high.
        filled: which have a filled dot and no hollow one.
    """
    axis.tick_params(axis="y", length=0)
    axis.axvline(0, color=style.INK, linewidth=1.2)
    for place, ((_, row), mark) in enumerate(zip(rows.iterrows(), filled, strict=True)):
        colour = style.SERIES_COLOURS[1]
        ends = [row["difference_low"], row["difference_high"]]
        axis.plot(ends, [place, place], color=colour, solid_capstyle="round")
        axis.plot(
            [row["difference"]],
            [place],
            "o",
            color=colour,
            markersize=7,
            markerfacecolor=colour if mark else "white",
        )
    columns = ["difference", "difference_low", "difference_high"]
    values = np.abs(rows[columns].to_numpy(np.float64))
    reach = np.nanmax(values) if not np.isnan(values).all() else 0.0
    # Long numbers of neighbouring ticks would touch.
    axis.xaxis.set_major_locator(MaxNLocator(nbins=4))
    if reach > 0:
        axis.set_xlim(-1.1 * reach, 1.1 * reach)
