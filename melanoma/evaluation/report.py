"""All numbers of one experiment: written as metrics.json and tables, from which figures are drawn.

Nothing about a threshold is decided on the test part, nor here: the operating points are those of
decision.json, chosen on the out-of-fold union of the validation predictions.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.catalogue import read_catalogue
from melanoma.errors import InputError
from melanoma.evaluation import bands, curves, decisions, metrics, reliability, subgroups
from melanoma.evaluation.bootstrap import Estimated, Resamples, estimate
from melanoma.evaluation.decision_file import read_decision
from melanoma.evaluation.metrics import plain
from melanoma.evaluation.operating_points import DEFAULT, OperatingPoint
from melanoma.evaluation.outputs import TABLES
from melanoma.evaluation.ranking import Floats
from melanoma.evaluation.recalibration import Measured, debiased_error, recalibration
from melanoma.evaluation.tables import BY_OTHER_SET, Judged, judge, read_predictions
from melanoma.files import sha256_of, write_json, write_table
from melanoma.isic import CLASSES, MELANOMA
from melanoma.wording import counted

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """One subset's predictions, raw and calibrated, and how its lesions are resampled.

    Attributes:
        raw: softmax.
        calibrated: of the same images, in the same order.
        draws: of the same rows.
        bare: bool [n], which were calibrated as images without metadata.
    """

    raw: Judged
    calibrated: Judged
    draws: Resamples
    bare: NDArray[np.bool_]


@dataclass(frozen=True)
class Points:
    """The operating points of a decision.

    Attributes:
        usual: name -> point.
        bare: likewise, for images without metadata; None where they are no case of their own.
        absent: name -> why there is no such point.
        models: how many models' mean the decision is for.
    """

    usual: Mapping[str, OperatingPoint]
    bare: Mapping[str, OperatingPoint] | None
    absent: Mapping[str, str]
    models: int

    @classmethod
    def of(cls, decision: Mapping[str, Any]) -> Points:
        """Those of what `read_decision` gave."""
        usual, bare = (
            one
            and {
                name: OperatingPoint.from_dict(values)
                for name, values in one["operating_points"].items()
            }
            for one in (decision, decision["without_metadata"])
        )
        models = len(decision.get("members") or [None])
        return cls(usual, bare, decision["absent_points"], models)

    def thresholds(self, part: Part) -> Floats:
        """Threshold of each image at each point, float [n, points]."""
        usual, bare = (
            np.array([points[name].threshold for name in self.usual])
            for points in (self.usual, self.bare or self.usual)
        )
        return np.where(part.bare[:, None], bare, usual)


def evaluate(
    raw: Mapping[str, Path],
    calibrated: Mapping[str, Path],
    decision: Path,
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
        decision: that they were calibrated by.
        catalogue: CSV of the images.
        output: folder that gets metrics.json and `outputs.table_files(raw)`.
        resamples: bootstrap resamples; 0 leaves the intervals out.
        seed: of the resamples: the same for every experiment, which pairs them.
        extra_parts: more subgroups: image and one text column a variable.

    Returns:
        What metrics.json holds: subset -> figures; "intervals" subset -> figure -> [low, high];
        "n", "melanoma" (the decision's thresholds, and what they reach), "calibration",
        "undefined" (why a figure is null), "bootstrap", "inputs" (sha256).

    Raises:
        InputError: no "val", a table or decision that cannot be used, or raw and calibrated tables
            of different images.
    """
    images = read_catalogue(catalogue)
    points = Points.of(read_decision(decision))
    parts = {
        s: _part(raw[s], calibrated[s], images, resamples, seed, bare=points.bare is not None)
        for s in raw
    }
    if "val" not in parts:
        raise InputError("evaluation: the validation predictions are missing; name val.csv too")
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
    files |= {"decision.json": decision, "catalogue.csv": catalogue}
    summary["inputs"] = {name: sha256_of(path) for name, path in files.items()}
    write_json(output / "metrics.json", summary)
    return summary


def _part(
    raw: Path, calibrated: Path, images: pd.DataFrame, resamples: int, seed: int, *, bare: bool
) -> Part:
    """Read one subset; `bare`: its decision has a set for images without metadata.

    Raises:
        InputError: the two tables are not of the same images, no image is of a known class, or
            nothing says which images were calibrated as those without metadata.
    """
    table = read_predictions(calibrated)
    first = judge(read_predictions(raw), images)
    second = judge(table, images)
    if first.images != second.images:
        raise InputError(f"{calibrated}: not the images of {raw}; delete both and run again")
    if not first.images:
        raise InputError(f"{raw}: no image of known diagnosis to judge")
    draws = Resamples.by_group(first.groups.to_numpy(str), resamples, seed)
    if not bare:
        return Part(first, second, draws, np.zeros(len(first.images), dtype=bool))
    if BY_OTHER_SET not in table:
        raise InputError(
            f"{calibrated}: row 1: column {BY_OTHER_SET} is missing, so it is not of this "
            "decision.json; delete it and run again"
        )
    flags = table.set_index("image")[BY_OTHER_SET].loc[list(first.images)]
    return Part(first, second, draws, (flags == 1).to_numpy())


def _tables(
    parts: Mapping[str, Part],
    found: Mapping[str, Estimated],
    points: Points,
    groups: pd.DataFrame,
) -> dict[str, pd.DataFrame]:
    """Every table, by file name."""
    collected: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    matrices = {}
    for subset, part in parts.items():
        raw, calibrated, draws = part.raw, part.calibrated, part.draws
        melanoma, probability = raw.of_class(MELANOMA), calibrated.probability_of(MELANOMA)
        cuts = points.thresholds(part)
        default = cuts[:, list(points.usual).index(DEFAULT)] if DEFAULT in points.usual else None
        reached, predictive = decisions.points_table(
            melanoma, probability, points.usual, draws, thresholds=cuts
        )
        own = {
            "per_class.csv": _per_class(raw, found[subset]),
            "operating_points.csv": reached,
            "predictive_values.csv": predictive,
            "decision_curve.csv": decisions.decision_curve(melanoma, probability, draws),
            "reliability.csv": _reliability(raw, calibrated),
            "calibration.csv": _calibration_table(part),
            "subgroups.csv": subgroups.subgroup_table(
                raw, calibrated, groups, default, resamples=draws.number, seed=draws.seed
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
    points: Points,
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
        "melanoma": _melanoma(parts, points, tables["operating_points.csv"]),
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


def _melanoma(parts: Mapping[str, Part], points: Points, reached: pd.DataFrame) -> dict[str, Any]:
    """Thresholds as chosen on validation, and what each subset reaches at them."""
    columns = [c for c in reached.columns if c not in {"subset", "point", "goal", "target"}]
    return {
        "chosen_on": "val",
        "models": points.models,
        "default": DEFAULT if DEFAULT in points.usual else None,
        "absent": dict(points.absent),
        "thresholds": {name: point.threshold for name, point in points.usual.items()},
        "without_metadata": None
        if points.bare is None
        else {
            "thresholds": {name: point.threshold for name, point in points.bare.items()},
            "images": {subset: int(part.bare.sum()) for subset, part in parts.items()},
        },
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
