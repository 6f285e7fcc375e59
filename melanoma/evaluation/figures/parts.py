"""What several figures share: names of subsets, dots with intervals, a note in place of a plot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from melanoma import style

SUBSETS = {"val": "validation", "test": "test", "official": "official test"}

NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "balanced_accuracy_difference": "difference to the rest",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "macro_auroc": "macro AUROC",
    "melanoma_auroc": "melanoma AUROC",
    "melanoma_sensitivity": "melanoma sensitivity,\nby predicted class",
    "sensitivity_at_point": "sensitivity",
    "specificity_at_point": "specificity",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "f1": "F1",
}
"""Figures as they are spelt on axes; others by their own name."""

ONE_SIDED = "not defined: no class\nhas both images of it\nand images of others"
"""In place of curves and of the areas below them."""

NONE = "not defined"
"""In place of other figures."""

INTERVAL_NOTE = "bars: 95 % intervals, resampled by lesion"


_MARGIN = 0.04
"""Of an axis, as a share of its length: half a dot in the narrowest panel."""

_BARE_NOTE = "hollow, no bar: too few lesions for an interval"


def interval_note(table: pd.DataFrame, figures: Sequence[str]) -> str:
    """What the bars are, and why a dot has none.

    Args:
        table: as `dots` takes it.
        figures: the columns shown.
    """
    bare = [_bare(table, figure) for figure in figures]
    known = [table[figure].notna() for figure in figures]
    if not any(one.any() for one in bare):
        return INTERVAL_NOTE
    if all((one == other).all() for one, other in zip(bare, known, strict=True)):
        return "hollow: no interval"
    return f"{INTERVAL_NOTE};\n{_BARE_NOTE}"


def _bare(table: pd.DataFrame, figure: str) -> pd.Series[bool]:
    """Which values have no interval."""
    ends = table[[f"{figure}_low", f"{figure}_high"]]
    return table[figure].notna() & ends.isna().any(axis=1)


def name_of(figure: str) -> str:
    """A figure's name as spelt on an axis."""
    return NAMES.get(figure, figure)


def dots(
    axis: Axes,
    table: pd.DataFrame,
    figure: str,
    places: Sequence[float],
    *,
    colours: str | Sequence[str],
    label: str | None = None,
    marker: str = "o",
) -> None:
    """Values as dots with their intervals, horizontally; hollow ones have none.

    A dot without a bar would else look like the surest of all.

    Args:
        axis: to draw in.
        table: columns `figure`, `figure`_low and `figure`_high; NaN draws nothing.
        figure: the column.
        places: height of each row.
        colours: of all rows or of each.
        label: in the legend.
        marker: matplotlib's.
    """
    hues = [colours] * len(table) if isinstance(colours, str) else list(colours)
    values = table[[f"{figure}_low", figure, f"{figure}_high"]].to_numpy(np.float64)
    for place, hue, (low, value, high) in zip(places, hues, values, strict=True):
        axis.plot([low, high], [place, place], color=hue, linewidth=2.0, solid_capstyle="round")
        inside = "white" if np.isnan(low) or np.isnan(high) else hue
        axis.plot(
            [value], [place], marker, color=hue, markersize=7, markerfacecolor=inside, label=label
        )
        label = None


def rows_axis(axis: Axes, labels: Sequence[str], places: Sequence[float]) -> None:
    """Name the rows of a dot plot, from the top down."""
    axis.set_yticks(list(places), list(labels))
    axis.set_ylim(max(places) + 0.6, min(places) - 0.6)


def note_if_empty(axis: Axes, table: pd.DataFrame, figure: str, text: str = NONE) -> None:
    """`note` where no row has a figure.

    Args:
        axis: where the rows are drawn.
        table: the rows.
        figure: the column.
        text: the note.
    """
    if table[figure].isna().all():
        note(axis, text)


def limit(axis: Axes, table: pd.DataFrame, figure: str) -> None:
    """Show a figure's whole range; of an area under the ROC curve only what beats chance.

    The margins are as wide as a dot, which else would be cut in half.
    """
    lowest = table[[figure, f"{figure}_low"]].min().min()
    start = 0.5 if figure.endswith("auroc") and not lowest < 0.5 else 0.0
    axis.set_xlim(*with_margins(start))
    axis.tick_params(axis="y", length=0)


def with_margins(start: float) -> tuple[float, float]:
    """Ends of an axis from `start` to 1 with room for a dot at either."""
    margin = _MARGIN * (1.0 - start)
    return start - margin, 1.0 + margin


def note(axis: Axes, text: str) -> None:
    """Say why there is nothing to see, in place of what has been drawn.

    Args:
        axis: a panel, perhaps a narrow one.
        text: with line ends where a panel is narrow: what is wider is cut by its neighbours.
    """
    for artist in (*axis.lines, *axis.collections):
        artist.remove()
    axis.set_axis_off()
    written = axis.text(
        0.5, 0.5, text, ha="center", va="center", color=style.MUTED, transform=axis.transAxes
    )
    written.set_in_layout(False)
