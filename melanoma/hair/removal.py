"""From the detected lines to pixels: what is hair at full detail, and what to put in its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from melanoma.hair.detection import find_hairs
from melanoma.hair.reduction import Part, Reduction, widened
from melanoma.surround import find_field, off_black_corners

EDGE = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
"""The neighbours of a line's pixel that do not count as skin."""

BESIDE = cv2.getStructuringElement(cv2.MORPH_RECT, (3, 3))
"""Those that are covered where they are darker than the skin: the corners too, which are hair along
a thick one's side, and beside a thin one skin, the nearest there is."""

WINDOWS = (3, 5, 9, 15)
"""Sides of the boxes, in pixels of the shrunk image, whose skin pixels fill a hair's pixel."""

LEAST_SKIN = 0.13
"""Share of a box that must be skin for it to be used; else the next larger one is."""

DARKER = 10.0
"""Grey levels by which a pixel of a detected line must be darker than its filling to be hair; in
red, in which vessels and pigment are bright."""

COARSE = 3
"""Reduction from which the shrunk image's pixels are coarse beside thin hairs: these are filled
once more, from the skin at full detail: 1.4 dB better at 2000 x 1500. At a reduction by 2 it would
be 0.4 dB better to 0.2 dB worse, for a tenth more time."""

FINE_WINDOW = 3
"""Side of the box whose skin is used then, in pixels of the shrunk image."""

RIM = 0.02
"""Width of a field's rim in which no hair is looked for, as a share of the short side: its edge is
found to within that."""

STRIP = 16
"""Rows of the shrunk image that are covered at once, as far as lines reach; an even number."""

_SEEN = 255
"""What a pixel of skin counts: a mask's value."""

_Whole = NDArray[np.int32] | NDArray[np.uint16]


