import numpy as np
import pytest
from evaluation_examples import softmax
from scipy.optimize import minimize

from melanoma.evaluation import reliability
from melanoma.evaluation.scaling import (
    BOTH,
    CANDIDATES,
    RAW,
    STRENGTHS,
    TEMPERATURE,
    TEMPERATURES,
    choose_scaling,
    scale,
)

PRIORS = np.array([4522, 12875, 3323, 867, 2624, 239, 253, 628]) / 25331
SHIFT = np.log(8 * PRIORS)
LIMITS = {RAW: (), TEMPERATURE: (0,), BOTH: (0, 1)}


def _draw(rng, rows, taken_up, sharpness):
    """Softmax of a network that took up a part of the class weights, and true classes."""
    logits = rng.normal(0, 1.6, (rows, 8)) + np.log(PRIORS)
    cumulated = softmax(logits).cumsum(axis=1)
    truth = np.minimum((rng.random((rows, 1)) > cumulated).sum(axis=1), 7)
    return softmax((logits - taken_up * SHIFT) * sharpness), truth


def _by_hand(raw, truth, name):
    """Temperature and strength of a candidate, by a search that knows no slope."""

    def loss(values):
        full = np.zeros(2)
        full[list(LIMITS[name])] = values
        inside = np.clip(full, [np.log(TEMPERATURES[0]), 0], [np.log(TEMPERATURES[1]), 1.5])
        probabilities = softmax(np.log(raw) / np.exp(inside[0]) + inside[1] * SHIFT)
        return -np.log(probabilities[np.arange(len(truth)), truth]).mean()

    start = np.zeros(len(LIMITS[name]))
    if not len(start):
        return 1.0, 0.0
    options = {"xatol": 1e-7, "fatol": 1e-13, "maxiter": 2000}
    found = minimize(loss, start, method="Nelder-Mead", options=options).x
    full = np.zeros(2)
    full[list(LIMITS[name])] = found
    return float(np.exp(full[0])), float(np.clip(full[1], *STRENGTHS))


def _loss(raw, truth, temperature, strength):
    probabilities = softmax(np.log(raw) / temperature + strength * SHIFT)
    return -np.log(probabilities[np.arange(len(truth)), truth]).mean()


def _singly(rows):
    return [f"lesion {number}" for number in range(rows)]


@pytest.mark.parametrize(
    ("taken_up", "sharpness", "wanted"),
    [(1, 1, BOTH), (0.5, 1, BOTH), (0.5, 2, BOTH), (0, 2, TEMPERATURE), (0, 1, RAW)],
)
def test_calibration_makes_nothing_worse(taken_up, sharpness, wanted):
    excess, errors, chosen = [], [], []
    for seed in range(4):
        rng = np.random.default_rng([seed, round(10 * taken_up), sharpness])
        raw, truth = _draw(rng, 2000, taken_up, sharpness)
        fresh, fresh_truth = _draw(rng, 2000, taken_up, sharpness)
        found = choose_scaling(raw, truth, SHIFT, _singly(2000))
        chosen.append(found.chosen)
        held = scale(fresh, found.temperature, found.strength * SHIFT)
        errors.append(reliability.calibration_error(fresh_truth, held))
        alternatives = [
            _loss(fresh, fresh_truth, *_by_hand(raw, truth, name)) for name in CANDIDATES
        ]
        own = _loss(fresh, fresh_truth, found.temperature, found.strength)
        excess.append(own - min(alternatives))
    assert np.mean(excess) <= 0.005
    assert np.mean(errors) <= 0.045
    assert chosen.count(wanted) >= 3


@pytest.mark.parametrize("taken_up", [0.3, 0.5, 1.0, 1.3])
@pytest.mark.parametrize("sharpness", [0.7, 2.0])
def test_both_numbers_are_found(taken_up, sharpness):
    raw, truth = _draw(np.random.default_rng(1), 20_000, taken_up, sharpness)
    found = choose_scaling(raw, truth, SHIFT, _singly(len(truth)))
    assert found.chosen == BOTH
    assert found.temperature == pytest.approx(sharpness, rel=0.04)
    assert found.strength == pytest.approx(taken_up, abs=0.04)
    assert found.at_bound == ()
    expected = _by_hand(raw, truth, BOTH)
    assert (found.temperature, found.strength) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize(
    ("taken_up", "sharpness", "bounds", "values"),
    [
        (2.5, 1.0, ("strength",), (None, STRENGTHS[1])),
        (1.0, 0.03, ("temperature",), (TEMPERATURES[0], None)),
    ],
)
def test_a_fit_that_a_bound_stopped_says_so(taken_up, sharpness, bounds, values):
    raw, truth = _draw(np.random.default_rng(2), 4000, taken_up, sharpness)
    found = choose_scaling(raw, truth, SHIFT, _singly(4000))
    assert found.at_bound == bounds
    for value, wanted in zip((found.temperature, found.strength), values, strict=True):
        assert wanted is None or value == pytest.approx(wanted)


def test_without_a_shift_there_is_no_strength():
    raw, truth = _draw(np.random.default_rng(3), 4000, 0, 2)
    found = choose_scaling(raw, truth, np.full(8, 0.7), _singly(4000))
    assert found.strength is None
    assert found.chosen == TEMPERATURE
    assert set(found.losses) == {RAW, TEMPERATURE}


def test_the_order_of_the_rows_changes_nothing():
    raw, truth = _draw(np.random.default_rng(4), 900, 0.5, 1.5)
    groups = np.array([f"g{number // 3:04d}" for number in range(900)])
    order = np.random.default_rng(5).permutation(900)
    first = choose_scaling(raw, truth, SHIFT, groups)
    second = choose_scaling(raw[order], truth[order], SHIFT, groups[order])
    assert second.chosen == first.chosen
    assert second.temperature == pytest.approx(first.temperature, rel=1e-6)
    assert second.strength == pytest.approx(first.strength, rel=1e-6)
    assert second.losses == pytest.approx(first.losses, rel=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_many_images_of_a_lesion_make_no_fit_surer(seed):
    """A model that is hardly off: 60 lesions are too few to tell, 60 x 30 would be enough."""
    raw, truth = _draw(np.random.default_rng(seed), 60, 0, 1.15)
    once = choose_scaling(raw, truth, SHIFT, _singly(60))
    raw, truth = np.repeat(raw, 30, axis=0), np.repeat(truth, 30)
    again = choose_scaling(raw, truth, SHIFT, np.repeat(_singly(60), 30))
    assert again.chosen == once.chosen
    assert again.losses == pytest.approx(once.losses, rel=1e-6)
    assert (again.temperature, again.strength) == pytest.approx((once.temperature, once.strength))


def test_images_taken_for_lesions_would_be_surer():
    found = []
    for seed in range(5):
        raw, truth = _draw(np.random.default_rng(seed), 60, 0, 1.15)
        raw, truth = np.repeat(raw, 30, axis=0), np.repeat(truth, 30)
        found.append(choose_scaling(raw, truth, SHIFT, _singly(1800)).chosen)
    assert found.count(RAW) < 5


@pytest.mark.parametrize("rows", [1, 3])
def test_one_lesion_is_too_few_to_choose_by(rows):
    raw, truth = _draw(np.random.default_rng(6), rows, 1, 2)
    found = choose_scaling(raw, truth, SHIFT, ["the same"] * rows)
    assert (found.chosen, found.temperature, found.strength, found.losses) == (RAW, 1.0, 0.0, {})
