"""The official test set: the submission, and its score with and without images seen in training.

Its images have no lesion ids: intervals resample groups of near-duplicates, and images alone
where there are none, so that they are a little narrow if a lesion was photographed twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
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
from melanoma.evaluation.tables import judge, read_predictions
from melanoma.evaluation.unknown import UnknownChoice, choose_unknown
from melanoma.files import write_json, write_table
from melanoma.isic import CLASSES, UNKNOWN, WEIGHT_COLUMNS
from melanoma.scoring import Decided, decide, official_scores
from melanoma.seeds import Run
from melanoma.submission import ood_scores, read_submission, stand_in_scores, submission

FILES = (
    "scores.json",
    "scores.csv",
    "per_class.csv",
    "confusion.csv",
    "unknown.csv",
    "submission.csv",
    "ood.csv",
)
"""Names of the files that `evaluate_official` writes."""

NINE = (*CLASSES, UNKNOWN)
_SCORES = {"nine_class": NINE, "eight_class": CLASSES}
NEVER = "nine_class_never"
"""The nine-class score of the same predictions, had UNK never been said."""

_FIGURES = ("recall", "auc")


def evaluate_official(
    official: Sequence[Path],
    validation: Sequence[Path],
    catalogue: Path,
    training: Path,
    output: Path,
    *,
    ood: str,
    matched: Collection[str] = (),
    resamples: int = 0,
    seed: int = 0,
    runs: Sequence[Run] | None = None,
) -> dict[str, Any]:
    """Write submission and score.

    Args:
        official: each model's predictions of the official test set, with energy.
        validation: each model's predictions of its fold's validation part, with energy: the only
            source of the choice when to say UNK.
        catalogue: CSV of the test set's images.
        training: CSV of the training set's images, the validation parts' among them.
        output: folder that gets `FILES`.
        ood: evaluation.ood, "energy" or "msp".
        matched: images of the test set that are also in training.
        resamples: bootstrap resamples; 0 leaves the intervals out.
        seed: of the resamples.
        runs: fold and seed of each model, as for `join_folds`.

    Returns:
        What scores.json holds: "all" and "without_matched" (None without any matched) as
        `official_scores` gives them, "never" (the same two, had UNK never been said), "matched"
        (their number), and "unknown": score, kept (share of validation images that pass as known),
        threshold (None where UNK is never said), scale, and what validation showed
        (`UnknownChoice`).

    Raises:
        InputError: predictions and catalogue are not of the same images.
    """
    tables = [read_predictions(path) for path in official]
    scores = _strangeness("official", tables, ood, runs)
    choice = choose_on_validation(
        [read_predictions(path) for path in validation], read_catalogue(training), ood, runs
    )
    probabilities = join_folds("official", [table[["image", *CLASSES]] for table in tables], runs)
    images = read_catalogue(catalogue)
    strangeness = scores["ood"].to_numpy(float)
    file = output / "submission.csv"
    write_table(file, submission(probabilities, strangeness, choice.rule))
    # What is scored is the file that would be handed in, checked by the challenge's rules.
    submitted = read_submission(file, list(images["image"])).rename_axis("image").reset_index()
    silent = submission(probabilities, strangeness, replace(choice.rule, never=True))
    truth = truth_table(images)
    judged = partial(
        _judged, groups=images.set_index("image")["group"], resamples=resamples, seed=seed
    )
    chosen = dict(_image_sets(truth, submitted, matched))
    never = dict(_image_sets(truth, silent, matched))
    rows = [judged(name, score, *pair) for name, pair in chosen.items() for score in _SCORES]
    rows += [judged(name, NEVER, *pair) for name, pair in never.items()]
    result = _scores(chosen) | {
        "never": _scores(never),
        "matched": len(set(matched) & set(truth["image"])),
        "unknown": _told(choice, ood),
    }
    _write(output, result, pd.concat(rows, ignore_index=True), scores)
    write_table(output / "confusion.csv", _confusion(decide(truth, submitted, NINE)))
    return result


def choose_on_validation(
    tables: Sequence[pd.DataFrame],
    catalogue: pd.DataFrame,
    ood: str,
    runs: Sequence[Run] | None = None,
) -> UnknownChoice:
    """Choose when to say UNK from each model's predictions of its own fold's validation part.

    Args:
        tables: image, the eight classes and, for "energy", energy, one a model.
        catalogue: of the training set: image, diagnosis, group.
        ood: "energy" or "msp".
        runs: fold and seed of each model, as for `join_folds`.

    Raises:
        InputError: no image, one of no known diagnosis, in two folds or not in the catalogue.
    """
    if not tables:
        raise InputError("official: no validation predictions to choose on when to say UNK")
    table = join_folds("val", tables, runs)
    judged = judge(table, catalogue)
    if judged.unknown or not len(judged.truth):
        raise InputError(
            f"validation predictions: {judged.unknown} of {len(table)} images are of no known "
            "diagnosis; predict again on the present splits"
        )
    # As on the official test set, each model has its own score, and their mean counts.
    truth = pd.Series(judged.truth, index=judged.images)
    strange = join_folds(
        "val",
        [
            each[["image"]].assign(
                known=ood_scores(each, ood),
                stand_in=stand_in_scores(each, ood, truth[each["image"]].to_numpy(np.int64)),
            )
            for each in tables
        ],
        runs,
    )
    return choose_unknown(
        strange["known"].to_numpy(np.float64),
        strange["stand_in"].to_numpy(np.float64),
        judged.truth,
        judged.probabilities.argmax(axis=1) == judged.truth,
        judged.groups.to_numpy(str),
    )


def _scores(sets: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]) -> dict[str, Any]:
    """The official scores of all images, and of those without a match or None."""
    found = {name: official_scores(*pair) for name, pair in sets.items()}
    return {name: found.get(name) for name in ("all", "without_matched")}


def _told(choice: UnknownChoice, ood: str) -> dict[str, Any]:
    """The choice as scores.json holds it."""
    shown = asdict(choice)
    rule = shown.pop("rule")
    return {
        "score": ood,
        "kept": 1.0 - choice.share,
        "never": rule["never"],
        "threshold": None if rule["never"] else rule["threshold"],
        "scale": rule["scale"],
        "validation": shown,
    }


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
    classes = (per_class["class"] != "") & (per_class["score"] != NEVER)
    write_table(output / "per_class.csv", per_class[classes])
    headline = per_class[per_class["class"] == ""].drop(columns="class")
    names = {"recall": "balanced_accuracy", "auc": "macro_auc"}
    ends = {f"{old}_{end}": f"{new}_{end}" for old, new in names.items() for end in ("low", "high")}
    write_table(output / "scores.csv", headline.rename(columns=names | ends))
    unknown = result["unknown"]
    told = {"score": unknown["score"], "never": unknown["never"], "threshold": unknown["threshold"]}
    write_table(output / "unknown.csv", pd.DataFrame([told | unknown["validation"]]))
    write_json(output / "scores.json", result)


def _strangeness(
    subset: str, tables: Sequence[pd.DataFrame], ood: str, runs: Sequence[Run] | None
) -> pd.DataFrame:
    """Columns image and ood: each model's own score, out-of-fold on validation, else their mean."""
    scored = [table[["image"]].assign(ood=ood_scores(table, ood)) for table in tables]
    return join_folds(subset, scored, runs)


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
    decided = decide(truth, submitted, _SCORES.get(score, NINE))
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
                Classes(
                    points=each[name],
                    replicates=spread[name],
                    freedom=freedom[name],
                    sizes=np.array(sizes[name]),
                    groups=groups,
                    shares=name == "recall",
                )
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
