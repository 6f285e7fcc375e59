"""Checkpoints of trained models: plain dictionaries of tensors and primitives, nothing to execute.

They load with `torch.load(weights_only=True)`, so that a file from elsewhere cannot run code. They
are zips, whose members carry checksums; torch skips these, so they are verified here.
"""

from __future__ import annotations

import errno
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from melanoma import config, isic
from melanoma.errors import InputError
from melanoma.files import atomic
from melanoma.metadata import MetadataEncoder
from melanoma.model import FusionModel

FORMAT = "melanoma-checkpoint"
VERSION = 1

_MISFITS = (LookupError, RuntimeError, TypeError, AttributeError, ValueError)
"""What contents of another kind than expected end in."""


class _Rest(BaseModel):
    """The plain values of a checkpoint."""

    model_config = ConfigDict(strict=True)

    classes: tuple[str, ...] = Field(strict=False)
    recipe: dict[str, Any]
    epoch: int
    metrics: dict[str, float]
    fold: int

    @field_validator("classes")
    @classmethod
    def _known(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if classes != isic.CLASSES:
            raise ValueError(f"expected {isic.CLASSES}")
        return classes


@dataclass(frozen=True)
class Provenance:
    """What a checkpoint says about where its weights come from; the same in every epoch.

    Attributes:
        experiment: all settings of the experiment.
        encoder: fitted on the fold's training rows.
        classes: names of the logits, in order.
        recipe: what made the images, the store's sha256 included; plain JSON values.
        fold: number of the fold.
        code: version of the training code.
    """

    experiment: config.Experiment
    encoder: MetadataEncoder
    classes: tuple[str, ...]
    recipe: dict[str, Any]
    fold: int
    code: str


@dataclass(frozen=True)
class TrainedModel:
    """A model as loaded from a checkpoint, ready to predict.

    Attributes:
        model: in eval mode, on the device asked for.
        encoder: the metadata encoder that it was trained with.
        experiment: all settings of its experiment.
        classes: names of the logits, in order.
        recipe: what made the images that it was trained on, the store's sha256 included.
        epoch: the epoch that the weights are from, counted from 0.
        path: the checkpoint's file.
        metrics: validation figures of that epoch.
        fold: number of the fold that it was trained on.
    """

    model: FusionModel
    encoder: MetadataEncoder
    experiment: config.Experiment
    classes: tuple[str, ...]
    recipe: dict[str, Any]
    epoch: int
    path: Path
    metrics: dict[str, float]
    fold: int


def contents(
    provenance: Provenance,
    state_dict: Mapping[str, Tensor],
    *,
    epoch: int,
    metrics: Mapping[str, float],
) -> dict[str, Any]:
    """A checkpoint's contents.

    Args:
        provenance: where the weights come from.
        state_dict: of a `FusionModel`, on any device.
        epoch: counted from 0.
        metrics: validation figures of that epoch.

    Returns:
        A dictionary of CPU tensors and primitives.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "state_dict": {key: value.detach().cpu() for key, value in state_dict.items()},
        "experiment": provenance.experiment.model_dump_json(),
        "encoder": provenance.encoder.to_dict(),
        "classes": list(provenance.classes),
        "recipe": dict(provenance.recipe),
        "fold": provenance.fold,
        "code": provenance.code,
        "epoch": int(epoch),
        "metrics": {key: float(value) for key, value in metrics.items()},
    }


def save(path: Path, values: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically."""
    # To a stream: of a path that cannot be written torch does not say why.
    with atomic(path) as partial, partial.open("wb") as stream:
        torch.save(dict(values), stream)


def load(path: Path) -> Any:
    """What a file written by `torch.save` holds: tensors on the CPU and primitives, no code.

    Args:
        path: the file; every byte of it is read, but tensors stay mapped until they are used.

    Raises:
        ValueError: says in one line why it is no such file, or that a checksum is wrong.
        OSError: the disk failed to read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is None:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # which a damaged offset gives
            raise
        raise ValueError(f"truncated or damaged: {error}") from None
    except Exception as error:  # zipfile and torch raise many kinds for a broken file
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"truncated or no checkpoint: {reason}") from None
    raise ValueError(f"its part {damaged!r} has changed since it was written")


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint's contents, without building the model.

    Raises:
        InputError: no such file, truncated, changed or foreign file, or one of another version.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name the model.ckpt in it")
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint; train first (rule train)")
    try:
        values: Any = load(path)
    except ValueError as error:
        raise InputError(
            f"{path}: cannot be read as a checkpoint ({error}); name a model.ckpt, or if it "
            "was one, remove it and train again"
        ) from None
    # A tensor in the place of a plain value would have no truth value.
    kind, version = (
        (values.get("format"), values.get("version")) if isinstance(values, dict) else (None, None)
    )
    if not isinstance(kind, str) or kind != FORMAT:
        raise InputError(f"{path}: is no checkpoint of this pipeline; give a model.ckpt of its own")
    if not isinstance(version, int) or version != VERSION:
        raise InputError(
            f"{path}: has format version {version!r:.50}, this code reads {VERSION}; "
            "train again, or use the version of the code that wrote it"
        )
    contained: dict[str, Any] = values
    return contained


def _experiment_of(text: str) -> config.Experiment:
    """The experiment that a checkpoint describes."""
    settings = json.loads(text)
    # Of before there was the key: nothing taught that model to do without any metadata.
    settings["training"].setdefault("metadata_dropout_all", 0.0)
    return config.Experiment.model_validate(settings)


def load_model(path: Path | str, device: str | torch.device = "cpu") -> TrainedModel:
    """Load a trained model.

    Args:
        path: a model.ckpt or last.ckpt.
        device: where the model shall be.

    Returns:
        The model in eval mode, with everything needed to feed it.

    Raises:
        InputError: as `read`, or contents that do not fit this version of the code.
    """
    path = Path(path)
    values = read(path)
    try:
        experiment = _experiment_of(values["experiment"])
        encoder = MetadataEncoder.from_dict(values["encoder"])
        model = FusionModel(experiment.model, encoder.width, len(values["classes"]))
        model.load_state_dict(values["state_dict"], strict=True)
        rest = _Rest.model_validate(values)
    except (*_MISFITS, InputError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"{path}: does not fit this version of the code ({reason}); "
            "train again, or use the version of the code that wrote it"
        ) from None
    return TrainedModel(
        model=model.to(device).eval(),
        encoder=encoder,
        experiment=experiment,
        classes=rest.classes,
        recipe=rest.recipe,
        epoch=rest.epoch,
        path=path,
        metrics=rest.metrics,
        fold=rest.fold,
    )
