"""What `melanoma predict` is given: image files, folders of them, and metadata by image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from melanoma import isic
from melanoma.archive import SUFFIXES
from melanoma.errors import InputError
from melanoma.isic import METADATA_FIELDS
from melanoma.official import AGES
from melanoma.tables import Problems, read_table
from melanoma.wording import first_few

OFFICIAL_NAMES = {"age_approx": "age", "anatom_site_general": "site"}
"""Metadata columns of the official files, and what they are called here."""


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The files named, and the JPEG files in the folders named, each once.

    Args:
        paths: files (of any name) and folders.

    Returns:
        In the order of `paths`, sorted within a folder.

    Raises:
        InputError: no path, or a folder without a JPEG file.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not inside:
            raise InputError(f"{path}: holds no .jpg or .jpeg file; name another folder")
        found += inside
    if not found:
        raise InputError("no image: name JPEG files or folders that hold some")
    return list(dict.fromkeys(found))


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
