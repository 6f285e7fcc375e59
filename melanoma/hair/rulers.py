"""Rulers among the detected lines: rows of ticks, and edges with ticks on one side.

Hairs lie at chance; marks of a scale are parallel, level with one another and evenly spaced.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Points = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Rows and columns of a piece's pixels."""

LEAST_TICKS = 4
"""Ticks that make a row."""

PARALLEL = 0.22
"""Sine of the greatest angle between ticks of a row."""

LEVEL = 2.5
"""Pixels by which the centres, or the ends, of ticks may be off the row."""

UNEVEN = (1.0, 0.12)
"""Greatest error of a gap in a row: pixels, and share of the gap."""

LEAST_GAP = 3.0
"""Least distance of ticks, in pixels; closer ones are not told apart."""

EDGE_WIDTH = 7.0
"""Greatest standard deviation of an edge, ticks that touch it included, in pixels."""

BESIDE = (3, 4, 5, 6)
"""Distances from an edge's middle at which its ticks are looked for, in pixels."""

TICKS = (0.12, 0.85)
"""Least and greatest share of an edge's length that is beside ticks."""

FARTHEST = 0.08
"""Least share of an edge's length that is dark at all of these distances but one."""

PERIODIC = 0.5
"""Least autocorrelation of the depth along the side with ticks, at their distance."""

PERIODS = (3, 25)
"""Distances of ticks that are looked for, in pixels."""


@dataclass(frozen=True)
class Axes:
    """Where pieces lie, which way they run and how far: float64 [n] each.

    Attributes:
        y, x: of the centre.
        down, right: unit vector along.
        along, across: standard deviations in that direction and at right angles to it.
        half: of the length.
    """

    y: Floats
    x: Floats
    down: Floats
    right: Floats
    along: Floats
    across: Floats
    half: Floats

    @classmethod
    def of(
        cls,
        rows: NDArray[np.intp],
        columns: NDArray[np.intp],
        piece: NDArray[np.intp],
        count: int,
    ) -> Axes:
        """Axes of pieces.

        Args:
            rows: of all pixels.
            columns: of all pixels.
            piece: that each pixel belongs to, from 0.
            count: of pieces, each with a pixel.
        """
        area = np.bincount(piece, minlength=count)

        def mean(values: Floats) -> Floats:
            return np.asarray(np.bincount(piece, values, count) / area, np.float64)

        middle_y, middle_x = mean(rows.astype(np.float64)), mean(columns.astype(np.float64))
        y, x = rows - middle_y[piece], columns - middle_x[piece]
        yy, xx, xy = mean(y * y), mean(x * x), mean(x * y)
        spread = np.hypot(yy - xx, 2 * xy)
        angle = np.arctan2(2 * xy, xx - yy) / 2
        down, right = np.sin(angle), np.cos(angle)
        reach = y * down[piece] + x * right[piece]
        least, most = np.full(count, np.inf), np.full(count, -np.inf)
        np.minimum.at(least, piece, reach)
        np.maximum.at(most, piece, reach)
        along = np.sqrt((yy + xx + spread) / 2)
        across = np.sqrt(np.maximum(yy + xx - spread, 0) / 2)
        return cls(middle_y, middle_x, down, right, along, across, (most - least) / 2)

    def only(self, chosen: NDArray[np.intp]) -> Axes:
        """Some of them, by number."""
        return Axes(*(getattr(self, field.name)[chosen] for field in fields(self)))


def tick_rows(pieces: Axes) -> NDArray[np.bool_]:
    """Which of some short straight pieces are ticks of a ruler: bool [n]."""
    ticks = np.zeros(len(pieces.y), np.bool_)
    if len(ticks) < LEAST_TICKS:
        return ticks
    down, right = pieces.down, pieces.right
    dy, dx = pieces.y - pieces.y[:, None], pieces.x - pieces.x[:, None]
    level = np.abs(dy * down[:, None] + dx * right[:, None])
    across = dy * right[:, None] - dx * down[:, None]
    sine = down[:, None] * right - right[:, None] * down
    lengths = np.abs(pieces.half[:, None] - pieces.half)
    fits = (np.abs(sine) < PARALLEL) & (level < LEVEL + lengths)
    for piece in np.flatnonzero(fits.sum(axis=1) >= LEAST_TICKS):
        row = np.flatnonzero(fits[piece])
        if _evenly_spaced(np.sort(across[piece, row])):
            ticks[row] = True
    return ticks


def _evenly_spaced(places: Floats) -> bool:
    """Whether all gaps are whole multiples of the smallest; ticks may have been missed."""
    gaps = np.diff(places)
    least = float(gaps.min())
    if least < LEAST_GAP:
        return False
    unit = float(np.median(gaps[gaps < 1.5 * least]))
    times = np.maximum(np.rint(gaps / unit), 1)
    error = np.abs(gaps - times * unit)
    return bool((error <= UNEVEN[0] + UNEVEN[1] * gaps).all())


def is_edge(
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    axes: Axes,
    depth: NDArray[np.uint8],
) -> bool:
    """Whether a long straight piece is the edge of a ruler: with evenly spaced ticks beside it.

    Args:
        rows: of its pixels.
        columns: of its pixels.
        axes: its own, one.
        depth: uint8 [H, W], of each pixel below its surroundings.
    """
    middle_y, middle_x, down, across = axes.y[0], axes.x[0], axes.down[0], axes.right[0]
    off = (rows - middle_y) * across - (columns - middle_x) * down
    # With ticks that touch it, the piece's middle lies beside the edge itself.
    edge = float(np.median(off))
    along = np.arange(-axes.half[0], axes.half[0] + 1)
    for side in (1, -1):
        away = edge + side * np.array(BESIDE, np.float64)[:, None]
        y = np.rint(middle_y + along * down + away * across).astype(np.intp)
        x = np.rint(middle_x + along * across - away * down).astype(np.intp)
        inside = (y >= 0) & (y < depth.shape[0]) & (x >= 0) & (x < depth.shape[1])
        values = depth[y.clip(0, depth.shape[0] - 1), x.clip(0, depth.shape[1] - 1)] * inside
        beside = np.asarray(values.mean(axis=0), np.float64)
        # The jagged side of a thick hair is periodic too, but reaches the nearest distances only.
        reaches = (values[-2] > 0).mean() >= FARTHEST
        share = (beside > 0).mean()
        if reaches and TICKS[0] <= share <= TICKS[1] and _period(beside) >= PERIODIC:
            return True
    return False


def _period(signal: Floats) -> float:
    """Largest autocorrelation at a distance of ticks, beyond the first drop."""
    centred = signal - signal.mean()
    power = float(centred @ centred)
    longest = min(PERIODS[1], len(signal) // 3)
    if power == 0 or longest < PERIODS[0]:
        return 0.0
    values = np.correlate(centred, centred, "full")[len(signal) :][:longest] / power
    drop = next((lag for lag, value in enumerate(values, 1) if value <= 0), longest)
    return float(values[max(drop, PERIODS[0]) - 1 :].max(initial=0.0))
