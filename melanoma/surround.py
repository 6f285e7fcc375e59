"""The surround of a photograph: what lies around the field that shows skin.

Half of ISIC 2019 shows the round field of a dermatoscope on black (BCN20000); other pictures stand
between bars, were padded to squares or framed. The surround is the same in unrelated pictures and
shows nothing, so that hair removal, skin tone and the search for near-duplicates leave it out.

A field is a box, a circle (or an ellipse, in a stretched picture) or what both have in common. It
is found on grey at a short side of `SIDE` pixels and given in shares of the frame, so that it holds
at every scale. What is dark at a corner is often no surround but a lesion, hair, a fold or
vignetting: a surround is dark or of one colour throughout, and its inner edge is a circle or
parallel to the frame. Where that is in doubt, there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from melanoma.round_field import (
    DARK,
    SKIPPED,
    Ellipse,
    Floats,
    at_corners,
    find_round_field,
    places_along,
)

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

SIDE = 64
"""Short side, in pixels, at which the surround is looked for."""

MARGIN = 0.04
"""Width of the field's rim that belongs to neither, as a share of the short side: edges are soft
over a few per cent, and some have a line of their own colour."""

# Levels are grey, of 255; lengths are pixels at a short side of `SIDE`. Chosen on real photographs
# with a round field, on real ones under real masks of such fields, and on 5,920 of which few have a
# surround; see docs/benchmarks.md, near-duplicates.

_CORNER, _GRID, _LINE = 4, 8, 20
"""Pixels looked at first: of each corner's tip, along each side of a grid, of each line."""

_PAIRS = (2, 12)
"""Where two pairs of them stand of which one is alike in an even line."""

_ROOM = 8
"""Levels by which a corner may seem brighter in these."""

_TIP = 2
"""Side of the tip of a corner, which is dark even where its other pixels are of the rim."""

_NOISY = {True: 12, False: 6}
"""Difference of most of them, at most, where the line may be a bar's, black or white or not."""

_BLACK, _WHITE = 16, 247
"""Levels up to, and from, which bars are taken for black or white."""

_EVEN = {True: 6.0, False: 2.5}
"""Greatest difference within a bar, black or white or not: paddings of other colours are exact."""

_BAR_STEP = {True: 15, False: 6}
"""Least difference of what follows a bar, black or white or not, at `_MOSTLY` of a line."""

_MOSTLY = 0.6

_NEXT = slice(1, 4)
"""Lines after a bar, of which one must differ; the first is a mixture, others a rim's own."""

_NARROW = 0.25
"""Least share of width and height that bars leave: a narrower stripe is no photograph."""

_HAS_CORNERS = 8
"""Least side, in pixels, of a picture whose corners are looked at alone."""

_FINE = 64
"""Side of the grid on which a field's share is counted."""

_COARSE = 16
"""Short side, in pixels, at which the surround is filled."""

_SOME = 4.0
"""Least mean of a mask's values, of 255, around a coarse pixel that is filled from there."""


@dataclass(frozen=True)
class Field:
    """The part of a picture that shows skin, in shares of its width and height.

    Attributes:
        left, top, right, bottom: the box; 0, 0, 1, 1 where there are no bars.
        ellipse: centre x and y and radius across and down; None where the box is all of it.
    """

    left: float
    top: float
    right: float
    bottom: float
    ellipse: tuple[float, float, float, float] | None

    @property
    def surround(self) -> float:
        """Share of a square picture that lies around the field, rounded to 3 places."""
        return round(1 - float(self.inside(_FINE, _FINE, margin=0).mean()), 3)

    def inside(self, height: int, width: int, *, margin: float = MARGIN) -> Mask:
        """Which pixels of the picture, at any scale, lie in the field.

        Args:
            height: of the picture, in pixels.
            width: likewise.
            margin: what is left out along the edge, as a share of the short side.

        Returns:
            bool [height, width]. Where the field ends at the frame, nothing is left out there.
        """
        rim = margin * min(height, width)
        x, y = places_along(width) + 0.5, places_along(height) + 0.5
        columns = _between(x / width, self.left, self.right, rim / width)
        rows = _between(y / height, self.top, self.bottom, rim / height)
        mask = rows[:, None] & columns
        if self.ellipse is not None:
            cx, cy, across, down = self.ellipse
            # A square root of each pixel would cost more than finding the field.
            reach = max(0.0, 1 - rim / float(np.sqrt(across * width * down * height)))
            right, below = (x / width - cx) / across, (y / height - cy) / down
            mask &= np.square(right) + np.square(below)[:, None] <= reach * reach
        return mask


