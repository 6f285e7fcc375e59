"""What was trained on what, and the figures to quote: a page, and the report's first words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from melanoma import config
from melanoma.evaluation.best_epoch import TRAINING, best_text
from melanoma.isic import MELANOMA
from melanoma.pages.decision import decision_texts, why_no_default
from melanoma.pages.document import Block, Document, Heading, Paragraph, Points, Table
from melanoma.pages.numbers import NO_INTERVAL, counted, with_interval
from melanoma.pages.plan import SUBSETS
from melanoma.split_audit import NO_LESION_ID, SHARE_OF_SOURCE

FIGURES = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "macro_auroc": "macro AUROC",
    "melanoma_auroc": "melanoma AUROC",
    "melanoma_sensitivity": "melanoma sensitivity, by the predicted class",
    "melanoma_specificity": "melanoma specificity, by the predicted class",
}
"""Headline figures of metrics.json, in reading order."""

AT_POINT = {
    "sensitivity": "melanoma sensitivity, at the threshold",
    "specificity": "melanoma specificity, at the threshold",
    "ppv": "positive predictive value, at the threshold",
}

PREVALENCE = "prevalence of melanoma, which the predictive value depends on"

OPENING = ("balanced_accuracy", "macro_auroc", "melanoma_auroc")
"""What the report's first words hold, beside the figures at the threshold."""

_NAN = float("nan")
_NONE = "not defined"


@dataclass(frozen=True)
class Evaluated:
    """An experiment and what came of it.

    Attributes:
        experiment: its settings.
        metrics: its metrics.json.
        history: epochs of every training: columns fold, seed, epoch, val_balanced_accuracy.
        decision: its decision.json.
    """

    experiment: config.Experiment
    metrics: Mapping[str, Any]
    history: pd.DataFrame
    decision: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of the experiment."""
        return self.experiment.name

    @property
    def subsets(self) -> list[str]:
        """Those evaluated."""
        return [name for name in SUBSETS if name in self.metrics]


def figures_table(one: Evaluated) -> pd.DataFrame:
    """Headline figures of one experiment.

    Returns:
        Columns figure and, for each subset, its name with the value and its 95 % interval as text.
    """
    table = pd.DataFrame({"figure": [*FIGURES.values(), *AT_POINT.values(), PREVALENCE]})
    for subset in one.subsets:
        ends = one.metrics["intervals"].get(subset, {})
        values = [
            _text(one.metrics[subset].get(name), *ends.get(name, (_NAN, _NAN))) for name in FIGURES
        ]
        point = _at_point(one, subset)
        values += [
            _text(point.get(name), point.get(f"{name}_low"), point.get(f"{name}_high"))
            for name in AT_POINT
        ]
        table[SUBSETS[subset]] = [*values, _prevalence(one, subset)]
    return table


def figures_blocks(one: Evaluated) -> list[Block]:
    """The table of `figures_table`, and why figures have no interval where some have one."""
    table = figures_table(one)
    estimated = table.loc[table["figure"] != PREVALENCE, table.columns[1:]]
    texts = [text for text in estimated.to_numpy().ravel() if text != _NONE]
    with_ends = sum("(" in text for text in texts)
    # Nobody looks for a figure by its value.
    shown = Table(table, filtered=False)
    return [shown, *([Paragraph(NO_INTERVAL)] if 0 < with_ends < len(texts) else [])]


def _prevalence(one: Evaluated, subset: str) -> str:
    size = one.metrics["n"][subset]
    melanomas, images = size["classes"][MELANOMA], size["images"]
    # In no brackets, which hold intervals.
    return f"{melanomas} of {counted(images, 'image')}, {100 * melanomas / images:.1f} %"


def _at_point(one: Evaluated, subset: str) -> Mapping[str, Any]:
    """What the default threshold reaches."""
    melanoma = one.metrics["melanoma"]
    reached: Mapping[str, Any] = melanoma["reached"].get(subset, {})
    found: Mapping[str, Any] = reached.get(melanoma["default"], {})
    return found


def _text(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return _NONE
    return with_interval(value, *(_NAN if end is None else end for end in (low, high)))


def experiments_table(found: Sequence[Evaluated]) -> pd.DataFrame:
    """What each experiment is, one a row: columns experiment, model, images, training."""
    rows = []
    for one in found:
        settings = one.experiment
        rows.append(
            {
                "experiment": one.name,
                "model": model_text(settings.model),
                "images": images_text(settings.images) if settings.model.image else "not used",
                "training": training_text(settings.training, one.history),
            }
        )
    return pd.DataFrame(rows)


def model_text(model: config.Model) -> str:
    """A model in words."""
    parts = []
    if model.image:
        parts.append(f"{model.backbone} from {_start_text(model)}")
    if model.metadata:
        fields = ", ".join(model.metadata_fields)
        how = " by metablock" if model.fusion == "metablock" else ""
        parts.append(f"metadata ({fields}){how}")
    return " with ".join(parts)


def _start_text(model: config.Model) -> str:
    """What the backbone's training started from."""
    if not model.pretrained:
        return "random weights"
    return f"the weights {model.weights}" if model.weights else "ImageNet weights"


def images_text(images: config.Images) -> str:
    """Preprocessing in words."""
    hair = {"none": "hair left in"}.get(
        images.hair_removal, f"hair removed ({images.hair_removal})"
    )
    return f"{images.size} px, framing {images.framing}, {hair}"


