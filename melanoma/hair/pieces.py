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
        label: piece of each pixel.
        count: of labels.
    """

    flat: NDArray[np.intp]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    label: NDArray[np.intp]
    count: int

    def only(self, kept: NDArray[np.bool_]) -> _Pieces:
        """Some of the pieces, numbered anew from 0.

        Args:
            kept: bool [count].
        """
        chosen = kept[self.label]
        number = np.cumsum(kept, dtype=np.intp) - 1
        return _Pieces(
            self.flat[chosen],
            self.rows[chosen],
            self.columns[chosen],
            number[self.label[chosen]],
            int(np.count_nonzero(kept)),
        )

    def axes(self) -> rulers.Axes:
        """Where each piece lies and how it is spread."""
        return rulers.Axes.of(self.rows, self.columns, self.label, self.count)

    def points(self, piece: int | np.intp) -> rulers.Points:
        """Rows and columns of a piece's pixels."""
        own = self.label == piece
        return self.rows[own], self.columns[own]


@dataclass(frozen=True)
class _Sizes:
    """How long, large and strong each piece is: float64 [count] each.

    Attributes:
        extent: of the box around it, corner to corner, in pixels.
        area: in pixels.
        mean: strength, in grey levels.
    """

    extent: NDArray[np.float64]
    area: NDArray[np.float64]
    mean: NDArray[np.float64]


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
    suspects = _drop(found, strength, depth, level)
    if len(suspects) and rulers.cut_edges(found, suspects, depth):
        _drop(found, strength, depth, level)


def _drop(
    found: NDArray[np.bool_], strength: NDArray[np.uint8], depth: NDArray[np.uint8], level: float
) -> NDArray[np.intp]:
    """Clear odd pieces; flat indices of the others that may hold a ruler's edge all the same."""
    pieces, sizes = _long_pieces(found, strength, level)
    found[:] = False
    if not pieces.count:
        return pieces.flat
    short = min(found.shape)
    extent, area = sizes.extent, sizes.area
    dark = (depth >= CROWD_DEPTH).view(np.uint8)
    box = (CROWD_BOX, CROWD_BOX)
    near = cv2.boxFilter(dark, cv2.CV_8U, box, normalize=False).ravel().take(pieces.flat)
    beside = np.bincount(pieces.label, near, pieces.count) / area / CROWD_BOX - area / extent
    small = extent < CROWD_LENGTH * short / UNIT
    drop = (beside > CROWD_WIDTH) & small & (sizes.mean < CROWD_STRENGTH)
    axes = pieces.axes()
    drop |= small & (axes.across > STUBBY * axes.along)
    edges = (area / extent > RULER_WIDTH) | (beside > RULER_BESIDE)
    edges &= ~drop & (extent >= RULER_EXTENT * short)
    bordered = rulers.with_border(depth)
    for piece in np.flatnonzero(edges & (axes.across <= rulers.EDGE_WIDTH)):
        own = axes.only(np.array([piece]))
        drop[piece] = rulers.is_edge(*pieces.points(piece), own, bordered)
    ticks = np.flatnonzero(~drop & (extent <= TICK_EXTENT * short))
    drop[ticks] = rulers.tick_rows(axes.only(ticks))
    found.ravel()[pieces.flat[~drop[pieces.label]]] = True
    suspects: NDArray[np.intp] = pieces.flat[(edges & ~drop)[pieces.label]]
    return suspects


def _long_pieces(
    found: NDArray[np.bool_], strength: NDArray[np.uint8], level: float
) -> tuple[_Pieces, _Sizes]:
    """The pieces that are long or strong enough: a few, most are specks."""
    every = _pieces_of(found)
    height, width = found.shape
    top, bottom = _range(every.rows, every)
    left, right = _range(every.columns, every)
    extent = np.hypot(bottom - top + 1, right - left + 1)
    area = np.maximum(np.bincount(every.label, minlength=every.count), 1).astype(np.float64)
    mean = np.bincount(every.label, strength.ravel().take(every.flat), every.count) / area / level
    cut = (top == 0) | (left == 0) | (bottom == height - 1) | (right == width - 1)
    worth = extent * np.where(cut, CUT_GAIN, 1) + STRONG_GAIN * mean
    kept = worth >= LENGTH * min(height, width) / UNIT
    kept[0] = False
    return every.only(kept), _Sizes(extent[kept], area[kept], mean[kept])


def _pieces_of(found: NDArray[np.bool_]) -> _Pieces:
    """All pieces; label 0 is of none."""
    flat = np.flatnonzero(found)
    count, labels = cv2.connectedComponents(found.view(np.uint8), connectivity=8)
    rows, columns = np.divmod(flat, found.shape[1])
    return _Pieces(flat, rows, columns, np.asarray(labels.ravel().take(flat), np.intp), count)


def _range(
    positions: NDArray[np.intp], pieces: _Pieces
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Least and greatest position of each piece; of one without pixels, nothing real."""
    least = np.full(pieces.count, np.iinfo(np.int32).max, np.intp)
    greatest = np.zeros(pieces.count, np.intp)
    np.minimum.at(least, pieces.label, positions)
    np.maximum.at(greatest, pieces.label, positions)
    return least, greatest
