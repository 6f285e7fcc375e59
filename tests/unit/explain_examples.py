"""What the tests of the explanations share: a tiny model, its images, its catalogue."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch

from melanoma import config, isic
from melanoma.evaluation.calibration import fit_decision
from melanoma.metadata import MetadataEncoder
from melanoma.model import FusionModel
from melanoma.prediction_columns import WITHOUT_METADATA
from melanoma.training import checkpoints

SIDE = 64


def catalogue(count: int = 24) -> pd.DataFrame:
    diagnoses = [isic.CLASSES[i % 8] for i in range(count)]
    table = pd.DataFrame(
        {
            "image": [f"ISIC_{i:07d}" for i in range(count)],
            "lesion_id": [f"HAM_{i // 2:07d}" for i in range(count)],
            "group": [f"HAM_{i // 2:07d}" for i in range(count)],
            "diagnosis": diagnoses,
            "age": [np.nan if i % 5 == 0 else 20.0 + i for i in range(count)],
            "sex": ["" if i % 7 == 0 else isic.SEXES[i % 2] for i in range(count)],
            "site": ["" if i % 6 == 0 else isic.SITES[i % 8] for i in range(count)],
            "source": "HAM",
        }
    )
    return table.astype(dict.fromkeys(("lesion_id", "group", "sex", "site"), "str"))


def probabilities(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    values = rng.dirichlet(np.ones(8), len(table))
    values[::2] = (values + 3 * np.eye(8)[[isic.CLASSES.index(d) for d in table["diagnosis"]]])[::2]
    values /= values.sum(axis=1, keepdims=True)
    frame = pd.DataFrame(values, columns=list(isic.CLASSES))
    frame.insert(0, "image", table["image"].to_numpy())
    return frame


def pixels(count: int, side: int = SIDE) -> np.ndarray:
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, side // 8, axis=1), side // 8, axis=2)


def store(table: pd.DataFrame, side: int = SIDE) -> SimpleNamespace:
    images = list(table["image"])
    return SimpleNamespace(
        pixels=pixels(len(images), side),
        rows=lambda wanted: np.array([images.index(one) for one in wanted], dtype=np.int64),
    )


def fusion_model(
    *,
    image: bool = True,
    metadata: bool = True,
    backbone: str = "resnet18",
    trained_on: pd.DataFrame | None = None,
):
    settings = config.Model(backbone=backbone, pretrained=False, image=image, metadata=metadata)
    rows = catalogue() if trained_on is None else trained_on
    encoder = MetadataEncoder.fit(rows, settings.metadata_fields)
    torch.manual_seed(0)
    model = FusionModel(settings, encoder.width).eval()
    return settings, encoder, model


def decision(seed: int = 0, **more: Any) -> dict[str, Any]:
    """A decision with points, as for a model that uses metadata."""
    table = catalogue(160)
    counts = dict.fromkeys(isic.CLASSES, 5) | {"NV": 40}
    raw = probabilities(table, seed)
    hidden = probabilities(table, seed + 100)[list(isic.CLASSES)]
    hidden.columns = list(WITHOUT_METADATA)
    told = raw.join(hidden)
    found = fit_decision(told, list(table["diagnosis"]), counts, "weighted")
    return found | more


def checkpoint(
    path: Path,
    *,
    size: int = SIDE,
    seed: int = 0,
    metadata_dropout: float = 0.1,
    metadata_dropout_all: float = 0.1,
    **inputs: Any,
) -> Path:
    settings, encoder, model = fusion_model(**inputs)
    torch.manual_seed(seed)
    for parameter in model.classifier[-1].parameters():
        torch.nn.init.normal_(parameter)
    experiment = config.Experiment(
        name="fusion",
        images=config.Images(hair_removal="none", size=size),
        model=settings,
        training=config.Training(
            metadata_dropout=metadata_dropout, metadata_dropout_all=metadata_dropout_all
        ),
    )
    provenance = checkpoints.Provenance(
        experiment, encoder, isic.CLASSES, {"size": size, "code": "abc"}, 0, "abc"
    )
    values = checkpoints.contents(provenance, model.state_dict(), epoch=3, metrics={})
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoints.save(path, values)
    return path
