"""What `melanoma predict` is given: image files, folders of them, and metadata by image."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from melanoma import isic
from melanoma.errors import InputError
from melanoma.file_kinds import (
    SUFFIXES,
    SUFFIXES_TOLD,
    is_hidden,
    is_image_name,
    kind_by_name,
    tell_passed_over,
)
from melanoma.isic import METADATA_FIELDS
from melanoma.official import AGES
from melanoma.tables import Problems, read_table
from melanoma.wording import first_few

_LOG = logging.getLogger(__name__)

OFFICIAL_NAMES = {"age_approx": "age", "anatom_site_general": "site"}
"""Metadata columns of the official files, and what they are called here."""


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The files named, and the JPEG files in the folders named, each once.

    Hidden files in folders are nobody's images. Images of other kinds there are warned of.

    Args:
        paths: files (of any name) and folders.

    Returns:
        In the order of `paths`, sorted within a folder.

    Raises:
        InputError: no path, or a folder without a JPEG file.
    """
    found: list[Path] = []
    others: set[str] = set()
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside, beside = _look_into(path)
        if not inside:
            cure = tell_passed_over(beside) or "name another folder"
            raise InputError(f"{path}: holds no {SUFFIXES_TOLD} file; {cure}")
        found += inside
        others |= {(path / name).as_posix() for name in beside}
    if not found:
        raise InputError("no image: name JPEG files or folders that hold some")
    if passed_over := tell_passed_over(others):
        _LOG.warning("%s", passed_over)
    return list(dict.fromkeys(found))


def _look_into(folder: Path) -> tuple[list[Path], list[str]]:
    """JPEG files of a folder with all it holds, and relative names of images of other kinds."""
    images, others = [], []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if is_hidden(name):
            continue
        if is_image_name(name) and path.is_file():
            images.append(path)
        elif kind_by_name(name) and path.is_file():
            others.append(name)
    return images, others


def read_metadata(path: Path) -> pd.DataFrame:
    """Read a table of metadata for files.

    Args:
        path: CSV with a column image (file name without suffix) and any of age, sex and site; the
            official names age_approx and anatom_site_general are taken too.

    Returns:
        Columns image, age (float, NaN where missing), sex and site ("" where missing).

    Raises:
        InputError: not such a table, or a value that is no age or no known category, by row.
    """
    problems = Problems()
    text = read_table(
        path, required=["image"], optional=[*METADATA_FIELDS, *OFFICIAL_NAMES], problems=problems
    )
    if list(text) == ["image"]:
        known = ", ".join([*METADATA_FIELDS, *OFFICIAL_NAMES])
        raise InputError(f"{path}: row 1: none of the columns {known}; rename those that are meant")
    text = text.rename(columns={old: new for old, new in OFFICIAL_NAMES.items() if new not in text})
    for field in METADATA_FIELDS:
        if field not in text:
            text[field] = ""
    for row, values in text.iterrows():
        for field in METADATA_FIELDS:
            message = why_wrong(field, values[field])
            if message:
                line = int(str(row))
                problems.stop(message, row=line, column=field, value=str(values[field]))
    problems.raise_stops(path)
    table = text[["image", *METADATA_FIELDS]].reset_index(drop=True)
    table["age"] = pd.to_numeric(table["age"].where(table["age"] != ""), errors="coerce")
    return table.astype({"age": "float64"})


def check_images(metadata: pd.DataFrame, images: Sequence[str]) -> None:
    """Check that a table of metadata is of some images at all.

    Args:
        metadata: as from `read_metadata`.
        images: names of the files, without suffix.

    Raises:
        InputError: it has no row for any of them.
    """
    named = [str(name) for name in metadata["image"]]
    if not set(named) & set(images):
        suffix = any(name.lower().endswith(SUFFIXES) for name in named)
        cure = "leave out .jpg" if suffix else "name files as they are called, without .jpg"
        raise InputError(
            f"metadata: no row is of any image: column image has {first_few(named)}, the images "
            f"are {first_few(images)}; {cure}"
        )


def why_wrong(field: str, value: str) -> str:
    """What is wrong with a value of metadata and what to write instead.

    Args:
        field: one of `isic.METADATA_FIELDS`.
        value: as written; "" where missing.

    Returns:
        Text for people; "" where nothing is wrong.
    """
    if not value:
        return ""
    if field == "age":
        age = pd.to_numeric(value, errors="coerce")
        low, high = AGES
        return "" if low <= age <= high else f"write years from {low:.0f} to {high:.0f}, or nothing"
    known = isic.SEXES if field == "sex" else isic.SITES
    return "" if value in known else f"write one of {', '.join(known)}, or nothing"
