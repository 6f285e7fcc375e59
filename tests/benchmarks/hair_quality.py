"""How well hairs are removed, and how little else is changed, against the usual recipe.

Each method is held against its own way without hair removal, at the same output size, so that
only what it does about hairs counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.archive import Archive
from melanoma.images import decode, frame, prepare, resize
from tests.benchmarks.drawn_hairs import BASES, KINDS, Alpha, Pixels, draw
from tests.benchmarks.figures import Figure, figure
from tests.benchmarks.samples import drawn, fitted, save

SIZES = ((600, 450), (1024, 768), (1024, 1024), (1504, 1129), (2000, 1500))
"""Input sizes, of the kinds in ISIC 2019: HAM10000, MSK, BCN20000, and larger ones."""

OUTPUT = 224
QUALITY = 90
MOST = 2.1
"""Largest factor by which a base is enlarged or reduced."""

DRAWN = 8
"""Drawn bases of each size, where there is no archive."""

AROUND = 3
"""Pixels around a hair, at the output size, that count as beside it."""

FIGURES = ["psnr", "ssim", "residual", "change"]
GATED = ("thick", "thin")
"""Kinds of hair at which the usual recipe must be beaten."""

Method = Callable[[bytes], Pixels]


def lines(jpeg: bytes) -> Pixels:
    return prepare(jpeg, size=OUTPUT, framing="crop", hair_removal="lines")


def lines_off(jpeg: bytes) -> Pixels:
    return prepare(jpeg, size=OUTPUT, framing="crop", hair_removal="none")


def usual(jpeg: bytes) -> Pixels:
    return prepare(jpeg, size=OUTPUT, framing="crop", hair_removal="dullrazor")


def usual_off(jpeg: bytes) -> Pixels:
    """The usual recipe's own way, without its inpainting: full decode, then the same resizes."""
    rgb = decode(jpeg)
    height, width = rgb.shape[:2]
    ratio = OUTPUT / min(height, width)
    if ratio < 1:
        rgb = resize(rgb, width=round(width * ratio), height=round(height * ratio))
    return frame(rgb, size=OUTPUT, framing="crop")


METHODS: dict[str, tuple[Method, Method]] = {
    "lines": (lines, lines_off),
    "usual": (usual, usual_off),
}


@dataclass(frozen=True)
class Base:
    """A hair-free image at one input size."""

    image: str
    size: tuple[int, int]
    rgb: Pixels


def bases(archive: Path | None, sizes: tuple[tuple[int, int], ...] = SIZES) -> Iterator[Base]:
    """The hair-free images at each input size that they are large enough for; else drawn ones.

    They are cut to the proportions and scaled, by half to twofold.
    """
    if archive is None:
        for width, height in sizes:
            for number, rgb in enumerate(drawn(width, height, DRAWN, artefacts=False)):
                yield Base(f"drawn {number}", (width, height), rgb)
        return
    with Archive(archive) as members:
        for image in sorted(set(BASES) & set(members.images)):
            rgb = decode(members.read(members.member(image)))
            for width, height in sizes:
                scale = max(width / rgb.shape[1], height / rgb.shape[0])
                if 1 / MOST <= scale <= MOST:
                    yield Base(image, (width, height), fitted(rgb, width, height))


def measure(archive: Path | None, *, seed: int = 0) -> pd.DataFrame:
    """Draw every kind of hair over every base and remove them with each method.

    Returns:
        One row per base, kind and method: size, psnr and ssim in and around the hairs, residual
        (share of a hair's contrast that is left, 0 best), and for the kind "none" change: mean
        absolute difference to the image as it was, in grey levels.
    """
    rows = []
    for base in bases(archive):
        clean = save(base.rgb, QUALITY)
        truth = {name: off(clean) for name, (_, off) in METHODS.items()}
        size = f"{base.size[0]} x {base.size[1]}"
        told = {"image": base.image, "size": size}
        for name, (method, _) in METHODS.items():
            change = np.abs(method(clean).astype(np.float64) - truth[name]).mean()
            rows.append({**told, "kind": "none", "method": name, "change": change})
        for number, (kind_name, kind) in enumerate(KINDS.items()):
            rng = np.random.default_rng([seed, number, *base.image.encode(), *base.size])
            hairy, alpha = draw(base.rgb, kind, rng)
            jpeg = save(hairy, QUALITY)
            beside, core = _regions(alpha)
            for name, (method, off) in METHODS.items():
                found = compare(method(jpeg), truth[name], off(jpeg), beside, core)
                rows.append({**told, "kind": kind_name, "method": name, **found})
    return pd.DataFrame(rows)


