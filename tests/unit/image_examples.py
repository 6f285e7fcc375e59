"""Pictures, JPEG files and archives for the tests of the way from the archive to the store."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def picture(seed: int = 0, width: int = 96, height: int = 72) -> np.ndarray:
    """Smooth colours, unlike any other seed's."""
    coarse = np.random.default_rng(seed).integers(30, 226, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def hairy(seed: int = 0, width: int = 96, height: int = 72) -> np.ndarray:
    """Bright skin under dark hairs."""
    rgb = picture(seed, width, height) // 4 + np.array([160, 130, 115], np.uint8)
    ends = np.random.default_rng(seed).uniform(0, 1, (6, 2)) * (width, height)
    for x, y in ends.astype(int):
        cv2.line(rgb, (int(x), 0), (width - 1, int(y)), (45, 30, 25), max(1, height // 90))
    return rgb


def encode(
    pixels: np.ndarray, *, mode: str | None = None, orientation: int = 1, **settings
) -> bytes:
    """A JPEG file; `settings` are Pillow's."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(pixels))
    stream = io.BytesIO()
    settings = {"quality": 95, **settings}
    (image.convert(mode) if mode else image).save(stream, "JPEG", exif=exif, **settings)
    return stream.getvalue()


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        for name, data in members.items():
            out.writestr(name, data)
    return path


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.square(a.astype(np.float64) - b).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def segment(marker: int, body: bytes = b"") -> bytes:
    """A marker of a JPEG file with its length and content."""
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def insert(jpeg: bytes, *segments: bytes) -> bytes:
    """A file with more segments at its start."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def scan_data(jpeg: bytes) -> tuple[int, int]:
    """Where the data of the first scan start, and where the file's end marker is."""
    header = jpeg.index(b"\xff\xda")
    return header + 2 + int.from_bytes(jpeg[header + 2 : header + 4], "big"), len(jpeg) - 2


def cut_and_closed(jpeg: bytes, share: float) -> bytes:
    """A file of which a share of the image data is left, with an end marker behind."""
    start, end = scan_data(jpeg)
    return jpeg[: start + int(share * (end - start))] + jpeg[end:]


def damaged_files() -> dict[str, tuple[bytes, str]]:
    """Files that decoders read without an error, and what damages them."""
    whole, progressive = encode(picture()), encode(picture(), progressive=True)
    restarts = encode(picture(), restart_marker_blocks=2)
    start, end = scan_data(whole)
    middle = (start + end) // 2
    early, extra = "premature end of data segment", "extraneous bytes before marker"
    return {
        "half, closed": (cut_and_closed(whole, 0.5), early),
        "all but the last bytes, closed": (cut_and_closed(whole, 0.98), early),
        "no data, closed": (cut_and_closed(whole, 0), early),
        "progressive, half, closed": (cut_and_closed(progressive, 0.5), early),
        "restarts, half, closed": (cut_and_closed(restarts, 0.5), early),
        "grey, half, closed": (cut_and_closed(encode(picture()[..., 0]), 0.5), early),
        "CMYK, half, closed": (cut_and_closed(encode(picture(), mode="CMYK"), 0.5), early),
        "a part gone": (whole[:middle] + whole[middle + 300 :], early),
        "zeros": (whole[:middle] + bytes(400) + whole[middle + 400 :], ""),
        "bytes before the end": (whole[:end] + b"\x55" * 250 + whole[end:], extra),
        "an unknown marker": (whole[:middle] + b"\xff\x02" + whole[middle + 2 :], "0x02"),
        "half, closed, behind odd headers": (
            insert(cut_and_closed(whole, 0.5), segment(0xE2, b"ICC_PROFILE\0\1\2part")),
            early,
        ),
    }


def odd_but_whole_files() -> dict[str, bytes]:
    """Files that decoders warn of, though no pixel is lost, or that hold more than a picture."""
    whole, progressive = encode(picture()), encode(picture(), progressive=True)
    start, _ = scan_data(whole)
    film = b"\0\0\0\x18ftypqt  " + (b"\xff\xda\0\x08\1\1\0\0\x3f\0" + bytes(20)) * 5000
    return {
        "an unknown version of JFIF": whole.replace(b"JFIF\0\1\1", b"JFIF\0\2\1"),
        "a part of a colour profile": insert(whole, segment(0xE2, b"ICC_PROFILE\0\1\2part")),
        "a scan header without a spectrum": whole[: start - 3] + bytes(3) + whole[start:],
        "bytes behind the end": whole + b"trailing bytes" * 700,
        "a picture behind the end": whole + encode(picture(1)),
        "half a picture behind the end": whole + encode(picture(1))[:900],
        "a film behind the end": whole + film,
        "a film behind the end of a progressive file": progressive + film,
    }


D50 = (0.9642, 1.0, 0.8249)
"""White of the space in which profiles say their primaries (ICC.1:2022, 7.2.16)."""

SPACES = {
    "sRGB": ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141)),
    "Display P3": (
        (0.51512, 0.2412, -0.00105),
        (0.29198, 0.69225, 0.04189),
        (0.1571, 0.06657, 0.78407),
    ),
    "Adobe RGB": (
        (0.60974, 0.31111, 0.01947),
        (0.20528, 0.62567, 0.06087),
        (0.14919, 0.06322, 0.74457),
    ),
    "ProPhoto": ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491)),
}
"""Primaries by space, X, Y, Z of red, green and blue, adapted to D50 as in the usual profiles."""

