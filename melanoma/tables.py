"""Reading tables cell by cell, with every problem named by file, row and column.

What would silently corrupt results stops the run, all problems of a file told in one message;
what loses no more than a field or an image is noted for the audit table.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from melanoma.catalogue import AUDIT_COLUMNS
from melanoma.errors import InputError
from melanoma.image_names import ImageNames, composed
from melanoma.table_text import Sheet, folded, read_sheet
from melanoma.wording import QUOTED, SHOWN, counted, first_few, quoted, shortened

_LOG = logging.getLogger(__name__)

FEW = 5
FEW_SHARE = 0.001
"""Images that may be missing or unreadable without stopping the run: `FEW`, or this share."""


_NAMES = 4
"""Other names of a missing column that are told."""


def too_many(count: int, of: int) -> bool:
    """Whether `count` odd images among `of` mean a wrong file rather than a few lost images."""
    return count > max(FEW, FEW_SHARE * of)


@dataclass
class Problems:
    """Collects what is wrong with the official files.

    Attributes:
        stops: lines of problems that stop the run.
        notes: rows of the audit table.
    """

    stops: list[str] = field(default_factory=list)
    notes: list[dict[str, object]] = field(default_factory=list)

    def stop(
        self, message: str, *, row: int = 0, column: str = "", image: str = "", value: str = ""
    ) -> None:
        """Add a problem that stops the run.

        Args:
            message: what is wrong and what to do.
            row: 1-based line of the file; 0 where it concerns no single line.
            column: its column.
            image: the image concerned.
            value: the value found.
        """
        place = [f"row {row}"] if row else []
        place += [f"column {shortened(column)}"] if column else []
        place += [f"image {shortened(image)}"] if image else []
        found = f"found {quoted(value)}: " if value else ""
        self.stops.append(f"{', '.join(place)}: {found}{message}" if place else found + message)

    def note(
        self,
        message: str,
        *,
        file: Path,
        severity: str = "warning",
        row: int = 0,
        column: str = "",
        image: str = "",
        value: str = "",
    ) -> None:
        """Add a row to the audit table.

        Args:
            message: what is odd and what became of it.
            file: the file; its name alone is recorded, so that the table is the same anywhere.
            severity: "warning" where something was lost, "info" where not, "error" where the
                pipeline itself was wrong.
            row: 1-based line of the file; 0 where it concerns no single line.
            column: its column.
            image: the image concerned.
            value: the value found.
        """
        texts = [shortened(text, QUOTED) for text in (column, image, value, message)]
        values = (severity, file.name, row or "", *texts)
        self.notes.append(dict(zip(AUDIT_COLUMNS, values, strict=True)))

    def raise_stops(self, path: Path) -> None:
        """Stop the run if anything was found that must.

        Raises:
            InputError: names `path` and up to `SHOWN` problems, and counts the rest.
        """
        if not self.stops:
            return
        lines = self.stops[:SHOWN]
        if len(self.stops) > SHOWN:
            lines.append(f"... and {len(self.stops) - SHOWN} more")
        if len(lines) == 1:
            raise InputError(f"{path}: {lines[0]}")
        raise InputError(f"{path}: {len(self.stops)} problems\n  " + "\n  ".join(lines))

    def audit(self) -> pd.DataFrame:
        """The audit table, columns `AUDIT_COLUMNS`, as text."""
        table = pd.DataFrame(self.notes, columns=list(AUDIT_COLUMNS))
        return table.astype(str)


Columns = str | tuple[str, ...]
"""The name of a column that must be there, or several of which one must."""


def read_table(
    path: Path | str,
    *,
    required: Sequence[Columns],
    problems: Problems,
    optional: Sequence[str] = (),
    unique: bool = True,
) -> pd.DataFrame:
    """Read a table as text, in any order of columns, as `melanoma.table_text` can read it.

    Args:
        path: the file.
        required: columns that must be there, named in any case. The first names the image of a
            row; of its several names the first one there that isn't empty is used. Of the other
            groups every column is kept that is there.
        problems: receives problems of single rows (stops) and extra columns (notes).
        optional: columns that are kept if there.
        unique: whether an image may have one row only.

    Returns:
        The named columns as str, named as asked for, the first one by the first of its names,
        white space around values removed; ids in composed form (see `melanoma.image_names`).
        The index, named row, is each row's line in the file as an editor shows it;
        `attrs["columns"]` maps columns to their names in the file.

    Raises:
        InputError: no such file, empty, not text, columns missing, columns of one name that
            contradict, rows of the wrong length, identifiers empty or twice.
    """
    path = Path(path)
    groups = [(names,) if isinstance(names, str) else names for names in required]
    wanted = list(dict.fromkeys([*(name for names in groups for name in names), *optional]))
    sheet = read_sheet(path, wanted)
    if not sheet.header:
        expected = ",".join(names[0] for names in groups)
        raise InputError(f"{path}: empty; expected the columns {expected}")
    if sheet.guessed:
        problems.note(sheet.guessed, file=path)
        _LOG.warning("%s: %s", path, sheet.guessed)
    places = _places(sheet.header, wanted)
    _check_header(path, sheet, groups, places)
    _drop_other_ids(groups[0], places, sheet)
    _note_unused(path, sheet, places, problems)
    lines, rows = _fitting_rows(sheet, places, problems)
    table = pd.DataFrame(
        {name: _column(lines, rows, at, sheet.header, problems) for name, at in places.items()},
        index=pd.Index(lines, name="row", dtype="int64"),
        dtype="str",
    )
    table.attrs["columns"] = {name: sheet.header[at[0]] for name, at in places.items()}
    if not sheet.rows:
        problems.stop("no row below the header; use the whole file")
    identifier = groups[0][0]
    table = table.rename(columns=dict.fromkeys(groups[0], identifier))
    table[identifier] = table[identifier].map(composed)
    _check_identifiers(table[identifier], problems, unique)
    problems.raise_stops(path)
    return table


def with_ids(
    table: pd.DataFrame,
    ids: Sequence[str],
    names: ImageNames,
    path: Path,
    problems: Problems,
    *,
    unique: bool = True,
) -> pd.DataFrame:
    """A table with the ids of images in place of the names that it gives them.

    Args:
        table: column image; index row.
        ids: of the images there are.
        names: finds them, by their places in `ids`.
        path: the table's file.
        problems: receives names that are ambiguous, and rows of one image.
        unique: whether an image may have one row only.

    Returns:
        The table; a name that no image has is left as it is.

    Raises:
        InputError: a name that several images have, or two rows of one image.
    """
    found = names.match(list(table["image"]))
    first: dict[int, str] = {}
    images = []
    for row, name, places in zip(table.index, table["image"], found, strict=True):
        images.append(ids[places[0]] if len(places) == 1 else name)
        message = ""
        if len(places) > 1:
            held = first_few([names.paths[each] for each in places])
            cure = f"name each by its path, e.g. {ids[places[0]]}"
            message = f"several images have this name ({held}); {cure}"
        elif places and unique and places[0] in first:
            message = f"is the image of {first[places[0]]} too; keep one"
        elif places:
            first[places[0]] = f"row {row} ({shortened(name)})"
        if message:
            problems.stop(message, row=int(row), column="image", value=name)
    problems.raise_stops(path)
    return table.assign(image=pd.array(images, dtype="str"))


def _places(header: Sequence[str], wanted: Sequence[str]) -> dict[str, list[int]]:
    """Where each column that is wanted is, in the order of `wanted`; exact names come first."""
    found: dict[str, list[int]] = {}
    for name in wanted:
        same = [place for place, cell in enumerate(header) if folded(cell) == folded(name)]
        if same:
            found[name] = sorted(same, key=lambda place: header[place] != name)
    return found


def _check_header(
    path: Path, sheet: Sheet, groups: Sequence[tuple[str, ...]], places: Mapping[str, object]
) -> None:
    missing = [names for names in groups if not any(name in places for name in names)]
    if not missing:
        return
    if sheet.header[0].lower().startswith(("<!doctype", "<html", "<?xml")):
        raise InputError(f"{path}: a web page, not a table; download the file again")
    said = ", ".join(
        f"{names[0]} (or {first_few(names[1:], _NAMES)})" if names[1:] else names[0]
        for names in missing
    )
    raise InputError(
        f"{path}: row {sheet.line}: column {said} missing among {first_few(sheet.header)}; "
        "rename or add it, as in the official file"
    )


def _drop_other_ids(names: Sequence[str], places: dict[str, list[int]], sheet: Sheet) -> None:
    """Leave one column that names the images: the first that names any."""
    there = [name for name in names if name in places]
    chosen = next(
        (name for name in there if any(any(row[places[name][0] :][:1]) for row in sheet.rows)),
        there[0],
    )
    for name in there:
        if name != chosen:
            del places[name]


def _note_unused(
    path: Path, sheet: Sheet, places: Mapping[str, Sequence[int]], problems: Problems
) -> None:
    used = {place for at in places.values() for place in at}
    unused = []
    for place, name in enumerate(sheet.header):
        if place in used:
            continue
        if name:
            unused.append(name)
            message = "column ignored"
        elif any(any(row[place : place + 1]) for row in sheet.rows):
            message = f"column {place + 1} has no name: ignored"
        else:
            continue
        problems.note(message, file=path, severity="info", row=sheet.line, column=name)
    if unused:
        _LOG.info("%s: %s not used: %s", path, counted(len(unused), "column"), first_few(unused))


def _fitting_rows(
    sheet: Sheet, places: Mapping[str, Sequence[int]], problems: Problems
) -> tuple[list[int], list[list[str]]]:
    """Lines and cells of the rows that have a cell for each column with a name."""
    named = max(place for place, name in enumerate(sheet.header) if name) + 1
    lines, rows = [], []
    for line, row in zip(sheet.lines, sheet.rows, strict=True):
        if len(row) < named or any(row[len(sheet.header) :]):
            columns = counted(named, "column")
            problems.stop(f"{counted(len(row), 'value')} for {columns}; mend the row", row=line)
        else:
            lines.append(line)
            rows.append(row)
    return lines, rows


def _column(
    lines: Sequence[int],
    rows: Sequence[Sequence[str]],
    places: Sequence[int],
    header: Sequence[str],
    problems: Problems,
) -> list[str]:
    """A column's cells; of several columns of its name, those that are filled."""
    if len(places) == 1:
        return [row[places[0]] for row in rows]
    cells = []
    for line, row in zip(lines, rows, strict=True):
        said = list(dict.fromkeys(row[place] for place in places if row[place]))
        if len(said) > 1:
            names = " and ".join(f"{header[place]} (column {place + 1})" for place in places)
            problems.stop(
                f"columns {names} contradict each other ({quoted(said[0])}, {quoted(said[1])}); "
                "keep one",
                row=line,
            )
        cells.append(said[0] if said else "")
    return cells


def _check_identifiers(names: pd.Series[str], problems: Problems, unique: bool) -> None:
    first: dict[str, int] = {}
    for row, name in names.items():
        assert isinstance(row, int)
        if not name:
            problems.stop("empty; name the image", row=row, column=str(names.name))
        elif unique and name in first:
            problems.stop(
                f"is in row {first[name]} already; keep one", row=row, column="image", value=name
            )
        else:
            first[name] = row
