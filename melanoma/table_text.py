"""From a file to the cells of a table, as spreadsheets and programs really write them.

Read are UTF-8 and UTF-16, and Western European text (Windows-1252) where a file is no UTF-8;
separators comma, semicolon, tab and bar; Excel's first line "sep=;"; rows and columns without any
content, and line ends of every system.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from melanoma.errors import InputError
from melanoma.image_names import composed

SEPARATORS = (",", ";", "\t", "|")
"""What columns may be separated by; the first wins where several fit."""

_NO_TABLES = {
    b"PK\x03\x04": "an Excel workbook or another zip, not a CSV; save it as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook, not a CSV; save it as CSV (UTF-8)",
    b"\x1f\x8b": "compressed by gzip; unpack it",
    b"%PDF": "a PDF, not a table; export it as CSV",
}
"""How files start that are mistaken for tables."""

_SEPARATOR_LINE = re.compile(
    r"""\s*"?sep=([^\w\s"']|\t)"?[;,\t ]*(?:\r\n|\r|\n|$)""", re.IGNORECASE
)
"""Excel's first line, which says what separates columns."""


@dataclass(frozen=True)
class Sheet:
    """The cells of a table.

    Attributes:
        header: names of the columns as written, white space around them removed; "" for none.
        line: the header's line in the file, from 1, as an editor shows it.
        lines: likewise of each row.
        rows: cells of each row that isn't empty, white space around them removed; may be of
            another length than the header.
        guessed: "" or what had to be guessed of the encoding.
    """

    header: list[str]
    line: int
    lines: list[int]
    rows: list[list[str]]
    guessed: str


def folded(name: str) -> str:
    """A column's name as names are compared: small letters, underscores between words."""
    return re.sub(r"[\s_-]+", "_", composed(name).strip("\ufeff \t").casefold()).strip("_")


def read_sheet(path: Path, names: Iterable[str]) -> Sheet:
    """Read the cells of a table.

    Args:
        path: the file.
        names: of columns that are looked for, which tell what separates columns.

    Returns:
        Header and rows; without any where the file is empty.

    Raises:
        InputError: no such file, not text, or quotes that don't fit.
    """
    text, guessed = _decode(path)
    known = {folded(name) for name in names}
    told = _SEPARATOR_LINE.match(text)
    if told:
        separator, text = told[1], text[told.end() :]
    else:
        separator = max(SEPARATORS, key=lambda sign: _known_names(text, sign, known))
    lines, records = _parse(path, text, separator, first=2 if told else 1)
    if not records:
        return Sheet([], 1, [], [], guessed)
    return Sheet(records[0], lines[0], lines[1:], records[1:], guessed)


def _decode(path: Path) -> tuple[str, str]:
    """The file's text, and what had to be guessed of its encoding."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name the file")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    data = path.read_bytes()
    for start, reason in _NO_TABLES.items():
        if data.startswith(start):
            raise InputError(f"{path}: {reason}")
    code = _wide_code(data)
    guessed = ""
    try:
        text = data.decode(code or "utf-8-sig")
    except UnicodeDecodeError as error:
        text = "" if code else _western(data)
        guessed = "not UTF-8: read as Western European text (Windows-1252)"
        if not text:
            row = len(re.findall(rb"\r\n|\r|\n", data[: error.start])) + 1
            raise InputError(
                f"{path}: row {row}: byte {data[error.start]:#04x} is not "
                f"{(code or 'utf-8').upper()}; save the file as UTF-8"
            ) from error
    if "\0" in text:
        row = len(re.findall(r"\r\n|\r|\n", text[: text.index("\0")])) + 1
        raise InputError(f"{path}: row {row}: a zero byte, so not text; save the file as UTF-8")
    return text.removeprefix("\ufeff"), guessed


def _wide_code(data: bytes) -> str:
    """The encoding of a file of two bytes a letter, as Excel's "Unicode text" is; else ""."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    start = data[:200]
    half = len(start) // 2
    for code, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])):
        if half > 3 and zeros.count(0) > 0.9 * half:
            return code
    return ""


def _western(data: bytes) -> str:
    """A file as Windows-1252, "" where it isn't: where some of it is UTF-8, a byte is damaged."""
    if any(sign > "\x7f" and sign != "\ufffd" for sign in data.decode("utf-8", "replace")):
        return ""
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return ""


def _known_names(text: str, separator: str, known: set[str]) -> int:
    """How many names that are looked for the first row has if it is separated so."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        header = next((row for row in reader if any(cell.strip() for cell in row)), [])
    except csv.Error:
        return 0
    return len({folded(cell) for cell in header} & known)


def _parse(path: Path, text: str, separator: str, first: int) -> tuple[list[int], list[list[str]]]:
    """Lines and cells of every row with any content."""
    lines: list[int] = []
    records: list[list[str]] = []
    line = first
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        for record in reader:
            cells = [cell.strip() for cell in record]
            if any(cells):
                lines.append(line)
                records.append(cells)
            line = reader.line_num + first
    except csv.Error as error:
        raise InputError(f"{path}: row {line}: {error}; mend the quotes of this row") from error
    return lines, records
