import math

import pytest
import torch
from sklearn import metrics

from melanoma.training.figures import confusion_figure, validation_figures
from melanoma.training.losses import sample_losses

WEIGHTS = torch.linspace(0.5, 2.0, 8)


def example(classes, n=60):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, classes, (n,), generator=generator)
    logits = torch.randn(n, 8, generator=generator)
    logits[torch.arange(n), labels] += 1.0
    return logits, labels


def test_figures_agree_with_scikit_learn():
    logits, labels = example(8)
    figures = validation_figures(logits, labels, loss="plain", weights=WEIGHTS)
    predicted, softmax = logits.argmax(1), logits.double().softmax(1)
    expected = {
        "loss": metrics.log_loss(labels, softmax),
        "accuracy": metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, predicted),
        "macro_f1": metrics.f1_score(labels, predicted, average="macro"),
        "weighted_f1": metrics.f1_score(labels, predicted, average="weighted"),
        "macro_auroc": metrics.roc_auc_score(labels, softmax, multi_class="ovr"),
    }
    assert figures.values == pytest.approx(expected, abs=1e-6)
    confusion = metrics.confusion_matrix(labels, predicted)
    assert figures.confusion.tolist() == confusion.tolist()
    recall = metrics.recall_score(labels, predicted, average=None)
    assert figures.per_class["recall"] == pytest.approx(list(recall), abs=1e-6)


@pytest.mark.filterwarnings("error")
def test_absent_classes_count_in_no_mean():
    logits, labels = example(5)
    figures = validation_figures(logits, labels, loss="weighted", weights=WEIGHTS)
    recalls = figures.per_class["recall"]
    assert figures.values["balanced_accuracy"] == pytest.approx(sum(recalls[:5]) / 5)
    assert all(math.isnan(value) for value in recalls[5:])
    assert all(math.isfinite(value) for value in figures.values.values())


def test_a_single_class_decides_without_nan():
    logits, _ = example(8)
    labels = torch.full((60,), 3)
    figures = validation_figures(logits, labels, loss="focal", weights=WEIGHTS)
    assert figures.values["balanced_accuracy"] == figures.values["accuracy"]
    assert math.isnan(figures.values["macro_auroc"])


def test_losses_of_single_samples():
    logits, labels = example(8, n=6)
    plain = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(sample_losses(logits, labels, "plain", WEIGHTS), plain)
    weighted = torch.nn.functional.cross_entropy(logits, labels, WEIGHTS, reduction="none")
    torch.testing.assert_close(sample_losses(logits, labels, "weighted", WEIGHTS), weighted)
    chance = logits.softmax(1)[torch.arange(6), labels]
    focal = -((1 - chance) ** 2) * chance.log()
    torch.testing.assert_close(sample_losses(logits, labels, "focal", WEIGHTS), focal)
    half = sample_losses(logits.bfloat16(), labels, "plain", WEIGHTS)
    assert half.dtype == torch.float32


def test_confusion_figure_shows_every_count():
    confusion = torch.arange(64).reshape(8, 8)
    axes = confusion_figure(confusion).axes[0]
    assert [text.get_text() for text in axes.texts] == [str(value) for value in range(64)]