def training_text(training: config.Training, history: pd.DataFrame) -> str:
    """A training in words: its settings, how many epochs it took, and which gave the model."""
    epochs = history.groupby(list(TRAINING))["epoch"].max() + 1
    least, most = epochs.min(), epochs.max()
    took = counted(most, "epoch") if least == most else f"{least}-{most} epochs"
    left = ", ".join(training.exclude_sources)
    return (
        f"{took} of at most {training.max_epochs} ({best_text(history)}, counted from 0), "
        f"{training.loss} loss, "
        f"{f'{training.seeds} seeds, ' if training.seeds > 1 else ''}"
        f"batch {training.batch_size}, rate {training.lr:g}" + (f", without {left}" if left else "")
    )


def sizes_text(one: Evaluated, audit: pd.DataFrame) -> str:
    """What was trained and evaluated on, in a sentence.

    Args:
        one: the experiment.
        audit: splits_audit.csv, as text.
    """
    first = audit[audit["fold"] == "0"].set_index("quantity")
    images, lesions, nameless = (
        int(str(first.loc[quantity, "train"])) for quantity in ("images", "lesions", NO_LESION_ID)
    )
    trained = _images_of_lesions(images, lesions, nameless)
    if left_out := one.experiment.training.exclude_sources:
        trained = _images_left(images, first, left_out)
    parts = [f"trained on {trained}"]
    for subset, verb in (("val", "validated on"), ("test", "tested on")):
        size = one.metrics["n"].get(subset)
        if size:
            parts.append(f"{verb} {size['images']}")
    folds = audit["fold"].nunique()
    again = f" (the first of {folds} folds; validation is the union of all)" if folds > 1 else ""
    return f"{', '.join(parts[:-1])} and {parts[-1]}{again}. No lesion is in two parts."


def _images_left(images: int, first: pd.DataFrame, left_out: Sequence[str]) -> str:
    """The images of the training part that are trained on where sources are left out."""
    of_source = first.index == SHARE_OF_SOURCE
    shares = first[of_source & first["value"].isin(left_out)]["train"].astype(float)
    return (
        f"{round(images * (1 - shares.sum()))} of {counted(images, 'image')}, "
        f"without {' and '.join(left_out)}"
    )


def _images_of_lesions(images: int, lesions: int, nameless: int) -> str:
    """Numbers that add up: an image without a lesion id belongs to no known lesion."""
    if not lesions:
        return f"{counted(images, 'image')} without a lesion id"
    if not nameless:
        return f"{counted(images, 'image')} of {counted(lesions, 'lesion')}"
    return (
        f"{counted(images, 'image')} ({images - nameless} of {counted(lesions, 'known lesion')}, "
        f"{nameless} without a lesion id)"
    )


def point_text(one: Evaluated) -> str:
    """The default threshold in a sentence or two."""
    melanoma = one.metrics["melanoma"]
    name = melanoma["default"]
    if not name:
        return f"There is no melanoma threshold: {why_no_default(one.decision)}."
    goal, _, share = name.partition("_")
    text = (
        f"The melanoma threshold {melanoma['thresholds'][name]:.3g} of the calibrated probability "
        f"was chosen on validation for a {goal} of {share} %."
    )
    return f"{text} {_mean_text(one)}" if melanoma["models"] > 1 else text


def _mean_text(one: Evaluated) -> str:
    """What it does that a threshold of single models is applied to their mean."""
    models, seeds = one.metrics["melanoma"]["models"], one.experiment.training.seeds
    text = (
        f"There each image has {_unseen_text(one)}; elsewhere the threshold is applied to the mean "
        f"of {models} models{', which strays less' if models > seeds else ' likewise'}"
    )
    found = {subset: _at_point(one, subset).get("sensitivity") for subset in one.subsets}
    if found.get("val") is None or found.get("test") is None:
        return f"{text}."
    return (
        f"{text}: sensitivity is {found['val']:.3f} on validation and {found['test']:.3f} on test."
    )


def _unseen_text(one: Evaluated) -> str:
    """What predicts an image of validation."""
    seeds = one.experiment.training.seeds
    if seeds == 1:
        return "the probability of the one model that has not seen it"
    return f"the mean probability of the {seeds} models that have not seen it"


def document(found: Sequence[Evaluated], audit: pd.DataFrame, caption: str) -> Document:
    """The page of the headline figures of every experiment, the main one first."""
    blocks: list[Block] = [
        Paragraph(" ".join(caption.split())),
        Heading("What was trained on what"),
        Table(experiments_table(found)),
    ]
    for one in found:
        blocks += [
            Heading(one.name),
            Paragraph(f"{one.name} was {sizes_text(one, audit)} {point_text(one)}"),
            *figures_blocks(one),
            Points(tuple(decision_texts(one.decision))),
        ]
    return Document("Headline figures", tuple(blocks))


def opening(found: Sequence[Evaluated], audit: pd.DataFrame) -> str:
    """The report's first words as reStructuredText: the main experiment's sizes and figures."""
    main = found[0]
    table = figures_table(main)
    wanted = [FIGURES[name] for name in OPENING]
    wanted += [AT_POINT["sensitivity"], AT_POINT["specificity"]]
    rows = [list(table.columns), *table[table["figure"].isin(wanted)].to_numpy().tolist()]
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        lines += [f"   {'* -' if place == 0 else '  -'} {text}" for place, text in enumerate(row)]
    others = [f"{one.name} ({model_text(one.experiment.model)})" for one in found[1:]]
    more = f"\n\nCompared with it: {'; '.join(others)}." if others else ""
    return (
        f"**{main.name}**: {model_text(main.experiment.model)}, "
        f"{images_text(main.experiment.images)}; {sizes_text(main, audit)}\n\n"
        + "\n".join(lines)
        + f"\n\nIn brackets: 95 % intervals, resampled by lesion. {point_text(main)}{more}\n"
    )