_GAMMAS = {"Adobe RGB": 563 / 256, "ProPhoto": 461 / 256}
"""Exponents, in the steps of 1/256 that profiles have; the other spaces have sRGB's curve."""

_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""Of IEC 61966-2-1, as the parameters of a curve of type 3 (ICC.1:2022, table 68)."""


def icc_profile(space: str) -> bytes:
    """A profile of one of `SPACES`."""
    if gamma := _GAMMAS.get(space):
        curve = b"para" + bytes(8) + _fixed(gamma)
    else:
        curve = b"para" + bytes(4) + b"\0\3\0\0" + b"".join(map(_fixed, _SRGB_CURVE))
    tags = {b"wtpt": _xyz(D50)}
    for channel, primary in zip(b"rgb", SPACES[space], strict=True):
        tags[bytes([channel]) + b"XYZ"] = _xyz(primary)
        tags[bytes([channel]) + b"TRC"] = curve
    return bare_profile(b"RGB ", tags)


def bare_profile(space: bytes, tags: dict[bytes, bytes] | None = None) -> bytes:
    """A display profile of a colour space by its four letters (ICC.1:2022, 7.2 and 7.3)."""
    tags = tags or {}
    table, data = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + (start + len(data)).to_bytes(4, "big") + len(content).to_bytes(4, "big")
        data += content
    size = (start + len(data)).to_bytes(4, "big")
    header = size + bytes(4) + b"\4\x20\0\0mntr" + space + b"XYZ " + bytes(12) + b"acsp"
    header = (header + bytes(28)).ljust(68, b"\0") + b"".join(map(_fixed, D50))
    return header.ljust(128, b"\0") + len(tags).to_bytes(4, "big") + table + data


def _fixed(value: float) -> bytes:
    return round(value * 65536).to_bytes(4, "big", signed=True)


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(_fixed, values))


def in_space(rgb: np.ndarray, space: str) -> np.ndarray:
    """The same colours, given in sRGB, as another space writes them; uint8 [..., 3]."""
    encoded = rgb / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    to_xyz, from_xyz = np.array(SPACES["sRGB"]), np.linalg.inv(SPACES[space])
    other = np.clip(linear @ to_xyz @ from_xyz, 0, 1)
    if gamma := _GAMMAS.get(space):
        written = other ** (1 / gamma)
    else:
        written = np.where(other <= 0.0031308, other * 12.92, 1.055 * other ** (1 / 2.4) - 0.055)
    return np.round(written * 255).astype(np.uint8)
