"""ROC and precision-recall curves, a line per class and a panel per subset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from melanoma import style
from melanoma.evaluation.figures import parts
from melanoma.isic import MELANOMA


def draw_roc(
    table: pd.DataFrame,
    per_class: pd.DataFrame,
    bands: pd.DataFrame,
    path: Path,
    *,
    subsets: Sequence[str],
) -> None:
    """ROC curve of every class against all others, melanoma's with its band.

    Args:
        table: roc.csv.
        per_class: per_class.csv, for the areas in the legend.
        bands: bands.csv.
        path: the figure.
        subsets: one panel each.
    """
    figure, axes = style.new_figure(6.5 * len(subsets), 8.2, columns=len(subsets))
    with style.styled():
        for axis, subset in zip(axes, subsets, strict=True):
            axis.plot([0, 1], [0, 1], color=style.MUTED, linestyle=":", linewidth=1.2)
            curves = table[table["subset"] == subset]
            areas = per_class[per_class["subset"] == subset]
            for name, curve in curves.groupby("class", sort=False):
                xs = [0.0, *curve["false_positive_rate"]]
                ys = [0.0, *curve["sensitivity"]]
                _line(axis, str(name), xs, ys, _label(areas, str(name), "auroc"))
            band = bands[(bands["subset"] == subset) & (bands["curve"] == "roc")]
            note = _bands(axis, band)
            axis.set_xlabel("1 - specificity")
            axis.set_ylabel("sensitivity")
            title = f"ROC, {parts.SUBSETS.get(subset, subset)}"
            _finish(axis, title, f"AUROC (95 % interval){note}")
    style.save_figure(figure, path)


def draw_pr(
    table: pd.DataFrame,
    per_class: pd.DataFrame,
    bands: pd.DataFrame,
    path: Path,
    *,
    subsets: Sequence[str],
) -> None:
    """Precision-recall curve of every class against all others, melanoma's with its band.

    Args:
        table: pr.csv.
        per_class: per_class.csv, for the averages in the legend.
        bands: bands.csv.
        path: the figure.
        subsets: one panel each.
    """
    figure, axes = style.new_figure(6.5 * len(subsets), 8.2, columns=len(subsets))
    with style.styled():
        for axis, subset in zip(axes, subsets, strict=True):
            curves = table[table["subset"] == subset]
            averages = per_class[per_class["subset"] == subset]
            for name, curve in curves.groupby("class", sort=False):
                label = _label(averages, str(name), "average_precision")
                _line(
                    axis,
                    str(name),
                    [0.0, *curve["recall"]],
                    [curve["precision"].iloc[0], *curve["precision"]],
                    label,
                )
                # As the average precision counts it: a recall costs the next one's precision.
                axis.lines[-1].set_drawstyle("steps-pre")
            band = bands[(bands["subset"] == subset) & (bands["curve"] == "pr")]
            note = _bands(axis, band)
            axis.set_xlabel("recall")
            axis.set_ylabel("precision")
            _finish(
                axis,
                f"Precision and recall, {parts.SUBSETS.get(subset, subset)}",
                f"average precision (95 % interval){note}",
            )
    style.save_figure(figure, path)


def _line(axis: Axes, name: str, xs: list[float], ys: list[float], label: str) -> None:
    axis.plot(
        xs,
        ys,
        color=style.CLASS_COLOURS[name],
        linestyle=style.CLASS_DASHES[name],
        label=label,
        # Perfect curves lie upon each other: melanoma's is the one to be seen.
        zorder=2.1 if name == MELANOMA else 2,
    )


def _bands(axis: Axes, rows: pd.DataFrame) -> str:
    """Bands behind the lines; of those that would have no width, a line of text instead."""
    note = ""
    for name, band in rows.groupby("class", sort=False):
        if (band["low"] >= 1).all():
            # A line as thin as this would look like certainty.
            note += f"\n{name}: no band, being perfect in every resample"
            continue
        axis.fill_between(
            band["abscissa"],
            band["low"],
            band["high"],
            color=style.CLASS_COLOURS[str(name)],
            alpha=0.18,
            linewidth=0,
            zorder=1,
        )
    return note


def _label(rows: pd.DataFrame, name: str, figure: str) -> str:
    row = rows[rows["class"] == name].iloc[0]
    text = f"{name} {row[figure]:.3f}"
    if pd.isna(row[f"{figure}_low"]):
        return text
    return f"{text} ({row[f'{figure}_low']:.3f}-{row[f'{figure}_high']:.3f})"


def _finish(axis: Axes, title: str, legend: str) -> None:
    axis.set_xlim(-0.01, 1.01)
    axis.set_ylim(-0.01, 1.01)
    axis.set_title(title)
    if not axis.get_legend_handles_labels()[0]:
        parts.note(axis, parts.ONE_SIDED)
    else:
        # Below the axes: any corner inside them has curves in it for some model.
        axis.legend(
            title=legend, loc="upper center", bbox_to_anchor=(0.5, -0.11), ncols=2, handlelength=2.4
        )
