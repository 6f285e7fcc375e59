"""The same figures in parts of a subset: by sex, age, site, source, skin tone, missing metadata."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.evaluation.bootstrap import Resamples, estimate, interval_ends
from melanoma.evaluation.decisions import table_columns
from melanoma.evaluation.intervals import count_groups, of_cases
from melanoma.evaluation.ranking import Floats, divide
from melanoma.evaluation.tables import Judged
from melanoma.isic import MELANOMA, source_of
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
"""melanoma_sensitivity is the class decision's; _at_point: at the default operating point."""


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
        variable, part, images, groups, melanomas, classes (present), suppressed (why no figures
        are given, or ""), then `FIGURES` with _low and _high (95 %).
    """
    rows = []
    for variable in parts.columns:
        values = parts[variable].reindex(raw.images, fill_value=MISSING).astype("str")
        for part in _in_order(str(variable), values):
            chosen = (values == part).to_numpy()
            row = _part(raw, calibrated, chosen, threshold, resamples=resamples, seed=seed)
            rows.append({"variable": str(variable), "part": part} | row)
    head = ["variable", "part", "images", "groups", "melanomas", "classes", "suppressed"]
    return pd.DataFrame(rows, columns=head + table_columns(FIGURES))


def _in_order(variable: str, values: pd.Series) -> list[str]:
    """Parts in their own order, else by name; the missing last."""
    order = {name: place for place, name in enumerate(_ORDERS.get(variable, ()))}
    found = {str(value) for value in values.unique()}
    return sorted(found, key=lambda name: (name == MISSING, order.get(name, 0), name))


def _part(
    raw: Judged,
    calibrated: Judged,
    chosen: NDArray[np.bool_],
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
        "suppressed": "",
    }
    if len(truth) < LEAST_IMAGES:
        return row | {"suppressed": f"fewer than {LEAST_IMAGES} images"}
    draws = Resamples.by_group(groups, resamples, seed)
    found = estimate(truth, raw.probabilities[chosen], draws)
    few = min(melanoma.sum(), (~melanoma).sum()) < LEAST_MELANOMAS
    for name in FIGURES[:4]:
        if not (few and name.startswith("melanoma")):
            _put(row, name, found.figures[name], found.intervals[name])
    if few:
        row["suppressed"] = f"melanoma: fewer than {LEAST_MELANOMAS} with or without"
    elif threshold is not None:
        called = (calibrated.probability_of(MELANOMA) >= threshold)[chosen]
        _put_at_point(row, melanoma, called, draws)
    return row


def _put(row: dict[str, object], name: str, value: float, ends: tuple[float, float] | None) -> None:
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
