"""The round field of a dermatoscope on dark: a circle, or upright ellipse, fitted to its edge."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Insets = tuple[int, int, int, int]
"""Pixels cut off at the left, top, right and bottom."""

# Levels are grey, of 255; lengths are pixels at a short side of 64. Chosen on real photographs with
# a round field, on real ones under real masks of such fields, and on 5,920 of which few have a
# surround; see docs/benchmarks.md, near-duplicates.

SKIPPED = 1
"""Outermost lines that are not looked at: some pictures end in a light line on the black."""

_PATCH = 4
"""Side of the corners whose mean level is the surround's."""

_CONTRAST = 50
"""Least difference between the brightest tenth of a picture and its darkest corner."""

_DARKEST_SHARE = 0.45
"""Greatest level of a dark corner, as a share of the brightest tenth's."""

_EDGE = 0.25
"""Where the edge lies between the levels of surround and field: low, since lesions are dark too."""

_LEAST_AREA = 0.003
"""Least share of the frame that is surround."""

_OFF = 1.25
"""Greatest distance of a point of the edge from the circle."""

_ON = 0.7
"""Least share of the edge that lies on the circle: lesions that reach it, and glare, do not."""

_LEAST_POINTS = 8

_CENTRE = (0.2, 0.8)
"""Where the circle's centre may lie, as a share of width and height."""

_RADIUS = (0.2, 0.62)
"""Least radius, as a share of the short side, and greatest, as a share of the diagonal."""

_SQUASHED = 1.6
"""Greatest ratio of an ellipse's radii."""

DARK = 0.35
"""Greatest level of the surround, as a share of the brightest tenth's: vignetting is brighter."""

_ALL = 0.9
"""Least share of the surround that is as dark."""

_SOME_DARK = 0.5
"""Least share that is, of all that is darker than the edge."""

_STEP = 0.3
"""Least difference of the levels inside and outside the edge, as a share of the contrast."""

_LEAST_SIDE = 21
"""Least side of what bars leave in which a field is looked for."""


class Ellipse(NamedTuple):
    """Upright: its centre and its radii, in pixels or in shares of a picture."""

    x: float
    y: float
    across: float
    down: float

    def beyond(self, x: Floats, y: Floats) -> Floats:
        """How far points lie outside, in pixels; exact for a circle."""
        away = np.hypot((x - self.x) / self.across, (y - self.y) / self.down)
        return np.asarray((away - 1) * np.sqrt(self.across * self.down), np.float64)


def places_along(length: int) -> Floats:
    """Numbers of pixels along a side: 0, 1, ... as float64."""
    return np.arange(length, dtype=np.float64)


def find_round_field(grey: Pixels) -> tuple[Ellipse, Insets] | None:
    """The round field on dark within a picture without bars, and where it is cut off."""
    height, width = grey.shape
    if min(height, width) < _LEAST_SIDE:
        return None
    body = grey[SKIPPED:-SKIPPED, SKIPPED:-SKIPPED]
    ends = slice(None, _PATCH), slice(-_PATCH, None)
    corners = [body[rows, columns].tobytes() for rows in ends for columns in ends]
    dark = min(sum(corner) / len(corner) for corner in corners)
    tenth = grey.size // 10
    least = max(dark + _CONTRAST, dark / _DARKEST_SHARE)
    if np.count_nonzero(grey >= least) < tenth:
        return None
    bright = float(np.partition(grey, grey.size - tenth, axis=None)[grey.size - tenth])
    contrast = bright - dark
    region = at_corners(body < dark + _EDGE * contrast, least=_LEAST_AREA)
    if region is None or np.mean(body[region] <= DARK * bright) < _SOME_DARK:
        return None
    edge = _edge(region)
    if edge is None:
        return None
    x, y = (places + SKIPPED for places in edge)
    found = _cut_circle(x, y, height, width)
    if found is None or not _parts(grey, *found, level=DARK * bright, step=_STEP * contrast):
        return None
    return found


def _cut_circle(x: Floats, y: Floats, height: int, width: int) -> tuple[Ellipse, Insets] | None:
    """The ellipse on which an edge lies, but for straight parts at its sides."""
    if len(x) < _LEAST_POINTS:
        return None
    near = (x - x.min(), y - y.min(), x.max() - x, y.max() - y)
    cuts = (int(x.min()), int(y.min()), width - 1 - int(x.max()), height - 1 - int(y.max()))
    for sides in ((), (1, 3), (0, 2), (0, 1, 2, 3)):
        kept = np.ones(len(x), np.bool_)
        for side in sides:
            kept &= near[side] > _OFF
        ellipse = _fit(x[kept], y[kept], height, width)
        if ellipse is not None:
            left, top, right, bottom = (
                cut if side in sides and cut > SKIPPED else 0 for side, cut in enumerate(cuts)
            )
            return ellipse, (left, top, right, bottom)
    return None


