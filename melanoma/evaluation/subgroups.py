"""The same figures in parts of a subset: by sex, age, site, source, skin tone, missing metadata."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.evaluation.averages import (
    Classes,
    Interval,
    average_difference,
    average_interval,
    effective_groups,
)
from melanoma.evaluation.bootstrap import Resamples, estimate, interval_ends
from melanoma.evaluation.decisions import table_columns
from melanoma.evaluation.intervals import count_groups, of_cases
from melanoma.evaluation.metrics import Ints, mean_of_defined
from melanoma.evaluation.ranking import Floats, divide
from melanoma.evaluation.recalibration import recalibration
from melanoma.evaluation.tables import Judged
from melanoma.isic import CLASSES, MELANOMA, source_of
from melanoma.skin_tone import DARKEST, TONES, UNSEEN

MISSING = "missing"

AGE_BANDS = ((0, 30, "under 30"), (30, 45, "30-44"), (45, 60, "45-59"), (60, 75, "60-74"))
OLDEST = "75 and over"

_ORDERS = {
    "age": (*(name for *_, name in AGE_BANDS), OLDEST),
    "skin tone": (*(name for _, name in TONES), DARKEST, UNSEEN),
}
"""Variables whose parts have an order of their own."""

LEAST_IMAGES = 50
"""Below it no figure is given: chance alone would decide it."""

LEAST_MELANOMAS = 10
"""With fewer melanomas, or fewer other images, no figure of melanoma is given."""

FIGURES = (
    "balanced_accuracy",
    "macro_auroc",
    "melanoma_auroc",
    "melanoma_sensitivity",
    "sensitivity_at_point",
    "specificity_at_point",
)
"""The first two are over the classes that all parts of a variable have; melanoma_sensitivity is the
class decision's; _at_point: at the default operating point."""

AVERAGES = {"balanced_accuracy": "recall", "macro_auroc": "auroc"}
"""Those over the shared classes -> the figure of one class that they are made of."""

DIFFERENCE = "balanced_accuracy_difference"
"""A part's balanced accuracy less that of all other images, over the same shared classes."""

CALIBRATION = ("calibration_slope", "calibration_intercept")
"""Of the calibrated melanoma probability (`recalibration`)."""

COLUMNS = (
    "variable",
    "part",
    "images",
    "groups",
    "melanomas",
    "classes",
    "shared_classes",
    "suppressed",
    *table_columns((*FIGURES, DIFFERENCE, *CALIBRATION)),
)


def labels(catalogue: pd.DataFrame) -> pd.DataFrame:
    """Which part each image is in.

    Args:
        catalogue: image, age, sex, site, source or lesion_id.

    Returns:
        Indexed by image; columns sex, age, site, source, metadata, as text.
    """
    table = catalogue.set_index("image")
    gaps = (table["age"].isna()).astype(int) + (table["sex"] == "") + (table["site"] == "")
    source = table["source"] if "source" in table else table["lesion_id"].map(source_of)
    return pd.DataFrame(
        {
            "sex": table["sex"].where(table["sex"] != "", MISSING),
            "age": table["age"].map(_age_band),
            "site": table["site"].where(table["site"] != "", MISSING),
            "source": source,
            "metadata": gaps.map(lambda gap: "complete" if gap == 0 else "a field missing"),
        }
    )


def read_skin_tones(path: Path) -> pd.DataFrame:
    """The skin tones that rule skin_tone wrote, as a variable of `subgroup_table`.

    Args:
        path: CSV with image and skin_tone.

    Returns:
        Columns image and "skin tone", both as text.
    """
    # An image may be called NA, or 001.
    table = pd.read_csv(path, dtype="str", keep_default_na=False)
    return table[["image", "skin_tone"]].rename(columns={"skin_tone": "skin tone"})


def _age_band(age: float) -> str:
    if np.isnan(age):
        return MISSING
    return next((name for low, high, name in AGE_BANDS if low <= age < high), OLDEST)


