"""Predictions as text: a table for people, CSV and JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from melanoma import isic
from melanoma.explain.selection import CALIBRATED
from melanoma.inference import NO, UNCALIBRATED, UNDECIDED
from melanoma.notice import NO_MEDICAL_DEVICE
from melanoma.wording import counted

_PARTS_SHOWN = 3
"""Classes named in a line of the table."""


def render(table: pd.DataFrame, form: str, *, models: Sequence[Path]) -> str:
    """Predictions in one of the forms.

    Args:
        table: from `melanoma.inference.predict_files`.
        form: "table", "csv" or "json".
        models: the checkpoints that were used.

    Returns:
        Text that ends with a line end. The CSV holds rows alone; the statement is in the others.

    Raises:
        KeyError: an unknown form.
    """
    return FORMS[form](table, models)


def _as_csv(table: pd.DataFrame, models: Sequence[Path]) -> str:
    text: str = table.to_csv(index=False, lineterminator="\n")
    return text


def _as_json(table: pd.DataFrame, models: Sequence[Path]) -> str:
    value = {
        "statement": NO_MEDICAL_DEVICE,
        "models": [str(model) for model in models],
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
        },
        "metadata": {
            "age": _number(row["age"]),
            "sex": row["sex"] or None,
            "site": row["site"] or None,
        },
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _as_table(table: pd.DataFrame, models: Sequence[Path]) -> str:
    rows = table.to_dict("records")
    lines = [_heads(table), *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    text = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines]
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in [*text, "", *_notes(table, models)]) + "\n"


def _heads(table: pd.DataFrame) -> list[str]:
    """Heads of the columns: which probability a number is, and from where on melanoma is told."""
    kind = "raw" if table[CALIBRATED.format(isic.MELANOMA)].isna().all() else "calibrated"
    threshold = table["threshold"].iloc[0]
    melanoma = "melanoma" if math.isnan(threshold) else f"melanoma >= {threshold:.3f}"
    return ["image", "predicted class, raw", f"{kind} probabilities", melanoma]


def _cells(row: dict[Any, Any]) -> list[str]:
    if row["error"]:
        return [row["image"], "none", f"not read: {row['error']}", ""]
    known = not math.isnan(row[CALIBRATED.format(isic.MELANOMA)])
    values = {name: row[CALIBRATED.format(name) if known else name] for name in isic.CLASSES}
    order = sorted(values, key=lambda name: -values[name])[:_PARTS_SHOWN]
    likely = ", ".join(f"{name} {values[name]:.3f}" for name in order)
    # As a word of its own, "no" would read as an answer about the lesion.
    decision = "below" if row["melanoma"] == NO else row["melanoma"]
    if known:
        decision = f"{decision} ({values[isic.MELANOMA]:.3f})"
    name = row["predicted"]
    predicted = f"{name} ({isic.DIAGNOSIS_NAMES[name]}) {row[name]:.3f}"
    return [row["image"], predicted, likely, decision]


def _notes(table: pd.DataFrame, models: Sequence[Path]) -> list[str]:
    good = table[table["error"] == ""]
    count = f"{len(models)} models, averaged" if len(models) > 1 else f"model {models[0]}"
    notes = [f"By {count}. The class is that of the highest raw probability."]
    if (good["melanoma"] == UNCALIBRATED).any():
        notes.append(
            "Probabilities are uncalibrated: no decision.json lies beside the checkpoint, so there "
            "is no melanoma decision."
        )
    elif (good["melanoma"] == UNDECIDED).any():
        notes.append("Probabilities are calibrated; decision.json holds no operating point.")
    elif len(good):
        first = good.iloc[0]
        notes.append(
            f"Melanoma: yes where its calibrated probability is {first['threshold']:.3f} or more "
            f"({first['operating_point']})."
        )
        if len(models) > 1:
            notes.append(
                "That is the mean of the models' thresholds, each chosen for one model alone: with "
                "their averaged probability sensitivity and specificity are others than those seen "
                "on validation."
            )
    if _disagree(good):
        notes.append(
            "Where the likeliest class is another than the predicted one: the raw probability "
            "weighs all classes alike, the calibrated one by how common they are."
        )
    if _likeliest_yet_below(good):
        notes.append(
            "Melanoma can be the most probable class and still be below: the threshold is where "
            f"{good['operating_point'].iloc[0]} was reached on validation images"
            f"{' by one model each' if len(models) > 1 else ''}, "
            "not where melanoma overtakes the other classes. Below is no all-clear."
        )
    failed = len(table) - len(good)
    if failed:
        notes.append(f"{failed} of {counted(len(table), 'file')} could not be read.")
    return [*notes, NO_MEDICAL_DEVICE]


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


FORMS: dict[str, Callable[[pd.DataFrame, Sequence[Path]], str]] = {
    "table": _as_table,
    "csv": _as_csv,
    "json": _as_json,
}
"""The forms by name."""
