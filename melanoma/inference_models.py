"""The models behind `melanoma predict`, and the decision that holds for them together.

One checkpoint has its own decision beside it. An experiment's checkpoints have one in common, which
rule combine fitted; it is used where they are named together, or by its folder. Checkpoints of
several experiments have none in common: then the mean of their own stands in.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melanoma import isic
from melanoma.errors import InputError
from melanoma.evaluation.calibration import apply_decision, without_metadata
from melanoma.evaluation.combine import mean_of
from melanoma.evaluation.decision_file import (
    NAME,
    Decided,
    of_experiment,
    of_folder,
    read_decision,
)
from melanoma.evaluation.operating_points import DEFAULT
from melanoma.evaluation.tables import BY_OTHER_SET
from melanoma.training.checkpoints import TrainedModel, load_model
from melanoma.wording import counted

log = logging.getLogger(__name__)

CALIBRATED = tuple(f"{name}_calibrated" for name in isic.CLASSES)
"""Columns of calibrated probabilities."""

THRESHOLD = "threshold"


@dataclass(frozen=True)
class Ensemble:
    """Models whose mean is predicted.

    Attributes:
        models: as loaded.
        decisions: one for all of them together, one for each of them, or none where one of them has
            none.
        together: whether the one decision is for the mean of the models.
    """

    models: tuple[TrainedModel, ...]
    decisions: tuple[Decided, ...]
    together: bool

    def views(self, place: int, tta: bool | None) -> bool:
        """Whether a model's probabilities are means over views.

        Args:
            place: of the model.
            tta: what was asked for; None for what its decision was fitted with.
        """
        if tta is not None or not self.decisions:
            return bool(tta)
        return bool(self.decisions[0 if self.together else place].values["tta"])

    def point(self, wanted: str | None) -> str:
        """Name of the operating point to use; "" where there is none.

        Args:
            wanted: a name; None for the first decision's default.

        Raises:
            InputError: a decision does not have it; says why not, or which it has.
        """
        if not self.decisions:
            return ""
        name = wanted or str(self.decisions[0].values["default"] or "")
        for decided in self.decisions if name else ():
            points = decided.values["operating_points"]
            if name not in points:
                why = decided.values["absent_points"].get(name)
                known = f"known: {', '.join(points) or 'none'}"
                raise InputError(
                    f"{decided.file}: no operating point {name!r}{f', since {why}' if why else ''};"
                    f" {known}"
                )
        return name

    def why_undecided(self) -> str:
        """Why there is no default operating point; "" where there is one."""
        for decided in self.decisions[:1]:
            if decided.values["default"] is None:
                others = ", ".join(decided.values["operating_points"])
                why = str(decided.values["absent_points"].get(DEFAULT, "it names no default"))
                return f"{why}. --operating-point takes {others}" if others else why
        return ""

    def decide(self, tables: Sequence[pd.DataFrame], point: str) -> pd.DataFrame:
        """Probabilities of some images, and the threshold that each is held against.

        Args:
            tables: of each model, as from `melanoma.prediction.predict_store`, of the same images
                in the same order.
            point: name of the operating point, or "".

        Returns:
            The eight classes (mean of the models), `CALIBRATED` and `THRESHOLD` (NaN where there
            are none), and `BY_OTHER_SET`: whether an image has nothing of the metadata that the
            models use.
        """
        classes = list(isic.CLASSES)
        found = mean_of([table[["image", *classes]] for table in tables])[classes]
        empty = dict.fromkeys((*CALIBRATED, THRESHOLD), np.nan)
        if not self.decisions:
            return found.assign(**empty, **{BY_OTHER_SET: False})
        judged = [mean_of(tables)] if self.together else tables
        held, thresholds = [], []
        other = np.zeros(len(found), dtype=bool)
        for table, decided in zip(judged, self.decisions, strict=True):
            calibrated = apply_decision(table, decided.values)
            nothing = calibrated.get(BY_OTHER_SET, pd.Series(0, table.index)).to_numpy() == 1
            held.append(calibrated[classes].to_numpy())
            thresholds.append(_thresholds(decided.values, point, nothing))
            other |= nothing
        found[list(CALIBRATED)] = np.mean(held, axis=0)
        return found.assign(**{THRESHOLD: np.mean(thresholds, axis=0), BY_OTHER_SET: other})


def _thresholds(decision: Mapping[str, Any], point: str, nothing: Any) -> Any:
    """Threshold of each image; NaN without an operating point."""
    sets = (decision, without_metadata(decision))
    values = [one["operating_points"][point]["threshold"] if point else np.nan for one in sets]
    return np.where(nothing, values[1], values[0])


def load_ensemble(paths: Sequence[Path], device: str) -> Ensemble:
    """Load models and the decision that holds for them.

    Args:
        paths: checkpoints, or the folder of one experiment's predictions.
        device: where the models shall be.

    Raises:
        InputError: no path, a checkpoint or decision that cannot be used, or a folder that is no
            experiment's, or not alone.
    """
    if not paths:
        raise InputError("no model: name a checkpoint (results/training/…/model.ckpt)")
    folders = [path for path in paths if Path(path).is_dir()]
    if folders and len(paths) > 1:
        raise InputError(
            f"{folders[0]}: a folder stands for its experiment's models: name it alone"
        )
    common = of_folder(folders[0]) if folders else of_experiment(paths) if paths[1:] else None
    if common is not None:
        files = common.members if folders else paths
        _warn_of_absent_models(common, files)
        return Ensemble(tuple(load_model(path, device) for path in files), (common,), True)
    models = tuple(load_model(path, device) for path in paths)
    beside = [Path(path).parent / NAME for path in paths]
    for path in beside:
        if not path.is_file():
            log.warning("%s: none beside the checkpoint: uncalibrated", path)
    decided = [Decided(read_decision(path), path) for path in beside if path.is_file()]
    return Ensemble(models, tuple(decided) if len(decided) == len(models) else (), False)


def _warn_of_absent_models(common: Decided, files: Sequence[Path]) -> None:
    if len(files) < len(common.members):
        log.warning(
            "%s is the decision of %s, applied to %d of them: its thresholds reach other "
            "sensitivities here",
            common.file,
            counted(len(common.members), "model"),
            len(files),
        )
