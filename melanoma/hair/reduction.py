"""To the scale at which lines are looked for, and back, so that pixels of both scales meet."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from melanoma.resampling import resize

Part = tuple[slice, slice]
"""Rows and columns of a rectangle."""

REDUCTIONS = ((1, 1), (3, 2), (2, 1), (3, 1), (4, 1), (6, 1), (8, 1), (12, 1), (16, 1))
"""So many pixels of the image for so many of the shrunk one, the weakest first."""

LARGEST_SHORT_SIDE = 300
"""Lines are looked for at the weakest of these reductions that leaves the short side below this.

Hairs are one to five pixels wide then: below 200, thin ones fade; above 300, thick ones are too
wide for the flanks that lines are held against (8 dB lost at 384), and each pixel costs.
"""

AROUND = 2
"""Pixels around a part of the shrunk image that enlarging it looks at; an even number."""


def widened(part: Part, by: int) -> Part:
    """A rectangle and so many pixels around it, as far as they aren't before the first."""
    rows, columns = (slice(max(along.start - by, 0), along.stop + by) for along in part)
    return rows, columns


@dataclass(frozen=True)
class Reduction:
    """By how much an image is shrunk: `of` pixels become `to`.

    Attributes:
        of: pixels.
        to: pixels, 1 or 2: places of the shrunk image that are even fall on whole pixels of the
            full one.
    """

    of: int
    to: int

    @classmethod
    def of_side(cls, short: int) -> Reduction:
        """The weakest one that leaves a short side below `LARGEST_SHORT_SIDE`."""
        fitting = (r for r in REDUCTIONS if short * r[1] < LARGEST_SHORT_SIDE * r[0])
        return cls(*next(fitting, REDUCTIONS[-1]))

    def shrink(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The image at the scale at which lines are looked for.

        A rest of less than `of` pixels at the right and at the bottom is cut off: OpenCV averages
        whole numbers of pixels several times faster.

        Args:
            rgb: uint8 [H, W, 3].

        Returns:
            uint8 [h, w, 3].
        """
        if self.of == self.to:
            return rgb
        high, wide = (side // self.of for side in rgb.shape[:2])
        whole = rgb[: high * self.of, : wide * self.of]
        if self.to > 1:
            return resize(whole, width=wide * self.to, height=high * self.to)
        small: NDArray[np.uint8]
        if self.of == 3:
            # A box around the middle pixel is the same average, at half the cost.
            box = cv2.blur(whole, (3, 3))
            small = cv2.resize(box, (wide, high), interpolation=cv2.INTER_LINEAR)
        else:
            small = cv2.resize(whole, (wide, high), interpolation=cv2.INTER_AREA)
        return small

    def with_rest(self, small: NDArray[np.uint8], full_shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """The shrunk image with its outermost pixels once more where a rest was cut off.

        Args:
            small: uint8 [h, w] or [h, w, 3].
            full_shape: of the full image.
        """
        beyond = (0, self.to * (full_shape[0] % self.of > 0))
        aside = (0, self.to * (full_shape[1] % self.of > 0))
        if not any(beyond + aside):
            return small
        return np.asarray(
            cv2.copyMakeBorder(small, *beyond, *aside, cv2.BORDER_REPLICATE), np.uint8
        )

    def full(self, part: Part) -> Part:
        """The same rectangle in pixels of the full image."""
        rows, columns = (
            slice(along.start * self.of // self.to, along.stop * self.of // self.to)
            for along in part
        )
        return rows, columns

    def enlarge(
        self, small: NDArray[np.uint8], part: Part, shape: tuple[int, ...], interpolation: int
    ) -> NDArray[np.uint8]:
        """A part of the shrunk image at full size, the same as if all of it were enlarged.

        Args:
            small: uint8 [h, w] or [h, w, 3].
            part: starts at even places.
            shape: wanted; less than enlarged where the full image ends.
            interpolation: one of OpenCV's.
        """
        wider = widened(part, AROUND)
        cut = small[wider]
        size = (cut.shape[1] * self.of // self.to, cut.shape[0] * self.of // self.to)
        full: NDArray[np.uint8] = cv2.resize(cut, size, interpolation=interpolation)
        down, right = (
            (along.start - around.start) * self.of // self.to
            for along, around in zip(part, wider, strict=True)
        )
        return full[down : down + shape[0], right : right + shape[1]]
