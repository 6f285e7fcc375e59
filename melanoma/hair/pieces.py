"""Connected pieces of detected lines: too short ones and rulers are dropped."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

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

CROWD_LENGTH = 50
CROWD_STRENGTH = 20
RULER_STRENGTH = 15

RULER_EXTENT = 0.3
"""Least extent of a ruler's edge, as a share of the short side."""

RULER_BEND = 1.2
"""Greatest standard deviation of a ruler's edge from a straight line, in pixels."""

RULER_TICKS = 0.55
"""Least share of pixels beside a ruler's edge, on the side with the ticks, that have depth."""

RULER_ONE_SIDED = 1.9
"""Least ratio of the mean depth beside a ruler's edge, with ticks to without."""

_TICK_DISTANCES = np.array([2, 3])
"""Distances from the edge at which ticks are looked for, in pixels."""


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
    scale = min(height, width) / UNIT
    drop |= (beside > CROWD_WIDTH) & (extent < CROWD_LENGTH * scale) & (mean < CROWD_STRENGTH)
    long_and_thin = (area < 3 * extent) & (extent >= RULER_EXTENT * min(height, width))
    for piece in np.flatnonzero(~drop & (mean < RULER_STRENGTH) & long_and_thin):
        own = label == piece
        drop[piece] = _is_ruler(pieces.rows[own], pieces.columns[own], depth)
    found.ravel()[flat[drop[label]]] = False


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


def _is_ruler(rows: NDArray[np.intp], columns: NDArray[np.intp], depth: NDArray[np.uint8]) -> bool:
    """Whether a piece is the edge of a ruler: dead straight, with dark ticks on one side only."""
    direction = _direction(rows, columns)
    if direction is None:
        return False
    down, across = direction
    beside = []
    for side in (1, -1):
        y = rows[:, None] + np.rint(side * across * _TICK_DISTANCES).astype(np.intp)
        x = columns[:, None] - np.rint(side * down * _TICK_DISTANCES).astype(np.intp)
        beside.append(depth[y.clip(0, depth.shape[0] - 1), x.clip(0, depth.shape[1] - 1)])
    clear, ticks = sorted(beside, key=lambda depths: float(depths.mean()))
    one_sided = ticks.mean() >= RULER_ONE_SIDED * clear.mean()
    return bool(one_sided and (ticks > 0).mean() >= RULER_TICKS)


def _direction(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> tuple[float, float] | None:
    """Unit vector (down, across) along a straight piece; None where it bends."""
    y, x = rows - rows.mean(), columns - columns.mean()
    yy, xx, xy = float(y @ y), float(x @ x), float(x @ y)
    spread = math.hypot(yy - xx, 2 * xy)
    if (yy + xx - spread) / 2 > RULER_BEND**2 * len(rows):
        return None
    angle = math.atan2(2 * xy, xx - yy) / 2
    return math.sin(angle), math.cos(angle)
