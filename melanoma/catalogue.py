"""The catalogue: one typed row per usable image of a set, in the order of the store's rows.

Reading and writing it, and nothing else: what trains a model depends on this module, not on the
many checks that building a catalogue takes (`melanoma.cataloguing`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from melanoma import files
from melanoma.errors import InputError
from melanoma.isic import WEIGHT_COLUMNS

COLUMNS = (
    "image",
    "lesion_id",
    "group",
    "diagnosis",
    "age",
    "sex",
    "site",
    "source",
    "member",
    "width",
    "height",
    "bytes",
    "crc",
    "fingerprint",
    "surround",
)
"""Columns of every catalogue; the test set's has `WEIGHT_COLUMNS` after them."""

AUDIT_COLUMNS = ("severity", "file", "row", "column", "image", "value", "message")
QUARANTINE_COLUMNS = ("image", "member", "error")

_FLOATS = ("age", *WEIGHT_COLUMNS)
_NUMBERS = {
    **dict.fromkeys((*_FLOATS, "surround"), "float64"),
    **dict.fromkeys(("width", "height", "bytes"), "int64"),
}


@dataclass(frozen=True)
class Catalogue:
    """What is known of a set of images.

    Attributes:
        table: one row per usable image, sorted by image; columns `COLUMNS`, for the test set
            also `WEIGHT_COLUMNS`.
        audit: what was lost or odd in the official files; columns `AUDIT_COLUMNS`.
        quarantine: images that cannot be read; columns `QUARANTINE_COLUMNS`.
        duplicates: pairs of near-duplicate images, see `melanoma.duplicates.PAIR_COLUMNS`.
    """

    table: pd.DataFrame
    audit: pd.DataFrame
    quarantine: pd.DataFrame
    duplicates: pd.DataFrame


def read_catalogue(path: Path | str) -> pd.DataFrame:
    """Read a catalogue table.

    Args:
        path: the CSV that the catalogue rule wrote.

    Returns:
        One row per image, sorted by image: text columns as str with "" where missing, age as
        float64 in years with NaN where missing, width and height in pixels and bytes as int64,
        surround (a share of the centre square) and the test set's weights as float64.

    Raises:
        InputError: no catalogue, or its columns or numbers are not a catalogue's.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; the catalogue rule writes it")
    kinds: defaultdict[str, str] = defaultdict(lambda: "str", _NUMBERS)
    try:
        table = pd.read_csv(
            path,
            dtype=kinds,
            keep_default_na=False,
            na_values={column: [""] for column in _FLOATS},
            encoding="utf-8",
        )
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(
            f"{path}: not a catalogue ({error}); name another file, or "
            "delete this one and run again"
        ) from error
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise InputError(
            f"{path}: columns {', '.join(missing)} are missing, so this is no catalogue; name "
            "another file, or delete this one and run again"
        )
    return table


def write_catalogue(
    catalogue: Catalogue,
    *,
    table: Path | str,
    audit: Path | str,
    quarantine: Path | str,
    duplicates: Path | str,
) -> None:
    """Write the four tables of a catalogue as CSV, each atomically.

    Args:
        catalogue: what `melanoma.cataloguing.build_catalogue` gave.
        table: path of the catalogue itself.
        audit: path of the audit table.
        quarantine: path of the quarantine table.
        duplicates: path of the table of near-duplicate pairs.
    """
    files.write_table(audit, catalogue.audit)
    files.write_table(quarantine, catalogue.quarantine)
    files.write_table(duplicates, catalogue.duplicates)
    files.write_table(table, catalogue.table)
