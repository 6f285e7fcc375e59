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

from melanoma.surround import Field, find_field

_Floats = NDArray[np.float32]

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

RIM = 0.06
"""Width of the rim of a field that is looked at, as a share of the root of its area."""

# Of a field, chosen on 1,500 real photographs with and without real masks of round fields: the
# median of the change is 0.6 degrees, 9 % come into another group, 38 % can't be measured any more.

_TWO_LEVELS = 15.0
"""Difference of L* of the two halves of a field (Otsu 1979) from which the darker is no skin."""

_EVEN = 8.0
"""Greatest interquartile range of L* of skin at the rim; more is lesion and skin."""

_SMALL = 0.62
"""Share of the picture below which a lesion may fill the field: it must stand out from the rim."""

_STANDS_OUT = 10.0
"""Difference of L* by which it does."""

_ALL_AROUND = 0.9
"""Share of the rim that must be lighter than the lesion then."""

_BLOCK = 256


def ita(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Individual typology angle of the border of pictures, or of the rim of their field.

    The median of the border's lightness and yellowness, so that a lesion, a hair or a ruler that
    takes up less than half of the border has little say. Of a round field, or one between bars, it
    is the rim, which is nearer to the lesion: only what is light there and even is skin.

    Args:
        pixels: uint8[n, side, side, 3], sRGB.

    Returns:
        float64[n], degrees in (-90, 90); NaN where too little of the border is skin, or it is
        not yellow enough to be of skin in its own colours.
    """
    border = _border(pixels.shape[1])
    angles = np.full(len(pixels), np.nan)
    for number, picture in enumerate(pixels):
        field = find_field(picture)
        if field is None:
            colours = _lab(picture[border])
            skin = _neither_dark_nor_glare(colours[0])
        else:
            rim, inside = _rim(field, len(picture)), field.inside(*picture.shape[:2])
            colours = _lab(picture[rim])
            skin = _even_skin(colours[0], _lab(picture[inside])[0], share=float(inside.mean()))
        if not skin.size or skin.mean() < _LEAST_SKIN:
            continue
        light, yellow = (float(np.median(colours[channel][skin])) for channel in (0, 2))
        if yellow >= _LEAST_YELLOW:
            angles[number] = np.degrees(np.arctan2(light - 50.0, yellow))
    return angles


def _lab(colours: NDArray[np.uint8]) -> tuple[_Floats, _Floats, _Floats]:
    """L*, a* and b* of colours, uint8[n, 3]: float32[n] each."""
    if not len(colours):
        return (np.zeros(0, np.float32),) * 3
    values = cv2.cvtColor(colours[None].astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[0]
    return values[:, 0], values[:, 1], values[:, 2]


def _neither_dark_nor_glare(lightness: _Floats) -> NDArray[np.bool_]:
    return np.asarray((lightness > _DARK) & (lightness < _GLARE), np.bool_)


def _border(side: int) -> NDArray[np.bool_]:
    """The border of a whole picture: bool[side, side]."""
    width = max(1, round(BORDER * side))
    border = np.ones((side, side), np.bool_)
    border[width : side - width, width : side - width] = False
    return border


def _rim(field: Field, side: int) -> NDArray[np.bool_]:
    """The outermost part of a field: bool[side, side]."""
    inside = field.inside(side, side).view(np.uint8)
    # Beyond the picture there is no field either.
    framed = cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, 5)[1:-1, 1:-1]
    width = max(1.0, RIM * float(inside.sum()) ** 0.5)
    return np.asarray((depth > 0) & (depth <= width), np.bool_)


def _even_skin(rim: _Floats, inside: _Floats, *, share: float) -> NDArray[np.bool_]:
    """Which pixels of a field's rim are skin: none where that may be lesion.

    Args:
        rim: L* of the rim, float32[n].
        inside: L* of all the field.
        share: of the picture that is field.

    Returns:
        bool[n].
    """
    skin = _neither_dark_nor_glare(rim)
    seen = inside[_neither_dark_nor_glare(inside)]
    nothing = np.zeros_like(skin)
    if not len(seen) or not skin.any():
        return nothing
    levels = np.clip(np.rint(seen * 2.55), 0, 255).astype(np.uint8)[:, None]
    bound = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)[0] / 2.55
    light = seen > bound
    halves = light.any() and not light.all()
    apart = float(seen[light].mean() - seen[~light].mean()) if halves else 0.0
    if share < _SMALL and (apart <= _STANDS_OUT or (rim[skin] > bound).mean() <= _ALL_AROUND):
        return nothing
    if apart > _TWO_LEVELS:
        skin &= rim > bound
    if not skin.any() or np.subtract(*np.percentile(rim[skin], [75, 25])) > _EVEN:
        return nothing
    return skin


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
