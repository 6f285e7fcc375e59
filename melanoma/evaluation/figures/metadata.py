"""What hiding or permuting metadata costs an experiment."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from melanoma import style
from melanoma.evaluation.figures import parts
from melanoma.evaluation.figures.comparison import FIGURES, differences


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
        14, 2.3 + 0.42 * max(len(labels), 1), columns=len(FIGURES), sharey=True
    )
    with style.styled():
        for axis, name in zip(axes, FIGURES, strict=True):
            own = table[table["figure"] == name]
            shown = own[own["difference"].notna()]
            differences(
                axis, shown, [str(out) == "True" for out in shown["interval_excludes_zero"]]
            )
            whole = own[own["difference"].isna()]["value"]
            start = f" ({whole.iloc[0]:.3f})" if len(whole) and whole.notna().all() else ""
            axis.set_title(f"{parts.name_of(name)}{start}")
            empty = parts.NONE if labels else "no figure\nto compare"
            parts.note_if_empty(axis, own, "difference", empty)
        if labels:
            parts.rows_axis(axes[0], labels, places)
        subset = str(table["subset"].iloc[0])
        figure.supxlabel(
            f"difference to the metadata as they are (in brackets), {parts.SUBSETS[subset]};\n"
            f"{parts.INTERVAL_NOTE}; hollow: no interval, or zero lies in it",
            fontsize=11,
        )
    style.save_figure(figure, path)
