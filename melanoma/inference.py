"""Prediction on image files: the pipeline's own preprocessing, models and decisions.

The pixels come from `melanoma.images.prepare` with the settings that the checkpoint carries, the
metadata from the encoder that it carries, the probabilities from `melanoma.prediction`.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma import config, isic
from melanoma.errors import InputError
from melanoma.evaluation.calibration import apply_decision
from melanoma.evaluation.decision_file import read_decision
from melanoma.explain.selection import CALIBRATED
from melanoma.images import prepare
from melanoma.inference_input import check_images, find_images, why_wrong
from melanoma.isic import METADATA_FIELDS
from melanoma.jpeg import read_file
from melanoma.prediction import predict_store
from melanoma.progress import Progress
from melanoma.training.checkpoints import TrainedModel, load_model
from melanoma.wording import counted

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
    "threshold",
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
class _Member:
    """One model of the ensemble with its decision, None where it has none."""

    model: TrainedModel
    decision: Mapping[str, Any] | None

    @property
    def fitted_with_tta(self) -> bool:
        return self.decision is not None and bool(self.decision["tta"])


@dataclass(frozen=True)
class _Pixels:
    """Images in memory, as `predict_store` wants a store: by the number of the row."""

    pixels: NDArray[np.uint8]

    def rows(self, images: Sequence[str]) -> NDArray[np.int64]:
        return np.array([int(image) for image in images], dtype=np.int64)


def predict_files(
    paths: Sequence[Path],
    models: Sequence[Path],
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
        models: checkpoints; decision.json is looked for beside each.
        metadata: a table with a column image (file name without suffix), as from
            `inference_input.read_metadata`,
            or one mapping of age, sex and site for all images; what is not given is missing.
        device: where to compute, as torch names it.
        operating_point: which of decision.json's; None for its default.
        tta: average over eight flips and quarter turns; None for what each model's decision was
            fitted with.
        gradcam_folder: gets one picture with heat maps per image, by the first model.
        method: of the heat maps.

    Returns:
        One row per file, columns `COLUMNS`: image, file, predicted (largest raw probability),
        melanoma ("yes" or "no" by the calibrated probability at the operating point, else
        "uncalibrated" or "undecided"), operating_point, threshold (the members' mean), the
        metadata used, raw and calibrated probabilities (NaN where there are none), error ("" or
        why the file could not be predicted).

    Raises:
        InputError: no image at all, a checkpoint that cannot be used, an operating point that
            there is not, or metadata of an unknown category.
    """
    found = find_images(paths)
    if isinstance(metadata, pd.DataFrame):
        check_images(metadata, [path.stem for path in found])
    members = _load(models, device)
    point, threshold = _threshold(members, operating_point)
    _warn_of_other_views(members, tta)
    names = _picture_names(found)
    parts = []
    progress = Progress("predicting")
    for start in range(0, len(found), _BATCH):
        table = _table_of(found[start : start + _BATCH], metadata)
        read = _read_files(table, members)
        _predict_batch(table, members, read, device=device, tta=tta)
        if gradcam_folder is not None:
            _draw_maps(table, members[0].model, read, names, gradcam_folder, method=method)
        parts.append(table)
        if _good(table):
            progress.tell(start + len(table), len(found))
    result = pd.concat(parts, ignore_index=True)
    good = result[result["error"] == ""]
    if gradcam_folder is not None and len(good):
        log.info("heat maps are in %s", gradcam_folder)
    if len(good):
        _tell_of_metadata(members, good)
    return _decide(result, point, threshold)[list(COLUMNS)]


def _load(models: Sequence[Path], device: str) -> list[_Member]:
    members = []
    for path in models:
        model = load_model(path, device)
        decision = Path(path).parent / "decision.json"
        known = read_decision(decision) if decision.is_file() else None
        if known is None:
            log.warning("%s: none beside the checkpoint: uncalibrated", decision)
        members.append(_Member(model, known))
    if not members:
        raise InputError("no model: name a checkpoint (results/training/…/model.ckpt)")
    return members


def _warn_of_other_views(members: Sequence[_Member], tta: bool | None) -> None:
    """Say that temperatures and thresholds are those of other probabilities."""
    decided = [member for member in members if member.decision is not None]
    others = [member for member in decided if tta is not None and member.fitted_with_tta != tta]
    if others:
        log.warning(
            "%s was fitted %s test-time augmentation and is applied %s it: its thresholds reach "
            "other sensitivities here",
            others[0].model.path.parent / "decision.json",
            "without" if tta else "with",
            "with" if tta else "without",
        )


def _tell_of_metadata(members: Sequence[_Member], good: pd.DataFrame) -> None:
    """Say once what of the metadata no model uses, and what it never learnt to do without."""
    using = [member.model for member in members if member.model.experiment.model.metadata]
    used = {field for model in using for field in model.encoder.fields}
    none = good["age"].isna().all() and (good[["sex", "site"]] == "").all(axis=None)
    if used and none:
        log.info("no metadata given: %s count as missing", ", ".join(sorted(used)))
    ignored = sorted({told for model in using for told in model.encoder.ignored(good)})
    if ignored:
        log.warning("not in the training data, so taken as missing: %s", ", ".join(ignored))
    gaps = sorted(
        {
            field
            for model in using
            if not model.experiment.training.metadata_dropout
            for field in model.encoder.unlearnt_gaps(good)
        }
    )
    if gaps:
        log.warning(
            "%s: missing here but never in the training data, and training.metadata_dropout was "
            "0: predictions without it are arbitrary",
            ", ".join(gaps),
        )


