import warnings

import evaluation_examples as examples
import numpy as np
import pytest
from sklearn import metrics as reference

from melanoma.evaluation import metrics
from melanoma.evaluation.ranking import ranking_figures


def _case(seed, *, rows=150, ties=False, classes=range(8)):
    rng = np.random.default_rng(seed)
    truth = rng.choice(list(classes), size=rows)
    logits = rng.normal(size=(rows, 8))
    logits[np.arange(rows), truth] += 1.0
    values = examples.softmax(logits)
    return truth, values.round(1) if ties else values


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [range(8), (0, 1, 4), (2, 5)])
def test_equal_to_scikit_learn(ties, classes):
    truth, values = _case(len(classes), ties=ties, classes=classes)
    found = metrics.point_figures(truth, values)
    decided = values.argmax(axis=1)
    present = sorted(set(truth))
    expected = {
        "accuracy": reference.accuracy_score(truth, decided),
        "balanced_accuracy": np.mean([(decided[truth == k] == k).mean() for k in present]),
        "macro_f1": reference.f1_score(truth, decided, labels=present, average="macro"),
        "weighted_f1": reference.f1_score(truth, decided, labels=present, average="weighted"),
        "macro_auroc": np.mean(
            [reference.roc_auc_score(truth == k, values[:, k]) for k in present]
        ),
        "macro_average_precision": np.mean(
            [reference.average_precision_score(truth == k, values[:, k]) for k in present]
        ),
    }
    for name, value in expected.items():
        assert found.headline[name][0] == pytest.approx(value, abs=1e-12), name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = reference.precision_recall_fscore_support(
            truth, decided, labels=range(8), zero_division=np.nan
        )
    np.testing.assert_array_equal(found.support[:, 0], table[3])
    for name, column in (("precision", 0), ("recall", 1)):
        np.testing.assert_allclose(found.per_class[name][:, 0], table[column], atol=1e-12)
    matrix = reference.confusion_matrix(truth, decided, labels=range(8))
    np.testing.assert_array_equal(metrics.confusion_matrix(truth, values), matrix)
    for k in present:
        others = truth != k
        assert found.per_class["specificity"][k, 0] == pytest.approx((decided[others] != k).mean())
        assert found.per_class["f1"][k, 0] == pytest.approx(
            reference.f1_score(truth == k, decided == k), abs=1e-12
        )


def test_a_class_without_rows_has_no_figures_and_no_share_in_averages():
    truth, values = _case(3, classes=(0, 1))
    found = metrics.point_figures(truth, values)
    for name in ("recall", "f1", "auroc", "average_precision"):
        assert np.isnan(found.per_class[name][5, 0])
        assert not np.isnan(found.per_class[name][:2, 0]).any()
    headline = {name: metrics.plain(float(v[0])) for name, v in found.headline.items()}
    reasons = metrics.undefined_reasons(headline, found.support[:, 0].tolist())
    assert reasons == {
        "averages": "over the classes present; without rows: BCC, AK, BKL, DF, VASC, SCC"
    }


def test_one_class_alone_leaves_areas_undefined():
    truth, values = _case(4, classes=(1,))
    found = metrics.point_figures(truth, values)
    assert np.isnan(found.headline["macro_auroc"][0])
    headline = {name: metrics.plain(float(v[0])) for name, v in found.headline.items()}
    assert headline["melanoma_sensitivity"] is None
    reasons = metrics.undefined_reasons(headline, found.support[:, 0].tolist())
    assert {"macro_auroc", "melanoma_auroc", "melanoma_sensitivity"} <= set(reasons)
    assert "accuracy" not in reasons


@pytest.mark.parametrize("ties", [False, True])
def test_weights_count_as_repeated_rows(ties):
    truth, values = _case(5, ties=ties)
    weights = np.random.default_rng(0).integers(0, 4, size=(len(truth), 6)).astype(np.float32)
    found = metrics.compute(truth, values, weights)
    for column in range(6):
        rows = np.repeat(np.arange(len(truth)), weights[:, column].astype(int))
        alone = metrics.point_figures(truth[rows], values[rows])
        for name, figure in found.headline.items():
            assert figure[column] == pytest.approx(alone.headline[name][0], abs=1e-12), name
        for name, figure in found.per_class.items():
            np.testing.assert_allclose(figure[:, column], alone.per_class[name][:, 0], atol=1e-12)


def test_ranking_with_whole_tie_blocks_and_no_weight_on_top():
    positive = np.array([True, False, True, False])
    scores = np.array([0.9, 0.5, 0.5, 0.5])
    weights = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    area, average = ranking_figures(positive, scores, weights)
    assert area == pytest.approx([0.75, 0.5])
    assert average == pytest.approx([0.75, 1 / 3])


def test_weights_are_not_changed():
    truth, values = _case(6)
    weights = np.ones((len(truth), 3))
    metrics.compute(truth, values, weights)
    assert (weights == 1).all()