def subgroup_table(
    raw: Judged,
    calibrated: Judged,
    parts: pd.DataFrame,
    threshold: float | Floats | None,
    *,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Figures of every part of a subset.

    Args:
        raw: raw softmax, which decides the class.
        calibrated: of the same images, in the same order.
        parts: indexed by image, one text column a variable.
        threshold: of the default operating point, or of each image, float [n]; None leaves its
            figures out.
        resamples: for the intervals.
        seed: of the resamples.

    Returns:
        `COLUMNS`: classes is the number that the part has, shared_classes names those that every
        part of the variable has which is large enough to judge, suppressed says why no figures are
        given, or ""; then the figures, each with _low and _high (95 %).
    """
    rows: list[dict[str, object]] = []
    splits = {}
    for variable in parts.columns:
        values = parts[variable].reindex(raw.images, fill_value=MISSING).astype("str")
        names = _in_order(str(variable), values)
        members = {part: (values == part).to_numpy() for part in names}
        shared = shared_classes(raw.truth, list(members.values()))
        for part, chosen in members.items():
            row = _part(raw, calibrated, chosen, shared, threshold, resamples=resamples, seed=seed)
            if DIFFERENCE in row:
                splits[len(rows)] = (chosen, shared)
            rows.append({"variable": str(variable), "part": part} | row)
    draws = Resamples.by_group(raw.groups.to_numpy(str), resamples, seed)
    for place, found in zip(splits, differences(raw, list(splits.values()), draws), strict=True):
        _put(rows[place], DIFFERENCE, *found)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def shared_classes(truth: Ints, parts: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Classes that all parts have which are large enough to judge.

    A mean over more or fewer classes would be another figure: some are harder than others.

    Args:
        truth: int [n].
        parts: bool [n] each.

    Returns:
        bool [k].
    """
    judged = [truth[part] for part in parts if part.sum() >= LEAST_IMAGES]
    counts = [np.bincount(own, minlength=len(CLASSES)) > 0 for own in judged]
    return np.logical_and.reduce(counts) if counts else np.zeros(len(CLASSES), bool)


def differences(
    raw: Judged,
    splits: Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]],
    draws: Resamples,
) -> list[tuple[float, Interval | None]]:
    """How far the balanced accuracy of each part is from that of all other images.

    Args:
        raw: raw softmax, which decides the class.
        splits: of each part the images, bool [n], and the shared classes, bool [k].
        draws: resamples of all images, so that a lesion in both counts in both.

    Returns:
        Difference and its interval, of each; NaN where there is no shared class, or the other
        images lack one.
    """
    if not splits:
        return []
    right = raw.probabilities.argmax(axis=1) == raw.truth
    own = np.column_stack([part for part, _ in splits])

    def recalls(weights: NDArray[np.floating]) -> dict[str, Floats]:
        sides: dict[str, list[Floats]] = {"part": [], "rest": []}
        for label in range(len(CLASSES)):
            rows = raw.truth == label
            inside, counted = own[rows].astype(weights.dtype), weights[rows]
            for name, mask in (("part", inside), ("rest", 1 - inside)):
                hits = mask[right[rows]].T @ counted[right[rows]]
                sides[name].append(divide(hits, mask.T @ counted))
        return {name: np.stack(values, axis=1) for name, values in sides.items()}

    point = recalls(np.ones((len(right), 1)))
    spread = draws.replicate(recalls)
    freedom = draws.freedom(spread)
    found: list[tuple[float, Interval | None]] = []
    for place, (part, shared) in enumerate(splits):
        sides = []
        for name, members in (("rest", ~part), ("part", part)):
            inside = [members & (raw.truth == label) for label in range(len(CLASSES))]
            classes = Classes(
                points=point[name][place, :, 0],
                replicates=spread[name][place] if spread else np.zeros((len(CLASSES), 0)),
                freedom=freedom[name][place] if spread else np.ones(len(CLASSES)),
                sizes=np.array([effective_groups(draws.groups, rows) for rows in inside]),
                groups=np.array([count_groups(draws.groups, rows) for rows in inside]),
                shares=True,
            )
            sides.append(classes.over(shared))
        lacking = (np.isnan(sides[0].points) & shared).any()
        change = float("nan") if lacking else sides[1].point - sides[0].point
        found.append((change, None if lacking else average_difference(*sides)))
    return found


