"""Prediction on image files: the pipeline's own preprocessing, models and decisions.

The pixels come from `melanoma.images.prepare` with the settings that the checkpoint carries, the
metadata from the encoder that it carries, the probabilities from `melanoma.prediction`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma import config, isic
from melanoma.colour import why_ignored
from melanoma.errors import InputError
from melanoma.evaluation.tables import BY_OTHER_SET
from melanoma.explain.selection import CALIBRATED
from melanoma.image_names import as_file_names
from melanoma.images import prepare
from melanoma.inference_input import describe_files, find_images
from melanoma.inference_models import THRESHOLD, Ensemble, load_ensemble
from melanoma.isic import METADATA_FIELDS
from melanoma.jpeg import read_file, read_header
from melanoma.prediction import predict_store
from melanoma.progress import Progress
from melanoma.training.checkpoints import TrainedModel

if TYPE_CHECKING:
    from melanoma.store import Store

log = logging.getLogger(__name__)

YES, NO = "yes", "no"
"""Whether the calibrated probability of melanoma reaches the operating point's threshold."""
UNCALIBRATED = "uncalibrated"
UNDECIDED = "undecided"
"""Words instead of a decision: no decision.json; one without operating points."""

COLUMNS = (
    "image",
    "file",
    "predicted",
    "melanoma",
    "operating_point",
    THRESHOLD,
    BY_OTHER_SET,
    *METADATA_FIELDS,
    *isic.CLASSES,
    *(CALIBRATED.format(name) for name in isic.CLASSES),
    "error",
)
"""Columns of a table of predictions."""

_BATCH = 16
"""Files read and predicted at a time: bounds memory whatever the folder."""


_Recipe = tuple[int, config.Framing, config.HairRemoval]
"""Size, framing and hair removal: what pixels depend on."""


@dataclass(frozen=True)
class _Pixels:
    """Images in memory, as `predict_store` wants a store: by the number of the row."""

    pixels: NDArray[np.uint8]

    def rows(self, images: Sequence[str]) -> NDArray[np.int64]:
        return np.array([int(image) for image in images], dtype=np.int64)


def predict_files(
    paths: Sequence[Path],
    models: Sequence[Path] | Ensemble,
    *,
    metadata: pd.DataFrame | Mapping[str, Any] | None = None,
    device: str = "cpu",
    operating_point: str | None = None,
    tta: bool | None = None,
    gradcam_folder: Path | None = None,
    method: str = "gradcam",
) -> pd.DataFrame:
    """Predict JPEG files with one model or the mean of several.

    Args:
        paths: JPEG files, and folders that are searched with all they hold.
        models: checkpoints, or the folder of an experiment's predictions: see
            `inference_models.load_ensemble`; or what that gave.
        metadata: a table as from `inference_input.read_metadata`, or one mapping of age, sex and
            site for all images; what is not given is missing.
        device: where to compute, as torch names it.
        operating_point: which of decision.json's; None for its default.
        tta: average over eight flips and quarter turns; None for what the decision was fitted with.
        gradcam_folder: gets one picture with heat maps per image, by the first model.
        method: of the heat maps.

    Returns:
        One row per file, columns `COLUMNS`: image (as from `inference_input.describe_files`),
        file, predicted (largest raw probability), melanoma ("yes" or "no" by the calibrated
        probability at the operating point, else "uncalibrated" or "undecided"), operating_point,
        threshold, without_metadata ("yes" where nothing of the metadata that the model uses is
        known, so that calibration and threshold are those for such images, else "no"), the
        metadata used, raw and calibrated probabilities (NaN
        where there are none), error ("" or why the file could not be predicted).

    Raises:
        InputError: no image at all, a checkpoint that cannot be used, an operating point that
            there is not, metadata of an unknown category, or that name several images at once.
    """
    described = describe_files(find_images(paths), paths, metadata)
    ensemble = models if isinstance(models, Ensemble) else load_ensemble(models, device)
    point = ensemble.point(operating_point)
    _warn_of_other_views(ensemble, tta)
    names = dict(zip(described["file"], as_file_names(described["image"].tolist()), strict=True))
    parts = []
    progress = Progress("predicting")
    for start in range(0, len(described), _BATCH):
        table = _with_results(described[start : start + _BATCH])
        read = _read_files(table, ensemble.models)
        _predict_batch(table, ensemble, read, point, device=device, tta=tta)
        if gradcam_folder is not None:
            _draw_maps(table, ensemble.models[0], read, names, gradcam_folder, method=method)
        parts.append(table)
        if _good(table):
            progress.tell(start + len(table), len(described))
    result = pd.concat(parts, ignore_index=True)
    good = result[result["error"] == ""]
    if gradcam_folder is not None and len(good):
        log.info("heat maps are in %s", gradcam_folder)
    if len(good):
        _tell_of_metadata(ensemble.models, good)
    return _decide(result, point)[list(COLUMNS)]


