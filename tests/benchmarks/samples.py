"""Images to measure on: photographs of an archive, or drawn ones, at the sizes of ISIC 2019."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from melanoma.archive import Archive
from melanoma.images import decode, read_size
from melanoma.isic import CLASSES
from melanoma.synthetic import draw_image

Pixels = NDArray[np.uint8]

LARGEST_ENLARGEMENT = 1.1
SMALLEST_REDUCTION = 1 / 3


def save(rgb: Pixels, quality: int) -> bytes:
    """Encode as JPEG."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), settings)[1].tobytes()


def fitted(rgb: Pixels, width: int, height: int) -> Pixels:
    """Cut to the proportions and scaled."""
    scale = max(width / rgb.shape[1], height / rgb.shape[0])
    wide, high = max(width, round(rgb.shape[1] * scale)), max(height, round(rgb.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    whole = cv2.resize(rgb, (wide, high), interpolation=method)
    top, left = (high - height) // 2, (wide - width) // 2
    return np.ascontiguousarray(whole[top : top + height, left : left + width])


def photographs(archive: Path | None, width: int, height: int, count: int) -> list[Pixels]:
    """Images of one size.

    Args:
        archive: to take them from, spread evenly over those large enough; where it is None or has
            too few of them, they are drawn.
        width: in pixels.
        height: in pixels.
        count: how many.
    """
    found = [] if archive is None else list(_from_archive(archive, width, height, count))
    return found if len(found) == count else list(drawn(width, height, count))


def drawn(width: int, height: int, count: int, *, artefacts: bool = True) -> Iterator[Pixels]:
    """Drawn images of one size, of all diagnoses in turn."""
    for number in range(count):
        diagnosis = CLASSES[number % len(CLASSES)]
        size = {"width": width, "height": height}
        yield draw_image(diagnosis, [number, width], 0, **size, artefacts=artefacts)


def _from_archive(archive: Path, width: int, height: int, count: int) -> Iterator[Pixels]:
    with Archive(archive) as members:
        fitting = [image for image in members.images if _fits(members, image, width, height)]
        for number in range(count if len(fitting) >= count else 0):
            image = fitting[number * len(fitting) // count]
            yield fitted(decode(members.read(members.member(image))), width, height)


def _fits(members: Archive, image: str, width: int, height: int) -> bool:
    wide, high = read_size(members.read(members.member(image)))
    scale = max(width / wide, height / high)
    return SMALLEST_REDUCTION <= scale <= LARGEST_ENLARGEMENT
