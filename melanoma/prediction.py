"""Raw probabilities of a trained model for images of a store, the same whatever the batch size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from melanoma.errors import InputError
from melanoma.model import FusionModel, to_input
from melanoma.prediction_columns import KNOWN_FIELDS, WITHOUT_METADATA
from melanoma.splits import read_splits
from melanoma.store import Store
from melanoma.training.checkpoints import TrainedModel

VIEWS = 8
"""The flips and quarter turns of a square."""


def predict_store(
    model: TrainedModel,
    store: Store,
    catalogue: pd.DataFrame,
    images: Sequence[str],
    *,
    device: torch.device | str | None = None,
    tta: bool = False,
    batch_size: int = 64,
) -> pd.DataFrame:
    """Predict images of a store.

    Args:
        model: as loaded from a checkpoint.
        store: must be made by the recipe that the model was trained on.
        catalogue: columns image, age, sex, site; has a row for each of `images`.
        images: ids, in the order wanted.
        device: where to compute; None for where the model is.
        tta: average the probabilities over the eight flips and quarter turns.
        batch_size: images at a time; changes results by no more than rounding.

    Returns:
        image, one column of softmax per class in the model's order, energy (minus the logsumexp of
        the logits of the image as it is) and, of a model that uses metadata, `KNOWN_FIELDS` and
        `WITHOUT_METADATA`.

    Raises:
        InputError: an image without a row in the catalogue or the store, or a store of another
            recipe.
    """
    check_recipe(model, store)
    target = next(model.model.parameters()).device if device is None else torch.device(device)
    network = model.model.to(target).eval()
    metadata = model.encoder.encode(rows_of(catalogue, images))
    blank = torch.from_numpy(model.encoder.missing_row).to(target)
    hides = model.experiment.model.metadata
    rows = np.asarray(store.rows(images), dtype=np.int64)
    probabilities, energies = [], []
    with torch.inference_mode(), reproducible():
        for start in range(0, len(images), batch_size):
            chosen = slice(start, start + batch_size)
            pixels = pixels_of(model, store, rows[chosen])
            known = torch.from_numpy(metadata[chosen]).to(target)
            told = [known, blank.expand_as(known)] if hides else [known]
            views = views_of(pixels, target) if tta else views_of(pixels, target, count=1)
            logits = torch.stack([_logits(network, view, told) for view in views])
            means = torch.softmax(logits, dim=3).mean(dim=0)
            probabilities.append(torch.cat([*means], dim=1).cpu().numpy())
            energies.append(-torch.logsumexp(logits[0, 0], dim=1).cpu().numpy())
    table = _table(model, images, probabilities, energies)
    return table.assign(**{KNOWN_FIELDS: model.encoder.known_fields(metadata)}) if hides else table


def _logits(network: FusionModel, view: Tensor | None, told: Sequence[Tensor]) -> Tensor:
    """Logits of a view under each table of metadata: float64 [tables, n, classes].

    The backbone sees the view once.
    """
    features = None if network.backbone is None else network.backbone(view)
    return torch.stack([network.classify(features, known).double() for known in told])


def subset_images(subset: str, catalogue: pd.DataFrame, splits: Path | str, fold: int) -> list[str]:
    """The images of a subset, sorted.

    Args:
        subset: "val" or "test" of a fold, or "official": every image of the official test set.
        catalogue: of the set that the subset is of.
        splits: the assignment (.csv); not read for "official".
        fold: number of the fold.

    Raises:
        InputError: an unknown subset, or an empty one.
    """
    if subset == "official":
        return sorted(str(image) for image in catalogue["image"])
    if subset not in ("val", "test"):
        raise InputError(f"no subset {subset!r}; expected val, test or official")
    table = read_splits(splits)
    images = table.loc[(table["fold"] == fold) & (table["split"] == subset), "image"]
    if images.empty:
        raise InputError(
            f"{splits}: fold {fold} has no {subset} images; check splits.folds and "
            f"splits.{subset}_fraction"
        )
    return sorted(str(image) for image in images)


def _table(
    model: TrainedModel,
    images: Sequence[str],
    probabilities: list[npt.NDArray[np.float64]],
    energies: list[npt.NDArray[np.float64]],
) -> pd.DataFrame:
    names = list(model.classes)
    names += WITHOUT_METADATA if model.experiment.model.metadata else ()
    columns = np.concatenate([np.zeros((0, len(names))), *probabilities])
    table = pd.DataFrame(columns, columns=names)
    table.insert(0, "image", pd.Series(list(images), dtype="str"))
    table.insert(1 + len(model.classes), "energy", np.concatenate([np.zeros(0), *energies]))
    return table


def check_recipe(model: TrainedModel, store: Store) -> None:
    """Make sure that a store is of the recipe that a model was trained on.

    Raises:
        InputError: it is of another size, framing or hair removal.
    """
    settings = model.experiment.images
    size = store.pixels.shape[1]
    # Images that are not from a store, but made for this model, have no recipe.
    found = getattr(store, "recipe", {}).get("recipe", settings.recipe)
    if model.model.backbone is not None and (size, found) != (settings.size, settings.recipe):
        raise InputError(
            f"{model.path}: trained on images of {settings.size} px ({settings.recipe}), "
            f"but the store has {size} px ({found}); use the store of the recipe {settings.recipe}"
        )


def rows_of(catalogue: pd.DataFrame, images: Sequence[str]) -> pd.DataFrame:
    """Rows of a catalogue, in the order asked for.

    Raises:
        InputError: an image that it does not have.
    """
    positions = pd.Index(catalogue["image"]).get_indexer(pd.Index(list(images), dtype="str"))
    if (positions < 0).any():
        image = images[int(np.argmax(positions < 0))]
        raise InputError(
            f"image {image} is not in the catalogue: the two are from different runs; "
            "make both again (rule catalogue)"
        )
    rows: pd.DataFrame = catalogue.iloc[positions]
    return rows


def pixels_of(model: TrainedModel, store: Store, rows: npt.NDArray[np.int64]) -> Tensor | None:
    """Pixels of some rows, uint8[n, s, s, 3]; None for a model without images."""
    if model.model.backbone is None:
        return None
    return torch.from_numpy(np.ascontiguousarray(store.pixels[rows]))


def views_of(
    pixels: Tensor | None, device: torch.device, count: int = VIEWS
) -> Iterator[Tensor | None]:
    """The image as it is, then its other flips and quarter turns, as the backbone wants them."""
    if pixels is None:
        yield None
        return
    images = to_input(pixels.to(device))
    for number in range(count):
        turned = torch.rot90(images, number % 4, dims=(2, 3))
        yield torch.flip(turned, dims=(3,)) if number >= 4 else turned


@contextmanager
def reproducible() -> Iterator[None]:
    """On a GPU: full float32, and the same algorithms whatever ran before."""
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)
