"""Contact sheets of the data: examples of each class, hair removal at work, near-duplicates."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from melanoma import drawing, isic
from melanoma.archive import Archive
from melanoma.drawing import Cell, Pixels, Row
from melanoma.images import clean
from melanoma.pages.numbers import counted
from melanoma.pages.plan import NO_DUPLICATES

if TYPE_CHECKING:
    from melanoma import config
    from melanoma.store import Store

SAMPLED = 60
"""Images that hair removal is tried on to find telling ones; a second of work."""

_CHANGED = 12
"""Levels of 255 by which a pixel must differ to count as changed: more than rounding does."""

_HARDLY = 4
"""One in so many images of the hair sheet is one that hardly changed."""

_HAIR_COLUMNS = 2


def class_examples(
    store: Store,
    catalogue: pd.DataFrame,
    path: Path,
    *,
    chosen: Iterable[str] | None = None,
    per_class: int = 8,
    side: int = 176,
) -> None:
    """Draw some images of each class, as the classifier sees them, one of each lesion.

    Args:
        store: of the catalogue's set.
        catalogue: columns image, lesion_id, group, diagnosis, age, sex, site.
        path: the PNG to write.
        chosen: ids to choose from, such as those of the training part; None for all.
        per_class: images in a row.
        side: of a picture, pixels.
    """
    whole = catalogue if chosen is None else catalogue[catalogue["image"].isin(set(chosen))]
    table = whole.iloc[_shuffled(whole["image"])].drop_duplicates("group")
    rows = []
    for name in (*isic.CLASSES, isic.UNKNOWN):
        part = table[table["diagnosis"] == name]
        if len(part):
            shown = part.head(per_class)
            pixels = store.pixels[store.rows(list(shown["image"]))]
            cells = tuple(
                Cell((picture,), (*_metadata(row), row["image"]))
                for picture, (_, row) in zip(pixels, shown.iterrows(), strict=True)
            )
            sizes = _sizes(whole[whole["diagnosis"] == name])
            label = (name, *isic.DIAGNOSIS_NAMES[name].split(), *sizes)
            rows.append(Row(label, cells))
    title = (
        "Examples of each class",
        "Chosen at random, one image of a lesion; without id: images that name no lesion.",
    )
    sheet = drawing.draw_sheet(rows, side=side, title=title, text_size=12, label_width=124)
    drawing.write_png(path, sheet)


def _sizes(table: pd.DataFrame) -> list[str]:
    """How many known lesions, and images that name none: the numbers of the splits' audit."""
    lesions = table.loc[table["lesion_id"] != "", "lesion_id"].nunique()
    nameless = int((table["lesion_id"] == "").sum())
    known = counted(lesions, "lesion")
    return [known, f"{nameless} without id"] if nameless else [known]


def _metadata(row: pd.Series) -> tuple[str, str]:
    age = "age unknown" if pd.isna(row["age"]) else f"age {row['age']:.0f}"
    return f"{age}, {row['sex'] or 'sex unknown'}", row["site"] or "site unknown"


def _shuffled(names: Sequence[str] | pd.Series[str]) -> list[int]:
    """Places in an order that looks random and is the same on every machine."""
    keys = [hashlib.sha256(str(name).encode()).hexdigest() for name in names]
    return sorted(range(len(keys)), key=keys.__getitem__)


@dataclass(frozen=True)
class _Cleaned:
    """An image before and after hair removal, bool mask and share of changed pixels."""

    image: str
    before: Pixels
    after: Pixels
    mask: np.typing.NDArray[np.bool_]

    @property
    def share(self) -> float:
        return float(self.mask.mean())


