"""Sums along straight lines in twelve directions, by doubling.

An image is kept flattened with a margin around it, so that a shift along a line is one offset into
memory, and the sums over sixteen pixels take four additions of whole images of bytes. Twelve
directions, 12 to 18 degrees apart, follow a line of sixteen pixels to within a pixel and a quarter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

TAPS = 16
"""Pixels on one line."""

DEEPEST = 15
"""Largest value whose sum over a line fits into a byte."""

MARGIN = 16
"""Rows and columns added around the image: half a line and its flanks, with room."""

PAIRS = 6
"""Pairs of neighbouring directions."""

# The shifts (x, y) that add to a line's first pixel the second, the third and fourth, the next four
# and the next eight; by direction from 0 to 165 degrees. On the diagonals the last shift is half of
# that, so that the line is not longer there: its middle counts twice.
_SHIFTS: tuple[tuple[tuple[int, int], ...], ...] = (
    ((1, 0), (2, 0), (4, 0), (8, 0)),
    ((1, 0), (2, 0), (4, 1), (8, 2)),
    ((1, 0), (2, 1), (4, 2), (8, 4)),
    ((1, 1), (2, 2), (4, 4), (4, 4)),
    ((0, 1), (1, 2), (2, 4), (4, 8)),
    ((0, 1), (0, 2), (1, 4), (2, 8)),
    ((0, 1), (0, 2), (0, 4), (0, 8)),
    ((0, 1), (0, 2), (-1, 4), (-2, 8)),
    ((0, 1), (-1, 2), (-2, 4), (-4, 8)),
    ((-1, 1), (-2, 2), (-4, 4), (-4, 4)),
    ((1, 0), (-2, 1), (-4, 2), (-8, 4)),
    ((1, 0), (2, 0), (-4, 1), (-8, 2)),
)

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class _Line:
    """A direction as offsets into a flattened image: to build the line, centre it, flank it."""

    steps: tuple[int, ...]
    centre: int
    flanks: tuple[int, ...]


@lru_cache(maxsize=64)
def _lines(stride: int, distances: tuple[int, ...]) -> tuple[_Line, ...]:
    """All directions for an image of `stride` pixels a row, with flanks at the given distances."""
    lines = []
    for shifts in _SHIFTS:
        x, y = (sum(axis) for axis in zip(*shifts, strict=True))
        along_x, along_y = shifts[2]
        length = (along_x**2 + along_y**2) ** 0.5
        flanks = tuple(
            round(along_x / length * distance) * stride - round(along_y / length * distance)
            for distance in distances
        )
        steps = tuple(dy * stride + dx for dx, dy in shifts)
        lines.append(_Line(steps, y // 2 * stride + int(x / 2), flanks))
    return tuple(lines)


def line_responses(depth: Bytes, *, thin: int, thick: int, thick_cost: int) -> list[Bytes]:
    """How much deeper the line through each pixel is than both lines beside it.

    Args:
        depth: uint8 [H, W], at most `DEEPEST`.
        thin: distance of the flanking lines, in pixels, for hairs narrower than that.
        thick: another distance, for wider hairs; looked at in every other direction only.
        thick_cost: what is subtracted from the response of wide hairs.

    Returns:
        PAIRS arrays, uint8 [H, W + 2 MARGIN] with a margin left and right: the largest of two
        neighbouring directions' responses, TAPS times the difference of depth, 0 where negative.
    """
    height, width = depth.shape
    padded = cv2.copyMakeBorder(depth, *(MARGIN,) * 4, cv2.BORDER_REPLICATE)
    stride = width + 2 * MARGIN
    size = height * stride
    start_of: dict[tuple[int, ...], Bytes] = {(): np.asarray(padded, np.uint8).ravel()}
    pairs: list[Bytes] = []
    for index, line in enumerate(_lines(stride, (thin, thick))):
        total = _sum_along(line.steps, start_of)
        start = MARGIN * stride - line.centre
        centre = total[start : start + size]
        response = _excess(centre, _deeper_flank(total, start, size, line.flanks[0]))
        if index % 2 == 0:
            pairs.append(response)
            continue
        wide = _excess(centre, _deeper_flank(total, start, size, line.flanks[1]))
        np.maximum(response, _excess(wide, thick_cost), out=response)
        np.maximum(pairs[-1], response, out=pairs[-1])
    return [pair.reshape(height, stride) for pair in pairs]


def _sum_along(steps: tuple[int, ...], start_of: dict[tuple[int, ...], Bytes]) -> Bytes:
    """Sums over the line that starts at each pixel; what lines have in common is summed once."""
    shared = len(steps) // 2
    total = start_of[()]
    for number, step in enumerate(steps, 1):
        done = steps[:number]
        if done in start_of:
            total = start_of[done]
            continue
        total = total[:-step] + total[step:]
        if number <= shared:
            start_of[done] = total
    return total


def _deeper_flank(total: Bytes, start: int, size: int, flank: int) -> Bytes:
    return np.maximum(
        total[start + flank : start + flank + size], total[start - flank : start - flank + size]
    )


def _excess(value: Bytes, bound: Bytes | int) -> Bytes:
    """`value` - `bound`, 0 where negative."""
    return np.asarray(cv2.subtract(value, bound), np.uint8).ravel()


def on_lines(layers: list[Bytes], *, pixels: int) -> NDArray[np.bool_]:
    """Keep the pixels on whose line, of `TAPS` centred at them, enough others are set.

    Args:
        layers: PAIRS masks, uint8 [H, W + 2 MARGIN] of 0 and 1, changed in their margins; the one
            at k holds what runs in the directions of the pairs k - 1 and k, and is looked at along
            the direction between them.
        pixels: least number of pixels that are set: half the line at a hair's end.

    Returns:
        bool [H, W], the union over the layers.
    """
    height, stride = layers[0].shape
    size = height * stride
    found = np.zeros(size, np.uint8)
    lines = _lines(stride, ())
    for k, layer in enumerate(layers):
        tall = _with_margins(layer)
        total = tall
        for step in lines[2 * k - 1].steps:
            total = total[:-step] + total[step:]
        start = MARGIN * stride - lines[2 * k - 1].centre
        enough = (total[start : start + size] >= pixels).view(np.uint8)
        enough &= tall[MARGIN * stride : MARGIN * stride + size]
        found |= enough
    inner = found.reshape(height, stride)[:, MARGIN:-MARGIN]
    return np.ascontiguousarray(inner).view(np.bool_)


def _with_margins(layer: Bytes) -> Bytes:
    """The layer flattened, its outermost pixels repeated: a hair may go on beyond the image."""
    layer[:, :MARGIN] = layer[:, MARGIN : MARGIN + 1]
    layer[:, -MARGIN:] = layer[:, -MARGIN - 1 : -MARGIN]
    tall = cv2.copyMakeBorder(layer, MARGIN, MARGIN, 0, 0, cv2.BORDER_REPLICATE)
    return np.asarray(tall, np.uint8).ravel()
