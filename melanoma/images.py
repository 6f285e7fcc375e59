"""JPEG bytes to the pixels that are trained on: decode at a reduced scale, clean, frame.

Colours are brought to sRGB once decoded: at that scale, since telephones write many more pixels,
and before hairs are looked for, so that these are found among the same colours in all files.

Pixels are taken as stored: an EXIF orientation is ignored, as in the official images, whose pixel
data it never describes, and in the catalogue's width and height. A lesion has no upright side.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from melanoma.colour import to_srgb
from melanoma.decoding import decode
from melanoma.hair import dullrazor, remove_hair
from melanoma.jpeg import read_header, read_size
from melanoma.resampling import resize

__all__ = [
    "DETAIL",
    "clean",
    "decode",
    "denominator_for",
    "frame",
    "prepare",
    "read_size",
    "resize",
]

HairRemoval = Literal["lines", "dullrazor", "none"]
Framing = Literal["crop", "pad", "stretch"]
Pixels = NDArray[np.uint8]

DETAIL = 1.7
"""Least ratio of the decoded short side to the final size, where the file has that much.

Hairs are found and covered at that scale. At 1.0, fine hairs blend with the skin before they are
covered: 0.5 to 1 dB lost beside hairs of 600 x 450 files, for 0.5 ms of decoding saved; 1.7 lets
1024 x 768 files be read at half scale for a size of 224, where full scale gains nothing.
"""


def denominator_for(width: int, height: int, size: int) -> int:
    """The strongest reduction that leaves the short side at `DETAIL` times `size` or more.

    Args:
        width: of the file, in pixels.
        height: of the file, in pixels.
        size: side of the final image, in pixels.

    Returns:
        1, 2, 4 or 8; 1 where the file is smaller than that.
    """
    fitting = (d for d in (8, 4, 2) if min(width, height) >= DETAIL * size * d)
    return next(fitting, 1)


def clean(jpeg: bytes, *, size: int, hair_removal: HairRemoval) -> Pixels:
    """The whole frame without hairs, at the working scale.

    The working scale has the short side at `size`, from which every framing can be made; a smaller
    file stays at its own.

    Args:
        jpeg: the whole file.
        size: side of the final image, in pixels.
        hair_removal: lines, dullrazor (at native size, as it is usually done) or none.

    Returns:
        uint8 [h, w, 3], sRGB, with min(h, w) equal to `size` or, if smaller, the file's.

    Raises:
        InputError: not a JPEG, truncated, damaged or too large; says which, not of what file.
    """
    header = read_header(jpeg)
    if hair_removal == "dullrazor":
        rgb = dullrazor(to_srgb(decode(jpeg), header))
    else:
        rgb = decode(jpeg, denominator=denominator_for(*header.size, size))
        rgb = to_srgb(rgb, header)
        if hair_removal == "lines":
            rgb = remove_hair(rgb)
    height, width = rgb.shape[:2]
    ratio = size / min(height, width)
    if ratio >= 1:
        return rgb
    return resize(rgb, width=round(width * ratio), height=round(height * ratio))


def frame(rgb: Pixels, *, size: int, framing: Framing) -> Pixels:
    """Bring a whole frame to the final square.

    Args:
        rgb: uint8 [h, w, 3].
        size: side of the result, in pixels.
        framing: crop, the centre square of the short side; pad, the whole frame centred on black;
            stretch, the whole frame with its proportions changed.

    Returns:
        uint8 [size, size, 3], contiguous.
    """
    height, width = rgb.shape[:2]
    if framing == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        rgb = rgb[top : top + side, left : left + side]
    elif framing == "pad":
        ratio = size / max(height, width)
        wide, high = max(1, round(width * ratio)), max(1, round(height * ratio))
        inner = resize(rgb, width=wide, height=high)
        rgb = np.zeros((size, size, 3), np.uint8)
        top, left = (size - high) // 2, (size - wide) // 2
        rgb[top : top + high, left : left + wide] = inner
    return np.ascontiguousarray(resize(rgb, width=size, height=size))


def prepare(jpeg: bytes, *, size: int, framing: Framing, hair_removal: HairRemoval) -> Pixels:
    """The whole way from a file to stored pixels: `frame` of `clean`, byte for byte.

    Args:
        jpeg: the whole file.
        size: side of the result, in pixels.
        framing: see `frame`.
        hair_removal: see `clean`.

    Returns:
        uint8 [size, size, 3], sRGB.

    Raises:
        InputError: see `clean`.
    """
    return frame(clean(jpeg, size=size, hair_removal=hair_removal), size=size, framing=framing)