def _threshold(members: Sequence[_Member], wanted: str | None) -> tuple[str, float]:
    """Name of the operating point and its threshold; "" and NaN where there is none."""
    if any(member.decision is None for member in members):
        return "", float("nan")
    name = wanted or str(cast(Mapping[str, Any], members[0].decision)["default"] or "")
    if not name:
        return "", float("nan")
    thresholds = []
    for member in members:
        points = cast(Mapping[str, Any], member.decision)["operating_points"]
        if name not in points:
            raise InputError(
                f"{member.model.path.parent / 'decision.json'}: no operating point {name!r}; "
                f"known: {', '.join(points) or 'none'}"
            )
        thresholds.append(float(points[name]["threshold"]))
    return name, float(np.mean(thresholds))


def _table_of(
    found: Sequence[Path], metadata: pd.DataFrame | Mapping[str, Any] | None
) -> pd.DataFrame:
    """A row per file with its metadata; index 0, 1, ..."""
    table = pd.DataFrame({"image": [path.stem for path in found]}, dtype="str")
    table["file"] = pd.Series([str(path) for path in found], dtype="str")
    if isinstance(metadata, pd.DataFrame):
        table = table.merge(
            metadata[["image", *METADATA_FIELDS]], "left", on="image", validate="m:1"
        )
        unknown = sorted(set(table["image"]) - set(metadata["image"]))
        if unknown:
            log.warning("no metadata for %s, e.g. %s", counted(len(unknown), "image"), unknown[0])
    else:
        given = dict(metadata or {})
        for field in METADATA_FIELDS:
            table[field] = given.get(field)
            message = why_wrong(field, "" if given.get(field) is None else str(given[field]))
            if message:
                raise InputError(f"{field} {given[field]!r}: {message}")
    table["age"] = table["age"].astype("float64")
    for field in ("sex", "site"):
        table[field] = table[field].fillna("").astype("str")
    for column in COLUMNS:
        if column not in table:
            number = column in isic.CLASSES or column.endswith("_calibrated")
            table[column] = np.nan if number else ""
    return table


def _recipe(model: TrainedModel) -> _Recipe:
    settings = model.experiment.images
    return settings.size, settings.framing, settings.hair_removal


def _read_files(
    table: pd.DataFrame, members: Sequence[_Member]
) -> dict[_Recipe, NDArray[np.uint8]]:
    """Pixels of every file by recipe; a file that cannot be read is black, its row has an error."""
    recipes = list(dict.fromkeys(_recipe(member.model) for member in members))
    read = {r: np.zeros((len(table), r[0], r[0], 3), np.uint8) for r in recipes}
    for number, file in enumerate(table["file"]):
        try:
            data = read_file(file)
            for size, framing, hair_removal in recipes:
                read[size, framing, hair_removal][number] = prepare(
                    data, size=size, framing=framing, hair_removal=hair_removal
                )
        except (InputError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            table.loc[number, "error"] = reason or type(error).__name__
            log.error("%s: %s", file, reason)
    return read


def _picture_names(found: Sequence[Path]) -> dict[str, str]:
    """Name of each file's picture: its own, numbered where two folders have one of that name."""
    names: dict[str, str] = {}
    # Names that files have of their own are no numbered one's.
    taken = {path.stem for path in found}
    first = set(taken)
    for path in found:
        name = path.stem
        if name in first:
            first.remove(name)
        else:
            numbers = itertools.count(2)
            name = next(n for n in (f"{path.stem}-{i}" for i in numbers) if n not in taken)
            taken.add(name)
        names[str(path)] = name
    return names


def _good(table: pd.DataFrame) -> list[int]:
    return [int(str(number)) for number in table.index[table["error"] == ""]]


def _predict_batch(
    table: pd.DataFrame,
    members: Sequence[_Member],
    read: Mapping[_Recipe, NDArray[np.uint8]],
    *,
    device: str,
    tta: bool | None,
) -> None:
    """Fill in the mean probabilities of the members, raw and, where all can, calibrated."""
    good = _good(table)
    if not good:
        return
    rows = table.loc[good, list(METADATA_FIELDS)].reset_index(drop=True)
    rows.insert(0, "image", [str(number) for number in range(len(good))])
    raw, calibrated = [], []
    for member in members:
        pixels = cast("Store", _Pixels(read[_recipe(member.model)][good]))
        views = member.fitted_with_tta if tta is None else tta
        found = predict_store(
            member.model, pixels, rows, list(rows["image"]), device=device, tta=views
        )
        raw.append(found[list(isic.CLASSES)].to_numpy(float))
        if member.decision is not None:
            held = apply_decision(found, member.decision)
            calibrated.append(held[list(isic.CLASSES)].to_numpy(float))
    names = [CALIBRATED.format(name) for name in isic.CLASSES]
    table.loc[good, list(isic.CLASSES)] = np.mean(raw, axis=0)
    if len(calibrated) == len(members):
        table.loc[good, names] = np.mean(calibrated, axis=0)
    table.loc[good, "predicted"] = np.asarray(isic.CLASSES)[np.mean(raw, axis=0).argmax(axis=1)]


def _decide(table: pd.DataFrame, point: str, threshold: float) -> pd.DataFrame:
    """Fill in the melanoma decision."""
    probability = table[CALIBRATED.format(isic.MELANOMA)]
    table["operating_point"] = point
    table["threshold"] = threshold
    table["melanoma"] = np.where(probability >= threshold, YES, NO)
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
