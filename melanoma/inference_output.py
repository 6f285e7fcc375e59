"""Predictions as text: a table for people, CSV and JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from melanoma import isic
from melanoma.evaluation.tables import BY_OTHER_SET
from melanoma.explain.selection import CALIBRATED
from melanoma.inference import NO, UNCALIBRATED, UNDECIDED, YES
from melanoma.notice import NO_MEDICAL_DEVICE
from melanoma.wording import counted

_PARTS_SHOWN = 3
"""Classes named in a line of the table."""


@dataclass(frozen=True)
class Origin:
    """What predictions were made with.

    Attributes:
        models: the checkpoints.
        together: whether the decision is that of their mean.
        undecided: why there is no default operating point; "" where there is one.
    """

    models: Sequence[Path]
    together: bool = False
    undecided: str = ""


def render(
    table: pd.DataFrame,
    form: str,
    *,
    models: Sequence[Path],
    together: bool = False,
    undecided: str = "",
) -> str:
    """Predictions in one of the forms.

    Args:
        table: from `melanoma.inference.predict_files`.
        form: "table", "csv" or "json".
        models: the checkpoints that were used.
        together: whether the decision is that of their mean, fitted on validation.
        undecided: why there is no default operating point; "" where there is one.

    Returns:
        Text that ends with a line end. The CSV holds rows alone; the statement is in the others.

    Raises:
        KeyError: an unknown form.
    """
    return FORMS[form](table, Origin(models, together, undecided))


def _as_csv(table: pd.DataFrame, origin: Origin) -> str:
    text: str = table.to_csv(index=False, lineterminator="\n")
    return text


def _as_json(table: pd.DataFrame, origin: Origin) -> str:
    value = {
        "statement": NO_MEDICAL_DEVICE,
        "models": [str(model) for model in origin.models],
        "predictions": [_record(row) for row in table.to_dict("records")],
    }
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def _record(row: dict[Any, Any]) -> dict[str, Any]:
    start = {"image": row["image"], "file": row["file"]}
    if row["error"]:
        return start | {"error": row["error"]}
    calibrated = {name: _number(row[CALIBRATED.format(name)]) for name in isic.CLASSES}
    known = calibrated[isic.MELANOMA] is not None
    return start | {
        "predicted": row["predicted"],
        "probabilities": {
            "raw": {name: _number(row[name]) for name in isic.CLASSES},
            "calibrated": calibrated if known else None,
        },
        "melanoma": {
            "decision": row["melanoma"],
            "operating_point": row["operating_point"] or None,
            "threshold": _number(row["threshold"]),
            "without_metadata": row[BY_OTHER_SET] == YES,
        },
        "metadata": {
            "age": _number(row["age"]),
            "sex": row["sex"] or None,
            "site": row["site"] or None,
        },
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _as_table(table: pd.DataFrame, origin: Origin) -> str:
    rows = table.to_dict("records")
    several = len(_thresholds(table)) > 1
    lines = [_heads(table), *(_cells(row, several=several) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    text = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines]
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in [*text, "", *_notes(table, origin)]) + "\n"


def _heads(table: pd.DataFrame) -> list[str]:
    """Heads of the columns: which probability a number is, and from where on melanoma is told."""
    kind = "raw" if table[CALIBRATED.format(isic.MELANOMA)].isna().all() else "calibrated"
    thresholds = _thresholds(table)
    each = f"{thresholds[0]:.3f}" if len(thresholds) == 1 else "its threshold"
    melanoma = f"melanoma >= {each}" if thresholds else "melanoma"
    return ["image", "predicted class, raw", f"{kind} probabilities", melanoma]


def _thresholds(table: pd.DataFrame) -> list[float]:
    """The different thresholds of the images, those of images with metadata first."""
    order = table.sort_values(BY_OTHER_SET, kind="stable")
    return [float(value) for value in order["threshold"].dropna().unique()]


def _cells(row: dict[Any, Any], *, several: bool) -> list[str]:
    if row["error"]:
        return [row["image"], "none", f"not read: {row['error']}", ""]
    known = not math.isnan(row[CALIBRATED.format(isic.MELANOMA)])
    values = {name: row[CALIBRATED.format(name) if known else name] for name in isic.CLASSES}
    order = sorted(values, key=lambda name: -values[name])[:_PARTS_SHOWN]
    likely = ", ".join(f"{name} {values[name]:.3f}" for name in order)
    # As a word of its own, "no" would read as an answer about the lesion.
    decision = "below" if row["melanoma"] == NO else row["melanoma"]
    if known:
        against = f", threshold {row['threshold']:.3f}" if several else ""
        decision = f"{decision} ({values[isic.MELANOMA]:.3f}{against})"
    name = row["predicted"]
    predicted = f"{name} ({isic.DIAGNOSIS_NAMES[name]}) {row[name]:.3f}"
    return [row["image"], predicted, likely, decision]


def _notes(table: pd.DataFrame, origin: Origin) -> list[str]:
    good, models = table[table["error"] == ""], origin.models
    count = f"{len(models)} models, averaged" if len(models) > 1 else f"model {models[0]}"
    notes = [f"By {count}. The class is that of the highest raw probability."]
    if (good["melanoma"] == UNCALIBRATED).any():
        notes.append(
            "Probabilities are uncalibrated: no decision.json lies beside the checkpoint, so there "
            "is no melanoma decision."
        )
    elif (good["melanoma"] == UNDECIDED).any():
        why = f": {origin.undecided}" if origin.undecided else ""
        notes.append(f"Probabilities are calibrated; decision.json holds no operating point{why}.")
    elif len(good):
        notes += _threshold_notes(good, origin)
    if _disagree(good):
        notes.append(
            "Where the likeliest class is another than the predicted one: the raw probability "
            "weighs all classes alike, the calibrated one by how common they are."
        )
    if _likeliest_yet_below(good):
        notes.append(
            "Melanoma can be the most probable class and still be below: the threshold is where "
            f"{good['operating_point'].iloc[0]} was reached on validation images"
            f"{' by one model each' if len(origin.models) > 1 else ''}, "
            "not where melanoma overtakes the other classes. Below is no all-clear."
        )
    failed = len(table) - len(good)
    if failed:
        notes.append(f"{failed} of {counted(len(table), 'file')} could not be read.")
    return [*notes, NO_MEDICAL_DEVICE]


def _threshold_notes(good: pd.DataFrame, origin: Origin) -> list[str]:
    """What the melanoma decision is made by."""
    point, cuts = good["operating_point"].iloc[0], _thresholds(good)
    without = int((good[BY_OTHER_SET] == YES).sum())
    rest = f", and {cuts[1]:.3f} without metadata" if len(cuts) > 1 else ""
    notes = [
        f"Melanoma: yes where its calibrated probability is {cuts[0]:.3f} or more{rest} ({point})."
    ]
    if without:
        notes.append(
            f"No metadata are known of {without} of {counted(len(good), 'image')}: calibration and "
            "threshold are then those of validation images predicted without metadata."
        )
    if len(origin.models) > 1 and origin.together:
        notes.append(
            "The threshold was chosen on validation images, each predicted by the one model that "
            "has not seen it. A mean of models strays less than one model, so more melanomas tend "
            "to be found than there: see the test figures of the experiment."
        )
    elif len(origin.models) > 1:
        notes.append(
            "That is the mean of the models' thresholds, each chosen for one model alone: with "
            "their averaged probability sensitivity and specificity are others than those seen "
            "on validation."
        )
    return notes


def _disagree(good: pd.DataFrame) -> bool:
    """Whether the calibrated probability of some image is highest for another class."""
    likeliest = _likeliest(good)
    return bool((good.loc[likeliest.index, "predicted"] != likeliest).any())


def _likeliest_yet_below(good: pd.DataFrame) -> bool:
    """Whether melanoma is the class of some image, by either probability, and is not told."""
    likeliest = _likeliest(good) == isic.MELANOMA
    first = likeliest.reindex(good.index, fill_value=False) | (good["predicted"] == isic.MELANOMA)
    return bool((first & (good["melanoma"] == NO)).any())


def _likeliest(good: pd.DataFrame) -> pd.Series[str]:
    """The class of the highest calibrated probability, of the images that have one."""
    names = [CALIBRATED.format(name) for name in isic.CLASSES]
    known = good.loc[good[names].notna().all(axis="columns"), names].astype(float)
    places = known.to_numpy().argmax(axis=1) if len(known) else []
    return pd.Series([isic.CLASSES[place] for place in places], known.index, dtype="str")


FORMS: dict[str, Callable[[pd.DataFrame, Origin], str]] = {
    "table": _as_table,
    "csv": _as_csv,
    "json": _as_json,
}
"""The forms by name."""