def _warn_of_other_views(ensemble: Ensemble, tta: bool | None) -> None:
    """Say that temperatures and thresholds are those of other probabilities."""
    others = [one for one in ensemble.decisions if tta is not None and one.values["tta"] != tta]
    if others:
        log.warning(
            "%s was fitted %s test-time augmentation and is applied %s it: its thresholds reach "
            "other sensitivities here",
            others[0].file,
            "without" if tta else "with",
            "with" if tta else "without",
        )


def _tell_of_metadata(models: Sequence[TrainedModel], good: pd.DataFrame) -> None:
    """Say once what of the metadata no model uses, and what it never learnt to do without."""
    using = [model for model in models if model.experiment.model.metadata]
    used = {field for model in using for field in model.encoder.fields}
    none = good["age"].isna().all() and (good[["sex", "site"]] == "").all(axis=None)
    if used and none:
        log.info("no metadata given: %s count as missing", ", ".join(sorted(used)))
    ignored = sorted({told for model in using for told in model.encoder.ignored(good)})
    if ignored:
        log.warning("not in the training data, so taken as missing: %s", ", ".join(ignored))
    gaps = sorted({field for model in using for field in _unlearnt_gaps(model, good)})
    if gaps:
        log.warning(
            "%s: missing here but never in the training data, and training.metadata_dropout was "
            "0: predictions without it are arbitrary",
            ", ".join(gaps),
        )


def _unlearnt_gaps(model: TrainedModel, good: pd.DataFrame) -> list[str]:
    """Fields that are missing here, and that nothing has taught the model to do without."""
    training = model.experiment.training
    if training.metadata_dropout:
        return []
    if training.metadata_dropout_all:
        # It has met rows without any metadata, but none that lack a part.
        good = good[model.encoder.known_fields(model.encoder.encode(good)) > 0]
    return model.encoder.unlearnt_gaps(good)


def _with_results(described: pd.DataFrame) -> pd.DataFrame:
    """Rows of files with every column of the results, still empty; index 0, 1, ..."""
    table = described.reset_index(drop=True)
    for column in COLUMNS:
        if column not in table:
            number = column in (*isic.CLASSES, THRESHOLD) or column.endswith("_calibrated")
            table[column] = np.nan if number else ""
    return table


def _recipe(model: TrainedModel) -> _Recipe:
    settings = model.experiment.images
    return settings.size, settings.framing, settings.hair_removal


