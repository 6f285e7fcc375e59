"""Validation figures of one epoch, from the logits of the whole validation part."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
)

from melanoma import isic
from melanoma.training.losses import sample_losses

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Figures:
    """Validation figures.

    Attributes:
        values: loss, accuracy, balanced_accuracy, macro_f1, weighted_f1, macro_auroc; classes
            without a validation image count in none of the means.
        per_class: precision, recall, f1 and auroc of each class; NaN where there is none.
        confusion: int64[classes, classes], rows the truth.
        probabilities: float64[n, classes], raw softmax of every row.
    """

    values: dict[str, float]
    per_class: dict[str, list[float]]
    confusion: Tensor
    probabilities: Tensor


def validation_figures(
    logits: Tensor,
    labels: Tensor,
    *,
    loss: Literal["weighted", "focal", "plain"],
    weights: Tensor,
) -> Figures:
    """Figures of the whole validation part.

    Args:
        logits: float32[n, classes], on the CPU.
        labels: int64[n].
        loss: which loss, as in training.
        weights: float32[classes] for the loss.

    Returns:
        The figures; those that decide (loss aside) are never NaN.
    """
    classes = logits.shape[1]
    options: dict[str, Any] = {"num_classes": classes, "sync_on_compute": False}
    metrics = MetricCollection(
        {
            "accuracy": MulticlassAccuracy(average="micro", **options),
            "recall": MulticlassAccuracy(average=None, **options),
            "precision": MulticlassPrecision(average=None, **options),
            "f1": MulticlassF1Score(average=None, **options),
            "auroc": MulticlassAUROC(average=None, **options),
            "confusion": MulticlassConfusionMatrix(**options),
        }
    )
    with warnings.catch_warnings():
        # Classes without samples are dealt with below.
        warnings.filterwarnings("ignore", module="torchmetrics")
        probabilities = torch.softmax(logits.double(), dim=1)
        results = metrics(probabilities, labels)
    counts = torch.bincount(labels, minlength=classes)
    present = counts > 0
    ranked = present & (counts < len(labels))
    per_class = {
        "precision": results["precision"],
        "recall": torch.where(present, results["recall"], torch.nan),
        "f1": results["f1"],
        "auroc": torch.where(ranked, results["auroc"], torch.nan),
    }
    shares = counts[present] / len(labels)
    values = {
        "loss": sample_losses(logits, labels, loss, weights).double().mean(),
        "accuracy": results["accuracy"],
        "balanced_accuracy": results["recall"][present].mean(),
        "macro_f1": results["f1"][present].mean(),
        "weighted_f1": (results["f1"][present] * shares).sum(),
        "macro_auroc": results["auroc"][ranked].mean(),
    }
    return Figures(
        values={name: float(value) for name, value in values.items()},
        per_class={name: [float(v) for v in column] for name, column in per_class.items()},
        confusion=results["confusion"],
        probabilities=probabilities,
    )


def confusion_figure(confusion: Tensor, classes: Sequence[str] = isic.CLASSES) -> Figure:
    """The confusion matrix as a picture, coloured by the share of each row.

    Args:
        confusion: int64[classes, classes], rows the truth.
        classes: their names.
    """
    from matplotlib.figure import Figure

    shares = confusion / confusion.sum(dim=1, keepdim=True).clamp(min=1)
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares.numpy(), vmin=0, vmax=1, cmap="Blues")
    axes.set_xticks(range(len(classes)), classes, rotation=45)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for i in range(len(classes)):
        for j in range(len(classes)):
            colour = "white" if shares[i, j] > 0.5 else "black"
            axes.text(j, i, str(int(confusion[i, j])), ha="center", va="center", color=colour)
    return figure
