"""Hostile files by the thousand: good ones, damaged in ways that reach far into their readers."""

from __future__ import annotations

import io
import random
import zipfile
from functools import cache

import cv2
import numpy as np
import torch
from PIL import Image

INTERESTING = (b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0", b"\xff\xff", b"\0\1", b"\x7f\xff\xff\xff")
"""Bytes at which lengths, counts and signs go wrong."""

_MARKERS = (0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xC9, 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xE1, 0xFE)
_JPEG_MARKS = tuple(bytes([0xFF, marker]) for marker in _MARKERS)
"""Of frames, tables, scans, ends and comments (ITU-T T.81, table B.1)."""

_ZIP_MARKS = (b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"../", b"/in")
"""Of headers, directories and their ends (APPNOTE.TXT 4.3), and names that lead elsewhere."""

_TEXT_MARKS = (
    b",",
    b"\n",
    b"\r",
    b'"',
    b";",
    b"nan",
    b"-1",
    b"1e999",
    b"\xef\xbb\xbf",
    b"\xff",
    b"{",
)


@cache
def jpegs() -> tuple[bytes, ...]:
    """Small JPEG files of every ordinary kind."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    rgb = cv2.resize(coarse, (96, 72), interpolation=cv2.INTER_CUBIC)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 70]
    kinds = [
        _encode(rgb, *quality),
        _encode(rgb, *quality, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        _encode(rgb, *quality, cv2.IMWRITE_JPEG_RST_INTERVAL, 3),
        _encode(rgb, *quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x211111),
        _encode(rgb[..., 0], *quality),
        _encode(rgb[:1, :1]),
        _encode(rgb[:, :3]),
        _pillow(np.dstack([rgb, rgb[..., 0]]), "CMYK"),
        _pillow(rgb, "RGB", orientation=6),
    ]
    return tuple(kinds)


@cache
def archives() -> tuple[bytes, ...]:
    """Small zips of a few images: stored, packed, with folders and other files."""
    return tuple(
        _zip({f"in/{number}.jpg": jpeg for number, jpeg in enumerate(jpegs()[:4])}, kind)
        for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)
    )


def jpeg_case(number: int) -> bytes:
    """A damaged JPEG file; the same number gives the same bytes."""
    return damaged(jpegs(), random.Random(f"jpeg {number}"), _JPEG_MARKS)


def archive_case(number: int) -> bytes:
    """A damaged zip or, for odd numbers, a sound one of damaged images."""
    draw = random.Random(f"zip {number}")
    if number % 2 == 0:
        return damaged(archives(), draw, _ZIP_MARKS)
    images = {f"in/{n}.jpg": damaged(jpegs(), draw, _JPEG_MARKS) for n in range(4)}
    return _zip(images, zipfile.ZIP_STORED)


def text_case(number: int, seeds: tuple[bytes, ...]) -> bytes:
    """A damaged table or JSON file."""
    return damaged(seeds, random.Random(f"text {number}"), _TEXT_MARKS)


def model_case(number: int, whole: bytes) -> bytes:
    """A damaged checkpoint or, for odd numbers, a sound one with an odd value in it.

    Args:
        number: decides everything.
        whole: a good checkpoint.
    """
    draw = random.Random(f"model {number}")
    if number % 2 == 0:
        return damaged((whole,), draw, _ZIP_MARKS)
    values = torch.load(io.BytesIO(whole), weights_only=True)
    place = values
    key = draw.choice(sorted(place))
    while isinstance(place[key], dict) and place[key] and draw.random() < 0.7:
        place = place[key]
        key = draw.choice(sorted(place))
    if draw.random() < 0.3:
        del place[key]
    else:
        place[key] = draw.choice((None, -1, "text", "{}", [], {}, float("nan"), torch.ones(3)))
    stream = io.BytesIO()
    torch.save(values, stream)
    return stream.getvalue()


def damaged(seeds: tuple[bytes, ...], draw: random.Random, marks: tuple[bytes, ...]) -> bytes:
    """One of `seeds` with one to eight changes.

    Args:
        seeds: good files.
        draw: decides everything.
        marks: bytes that mean something to the reader of such files.
    """
    data = bytearray(draw.choice(seeds))
    for _ in range(draw.choice((1, 1, 2, 3, 5, 8))):
        _damage(data, draw, seeds, marks)
    return bytes(data)


def _damage(
    data: bytearray, draw: random.Random, seeds: tuple[bytes, ...], marks: tuple[bytes, ...]
) -> None:
    """One change, in place; headers are hit more often than their share of the bytes."""
    reach = min(len(data), 700) if draw.random() < 0.5 else len(data)
    at = draw.randrange(reach) if reach else 0
    span = draw.choice((1, 2, 4, 16, 64))
    kind = draw.choice(("bit", "byte", "value", "mark", "cut", "drop", "copy", "splice", "length"))
    if kind == "bit" and data:
        data[at] ^= 1 << draw.randrange(8)
    elif kind == "byte" and data:
        data[at] = draw.randrange(256)
    elif kind == "value":
        value = draw.choice(INTERESTING)
        data[at : at + len(value)] = value
    elif kind == "mark":
        mark = draw.choice(marks)
        data[at : at + draw.choice((0, len(mark)))] = mark
    elif kind == "cut":
        del data[at:]
    elif kind == "drop":
        del data[at : at + span]
    elif kind == "copy":
        data[at:at] = data[at : at + span] * draw.choice((1, 1, 50))
    elif kind == "splice":
        other = draw.choice(seeds)
        data[at:] = other[draw.randrange(len(other)) :]
    elif kind == "length":
        data[at : at + 4] = draw.randrange(1 << 32).to_bytes(4, draw.choice(("big", "little")))


def _encode(pixels: np.ndarray, *settings: int) -> bytes:
    return cv2.imencode(".jpg", pixels, list(settings))[1].tobytes()


def _pillow(pixels: np.ndarray, mode: str, *, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(pixels, mode).save(stream, "JPEG", exif=exif)
    return stream.getvalue()


def _zip(members: dict[str, bytes], kind: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", kind) as out:
        out.writestr("in/LICENSE.txt", "text")
        for name, data in members.items():
            out.writestr(name, data)
    return stream.getvalue()
