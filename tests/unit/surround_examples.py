"""Drawn photographs with a surround, as cameras, dermatoscopes and programs make them."""

from __future__ import annotations

import cv2
import numpy as np

SIDE = 256


def skin(seed: int, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Textured skin with a dark lesion off its middle: uint8 [height, width, 3], RGB."""
    generator = np.random.default_rng(seed)
    texture = sum(
        cv2.resize(generator.normal(0, strength, (n, n)).astype(np.float32), (width, height))
        for n, strength in ((8, 8), (24, 8), (60, 5))
    )
    down, across = np.mgrid[:height, :width]
    middle = generator.uniform(0.35, 0.65, 2) * (height, width)
    reach = min(height, width) * generator.uniform(0.08, 0.16)
    spot = np.hypot(down - middle[0], across - middle[1]) < reach * (1 + texture / 60)
    grey = np.clip(
        185 + texture - 90 * cv2.GaussianBlur(spot.astype(np.float32), (0, 0), 3), 0, 255
    )
    return np.rint(grey[..., None] * (1.0, 0.82, 0.75)).astype(np.uint8)


def round_field(
    pixels: np.ndarray,
    radius: float,
    *,
    centre: tuple[float, float] = (0.5, 0.5),
    soft: float = 0.01,
    dark: float = 4.0,
) -> np.ndarray:
    """Dark around a circle; radius and softness are shares of the short side, centre of each."""
    height, width = pixels.shape[:2]
    short = min(height, width)
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width] + 0.5
    away = np.hypot(x - centre[0] * width, y - centre[1] * height) - radius * short
    outside = cv2.GaussianBlur((away > 0).astype(np.float32), (0, 0), max(soft * short, 0.5))
    shade = dark + generator.normal(0, 1, (height, width, 1))
    mixed = pixels * (1 - outside[..., None]) + shade * outside[..., None]
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def with_bars(
    pixels: np.ndarray, bars: tuple[int, int, int, int], colour: tuple[int, int, int]
) -> np.ndarray:
    """Bars of so many pixels put around a picture, at its left, top, right and bottom."""
    left, top, right, bottom = bars
    sides = (top, bottom, left, right)
    return cv2.copyMakeBorder(pixels, *sides, cv2.BORDER_CONSTANT, value=colour)
