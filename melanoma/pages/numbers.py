"""Tables of results as people read them: short numbers, a value and its interval in one cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

NO_INTERVAL = (
    "A figure without brackets has no interval: too few lesions for one, or the same in every "
    "resample."
)
"""Below a table that `lacks_intervals`."""

_SMALL = 0.01
"""Numbers below it get three significant digits instead of three decimals."""


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: what is shown.
        number: what it is sorted by, None for text.
    """

    text: str
    number: float | None = None


@dataclass(frozen=True)
class Grid:
    """A table as it is shown.

    Attributes:
        headings: of the columns.
        rows: cells in the order of the headings.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def counted(number: int, thing: str) -> str:
    """A number of things, e.g. "1 image" and "2 images"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def number_text(value: float, *, whole: bool = False) -> str:
    """A number with three digits that tell.

    Args:
        value: NaN gives "".
        whole: it counts something.
    """
    if math.isnan(value):
        return ""
    if whole:
        return f"{value:.0f}"
    if value and abs(value) < _SMALL:
        return f"{value:.3g}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def with_interval(value: float, low: float, high: float) -> str:
    """A value with its interval, e.g. "0.712 (0.684 to 0.740)"; without ends the value alone."""
    text = number_text(value)
    if not text or math.isnan(low) or math.isnan(high):
        return text
    # Ends as exact as the value: a share of 0.125 has no end of 0.00914.
    exact = number_text if 0 < abs(value) < _SMALL else "{:.3f}".format
    return f"{text} ({exact(low)} to {exact(high)})"


def grid(table: pd.DataFrame, names: Mapping[str, str] | None = None) -> Grid:
    """A table of results as it is shown.

    A column with companions `{column}_low` and `{column}_high` (or `value` with `low` and `high`)
    becomes one column with the interval in brackets.

    Args:
        table: numbers, text, booleans.
        names: headings of columns; others by their own name, blanks for underscores.

    Returns:
        Headings and cells; missing values are empty.
    """
    columns = [str(column) for column in table.columns]
    ends = {column: found for column in columns if (found := _ends(column, columns))}
    inside = {end for found in ends.values() for end in found}
    shown = [column for column in columns if column not in inside]
    known = dict(names or {})
    headings = [known.get(column, column.replace("_", " ")) for column in shown]
    cells = [_cells(table, column, ends.get(column)) for column in shown]
    return Grid(tuple(headings), tuple(zip(*cells, strict=True)) if len(table) else ())


def lacks_intervals(table: pd.DataFrame) -> bool:
    """Whether some values have an interval and some, which then look the surest, have none."""
    columns = [str(column) for column in table.columns]
    pairs = [(column, ends) for column in columns if (ends := _ends(column, columns))]
    known = [table[column].notna() for column, _ in pairs]
    inside = [table[list(ends)].notna().all(axis=1) for _, ends in pairs]
    bare = any((v & ~i).any() for v, i in zip(known, inside, strict=True))
    return bool(bare and any(i.any() for i in inside))


def _ends(column: str, columns: list[str]) -> tuple[str, str] | None:
    """Names of the columns that hold the ends of a column's interval."""
    low, high = ("low", "high") if column == "value" else (f"{column}_low", f"{column}_high")
    return (low, high) if low in columns and high in columns else None


def _cells(table: pd.DataFrame, column: str, ends: tuple[str, str] | None) -> list[Cell]:
    if not pd.api.types.is_numeric_dtype(table[column]) or table[column].dtype == bool:
        return [_cell(value) for value in table[column].tolist()]
    values = table[column].astype(float).tolist()
    if ends is None:
        whole = pd.api.types.is_integer_dtype(table[column]) or _counts(values)
        return [Cell(number_text(v, whole=whole), _sortable(v)) for v in values]
    low, high = (table[end].astype(float).tolist() for end in ends)
    return [
        Cell(with_interval(v, a, b), _sortable(v))
        for v, a, b in zip(values, low, high, strict=True)
    ]


def _counts(values: Sequence[float]) -> bool:
    """Whether the numbers are counts: whole, and not shares that all happen to be 0 or 1."""
    known = [value for value in values if not math.isnan(value)]
    return all(v.is_integer() for v in known) and any(abs(v) > 1 for v in known)


def _sortable(value: float) -> float | None:
    return None if math.isnan(value) else value


def _cell(value: Any) -> Cell:
    if isinstance(value, bool | np.bool_):
        return Cell("yes" if value else "no")
    return Cell("" if value is None or pd.isna(value) else str(value))
