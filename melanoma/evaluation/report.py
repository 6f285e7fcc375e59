"""All numbers of one experiment: written as metrics.json and tables, from which figures are drawn.

Nothing about a threshold is decided on the test part: the operating points are chosen on the
out-of-fold union of the validation predictions.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from melanoma.catalogue import read_catalogue
from melanoma.errors import InputError
from melanoma.evaluation import bands, curves, decisions, metrics, reliability, subgroups
from melanoma.evaluation.bootstrap import Estimated, Resamples, estimate
from melanoma.evaluation.metrics import plain
from melanoma.evaluation.operating_points import DEFAULT, OperatingPoint, choose_points
from melanoma.evaluation.outputs import TABLES
from melanoma.evaluation.recalibration import Measured, debiased_error, recalibration
from melanoma.evaluation.tables import Judged, judge, read_predictions
from melanoma.files import sha256_of, write_json, write_table
from melanoma.isic import CLASSES, MELANOMA
from melanoma.wording import counted

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """One subset's predictions, raw and calibrated, and how its lesions are resampled."""

    raw: Judged
    calibrated: Judged
    draws: Resamples


def evaluate(
    raw: Mapping[str, Path],
    calibrated: Mapping[str, Path],
    catalogue: Path,
    output: Path,
    *,
    resamples: int,
    seed: int = 0,
    extra_parts: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """Write every number of one experiment.

    Args:
        raw: subset -> combined raw predictions; "val" and, where there is a test part, "test".
        calibrated: the same subsets -> combined calibrated predictions.
        catalogue: CSV of the images.
        output: folder that gets metrics.json and `outputs.table_files(raw)`.
        resamples: bootstrap resamples; 0 leaves the intervals out.
        seed: of the resamples: the same for every experiment, which pairs them.
        extra_parts: more subgroups: image and one text column a variable.

    Returns:
        What metrics.json holds: subset -> figures; "intervals" subset -> figure -> [low, high];
        "n", "melanoma" (thresholds from validation, and what they reach), "calibration",
        "undefined" (why a figure is null), "bootstrap", "inputs" (sha256).

    Raises:
        InputError: no "val", a table that cannot be used, or raw and calibrated tables of
            different images.
    """
    images = read_catalogue(catalogue)
    parts = {s: _part(raw[s], calibrated[s], images, resamples, seed) for s in raw}
    if "val" not in parts:
        raise InputError("evaluation: the validation predictions are missing; thresholds need them")
    validation = parts["val"].calibrated
    points = choose_points(validation.of_class(MELANOMA), validation.probability_of(MELANOMA))
    groups = subgroups.labels(images)
    if extra_parts is not None:
        groups = groups.join(extra_parts.set_index("image"))
    found = {}
    for subset, part in parts.items():
        judged = counted(len(part.raw.truth), "image")
        logger.info("%s: %s, %s", subset, judged, counted(resamples, "resample"))
        found[subset] = estimate(part.raw.truth, part.raw.probabilities, part.draws)
    tables = _tables(parts, found, points, groups)
    for name, table in tables.items():
        write_table(output / name, table)
    summary = _summary(parts, found, points, tables)
    summary["bootstrap"] = {"resamples": resamples, "seed": seed, "clustered_by": "group"}
    files = {f"{s}.csv": p for s, p in raw.items()}
    files |= {f"{s}_calibrated.csv": p for s, p in calibrated.items()}
    files["catalogue.csv"] = catalogue
    summary["inputs"] = {name: sha256_of(path) for name, path in files.items()}
    write_json(output / "metrics.json", summary)
    return summary


def _part(raw: Path, calibrated: Path, images: pd.DataFrame, resamples: int, seed: int) -> Part:
    """Read one subset.

    Raises:
        InputError: the two tables are not of the same images, or no image is of a known class.
    """
    first = judge(read_predictions(raw), images)
    second = judge(read_predictions(calibrated), images)
    if first.images != second.images:
        raise InputError(f"{calibrated}: not the images of {raw}; delete both and run again")
    if not first.images:
        raise InputError(f"{raw}: no image of known diagnosis to judge")
    return Part(first, second, Resamples.by_group(first.groups.to_numpy(str), resamples, seed))


def _tables(
    parts: Mapping[str, Part],
    found: Mapping[str, Estimated],
    points: Mapping[str, OperatingPoint],
    groups: pd.DataFrame,
) -> dict[str, pd.DataFrame]:
    """Every table, by file name."""
    collected: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    matrices = {}
    threshold = points[DEFAULT].threshold if points else None
    for subset, part in parts.items():
        raw, calibrated, draws = part.raw, part.calibrated, part.draws
        melanoma, probability = raw.of_class(MELANOMA), calibrated.probability_of(MELANOMA)
        reached, predictive = decisions.points_table(melanoma, probability, points, draws)
        own = {
            "per_class.csv": _per_class(raw, found[subset]),
            "operating_points.csv": reached,
            "predictive_values.csv": predictive,
            "decision_curve.csv": decisions.decision_curve(melanoma, probability, draws),
            "reliability.csv": _reliability(raw, calibrated),
            "calibration.csv": _calibration_table(part),
            "subgroups.csv": subgroups.subgroup_table(
                raw, calibrated, groups, threshold, resamples=draws.number, seed=draws.seed
            ),
            "roc.csv": curves.roc_table(raw),
            "pr.csv": curves.pr_table(raw),
            "bands.csv": bands.bands_table(raw, draws),
        }
        for name, table in own.items():
            table.insert(0, "subset", subset)
            collected[name].append(table)
        matrices[f"confusion_{subset}.csv"] = _confusion(raw)
    joined = {name: pd.concat(tables, ignore_index=True) for name, tables in collected.items()}
    return joined | matrices


def _per_class(raw: Judged, found: Estimated) -> pd.DataFrame:
    """class, support, groups, then each figure with _low and _high."""
    table = pd.DataFrame({"class": list(CLASSES), "support": raw.support})
    table["groups"] = [raw.groups[raw.of_class(name)].nunique() for name in CLASSES]
    for name in metrics.PER_CLASS:
        table[name] = found.per_class[name]
        ends = [end or (float("nan"),) * 2 for end in found.per_class_intervals[name]]
        table[f"{name}_low"] = [low for low, _ in ends]
        table[f"{name}_high"] = [high for _, high in ends]
    return table


def _confusion(raw: Judged) -> pd.DataFrame:
    """True (class), then counts of each decided class."""
    counts = metrics.confusion_matrix(raw.truth, raw.probabilities)
    table = pd.DataFrame(counts, columns=list(CLASSES))
    table.insert(0, "true", list(CLASSES))
    return table


def _reliability(raw: Judged, calibrated: Judged) -> pd.DataFrame:
    """Diagrams of the melanoma probability and of the decided class's, raw and calibrated."""
    tables = []
    for kind, judged in (("raw", raw), ("calibrated", calibrated)):
        decided = judged.probabilities.argmax(axis=1) == judged.truth
        for of, outcome, probability in (
            ("melanoma", judged.of_class(MELANOMA), judged.probability_of(MELANOMA)),
            ("decision", decided, judged.probabilities.max(axis=1)),
        ):
            table = reliability.diagram(outcome, probability, judged.groups.to_numpy(str))
            table.insert(0, "probabilities", kind)
            table.insert(0, "of", of)
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _summary(
    parts: Mapping[str, Part],
    found: Mapping[str, Estimated],
    points: Mapping[str, OperatingPoint],
    tables: Mapping[str, pd.DataFrame],
) -> dict[str, Any]:
    """metrics.json but for the bootstrap's settings and the inputs' hashes."""
    figures = {
        subset: {name: plain(value) for name, value in estimated.figures.items()}
        for subset, estimated in found.items()
    }
    reasons = {
        s: metrics.undefined_reasons(figures[s], part.raw.support.tolist())
        for s, part in parts.items()
    }
    return {
        **figures,
        "intervals": {
            subset: {name: list(ends) for name, ends in estimated.intervals.items() if ends}
            for subset, estimated in found.items()
        },
        "n": {subset: _sizes(part.raw) for subset, part in parts.items()},
        "melanoma": _melanoma(points, tables["operating_points.csv"]),
        "calibration": {subset: _calibration(part) for subset, part in parts.items()},
        "undefined": {subset: why for subset, why in reasons.items() if why},
    }


def _sizes(raw: Judged) -> dict[str, Any]:
    return {
        "images": len(raw.images),
        "groups": int(raw.groups.nunique()),
        "of_no_known_class": raw.unknown,
        "classes": dict(zip(CLASSES, raw.support.tolist(), strict=True)),
    }


def _melanoma(points: Mapping[str, OperatingPoint], reached: pd.DataFrame) -> dict[str, Any]:
    """Thresholds as chosen on validation, and what each subset reaches at them."""
    columns = [c for c in reached.columns if c not in {"subset", "point", "goal", "target"}]
    return {
        "chosen_on": "val",
        "default": DEFAULT if DEFAULT in points else None,
        "thresholds": {name: point.threshold for name, point in points.items()},
        "reached": {
            str(subset): {
                str(row["point"]): {c: plain(row[c]) for c in columns if c != "threshold"}
                for _, row in rows.iterrows()
            }
            for subset, rows in reached.groupby("subset", sort=False)
        },
    }


def _calibration(part: Part) -> dict[str, Any]:
    """Figures of the raw and of the calibrated probabilities.

    Likelihood, Brier score, calibration errors, the melanoma probability's slope and intercepts,
    and under "intervals" the ends of those that have any.
    """
    summary: dict[str, Any] = {}
    for kind, judged in (("raw", part.raw), ("calibrated", part.calibrated)):
        plainly = reliability.summary(judged.truth, judged.probabilities)
        measured = _measured(judged)
        values = plainly | {name: one.value for name, one in measured.items()}
        summary[kind] = {name: plain(value) for name, value in values.items()}
        summary[kind]["intervals"] = {n: list(m.ends) for n, m in measured.items() if m.ends}
    return summary


def _measured(judged: Judged) -> dict[str, Measured]:
    groups = judged.groups.to_numpy(str)
    found = recalibration(judged.of_class(MELANOMA), judged.probability_of(MELANOMA), groups)
    error = debiased_error(judged.truth, judged.probabilities, groups)
    return {"debiased_error": error} | {f"melanoma_{n}": one for n, one in found.items()}


def _calibration_table(part: Part) -> pd.DataFrame:
    """The same as rows: probabilities ("raw" or "calibrated"), figure, value, low, high."""
    rows = []
    for kind, found in _calibration(part).items():
        ends = found.pop("intervals")
        for name, value in found.items():
            low, high = ends.get(name, (float("nan"),) * 2)
            rows.append(
                {"probabilities": kind, "figure": name, "value": value, "low": low, "high": high}
            )
    return pd.DataFrame(rows).astype({"value": float})
