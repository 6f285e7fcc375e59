"""Prediction tables: read, checked, and joined with what is known of each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.errors import InputError
from melanoma.evaluation.metrics import Ints
from melanoma.evaluation.ranking import Floats
from melanoma.isic import CLASSES
from melanoma.prediction_columns import KNOWN_FIELDS, WITHOUT_METADATA
from melanoma.wording import quoted

_SUM_TOLERANCE = 1e-3
"""How far a row of float32 probabilities may be from adding up to 1."""

BY_OTHER_SET = "without_metadata"
"""Column of a calibrated table: 1 where an image was calibrated as one without metadata."""

_BOUNDS = {
    "energy": (-np.inf, np.inf),
    KNOWN_FIELDS: (0.0, np.inf),
    BY_OTHER_SET: (0.0, 1.0),
}
"""Columns of numbers that are no probabilities, and what they lie between."""


@dataclass(frozen=True)
class Judged:
    """Predictions beside the truth, one row per image of known diagnosis.

    Attributes:
        images: ids [n].
        truth: int [n], index into `CLASSES`.
        probabilities: float [n, 8].
        groups: text [n]: images of one group are resampled together.
        unknown: images left out because their diagnosis is none of `CLASSES`.
    """

    images: tuple[str, ...]
    truth: Ints
    probabilities: Floats
    groups: pd.Series
    unknown: int = 0

    @property
    def support(self) -> Ints:
        """Images of each class, int [8]."""
        counts: Ints = np.bincount(self.truth, minlength=len(CLASSES)).astype(np.int64)
        return counts

    def of_class(self, name: str) -> NDArray[np.bool_]:
        """Whether each image is of a class, bool [n]."""
        mask: NDArray[np.bool_] = self.truth == CLASSES.index(name)
        return mask

    def probability_of(self, name: str) -> Floats:
        """Each image's probability of a class, float [n]."""
        column: Floats = self.probabilities[:, CLASSES.index(name)]
        return column


def read_predictions(path: Path | str) -> pd.DataFrame:
    """Read a table of class probabilities.

    Args:
        path: CSV with image, the eight classes and perhaps energy, `KNOWN_FIELDS` and
            `WITHOUT_METADATA`.

    Returns:
        image as str, the other columns as float64, rows as in the file.

    Raises:
        InputError: no such file, a missing column, an image twice, or a row that is no
            distribution over the classes; names the row of the file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; the rules predict and combine write it")
    try:
        # An image may be called NA.
        table = pd.read_csv(path, dtype={"image": "str"}, keep_default_na=False)
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{path}: not a table of predictions: {error}") from None
    missing = [column for column in ("image", *CLASSES) if column not in table]
    if missing:
        raise InputError(f"{path}: row 1: column {missing[0]} is missing; delete it and run again")
    _refuse(path, table, table["image"].duplicated(), "image", "is there twice")
    for column in [c for c in (*CLASSES, *WITHOUT_METADATA, *_BOUNDS) if c in table]:
        number = pd.to_numeric(table[column], errors="coerce").astype(np.float64)
        bounds = _BOUNDS.get(column, (0.0, 1.0))
        wrong = ~(number.between(*bounds) & np.isfinite(number))
        _refuse(path, table, wrong, column, f"is not a number in [{bounds[0]}, {bounds[1]}]")
        table[column] = number
    for columns in (CLASSES, WITHOUT_METADATA):
        if set(columns) <= set(table):
            off = (table[list(columns)].sum(axis=1) - 1.0).abs() > _SUM_TOLERANCE
            _refuse(path, table, off, "image", "has probabilities that do not add up to 1")
    return table


def _refuse(path: Path, table: pd.DataFrame, wrong: pd.Series, column: str, reason: str) -> None:
    """Raises InputError for the first wrong row."""
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        value = table[column].iloc[row]
        # A number as it stands in the file, not as numpy names it.
        shown = value.item() if isinstance(value, np.generic) else value
        raise InputError(
            f"{path}: row {row + 2}, column {column}: {quoted(shown)} {reason}; "
            "delete the file and run again"
        )


def judge(predictions: pd.DataFrame, catalogue: pd.DataFrame) -> Judged:
    """Join predictions with the catalogue.

    Args:
        predictions: image and the eight classes.
        catalogue: image, diagnosis, group.

    Returns:
        One row per image of known diagnosis, sorted by image.

    Raises:
        InputError: an image that the catalogue does not have.
    """
    table = predictions.sort_values("image", kind="stable")
    known = catalogue.set_index("image")
    strangers = table["image"][~table["image"].isin(known.index)]
    if len(strangers):
        raise InputError(
            f"predictions: image {strangers.iloc[0]} is not in the catalogue; "
            "predict again with the present data"
        )
    rows = known.loc[table["image"]]
    usable = rows["diagnosis"].isin(CLASSES).to_numpy()
    numbers = {name: index for index, name in enumerate(CLASSES)}
    return Judged(
        images=tuple(table["image"][usable]),
        truth=np.array([numbers[name] for name in rows["diagnosis"][usable]], np.int64),
        probabilities=table.loc[usable, list(CLASSES)].to_numpy(np.float64),
        groups=rows["group"][usable].reset_index(drop=True),
        unknown=int((~usable).sum()),
    )


def probability_table(images: Sequence[str] | pd.Series, probabilities: Floats) -> pd.DataFrame:
    """A table of image and the eight classes.

    Args:
        images: ids [n].
        probabilities: float [n, 8].
    """
    table = pd.DataFrame(np.asarray(probabilities, np.float64), columns=list(CLASSES))
    table.insert(0, "image", np.asarray(images, dtype=object))
    return table.astype({"image": "str"})
