import json

import evaluation_examples as examples
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from melanoma.errors import InputError
from melanoma.evaluation import reliability
from melanoma.evaluation.calibration import apply_decision, fit_decision, training_counts
from melanoma.evaluation.operating_points import TARGETS, choose_points
from melanoma.evaluation.tables import probability_table
from melanoma.isic import CLASSES

PRIORS = np.array([4522, 12875, 3323, 867, 2624, 239, 253, 628]) / 25331
COUNTS = {name: round(100_000 * share) for name, share in zip(CLASSES, PRIORS, strict=True)}


def _miscalibrated(temperature, *, balanced, rows=20_000, seed=0):
    """Rows whose softmax at temperature 1 and with the real priors is exact."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(8, size=rows, p=PRIORS)
    evidence = rng.normal(size=(rows, 8))
    evidence[np.arange(rows), truth] += 1.5
    # Two normal distributions 1.5 apart: 1.5 x is their log-likelihood ratio.
    logits = 1.5 * evidence + (0.0 if balanced else np.log(PRIORS))
    raw = examples.softmax(temperature * logits)
    table = probability_table([f"i{n:06d}" for n in range(rows)], raw)
    return table, [CLASSES[k] for k in truth], truth


@pytest.mark.parametrize(("loss", "balanced"), [("weighted", True), ("plain", False)])
@pytest.mark.parametrize("temperature", [1.8, 2.5])
def test_recovers_temperature_and_priors(loss, balanced, temperature):
    table, diagnoses, truth = _miscalibrated(temperature, balanced=balanced)
    decision = fit_decision(table, diagnoses, COUNTS, loss)
    json.dumps(decision, allow_nan=False)
    assert decision["temperature"] == pytest.approx(temperature, rel=0.02)
    found = [decision["priors"]["natural"][name] for name in CLASSES]
    np.testing.assert_allclose(found, PRIORS, rtol=0.02)
    calibrated = apply_decision(table, decision)
    mean = calibrated[list(CLASSES)].mean().to_numpy()
    # What the calibrated rows add up to are the classes' real shares.
    np.testing.assert_allclose(mean, np.bincount(truth, minlength=8) / len(truth), atol=0.005)
    before, after = decision["validation"]["before"], decision["validation"]["after"]
    assert after["ece"] < before["ece"] / 5
    assert after["nll"] < before["nll"]
    assert after["brier"] < before["brier"]


def test_fresh_rows_are_calibrated_too():
    table, diagnoses, _ = _miscalibrated(2.0, balanced=True)
    decision = fit_decision(table, diagnoses, COUNTS, "weighted")
    other, _, truth = _miscalibrated(2.0, balanced=True, seed=1)
    raw = other[list(CLASSES)].to_numpy()
    calibrated = apply_decision(other, decision)[list(CLASSES)].to_numpy()
    assert reliability.calibration_error(truth, calibrated) < 0.015
    assert reliability.calibration_error(truth, raw) > 0.075


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("loss", ["weighted", "focal", "plain"])
def test_the_likelihood_never_falls(seed, loss):
    table = examples.catalogue(20, seed)
    raw = examples.predictions(table, seed, signal=seed / 3)
    decision = fit_decision(raw, list(table["diagnosis"]), {"NV": 1000, "MEL": 1}, loss)
    validation = decision["validation"]
    assert validation["after"]["nll"] <= validation["before"]["nll"] + 1e-12


def test_priors_that_do_not_help_are_left_alone():
    table, diagnoses, _ = _miscalibrated(1.0, balanced=False, rows=2000)
    decision = fit_decision(table, diagnoses, {"VASC": 10_000}, "weighted")
    assert not decision["prior_correction"]
    assert decision["temperature"] == pytest.approx(1.0, abs=0.1)


def test_the_class_order_within_a_row_stays_without_prior_correction():
    table, diagnoses, _ = _miscalibrated(2.0, balanced=False, rows=500)
    decision = fit_decision(table, diagnoses, COUNTS, "plain")
    calibrated = apply_decision(table, decision)
    assert list(calibrated.columns) == ["image", *CLASSES]
    assert list(calibrated["image"]) == list(table["image"])
    np.testing.assert_array_equal(
        calibrated[list(CLASSES)].to_numpy().argmax(axis=1),
        table[list(CLASSES)].to_numpy().argmax(axis=1),
    )
    np.testing.assert_allclose(calibrated[list(CLASSES)].sum(axis=1), 1.0)


def test_zero_probabilities_are_survived():
    table, diagnoses, _ = _miscalibrated(1.0, balanced=True, rows=50)
    table[list(CLASSES)] = np.eye(8)[np.arange(50) % 8]
    decision = fit_decision(table, diagnoses, COUNTS, "weighted")
    assert np.isfinite(apply_decision(table, decision)[list(CLASSES)].to_numpy()).all()


def test_without_melanoma_there_are_no_operating_points():
    table, diagnoses, _ = _miscalibrated(1.0, balanced=True, rows=50)
    decision = fit_decision(table, ["NV"] * 50, COUNTS, "weighted")
    assert decision["operating_points"] == {}
    assert decision["default"] is None
    assert len(diagnoses) == 50


@pytest.mark.parametrize(("diagnoses", "found"), [([], "no image"), (["UNK"], "'UNK'")])
def test_bad_validation_is_refused(diagnoses, found):
    table, _, _ = _miscalibrated(1.0, balanced=True, rows=1)
    with pytest.raises(InputError, match=found):
        fit_decision(table, diagnoses, COUNTS, "weighted")


def test_a_decision_for_other_classes_is_refused():
    table, diagnoses, _ = _miscalibrated(1.0, balanced=True, rows=30)
    decision = fit_decision(table, diagnoses, COUNTS, "weighted") | {"classes": ["MEL", "NV"]}
    with pytest.raises(InputError, match="classes"):
        apply_decision(table, decision)


def test_counts_of_the_training_part():
    table = examples.catalogue(60)
    splits = pd.DataFrame({"image": table["image"], "fold": 1, "split": "train"})
    splits.loc[::4, "split"] = "val"
    trained, natural = training_counts(table, splits, 1, ["BCN"])
    rows = table[splits["split"] == "train"]
    assert natural == {name: int((rows["diagnosis"] == name).sum()) for name in CLASSES}
    kept = rows[rows["source"] != "BCN"]
    assert trained == {name: int((kept["diagnosis"] == name).sum()) for name in CLASSES}
    assert training_counts(table.drop(columns="source"), splits, 1, ["BCN"])[0] == trained
    with pytest.raises(InputError, match="fold 0"):
        training_counts(table, splits, 0)


def test_points_reach_their_goal_at_least_cost():
    rng = np.random.default_rng(0)
    melanoma = rng.random(500) < 0.3
    probability = np.clip(rng.normal(0.3 + 0.3 * melanoma, 0.2), 0, 1).round(2)
    points = choose_points(melanoma, probability)
    assert len(points) == 2 * len(TARGETS)
    for point in points.values():
        called = probability >= point.threshold
        reached = {
            "sensitivity": called[melanoma].mean(),
            "specificity": (~called[~melanoma]).mean(),
        }
        assert reached["sensitivity"] == pytest.approx(point.sensitivity)
        assert reached["specificity"] == pytest.approx(point.specificity)
        assert reached[point.goal] >= point.target
        other = {"sensitivity": "specificity", "specificity": "sensitivity"}[point.goal]
        for cut in np.unique(probability):
            tried = probability >= cut
            values = {
                "sensitivity": tried[melanoma].mean(),
                "specificity": (~tried[~melanoma]).mean(),
            }
            if values[point.goal] >= point.target:
                assert values[other] <= reached[other] + 1e-12
        # No stored probability is so near that its last digit would matter.
        assert np.abs(probability - point.threshold).min() > 1e-6 or point.threshold in (0.0,)


def test_points_that_only_extremes_reach():
    melanoma = np.array([True, False, False])
    points = choose_points(melanoma, np.array([0.1, 0.5, 0.5]))
    assert points["sensitivity_95"].sensitivity == 1.0
    assert points["specificity_95"].threshold > 0.5
    assert points["specificity_95"].specificity == 1.0


@pytest.mark.parametrize("melanoma", [[True, True], [False, False]])
def test_points_need_both_sides(melanoma):
    assert choose_points(np.array(melanoma), np.array([0.1, 0.2])) == {}


def test_brier_and_likelihood_of_known_rows():
    truth = np.array([0, 1])
    values = np.array([[0.8, 0.2], [0.5, 0.5]])
    assert reliability.brier_scores(truth, values) == pytest.approx([0.08, 0.5])
    assert reliability.log_losses(truth, values) == pytest.approx(-np.log([0.8, 0.5]))
    assert np.isnan(reliability.summary(truth[:0], values[:0])["ece"])


def test_calibration_error_equals_a_loop():
    rng = np.random.default_rng(1)
    values = examples.softmax(rng.normal(size=(400, 8)))
    truth = rng.integers(0, 8, 400)
    confidence, right = values.max(axis=1), values.argmax(axis=1) == truth
    total = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence >= low) & (confidence < low + 1 / 15)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert reliability.calibration_error(truth, values) == pytest.approx(total, abs=1e-9)


def test_diagram_counts_every_row_once():
    rng = np.random.default_rng(2)
    probability = np.r_[rng.random(200), 0.0, 1.0]
    outcome = rng.random(202) < probability
    table = reliability.diagram(outcome, probability, np.arange(202) // 2)
    assert table["n"].sum() == 202
    assert (table["groups"] <= table["n"]).all()
    assert (table["n"] * table["observed"]).sum() == pytest.approx(outcome.sum())
    assert (table["observed_low"] <= table["observed"] + 1e-12).all()
    assert (table["observed_high"] >= table["observed"] - 1e-12).all()
    assert table["probability"].between(table["low"], table["high"]).all()


def test_bars_of_the_diagram_are_wilsons_of_single_images():
    rng = np.random.default_rng(4)
    probability = rng.random(5000)
    outcome = rng.random(5000) < probability
    table = reliability.diagram(outcome, probability, np.arange(5000))
    for _, row in table.iterrows():
        interval = binomtest(round(row["n"] * row["observed"]), int(row["n"]))
        expected = interval.proportion_ci(method="wilson")
        assert row["observed_low"] == pytest.approx(expected.low, abs=1e-3)
        assert row["observed_high"] == pytest.approx(expected.high, abs=1e-3)
        assert row["groups"] == row["n"]


def test_images_of_one_lesion_make_no_bar_shorter():
    rng = np.random.default_rng(5)
    probability = rng.random(300)
    outcome = rng.random(300) < probability
    single = reliability.diagram(outcome, probability, np.arange(300))
    rows = np.repeat(np.arange(300), 9)
    alike = reliability.diagram(outcome[rows], probability[rows], rows)
    for end in ("observed_low", "observed_high"):
        np.testing.assert_allclose(alike[end], single[end], atol=1e-9)
    bare = reliability.diagram(outcome[rows], probability[rows], np.arange(2700))
    narrow, wide = (t["observed_high"] - t["observed_low"] for t in (bare, alike))
    assert (narrow < 0.5 * wide).all()
    # What one lesion shows may be anything.
    lone = reliability.diagram(np.ones(5, bool), np.full(5, 0.55), np.zeros(5))
    assert list(lone[["observed_low", "observed_high"]].iloc[0]) == [0.0, 1.0]


@pytest.mark.parametrize("tta", [False, True])
def test_views_behind_the_predictions_are_noted(tta):
    table, diagnoses, _ = _miscalibrated(1.0, balanced=False, rows=100)
    assert fit_decision(table, diagnoses, COUNTS, "plain", tta=tta)["tta"] is tta
