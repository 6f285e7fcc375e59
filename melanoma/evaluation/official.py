"""The official test set: the submission, and its score with and without images seen in training.

Its images have no lesion ids: intervals resample groups of near-duplicates, and images alone
where there are none, so that they are a little narrow if a lesion was photographed twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.catalogue import read_catalogue
from melanoma.errors import InputError
from melanoma.evaluation.averages import (
    Classes,
    average_interval,
    effective_groups,
    ranking_size,
)
from melanoma.evaluation.bootstrap import Resamples, interval_ends
from melanoma.evaluation.combine import join_folds
from melanoma.evaluation.intervals import count_groups, of_cases, of_ranking
from melanoma.evaluation.metrics import mean_of_defined
from melanoma.evaluation.ranking import Floats, divide, ranking_figures
from melanoma.evaluation.tables import read_predictions
from melanoma.files import write_json, write_table
from melanoma.isic import CLASSES, UNKNOWN, WEIGHT_COLUMNS
from melanoma.scoring import Decided, decide, official_scores
from melanoma.submission import KEPT, choose_threshold, ood_scores, read_submission, submission

FILES = (
    "scores.json",
    "scores.csv",
    "per_class.csv",
    "confusion.csv",
    "submission.csv",
    "ood.csv",
)
"""Names of the files that `evaluate_official` writes."""

NINE = (*CLASSES, UNKNOWN)
_SCORES = {"nine_class": NINE, "eight_class": CLASSES}
_FIGURES = ("recall", "auc")


def evaluate_official(
    official: Sequence[Path],
    validation: Sequence[Path],
    catalogue: Path,
    output: Path,
    *,
    ood: str,
    matched: Collection[str] = (),
    resamples: int = 0,
    seed: int = 0,
) -> dict[str, Any]:
    """Write submission and score.

    Args:
        official: each fold's predictions of the official test set, with energy.
        validation: each fold's predictions of its validation part: the threshold's only source.
        catalogue: CSV of the test set's images.
        output: folder that gets `FILES`.
        ood: evaluation.ood, "energy" or "msp".
        matched: images of the test set that are also in training.
        resamples: bootstrap resamples; 0 leaves the intervals out.
        seed: of the resamples.

    Returns:
        What scores.json holds: "all" and "without_matched" (None without any matched) as
        `official_scores` gives them, "matched" (their number), and "unknown" (the threshold).

    Raises:
        InputError: predictions and catalogue are not of the same images.
    """
    tables = [read_predictions(path) for path in official]
    scores = _strangeness("official", tables, ood)
    known = _strangeness("val", [read_predictions(path) for path in validation], ood)
    rule = choose_threshold(known["ood"].to_numpy(float))
    probabilities = join_folds("official", [table[["image", *CLASSES]] for table in tables])
    images = read_catalogue(catalogue)
    file = output / "submission.csv"
    write_table(file, submission(probabilities, scores["ood"].to_numpy(float), rule))
    # What is scored is the file that would be handed in, checked by the challenge's rules.
    submitted = read_submission(file, list(images["image"])).rename_axis("image").reset_index()
    truth = truth_table(images)
    groups = images.set_index("image")["group"]
    chosen = dict(_image_sets(truth, submitted, matched))
    found = {name: official_scores(*pair) for name, pair in chosen.items()}
    per_class = pd.concat(
        [
            _judged(name, score, *pair, groups=groups, resamples=resamples, seed=seed)
            for name, pair in chosen.items()
            for score in _SCORES
        ],
        ignore_index=True,
    )
    result = {
        "all": found["all"],
        "without_matched": found.get("without_matched"),
        "matched": len(set(matched) & set(truth["image"])),
        "unknown": {"score": ood, "kept": KEPT, **asdict(rule)},
    }
    _write(output, result, per_class, scores)
    write_table(output / "confusion.csv", _confusion(decide(truth, submitted, NINE)))
    return result


def _image_sets(
    truth: pd.DataFrame, submitted: pd.DataFrame, matched: Collection[str]
) -> Iterator[tuple[str, tuple[pd.DataFrame, pd.DataFrame]]]:
    """Truth and submission of all images, and of those without a match where any has one."""
    yield "all", (truth, submitted)
    left = truth[~truth["image"].isin(list(matched))]
    if 0 < len(left) < len(truth):
        rest = submitted[submitted["image"].isin(left["image"])]
        yield "without_matched", (left, rest)


def _write(
    output: Path,
    result: dict[str, Any],
    per_class: pd.DataFrame,
    scores: pd.DataFrame,
) -> None:
    write_table(output / "ood.csv", scores)
    write_table(output / "per_class.csv", per_class[per_class["class"] != ""])
    headline = per_class[per_class["class"] == ""].drop(columns="class")
    names = {"recall": "balanced_accuracy", "auc": "macro_auc"}
    ends = {f"{old}_{end}": f"{new}_{end}" for old, new in names.items() for end in ("low", "high")}
    write_table(output / "scores.csv", headline.rename(columns=names | ends))
    write_json(output / "scores.json", result)


def _strangeness(subset: str, folds: Sequence[pd.DataFrame], ood: str) -> pd.DataFrame:
    """Columns image and ood: each fold's own score, out-of-fold on validation, else their mean."""
    return join_folds(
        subset, [table[["image"]].assign(ood=ood_scores(table, ood)) for table in folds]
    )


