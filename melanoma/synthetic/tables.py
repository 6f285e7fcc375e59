"""Who has which lesion: diagnoses, lesions, sources, metadata and what is missing from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from melanoma import isic

# Frequencies below were counted on the official training CSVs (25,331 images).
_COUNTS = {
    "MEL": 4522,
    "NV": 12875,
    "BCC": 3323,
    "AK": 867,
    "BKL": 2624,
    "DF": 239,
    "VASC": 253,
    "SCC": 628,
}
_UNKNOWN_SHARE = 2047 / 8238
"""Share of the official test images that show none of the eight diagnoses."""

_SOURCES = ("BCN", "HAM", "MSK", "none")
_SOURCE_SHARES = {
    "MEL": (0.63, 0.25, 0.05, 0.07),
    "NV": (0.33, 0.52, 0.03, 0.12),
    "BCC": (0.85, 0.15, 0.0, 0.0),
    "AK": (0.85, 0.15, 0.0, 0.0),
    "BKL": (0.43, 0.42, 0.07, 0.08),
    "DF": (0.52, 0.48, 0.0, 0.0),
    "VASC": (0.44, 0.56, 0.0, 0.0),
    "SCC": (0.69, 0.31, 0.0, 0.0),
    "UNK": (0.69, 0.31, 0.0, 0.0),
}
_VIEWS = {"BCN": 3.2, "HAM": 1.4, "MSK": 1.02, "none": 1.0}
"""Mean number of images of a lesion."""

_MOST_VIEWS = 31
_DOWNSAMPLED = {"BCN": 0.0, "HAM": 0.0, "MSK": 0.996, "none": 0.6}
_NUMBERS = {
    "BCN": (53454, 73255),
    "HAM": (24306, 34321),
    "MSK": (12653, 14560),
    "none": (0, 12653),
    "test": (34321, 53454),
}
"""Ranges of image numbers; those of the test set lie between HAM10000 and BCN20000."""

_AGES = {
    "MEL": (61, 16),
    "NV": (45, 16),
    "BCC": (66, 15),
    "AK": (67, 12),
    "BKL": (64, 14),
    "DF": (52, 15),
    "VASC": (53, 20),
    "SCC": (71, 11),
    "UNK": (55, 18),
}
"""Mean and standard deviation in years."""

_MALE = {"MEL": 0.55, "NV": 0.49, "BCC": 0.6, "AK": 0.53, "BKL": 0.56, "SCC": 0.68}

_SITES = {
    "MEL": (29, 19, 2, 18, 0, 4, 10, 16),
    "NV": (29, 6, 2, 22, 1, 1, 15, 10),
    "BCC": (34, 34, 1, 14, 0, 0, 6, 11),
    "AK": (11, 69, 0, 8, 0, 1, 1, 9),
    "BKL": (17, 38, 1, 16, 1, 0, 9, 9),
    "DF": (18, 1, 0, 58, 0, 0, 1, 22),
    "VASC": (31, 14, 1, 23, 1, 1, 9, 9),
    "SCC": (18, 28, 0, 29, 0, 2, 4, 18),
    "UNK": (20, 25, 1, 25, 1, 1, 10, 15),
}
"""Weights in the order of `isic.SITES`."""

_NO_AGE = {"none": 0.149, "BCN": 0.006, "HAM": 0.0053, "MSK": 0.0}
_NO_SEX = {"none": 0.126, "BCN": 0.006, "HAM": 0.0047, "MSK": 0.0}
_NO_SITE: Mapping[tuple[str, str], float] = {
    ("none", "MEL"): 0.17,
    ("none", "NV"): 0.35,
    ("none", "BKL"): 0.78,
    ("HAM", "MEL"): 0.05,
    ("HAM", "NV"): 0.22,
    ("HAM", "BKL"): 0.09,
    ("HAM", "VASC"): 0.22,
}
_NO_SITE_ELSE = 0.015

_LEAST_LESIONS = 8
_LEAST_IMAGES = 18
"""What each class gets however rare, where the archive is large enough."""


@dataclass(frozen=True)
class Lesion:
    """One drawn lesion of one drawn patient."""

    number: int
    diagnosis: str
    source: str
    views: int
    age: int
    sex: str
    site: str


@dataclass(frozen=True)
class Case:
    """One image: a view of a lesion, and the metadata that its row gives ("" where missing)."""

    image: str
    lesion: Lesion
    view: int
    lesion_id: str
    age: str
    sex: str
    site: str


def draw_cases(rng: np.random.Generator, images: int, *, test: bool) -> list[Case]:
    """Draw the rows of an archive.

    Args:
        rng: where all chance comes from.
        images: number of images, at least one of each class.
        test: with images of no known diagnosis, and with ids of the test set.

    Returns:
        The cases, sorted by image id.

    Raises:
        ValueError: fewer images than classes.
    """
    lesions: list[Lesion] = []
    for diagnosis, count in class_counts(images, test=test).items():
        for source, views in _lesion_sizes(rng, diagnosis, count):
            lesions.append(_lesion(rng, len(lesions), diagnosis, source, views))
    cases = [(lesion, view) for lesion in lesions for view in range(lesion.views)]
    names = _image_names(rng, ["test" if test else lesion.source for lesion, _ in cases])
    lesion_ids = _lesion_ids(rng, lesions)
    drawn = [
        _case(rng, name, lesion, view, lesion_ids[lesion.number])
        for name, (lesion, view) in zip(names, cases, strict=True)
    ]
    return sorted(drawn, key=lambda case: case.image)


def class_counts(images: int, *, test: bool) -> dict[str, int]:
    """Images of each class: the official proportions, with a floor for the rare ones.

    Args:
        images: in all.
        test: about a quarter are of no known diagnosis.

    Returns:
        Diagnosis: count; the counts add up to `images`.

    Raises:
        ValueError: fewer images than classes.
    """
    classes = [*isic.CLASSES, isic.UNKNOWN] if test else list(isic.CLASSES)
    if images < len(classes):
        raise ValueError(f"images must be at least {len(classes)}, one of each class: {images}")
    room = images - len(isic.CLASSES)
    unknown = max(1, min(round(images * _UNKNOWN_SHARE), room)) if test else 0
    known = images - unknown
    floor = max(1, min(_LEAST_IMAGES, known // (2 * len(isic.CLASSES))))
    spare = known - floor * len(isic.CLASSES)
    # The floor is part of a class's share: only what a class would have above it counts.
    above = np.array(
        [max(_COUNTS[c] / sum(_COUNTS.values()) * known - floor, 0.0) for c in _COUNTS]
    )
    above = above if above.sum() > 0 else np.ones(len(_COUNTS))
    shares = np.floor(above / above.sum() * spare).astype(int)
    shares[list(_COUNTS).index("NV")] += spare - int(shares.sum())
    counts = {c: floor + int(share) for c, share in zip(_COUNTS, shares, strict=True)}
    return counts | ({isic.UNKNOWN: unknown} if test else {})


def _lesion_sizes(rng: np.random.Generator, diagnosis: str, count: int) -> list[tuple[str, int]]:
    """Source and number of images of each lesion of a class, `count` images in all."""
    chances = np.array(_SOURCE_SHARES[diagnosis])
    # Shares are of images; a source with many views a lesion has fewer lesions.
    chances = chances / np.array([_VIEWS[source] for source in _SOURCES])
    sizes: list[tuple[str, int]] = []
    left = count
    while left:
        source = str(rng.choice(_SOURCES, p=chances / chances.sum()))
        views = min(int(rng.geometric(1 / _VIEWS[source])), left, _MOST_VIEWS)
        sizes.append((source, views))
        left -= views
    while len(sizes) < min(_LEAST_LESIONS, count):
        largest = max(range(len(sizes)), key=lambda index: sizes[index][1])
        source, views = sizes.pop(largest)
        sizes += [(source, views // 2), (source, views - views // 2)]
    return sizes


def _lesion(
    rng: np.random.Generator, number: int, diagnosis: str, source: str, views: int
) -> Lesion:
    mean, deviation = _AGES[diagnosis]
    weights = np.array(_SITES[diagnosis], float)
    return Lesion(
        number=number,
        diagnosis=diagnosis,
        source=source,
        views=views,
        age=int(np.clip(round(rng.normal(mean, deviation) / 5) * 5, 0, 85)),
        sex="male" if rng.random() < _MALE.get(diagnosis, 0.5) else "female",
        site=str(rng.choice(isic.SITES, p=weights / weights.sum())),
    )


def _image_names(rng: np.random.Generator, sources: list[str]) -> list[str]:
    """Ids without repetition, within the range of numbers of each source."""
    numbers: dict[str, list[int]] = {}
    for source in sorted(set(sources)):
        first, end = _NUMBERS[source]
        chosen = rng.choice(end - first, sources.count(source), replace=False) + first
        numbers[source] = chosen.tolist()
    names = []
    for source in sources:
        ending = "_downsampled" if rng.random() < _DOWNSAMPLED.get(source, 0.0) else ""
        names.append(f"ISIC_{numbers[source].pop():07d}{ending}")
    return names


def _lesion_ids(rng: np.random.Generator, lesions: list[Lesion]) -> list[str]:
    numbers = (rng.choice(9_000, len(lesions), replace=False) + 1).tolist()
    names = {"BCN": "BCN_{:07d}", "HAM": "HAM_{:07d}", "MSK": "MSK4_{:07d}", "none": ""}
    pairs = zip(lesions, numbers, strict=True)
    return [names[lesion.source].format(number) for lesion, number in pairs]


def _case(rng: np.random.Generator, image: str, lesion: Lesion, view: int, lesion_id: str) -> Case:
    source = lesion.source
    chance = rng.random(3)
    no_site = _NO_SITE.get((source, lesion.diagnosis), _NO_SITE_ELSE)
    return Case(
        image=image,
        lesion=lesion,
        view=view,
        lesion_id=lesion_id,
        age="" if chance[0] < _NO_AGE[source] else str(lesion.age),
        sex="" if chance[1] < _NO_SEX[source] else lesion.sex,
        site="" if chance[2] < no_site else lesion.site,
    )
