"""Operating points and subgroups as dots with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from melanoma import style
from melanoma.evaluation.figures import parts

DIFFERENCE = "balanced_accuracy_difference"

SUBGROUPS = (
    "balanced_accuracy",
    DIFFERENCE,
    "macro_auroc",
    "melanoma_auroc",
    "sensitivity_at_point",
    "specificity_at_point",
)
_OVERALL = ("melanoma_auroc",)
"""Those of the whole subset mean the same there; averages over the shared classes do not."""


def draw_operating_points(
    table: pd.DataFrame, melanoma: Mapping[str, Any], path: Path, *, subsets: Sequence[str]
) -> None:
    """What each threshold chosen on validation reaches, on every subset.

    Args:
        table: operating_points.csv.
        melanoma: of metrics.json.
        path: the figure.
        subsets: the ones shown.
    """
    columns = ("sensitivity", "specificity", "ppv")
    figure, axes = style.new_figure(13, 6.2, columns=len(columns), sharey=True)
    points = table.drop_duplicates("point")
    with style.styled():
        for axis, name in zip(axes, columns, strict=True):
            for number, subset in enumerate(subsets):
                rows = table[table["subset"] == subset]
                parts.dots(
                    axis,
                    rows,
                    name,
                    [
                        place + 0.26 * (number - (len(subsets) - 1) / 2)
                        for place in range(len(rows))
                    ],
                    colours=style.SERIES_COLOURS[number],
                    label=parts.SUBSETS.get(subset, subset),
                    marker="os^"[number % 3],
                )
            for place, (goal, target) in enumerate(_goals(points)):
                if goal == name:
                    axis.plot([target] * 2, [place - 0.4, place + 0.4], color=style.INK, lw=1.5)
            parts.limit(axis, table, name)
            axis.set_title(name.upper() if name == "ppv" else name)
            empty = parts.NONE if len(points) else "no threshold:\ntoo few lesions"
            parts.note_if_empty(axis, table, name, empty)
        if len(points):
            labels = [f"{goal} {100 * target:.0f} %" for goal, target in _goals(points)]
            parts.rows_axis(axes[0], labels, [float(place) for place in range(len(points))])
            axes[columns.index("ppv")].set_xlabel(_prevalences(table, subsets))
            # Outside the axes, where no dot can be.
            figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
            figure.supxlabel(
                "thresholds from validation; upright line: the goal; "
                f"{parts.interval_note(table, columns)}{_absent(melanoma)}",
                fontsize=11,
            )
    style.save_figure(figure, path)


def _absent(melanoma: Mapping[str, Any]) -> str:
    """Which points there are none of, and why: one reason a line."""
    return "".join(f"\nnone: {why}" for why in dict.fromkeys(melanoma["absent"].values()))


def _prevalences(table: pd.DataFrame, subsets: Sequence[str]) -> str:
    """How common melanoma is in each subset, which decides a predictive value."""
    lines = []
    for subset in subsets:
        images, melanomas = table.loc[table["subset"] == subset, ["images", "melanomas"]].iloc[0]
        share = f"{100 * melanomas / images:.1f} %" if images else parts.NONE
        lines.append(f"{parts.SUBSETS.get(subset, subset)} {melanomas} of {images}, {share}")
    return "\n".join(["prevalence of melanoma:", *lines])


def _goals(points: pd.DataFrame) -> list[tuple[str, float]]:
    return [(str(g), float(t)) for g, t in zip(points["goal"], points["target"], strict=True)]


TOO_SMALL = "no subgroup is large\nenough to judge"


def draw_subgroups(
    table: pd.DataFrame, metrics: Mapping[str, Any], path: Path, *, subset: str
) -> None:
    """Figures of every subgroup that has one, and how far it is from all other images.

    The dashed line is the whole subset's figure.

    Args:
        table: subgroups.csv.
        metrics: metrics.json.
        path: the figure.
        subset: the one shown.
    """
    every = table[table["subset"] == subset]
    rows = every[every[list(SUBGROUPS)].notna().any(axis=1)].reset_index(drop=True)
    left_out = len(every) - len(rows)
    present = sum(count > 0 for count in metrics["n"][subset]["classes"].values())
    places = _places(rows)
    overall: dict[str, float | None] = {name: metrics[subset].get(name) for name in _OVERALL}
    melanoma = metrics["melanoma"]
    point = melanoma["reached"].get(subset, {}).get(melanoma["default"], {})
    for name in ("sensitivity", "specificity"):
        overall[f"{name}_at_point"] = point.get(name)
    figure, axes = style.new_figure(
        17.5, 2.4 + 0.36 * (max(places, default=0.0) + 1), columns=len(SUBGROUPS), sharey=True
    )
    with style.styled():
        for axis, name in zip(axes, SUBGROUPS, strict=True):
            parts.dots(axis, rows, name, places, colours=style.SERIES_COLOURS[0])
            value = overall.get(name)
            if value is not None:
                axis.axvline(value, color=style.SERIES_COLOURS[1], linestyle="--", linewidth=1.5)
            _limit(axis, rows, name)
            axis.set_title(parts.name_of(name).replace(" ", "\n", 1))
            empty = "no threshold" if name.endswith("_at_point") and not point else TOO_SMALL
            parts.note_if_empty(axis, rows, name, empty)
        if places:
            labels = [_label(row, present) for _, row in rows.iterrows()]
            parts.rows_axis(axes[0], labels, places)
        figure.supxlabel(
            f"{parts.SUBSETS.get(subset, subset)}; dashed: all images; {_point(melanoma)};\n"
            "averages over the classes that all subgroups of a kind have; difference: of balanced "
            "accuracy, to all other images;\n"
            f"{parts.interval_note(rows, SUBGROUPS)};\n"
            f"too small to judge and left out: {left_out} of {len(every)} subgroups",
            fontsize=11,
        )
    style.save_figure(figure, path)


def _limit(axis: Axes, rows: pd.DataFrame, name: str) -> None:
    """The range of a figure; of a difference as much on either side of zero."""
    if name != DIFFERENCE:
        parts.limit(axis, rows, name)
        return
    axis.axvline(0, color=style.INK, linewidth=1.2)
    values = np.abs(rows[[name, f"{name}_low", f"{name}_high"]].to_numpy(np.float64))
    reach = float(np.nanmax(values)) if not np.isnan(values).all() else 0.1
    axis.set_xlim(-1.1 * max(reach, 0.01), 1.1 * max(reach, 0.01))
    axis.xaxis.set_major_locator(MaxNLocator(nbins=4))
    axis.tick_params(axis="y", length=0)


def _places(rows: pd.DataFrame) -> list[float]:
    """Heights of the rows, with a gap between variables."""
    changes = (rows["variable"] != rows["variable"].shift()).cumsum() - 1
    return [float(place) + 0.7 * float(gap) for place, gap in enumerate(changes)]


def _point(melanoma: Mapping[str, Any]) -> str:
    """Which threshold sensitivity and specificity are at."""
    name = melanoma["default"]
    if not name:
        return "sensitivity and specificity: too few lesions in validation to choose a threshold on"
    goal, _, share = name.partition("_")
    return (
        f"sensitivity and specificity at the threshold {melanoma['thresholds'][name]:.3g}, "
        f"chosen on validation for a {goal} of {share} %"
    )


def _label(row: pd.Series, present: int) -> str:
    """A subgroup with its size, and how many classes its averages are over where not all.

    A mean over fewer classes is another figure than the whole's: some classes are harder.
    """
    name = f"{row['variable']}: {row['part']}  (n = {row['images']}, MEL {row['melanomas']}"
    shared = str(row["shared_classes"]).split() if pd.notna(row["shared_classes"]) else []
    return f"{name}, {len(shared)} of {present} classes)" if len(shared) < present else f"{name})"
