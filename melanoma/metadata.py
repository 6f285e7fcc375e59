"""Patient metadata as numbers: fitted on the training rows once, stored with the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from melanoma import isic
from melanoma.errors import InputError

_CATEGORIES = {"sex": isic.SEXES, "site": isic.SITES}


@dataclass(frozen=True)
class MetadataEncoder:
    """Turns age, sex and site into a vector: `fit` makes one, `encode` applies it.

    Age is imputed by the median of the fitted rows, standardised by their mean and deviation, and
    followed by a flag that is 1 where it was missing. Sex and site are one-hot over the official
    categories, followed by the same flag.

    Attributes:
        fields: the fields used, in the order of the vector.
        age_median: years.
        age_mean: years.
        age_deviation: years, never 0.
        categories: the categories of each categorical field used, in the order of the vector.
    """

    fields: tuple[str, ...]
    age_median: float
    age_mean: float
    age_deviation: float
    categories: Mapping[str, tuple[str, ...]]

    @classmethod
    def fit(cls, table: pd.DataFrame, fields: Sequence[str]) -> MetadataEncoder:
        """Fit on training rows.

        Args:
            table: columns of the fields used: age (years, NaN where missing), sex and site
                ("" where missing).
            fields: some of `isic.METADATA_FIELDS`, in the order wanted.

        Returns:
            The encoder.

        Raises:
            InputError: an unknown field, a missing column or an age that is no number.
        """
        for field in fields:
            if field not in isic.METADATA_FIELDS:
                known = ", ".join(isic.METADATA_FIELDS)
                raise InputError(f"metadata_fields: no field named {field!r}; known: {known}")
        median, mean, deviation = 0.0, 0.0, 1.0
        if "age" in fields:
            ages = _ages(table)
            ages = ages[~np.isnan(ages)]
            if len(ages):
                median, mean = float(np.median(ages)), float(ages.mean())
                deviation = float(ages.std()) or 1.0
        categories = {field: _CATEGORIES[field] for field in fields if field in _CATEGORIES}
        return cls(tuple(fields), median, mean, deviation, categories)

    @property
    def field_slices(self) -> dict[str, slice]:
        """Where each field lies in the vector, its missing flag included as the last entry."""
        slices, start = {}, 0
        for field in self.fields:
            stop = start + len(self.categories.get(field, ("age",))) + 1
            slices[field] = slice(start, stop)
            start = stop
        return slices

    @property
    def width(self) -> int:
        """Length of the vector: 14 for all three fields."""
        return max((part.stop for part in self.field_slices.values()), default=0)

    @property
    def missing_row(self) -> npt.NDArray[np.float32]:
        """The vector of a patient of whom nothing is known: float32[width]."""
        blank = pd.DataFrame({"age": [np.nan], "sex": [""], "site": [""]})
        return np.asarray(self.encode(blank)[0])

    def encode(self, table: pd.DataFrame) -> npt.NDArray[np.float32]:
        """Encode rows.

        Args:
            table: as for `fit`.

        Returns:
            float32[n, width].

        Raises:
            InputError: a missing column, an age that is no number or an unknown category.
        """
        vectors = np.zeros((len(table), self.width), dtype=np.float32)
        for field, part in self.field_slices.items():
            vectors[:, part] = (
                self._encode_age(table)
                if field == "age"
                else _one_hot(table, field, self.categories[field])
            )
        return vectors

    def _encode_age(self, table: pd.DataFrame) -> npt.NDArray[np.float64]:
        ages = _ages(table)
        missing = np.isnan(ages)
        filled = np.where(missing, self.age_median, ages)
        return np.stack([(filled - self.age_mean) / self.age_deviation, missing], axis=1)

    def to_dict(self) -> dict[str, Any]:
        """As plain lists, numbers and strings, for a checkpoint."""
        return {
            "fields": list(self.fields),
            "age_median": self.age_median,
            "age_mean": self.age_mean,
            "age_deviation": self.age_deviation,
            "categories": {field: list(values) for field, values in self.categories.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MetadataEncoder:
        """The encoder that `to_dict` described.

        Raises:
            InputError: a key is missing.
        """
        try:
            return cls(
                fields=tuple(values["fields"]),
                age_median=float(values["age_median"]),
                age_mean=float(values["age_mean"]),
                age_deviation=float(values["age_deviation"]),
                categories={k: tuple(v) for k, v in values["categories"].items()},
            )
        except KeyError as error:
            raise InputError(
                f"metadata encoder: no {error} in it; it is from another version: train again"
            ) from None


def _column(table: pd.DataFrame, field: str) -> pd.Series[Any]:
    if field not in table:
        raise InputError(f"metadata: no column {field!r} in the table; found {list(table.columns)}")
    return table[field]


def _ages(table: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Ages in years, NaN where missing."""
    try:
        ages = np.asarray(pd.to_numeric(_column(table, "age").replace("", np.nan)), dtype=float)
    except (ValueError, TypeError) as error:
        raise InputError(f"metadata: age: {error}; expected years as a number, or empty") from None
    if np.isinf(ages).any():
        raise InputError("metadata: age: an infinite value; expected years, or empty")
    return ages


def _one_hot(
    table: pd.DataFrame, field: str, categories: tuple[str, ...]
) -> npt.NDArray[np.float64]:
    """One column per category and a last one for missing values."""
    values = _column(table, field).fillna("").astype(str).to_numpy()
    codes = pd.Index([*categories, ""]).get_indexer(pd.Index(values, dtype="str"))
    if (codes < 0).any():
        row = int(np.argmax(codes < 0))
        image = f" (image {table['image'].iloc[row]})" if "image" in table else ""
        raise InputError(
            f"metadata: {field} {values[row]!r}{image} is no known category; "
            f"expected one of {', '.join(categories)}, or empty"
        )
    return np.eye(len(categories) + 1)[codes]
