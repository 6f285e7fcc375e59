"""Detection of hairs: dark lines that are thin, straight over some length and stand out.

A pixel responds when the mean depth along a short line through it is larger than along both
parallel lines beside it. One-sided edges (the lesion's border, the rim of the dark frame) and
blobs do not respond; the meshes of pigment network bend and branch within the line, respond
weakly, are surrounded by their like, and break into pieces that are too short.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from melanoma.hair.lines import (
    DEEPEST,
    MARGIN,
    PAIRS,
    TAPS,
    Bytes,
    line_responses,
    on_lines,
)
from melanoma.hair.pieces import drop_odd_pieces

# All chosen on drawn hairs over real hair-free images (PSNR and SSIM against the hair-free image),
# the change of hair-free images, and by eye on real hairy images. Lengths are in pixels of an image
# with a short side of 190 to 380 pixels, where hairs are one to six pixels wide.

STEP = 6
"""Grey levels in one step of depth: it is counted to 15, so that sums over a line fit a byte."""

LEVEL = TAPS / STEP
"""Response to one grey level."""

VALLEY = 11
"""Side of the square in which a pixel's depth below its surroundings is measured."""

BRIGHT = 3
"""Width of bright things that are no surroundings: light hairs, specks of glare."""

THIN, THICK = 2, 4
"""Distances of the flanking lines."""

THICK_COST = 20
"""Grey levels by which wide hairs must be darker than thin ones: wide faint lines are no hairs."""

NEAR = 9
"""Side of the square in which a hair's own pixels must be darker than their surroundings."""

CONTRAST = 2.2
"""Least strength, in grey levels."""

PROMINENCE = 2.5
"""Least strength relative to the mean strength around."""

PROMINENCE_CAP = 12
"""Grey levels above which strength does not count in that mean: hairs are no reason to distrust."""

NEIGHBOURHOOD = 0.18
"""Side of the box of that mean, as a share of the short side."""

RUN = 6
"""Pixels that must pass on the straight line of `TAPS` around one."""


def find_hairs(dark: Bytes, inside: Bytes | None = None) -> NDArray[np.bool_]:
    """Find dark hairs.

    Args:
        dark: uint8 [H, W], in which hairs are dark; short side of about 190 to 380 pixels.
        inside: uint8 [H, W], 1 within the field that shows skin, else 0; None: all is skin.

    Returns:
        bool [H, W], True on the hairs' cores.
    """
    depth = _depth(dark)
    pairs = line_responses(depth, thin=THIN, thick=THICK, thick_cost=round(THICK_COST * LEVEL))
    strongest = pairs[0].copy()
    for pair in pairs[1:]:
        np.maximum(strongest, pair, out=strongest)
    strength = np.minimum(strongest, _own_depth(dark))
    # Where too weak: above any response, the largest of which is TAPS * DEEPEST.
    bar = strongest | _too_weak(strength, inside)
    layers = [(np.maximum(pairs[k - 1], pairs[k]) >= bar).view(np.uint8) for k in range(PAIRS)]
    found = on_lines(layers, pixels=RUN)
    if inside is not None:
        found &= inside.view(np.bool_)
    inner = np.ascontiguousarray(strength[:, MARGIN:-MARGIN])
    drop_odd_pieces(found, inner, depth, level=LEVEL)
    return found


def _depth(dark: Bytes) -> Bytes:
    """Depth of each pixel below its surroundings, in steps.

    Thin bright things do not count among these: the skin between light hairs is no valley.
    """
    without = cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((BRIGHT, BRIGHT), np.uint8))
    surface = cv2.morphologyEx(without, cv2.MORPH_CLOSE, np.ones((VALLEY, VALLEY), np.uint8))
    depth = cv2.convertScaleAbs(cv2.subtract(surface, dark), alpha=1 / STEP)
    return np.asarray(cv2.min(depth, float(DEEPEST)), np.uint8)


def _valleys(grey: Bytes, side: int) -> Bytes:
    """Depth below the surroundings: grey closing minus image, in a square of `side` pixels."""
    element = np.ones((side, side), np.uint8)
    return np.asarray(cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, element), np.uint8)


def _own_depth(dark: Bytes) -> Bytes:
    """Bound of the strength at each pixel by its own depth, [H, W + 2 MARGIN].

    Without it a line would be found to go on for half its length beyond its end, and a tick of a
    ruler would be as long as a hair.
    """
    smooth = np.asarray(cv2.GaussianBlur(dark, (3, 3), 0), np.uint8)
    bound = cv2.convertScaleAbs(_valleys(smooth, NEAR), alpha=LEVEL)
    sides = (0, 0, MARGIN, MARGIN)
    return np.asarray(cv2.copyMakeBorder(bound, *sides, cv2.BORDER_REPLICATE), np.uint8)


def _too_weak(strength: Bytes, inside: Bytes | None) -> Bytes:
    """255 where no hair can be, else 0: a fixed bound on calm skin, more where all is lines."""
    side = max(15, int(min(strength.shape[0], strength.shape[1] - 2 * MARGIN) * NEIGHBOURHOOD) | 1)
    counted = cv2.min(strength, PROMINENCE_CAP * LEVEL)
    if inside is None:
        around = cv2.blur(counted, (side, side))
        bound = cv2.convertScaleAbs(around, alpha=PROMINENCE)
    else:
        # The mean over skin alone: with the surround's nothing, all near the rim would stand out.
        sides = (0, 0, MARGIN, MARGIN)
        skin = cv2.copyMakeBorder(inside, *sides, cv2.BORDER_REPLICATE)
        total, share = (
            cv2.blur(values, (side, side)) for values in (counted * skin, skin * np.uint8(255))
        )
        bound = cv2.divide(total, share, scale=255 * PROMINENCE)
    return np.asarray(cv2.compare(strength, cv2.max(bound, CONTRAST * LEVEL), cv2.CMP_LE), np.uint8)
