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