def remove_hair(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Replace dark hairs by the skin beside them; everything else stays as it is, bit for bit.

    So does what lies around a round field, or between bars, and no filling is mixed with it. Hairs
    are looked for with the dark in place: beside it, a soft rim is no line.

    Args:
        rgb: uint8 [H, W, 3], of any size; lengths scale with it.

    Returns:
        uint8 [H, W, 3]; a new array, or `rgb` itself where no hair was found.
    """
    reduction = Reduction.of_side(min(rgb.shape[:2]))
    small = reduction.shrink(rgb)
    inside = _skin(small)
    channels = cv2.split(small)
    found = find_hairs(_brightest(channels), inside).view(np.uint8)
    if not found.any():
        return rgb
    near = np.asarray(cv2.dilate(found, BESIDE), np.uint8)
    no_skin = np.asarray(cv2.dilate(found, EDGE), np.uint8)
    if inside is not None:
        near &= inside
        no_skin |= 1 - inside
    at = np.flatnonzero(near.view(np.bool_))
    colours = small.copy()
    colours.reshape(-1, 3)[at] = _skin_behind(channels, no_skin, at)
    return _covered(rgb, near, colours, reduction)


def hair_mask(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels that `remove_hair` replaces.

    Args:
        rgb: uint8 [H, W, 3], of any size.

    Returns:
        bool [H, W].
    """
    changed: NDArray[np.bool_] = (remove_hair(rgb) != rgb).any(axis=2)
    return changed


def _skin(small: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """1 where there may be skin, 0 in the surround; None where there is no surround."""
    field = find_field(small)
    if field is not None:
        return field.inside(*small.shape[:2], margin=RIM).view(np.uint8)
    inside = off_black_corners(small)
    return None if inside is None else inside.view(np.uint8)


def _brightest(channels: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Largest of the three channels: hairs are dark in all, vessels and pigment in two of them."""
    red, green, blue = channels
    largest: NDArray[np.uint8] = cv2.max(cv2.max(red, green), blue)
    return largest


def _skin_behind(
    channels: Sequence[NDArray[np.uint8]], no_skin: NDArray[np.uint8], at: NDArray[np.intp]
) -> NDArray[np.uint8]:
    """Mean colour of the skin around pixels of the lines, in the smallest box with enough of it.

    Args:
        channels: three of uint8 [H, W].
        no_skin: uint8 [H, W], 1 on lines and at their edges, else 0.
        at: flat indices of the pixels asked for, int64 [n].

    Returns:
        uint8 [n, 3].
    """
    sums = _Sums.of(channels, no_skin)
    rows, columns = np.divmod(at, no_skin.shape[1])
    found = np.empty((len(at), 4), np.int32)
    left = np.arange(len(at))
    for side in (*WINDOWS, 2 * max(no_skin.shape)):
        sums_there = sums.around(rows[left], columns[left], side)
        found[left] = sums_there
        left = left[sums_there[:, 3] < LEAST_SKIN * side * side * _SEEN]
        if not len(left):
            break
    return _mean(found[:, :3], found[:, 3:])


@dataclass(frozen=True)
class _Sums:
    """Sums of skin pixels over any rectangle, at four look-ups each (Crow's summed-area table).

    Attributes:
        table: int32 [H + 1, W + 1, 4], red, green, blue and `_SEEN` for each skin pixel.
    """

    table: NDArray[np.int32]

    @classmethod
    def of(cls, channels: Sequence[NDArray[np.uint8]], no_skin: NDArray[np.uint8]) -> _Sums:
        """Sums over all that is skin."""
        skin = cv2.compare(no_skin, 0.0, cv2.CMP_EQ)
        weighted = cv2.copyTo(cv2.merge([*channels, skin]), skin)
        return cls(cv2.integral(weighted))

    def around(
        self, rows: NDArray[np.intp], columns: NDArray[np.intp], side: int
    ) -> NDArray[np.int32]:
        """Sums over squares around some pixels, cut off at the image's borders, int32 [n, 4]."""
        height, width = self.table.shape[:2]
        half = side // 2
        top = np.maximum(rows - half, 0) * width
        bottom = np.minimum(rows + half + 1, height - 1) * width
        left = np.maximum(columns - half, 0)
        right = np.minimum(columns + half + 1, width - 1)
        flat = self.table.reshape(-1, 4)
        sums: NDArray[np.int32] = flat.take(bottom + right, axis=0)
        sums -= flat.take(bottom + left, axis=0)
        sums -= flat.take(top + right, axis=0)
        sums += flat.take(top + left, axis=0)
        return sums


def _covered(
    rgb: NDArray[np.uint8],
    lines: NDArray[np.uint8],
    colours: NDArray[np.uint8],
    reduction: Reduction,
) -> NDArray[np.uint8]:
    """A copy of `rgb` with the colour of the skin where lines are and it is darker than that.

    Args:
        rgb: uint8 [H, W, 3].
        lines: uint8 [h, w], 1 on lines, else 0.
        colours: uint8 [h, w, 3], of the skin behind the lines.
        reduction: from the first to the others.
    """
    cleaned = rgb.copy()
    lines, colours = (reduction.with_rest(part, rgb.shape) for part in (lines, colours))
    hairs: list[tuple[Part, NDArray[np.uint8]]] = []
    for part in _strips(lines):
        full = reduction.full(part)
        at = cleaned[full]
        filled = reduction.enlarge(colours, part, at.shape, cv2.INTER_LINEAR)
        near = reduction.enlarge(lines, part, at.shape, cv2.INTER_NEAREST)
        darker = cv2.extractChannel(cv2.subtract(filled, at), 0)
        hair = cv2.bitwise_and(cv2.compare(darker, DARKER, cv2.CMP_GT), near)
        cv2.copyTo(filled, hair, at)
        hairs.append((full, np.asarray(hair, np.uint8)))
    if reduction.of >= COARSE * reduction.to:
        _fill_finely(cleaned, rgb, hairs, FINE_WINDOW * reduction.of // reduction.to | 1)
    return cleaned


def _fill_finely(
    cleaned: NDArray[np.uint8],
    rgb: NDArray[np.uint8],
    hairs: Sequence[tuple[Part, NDArray[np.uint8]]],
    side: int,
) -> None:
    """Put the mean colour of the skin around it into each pixel of a hair, where there is enough.

    Args:
        cleaned: uint8 [H, W, 3], changed in place.
        rgb: uint8 [H, W, 3], with the hairs.
        hairs: rectangles, each with its part of a mask, uint8: 1 on hairs, else 0.
        side: of the box around a pixel, odd.
    """
    mask = np.zeros(rgb.shape[:2], np.uint8)
    for part, hair in hairs:
        mask[part] = hair
    depth = cv2.CV_16U if side * side * _SEEN < 2**16 else cv2.CV_32S
    for part, hair in hairs:
        wider = widened(part, side // 2 + 1)
        rows, columns = (
            slice(along.start - around.start, along.stop - around.start)
            for along, around in zip(part, wider, strict=True)
        )
        skin = cv2.compare(cv2.dilate(mask[wider], EDGE), 0.0, cv2.CMP_EQ)
        sums, counts = (
            cv2.boxFilter(values, depth, (side, side), normalize=False)[rows, columns]
            for values in (cv2.copyTo(rgb[wider], skin), skin)
        )
        enough = hair.view(np.bool_) & (counts >= LEAST_SKIN * side * side * _SEEN)
        cleaned[part][enough] = _mean(sums[enough], counts[enough][:, None])


def _mean(sums: _Whole, counts: _Whole) -> NDArray[np.uint8]:
    """Mean colours.

    Args:
        sums: of skin pixels, [n, 3].
        counts: `_SEEN` for each of them, [n, 1].

    Returns:
        uint8 [n, 3].
    """
    mean = sums.astype(np.float32) * np.float32(_SEEN) / np.maximum(counts, 1)
    return (mean + np.float32(0.5)).astype(np.uint8)


def _strips(lines: NDArray[np.uint8]) -> Iterator[Part]:
    """The smallest rectangle around the lines in each strip of the image, of even places."""
    for top in range(0, len(lines), STRIP):
        left, down, wide, high = cv2.boundingRect(lines[top : top + STRIP])
        if wide:
            yield _even(top + down, high), _even(left, wide)


def _even(start: int, length: int) -> slice:
    return slice(start // 2 * 2, (start + length + 1) // 2 * 2)