def hair_before_after(
    archive: Path,
    catalogue: pd.DataFrame,
    settings: config.Images,
    path: Path,
    *,
    count: int = 8,
    sampled: int = SAMPLED,
    side: int = 230,
) -> None:
    """Draw images before and after hair removal, and where they changed, at the working scale.

    Most are those of a sample that changed most, one in four is one that changed least.

    Args:
        archive: the zip of images.
        catalogue: columns image, member.
        settings: which hair removal, which size.
        path: the PNG to write.
        count: images shown.
        sampled: images tried; fewer where the catalogue has fewer.
        side: of a picture, pixels.
    """
    places = _shuffled(catalogue["image"])[:sampled]
    members = catalogue.iloc[places][["image", "member"]].itertuples(index=False)
    with Archive(archive) as opened:
        tried = [
            _clean(str(image), opened.read(str(member)), settings) for image, member in members
        ]
    tried.sort(key=lambda one: (-one.share, one.image))
    least = count // _HARDLY
    shown = tried if len(tried) <= count else tried[: count - least] + tried[-least:]
    cells = [_hair_cell(one) for one in shown]
    rows = [
        Row((), tuple(cells[i : i + _HAIR_COLUMNS])) for i in range(0, len(cells), _HAIR_COLUMNS)
    ]
    title = (
        f"Hair removal ({settings.hair_removal}) at the working scale of {settings.size} px images",
        f"Before, after, and where pixels changed, of {counted(len(tried), 'image')} tried: "
        "those that changed most, then those that changed least.",
    )
    if settings.hair_removal == "none":
        title = ("Hair removal is off (images.hair_removal: none)", *title[1:])
    sheet = drawing.draw_sheet(rows, side=side, title=title, label_width=0)
    drawing.write_png(path, sheet)


def _clean(image: str, jpeg: bytes, settings: config.Images) -> _Cleaned:
    before = clean(jpeg, size=settings.size, hair_removal="none")
    after = clean(jpeg, size=settings.size, hair_removal=settings.hair_removal)
    difference = np.abs(before.astype(np.int16) - after).max(axis=2)
    return _Cleaned(image, before, after, difference > _CHANGED)


def _hair_cell(one: _Cleaned) -> Cell:
    height, width = one.mask.shape
    mask = np.repeat(np.where(one.mask, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
    caption = f"{one.image}, {width} x {height}: {one.share:.1%} of the pixels changed"
    return Cell((one.before, one.after, mask), (caption,))


def duplicate_pairs(
    store: Store, pairs: pd.DataFrame, path: Path, *, count: int = 16, side: int = 128
) -> None:
    """Draw pairs of near-duplicates: first those of two diagnoses, then those of two lesions.

    Args:
        store: of the set that the pairs were found in.
        pairs: columns image_a, image_b, similarity, view, same_lesion, same_diagnosis,
            diagnosis_a, diagnosis_b.
        path: the PNG to write; says so where there is no pair.
        count: pairs shown.
        side: of a picture, pixels.
    """
    order = ["same_diagnosis", "same_lesion", "similarity", "image_a", "image_b"]
    table = pairs.sort_values(order, ascending=[True, True, False, True, True], kind="stable")
    known = set(store.images)
    table = table[table["image_a"].isin(known) & table["image_b"].isin(known)].head(count)
    cells = [_pair_cell(store, row) for _, row in table.iterrows()]
    rows = [Row((), tuple(cells[i : i + 4])) for i in range(0, len(cells), 4)]
    lines = f"{counted(len(pairs), 'near-duplicate pair')}; images of a pair never part in a split."
    title = ("Near-duplicates", lines if len(pairs) else NO_DUPLICATES)
    sheet = drawing.draw_sheet(rows, side=side, title=title, label_width=0, text_size=12)
    drawing.write_png(path, sheet)


def _pair_cell(store: Store, row: pd.Series) -> Cell:
    first, second = store.pixels[store.rows([row["image_a"], row["image_b"]])]
    agree = row["same_diagnosis"]
    diagnoses = row["diagnosis_a"] if agree else f"{row['diagnosis_a']} or {row['diagnosis_b']}"
    lesion = "one lesion" if row["same_lesion"] else "two lesion ids"
    caption = (
        f"{diagnoses}, {lesion}, {row['similarity']:.2f}",
        str(row["image_a"]),
        str(row["image_b"]),
    )
    return Cell((first, second), caption, drawing.INK if agree else drawing.WRONG)
