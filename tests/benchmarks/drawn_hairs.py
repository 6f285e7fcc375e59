"""Hairs drawn over hair-free images, so that what lies beneath is known.

Widths are shares of the short side, as hairs have in frames of 10 to 20 mm (0.05 to 0.1 mm), but
for fine ones, which are a pixel or two wide in any file: vellus hair, and the sharpest of cameras.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Alpha = NDArray[np.float32]

BASES = (
    "ISIC_0024346",
    "ISIC_0024353",
    "ISIC_0024375",
    "ISIC_0024383",
    "ISIC_0024393",
    "ISIC_0024396",
    "ISIC_0024427",
    "ISIC_0024477",
    "ISIC_0024688",
    "ISIC_0027287",
    "ISIC_0000173",
    "ISIC_0000298",
    "ISIC_0000329",
    "ISIC_0000556",
    "ISIC_0000466",
    "ISIC_0000478",
    "ISIC_0000522",
    "ISIC_0000172",
    "ISIC_0000000",
    "ISIC_0000288",
    "ISIC_0000035_downsampled",
    "ISIC_0000056_downsampled",
    "ISIC_0000061_downsampled",
    "ISIC_0000378_downsampled",
    "ISIC_0000416_downsampled",
    "ISIC_0000433_downsampled",
)
"""Images of ISIC 2019 without dark hairs, picked by eye: pigment networks, vessels, bubbles, skin
markings and dark corners are among them, which a careless method takes for hair."""

DARK = ((18, 12, 10), (38, 26, 20), (62, 42, 30))
LIGHT = ((236, 224, 200), (220, 205, 180))
"""RGB of hairs."""

_SHIFT = 6
"""Fractional bits of the coordinates."""

_FINER = 4
"""Hairs are drawn this many times finer than the image, then averaged: true partial coverage."""


@dataclass(frozen=True)
class Kind:
    """How the hairs of one kind look.

    Attributes:
        count: hairs in an image.
        width: least and greatest width, as a share of the short side; in pixels where `fine`.
        opacity: least and greatest.
        bend: how much a hair's direction changes over its length, in radians.
        length: least and greatest, as a share of the short side.
        light: drawn in light colours.
        fine: `width` is in pixels.
    """

    count: int
    width: tuple[float, float]
    opacity: tuple[float, float]
    bend: float = 0.5
    length: tuple[float, float] = (0.4, 1.1)
    light: bool = False
    fine: bool = False


KINDS = {
    "thick": Kind(7, (0.010, 0.015), (0.75, 0.95)),
    "thin": Kind(10, (0.0035, 0.0055), (0.6, 0.9)),
    "faint": Kind(10, (0.0035, 0.006), (0.25, 0.45)),
    "fine": Kind(10, (1.2, 2.0), (0.55, 0.9), fine=True),
    "crossing": Kind(22, (0.0035, 0.012), (0.5, 0.95)),
    "curved": Kind(8, (0.004, 0.009), (0.5, 0.9), bend=3.0),
    "light": Kind(10, (0.004, 0.009), (0.4, 0.8), light=True),
}


def draw(rgb: Pixels, kind: Kind, rng: np.random.Generator) -> tuple[Pixels, Alpha]:
    """Draw hairs over an image.

    Args:
        rgb: uint8 [H, W, 3].
        kind: which hairs.
        rng: where they lie.

    Returns:
        The image with hairs, and how much of each pixel they cover, float32 [H, W], 0 to 1.
    """
    height, width = rgb.shape[:2]
    short = min(height, width)
    out = rgb.astype(np.float32)
    covered = np.zeros((height, width), np.float32)
    for _ in range(kind.count):
        wide = rng.uniform(*kind.width) * (1 if kind.fine else short)
        alpha = _hair(rng, width, height, wide, kind) * rng.uniform(*kind.opacity)
        colours = LIGHT if kind.light else DARK
        colour = np.asarray(colours[rng.integers(len(colours))], np.float32)
        out += (colour - out) * alpha[..., None]
        covered = np.maximum(covered, alpha)
    return np.clip(np.rint(out), 0, 255).astype(np.uint8), covered


def _hair(rng: np.random.Generator, width: int, height: int, wide: float, kind: Kind) -> Alpha:
    """Coverage of one hair: a tapering, slowly bending curve, slightly out of focus."""
    points, widths = _curve(rng, width, height, wide, kind)
    low = np.maximum(np.floor(points.min(axis=0) - 3 * wide - 4).astype(int), 0)
    high = np.minimum(np.ceil(points.max(axis=0) + 3 * wide + 4).astype(int), (width, height))
    alpha = np.zeros((height, width), np.float32)
    if (high <= low).any():
        return alpha
    size = high - low
    canvas = np.zeros((size[1] * _FINER, size[0] * _FINER), np.uint8)
    fixed = np.rint((points - low) * _FINER * (1 << _SHIFT)).astype(np.int32)
    for start, end, thick in zip(fixed[:-1], fixed[1:], widths, strict=False):
        thickness = max(1, round(thick * _FINER))
        cv2.line(canvas, start.tolist(), end.tolist(), 255, thickness, cv2.LINE_AA, _SHIFT)
    part = cv2.resize(canvas, tuple(size.tolist()), interpolation=cv2.INTER_AREA)
    part = cv2.GaussianBlur(part.astype(np.float32) / 255, (0, 0), 0.5 + 0.06 * wide)
    alpha[low[1] : high[1], low[0] : high[0]] = part
    return alpha


def _curve(
    rng: np.random.Generator, width: int, height: int, wide: float, kind: Kind
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points (x, y) along a hair, and its width there."""
    steps = 60
    length = rng.uniform(*kind.length) * min(width, height)
    turns = np.cumsum(np.full(steps, rng.normal(0, kind.bend) / steps))
    angle = rng.uniform(0, 2 * np.pi) + turns + 0.1 * np.sin(np.linspace(0, 3, steps))
    steps_xy = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (length / steps)
    points = np.cumsum(steps_xy, axis=0)
    points += rng.uniform((0, 0), (width, height)) - points[steps // 2]
    place = np.linspace(0, 1, steps)
    return points, wide * np.clip(1.2 - place**3, 0.35, 1.0)
