"""Rulers among the detected lines: rows of ticks, and edges with ticks on one side.

Hairs lie at chance; marks of a scale are parallel, level with one another and evenly spaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import cv2
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

FARTHEST = (0.08, 0.2)
"""Least length that is dark at the farthest of these distances but one: as a share of the edge, and
of what is dark at the nearest."""

PERIODIC = 0.43
"""Least autocorrelation of the depth along the side with ticks, at their distance and at twice it;
of hairs among others it is below 0.41."""

PERIODS = (3, 25)
"""Distances of ticks that are looked for, in pixels."""

ROOM = 5
"""Distances of ticks that an edge is long, at least."""

LONG = 0.35
"""Least length of an edge that is looked for among crossing lines, as a share of the short side."""

ANGLE = np.pi / 180
"""Step of the directions in which it is looked for."""

VOTES = 20
"""Pixels, at half the scale, that make a line worth following."""

GAP = 8
"""Greatest gap in such a line, in pixels."""

MOST = 6
"""Lines that are looked at, the longest first: an edge is longer than hairs are straight."""

AROUND = 3
"""Pixels off a line, or beyond its ends, that may be its own."""

THICK = 2.5
"""Greatest distance from the middle of an edge at which pixels are its own."""

REST = 8
"""Greatest gap beyond which an edge goes on."""


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

    @classmethod
    def of_one(cls, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Axes:
        """The axis of one piece."""
        return cls.of(rows, columns, np.zeros(len(rows), np.intp), 1)

    def seen_from(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Where pixels lie along and off the axis, if it is only one: from its centre."""
        y, x = rows - self.y[0], columns - self.x[0]
        return y * self.down[0] + x * self.right[0], y * self.right[0] - x * self.down[0]

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


def with_border(depth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The depth with a border of one pixel in which nothing is dark: uint8 [H + 2, W + 2]."""
    return np.asarray(cv2.copyMakeBorder(depth, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0), np.uint8)


def is_edge(
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    axes: Axes,
    bordered: NDArray[np.uint8],
) -> bool:
    """Whether a long straight piece is the edge of a ruler: with evenly spaced ticks beside it.

    Args:
        rows: of its pixels.
        columns: of its pixels.
        axes: its own, one.
        bordered: depth of each pixel below its surroundings, from `with_border`.
    """
    middle_y, middle_x, down, across = axes.y[0], axes.x[0], axes.down[0], axes.right[0]
    edge = _edge_off(axes, rows, columns)
    along = np.arange(-axes.half[0], axes.half[0] + 1)
    for side in (1, -1):
        away = edge + side * np.array(BESIDE, np.float64)[:, None]
        y = np.rint(middle_y + 1 + along * down + away * across).astype(np.intp)
        x = np.rint(middle_x + 1 + along * across - away * down).astype(np.intp)
        # What lies beyond the image is on its border, and no tick.
        values = bordered[
            np.maximum(np.minimum(y, bordered.shape[0] - 1), 0),
            np.maximum(np.minimum(x, bordered.shape[1] - 1), 0),
        ]
        # The jagged side of a thick hair is periodic too, but reaches the nearest distances only.
        nearest, *_, far, _ = np.count_nonzero(values, axis=1)
        if far < max(FARTHEST[0] * len(along), FARTHEST[1] * nearest):
            continue
        beside = values.sum(axis=0, dtype=np.float64)
        share = np.count_nonzero(beside) / len(along)
        if TICKS[0] <= share <= TICKS[1] and _period(beside) >= PERIODIC:
            return True
    return False


def _edge_off(axes: Axes, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> float:
    """Where the edge lies off a piece's axis, which ticks that touch it draw to their side."""
    off = np.sort(axes.seen_from(rows, columns)[1])
    return float(off[len(off) // 2])


def cut_edges(
    found: NDArray[np.bool_], suspects: NDArray[np.intp], depth: NDArray[np.uint8]
) -> bool:
    """Clear the edges of rulers that hairs cross, or that are broken, in place.

    Args:
        found: bool [H, W], contiguous.
        suspects: flat indices of the pixels of pieces that may hold an edge.
        depth: uint8 [H, W], of each pixel below its surroundings.

    Returns:
        Whether there were any.
    """
    rows, columns = np.divmod(suspects, found.shape[1])
    bordered, cut = with_border(depth), False
    for segment in _segments(rows, columns, found.shape):
        along, off = segment.seen_from(rows, columns)
        near = (np.abs(off) <= AROUND) & (np.abs(along) <= segment.half[0] + AROUND)
        own = rows[near], columns[near]
        line = Axes.of_one(*own)
        if is_edge(*own, line, bordered):
            _clear_line(found, line, _edge_off(line, *own))
            cut = True
    return cut


def _segments(
    rows: NDArray[np.intp], columns: NDArray[np.intp], shape: tuple[int, int]
) -> Iterator[Axes]:
    """Long straight lines among some pixels (progressive probabilistic Hough transform)."""
    # At half the scale a line is as wide as the transform's cells, and a quarter of the work.
    half = np.zeros((shape[0] // 2 + 1, shape[1] // 2 + 1), np.uint8)
    half[rows // 2, columns // 2] = 255
    length = LONG * min(shape) / 2
    lines = cv2.HoughLinesP(half, 1, ANGLE, VOTES, minLineLength=length, maxLineGap=GAP / 2)
    if lines is None:
        return
    ends = lines.reshape(-1, 4) * 2
    lengths = np.hypot(ends[:, 2] - ends[:, 0], ends[:, 3] - ends[:, 1])
    for x0, y0, x1, y1 in ends[np.argsort(-lengths, kind="stable")[:MOST]]:
        yield Axes.of_one(np.array([y0, y1]), np.array([x0, x1]))


def _clear_line(found: NDArray[np.bool_], line: Axes, edge: float) -> None:
    """Clear what lies on a line, as far as it goes on beyond its ends without a long gap."""
    rows, columns = np.nonzero(found)
    along, off = line.seen_from(rows, columns)
    on = np.flatnonzero(np.abs(off - edge) <= THICK)
    on = on[np.argsort(along[on])]
    run = np.cumsum(np.diff(along[on], prepend=-np.inf) > REST)
    middle = run[max(int(np.searchsorted(along[on], 0)) - 1, 0) :][:1]
    own = on[run == middle]
    found[rows[own], columns[own]] = False


def _period(signal: Floats) -> float:
    """How periodic a signal is: autocorrelation at a distance of ticks and, if less, at twice it.

    The largest of all distances, beyond the first drop; each value divided by what is left of a
    wholly periodic signal of this length that is moved as far.
    """
    centred = signal - signal.mean()
    count, power = len(centred), float(centred @ centred)
    longest = min(PERIODS[1], count // ROOM)
    if power == 0 or longest < PERIODS[0]:
        return 0.0
    lags = np.arange(2 * longest + 2)
    values = np.correlate(centred, centred, "full")[count - 1 :][: len(lags)]
    values = values / power * count / (count - lags)
    drop = int(np.argmax(values <= 0)) or len(values)
    once = np.arange(max(drop, PERIODS[0]), longest + 1)
    if not len(once):
        return 0.0
    twice = np.maximum(np.maximum(values[2 * once - 1], values[2 * once]), values[2 * once + 1])
    return float(np.minimum(values[once], twice).max())
