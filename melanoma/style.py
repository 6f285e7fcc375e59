"""The one style of every figure: colours, sizes, and files whose bytes depend on content alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from melanoma.files import atomic

CLASS_COLOURS = {
    "MEL": "#D55E00",
    "NV": "#0072B2",
    "BCC": "#009E73",
    "AK": "#E69F00",
    "BKL": "#56B4E9",
    "DF": "#CC79A7",
    "VASC": "#661100",
    "SCC": "#332288",
    "UNK": "#777777",
}
"""One colour a class, the same in every figure.

From the palettes of Okabe and Ito (2008) and of Paul Tol ("muted"), chosen to be told apart with
red-green colour blindness; `CLASS_DASHES` tells lines apart without any colour.
"""

CLASS_DASHES: dict[str, Any] = {
    "MEL": "-",
    "NV": "-",
    "BCC": "-",
    "AK": (0, (5, 1.5)),
    "BKL": (0, (5, 1.5)),
    "DF": (0, (1.5, 1)),
    "VASC": (0, (5, 1.5)),
    "SCC": (0, (1.5, 1)),
    "UNK": (0, (3, 1, 1, 1)),
}
"""Line style of each class, as matplotlib takes it."""

SERIES_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288")
"""Colours of things that are not classes (folds, subsets, before and after), in order."""

INK = "#222222"
MUTED = "#666666"
GRID = "#DDDDDD"
SEQUENTIAL = "Blues"
"""Colour map of counts and shares: light to dark, monotone in lightness."""

DPI = 150

_PAD = 0.12
"""Inches between axes, and around all: tick labels of neighbours then keep apart."""

_PARAMETERS: Any = {
    # Readable when a report shows the figure at half its size.
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.labelsize": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    # matplotlib ships this family, so that every machine draws the same outlines.
    "font.family": "DejaVu Sans",
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "lines.linewidth": 2.0,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # Outlines look the same in every viewer; a fixed salt keeps the ids of an SVG the same.
    "svg.fonttype": "path",
    "svg.hashsalt": "melanoma",
}


@contextmanager
def styled() -> Iterator[None]:
    """The style's matplotlib settings, in force inside the `with` block only."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_PARAMETERS)
        yield


def new_figure(
    width: float, height: float, *, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Start a figure in the style, laid out so that labels neither overlap nor get cut.

    Args:
        width: inches.
        height: inches.
        rows: rows of axes.
        columns: columns of axes.
        options: as `matplotlib.figure.Figure.subplots` takes them.

    Returns:
        The figure, known to no global state, and its axes row by row.
    """
    with styled():
        figure = Figure(
            figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=_PAD, h_pad=_PAD)
        )
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, [axis for row in axes for axis in row]


def save_figure(figure: Figure, path: Path | str) -> None:
    """Write a figure as SVG or PNG, by the suffix; equal figures give equal bytes.

    Args:
        figure: from `new_figure`; it is cleared afterwards.
        path: ends in .svg or .png; written atomically.

    Raises:
        ValueError: another suffix.
    """
    path = Path(path)
    # Dates and the library's version would make equal figures differ.
    metadata = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}}
    if path.suffix not in metadata:
        raise ValueError(f"{path}: a figure is written as .svg or .png")
    with styled(), atomic(path) as partial:
        figure.savefig(partial, format=path.suffix[1:], dpi=DPI, metadata=metadata[path.suffix])
    figure.clear()
