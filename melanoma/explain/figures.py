"""The one figure of the checks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from melanoma import style
from melanoma.explain.checks import BORDER, OUTSIDE, RANDOMISED, TOO_ALIKE
from melanoma.pages.heat_maps import DELETION, MEAN, NO_BETTER, beat_chance


def draw_checks(table: pd.DataFrame, path: Path, *, note: str = "") -> None:
    """Draw the three checks side by side.

    Args:
        table: from `checks.run_checks`; may be empty.
        path: ends in .svg or .png.
        note: what to write where there is nothing to draw.
    """
    figure, axes = style.new_figure(15, 4.8, columns=3)
    with style.styled():
        for axis, draw in zip(axes, (_randomised, _shares, _deletion), strict=True):
            if len(table):
                draw(axis, table)
            else:
                axis.set_axis_off()
        if not len(table):
            axes[0].text(0, 0.5, note)
    style.save_figure(figure, path)


def _part(table: pd.DataFrame, check: str) -> pd.DataFrame:
    return table[table["check"] == check]


def _randomised(axis: Axes, table: pd.DataFrame) -> None:
    part = _part(table, RANDOMISED)
    places = np.arange(len(part) + 1)
    names = ["none", *part["item"]]
    axis.plot(places, [1.0, *part["value"]], "o-", color=style.SERIES_COLOURS[0])
    line = axis.axhline(TOO_ALIKE, color=style.MUTED, linestyle="--", linewidth=1.2)
    line.set_label("too much alike above")
    axis.legend(loc="upper right")
    axis.set_xticks(places, names, rotation=40, ha="right", rotation_mode="anchor")
    # Room for the legend above everything that can be drawn.
    axis.set_ylim(min(-0.25, float(np.nanmin([0.0, *part["value"]])) - 0.05), 1.3)
    axis.set_yticks(np.linspace(0, 1, 6))
    axis.set_xlabel("weights made random down to")
    axis.set_ylabel("rank correlation with the map")
    axis.set_title("Do maps depend on the weights?")


def _shares(axis: Axes, table: pd.DataFrame) -> None:
    classes = list(dict.fromkeys(_part(table, OUTSIDE)["item"]))
    places = np.arange(len(classes))
    for offset, check, colour in ((-0.2, OUTSIDE, 0), (0.2, BORDER, 1)):
        part = _part(table, check).set_index("item")
        hue = style.SERIES_COLOURS[colour]
        values = part["value"].reindex(classes)
        axis.bar(places + offset, values, 0.38, color=hue, label=check)
        if len(part):
            area = part["expected_by_chance"].iloc[0]
            axis.axhline(area, color=hue, linestyle="--", linewidth=1.2)
    axis.set_xticks(places, classes)
    axis.set_ylim(0, 1.35)
    axis.set_yticks(np.linspace(0, 1, 6))
    axis.set_xlabel("true class")
    axis.set_ylabel("share of the heat")
    axis.set_title("Where is the heat? (dashed: area)")
    axis.legend(loc="upper left")


def _deletion(axis: Axes, table: pd.DataFrame) -> None:
    part = _part(table, DELETION)
    curve, mean = part[part["item"] != MEAN], part[part["item"] == MEAN].iloc[0]
    shares = curve["item"].astype(float)
    columns = (("hottest first", "value", "o-"), ("random maps", "expected_by_chance", "s--"))
    for number, (name, column, mark) in enumerate(columns):
        label = f"{name}: mean {mean[column]:.2f}"
        axis.plot(shares, curve[column], mark, color=style.SERIES_COLOURS[number], label=label)
    axis.set_ylim(0, 1.18)
    axis.set_yticks(np.linspace(0, 1, 6))
    axis.set_xlabel("share of the image blurred")
    axis.set_ylabel("probability of predicted class")
    axis.set_title("Does blurring hot places matter?")
    difference = "difference {difference:.3f} ({low:.3f} to {high:.3f})".format(**mean)
    axis.legend(loc="upper right", title=difference if beat_chance(table) else NO_BETTER)