def _between(places: Floats, low: float, high: float, rim: float) -> Mask:
    """Which places lie between two bars and their rims; there is no rim where there is no bar."""
    least = low + rim if low > 0 else 0.0
    most = high - rim if high < 1 else 1.0
    return np.asarray((places >= least) & (places <= most), np.bool_)


def find_field(pixels: Pixels) -> Field | None:
    """Find the field of a picture that has a surround.

    Args:
        pixels: uint8 [H, W] or [H, W, 3], RGB.

    Returns:
        The field, or None where the picture has no surround, or it is in doubt.
    """
    dark_corner, even_side = _may_have(pixels)
    if not (dark_corner or even_side):
        return None
    grey = _small(pixels)
    height, width = grey.shape
    left = top = right = bottom = 0
    if even_side:
        left, right = _bars(np.ascontiguousarray(grey.T))
        top, bottom = _bars(grey)
    bars = any((left, top, right, bottom))
    if not (dark_corner or bars):
        return None
    if width - left - right < _NARROW * width or height - top - bottom < _NARROW * height:
        return None
    found = find_round_field(grey[top : height - bottom, left : width - right])
    if found is None and not bars:
        return None
    ellipse = None
    if found is not None:
        ellipse, inner = found
        left, top, right, bottom = (
            bar + more for bar, more in zip((left, top, right, bottom), inner, strict=True)
        )
        # A round field's own bars are counted in what is left by those of another colour.
        x, y = ellipse.x + left - inner[0] + 0.5, ellipse.y + top - inner[1] + 0.5
        ellipse = Ellipse(x / width, y / height, ellipse.across / width, ellipse.down / height)
    return Field(left / width, top / height, 1 - right / width, 1 - bottom / height, ellipse)


@lru_cache(maxsize=256)
def _samples(height: int, width: int, channels: int) -> NDArray[np.intp]:
    """Where a few pixels lie that tell most pictures off: indices into the flattened picture.

    Those of the tips of the four corners, `_CORNER` each, then of a grid over the picture,
    `_GRID` x `_GRID`, then of the lines at the four sides, `_LINE` each. Of three channels the
    second, green, is taken.
    """
    unit = min(height, width) / SIDE
    near, far = (SKIPPED + 0.5) * unit, (SKIPPED + _TIP - 0.5) * unit
    ends = [(near, far), (-far - 1, -near - 1)]
    places = [(y, x) for high in ends for wide in ends for y in high for x in wide]
    along = [(place + 0.5) / _GRID for place in range(_GRID)]
    places += [(height * y, width * x) for y in along for x in along]
    line = [(place + 0.5) / _LINE for place in range(_LINE)]
    places += [(y, width * x) for y in (near, -near - 1) for x in line]
    places += [(height * y, x) for x in (near, -near - 1) for y in line]
    flat = np.array([int(y) % height * width + int(x) % width for y, x in places], np.intp)
    return flat if channels == 1 else flat * channels + 1


