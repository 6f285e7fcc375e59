"""Inspecting the archive: every image read once, in shards, for all that the catalogue needs."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import cv2
import pandas as pd

from melanoma.archive import Archive
from melanoma.colour import why_ignored
from melanoma.errors import InputError
from melanoma.fingerprint import centre_square, decode_grey, fingerprint_within
from melanoma.jpeg import read_header
from melanoma.surround import find_field
from melanoma.wording import counted

_LOG = logging.getLogger(__name__)

COLUMNS = (
    "image",
    "member",
    "bytes",
    "crc",
    "width",
    "height",
    "error",
    "fingerprint",
    "surround",
)
"""Columns of a shard's table; width, height and surround are 0 and fingerprint "" beside an error.
"""

NUMBERS = {**dict.fromkeys(("bytes", "width", "height"), "int64"), "surround": "float64"}
"""Types of the columns that are no text."""

_SECONDS_BETWEEN_LINES = 10.0


def shard_of(images: tuple[str, ...], shard: int, shards: int) -> tuple[str, ...]:
    """The images of one shard: contiguous in sorted order, shards as equal as can be.

    Args:
        images: all ids, sorted.
        shard: from 0 to `shards` - 1.
        shards: how many there are.

    Returns:
        Its ids; none where there are more shards than images.

    Raises:
        ValueError: no such shard.
    """
    if not 0 <= shard < shards:
        raise ValueError(f"shard {shard} of {shards}: counted from 0")
    return images[shard * len(images) // shards : (shard + 1) * len(images) // shards]


def inspect_shard(archive_path: Path | str, shard: int, shards: int) -> pd.DataFrame:
    """Read each image of a shard once: its CRC, size, whether it decodes, its fingerprint.

    Args:
        archive_path: the zip of images.
        shard: from 0 to `shards` - 1.
        shards: how many there are.

    Returns:
        One row per image, sorted by image, with the columns `COLUMNS`: text as str, bytes (of the
        file), width and height (pixels) as int64, surround (share of the centre square
        around the field that shows skin, see `melanoma.surround`; 0 where there is none) as
        float64. Where an image cannot be used, error says why; elsewhere it is "".

    Raises:
        InputError: the archive itself cannot be used.
        OSError: the disk failed to read.
        ValueError: no such shard.
    """
    cv2.setNumThreads(1)  # shards run side by side, one to a core
    with Archive(archive_path) as archive:
        images = shard_of(archive.images, shard, shards)
        rows = []
        ignored: dict[str, list[str]] = {}
        told = time.monotonic()
        for number, image in enumerate(images, 1):
            rows.append(_inspect(archive, image, ignored))
            if time.monotonic() - told > _SECONDS_BETWEEN_LINES:
                told = time.monotonic()
                _LOG.info("inspected %d of %d images", number, len(images))
    for why, members in ignored.items():
        affected = counted(len(members), "image")
        _LOG.warning("%s in %s, e.g. %s: taken as sRGB", why, affected, members[0])
    _LOG.info("inspected %s, shard %d of %d", counted(len(images), "image"), shard + 1, shards)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({**dict.fromkeys(COLUMNS, "str"), **NUMBERS})


def _inspect(archive: Archive, image: str, ignored: dict[str, list[str]]) -> tuple[object, ...]:
    """One row of the table; members whose colour profile is of no use are added to `ignored`."""
    member = archive.member(image)
    known = (image, member, archive.size(member), archive.crc(member))
    try:
        jpeg = archive.read(member)
        header = read_header(jpeg)
        grey = decode_grey(jpeg, min(header.size))
    except InputError as error:
        return (*known, 0, 0, _reason(error, archive.path), "", 0.0)
    if why := why_ignored(header):
        ignored.setdefault(why, []).append(member)
    square = centre_square(grey)
    field = find_field(square)
    surround = 0.0 if field is None else field.surround
    return (*known, *header.size, "", fingerprint_within(square, field), surround)


def _reason(error: InputError, archive: Path) -> str:
    """The message on one line, without the archive's path: the same wherever it lies."""
    return " ".join(str(error).removeprefix(f"{archive}: ").split())