def _judged(
    images: str,
    score: str,
    truth: pd.DataFrame,
    submitted: pd.DataFrame,
    *,
    groups: pd.Series,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Recall of the arg-max and AUC, with intervals: a row for the mean (class ""), one a class.

    Returns:
        images, score, class, n (images), weight, then each of `_FIGURES` with _low and _high.
    """
    decided = decide(truth, submitted, _SCORES[score])
    draws = Resamples.by_group(groups.loc[list(decided.images)].to_numpy(str), resamples, seed)

    def statistics(counts: NDArray[np.floating]) -> dict[str, Floats]:
        return _figures(decided, counts.astype(np.float64) * decided.weight[:, None])

    point = {n: v[:, 0] for n, v in statistics(np.ones((len(decided.right), 1))).items()}
    ends = _intervals(point, draws.replicate(statistics), decided, draws)
    table = pd.DataFrame({"images": images, "score": score, "class": ["", *decided.classes]})
    table["n"] = [len(decided.right), *decided.truth.sum(axis=0)]
    table["weight"] = [decided.weight.sum(), *(decided.weight @ decided.truth)]
    for name in _FIGURES:
        table[name], (table[f"{name}_low"], table[f"{name}_high"]) = point[name], ends[name]
    return table


def _figures(decided: Decided, weights: Floats) -> dict[str, Floats]:
    """Mean over the classes that have weight, then each class: float [1 + k, b]."""
    hits = (decided.truth & decided.right[:, None]).astype(np.float64)
    recall = divide(hits.T @ weights, decided.truth.astype(np.float64).T @ weights)
    columns = range(len(decided.classes))
    areas = [ranking_figures(decided.truth[:, i], decided.scores[:, i], weights) for i in columns]
    auc = np.array([area for area, _ in areas])
    return {
        name: np.vstack([mean_of_defined(values), values])
        for name, values in (("recall", recall), ("auc", auc))
    }


def _intervals(
    point: Mapping[str, Floats],
    replicates: Mapping[str, Floats],
    decided: Decided,
    draws: Resamples,
) -> dict[str, tuple[Floats, Floats]]:
    """Ends for the mean and each class, float [1 + k] each; NaN where there is none."""
    weighs = decided.weight > 0
    own = [count_groups(draws.groups, column & weighs) for column in decided.truth.T]
    others = [count_groups(draws.groups, ~column & weighs) for column in decided.truth.T]
    rankings = [of_ranking(*counts) for counts in zip(own, others, strict=True)]
    supports = {"recall": [of_cases(count) for count in own], "auc": rankings}
    lesions = [effective_groups(draws.groups, c, decided.weight) for c in decided.truth.T]
    sizes = {"recall": lesions, "auc": [ranking_size(support.reach) for support in rankings]}
    each = {name: values[1:] for name, values in point.items()}
    spread = {name: values[1:] for name, values in replicates.items()}
    freedom = draws.freedom(spread)
    found = interval_ends(each, spread, draws, supports)
    ends = {}
    for name, (low, high) in found.items():
        mean = None
        if spread:
            groups = np.array([support.groups for support in supports[name]], np.int64)
            mean = average_interval(
                Classes(each[name], spread[name], freedom[name], np.array(sizes[name]), groups)
            )
        first = mean or (np.nan, np.nan)
        ends[name] = (np.r_[first[0], low], np.r_[first[1], high])
    return ends


def _confusion(decided: Decided) -> pd.DataFrame:
    """True class, then images of each decided class; a tie, decided by no class, is left out."""
    table = pd.DataFrame({"true": list(decided.classes)})
    top = decided.scores == decided.scores.max(axis=1, keepdims=True)
    alone = top & (top.sum(axis=1, keepdims=True) == 1)
    counts = decided.truth.astype(np.int64).T @ alone.astype(np.int64)
    return table.join(pd.DataFrame(counts, columns=list(decided.classes)))


def truth_table(catalogue: pd.DataFrame) -> pd.DataFrame:
    """Ground truth in the official form.

    Args:
        catalogue: image, diagnosis and perhaps the weights.

    Returns:
        image, the eight classes and UNK as 0/1, and the weights where the catalogue has them.

    Raises:
        InputError: a diagnosis that is none of these.
    """
    odd = catalogue[~catalogue["diagnosis"].isin(NINE)]
    if len(odd):
        row = odd.iloc[0]
        raise InputError(f"catalogue: image {row['image']} has the diagnosis {row['diagnosis']!r}")
    table = pd.DataFrame({"image": catalogue["image"]})
    for name in NINE:
        table[name] = (catalogue["diagnosis"] == name).astype(float)
    for column in WEIGHT_COLUMNS:
        if column in catalogue:
            table[column] = catalogue[column]
    return table