def _may_have(pixels: Pixels) -> tuple[bool, bool]:
    """Whether there may be a round field, and bars: a few pixels tell most pictures off.

    They are read as they are, at a tenth of the cost of shrinking a picture.
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else 3
    values = pixels.reshape(-1).take(_samples(height, width, channels)).tobytes()
    grid, lines = 4 * _CORNER, 4 * _CORNER + _GRID * _GRID
    dark = _CORNER * (DARK * max(values[grid:lines]) + _ROOM)
    corners = (values[start : start + _CORNER] for start in range(0, grid, _CORNER))
    sides = (values[start : start + _LINE] for start in range(lines, len(values), _LINE))
    return any(sum(corner) <= dark for corner in corners), any(map(_looks_even, sides))


def _looks_even(line: bytes) -> bool:
    """Whether most values of a line are alike, noise of single pixels allowed for."""
    quarter = _LINE // 4
    if min(abs(line[start] - line[start + quarter]) for start in _PAIRS) > _NOISY[True]:
        return False
    values = sorted(line)
    low, high = values[_LINE // 10], values[-1 - _LINE // 10]
    return high - low <= _NOISY[high <= _BLACK or low >= _WHITE]


def _small(pixels: Pixels) -> Pixels:
    """Grey at a short side of `SIDE`.

    Means of whole numbers of pixels, then linear: a quarter of the cost of one area average. What
    does not make a whole pixel is cut off, the same on both sides.
    """
    height, width = pixels.shape[:2]
    ratio = SIDE / min(height, width)
    size = (max(SIDE, round(width * ratio)), max(SIDE, round(height * ratio)))
    grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    if (times := int(1 / ratio)) > 1:
        top, left = height % times // 2, width % times // 2
        high, wide = height // times, width // times
        whole = grey[top : top + high * times, left : left + wide * times]
        grey = cv2.resize(whole, (wide, high), interpolation=cv2.INTER_AREA)
    if grey.shape != size[::-1]:
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(grey, np.uint8)


def _bars(grey: Pixels) -> tuple[int, int]:
    """Rows at the top and at the bottom that are of one colour: 0 where there is no bar."""
    return _bar(grey), _bar(grey[::-1])


def _bar(grey: Pixels) -> int:
    level = int(np.partition(grey[SKIPPED], len(grey[0]) // 2)[len(grey[0]) // 2])
    extreme = level <= _BLACK or level >= _WHITE
    few, even = grey.shape[1] // 20, _EVEN[extreme]
    if np.count_nonzero(cv2.absdiff(grey[SKIPPED], float(level)) > even) > few:
        return 0
    half = cv2.absdiff(grey[: len(grey) // 2], float(level))
    # What may differ: a scale, letters.
    other = np.count_nonzero(half[SKIPPED:] > even, axis=1) > few
    if not other.any():
        return 0
    bar = SKIPPED + int(np.argmax(other))
    after = half[bar + _NEXT.start : bar + _NEXT.stop]
    steps = np.count_nonzero(after > _BAR_STEP[extreme], axis=1)
    return bar if (steps >= _MOSTLY * grey.shape[1]).any() else 0


def off_black_corners(rgb: Pixels) -> Mask | None:
    """What lies off corners that are black, where these are too small to tell a field by.

    Args:
        rgb: uint8 [H, W, 3].

    Returns:
        bool [H, W]; None where no corner is black.
    """
    if min(rgb.shape[:2]) < _HAS_CORNERS:
        return None
    ends = slice(None, 3), slice(-3, None)
    if all(max(rgb[rows, columns].tobytes()) > _BLACK for rows in ends for columns in ends):
        return None
    black = cv2.inRange(rgb, (0, 0, 0), (2 * _BLACK,) * 3)
    found = at_corners(black > 0)
    if found is None:
        return None
    # Its edge is soft.
    wider = cv2.dilate(found.view(np.uint8), np.ones((5, 5), np.uint8))
    return np.asarray(wider == 0, np.bool_)


def fill_surround(pixels: Pixels, inside: Mask) -> Pixels:
    """Put the colour of the field nearby in place of the surround, without any detail.

    Args:
        pixels: uint8 [h, w] or [h, w, 3].
        inside: bool [h, w], from `Field.inside`, True somewhere.

    Returns:
        A new array of that shape; what is inside is as it was.
    """
    height, width = inside.shape
    ratio = _COARSE / min(height, width)
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    shown = inside.view(np.uint8)
    sums, counts = (
        cv2.resize(values, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        for values in (cv2.copyTo(pixels, shown), shown * np.uint8(255))
    )
    filled = np.zeros_like(sums)
    left = np.ones(counts.shape, np.bool_)
    for side in (3, 7, 2 * _COARSE * max(1, round(max(height, width) / min(height, width))) + 1):
        total, count = (
            cv2.blur(v, (side, side), borderType=cv2.BORDER_CONSTANT) for v in (sums, counts)
        )
        near = left & (count > _SOME)
        share = count[near] / np.float32(255)
        filled[near] = total[near] / (share if total.ndim == 2 else share[:, None])
        left &= ~near
    whole = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR)
    result = np.clip(np.rint(whole), 0, 255).astype(np.uint8)
    return np.asarray(cv2.copyTo(pixels, shown, result), np.uint8)