def _regions(alpha: Alpha) -> tuple[NDArray[np.bool_], Alpha]:
    """Where hairs are at the output size, with what is beside them; and how much they cover."""
    short = min(alpha.shape)
    top, left = (alpha.shape[0] - short) // 2, (alpha.shape[1] - short) // 2
    square = alpha[top : top + short, left : left + short]
    small = cv2.resize(square, (OUTPUT, OUTPUT), interpolation=cv2.INTER_AREA)
    side = 2 * AROUND + 1
    near = cv2.dilate((small > 0.03).astype(np.uint8), np.ones((side, side), np.uint8))
    return near.astype(bool), small


def compare(
    found: Pixels, truth: Pixels, hairy: Pixels, beside: NDArray[np.bool_], core: Alpha
) -> dict[str, float]:
    """Figures of one cleaned image against what is known to be beneath."""
    error = found.astype(np.float64) - truth
    psnr = 10 * np.log10(255**2 / max(float((error[beside] ** 2).mean()), 1e-9))
    similar = ssim_map(found, truth)[beside].mean()
    drawn = (hairy.astype(np.float64) - truth).mean(axis=2)
    left = error.mean(axis=2)
    # What is left in the direction of what was drawn, over the hairs' own pixels.
    on = core > 0.03
    residual = float((left[on] * drawn[on]).sum() / max(float((drawn[on] ** 2).sum()), 1e-9))
    return {"psnr": psnr, "ssim": float(similar), "residual": residual}


def ssim_map(a: Pixels, b: Pixels) -> NDArray[np.float64]:
    """Structural similarity of grey levels at each pixel (Wang et al. 2004, Gaussian of 1.5)."""
    x, y = (cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float64) for rgb in (a, b))

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return cv2.GaussianBlur(values, (11, 11), 1.5)

    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return ((2 * mx * my + c1) * (2 * cov + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))


def figures(archive: Path | None) -> Iterator[Figure]:
    """What is asked of every input size: differences and ratios, image by image."""
    table = measure(archive)
    for size in dict.fromkeys(table["size"]):
        of_size = table[table["size"] == size]
        for kind in GATED:
            both = _side_by_side(of_size[of_size["kind"] == kind])
            told = f"the usual recipe, {len(both)} images"
            for name, unit in (("psnr", "dB more"), ("ssim", "more")):
                gain = both[name, "lines"] - both[name, "usual"]
                what = f"{kind} hairs, {size}, {name.upper()}"
                yield figure("hair", what, gain, unit=unit, target=">= 0", against=told)
            left = both["residual"].abs()
            more = left["lines"] - left["usual"]
            what = f"{kind} hairs, {size}, contrast left"
            target = "<= 0" if kind == "thin" else ""
            yield figure("hair", what, more, unit="more", target=target, against=told)
        both = _side_by_side(of_size[of_size["kind"] == "none"])
        share = both["change", "lines"] / both["change", "usual"].clip(lower=1e-9)
        what = f"no hair, {size}, change"
        yield figure("hair", what, share, target="<= 0.2", against="the usual recipe's change")


def _side_by_side(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per image, columns (figure, method)."""
    return rows.pivot(index="image", columns="method", values=FIGURES)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Means by kind of hair and input size, both methods side by side."""
    means = table.groupby(["kind", "size", "method"], sort=False)[FIGURES].mean()
    return means.unstack("method").dropna(axis=1, how="all")
