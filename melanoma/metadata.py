"""Patient metadata as numbers: fitted on the training rows once, stored with the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from melanoma import isic
from melanoma.errors import InputError

_CATEGORIES = {"sex": isic.SEXES, "site": isic.SITES}

_AGE, _MISSING = "age", ""
"""What stands for any known age and for a missing value among the values never seen."""

_LEAST_DEVIATION = 1e-6
"""Years: a deviation below it is rounding of equal ages, and would blow up any other age."""


@dataclass(frozen=True)
class MetadataEncoder:
    """Turns age, sex and site into a vector: `fit` makes one, `encode` applies it.

    Age is imputed by the median of the fitted rows, standardised by their mean and deviation, and
    followed by a flag that is 1 where it was missing. Sex and site are one-hot over the official
    categories, followed by the same flag. What no fitted row had is encoded as missing: the weights
    behind it are as they were drawn at random.

    Attributes:
        fields: the fields used, in the order of the vector.
        age_median: years.
        age_mean: years.
        age_deviation: years, never 0.
        categories: the categories of each categorical field used, in the order of the vector.
        unseen: of each field used, what no fitted row had: categories, "age" where the known ages
            were not at least two, and "" where no value was missing.
    """

    fields: tuple[str, ...]
    age_median: float
    age_mean: float
    age_deviation: float
    categories: Mapping[str, tuple[str, ...]]
    unseen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

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
        for name in fields:
            if name not in isic.METADATA_FIELDS:
                known = ", ".join(isic.METADATA_FIELDS)
                raise InputError(f"metadata_fields: no field named {name!r}; known: {known}")
        median, mean, deviation = _statistics(_ages(table)) if _AGE in fields else (0.0, 0.0, 1.0)
        categories = {name: _CATEGORIES[name] for name in fields if name in _CATEGORIES}
        unseen = {name: _unseen(table, name) for name in fields}
        return cls(tuple(fields), median, mean, deviation, categories, unseen)

    @property
    def field_slices(self) -> dict[str, slice]:
        """Where each field lies in the vector, its missing flag included as the last entry."""
        slices, start = {}, 0
        for name in self.fields:
            stop = start + len(self.categories.get(name, (_AGE,))) + 1
            slices[name] = slice(start, stop)
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

    def known_fields(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """How many fields of each row are not encoded as missing.

        Args:
            vectors: float32[n, width], as from `encode`.

        Returns:
            int64[n], 0 for a patient of whom nothing is known.
        """
        flags = [vectors[:, part.stop - 1] == 0 for part in self.field_slices.values()]
        known: npt.NDArray[np.int64] = np.sum(flags, axis=0, dtype=np.int64)
        return known

    def encode(self, table: pd.DataFrame) -> npt.NDArray[np.float32]:
        """Encode rows; values of `unseen` as missing.

        Args:
            table: as for `fit`.

        Returns:
            float32[n, width].

        Raises:
            InputError: a missing column, an age that is no number or an unknown category.
        """
        vectors = np.zeros((len(table), self.width), dtype=np.float32)
        for name, part in self.field_slices.items():
            vectors[:, part] = (
                self._encode_age(table) if name == _AGE else self._one_hot(table, name)
            )
        return vectors

    def _encode_age(self, table: pd.DataFrame) -> npt.NDArray[np.float64]:
        ages = _ages(table)
        if _AGE in self.unseen.get(_AGE, ()):
            ages = np.full_like(ages, np.nan)
        missing = np.isnan(ages)
        filled = np.where(missing, self.age_median, ages)
        return np.stack([(filled - self.age_mean) / self.age_deviation, missing], axis=1)

    def _one_hot(self, table: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
        """One column per category and a last one for missing values."""
        categories = self.categories[name]
        codes = _codes(table, name, categories)
        missing = len(categories)
        unseen = [categories.index(v) for v in self.unseen.get(name, ()) if v in categories]
        codes[np.isin(codes, unseen)] = missing
        return np.eye(missing + 1)[codes]

    def ignored(self, table: pd.DataFrame) -> list[str]:
        """What of a table is encoded as missing since no fitted row had it.

        Args:
            table: as for `encode`.

        Returns:
            Such as "age" or "site 'oral/genital'", each once.
        """
        found = []
        for name in self.fields:
            for value in self.unseen.get(name, ()):
                if value == _AGE and not np.isnan(_ages(table)).all():
                    found.append(_AGE)
                elif value in self.categories.get(name, ()) and (table[name] == value).any():
                    found.append(f"{name} {value!r}")
        return found

    def unlearnt_gaps(self, table: pd.DataFrame) -> list[str]:
        """Fields that a row lacks, but of which no fitted row lacked the value.

        What a model makes of them is learnt from `training.metadata_dropout` and, of rows without
        any metadata, from `training.metadata_dropout_all` alone.

        Args:
            table: as for `encode`.
        """
        vectors = self.encode(table)
        return [
            name
            for name, part in self.field_slices.items()
            if _MISSING in self.unseen.get(name, ()) and vectors[:, part.stop - 1].any()
        ]

    def to_dict(self) -> dict[str, Any]:
        """As plain lists, numbers and strings, for a checkpoint."""
        return {
            "fields": list(self.fields),
            "age_median": self.age_median,
            "age_mean": self.age_mean,
            "age_deviation": self.age_deviation,
            "categories": {name: list(values) for name, values in self.categories.items()},
            "unseen": {name: list(values) for name, values in self.unseen.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MetadataEncoder:
        """The encoder that `to_dict` described.

        One of before `unseen` was noted has seen everything, but for an age whose mean and median
        are those of no age at all.

        Raises:
            InputError: a key is missing.
        """
        unseen = {name: tuple(known) for name, known in values.get("unseen", {}).items()}
        if "unseen" not in values and values.get("age_median") == values.get("age_mean") == 0:
            unseen = {_AGE: (_AGE,)}
        try:
            return cls(
                fields=tuple(values["fields"]),
                age_median=float(values["age_median"]),
                age_mean=float(values["age_mean"]),
                age_deviation=float(values["age_deviation"]),
                categories={k: tuple(v) for k, v in values["categories"].items()},
                unseen=unseen,
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


def _statistics(ages: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Median, mean and deviation of the ages known."""
    ages = ages[~np.isnan(ages)]
    if not len(ages):
        return 0.0, 0.0, 1.0
    deviation = float(ages.std())
    return (
        float(np.median(ages)),
        float(ages.mean()),
        deviation if deviation >= _LEAST_DEVIATION else 1.0,
    )


def _unseen(table: pd.DataFrame, name: str) -> tuple[str, ...]:
    """What no row has of a field: see `MetadataEncoder.unseen`."""
    if name == _AGE:
        ages = _ages(table)
        known = ages[~np.isnan(ages)]
        some = len(known) > 0 and float(np.ptp(known)) >= _LEAST_DEVIATION
        values = {_AGE: some, _MISSING: not some or len(known) < len(ages)}
    else:
        codes = _codes(table, name, _CATEGORIES[name])
        values = {v: place in codes for place, v in enumerate((*_CATEGORIES[name], _MISSING))}
    return tuple(value for value, seen in values.items() if not seen)


def _codes(table: pd.DataFrame, name: str, categories: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Place of each row's category; the number of categories where it is missing."""
    values = _column(table, name).fillna("").astype(str).to_numpy()
    codes = pd.Index([*categories, ""]).get_indexer(pd.Index(values, dtype="str"))
    if (codes < 0).any():
        row = int(np.argmax(codes < 0))
        image = f" (image {table['image'].iloc[row]})" if "image" in table else ""
        raise InputError(
            f"metadata: {name} {values[row]!r}{image} is no known category; "
            f"expected one of {', '.join(categories)}, or empty"
        )
    return codes.astype(np.int64)
