"""Decoding JPEG files strictly: a picture is whole, or it is refused.

Decoders fill what is missing of a damaged picture with grey or noise, warn of it on a stream that
nobody reads, and hand it over. libjpeg-turbo by way of simplejpeg makes such warnings errors; its
pixels are OpenCV's, which is built on the same library, at the same cost.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from melanoma.errors import InputError
from melanoma.jpeg import picture_alone

Pixels = NDArray[np.uint8]
Channels = Literal["RGB", "GRAY"]

_FLAGS = {
    1: cv2.IMREAD_GRAYSCALE,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
"""Of OpenCV, by denominator. Together with RGB, "grayscale" selects the scale only."""


def decode(jpeg: bytes, *, denominator: int = 1, channels: Channels = "RGB") -> Pixels:
    """Decode at full or reduced scale; grey becomes RGB, and RGB grey; CMYK becomes either.

    Pixels are taken as stored, whatever an EXIF orientation says. What decoders warn of in the
    headers and what follows the picture's end marker harm no pixel, and are read past.

    Args:
        jpeg: the whole file, as `melanoma.jpeg.read_header` accepts it.
        denominator: 1, 2, 4 or 8: the sides are divided by it, rounded up. The inverse cosine
            transform itself is reduced, which is cheaper than decoding and shrinking.
        channels: RGB or GRAY.

    Returns:
        uint8 [H, W, 3], RGB, or uint8 [H, W], grey.

    Raises:
        InputError: the image data are damaged, e.g. end early or hold what belongs to no pixel.
    """
    try:
        return _decode_strictly(jpeg, denominator, channels)
    except ValueError:
        return _decode_despite_warnings(jpeg, denominator, channels)


def _decode_strictly(jpeg: bytes, denominator: int, channels: Channels) -> Pixels:
    """Decode with simplejpeg, which raises ValueError for anything that libjpeg warns of."""
    if not jpeg:
        raise ValueError("empty")
    high = wide = 0
    if denominator > 1:
        height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
        high, wide = -(-int(height) // denominator), -(-int(width) // denominator)
    pixels = simplejpeg.decode_jpeg(jpeg, channels, min_height=high, min_width=wide)
    return np.asarray(pixels[..., 0] if channels == "GRAY" else pixels, np.uint8)


def _decode_despite_warnings(jpeg: bytes, denominator: int, channels: Channels) -> Pixels:
    """Decode a file that is odd in its headers; refuse one that is damaged in its image data.

    simplejpeg tells the first warning alone, and none of the headers can be passed over: they are
    left out, and what is still warned of is damage. Then OpenCV decodes the file as it is.
    """
    try:
        bare = picture_alone(jpeg)
    except InputError as error:
        raise InputError("damaged: does not decode") from error
    try:
        simplejpeg.decode_jpeg_header(bare)
    except ValueError:
        # Chroma sampled as simplejpeg does not take it, e.g. 4:1:0: OpenCV has the only word.
        return _decode_with_opencv(jpeg, denominator, channels)
    try:
        _decode_strictly(bare, denominator, channels)
    except ValueError as error:
        reason = str(error).removeprefix("Corrupt JPEG data: ")
        raise InputError(
            f"damaged: does not decode whole ({reason}); use an undamaged copy"
        ) from error
    return _decode_with_opencv(jpeg, denominator, channels)


def _decode_with_opencv(jpeg: bytes, denominator: int, channels: Channels) -> Pixels:
    flags = _FLAGS[denominator] | cv2.IMREAD_IGNORE_ORIENTATION
    if channels == "RGB":
        flags |= cv2.IMREAD_COLOR_RGB
    try:
        pixels: Pixels | None = cv2.imdecode(np.frombuffer(jpeg, np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise InputError("damaged: does not decode")
    return pixels
