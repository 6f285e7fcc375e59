"""From the detected lines to pixels: what is hair at full detail, and what to put in its place."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from melanoma.hair.detection import find_hairs

LARGEST_SHORT_SIDE = 380
"""Lines are looked for on the image halved until its short side is below this, in pixels."""

WINDOWS = (3, 5, 9, 15)
"""Sides of the boxes, in pixels of the halved image, whose skin pixels fill a hair's pixel."""

LEAST_SKIN = 0.13
"""Share of a box that must be skin for it to be used; else the next larger one is."""

DARKER = 14
"""Grey levels by which a pixel of a detected line must be darker than its filling to be hair."""


def remove_hair(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Replace dark hairs by the skin beside them; everything else stays as it is, bit for bit.

    Args:
        rgb: uint8 [H, W, 3], of any size; lengths scale with it.

    Returns:
        uint8 [H, W, 3]; a new array, or `rgb` itself where no hair was found.
    """
    small, factor = _halved(rgb)
    channels = cv2.split(small)
    lines = find_hairs(_brightest(channels))
    if not lines.any():
        return rgb
    lines = cv2.dilate(lines.view(np.uint8), np.ones((3, 3), np.uint8))
    at = np.flatnonzero(lines.view(np.bool_))
    skin = _skin_behind(channels, lines, at)
    height, width = lines.shape
    cleaned = _padded(rgb, height * factor, width * factor)
    _cover_hairs(cleaned, factor, at // width, at % width, skin)
    return cleaned[: rgb.shape[0], : rgb.shape[1]]


def hair_mask(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels that `remove_hair` replaces.

    Args:
        rgb: uint8 [H, W, 3], of any size.

    Returns:
        bool [H, W].
    """
    changed: NDArray[np.bool_] = (remove_hair(rgb) != rgb).any(axis=2)
    return changed


def _brightest(channels: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Largest of the three channels: hairs are dark in all, vessels and pigment in two of them."""
    red, green, blue = channels
    largest: NDArray[np.uint8] = cv2.max(cv2.max(red, green), blue)
    return largest


def _halved(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
    """The image halved until small enough, and by what factor; odd sides grow by one pixel."""
    factor = 1
    while min(rgb.shape[:2]) >= LARGEST_SHORT_SIDE:
        height, width = -(-rgb.shape[0] // 2), -(-rgb.shape[1] // 2)
        even = (
            rgb if rgb.shape[:2] == (2 * height, 2 * width) else _padded(rgb, 2 * height, 2 * width)
        )
        rgb = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
        factor *= 2
    return rgb, factor


def _padded(rgb: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """A copy with the last row and column repeated up to the given size."""
    below, right = height - rgb.shape[0], width - rgb.shape[1]
    padded: NDArray[np.uint8] = cv2.copyMakeBorder(rgb, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return padded


def _skin_behind(
    channels: Sequence[NDArray[np.uint8]], lines: NDArray[np.uint8], at: NDArray[np.intp]
) -> NDArray[np.uint8]:
    """Mean colour of the skin around pixels of the lines, in the smallest box with enough of it.

    Args:
        channels: three of uint8 [H, W].
        lines: uint8 [H, W], 1 on lines, else 0.
        at: flat indices of the pixels asked for, int64 [n].

    Returns:
        uint8 [n, 3].
    """
    width = lines.shape[1]
    skin = np.bitwise_xor(lines, 1)
    seen = cv2.compare(lines, 0.0, cv2.CMP_EQ)
    weighted = cv2.merge([*(cv2.bitwise_and(channel, seen) for channel in channels), skin])
    margin = WINDOWS[-1] // 2
    padded = cv2.copyMakeBorder(weighted, *(margin,) * 4, cv2.BORDER_CONSTANT)
    sums = cv2.integral(padded, sdepth=cv2.CV_32S)
    stride = sums.shape[1]
    # The four numbers of a pixel are gathered as one of 16 bytes: several times faster.
    whole = sums.view(np.complex128).ravel()
    colours = np.empty((len(at), 3), np.float32)
    colours[:] = [cv2.mean(channel, skin)[0] for channel in channels]
    left = np.arange(len(at))
    centre = (at // width + margin) * stride + at % width + margin
    for side in WINDOWS:
        box = _box_sums(whole, centre, stride, side // 2)
        enough = box[:, 3] >= LEAST_SKIN * side * side
        full = np.flatnonzero(enough)
        box = box.take(full, axis=0).astype(np.float32)
        colours[left.take(full)] = box[:, :3] / box[:, 3:]
        rest = np.flatnonzero(~enough)
        if not len(rest):
            break
        left, centre = left.take(rest), centre.take(rest)
    return np.rint(colours).astype(np.uint8)


def _box_sums(
    sums: NDArray[np.complex128], centre: NDArray[np.intp], stride: int, half: int
) -> NDArray[np.int32]:
    """Sums over the boxes of 2 * `half` + 1 pixels around some pixels, int32 [n, 4].

    Args:
        sums: integral image, flattened, the four numbers of 32 bits of a pixel as one.
        centre: flat indices of the pixels, such that their upper left corner is the sum before.
        stride: of the integral image.
        half: of the boxes.
    """
    above, below = -half * stride, (half + 1) * stride
    before, after = -half, half + 1

    def corner(offset: int) -> NDArray[np.int32]:
        return sums.take(centre + offset).view(np.int32).reshape(-1, 4)

    box = corner(below + after)
    box -= corner(below + before)
    box -= corner(above + after)
    box += corner(above + before)
    return box


def _cover_hairs(
    rgb: NDArray[np.uint8],
    factor: int,
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    skin: NDArray[np.uint8],
) -> None:
    """Give `rgb`, in place, the colour of the skin where it is darker than that.

    Args:
        rgb: uint8 [H * factor, W * factor, 3], contiguous.
        factor: how many pixels of `rgb` a pixel of the lines covers in each direction.
        rows: of the lines' pixels, int64 [n].
        columns: of the lines' pixels, int64 [n].
        skin: uint8 [n, 3].
    """
    width = rgb.shape[1]
    pixels = rgb.reshape(-1, 3)
    limit = cv2.subtract(skin.max(axis=1, keepdims=True), DARKER).ravel()
    corner = rows * (factor * width) + columns * factor
    for below in range(factor):
        for right in range(factor):
            at = corner + (below * width + right)
            here = pixels.take(at, axis=0)
            bright = np.maximum(np.maximum(here[:, 0], here[:, 1]), here[:, 2])
            hair = np.flatnonzero(bright < limit)
            pixels[at.take(hair)] = skin.take(hair, axis=0)
