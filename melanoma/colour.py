"""Colours as the file's profile means them, brought to sRGB, in which all else is.

Telephones write Display P3, cameras Adobe RGB: read as sRGB, skin loses a tenth of its red.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from melanoma.jpeg import Header

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsProfile, ImageCmsTransform

Pixels = NDArray[np.uint8]

_RGB_COMPONENTS = 3

_SAME = 2
"""Most levels by which colours may change under a profile that is taken for sRGB. Profiles of sRGB
reach 1 (one of 410 bytes with a coarse curve), the nearest other space, Rec. 709, 16."""

_STEPS = 17
"""Levels of each channel that are tried to tell a profile from sRGB's."""

_KEPT = 16
"""Transforms that are kept: a set of images has few profiles, each of which comes many times."""


def to_srgb(rgb: Pixels, header: Header) -> Pixels:
    """Convert a decoded picture from its file's colour profile to sRGB.

    Args:
        rgb: uint8 [H, W, 3], as decoded, at any scale.
        header: of its file.

    Returns:
        uint8 [H, W, 3]; `rgb` itself where the file has no profile, sRGB's, or one that says
        nothing of it (see `why_ignored`).
    """
    if header.profile is None or header.components != _RGB_COMPONENTS:
        return rgb
    transform, _ = _transform(header.profile)
    return rgb if transform is None else _apply(transform, rgb)


def why_ignored(header: Header) -> str:
    """Why a file's colour profile cannot be used, so that its pixels are taken as sRGB.

    Args:
        header: of the file.

    Returns:
        E.g. "broken colour profile ignored"; "" where there is no profile or it is used.
    """
    if header.profile is None:
        return ""
    transform, problem = _transform(header.profile)
    if not problem and transform is not None and header.components != _RGB_COMPONENTS:
        problem = f"RGB colour profile of a {'grey' if header.components == 1 else 'CMYK'} image"
    return f"{problem} ignored" if problem else ""


@lru_cache(_KEPT)
def _transform(profile: bytes) -> tuple[ImageCmsTransform | None, str]:
    """From a profile to sRGB: None where nothing is to be done, and what is wrong with it."""
    # Not imported before a profile comes: hardly any file has one, and every job would pay.
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if space != "RGB":
            return None, f"{'grey' if space == 'GRAY' else space} colour profile"
        transform = _build(source)
        levels = np.linspace(0, 255, _STEPS).round().astype(np.uint8)
        cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(_STEPS, -1, 3)
        change = np.abs(_apply(transform, cube).astype(np.int16) - cube).max()
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None, "broken colour profile"
    return (None if change <= _SAME else transform), ""


def _build(source: ImageCmsProfile) -> ImageCmsTransform:
    """A transform that keeps every colour that sRGB has."""
    from PIL import ImageCms

    srgb = ImageCms.createProfile("sRGB")
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    return ImageCms.buildTransform(source, srgb, "RGB", "RGB", renderingIntent=intent)


def _apply(transform: ImageCmsTransform, rgb: Pixels) -> Pixels:
    from PIL import Image

    return np.asarray(transform.apply(Image.fromarray(np.ascontiguousarray(rgb))), np.uint8)