def _read_files(
    table: pd.DataFrame, models: Sequence[TrainedModel]
) -> dict[_Recipe, NDArray[np.uint8]]:
    """Pixels of every file by recipe; a file that cannot be read is black, its row has an error."""
    recipes = list(dict.fromkeys(_recipe(model) for model in models))
    read = {r: np.zeros((len(table), r[0], r[0], 3), np.uint8) for r in recipes}
    for number, file in enumerate(table["file"]):
        try:
            data = read_file(file)
            for size, framing, hair_removal in recipes:
                read[size, framing, hair_removal][number] = prepare(
                    data, size=size, framing=framing, hair_removal=hair_removal
                )
            if why := why_ignored(read_header(data)):
                log.warning("%s: %s: its pixels are taken as sRGB", file, why)
        except (InputError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            table.loc[number, "error"] = reason or type(error).__name__
            log.error("%s: %s", file, reason)
    return read


def _good(table: pd.DataFrame) -> list[int]:
    return [int(str(number)) for number in table.index[table["error"] == ""]]


def _predict_batch(
    table: pd.DataFrame,
    ensemble: Ensemble,
    read: Mapping[_Recipe, NDArray[np.uint8]],
    point: str,
    *,
    device: str,
    tta: bool | None,
) -> None:
    """Fill in the probabilities, raw and, where all models can, calibrated; and the thresholds."""
    good = _good(table)
    if not good:
        return
    rows = table.loc[good, list(METADATA_FIELDS)].reset_index(drop=True)
    rows.insert(0, "image", [str(number) for number in range(len(good))])
    tables = [
        predict_store(
            model,
            cast("Store", _Pixels(read[_recipe(model)][good])),
            rows,
            list(rows["image"]),
            device=device,
            tta=ensemble.views(place, tta),
        )
        for place, model in enumerate(ensemble.models)
    ]
    found = ensemble.decide(tables, point)
    raw = found[list(isic.CLASSES)].to_numpy(float)
    other = found.pop(BY_OTHER_SET).to_numpy(bool)
    table.loc[good, list(found)] = found.to_numpy(float)
    table.loc[good, BY_OTHER_SET] = np.where(other, YES, NO)
    table.loc[good, "predicted"] = np.asarray(isic.CLASSES)[raw.argmax(axis=1)]


def _decide(table: pd.DataFrame, point: str) -> pd.DataFrame:
    """Fill in the melanoma decision."""
    probability = table[CALIBRATED.format(isic.MELANOMA)]
    table["operating_point"] = point
    table["melanoma"] = np.where(probability >= table[THRESHOLD], YES, NO)
    if not point:
        table["melanoma"] = np.where(probability.isna(), UNCALIBRATED, UNDECIDED)
    table.loc[table["error"] != "", "melanoma"] = ""
    return table


def _draw_maps(
    table: pd.DataFrame,
    model: TrainedModel,
    read: Mapping[_Recipe, NDArray[np.uint8]],
    names: Mapping[str, str],
    folder: Path,
    *,
    method: str,
) -> None:
    """One picture with heat maps per file."""
    from melanoma import drawing
    from melanoma.explain import scale
    from melanoma.explain.cam import compute_maps
    from melanoma.explain.panels import Example, draw_panel

    good = _good(table)
    rows = table.loc[good]
    pixels = read[_recipe(model)][good]
    fields = model.encoder.encode(rows) if model.experiment.model.metadata else None
    targets = [model.classes.index(name) for name in rows["predicted"]]
    melanoma = [model.classes.index(isic.MELANOMA)] * len(good)
    maps = compute_maps(model.model, pixels, fields, targets, method=method)
    others = compute_maps(model.model, pixels, fields, melanoma, method=method, layer=maps.layer)
    common = np.maximum(maps.maxima, others.maxima)
    heat, melanoma_heat = scale.dimmed(maps, common), scale.dimmed(others, common)
    for place, told in enumerate(_told(rows)):
        told |= {
            "heat_maximum": maps.maxima[place],
            "melanoma_heat_maximum": others.maxima[place],
            "grid": maps.layer.grid,
        }
        example = Example(told, pixels[place], heat[place], melanoma_heat[place])
        panel = draw_panel(example, scale=scale.OF_A_PAIR)
        drawing.write_png(folder / f"{names[told['file']]}.png", panel)


def _told(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for row in rows.to_dict("records"):
        told: dict[str, Any] = {str(key): value for key, value in row.items()}
        yield told | {
            "diagnosis": "",
            "correct": False,
            "probability": told[told["predicted"]],
            "melanoma_probability": told[CALIBRATED.format(isic.MELANOMA)],
        }