def _in_order(variable: str, values: pd.Series) -> list[str]:
    """Parts in their own order, else by name; the missing last."""
    order = {name: place for place, name in enumerate(_ORDERS.get(variable, ()))}
    found = {str(value) for value in values.unique()}
    return sorted(found, key=lambda name: (name == MISSING, order.get(name, 0), name))


def _part(
    raw: Judged,
    calibrated: Judged,
    chosen: NDArray[np.bool_],
    shared: NDArray[np.bool_],
    threshold: float | Floats | None,
    *,
    resamples: int,
    seed: int,
) -> dict[str, object]:
    truth, groups = raw.truth[chosen], raw.groups[chosen].to_numpy()
    melanoma = raw.of_class(MELANOMA)[chosen]
    row: dict[str, object] = {
        "images": len(truth),
        "groups": len(np.unique(groups)),
        "melanomas": int(melanoma.sum()),
        "classes": len(np.unique(truth)),
        "shared_classes": " ".join(np.array(CLASSES)[shared]),
        "suppressed": "",
    }
    if len(truth) < LEAST_IMAGES:
        return row | {"suppressed": f"fewer than {LEAST_IMAGES} images"}
    draws = Resamples.by_group(groups, resamples, seed)
    found = estimate(truth, raw.probabilities[chosen], draws)
    row[DIFFERENCE] = np.nan
    for name, of in AVERAGES.items():
        figures = np.where(shared, found.per_class[of], np.nan)
        ends = average_interval(found.averages[name].over(shared)) if found.averages else None
        _put(row, name, float(mean_of_defined(figures[:, None])[0]), ends)
    if min(melanoma.sum(), (~melanoma).sum()) < LEAST_MELANOMAS:
        return row | {"suppressed": f"melanoma: fewer than {LEAST_MELANOMAS} with or without"}
    for name in ("melanoma_auroc", "melanoma_sensitivity"):
        _put(row, name, found.figures[name], found.intervals[name])
    probability = calibrated.probability_of(MELANOMA)
    fitted = recalibration(melanoma, probability[chosen], groups)
    for name in CALIBRATION:
        measured = fitted[name.removeprefix("calibration_")]
        _put(row, name, measured.value, measured.ends)
    if threshold is not None:
        _put_at_point(row, melanoma, (probability >= threshold)[chosen], draws)
    return row


def _put(row: dict[str, object], name: str, value: float, ends: Interval | None) -> None:
    row[name] = value
    row[f"{name}_low"], row[f"{name}_high"] = ends or (np.nan, np.nan)


def _put_at_point(
    row: dict[str, object],
    melanoma: NDArray[np.bool_],
    called: NDArray[np.bool_],
    draws: Resamples,
) -> None:
    """Add sensitivity and specificity at the operating point."""
    right = {"sensitivity_at_point": melanoma, "specificity_at_point": ~melanoma}

    def shares(counts: NDArray[np.floating]) -> dict[str, Floats]:
        return {
            name: divide(
                counts[side & (called == melanoma)].sum(axis=0, keepdims=True),
                counts[side].sum(axis=0, keepdims=True),
            )
            for name, side in right.items()
        }

    point = {n: values[:, 0] for n, values in shares(np.ones((len(melanoma), 1))).items()}
    supports = {n: [of_cases(count_groups(draws.groups, side))] for n, side in right.items()}
    ends = interval_ends(point, draws.replicate(shares), draws, supports)
    for name, values in point.items():
        low, high = (float(side[0]) for side in ends[name])
        _put(row, name, float(values[0]), (low, high))
