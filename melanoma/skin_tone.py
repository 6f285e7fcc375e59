"""A proxy of skin tone: the individual typology angle of the skin at a picture's border.

ITA = arctan((L* - 50) / b*) in degrees (Chardon et al. 1991, International Journal of Cosmetic
Science 13, 191-208), high for light skin; the bounds between tones are those of Del Bino and
Bernerd (2013, British Journal of Dermatology 169 Suppl 3, 33-40). Used on pictures of ISIC by
Kinyanjui et al. (2020, MICCAI, 320-329).

It describes the picture, not the patient. Cameras, lighting, immersion gel and white balance move
it by more than a tone: half of a sample of ISIC 2019 has a violet cast in which the angle means
nothing (it is not given then), and most of the rest come out as very light. Redness, a tan and
sun-damaged skin move it too, and where a lesion fills the frame there is no skin to see. Fit for
asking whether figures fall with darker pictures; no skin type of a person follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

COLUMNS = ("image", "ita", "skin_tone")
"""Of the table: ita in degrees, empty where there is no skin to see."""

TONES = (
    (55.0, "very light"),
    (41.0, "light"),
    (28.0, "intermediate"),
    (10.0, "tan"),
    (-30.0, "brown"),
)
"""Least ITA above which skin is of a tone, in degrees; below the last it is `DARKEST`."""

DARKEST = "dark"
UNSEEN = "not measurable"

BORDER = 0.12
"""Width of the border that is looked at, as a share of the side."""

_DARK = 20.0
"""L* up to which a pixel is the black around a round field of view, or its rim."""

_GLARE = 98.0
"""L* from which a pixel is a reflection or a label."""

_LEAST_SKIN = 0.2
"""Share of the border that must be left for an angle to be given."""

_LEAST_YELLOW = 5.0
"""Least b* of skin; less is a colour cast. Measured on skin it is about 8 to 25."""

_BLOCK = 256


def ita(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Individual typology angle of the border of pictures.

    The median of the border's lightness and yellowness, so that a lesion, a hair or a ruler that
    takes up less than half of the border has little say.

    Args:
        pixels: uint8[n, side, side, 3], sRGB.

    Returns:
        float64[n], degrees in (-90, 90); NaN where too little of the border is skin, or it is
        not yellow enough to be of skin in its own colours.
    """
    side = pixels.shape[1]
    width = max(1, round(BORDER * side))
    inner = slice(width, side - width)
    border = np.ones((side, side), bool)
    border[inner, inner] = False
    angles = np.full(len(pixels), np.nan)
    for number, picture in enumerate(pixels):
        colours = picture[border][None].astype(np.float32) / 255
        lightness, _, yellowness = np.moveaxis(cv2.cvtColor(colours, cv2.COLOR_RGB2Lab)[0], 1, 0)
        skin = (lightness > _DARK) & (lightness < _GLARE)
        if skin.mean() < _LEAST_SKIN:
            continue
        light, yellow = float(np.median(lightness[skin])), float(np.median(yellowness[skin]))
        if yellow >= _LEAST_YELLOW:
            angles[number] = np.degrees(np.arctan2(light - 50.0, yellow))
    return angles


def tone_of(angle: float) -> str:
    """Name of the tone of an angle in degrees; `UNSEEN` for NaN."""
    if np.isnan(angle):
        return UNSEEN
    return next((name for least, name in TONES if angle > least), DARKEST)


def skin_tones(images: Sequence[str], pixels: NDArray[np.uint8]) -> pd.DataFrame:
    """Angle and tone of every picture of a store.

    Args:
        images: ids [n].
        pixels: uint8[n, side, side, 3], may be a memory map: read in blocks.

    Returns:
        `COLUMNS`, a row an image in the order given; ita rounded to 0.01 degrees.
    """
    blocks = range(0, len(images), _BLOCK)
    angles = [ita(np.asarray(pixels[start : start + _BLOCK])) for start in blocks]
    values = np.concatenate([np.zeros(0), *angles]).round(2)
    tones = [tone_of(value) for value in values]
    return pd.DataFrame(dict(zip(COLUMNS, (list(images), values, tones), strict=True)))
