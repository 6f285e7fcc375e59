"""The official CSV files as typed tables: diagnoses, and the metadata's fields."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pandas as pd

from melanoma.isic import CLASSES, UNKNOWN, WEIGHT_COLUMNS
from melanoma.metadata_files import FIELD_COLUMNS, read_metadata_file
from melanoma.tables import Problems, read_table
from melanoma.vocabulary import IMAGE_COLUMNS, number_of

SetName = Literal["train", "test"]

_TRUE_FALSE = {"true": 1.0, "false": 0.0}
"""How some programs write a diagnosis's 1 and 0, in small letters."""


def read_ground_truth(path: Path | str, *, kind: SetName, problems: Problems) -> pd.DataFrame:
    """Read and check a ground truth file.

    Args:
        path: CSV with `isic.GROUND_TRUTH_COLUMNS`, in the test set also `WEIGHT_COLUMNS`; the
            first column may have any name of `vocabulary.IMAGE_COLUMNS`.
        kind: train, where UNK is no class to learn, or test.
        problems: receives notes.

    Returns:
        Columns image and diagnosis (one of the classes), in the test set also the weights as
        float64 (1 where the file has none); index row: the line in the file.

    Raises:
        InputError: names every row without exactly one diagnosis, with a value other than 0 and
            1, twice there, …; see also `read_table`.
    """
    path = Path(path)
    weights = WEIGHT_COLUMNS if kind == "test" else ()
    text = read_table(
        path,
        required=[IMAGE_COLUMNS, *CLASSES, UNKNOWN],
        optional=weights,
        problems=problems,
    )
    marks = _marks(text, problems)
    names = list(marks.columns)
    wrong = ~marks.isna().any(axis=1) & (marks.sum(axis=1) != 1)
    for row in map(_line, marks.index[wrong]):
        hot = [name for name in names if marks.at[row, name] == 1]
        several = f"{len(hot)} diagnoses ({' and '.join(hot)}); leave one at 1"
        problems.stop(
            several if hot else "no diagnosis; set one to 1",
            row=row,
            image=str(text.at[row, "image"]),
        )
    table = pd.DataFrame({"image": text["image"], "diagnosis": marks.fillna(0).idxmax(axis=1)})
    if kind == "train":
        for row in map(_line, table.index[~wrong & (table["diagnosis"] == UNKNOWN)]):
            problems.stop(
                "no class to train on; leave the row out",
                row=row,
                column=UNKNOWN,
                image=str(table.at[row, "image"]),
            )
    for column in weights:
        table[column] = _weights(text, column, path, problems)
    problems.raise_stops(path)
    if kind == "train":
        _note_absent_classes(table, path, problems)
    return table


def _marks(text: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    """The diagnosis columns as numbers, NaN where a value is neither 0 nor 1."""
    names = [*CLASSES, UNKNOWN]
    marks = pd.DataFrame({name: _numbers(text[name], _TRUE_FALSE) for name in names})
    marks = marks.where(marks.isin([0.0, 1.0]))
    bad = marks.isna()
    for row in map(_line, marks.index[bad.any(axis=1)]):
        for column in (name for name in names if bad.at[row, name]):
            problems.stop(
                "a diagnosis is 0.0 or 1.0",
                row=row,
                column=column,
                image=str(text.at[row, "image"]),
                value=str(text.at[row, column]) or "nothing",
            )
    return marks


def _numbers(cells: pd.Series[str], words: Mapping[str, float]) -> pd.Series[float]:
    """Numbers of a column, of some words too; NaN where a cell is none."""
    known = {
        cell: words[cell.lower()] if cell.lower() in words else number_of(cell)
        for cell in cells.unique()
    }
    return cells.map(known).astype("float64")


def _weights(
    text: pd.DataFrame, column: str, path: Path, problems: Problems
) -> pd.Series[float] | float:
    """A column of weights, 1 for all where the file has none."""
    if column not in text:
        problems.note(
            "column missing: every image weighs 1", file=path, severity="info", column=column
        )
        return 1.0
    weights = _numbers(text[column], {})
    for row in map(_line, weights.index[~weights.between(0, 1e6)]):
        problems.stop(
            "a weight is a number from 0",
            row=row,
            column=column,
            image=str(text.at[row, "image"]),
            value=str(text.at[row, column]) or "nothing",
        )
    return weights


def _note_absent_classes(table: pd.DataFrame, path: Path, problems: Problems) -> None:
    for name in CLASSES:
        if not (table["diagnosis"] == name).any():
            problems.note("no image of this class", file=path, column=name)


def read_metadata(path: Path | str, *, kind: SetName, problems: Problems) -> pd.DataFrame:
    """Read and check a metadata file; a value that cannot be right becomes missing, with a note.

    Args:
        path: CSV with the fields of `METADATA_COLUMNS`, in these columns or those of other
            releases (see `melanoma.vocabulary`); the test set's has no lesion_id.
        kind: train or test.
        problems: receives notes.

    Returns:
        Columns image, lesion_id, age (float64, years, NaN where missing), sex, site (str, ""
        where missing); index row: the line in the file.

    Raises:
        InputError: most values of a column cannot be right; see also `read_table`.
    """
    needed = [field for field in FIELD_COLUMNS if kind == "train" or field != "lesion_id"]
    return read_metadata_file(Path(path), needed=needed, problems=problems)


def _line(row: object) -> int:
    assert isinstance(row, int)
    return row
