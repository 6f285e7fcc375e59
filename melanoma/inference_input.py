"""What `melanoma predict` is given: image files, folders of them, and metadata by image."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from melanoma.errors import InputError
from melanoma.file_kinds import (
    SUFFIXES_TOLD,
    is_hidden,
    is_image_name,
    kind_by_name,
    tell_passed_over,
)
from melanoma.image_names import ImageNames, as_path, composed, stem_of, without_suffix
from melanoma.isic import METADATA_FIELDS, SEXES, SITES
from melanoma.metadata_files import read_metadata_file
from melanoma.tables import Problems
from melanoma.vocabulary import AGES, age_of, is_missing, sex_of, site_of
from melanoma.wording import counted, first_few, quoted, shortened

_LOG = logging.getLogger(__name__)


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
    """Read a table of metadata for files, as training reads its own.

    Args:
        path: table with a column that names the images, and any of age, sex and site; columns
            and values as in `melanoma.vocabulary`.

    Returns:
        Columns image, age (float, NaN where missing), sex and site ("" where missing); index
        row: the line in the file; `attrs["path"]`: the file.

    Raises:
        InputError: not such a table, or most values of a column cannot be right.
    """
    table = read_metadata_file(path, needed=(), any_of=METADATA_FIELDS, problems=Problems())
    table = table[["image", *METADATA_FIELDS]]
    table.attrs["path"] = str(path)
    return table


def read_given(given: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of all images at once, read as a table is.

    Args:
        given: any of age (a number, or text), sex and site; None for what is not told.

    Returns:
        age as float or None, sex and site as text, "" where missing.

    Raises:
        InputError: a value that is no age or no known category.
    """
    known: dict[str, Any] = {}
    for field, (meaning, cure) in _MEANINGS.items():
        value = given.get(field)
        text = "" if value is None else str(value)
        known[field] = None if is_missing(text) else meaning(text)
        if known[field] is None and not is_missing(text):
            raise InputError(f"{field} {quoted(value)}: {cure}, or nothing")
    return known | {field: known[field] or "" for field in ("sex", "site")}


_MEANINGS: dict[str, tuple[Callable[[str], float | str | None], str]] = {
    "age": (age_of, f"write years from {AGES[0]:.0f} to {AGES[1]:.0f}"),
    "sex": (sex_of, f"write one of {', '.join(SEXES)}"),
    "site": (site_of, f"write one of {', '.join(SITES)}"),
}
"""What a value of each field means, and what to write instead of one that means nothing."""


def describe_files(
    found: Sequence[Path],
    given: Sequence[Path],
    metadata: pd.DataFrame | Mapping[str, Any] | None,
) -> pd.DataFrame:
    """What is known of each file before it is opened.

    Args:
        found: the files, as from `find_images`.
        given: the files and folders that they were found by.
        metadata: a table as from `read_metadata`, which names files by file name or by path; or
            one mapping for all files.

    Returns:
        One row per file, in order: image (what the table calls it where that is a path, else the
        file name without suffix or, where that is not its alone, its path), file, age (float64,
        NaN where missing), sex, site ("" where missing).

    Raises:
        InputError: the table names no file at all, several files by one name, or one file twice;
            a value of the mapping that is no age or no known category.
    """
    files = [str(path) for path in found]
    folders = [path for path in given if path.is_dir()]
    inner = [_inner(path, folders) for path in found]
    names = [composed(path.stem) for path in found]
    if isinstance(metadata, pd.DataFrame):
        rows = _rows_of(ImageNames(files, inner), metadata)
        called = [None if row is None else str(metadata["image"].iloc[row]) for row in rows]
        names = [_called(name, own) for name, own in zip(called, names, strict=True)]
        _tell_of_gaps(rows, names, metadata)
        fields = _chosen(metadata, rows)
    else:
        told = read_given(metadata or {})
        fields = pd.DataFrame({field: [told[field]] * len(files) for field in METADATA_FIELDS})
    table = pd.DataFrame({"image": _told_apart(names, inner, files), "file": files}, dtype="str")
    table["age"] = fields["age"].astype("float64")
    return table.assign(**{field: fields[field].astype("str") for field in ("sex", "site")})


def _inner(path: Path, folders: Sequence[Path]) -> str:
    """A file's path from the folder that was given on; of a file that was given, its name."""
    for folder in folders:
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    return path.name


def _rows_of(files: ImageNames, metadata: pd.DataFrame) -> list[int | None]:
    """For each file the number of its row in the table."""
    source = metadata.attrs.get("path", "metadata")
    problems = Problems()
    rows: list[int | None] = [None] * len(files.paths)
    named = [str(name) for name in metadata["image"]]
    lines = [int(line) if metadata.index.name == "row" else 0 for line in metadata.index]
    for number, places in enumerate(files.match(named)):
        message = ""
        if len(places) > 1:
            held = first_few([files.paths[each] for each in places])
            message = f"several images have this name ({held}); {_by_path(files, places[0])}"
        elif places:
            other = rows[places[0]]
            if other is not None:
                message = f"is the image of row {lines[other]} ({shortened(named[other])}) too; "
                message += "keep one"
            rows[places[0]] = number
        if message:
            problems.stop(message, row=lines[number], column="image", value=named[number])
    problems.raise_stops(Path(source))
    if all(row is None for row in rows):
        raise InputError(
            f"{source}: no row is of any image: column image has {first_few(named)}, the images "
            f"are {first_few([stem_of(path) for path in files.inner])}; name files as they are "
            "called"
        )
    return rows


def _by_path(files: ImageNames, place: int) -> str:
    """What to do about a name that several files have."""
    inner = files.inner[place]
    return f"name each by its path, e.g. {stem_of(inner if '/' in inner else files.paths[place])}"


def _called(name: str | None, own: str) -> str:
    """A file's name in the results: the table's where that is a path."""
    path = as_path(name or "")
    return without_suffix(path) if "/" in path else own


def _tell_of_gaps(rows: Sequence[int | None], names: Sequence[str], metadata: pd.DataFrame) -> None:
    bare = [name for name, row in zip(names, rows, strict=True) if row is None]
    if bare:
        _LOG.warning("no metadata for %s, e.g. %s", counted(len(bare), "image"), shortened(bare[0]))
    used = set(rows)
    unused = [str(name) for row, name in enumerate(metadata["image"]) if row not in used]
    if unused:
        told = counted(len(unused), "row of the metadata is", "rows of the metadata are")
        _LOG.info("%s of none of the images, e.g. %s", told, shortened(unused[0]))


def _chosen(metadata: pd.DataFrame, rows: Sequence[int | None]) -> pd.DataFrame:
    """The fields of each file, missing where it has no row."""
    at = [-1 if row is None else row for row in rows]
    known = metadata.reindex(columns=list(METADATA_FIELDS)).reset_index(drop=True)
    fields = known.reindex(at).reset_index(drop=True)
    return fields.assign(**{field: fields[field].fillna("") for field in ("sex", "site")})


def _told_apart(names: Sequence[str], inner: Sequence[str], files: Sequence[str]) -> list[str]:
    """Names of which no two are the same, longer ones where short ones would be."""
    told = list(names)
    paths = [[as_path(path) for path in which] for which in (inner, files)]
    longer = [[stem_of(path) for path in which] for which in paths] + paths[1:]
    for instead in longer:
        times = Counter(told)
        told = [instead[place] if times[name] > 1 else name for place, name in enumerate(told)]
    return told
