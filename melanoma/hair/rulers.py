"""Rulers among the detected lines: rows of ticks, and edges with ticks on one side.

Hairs lie at chance; marks of a scale are parallel, level with one another and evenly spaced.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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

EDGE_WIDTH = 5.0
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


def tick_rows(pieces: Sequence[Points]) -> NDArray[np.bool_]:
    """Which of some short straight pieces are ticks of a ruler.

    Args:
        pieces: their pixels.

    Returns:
        bool [len(pieces)].
    """
    ticks = np.zeros(len(pieces), np.bool_)
    if len(pieces) < LEAST_TICKS:
        return ticks
    axes = np.array([_axis(*piece) for piece in pieces])
    centres, along, half = axes[:, :2], axes[:, 2:4], axes[:, 4]
    offset = centres[None] - centres[:, None]
    level = np.abs((offset * along[:, None]).sum(axis=2))
    across = offset[..., 0] * along[:, None, 1] - offset[..., 1] * along[:, None, 0]
    sine = along[:, None, 0] * along[None, :, 1] - along[:, None, 1] * along[None, :, 0]
    fits = (np.abs(sine) < PARALLEL) & (level < LEVEL + np.abs(half[:, None] - half[None]))
    for piece in range(len(pieces)):
        row = np.flatnonzero(fits[piece])
        if len(row) >= LEAST_TICKS and _evenly_spaced(np.sort(across[piece, row])):
            ticks[row] = True
    return ticks


def _axis(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> tuple[float, ...]:
    """Centre (y, x), unit vector along (y, x), and half the length of a piece."""
    middle_y, middle_x = float(rows.mean()), float(columns.mean())
    y, x = rows - middle_y, columns - middle_x
    angle = math.atan2(2 * float(x @ y), float(x @ x) - float(y @ y)) / 2
    down, across = math.sin(angle), math.cos(angle)
    reach = y * down + x * across
    return middle_y, middle_x, down, across, (float(reach.max()) - float(reach.min())) / 2


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


def is_edge(rows: NDArray[np.intp], columns: NDArray[np.intp], depth: NDArray[np.uint8]) -> bool:
    """Whether a long piece is the edge of a ruler: straight, with evenly spaced ticks beside it.

    Args:
        rows: of its pixels.
        columns: of its pixels.
        depth: uint8 [H, W], of each pixel below its surroundings.
    """
    middle_y, middle_x, down, across, half = _axis(rows, columns)
    off = (rows - middle_y) * across - (columns - middle_x) * down
    if off.std() > EDGE_WIDTH:
        return False
    # With ticks that touch it, the piece's middle lies beside the edge itself.
    edge = float(np.median(off))
    along = np.arange(-half, half + 1)
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
    values = [float(centred[:-lag] @ centred[lag:]) / power for lag in range(1, longest + 1)]
    drop = next((lag for lag, value in enumerate(values, 1) if value <= 0), longest)
    return max(values[max(drop, PERIODS[0]) - 1 :], default=0.0)
