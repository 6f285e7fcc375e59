import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression

from melanoma.evaluation.recalibration import debiased_error, recalibration
from melanoma.evaluation.reliability import calibration_error


def _perfect(images, seed, lesions=None, off=0.0):
    """Probabilities of eight classes that mean what they say, but for `off` at the largest."""
    rng = np.random.default_rng(seed)
    lesion = np.arange(images) if lesions is None else np.sort(rng.integers(0, lesions, images))
    probabilities = rng.dirichlet(np.full(8, 0.4), images)[lesion if lesions else slice(None)]
    draw = rng.random(images)[lesion if lesions else slice(None)]
    truth = (probabilities.cumsum(axis=1) < draw[:, None]).sum(axis=1)
    said = np.clip(
        probabilities + off * (probabilities == probabilities.max(1, keepdims=True)), 0, 1
    )
    return np.minimum(truth, 7), said, lesion


def _kumars(truth, probabilities, bins=15):
    """Debiased squared error of bins of equal numbers of images, as Kumar et al. write it."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    order = np.argsort(confidence, kind="stable")
    total = 0.0
    for rows in np.array_split(order, bins):
        share, mean, n = right[rows].mean(), confidence[rows].mean(), len(rows)
        total += n / len(truth) * ((share - mean) ** 2 - share * (1 - share) / (n - 1))
    return total


@pytest.mark.parametrize("off", [0.0, 0.1])
def test_the_debiased_error_is_kumars(off):
    truth, probabilities, lesion = _perfect(1500, 1, off=off)
    found = debiased_error(truth, probabilities, lesion)
    expected = max(_kumars(truth, probabilities), 0.0)
    assert found.value**2 == pytest.approx(expected, abs=2e-5)
    if off:
        assert found.value > 0.07


def test_perfect_probabilities_have_a_plain_error_and_no_debiased_one():
    plain, debiased, held = [], [], []
    for seed in range(60):
        truth, probabilities, lesion = _perfect(288, seed)
        plain.append(calibration_error(truth, probabilities))
        found = debiased_error(truth, probabilities, lesion)
        debiased.append(found.value)
        held.append(found.ends[0] == 0.0)
    assert np.mean(plain) > 0.05
    assert np.mean(np.array(debiased) == 0) > 0.35
    assert np.mean(debiased) < 0.5 * np.mean(plain)
    assert np.mean(held) >= 0.93


def test_its_interval_holds_the_error_of_a_large_sample():
    truth, probabilities, lesion = _perfect(300_000, 99, off=0.08)
    true = debiased_error(truth, probabilities, lesion).value
    assert true > 0.05
    held = []
    for seed in range(60):
        one = debiased_error(*_perfect(800, seed, off=0.08))
        assert one.ends[0] <= one.value + 1e-9
        held.append(one.ends[0] <= true <= one.ends[1])
    assert np.mean(held) >= 0.9


def test_lesions_of_many_images_are_no_evidence_of_miscalibration():
    apart, together = [], []
    for seed in range(40):
        truth, probabilities, lesion = _perfect(600, seed, lesions=150)
        apart.append(debiased_error(truth, probabilities, np.arange(600)).ends[0] == 0)
        together.append(debiased_error(truth, probabilities, lesion).ends[0] == 0)
    assert np.mean(apart) < 0.7
    assert np.mean(together) >= 0.9


def test_without_two_lesions_there_is_no_debiased_error():
    truth, probabilities, _ = _perfect(30, 0)
    for rows, groups in ((slice(0, 0), np.zeros(0)), (slice(None), np.zeros(30))):
        found = debiased_error(truth[rows], probabilities[rows], groups)
        assert np.isnan(found.value)
        assert found.ends is None


def _melanoma(images=900, seed=0, slope=0.6, intercept=-0.5):
    rng = np.random.default_rng(seed)
    lesion = np.sort(rng.integers(0, images // 2, images))
    score = rng.normal(-1, 1.5, images)
    return rng.random(images) < expit(intercept + slope * score), expit(score), lesion


def test_slope_and_intercept_are_those_of_a_logistic_regression():
    outcome, probability, lesion = _melanoma()
    score = logit(probability)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(score[:, None], outcome)
    found = recalibration(outcome, probability, lesion)
    assert found["slope"].value == pytest.approx(model.coef_[0, 0], abs=1e-5)
    assert found["intercept"].value == pytest.approx(model.intercept_[0], abs=1e-5)
    # The sandwich written out: bread, sums of each lesion's scores, bread.
    design = np.column_stack([np.ones_like(score), score])
    fitted = model.predict_proba(score[:, None])[:, 1]
    bread = np.linalg.inv(design.T @ np.diag(fitted * (1 - fitted)) @ design)
    names = np.unique(lesion)
    meat = np.zeros((2, 2))
    for name in names:
        total = (design * (outcome - fitted)[:, None])[lesion == name].sum(axis=0)
        meat += np.outer(total, total)
    errors = np.sqrt(np.diag(bread @ meat @ bread) * len(names) / (len(names) - 1))
    rarer = min(len(np.unique(lesion[outcome])), len(np.unique(lesion[~outcome])))
    for name, error in zip(("intercept", "slope"), errors, strict=True):
        half = student.ppf(0.975, rarer - 1) * error
        low, high = found[name].ends
        assert (high - low) / 2 == pytest.approx(half, rel=1e-4)
    large = found["in_the_large"].value
    assert expit(score + large).sum() == pytest.approx(outcome.sum(), abs=1e-6)


def test_their_intervals_hold_the_truth():
    held = []
    for seed in range(80):
        found = recalibration(*_melanoma(400, seed))
        held.append(
            [
                low <= t <= high
                for t, (low, high) in ((0.6, found["slope"].ends), (-0.5, found["intercept"].ends))
            ]
        )
    assert (np.mean(held, axis=0) >= 0.9).all()


def test_images_of_a_lesion_do_not_narrow_them():
    outcome, probability, lesion = _melanoma(300)
    rows = np.repeat(np.arange(300), 4)
    once = recalibration(outcome, probability, lesion)
    often = recalibration(outcome[rows], probability[rows], lesion[rows])
    for name, one in once.items():
        assert often[name].ends == pytest.approx(one.ends, abs=1e-6)


@pytest.mark.parametrize(
    ("outcome", "probability"),
    [
        ([True, True], [0.2, 0.9]),
        ([False, False], [0.2, 0.9]),
        ([False, False, True, True], [0.1, 0.2, 0.7, 0.9]),
        ([False, True, False, True], [0.3, 0.3, 0.3, 0.3]),
    ],
)
def test_what_cannot_be_fitted_is_undefined(outcome, probability):
    outcome = np.array(outcome)
    found = recalibration(outcome, np.array(probability), np.arange(len(outcome)))
    assert np.isnan(found["slope"].value)
    assert found["slope"].ends is None
    if outcome.any() and not outcome.all():
        assert np.isfinite(found["in_the_large"].value)


def test_probabilities_of_zero_and_one_are_taken():
    outcome = np.array([False, True, False, True, True, False])
    probability = np.array([0.0, 1.0, 1.0, 0.0, 0.6, 0.3])
    found = recalibration(outcome, probability, np.arange(6))
    assert np.isfinite(found["slope"].value)
