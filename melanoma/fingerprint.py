"""Fingerprints of images: what stays of one when it is resized, recompressed, cropped or turned.

A fingerprint is the discrete cosine transform of the centre square's small grey thumbnail,
without its mean and with each coefficient weighted by its frequency. Photographs of skin are
all alike at low frequencies (a dark spot on a bright ground), so that plain thumbnails of
different lesions correlate up to 0.98; weighted, amplitudes are nearly equal over frequencies
and unrelated images correlate far less than copies do. A flip changes the sign of odd
coefficients and a turn transposes them, so that all eight views are compared at the cost of two.
Crops to the centre square match their whole frame since the centre square alone is looked at.

What lies around a round field, or between bars, is the same in unrelated photographs, and its edge
is the strongest there is: such a surround is left out, the field faded out towards its edge.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from melanoma.decoding import decode
from melanoma.surround import Field, find_field

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
_Any2D = TypeVar("_Any2D", NDArray[np.uint8], NDArray[np.bool_])

SIDE = 16
"""Coefficients kept in each direction."""

VIEWS = 8
"""Flips and quarter turns: bit 0 mirrors left and right, bit 1 top and bottom, bit 2 transposes."""

_THUMBNAIL = 32
"""Side of the thumbnail in pixels, twice `SIDE`: the highest frequencies are mostly compression."""

_LEAST = 64
"""Shortest side in pixels to which an image is decoded: at half of it, copies of 256 pixel
images resized to 60 % fell from a correlation of 0.95 to 0.90 with their original."""

_POWER = 1.5
"""Exponent of the frequency in the weights. Of 0, 0.5, 1, 1.5 and 2 it parted copies from
unrelated images best, 0.95 against 0.88 at the worst of 400 and 1.8 million."""

_FADED = 6
"""Pixels over which a field is faded out, of a square of `_FADED_SIDE`. Faded, copies correlate by
0.98 (2nd percentile of 150 of each kind); with the surround filled instead, by 0.88."""

_FADED_SIDE = 64


def decode_grey(jpeg: bytes, short_side: int, *, least: int = _LEAST) -> Pixels:
    """Decode a JPEG to grey at 1, 1/2, 1/4 or 1/8 of its size, whichever is quickest.

    As in `melanoma.images`, pixels are taken as stored, whatever an EXIF orientation says. Colour
    profiles are left alone: fingerprints are of shapes.

    Args:
        jpeg: the file's content.
        short_side: its shorter side in pixels.
        least: shorter side in pixels that is wanted at least, where the image has it.

    Returns:
        uint8[height, width].

    Raises:
        InputError: damaged, see `melanoma.decoding.decode`.
    """
    factor = next((f for f in (8, 4, 2) if short_side // f >= least), 1)
    return decode(jpeg, denominator=factor, channels="GRAY")


def centre_square(grey: Pixels) -> Pixels:
    """The centre square of a picture: uint8[short side, short side], contiguous."""
    height, width = grey.shape
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    return np.ascontiguousarray(grey[top : top + short, left : left + short])


def thumbnail(grey: Pixels, side: int) -> Pixels:
    """Resize the centre square.

    Args:
        grey: uint8[height, width].
        side: wanted side in pixels.

    Returns:
        uint8[side, side].
    """
    square = centre_square(grey)
    return np.asarray(cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def fingerprint(grey: Pixels) -> str:
    """Fingerprint of an image.

    Args:
        grey: uint8[height, width], the whole frame.

    Returns:
        The `SIDE` x `SIDE` weighted coefficients as int8 in hex, 512 digits; all zero for an
        image of one shade.
    """
    square = centre_square(grey)
    return fingerprint_within(square, find_field(square))


def fingerprint_within(square: Pixels, field: Field | None) -> str:
    """Fingerprint of an image of which the field is known.

    Args:
        square: uint8[side, side], its centre square.
        field: of that square, from `melanoma.surround.find_field`.

    Returns:
        As `fingerprint`.
    """
    small = (
        thumbnail(square, _THUMBNAIL).astype(np.float32)
        if field is None
        else _faded(thumbnail(square, _FADED_SIDE), field)
    )
    weighted = cv2.dct(small)[:SIDE, :SIDE] * _weights()
    largest = float(np.abs(weighted).max())
    if largest < 1.0:
        return bytes(SIDE * SIDE).hex()
    levels: NDArray[np.int8] = np.rint(weighted * (127 / largest)).astype(np.int8)
    return levels.tobytes().hex()


def _faded(square: Pixels, field: Field) -> Floats:
    """The field less its mean, faded out to 0 at its edge: float32[_THUMBNAIL, _THUMBNAIL]."""
    inside = field.inside(*square.shape).view(np.uint8)
    # Where the field ends at the frame there is nothing to fade.
    sides = (_FADED,) * 4
    widened = cv2.copyMakeBorder(inside, *sides, cv2.BORDER_REPLICATE)
    depth = cv2.distanceTransform(widened, cv2.DIST_L2, 5)[_FADED:-_FADED, _FADED:-_FADED]
    share = np.minimum(depth / _FADED, 1)
    weight = share * share * (3 - 2 * share)
    mean = float((square * weight).sum() / max(float(weight.sum()), 1.0))
    faded = ((square - mean) * weight).astype(np.float32)
    size = (_THUMBNAIL, _THUMBNAIL)
    return np.asarray(cv2.resize(faded, size, interpolation=cv2.INTER_AREA), np.float32)


@cache
def _weights() -> Floats:
    frequency = np.arange(SIDE, dtype=np.float32)
    return np.asarray(np.hypot(frequency[:, None], frequency[None]) ** _POWER, np.float32)


def decode_fingerprints(texts: Iterable[str]) -> Floats:
    """Turn fingerprints into vectors of unit length.

    Args:
        texts: as `fingerprint` gives them; "" counts as an image of one shade.

    Returns:
        float32[n, SIDE, SIDE]; all zero for images of one shade, which match nothing.

    Raises:
        ValueError: a text that is no fingerprint.
    """
    blank = bytes(SIDE * SIDE)
    levels = [bytes.fromhex(text) if text else blank for text in texts]
    if any(len(each) != len(blank) for each in levels):
        raise ValueError(f"a fingerprint has {len(blank)} levels of two digits each")
    vectors = np.frombuffer(b"".join(levels), np.int8).astype(np.float32).reshape(-1, SIDE, SIDE)
    length = np.sqrt(np.square(vectors).sum(axis=(1, 2), keepdims=True))
    return np.asarray(vectors / np.maximum(length, 1e-6), np.float32)


def split_parity(vectors: Floats, *, transposed: bool = False) -> Floats:
    """Sort coefficients by whether they change sign when the image is mirrored.

    Args:
        vectors: float32[n, SIDE, SIDE] from `decode_fingerprints`.
        transposed: of the transposed images.

    Returns:
        float32[4, n, SIDE * SIDE / 4]: even in both directions, odd across, odd down, odd in both.
    """
    turned = vectors.transpose(0, 2, 1) if transposed else vectors
    parts = [turned[:, down::2, across::2] for down in (0, 1) for across in (0, 1)]
    return np.ascontiguousarray(np.stack(parts).reshape(4, len(vectors), SIDE * SIDE // 4))


def best_correlation(a: Floats, b: Floats, b_transposed: Floats) -> Floats:
    """Correlation of every image of one block with every one of another, under the best view.

    Args:
        a: float32[4, n, k] from `split_parity`.
        b: float32[4, m, k], likewise.
        b_transposed: float32[4, m, k], likewise, of the transposed images.

    Returns:
        float32[n, m] in [-1, 1].
    """
    best = None
    for other in (b, b_transposed):
        even, across, down, both = (p @ q.T for p, q in zip(a, other, strict=True))
        straight = even + across + np.abs(down + both)
        mirrored = even - across + np.abs(down - both)
        highest = np.maximum(straight, mirrored)
        best = highest if best is None else np.maximum(best, highest)
    assert best is not None
    return np.asarray(best, np.float32)


def view_correlations(a: Floats, b: Floats) -> Floats:
    """Correlation of paired images under each view.

    Args:
        a: float32[n, SIDE, SIDE].
        b: float32[n, SIDE, SIDE], one for each of `a`.

    Returns:
        float32[n, VIEWS]: of a with that view of b.
    """
    found = []
    for transposed in (False, True):
        parts = split_parity(a) * split_parity(b, transposed=transposed)
        even, across, down, both = parts.sum(axis=2)
        for flip_down in (1, -1):
            for flip_across in (1, -1):
                signs = flip_across * across + flip_down * down + flip_down * flip_across * both
                found.append(even + signs)
    return np.asarray(np.stack(found, axis=1), np.float32)


def turn(pixels: _Any2D, view: int) -> _Any2D:
    """One of the eight views of a square image, or of a mask.

    Args:
        pixels: [side, side].
        view: 0 to 7, see `VIEWS`.

    Returns:
        [side, side], contiguous.
    """
    turned = pixels.T if view & 4 else pixels
    turned = turned[::-1] if view & 2 else turned
    return np.ascontiguousarray(turned[:, ::-1] if view & 1 else turned)
