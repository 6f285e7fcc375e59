"""Reading age, sex, site and lesion of images from the tables that people have.

The one reader of training and of `melanoma predict`. A value that cannot be right becomes missing,
with a note; where most of a column is such, the column is of another kind and the run stops.
Where several columns have one meaning, what one lacks is taken from another; where two contradict
each other, the value is missing, with a note.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from melanoma.image_names import composed
from melanoma.isic import SEXES, SITES
from melanoma.tables import FEW, Columns, Problems, read_table
from melanoma.vocabulary import (
    AGE_COLUMNS,
    AGE_STEP,
    AGES,
    IMAGE_COLUMNS,
    LESION_COLUMNS,
    SEX_COLUMNS,
    SITE_COLUMNS,
    SITE_DETAILS,
    age_of,
    is_missing,
    is_vague_site,
    sex_of,
    site_of,
)
from melanoma.wording import counted, quoted

_LOG = logging.getLogger(__name__)

FIELD_COLUMNS: dict[str, tuple[str, ...]] = {
    "age": AGE_COLUMNS,
    "site": (*SITE_COLUMNS, *SITE_DETAILS),
    "lesion_id": LESION_COLUMNS,
    "sex": SEX_COLUMNS,
}
"""Columns that each field may be in, in the order of the official file."""


def read_metadata_file(
    path: Path, *, needed: Sequence[str], any_of: Sequence[str] = (), problems: Problems
) -> pd.DataFrame:
    """Read and check a table of metadata.

    Args:
        path: the file, see `melanoma.table_text`; columns as in `melanoma.vocabulary`.
        needed: fields of `FIELD_COLUMNS` that it must have.
        any_of: fields of which it must have one at least.
        problems: receives notes.

    Returns:
        Columns image, lesion_id, age (float64, years, NaN where missing), sex, site (str, ""
        where missing); index row: the line in the file.

    Raises:
        InputError: most values of a column cannot be right; see also `read_table`.
    """
    required: list[Columns] = [IMAGE_COLUMNS, *(FIELD_COLUMNS[field] for field in needed)]
    if any_of:
        turns = itertools.zip_longest(*(FIELD_COLUMNS[field] for field in any_of))
        required.append(tuple(name for turn in turns for name in turn if name))
    every = [name for names in FIELD_COLUMNS.values() for name in names]
    text = read_table(path, required=required, optional=every, problems=problems)
    reader = _Reader(text, path, problems)
    lesions = reader.lesions()
    ages = reader.field(
        AGE_COLUMNS,
        age_of,
        f"not an age in years, from {AGES[0]:.0f} to {AGES[1]:.0f}",
        alike=lambda one, other: abs(float(str(one)) - float(str(other))) < AGE_STEP,
    )
    sexes = reader.field(SEX_COLUMNS, sex_of, f"not one of {', '.join(SEXES)}")
    sites = reader.field(
        SITE_COLUMNS,
        site_of,
        f"not one of {', '.join(SITES)}",
        vague=is_vague_site,
        details=SITE_DETAILS,
    )
    problems.raise_stops(path)
    return pd.DataFrame(
        {
            "image": text["image"],
            "lesion_id": lesions,
            "age": ages.astype("float64"),
            "sex": sexes.fillna("").astype("str"),
            "site": sites.fillna("").astype("str"),
        }
    )


def _equal(one: object, other: object) -> bool:
    return one == other


@dataclass(frozen=True)
class _Reader:
    """Reads the fields of one table and notes what of them is taken as missing.

    Attributes:
        text: the table as text.
        path: its file.
        problems: receives notes, and stops where most of a column is lost.
    """

    text: pd.DataFrame
    path: Path
    problems: Problems

    def lesions(self) -> pd.Series[str]:
        """Ids of the lesions in composed form, "" where missing."""
        if "lesion_id" not in self.text:
            return pd.Series("", index=self.text.index, dtype="str")
        lesions = self.text["lesion_id"].map(composed)
        spelt = (lesions != "") & lesions.map(is_missing)
        self._note("lesion_id", spelt, "a way of writing that there is none")
        return lesions.where(~spelt, "")

    def field(
        self,
        columns: Sequence[str],
        meaning: Callable[[str], object],
        message: str,
        *,
        alike: Callable[[object, object], bool] = _equal,
        vague: Callable[[str], bool] = lambda _: False,
        details: Sequence[str] = (),
    ) -> pd.Series:
        """Values of a field, None where missing.

        Args:
            columns: that it may be in, the one that counts first.
            meaning: of a cell, None where it has none.
            message: what a cell without meaning is.
            alike: whether two meanings don't contradict each other.
            vague: whether a cell without meaning is a known word that doesn't tell enough.
            details: further columns, which count where `columns` tell nothing.
        """
        values = pd.Series(None, index=self.text.index, dtype="object")
        unsure = pd.Series(False, index=self.text.index)
        source = pd.Series("", index=self.text.index, dtype="object")
        for column in (name for name in (*columns, *details) if name in self.text):
            read = _mapped(self.text[column], meaning)
            if column in columns:
                both = values.notna() & read.notna()
                apart = pd.Series(
                    [b and not alike(x, y) for b, x, y in zip(both, values, read, strict=True)],
                    index=self.text.index,
                )
                self._contradictions(source, column, apart & ~unsure)
                unsure |= apart
            fills = values.isna() & read.notna()
            source = source.where(~fills, column)
            values = values.where(~fills, read)
        values = values.where(~unsure, None)
        self._losses((*columns, *reversed(details)), values.isna() & ~unsure, message, vague)
        return values

    def _contradictions(self, source: pd.Series, column: str, apart: pd.Series[bool]) -> None:
        """Note rows in which a column says something else than an earlier one, its source."""
        rows = _lines(apart)
        if not rows:
            return
        names = self.text.attrs["columns"]
        said = {
            row: f"{names[source.at[row]]} says {quoted(self.text.at[row, source.at[row]])} and "
            f"{names[column]} {quoted(self.text.at[row, column])}"
            for row in rows
        }
        told = f"{said[rows[0]]}, in {counted(len(rows), 'such row')}"
        if len(rows) > max(FEW, len(self.text) / 2):
            self.problems.stop(
                f"{told}: two meanings of one field; remove one of the columns",
                row=rows[0],
                column=names[column],
            )
        _LOG.warning("%s: row %d: %s: taken as missing", self.path, rows[0], told)
        for row in rows:
            self.problems.note(
                f"{said[row]}: taken as missing",
                file=self.path,
                row=row,
                column=names[column],
                image=str(self.text.at[row, "image"]),
                value=str(self.text.at[row, column]),
            )

    def _losses(
        self,
        columns: Sequence[str],
        missing: pd.Series[bool],
        message: str,
        vague: Callable[[str], bool],
    ) -> None:
        """Note what was written where nothing was understood, by the first column filled."""
        for column in (name for name in columns if name in self.text):
            cells = self.text[column]
            lost = missing & (cells != "")
            missing = missing & ~lost
            unclear = lost & _mapped(cells, vague).astype(bool)
            self._tell(column, lost & ~unclear, message)
            if unclear.any():
                self._warn(column, unclear, "that may be several of the eight sites")
            self._note(column, unclear, "may be several of the eight sites")

    def _tell(self, column: str, lost: pd.Series[bool], message: str) -> None:
        """Note what is lost, and stop where that is most of a column: it is of another kind."""
        cells = self.text[column]
        # "unknown" and the like lose nothing.
        odd = lost & ~_mapped(cells, is_missing).astype(bool)
        count, filled = int(odd.sum()), int((cells != "").sum())
        if count > max(FEW, filled / 2):
            self.problems.stop(
                f"{message}, in {count} of {filled} rows: write such values, or nothing",
                column=self.text.attrs["columns"][column],
                value=str(cells[odd].iloc[0]),
            )
        elif count:
            self._warn(column, odd, message)
        self._note(column, lost, message)

    def _warn(self, column: str, lost: pd.Series[bool], message: str) -> None:
        first = _lines(lost)[0]
        _LOG.warning(
            "%s: %s: %s %s, e.g. %s in row %d: taken as missing",
            *(self.path, self.text.attrs["columns"][column], counted(int(lost.sum()), "value")),
            *(message, quoted(self.text.at[first, column]), first),
        )

    def _note(self, column: str, lost: pd.Series[bool], message: str) -> None:
        for row in _lines(lost):
            self.problems.note(
                f"{message}: taken as missing",
                file=self.path,
                row=row,
                column=self.text.attrs["columns"][column],
                image=str(self.text.at[row, "image"]),
                value=str(self.text.at[row, column]),
            )


def _mapped(cells: pd.Series[str], meaning: Callable[[str], object]) -> pd.Series:
    """What each cell means, found once for each way of writing."""
    known = {cell: meaning(cell) for cell in cells.unique()}
    return pd.Series([known[cell] for cell in cells], index=cells.index, dtype="object")


def _lines(chosen: pd.Series[bool]) -> list[int]:
    """Lines of the file of the rows that are chosen."""
    return [int(line) for line in chosen.index[chosen].tolist()]
