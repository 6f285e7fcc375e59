"""From a drawn lesion to a dermoscopic frame: skin, light, view, hairs, ruler, dark corners."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from melanoma.synthetic.brush import Brush
from melanoma.synthetic.lesions import draw_lesion

Frame = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]

_SKIN = np.array(
    [
        (238, 200, 190),
        (230, 188, 178),
        (224, 176, 160),
        (236, 196, 176),
        (214, 160, 140),
        (186, 130, 108),
        (146, 98, 78),
        (112, 76, 62),
    ],
    np.float32,
)
"""Skin tones under a dermatoscope, light to dark, RGB."""

_SKIN_SHARES = (0.2, 0.2, 0.18, 0.16, 0.12, 0.07, 0.04, 0.03)
"""Light skin prevails in the ISIC archive."""

_SCENE_SIDE = 512
"""Most pixels along a side of what is drawn: larger frames enlarge it, as a soft optic would, and
get their grain, hairs and marks at full size."""


def draw_image(
    diagnosis: str,
    lesion_seed: list[int],
    view: int,
    *,
    width: int,
    height: int,
    artefacts: bool = True,
) -> Frame:
    """Draw one view of one lesion.

    Args:
        diagnosis: one of `isic.CLASSES`, or `isic.UNKNOWN`.
        lesion_seed: numbers that fix the lesion and the skin.
        view: fixes what differs between two photographs of it: angle, place, light, hairs.
        width: pixels.
        height: pixels.
        artefacts: whether there may be hairs, rulers and dark corners.

    Returns:
        uint8[height, width, 3] RGB.
    """
    lesion_rng = np.random.default_rng([*lesion_seed, 0])
    rng = np.random.default_rng([*lesion_seed, 1, view])
    tone = _SKIN[lesion_rng.choice(len(_SKIN), p=_SKIN_SHARES)]
    tone = tone + lesion_rng.normal(0, 5, 3).astype(np.float32)
    shrink = max(1.0, max(width, height) / _SCENE_SIDE)
    small = (round(width / shrink), round(height / shrink))
    brush = Brush(lesion_rng, min(small))
    draw_lesion(brush, diagnosis)
    # Dark skin darkens what lies in it, though less than itself.
    brush.rgb *= np.sqrt(tone / _SKIN[0])[:, None, None]
    scene = _skin(rng, tone, *small)
    _place(rng, brush, scene)
    scene *= _light(rng, *small)
    pixels = np.clip(scene, 0, 255).astype(np.uint8)
    if shrink > 1.0:
        pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC))
    pixels = _with_grain(rng, pixels)
    return _artefacts(rng, pixels) if artefacts else pixels


def draw_hairs(
    rgb: Frame, rng: np.random.Generator, *, count: int = 12, width: float = 0.006
) -> tuple[Frame, npt.NDArray[np.bool_]]:
    """Draw hairs over an image and say where they are.

    Args:
        rgb: uint8[h, w, 3] RGB; not changed.
        rng: where all chance comes from.
        count: number of hairs.
        width: mean width of a hair as a share of the shorter side; each lies between a third of
            it and one and a half times it.

    Returns:
        The image with hairs, uint8[h, w, 3], and bool[h, w], True where a hair covers at least
        a third of the pixel.
    """
    height, breadth = rgb.shape[:2]
    cover = np.zeros((height, breadth), np.uint8)
    out = rgb.copy()
    for _ in range(count):
        thickness = width * min(height, breadth) * rng.uniform(0.33, 1.5)
        points = _arc(rng, breadth, height)
        colour = rng.uniform(8, 50) + np.array((18.0, 8.0, 0.0)) * rng.uniform(0, 2)
        box, corner = _bounds(points, breadth, height)
        alpha = np.zeros_like(cover[box])
        line = [points - corner * 16]
        cv2.polylines(alpha, line, False, 255, max(1, round(thickness)), cv2.LINE_AA, 4)
        # cv2 draws no line thinner than a pixel: a thinner hair is fainter instead.
        alpha = (alpha * min(1.0, max(thickness, 0.5))).astype(np.uint8)
        part = alpha.astype(np.float32)[..., None] * np.float32(rng.uniform(0.75, 0.97) / 255)
        out[box] = out[box] + (colour.astype(np.float32) - out[box]) * part
        cover[box] = np.maximum(cover[box], alpha)
    return out, cover >= 85


def _bounds(
    points: npt.NDArray[np.int32], width: int, height: int
) -> tuple[tuple[slice, slice], npt.NDArray[np.int32]]:
    """The part of the frame that a polyline touches, and its upper left corner (x, y)."""
    # Eight pixels more on each side: half of the widest hair in a 1024 x 1024 frame.
    low = (points.min(axis=0) // 16 - 8).clip(0)
    high = np.minimum(points.max(axis=0) // 16 + 9, (width, height)).clip(low + 1)
    low = np.minimum(low, (width - 1, height - 1)).astype(np.int32)
    return (slice(low[1], high[1]), slice(low[0], high[0])), low


def _arc(rng: np.random.Generator, width: int, height: int) -> npt.NDArray[np.int32]:
    """A bent line, as cv2 wants it: int32[24, 2] in sixteenths of a pixel."""
    middle = rng.uniform(0.0, 1.0, 2) * (width, height)
    angle = rng.uniform(0, 2 * np.pi)
    half = rng.uniform(0.15, 0.6) * min(width, height)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    t = np.linspace(-1.0, 1.0, 24)[:, None]
    bend = rng.normal(0, 0.25) * half
    line = middle + along * half * t + across * bend * (1 - t**2)
    return np.rint(line * 16).astype(np.int32)


def _smooth(rng: np.random.Generator, width: int, height: int, cells: int) -> Plane:
    rows = max(2, round(cells * height / width))
    lattice = rng.standard_normal((rows, cells)).astype(np.float32)
    return np.asarray(
        cv2.resize(lattice, (width, height), interpolation=cv2.INTER_CUBIC), np.float32
    )


def _skin(rng: np.random.Generator, tone: Plane, width: int, height: int) -> Plane:
    """Skin with uneven blood flow and fine furrows: float32[h, w, 3]."""
    blood = _smooth(rng, width, height, 5)
    furrows = np.maximum(0.8 - np.abs(_smooth(rng, width, height, 60)), 0.0) * 0.05
    planes = [
        tone[channel] * (1.0 - furrows) - blood * strength
        for channel, strength in enumerate((2.0, 6.0, 5.0))
    ]
    return np.asarray(cv2.merge(planes), np.float32)


def _place(rng: np.random.Generator, brush: Brush, frame: Plane) -> None:
    """Blend the lesion into the frame, turned, shifted and scaled by the view."""
    height, width = frame.shape[:2]
    side = brush.side
    scale = rng.uniform(0.85, 1.15) * min(height, width) * 1.02 / side
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(0, 360), scale)
    matrix = np.asarray(turn, np.float64)
    matrix[:, 2] += np.array((width, height)) / 2 - side / 2
    matrix[:, 2] += rng.normal(0, 0.05, 2).clip(-0.1, 0.1) * min(height, width)
    rgba = cv2.merge([*brush.rgb, brush.alpha])
    if rng.random() < 0.5:
        rgba = np.ascontiguousarray(rgba[:, ::-1])
    placed = np.asarray(cv2.warpAffine(rgba, matrix, (width, height)), np.float32)
    inside = cv2.boundingRect((placed[..., 3] > 0).astype(np.uint8))
    box = (slice(inside[1], inside[1] + inside[3]), slice(inside[0], inside[0] + inside[2]))
    alpha = placed[box][..., 3:]
    frame[box] = frame[box] * (1.0 - alpha) + placed[box][..., :3] * alpha


def _light(rng: np.random.Generator, width: int, height: int) -> Plane:
    """Brightness, white balance, a gradient and vignetting: float32[h, w, 3], about 1."""
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    slope = rng.normal(0, 0.04, 2).tolist()
    dimming = float(rng.uniform(0.0, 0.12))
    field = 1.0 + slope[0] * x + slope[1] * y - dimming * (x**2 + y**2)
    balance = (rng.normal(1.0, 0.025, 3) * rng.uniform(0.9, 1.06)).tolist()
    return np.asarray(cv2.merge([field * share for share in balance]), np.float32)


def _with_grain(rng: np.random.Generator, pixels: Frame) -> Frame:
    """Sensor noise, one tile of it repeated: nobody sees that, and it is quick."""
    height, width = pixels.shape[:2]
    tile = np.rint(rng.normal(0, 1.8, (256, 256))).astype(np.int16)
    tiled = np.tile(tile, (-(-height // 256), -(-width // 256)))[:height, :width]
    return np.asarray(cv2.add(pixels, cv2.merge([tiled] * 3), dtype=cv2.CV_8U), np.uint8)


def _artefacts(rng: np.random.Generator, pixels: Frame) -> Frame:
    chance = rng.random(4)
    if chance[0] < 0.3:
        pixels, _ = draw_hairs(pixels, rng, count=int(rng.integers(3, 16)), width=0.008)
    if chance[1] < 0.25:
        pixels, _ = draw_hairs(pixels, rng, count=int(rng.integers(6, 25)), width=0.003)
    if chance[2] < 0.12:
        _draw_ruler(rng, pixels)
    if chance[3] < 0.2:
        pixels = _dark_corners(rng, pixels)
    return pixels


def _draw_ruler(rng: np.random.Generator, pixels: Frame) -> None:
    """Millimetre marks along the lower edge."""
    height, width = pixels.shape[:2]
    row = round(height * rng.uniform(0.88, 0.95))
    first, last = round(width * rng.uniform(0.05, 0.3)), round(width * rng.uniform(0.6, 0.95))
    thickness = max(1, height // 300)
    cv2.line(pixels, (first, row), (last, row), (40, 36, 36), thickness, cv2.LINE_AA)
    for number, column in enumerate(np.linspace(first, last, 21)):
        rise = round(height * (0.035 if number % 5 == 0 else 0.02))
        foot, top = (round(column), row), (round(column), row - rise)
        cv2.line(pixels, foot, top, (40, 36, 36), thickness, cv2.LINE_AA)


def _dark_corners(rng: np.random.Generator, pixels: Frame) -> Frame:
    """Black outside a round field of view."""
    height, width = pixels.shape[:2]
    radius = np.hypot(width, height) / 2 * rng.uniform(0.8, 0.95)
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, (width // 2, height // 2), round(radius), 255, -1, cv2.LINE_AA)
    cv2.GaussianBlur(mask, (0, 0), max(1.0, height / 120), dst=mask)
    dimmed = cv2.multiply(pixels, cv2.merge([mask] * 3), scale=1 / 255)
    return np.asarray(dimmed, np.uint8)
