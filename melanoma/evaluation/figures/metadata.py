"""What hiding or permuting metadata costs an experiment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from melanoma import style
from melanoma.evaluation.figures import parts

FIGURES = ("balanced_accuracy", "macro_auroc", "melanoma_auroc", "melanoma_sensitivity")


def draw_metadata(table: pd.DataFrame, path: Path) -> None:
    """Differences to the metadata as they are, a panel a figure and a row a change.

    Args:
        table: metadata.csv.
        path: the figure.
    """
    changed = table[table["difference"].notna()]
    rows = changed[["change", "field"]].drop_duplicates()
    labels = [f"{field} {change}" for change, field in rows.itertuples(index=False)]
    labels = [label.replace("all hidden", "all fields hidden") for label in labels]
    places = [float(place) for place in range(len(labels))]
    figure, axes = style.new_figure(
        14, 2.0 + 0.42 * max(len(labels), 1), columns=len(FIGURES), sharey=True
    )
    with style.styled():
        for axis, name in zip(axes, FIGURES, strict=True):
            own = table[table["figure"] == name]
            _panel(axis, own[own["difference"].notna()], places)
            whole = own[own["difference"].isna()]["value"]
            start = f" ({whole.iloc[0]:.3f})" if len(whole) and whole.notna().all() else ""
            axis.set_title(f"{parts.name_of(name)}{start}")
        if labels:
            parts.rows_axis(axes[0], labels, places)
        else:
            parts.note(axes[0], "no figure to compare")
        subset = str(table["subset"].iloc[0])
        figure.supxlabel(
            f"difference to the metadata as they are (in brackets), {parts.SUBSETS[subset]};\n"
            f"{parts.INTERVAL_NOTE}; open: zero lies in the interval",
            fontsize=11,
        )
    style.save_figure(figure, path)


def _panel(axis: Axes, rows: pd.DataFrame, places: list[float]) -> None:
    axis.axvline(0, color=style.INK, linewidth=1.2)
    axis.tick_params(axis="y", length=0)
    colour = style.SERIES_COLOURS[1]
    for place, (_, row) in zip(places, rows.iterrows(), strict=False):
        ends = [row["difference_low"], row["difference_high"]]
        axis.plot(ends, [place, place], color=colour, solid_capstyle="round")
        filled = str(row["beyond_noise"]) == "True"
        face = colour if filled else "white"
        axis.plot(
            [row["difference"]], [place], "o", color=colour, markersize=7, markerfacecolor=face
        )
    columns = ["difference", "difference_low", "difference_high"]
    values = np.abs(rows[columns].to_numpy(np.float64))
    reach = np.nanmax(values) if values.size and not np.isnan(values).all() else 0.0
    if reach > 0:
        axis.set_xlim(-1.1 * reach, 1.1 * reach)
