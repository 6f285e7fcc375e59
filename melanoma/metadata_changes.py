"""What metadata are worth to a trained model: its predictions with fields hidden or permuted.

A field that is hidden is given as missing, which the model has met in training
(`training.metadata_dropout`). A field that is permuted keeps its distribution but tells nothing of
the image it stands beside (Breiman 2001, "Random forests").
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from melanoma.errors import InputError
from melanoma.files import atomic
from melanoma.metadata import MetadataEncoder
from melanoma.prediction import VIEWS, check_recipe, pixels_of, reproducible, rows_of, views_of
from melanoma.store import Store
from melanoma.training.checkpoints import TrainedModel

ALL_FIELDS = "all"
AS_IT_IS, HIDDEN, PERMUTED = "as it is", "hidden", "permuted"

PERMUTATIONS = 10
"""Permutations of each field: their mean is given, so that no single draw decides."""


@dataclass(frozen=True)
class Changed:
    """Predictions under changes of the metadata.

    Attributes:
        images: ids [n].
        changes: kind of each change [c], `AS_IT_IS`, `HIDDEN` or `PERMUTED`.
        fields: field of each change [c], one of the model's or `ALL_FIELDS`.
        probabilities: float32 [c, n, classes].
    """

    images: tuple[str, ...]
    changes: tuple[str, ...]
    fields: tuple[str, ...]
    probabilities: npt.NDArray[np.float32]

    def write(self, path: Path) -> None:
        """Write as .npz, atomically."""
        with atomic(path) as partial, partial.open("wb") as stream:
            np.savez(
                stream,
                images=np.array(self.images, dtype=np.str_),
                changes=np.array(self.changes, dtype=np.str_),
                fields=np.array(self.fields, dtype=np.str_),
                probabilities=self.probabilities,
            )

    @classmethod
    def read(cls, path: Path) -> Changed:
        """Read what `write` wrote.

        Raises:
            InputError: no such file, or another one.
        """
        try:
            with np.load(path, allow_pickle=False) as values:
                images, changes, fields = (
                    tuple(str(text) for text in values[name])
                    for name in ("images", "changes", "fields")
                )
                return cls(images, changes, fields, values["probabilities"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(
                f"{path}: not predictions under changed metadata ({error}); run rule "
                "predict_changed again"
            ) from None


def changed_metadata(
    encoder: MetadataEncoder, encoded: npt.NDArray[np.float32], *, seed: int = 0
) -> tuple[list[tuple[str, str]], npt.NDArray[np.float32]]:
    """Every change of a table of encoded metadata.

    Args:
        encoder: that encoded it.
        encoded: float32 [n, width].
        seed: of the permutations.

    Returns:
        (change, field) of each of c changes: as it is; all fields and each hidden; each field
        permuted among the images, `PERMUTATIONS` times; and the changed tables, float32
        [c, n, width]. Equal seeds, fields and n give equal permutations.
    """
    names: list[tuple[str, str]] = [(AS_IT_IS, ALL_FIELDS), (HIDDEN, ALL_FIELDS)]
    blank = np.broadcast_to(encoder.missing_row, encoded.shape)
    tables = [encoded, blank]
    for field, part in encoder.field_slices.items():
        names.append((HIDDEN, field))
        tables.append(encoded.copy())
        tables[-1][:, part] = blank[:, part]
    for field, part in encoder.field_slices.items():
        for number in range(PERMUTATIONS):
            order = np.random.default_rng(_seed(seed, field, number)).permutation(len(encoded))
            names.append((PERMUTED, field))
            tables.append(encoded.copy())
            tables[-1][:, part] = encoded[order, part]
    return names, np.stack(tables)


def _seed(seed: int, field: str, number: int) -> int:
    digest = hashlib.sha256(f"{seed}\0{field}\0{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def predict_changed(
    model: TrainedModel,
    store: Store,
    catalogue: pd.DataFrame,
    images: Sequence[str],
    *,
    tta: bool = False,
    batch_size: int = 64,
) -> Changed:
    """Predict images of a store under every change of their metadata.

    The backbone sees each image (or each of its views) once, whatever the number of changes.

    Args:
        model: as loaded from a checkpoint; must use metadata.
        store: must be made by the recipe that the model was trained on.
        catalogue: columns image, age, sex, site; has a row for each of `images`.
        images: ids, in the order wanted.
        tta: average the probabilities over the eight flips and quarter turns.
        batch_size: images at a time; changes results by no more than rounding.

    Raises:
        InputError: a model without metadata, an image without a row in the catalogue or the
            store, or a store of another recipe.
    """
    if not model.experiment.model.metadata:
        raise InputError(f"{model.path}: uses no metadata that could be changed")
    check_recipe(model, store)
    network = model.model
    device = next(network.parameters()).device
    encoded = np.asarray(model.encoder.encode(rows_of(catalogue, images)))
    names, tables = changed_metadata(model.encoder, encoded)
    rows = np.asarray(store.rows(images), dtype=np.int64)
    found = np.empty((len(names), len(images), len(model.classes)), np.float32)
    with torch.inference_mode(), reproducible():
        for start in range(0, len(images), batch_size):
            chosen = slice(start, start + batch_size)
            pixels = pixels_of(model, store, rows[chosen])
            views = views_of(pixels, device, VIEWS if tta else 1)
            features = [None if v is None else network.backbone(v) for v in views]  # type: ignore[misc]
            for number, table in enumerate(tables):
                known = torch.from_numpy(np.ascontiguousarray(table[chosen])).to(device)
                found[number, chosen] = _mean_softmax(model, features, known)
    changes, fields = zip(*names, strict=True)
    return Changed(tuple(images), changes, fields, found)


def _mean_softmax(
    model: TrainedModel, features: Sequence[Tensor | None], metadata: Tensor
) -> npt.NDArray[np.float32]:
    """Softmax averaged over the views, float32 [n, classes]."""
    logits = torch.stack([model.model.classify(view, metadata).double() for view in features])
    probabilities: npt.NDArray[np.float32] = (
        torch.softmax(logits, dim=2).mean(dim=0).float().cpu().numpy()
    )
    return probabilities
