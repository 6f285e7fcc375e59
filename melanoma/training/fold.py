"""The rows of one fold: which images, labels and metadata are trained and validated on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from melanoma import isic
from melanoma.errors import InputError
from melanoma.metadata import MetadataEncoder
from melanoma.store import Store


@dataclass(frozen=True)
class Part:
    """The rows of one split, sorted by image.

    Attributes:
        images: their ids.
        rows: int64[n], where they lie in the store.
        labels: int64[n], positions in `isic.CLASSES`.
        metadata: float32[n, width], encoded.
    """

    images: tuple[str, ...]
    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    metadata: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class FoldTables:
    """What one fold trains and validates on.

    Attributes:
        train: training rows, excluded sources left out.
        val: validation rows.
        encoder: fitted on the training rows.
        class_weights: float32[8] for the loss: see `class_weights`.
    """

    train: Part
    val: Part
    encoder: MetadataEncoder
    class_weights: npt.NDArray[np.float32]


def fold_tables(
    store: Store,
    catalogue: pd.DataFrame,
    splits: pd.DataFrame,
    *,
    fold: int,
    fields: Sequence[str],
    exclude_sources: Sequence[str] = (),
) -> FoldTables:
    """Join splits, catalogue and store for one fold.

    Args:
        store: the images.
        catalogue: columns image, age, sex, site, source.
        splits: columns image, diagnosis, fold, split.
        fold: number of the fold.
        fields: metadata fields to encode.
        exclude_sources: sources whose images are left out of training, not of validation.

    Returns:
        The two parts, the encoder and the class weights.

    Raises:
        InputError: no rows for the fold, a split without rows, an image that
            the catalogue or the store lacks, or a diagnosis that is no class.
    """
    chosen = splits[(splits["fold"] == fold) & splits["split"].isin(["train", "val"])]
    joined = chosen[["image", "diagnosis", "split"]].merge(
        catalogue[["image", "age", "sex", "site", "source"]],
        on="image",
        how="left",
        validate="one_to_one",
    )
    _check_known(joined, fold)
    joined = joined.sort_values("image", kind="stable", ignore_index=True)
    excluded = joined["source"].isin(list(exclude_sources))
    train = joined[(joined["split"] == "train") & ~excluded]
    val = joined[joined["split"] == "val"]
    for name, rows in (("training", train), ("validation", val)):
        if rows.empty:
            raise InputError(
                f"splits: fold {fold} has no {name} images"
                f"{' once excluded sources are left out' if name == 'training' else ''}; "
                "check splits.val_fraction, splits.folds and training.exclude_sources"
            )
    encoder = MetadataEncoder.fit(train, fields)
    train_part = _part(train, store, encoder)
    return FoldTables(
        train=train_part,
        val=_part(val, store, encoder),
        encoder=encoder,
        class_weights=class_weights(train_part.labels),
    )


def class_weights(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Weights by inverse class frequency whose mean over the samples is 1.

    Args:
        labels: int64[n], positions in `isic.CLASSES`.

    Returns:
        float32[8]; 0 for a class without samples.
    """
    counts = np.bincount(labels, minlength=len(isic.CLASSES))
    present = counts > 0
    weights = np.zeros(len(counts))
    weights[present] = len(labels) / (present.sum() * counts[present])
    return weights.astype(np.float32)


def _part(table: pd.DataFrame, store: Store, encoder: MetadataEncoder) -> Part:
    images = tuple(str(image) for image in table["image"])
    labels = pd.Index(isic.CLASSES, dtype="str").get_indexer(pd.Index(table["diagnosis"]))
    return Part(
        images=images,
        rows=np.asarray(store.rows(images), dtype=np.int64),
        labels=labels.astype(np.int64),
        metadata=encoder.encode(table),
    )


def _check_known(joined: pd.DataFrame, fold: int) -> None:
    if joined.empty:
        raise InputError(f"splits: no rows for fold {fold}; check splits.folds")
    unknown = joined[~joined["diagnosis"].isin(isic.CLASSES)]
    if len(unknown):
        row = unknown.iloc[0]
        raise InputError(
            f"splits: image {row['image']} has the diagnosis {row['diagnosis']!r}; "
            f"expected one of {', '.join(isic.CLASSES)}"
        )
    missing = joined[joined["source"].isna()]
    if len(missing):
        raise InputError(
            f"splits: image {missing['image'].iloc[0]} is not in the catalogue: "
            "the two are from different runs; make both again (rules catalogue and split)"
        )
