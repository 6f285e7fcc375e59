"""Reading the official CSV files cell by cell, with every problem named by file, row and column.

What would silently corrupt results stops the run, all problems of a file told in one message;
what loses no more than a field or an image is noted for the audit table.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from melanoma.catalogue import AUDIT_COLUMNS
from melanoma.errors import InputError
from melanoma.wording import SHOWN

FEW = 5
FEW_SHARE = 0.001
"""Images that may be missing or unreadable without stopping the run: `FEW`, or this share."""


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
        place += [f"column {column}"] if column else []
        place += [f"image {image}"] if image else []
        found = f"found {value!r}: " if value else ""
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
        values = (severity, file.name, row or "", column, image, value, message)
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


def read_table(
    path: Path | str,
    *,
    required: Sequence[str],
    problems: Problems,
    optional: Sequence[str] = (),
) -> pd.DataFrame:
    """Read a CSV as text, in any order of columns and with either line end.

    Args:
        path: the file: UTF-8, with or without a byte order mark, separated by commas.
        required: columns that must be there; the first identifies a row and must be unique.
        problems: receives problems of single rows (stops) and extra columns (notes).
        optional: columns that are kept if there.

    Returns:
        The named columns as str, white space around values removed; the index, named row, is
        each row's line in the file as an editor shows it.

    Raises:
        InputError: no such file, empty, not UTF-8, not separated by commas, columns missing or
            twice, rows of the wrong length, identifiers empty or twice.
    """
    path = Path(path)
    lines, records = _parse(path, _decode(path))
    if not records:
        raise InputError(f"{path}: empty; expected the columns {','.join(required)}")
    header = [name.strip() for name in records[0]]
    _check_header(path, header, required)
    known = dict.fromkeys((*required, *optional))
    for name in header:
        if name not in known:
            problems.note("column ignored", file=path, severity="info", row=lines[0], column=name)
    rows = [[cell.strip() for cell in record] for record in records[1:]]
    whole = [len(row) == len(header) for row in rows]
    for line, row, fits in zip(lines[1:], rows, whole, strict=True):
        if not fits:
            problems.stop(f"{len(row)} values for {len(header)} columns; mend the row", row=line)
    table = pd.DataFrame(
        [row for row, fits in zip(rows, whole, strict=True) if fits],
        columns=header,
        index=pd.Index([n for n, fits in zip(lines[1:], whole, strict=True) if fits], name="row"),
        dtype=str,
    )[[name for name in known if name in header]]
    if not rows:
        problems.stop("no row below the header; use the whole file")
    _check_identifiers(table[required[0]], problems)
    problems.raise_stops(path)
    return table


def _decode(path: Path) -> str:
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name the file")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}: row {row}: byte {data[error.start]:#04x} is not UTF-8; save the file as UTF-8"
        ) from error
    if "\0" in text:
        row = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(f"{path}: row {row}: a zero byte, so not text; save the file as UTF-8")
    return text


def _parse(path: Path, text: str) -> tuple[list[int], list[list[str]]]:
    """Lines and cells of every row that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines: list[int] = []
    records: list[list[str]] = []
    line = 1
    try:
        for record in reader:
            if record:
                lines.append(line)
                records.append(record)
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}: row {line}: {error}; mend the quotes of this row") from error
    return lines, records


def _check_header(path: Path, header: list[str], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in header]
    if not missing:
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise InputError(f"{path}: row 1: columns {', '.join(twice)} are there twice")
        return
    for sign, name in ((";", "semicolons"), ("\t", "tabs")):
        if any(sign in cell for cell in header):
            raise InputError(f"{path}: row 1: separated by {name}; save it with commas")
    if header[0].lower().startswith(("<!doctype", "<html", "<?xml")):
        raise InputError(f"{path}: a web page, not a table; download the file again")
    raise InputError(
        f"{path}: row 1: column {', '.join(missing)} missing among {', '.join(header)}; "
        "rename or add it, as in the official file"
    )


def _check_identifiers(names: pd.Series[str], problems: Problems) -> None:
    first: dict[str, int] = {}
    for row, name in names.items():
        assert isinstance(row, int)
        if not name:
            problems.stop("empty; name the image", row=row, column=str(names.name))
        elif name in first:
            problems.stop(
                f"is in row {first[name]} already; keep one", row=row, column="image", value=name
            )
        else:
            first[name] = row
