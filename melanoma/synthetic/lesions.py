"""The nine kinds of lesion, drawn with the structures that dermoscopy textbooks name for them.

Source of the structures: Kittler et al., Standardization of terminology in dermoscopy, J Am Acad
Dermatol 2016, doi:10.1016/j.jaad.2015.12.038.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from melanoma.synthetic.brush import Brush, Colour, Field


def draw_lesion(brush: Brush, diagnosis: str) -> None:
    """Draw a lesion of one diagnosis on an empty brush.

    Args:
        brush: the canvas; `rgb` and `alpha` are filled in.
        diagnosis: one of `isic.CLASSES`, or `isic.UNKNOWN`.
    """
    _RECIPES[diagnosis](brush)
    brush.soften()


def _inside(brush: Brush, edge: float) -> Field:
    """1 deeper than `edge`, falling to 0 at the border."""
    return np.asarray(np.clip(brush.depth / edge, 0.0, 1.0), np.float32)


def _pick(brush: Brush, *colours: Colour) -> Field:
    return brush.vary(colours[int(brush.rng.integers(len(colours)))])


def _melanoma(brush: Brush) -> None:
    """Dark, asymmetric, several colours, broken network, streaks, blue-white veil."""
    rng = brush.rng
    radius = rng.uniform(0.55, 0.75)
    brush.outline(radius, ragged=rng.uniform(0.16, 0.3), stretch=rng.uniform(1.1, 1.6), soft=0.07)
    brush.fill(_pick(brush, (112, 72, 52), (96, 62, 50), (126, 84, 60)))
    brush.tint(brush.patches(3, 0.35), brush.vary((48, 34, 36)), 0.85)
    brush.tint(brush.patches(4, 0.2), brush.vary((40, 30, 34), 6), 0.9)
    brush.tint(brush.patches(3, rng.uniform(0.1, 0.25)), brush.vary((98, 104, 128)), 0.75)
    if rng.random() < 0.5:
        brush.tint(brush.patches(4, 0.12), brush.vary((188, 128, 120)), 0.7)
    brush.tint(brush.network(0.075) * brush.patches(2, 0.5), brush.vary((46, 30, 26)), 0.6)
    brush.tint(brush.dots(int(rng.integers(8, 25)), (0.012, 0.035), reach=0.8), (30, 24, 26), 0.8)
    if rng.random() < 0.6:
        side = brush.patches(2, 0.35)
        streaks = brush.streaks(40, radius * 0.75, radius * 1.12, 0.022) * side
        brush.cover(streaks * 0.8)
        brush.tint(streaks, brush.vary((52, 36, 34), 6))


def _nevus(brush: Brush) -> None:
    """Even brown, round, a regular network or globules, fading at the border."""
    rng = brush.rng
    radius = rng.uniform(0.4, 0.66)
    soft = rng.uniform(0.08, 0.2)
    brush.outline(radius, ragged=0.05, stretch=rng.uniform(1.0, 1.25), soft=soft, opacity=0.92)
    base = _pick(brush, (150, 102, 72), (170, 120, 86), (132, 88, 64), (184, 130, 104))
    brush.fill(base)
    dark = np.clip(base * 0.72, 0, 255)
    brush.tint(_inside(brush, 0.9), dark, rng.uniform(0.2, 0.7))
    pattern = rng.random()
    if pattern < 0.5:
        brush.tint(brush.network(rng.uniform(0.06, 0.09)), dark * 0.9, 0.6)
    elif pattern < 0.8:
        brush.tint(brush.lattice(0.11, 0.036), dark * 0.8, 0.6)
    brush.tint(brush.patches(5, 0.4), dark, 0.15)


def _basal_cell_carcinoma(brush: Brush) -> None:
    """Pink and shiny, blue-grey ovoid nests, branching vessels, now and then an ulcer."""
    rng = brush.rng
    radius = rng.uniform(0.5, 0.72)
    brush.outline(radius, ragged=0.14, stretch=rng.uniform(1.0, 1.4), soft=0.12, opacity=0.7)
    brush.fill(_pick(brush, (226, 158, 160), (216, 150, 156), (232, 172, 168)))
    brush.tint(brush.patches(4, 0.3), brush.vary((240, 206, 204)), 0.5)
    nests = brush.dots(int(rng.integers(6, 14)), (0.05, 0.13), reach=radius, blur=0.025)
    nests *= _inside(brush, 0.15)
    brush.cover(nests * 0.85)
    brush.tint(nests, brush.vary((92, 98, 122), 10), 0.9)
    vessels = brush.vessels(int(rng.integers(4, 8)), radius, 0.013) * _inside(brush, 0.05)
    brush.cover(vessels * 0.9)
    brush.tint(vessels, brush.vary((186, 44, 56), 8), 0.9)
    if rng.random() < 0.25:
        ulcer = brush.dots(1, (0.1, 0.2), reach=0.3, blur=0.03)
        brush.cover(ulcer)
        brush.tint(ulcer, brush.vary((150, 52, 44)), 0.8)


def _actinic_keratosis(brush: Brush) -> None:
    """Strawberry: red between pale follicles, yellowish scales, no clear border."""
    rng = brush.rng
    radius = rng.uniform(0.6, 0.8)
    brush.outline(radius, ragged=0.22, stretch=rng.uniform(1.0, 1.4), soft=0.4, opacity=0.82)
    brush.fill(_pick(brush, (208, 98, 88), (200, 104, 84), (214, 112, 102)))
    brush.tint(brush.patches(6, 0.4), brush.vary((178, 72, 66)), 0.5)
    follicles = brush.lattice(rng.uniform(0.13, 0.17), 0.045, jitter=0.4)
    brush.tint(follicles, brush.vary((238, 204, 182)), 0.65)
    scales = brush.patches(9, rng.uniform(0.1, 0.22), sharp=5.0) * _inside(brush, 0.3)
    brush.tint(scales, brush.vary((238, 222, 178)), 0.85)


def _benign_keratosis(brush: Brush) -> None:
    """Waxy, stuck on: sharp border, milia-like cysts, comedo-like openings, ridges."""
    rng = brush.rng
    radius = rng.uniform(0.5, 0.74)
    brush.outline(radius, ragged=0.1, stretch=rng.uniform(1.0, 1.5), soft=0.035)
    base = _pick(brush, (168, 138, 92), (150, 124, 90), (180, 150, 108), (136, 116, 92))
    brush.fill(base)
    furrows = brush.noise(11)
    ridges = np.exp(-((furrows / 0.22) ** 2))
    brush.tint(ridges, base * 0.62, rng.uniform(0.35, 0.75))
    brush.tint(brush.patches(4, 0.3), base * 0.8, 0.4)
    openings = brush.dots(int(rng.integers(8, 20)), (0.02, 0.045), reach=radius * 1.2)
    brush.tint(openings, brush.vary((74, 52, 38), 8), 0.9)
    cysts = brush.dots(int(rng.integers(18, 40)), (0.022, 0.045), reach=radius * 1.3, blur=0.012)
    brush.tint(cysts, brush.vary((246, 238, 212), 6), 0.95)


def _dermatofibroma(brush: Brush) -> None:
    """A pale scar-like centre within a soft brown ring with a delicate network."""
    rng = brush.rng
    radius = rng.uniform(0.5, 0.68)
    brush.outline(radius, ragged=0.05, stretch=rng.uniform(1.0, 1.2), soft=0.2, opacity=0.85)
    base = _pick(brush, (176, 126, 98), (166, 116, 94), (186, 136, 112))
    brush.fill(base)
    brush.tint(brush.network(0.07), base * 0.78, 0.45)
    centre = 0.5 + 0.5 * np.tanh((brush.depth - rng.uniform(0.4, 0.55)) * 12)
    pale = brush.vary((244, 222, 214), 6)
    brush.tint(centre, pale, 0.95)
    white = brush.vessels(4, 0.25, 0.016) * centre
    brush.tint(white, (255, 250, 248), 0.8)


def _vascular_lesion(brush: Brush) -> None:
    """Sharply bordered red, purple or maroon lacunae, parted by pale septa."""
    rng = brush.rng
    radius = rng.uniform(0.36, 0.6)
    brush.outline(radius, ragged=0.08, stretch=rng.uniform(1.0, 1.3), soft=0.05)
    base = _pick(brush, (178, 44, 66), (142, 40, 82), (112, 44, 104), (164, 32, 48))
    brush.fill(np.clip(base * 0.6 + np.float32(74), 0, 255))
    step = rng.uniform(0.16, 0.26)
    lacunae = brush.lattice(step, step * 0.48, jitter=0.35)
    brush.tint(lacunae, base, 0.95)
    brush.tint(lacunae * brush.patches(4, 0.4), base * 0.55, 0.7)


def _squamous_cell_carcinoma(brush: Brush) -> None:
    """Pink to red, a white to yellow keratin crust in the middle, coiled vessels, blood spots."""
    rng = brush.rng
    radius = rng.uniform(0.56, 0.76)
    brush.outline(radius, ragged=0.15, stretch=rng.uniform(1.0, 1.35), soft=0.14, opacity=0.9)
    brush.fill(_pick(brush, (222, 118, 122), (210, 106, 108), (226, 134, 134)))
    coils = brush.lattice(0.14, 0.028, jitter=0.5)
    brush.tint(coils, brush.vary((160, 34, 42), 8), 0.85)
    crust = brush.patches(5, 0.6, sharp=4.0) * np.clip((brush.depth - 0.3) / 0.12, 0.0, 1.0)
    brush.tint(crust, brush.vary((244, 234, 208), 6), 0.95)
    brush.tint(crust * brush.patches(10, 0.3, sharp=4.0), brush.vary((214, 178, 112)), 0.8)
    blood = brush.dots(int(rng.integers(3, 9)), (0.02, 0.06), reach=0.45)
    brush.tint(blood, brush.vary((110, 26, 24), 8), 0.85)


def _none_of_these(brush: Brush) -> None:
    """A scar: pale, fibrous, with a fine red rim; unlike the eight known diagnoses."""
    rng = brush.rng
    radius = rng.uniform(0.45, 0.65)
    brush.outline(radius, ragged=0.08, stretch=rng.uniform(2.0, 3.2), soft=0.08, opacity=0.85)
    brush.fill(brush.vary((238, 206, 202)))
    brush.tint(brush.vessels(10, radius, 0.02), brush.vary((252, 240, 236), 5), 0.9)
    rim = np.exp(-((brush.depth / 0.12) ** 2))
    brush.tint(rim, brush.vary((196, 108, 104)), 0.7)


_RECIPES: dict[str, Callable[[Brush], None]] = {
    "MEL": _melanoma,
    "NV": _nevus,
    "BCC": _basal_cell_carcinoma,
    "AK": _actinic_keratosis,
    "BKL": _benign_keratosis,
    "DF": _dermatofibroma,
    "VASC": _vascular_lesion,
    "SCC": _squamous_cell_carcinoma,
    "UNK": _none_of_these,
}
