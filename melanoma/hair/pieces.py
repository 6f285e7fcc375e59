"""Connected pieces of detected lines: too short ones and rulers are dropped."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from melanoma.hair import rulers

UNIT = 225
"""Short side, in pixels, for which `LENGTH` is given."""

LENGTH = 21
"""Least extent of a piece, in pixels at `UNIT`; network and streaks stay below."""

STRONG_GAIN = 0.5
"""Pixels that each grey level of a piece's mean strength is worth."""

CUT_GAIN = 1.5
"""A piece that the image's border cuts off counts as this many times longer than is seen."""

CROWD_BOX = 13
"""Side of the box, in pixels, in which other dark pixels beside a piece are counted."""

CROWD_DEPTH = 2
"""Depth from which a pixel counts as dark there."""

CROWD_WIDTH = 4.5
"""Width, in pixels along a piece, of dark things beside it that make it a part of a network."""

CROWD_LENGTH = 60
"""Extent, in pixels at `UNIT`, from which a piece is a hair even so."""

CROWD_STRENGTH = 20
"""Mean strength, in grey levels, from which it is a hair even so."""

STUBBY = 0.32
"""Greatest ratio of a short piece's spread across to that along: wider ones are globules or folds
(a straight line of 10 x 2 pixels has 0.2)."""

RULER_EXTENT = 0.25
"""Least extent of a ruler's edge, as a share of the short side."""

RULER_WIDTH = 2.8
RULER_BESIDE = 0.7
"""Least mean width of a ruler's edge with the ticks that touch it, in pixels, or least width of
dark things beside it: of its ticks."""

TICK_EXTENT = 0.2
"""Greatest extent of a ruler's ticks, as a share of the short side."""


@dataclass(frozen=True)
class _Pieces:
    """Where the pixels of the pieces are, and to which piece each belongs.

    Attributes:
        flat: indices of all pixels into the flattened image.
        rows, columns: the same as coordinates.
        label: piece of each pixel, from 1.
        count: of labels, 0 (nothing) included.
    """

    flat: NDArray[np.intp]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    label: NDArray[np.int32]
    count: int

    def points(self, piece: int | np.intp) -> rulers.Points:
        """Rows and columns of a piece's pixels."""
        own = self.label == piece
        return self.rows[own], self.columns[own]


def drop_odd_pieces(
    found: NDArray[np.bool_], strength: NDArray[np.uint8], depth: NDArray[np.uint8], *, level: float
) -> None:
    """Clear the pieces that are no hairs, in place.

    Args:
        found: bool [H, W], contiguous.
        strength: uint8 [H, W], of the lines.
        depth: uint8 [H, W], of each pixel below its surroundings.
        level: strength of one grey level.
    """
    flat = np.flatnonzero(found)
    if not len(flat):
        return
    height, width = found.shape
    count, labels = cv2.connectedComponents(found.view(np.uint8), connectivity=8)
    label = np.asarray(labels, np.int32).ravel().take(flat)
    pieces = _Pieces(flat, flat // width, flat % width, label, count)
    top, bottom = _range(pieces.rows, pieces)
    left, right = _range(pieces.columns, pieces)
    extent = np.hypot(bottom - top + 1, right - left + 1)
    area = np.maximum(np.bincount(label, minlength=count), 1)
    mean = np.bincount(label, strength.ravel().take(flat), count) / area / level
    cut = (top == 0) | (left == 0) | (bottom == height - 1) | (right == width - 1)
    worth = extent * np.where(cut, CUT_GAIN, 1) + STRONG_GAIN * mean
    drop = worth < LENGTH * min(height, width) / UNIT
    dark = (depth >= CROWD_DEPTH).view(np.uint8)
    box = (CROWD_BOX, CROWD_BOX)
    near = cv2.boxFilter(dark, cv2.CV_8U, box, normalize=False).ravel().take(flat)
    beside = np.bincount(label, near, count) / area / CROWD_BOX - area / extent
    short = min(height, width)
    small = extent < CROWD_LENGTH * short / UNIT
    drop |= (beside > CROWD_WIDTH) & small & (mean < CROWD_STRENGTH)
    drop[0] = True
    _drop_stubby(drop, pieces, small)
    edges = (area / extent > RULER_WIDTH) | (beside > RULER_BESIDE)
    _drop_rulers(drop, pieces, depth, extent=extent / short, edges=edges)
    found.ravel()[flat[drop[label]]] = False


def _drop_stubby(drop: NDArray[np.bool_], pieces: _Pieces, small: NDArray[np.bool_]) -> None:
    """Mark short pieces that are too wide for their length, in place.

    Args:
        drop: bool [count], of each piece.
        pieces: all of them.
        small: bool [count], of the short ones.
    """
    chosen = (small & ~drop)[pieces.label]
    label = pieces.label[chosen]
    y, x = pieces.rows[chosen].astype(np.float64), pieces.columns[chosen].astype(np.float64)
    area = np.maximum(np.bincount(label, minlength=pieces.count), 1)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(label, values, pieces.count) / area

    my, mx = mean(y), mean(x)
    yy, xx, xy = mean(y * y) - my * my, mean(x * x) - mx * mx, mean(x * y) - mx * my
    spread = np.hypot(yy - xx, 2 * xy)
    drop |= (yy + xx - spread) > STUBBY**2 * (yy + xx + spread)


def _drop_rulers(
    drop: NDArray[np.bool_],
    pieces: _Pieces,
    depth: NDArray[np.uint8],
    *,
    extent: NDArray[np.float64],
    edges: NDArray[np.bool_],
) -> None:
    """Mark edges and ticks of rulers, in place.

    Args:
        drop: bool [count], of each piece.
        pieces: all of them.
        depth: uint8 [H, W].
        extent: float64 [count], as a share of the short side.
        edges: bool [count], of those wide enough to be an edge with ticks.
    """
    for piece in np.flatnonzero(~drop & edges & (extent >= RULER_EXTENT)):
        drop[piece] = rulers.is_edge(*pieces.points(piece), depth)
    short = np.flatnonzero(~drop & (extent <= TICK_EXTENT))
    if len(short) >= rulers.LEAST_TICKS:
        drop[short] = rulers.tick_rows([pieces.points(piece) for piece in short])


def _range(
    positions: NDArray[np.intp], pieces: _Pieces
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Least and greatest position of each piece; of label 0, which has no pixel, nothing real."""
    least = np.full(pieces.count, np.iinfo(np.int32).max, np.intp)
    greatest = np.zeros(pieces.count, np.intp)
    np.minimum.at(least, pieces.label, positions)
    np.maximum.at(greatest, pieces.label, positions)
    least[0] = 0
    return least, greatest