def at_corners(dark: Mask, *, least: float = 0.0) -> Mask | None:
    """What is dark and reaches a corner.

    Args:
        dark: bool [h, w].
        least: share of the picture that must be dark in all.

    Returns:
        bool [h, w]; None where nothing is, or too little is dark.
    """
    if np.count_nonzero(dark) < least * dark.size:
        return None
    count, label = cv2.connectedComponents(dark.view(np.uint8), connectivity=4)
    chosen = np.zeros(count, np.bool_)
    for y in (0, -1):
        for x in (0, -1):
            chosen[label[y, x]] |= dark[y, x]
    return chosen[label] if chosen.any() else None


def _edge(region: Mask) -> tuple[Floats, Floats] | None:
    """Points of the field's edge, off the frame: x and y, or None where next to all is field.

    Args:
        region: bool [h, w], what is dark around the field.
    """
    rest = (~region).view(np.uint8)
    rest = cv2.morphologyEx(rest, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    contours, _ = cv2.findContours(rest, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    contour = max(contours, key=cv2.contourArea)
    hull = cv2.convexHull(contour)
    convex = np.zeros(rest.shape, np.uint8)
    cv2.fillConvexPoly(convex, hull, 1)
    if 1 - float(convex.mean()) < _LEAST_AREA:
        return None
    outline, _ = cv2.findContours(convex, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = outline[0][:, 0]
    high, wide = rest.shape
    x, y = points[:, 0], points[:, 1]
    # The hull spans over bays, such as lesions that reach the edge: it is no edge there.
    free = (x > 0) & (x < wide - 1) & (y > 0) & (y < high - 1) & (rest[y, x] > 0)
    return x[free].astype(np.float64), y[free].astype(np.float64)


def _fit(x: Floats, y: Floats, height: int, width: int) -> Ellipse | None:
    """The circle, else the upright ellipse, on which most points lie; its edge at their outside."""
    for axes in (1, 2):
        kept = np.ones(len(x), np.bool_)
        ellipse = None
        for _ in range(4):
            if np.count_nonzero(kept) < _LEAST_POINTS:
                return None
            ellipse = _least_squares(x[kept], y[kept], axes)
            if ellipse is None:
                break
            kept = np.abs(ellipse.beyond(x, y)) <= _OFF
        if ellipse is not None and kept.mean() >= _ON and _plausible(ellipse, height, width):
            return ellipse._replace(across=ellipse.across + 0.5, down=ellipse.down + 0.5)
    return None


def _least_squares(x: Floats, y: Floats, axes: int) -> Ellipse | None:
    """Circle (axes 1) or upright ellipse (2) by algebraic least squares (Kasa 1976)."""
    columns = [x, y, np.ones_like(x)] + ([y * y] if axes == 2 else [])
    target = x * x + (y * y if axes == 1 else 0)
    matrix = np.stack(columns)
    try:
        solution = np.linalg.solve(matrix @ matrix.T, matrix @ target)
    except np.linalg.LinAlgError:
        return None  # points on a line
    squash = 1.0 if axes == 1 else -float(solution[3])
    if not _SQUASHED**-2 <= squash <= _SQUASHED**2:
        return None
    cx, cy = float(solution[0]) / 2, float(solution[1]) / (2 * squash)
    square = float(solution[2]) + cx * cx + squash * cy * cy
    if square <= 0:
        return None
    return Ellipse(cx, cy, square**0.5, (square / squash) ** 0.5)


def _plausible(ellipse: Ellipse, height: int, width: int) -> bool:
    """Whether it lies as fields do: not the outline of a limb, nor a spot in the middle."""
    low, high = _CENTRE
    least = _RADIUS[0] * min(height, width)
    most = _RADIUS[1] * float(np.hypot(height, width))
    return (
        low * width < ellipse.x < high * width
        and low * height < ellipse.y < high * height
        and least < min(ellipse.across, ellipse.down)
        and max(ellipse.across, ellipse.down) < most
    )


def _parts(grey: Pixels, ellipse: Ellipse, insets: Insets, *, level: float, step: float) -> bool:
    """Whether it is dark all around the field and clearly brighter inside."""
    height, width = grey.shape
    x, y = places_along(width), places_along(height)[:, None]
    beyond = ellipse.beyond(x, y)
    for inset, away in zip(insets, (x, y, width - 1 - x, height - 1 - y), strict=True):
        if inset:
            beyond = np.maximum(beyond, inset - away)
    outside, inside = grey[beyond > 1], grey[(beyond < -3) & (beyond > -8)]
    if len(outside) < _LEAST_POINTS or not len(inside):
        return False
    if np.mean(outside <= level) < _ALL:
        return False
    return bool(np.median(inside) - np.median(outside) >= step)
