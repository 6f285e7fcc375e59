"""The jobs that share the images: each reads its rows of the catalogue and writes its own file.

Between the two jobs lies a file of frames of different sizes: a line of JSON (format, size of the
final images), for each image a line of JSON (image, shape) and its bytes, and at the end a line
with the number of frames and the CRC-32 of all before it.
"""

from __future__ import annotations

import json
import logging
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from melanoma import files
from melanoma.archive import Archive
from melanoma.errors import InputError
from melanoma.images import clean, frame
from melanoma.store import partition
from melanoma.wording import counted

if TYPE_CHECKING:
    import pandas as pd

    from melanoma.config import Images

_LOG = logging.getLogger(__name__)

_FORMAT = "melanoma frames 1"
_LONGEST_LINE = 10_000
_LARGEST_FRAME = 1_000_000_000
_SECONDS_BETWEEN_LINES = 10.0


def remove_hair_shard(
    archive: Path | str,
    catalogue: pd.DataFrame,
    output: Path | str,
    *,
    images: Images,
    shard: int,
    shards: int,
) -> None:
    """Decode a shard's images straight from the archive, remove their hairs, keep whole frames.

    One image is in memory at a time.

    Args:
        archive: the zip.
        catalogue: one row per usable image; columns image and member are used.
        output: the file of frames to write, for `resize_shard`.
        images: size and hair_removal.
        shard: from 0 to `shards` - 1.
        shards: how many there are.

    Raises:
        InputError: a member is missing or damaged; names archive, member and image.
        ValueError: no such shard.
    """
    cv2.setNumThreads(1)  # shards run side by side, one to a core
    rows = partition(len(catalogue), shard, shards)
    part = catalogue.iloc[rows.start : rows.stop]
    with (
        Archive(archive) as members,
        files.atomic(output) as partial,
        partial.open("wb") as stream,
    ):
        writer = _FrameWriter(stream, size=images.size)
        told = time.monotonic()
        for image, member in zip(part["image"], part["member"], strict=True):
            writer.write(image, _clean_member(members, image, member, images))
            if time.monotonic() - told > _SECONDS_BETWEEN_LINES:
                told = time.monotonic()
                _LOG.info("cleaned %d of %d images", writer.count, len(part))
        writer.finish()
    _LOG.info("cleaned %s, shard %d of %d", counted(len(part), "image"), shard + 1, shards)


def _clean_member(members: Archive, image: str, member: str, images: Images) -> NDArray[np.uint8]:
    jpeg = members.read(member)
    try:
        return clean(jpeg, size=images.size, hair_removal=images.hair_removal)
    except InputError as error:
        raise InputError(
            f"{members.path}: {member!r} (image {image}): {error}; the catalogue took it for "
            "usable: has the archive changed since? Remove the catalogue and run again"
        ) from error


def resize_shard(frames: Path | str, output: Path | str, *, images: Images) -> None:
    """Frame a shard's pictures as squares of the final size.

    Args:
        frames: the file that `remove_hair_shard` wrote.
        output: the .npy to write: uint8 [k, size, size, 3], RGB, in the same order.
        images: size and framing.

    Raises:
        InputError: the file is damaged, cut short, or of another size.
    """
    cv2.setNumThreads(1)
    frames, count = Path(frames), 0
    with files.atomic(output) as partial, partial.open("wb") as stream:
        # The number of images is known at the end: the header is written again then, as long.
        _write_header(stream, 0, images.size)
        for _, rgb in read_frames(frames, size=images.size):
            stream.write(frame(rgb, size=images.size, framing=images.framing).data)
            count += 1
        stream.seek(0)
        _write_header(stream, count, images.size)
    _LOG.info("resized %s", counted(count, "image"))


def _write_header(stream: BinaryIO, count: int, size: int) -> None:
    """The .npy header; numpy leaves room for the first length to grow, so its size is fixed."""
    shape = (count, size, size, 3)
    description = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, description)


class _FrameWriter:
    """Writes frames one after the other."""

    def __init__(self, stream: BinaryIO, *, size: int) -> None:
        self._stream = stream
        self._crc = 0
        self.count = 0
        self._line({"format": _FORMAT, "size": size})

    def write(self, image: str, rgb: NDArray[np.uint8]) -> None:
        self._line({"image": image, "shape": rgb.shape})
        self._add(np.ascontiguousarray(rgb).data)
        self.count += 1

    def finish(self) -> None:
        self._stream.write(_line({"frames": self.count, "crc": self._crc}))

    def _line(self, value: dict[str, Any]) -> None:
        self._add(_line(value))

    def _add(self, data: bytes | memoryview) -> None:
        self._crc = zlib.crc32(data, self._crc)
        self._stream.write(data)


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def read_frames(path: Path | str, *, size: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Read a file of frames in order, one at a time; it is verified when the last has been taken.

    Args:
        path: the file that `remove_hair_shard` wrote.
        size: of the final images, in pixels, that it must have been written for.

    Yields:
        Image id and uint8 [h, w, 3].

    Raises:
        InputError: not such a file, of another size, cut short or changed.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file of frames; run rule remove_hair")
    with path.open("rb") as stream:
        reader = _FrameReader(path, stream)
        head = reader.line()
        if head.get("format") != _FORMAT or head.get("size") != size:
            raise reader.damaged(f"starts with {head}, expected {_FORMAT!r} for size {size}")
        count = 0
        while True:
            crc = reader.crc
            head = reader.line()
            if "frames" in head:
                break
            yield reader.frame(head)
            count += 1
        if head != {"frames": count, "crc": crc} or stream.read(1):
            raise reader.damaged("its checksum or number of frames is wrong")


class _FrameReader:
    """Reads lines and frames, keeping the checksum of all that was read."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self._path = path
        self._stream = stream
        self.crc = 0

    def damaged(self, why: str) -> InputError:
        return InputError(f"{self._path}: {why}; remove it and run rule remove_hair again")

    def line(self) -> dict[str, Any]:
        text = self._stream.readline(_LONGEST_LINE)
        self.crc = zlib.crc32(text, self.crc)
        try:
            value = json.loads(text) if text.endswith(b"\n") else None
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise self.damaged("cut short or damaged")
        return value

    def frame(self, head: dict[str, Any]) -> tuple[str, NDArray[np.uint8]]:
        try:
            image = str(head["image"])
            height, width, channels = (int(side) for side in head["shape"])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise self.damaged("a frame without id or shape") from None
        length = height * width * channels
        if channels != 3 or min(height, width) < 1 or length > _LARGEST_FRAME:
            raise self.damaged(f"a frame of shape {head['shape']}")
        data = self._stream.read(length)
        if len(data) < length:
            raise self.damaged(f"cut short in image {image}")
        self.crc = zlib.crc32(data, self.crc)
        return image, np.frombuffer(data, np.uint8).reshape(height, width, 3)
