"""The official CSV files as typed tables: diagnoses, and the metadata's fields."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from melanoma.isic import (
    CLASSES,
    GROUND_TRUTH_COLUMNS,
    METADATA_COLUMNS,
    SEXES,
    SITES,
    TEST_METADATA_COLUMNS,
    UNKNOWN,
    WEIGHT_COLUMNS,
)
from melanoma.tables import FEW, Problems, read_table
from melanoma.wording import counted

_LOG = logging.getLogger(__name__)

SetName = Literal["train", "test"]

AGES = (0.0, 120.0)
"""Ages in years that are believed; ISIC gives 0 to 85 in steps of five."""

_MISSING = frozenset({"nan", "na", "n/a", "null", "none", "unknown"})
"""Ways of writing that a value is missing, beside leaving it empty."""


def read_ground_truth(path: Path | str, *, kind: SetName, problems: Problems) -> pd.DataFrame:
    """Read and check a ground truth file.

    Args:
        path: CSV with `GROUND_TRUTH_COLUMNS`, in the test set also `WEIGHT_COLUMNS`.
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
    text = read_table(path, required=GROUND_TRUTH_COLUMNS, optional=weights, problems=problems)
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
    marks = pd.DataFrame(
        {name: pd.to_numeric(text[name], errors="coerce").astype("float64") for name in names}
    )
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


def _weights(
    text: pd.DataFrame, column: str, path: Path, problems: Problems
) -> pd.Series[float] | float:
    """A column of weights, 1 for all where the file has none."""
    if column not in text:
        problems.note(
            "column missing: every image weighs 1", file=path, severity="info", column=column
        )
        return 1.0
    weights = pd.to_numeric(text[column], errors="coerce").astype("float64")
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
        path: CSV with `METADATA_COLUMNS`; the test set's has no lesion_id.
        kind: train or test.
        problems: receives notes.

    Returns:
        Columns image, lesion_id, age (float64, years, NaN where missing), sex, site (str, ""
        where missing); index row: the line in the file.

    Raises:
        InputError: most values of a column cannot be right; see also `read_table`.
    """
    path = Path(path)
    required = METADATA_COLUMNS if kind == "train" else TEST_METADATA_COLUMNS
    text = read_table(path, required=required, optional=("lesion_id",), problems=problems)
    if "lesion_id" not in text:
        text["lesion_id"] = ""
    losses = _Losses(text, path, problems)
    table = pd.DataFrame(
        {
            "image": text["image"],
            "lesion_id": _lesions(text["lesion_id"], losses),
            "age": _ages(text["age_approx"], losses),
            "sex": _category(text["sex"], SEXES, losses),
            "site": _category(text["anatom_site_general"], SITES, losses),
        }
    )
    problems.raise_stops(path)
    return table


@dataclass(frozen=True)
class _Losses:
    """Notes values of a metadata file that are taken as missing."""

    text: pd.DataFrame
    path: Path
    problems: Problems

    def tell(self, column: str, lost: pd.Series[bool], message: str) -> None:
        """Note what is lost, and stop where that is most of a column: it is of another kind."""
        # "unknown" and the like lose nothing.
        spelt = self.text[column].str.lower().isin(_MISSING)
        count, filled = int((lost & ~spelt).sum()), int((self.text[column] != "").sum())
        example = str(self.text.loc[lost & ~spelt, column].iloc[0]) if count else ""
        if count > max(FEW, filled / 2):
            self.problems.stop(
                f"{message}, in {count} of {filled} rows: write such values, or nothing",
                column=column,
                value=example,
            )
        elif count:
            _LOG.warning(
                *("%s: %s: %s, e.g. %r: taken as missing", self.path, column),
                *(f"{counted(count, 'value')} {message}", example),
            )
        self.note(column, lost, message)

    def note(self, column: str, lost: pd.Series[bool], message: str) -> None:
        for row in map(_line, self.text.index[lost]):
            self.problems.note(
                f"{message}: taken as missing",
                file=self.path,
                row=row,
                column=column,
                image=str(self.text.at[row, "image"]),
                value=str(self.text.at[row, column]),
            )


def _lesions(lesions: pd.Series[str], losses: _Losses) -> pd.Series[str]:
    spelt = lesions.str.lower().isin(_MISSING)
    losses.note("lesion_id", spelt, "a way of writing that there is none")
    return lesions.where(~spelt, "")


def _ages(text: pd.Series[str], losses: _Losses) -> pd.Series[float]:
    ages = pd.to_numeric(text, errors="coerce").astype("float64")
    good = ages.between(*AGES)
    message = f"not an age in years, from {AGES[0]:.0f} to {AGES[1]:.0f}"
    losses.tell(str(text.name), ~good & (text != ""), message)
    return ages.where(good)


def _category(text: pd.Series[str], known: tuple[str, ...], losses: _Losses) -> pd.Series[str]:
    values = text.str.lower()
    good = values.isin(known)
    losses.tell(str(text.name), ~good & (values != ""), f"not one of {', '.join(known)}")
    return values.where(good, "")


def _line(row: object) -> int:
    assert isinstance(row, int)
    return row
