import json
import math

import evaluation_examples as examples
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from melanoma import config
from melanoma.errors import InputError
from melanoma.evaluation import reliability
from melanoma.evaluation.calibration import (
    apply_decision,
    calibrate,
    decide,
    fit_decision,
    training_counts,
    without_metadata,
)
from melanoma.evaluation.operating_points import (
    TARGETS,
    absent_points,
    choose_points,
    least_lesions,
    needed,
)
from melanoma.evaluation.tables import probability_table
from melanoma.isic import CLASSES
from melanoma.prediction_columns import WITHOUT_METADATA

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
    assert decision["chosen"] == ("temperature_and_strength" if balanced else "temperature")
    if balanced:
        assert decision["strength"] == pytest.approx(1.0, abs=0.03)
    else:
        assert decision["strength"] is None


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
    assert decision["strength"] == 0.0
    assert decision["chosen"] in {"raw", "temperature"}
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


def _lesions_right(melanoma, probability, lesions, cut, goal):
    """Lesions of the goal's side on the right side of a cut, each image for its share of one."""
    total = 0.0
    side = melanoma if goal == "sensitivity" else ~melanoma
    for lesion in set(lesions[side]):
        called = probability[side & (lesions == lesion)] >= cut
        total += called.mean() if goal == "sensitivity" else (~called).mean()
    return total


def test_points_reach_their_goal_at_least_cost():
    rng = np.random.default_rng(0)
    lesions = rng.integers(0, 200, 500)
    melanoma = (rng.random(200) < 0.3)[lesions]
    probability = np.clip(rng.normal(0.3 + 0.3 * melanoma, 0.2), 0, 1).round(2)
    points = choose_points(melanoma, probability, lesions)
    assert len(points) == 2 * len(TARGETS)
    for point in points.values():
        called = probability >= point.threshold
        assert called[melanoma].mean() == pytest.approx(point.sensitivity)
        assert (~called[~melanoma]).mean() == pytest.approx(point.specificity)
        side = melanoma if point.goal == "sensitivity" else ~melanoma
        assert point.lesions == len(set(lesions[side]))
        assert point.right == math.ceil((point.lesions + 1) * point.target)
        told = (melanoma, probability, lesions)
        assert _lesions_right(*told, point.threshold, point.goal) >= point.right - 1e-9
        # Every cut that costs less of the other figure gets too few lesions right.
        for cut in np.r_[np.unique(probability), 2.0]:
            other = probability[~side] >= cut
            cost = other.mean() if point.goal == "sensitivity" else (~other).mean()
            own = called[~side].mean() if point.goal == "sensitivity" else (~called[~side]).mean()
            if cost < own - 1e-12:
                assert _lesions_right(*told, cut, point.goal) < point.right - 1e-9
        # No stored probability is so near that its last digit would matter.
        assert np.abs(probability - point.threshold).min() > 1e-6 or point.threshold in (0.0,)


@pytest.mark.parametrize(
    ("lesions", "target", "count"),
    [
        (4, 0.8, 4),
        (3, 0.8, 4),
        (9, 0.9, 9),
        (8, 0.9, 9),
        (19, 0.95, 19),
        (18, 0.95, 19),
        (20, 0.95, 20),
        (39, 0.95, 38),
        (99, 0.9, 90),
        (100, 0.8, 81),
    ],
)
def test_how_many_lesions_a_target_takes(lesions, target, count):
    assert needed(lesions, target) == count
    assert (lesions >= least_lesions(target)) == (count <= lesions)


@pytest.mark.parametrize("lesions", [9, 19, 40])
@pytest.mark.parametrize("views", [1, 4])
def test_targets_hold_on_average_for_new_lesions(lesions, views):
    """Of lesions with one image or up to four; by drawing, not by the theory."""
    rng = np.random.default_rng(lesions * views)
    reached = []
    for _ in range(1500):
        images = rng.integers(1, views + 1, lesions)
        lesion = np.repeat(np.arange(lesions), images)
        # Images of a lesion resemble one another, and those of many images are harder.
        score = rng.normal(size=lesions)[lesion] - 0.3 * images[lesion]
        score += 0.5 * rng.normal(size=len(lesion))
        others = rng.normal(-1.5, 1, 400)
        truth = np.r_[np.ones(len(lesion), bool), np.zeros(400, bool)]
        probability = 1 / (1 + np.exp(-np.r_[score, others]))
        groups = np.r_[lesion, np.arange(1000, 1400)]
        point = choose_points(truth, probability, groups)["sensitivity_90"]
        new = rng.integers(1, views + 1, 300)
        fresh = rng.normal(size=300) - 0.3 * new + 0.5 * rng.normal(size=300)
        reached.append((1 / (1 + np.exp(-fresh)) >= point.threshold).mean())
    error = np.std(reached) / np.sqrt(len(reached))
    assert 0.9 - 2.5 * error <= np.mean(reached) <= 0.9 + 1.6 / (lesions + 1) + 2.5 * error


@pytest.mark.parametrize(
    ("melanomas", "present"),
    [
        (3, []),
        (4, ["80"]),
        (8, ["80"]),
        (9, ["80", "90"]),
        (18, ["80", "90"]),
        (19, ["80", "90", "95"]),
    ],
)
def test_points_that_the_lesions_are_too_few_for_are_absent_with_a_reason(melanomas, present):
    rng = np.random.default_rng(melanomas)
    # Two images of each lesion: it is lesions that count.
    lesions = np.repeat(np.arange(melanomas + 60), 2)
    melanoma = lesions < melanomas
    points = choose_points(melanoma, rng.random(len(lesions)), lesions)
    names = [name.removeprefix("sensitivity_") for name in points if "sensitivity" in name]
    assert names == present
    absent = absent_points(melanomas, 60)
    assert set(absent) == {f"{g}_{t}" for g in GOALS for t in (80, 90, 95)} - set(points)
    for name, why in absent.items():
        least = {"80": 4, "90": 9, "95": 19}[name[-2:]]
        assert f"at least {least} melanoma lesions" in why
        assert why.endswith(f"there are {melanomas}")


GOALS = ("sensitivity", "specificity")


def test_a_point_may_call_everything_or_nothing_melanoma():
    melanoma = np.arange(40) < 20
    points = choose_points(melanoma, np.full(40, 0.5))
    assert points["sensitivity_95"].sensitivity == 1.0
    assert points["specificity_95"].threshold > 0.5
    assert points["specificity_95"].specificity == 1.0


@pytest.mark.parametrize("melanoma", [[True, True], [False, False]])
def test_points_need_both_sides(melanoma):
    assert choose_points(np.array(melanoma), np.array([0.1, 0.2])) == {}
    absent = absent_points(sum(melanoma), 2 - sum(melanoma))
    assert len(absent) == 6
    which = "lesion that is no melanoma" if melanoma[0] else "melanoma"
    assert absent["sensitivity_90"] == f"validation has no {which} to choose a threshold on"


def _with_hidden(rows=3000, seed=7):
    """Predictions with metadata, and without: there blunter and as overconfident again."""
    table, diagnoses, truth = _miscalibrated(1.5, balanced=True, rows=rows, seed=seed)
    raw = table[list(CLASSES)].to_numpy()
    rng = np.random.default_rng(seed)
    logits = 2 * np.log(raw) + rng.normal(0, 3, raw.shape)
    hidden = pd.DataFrame(examples.softmax(logits), columns=list(WITHOUT_METADATA))
    return pd.concat([table, hidden], axis=1).assign(known_fields=3), diagnoses, truth


def test_images_without_metadata_have_a_set_of_their_own():
    table, diagnoses, _ = _with_hidden()
    decision = fit_decision(table, diagnoses, COUNTS, "weighted")
    alone = table[["image", *WITHOUT_METADATA]].set_axis(["image", *CLASSES], axis=1)
    expected = fit_decision(alone, diagnoses, COUNTS, "weighted")
    usual = fit_decision(table[["image", *CLASSES]], diagnoses, COUNTS, "weighted")
    other = decision["without_metadata"]
    assert usual["without_metadata"] is None
    assert {key: expected[key] for key in other} == other
    assert {key: decision[key] for key in other} == {key: usual[key] for key in other}
    assert other["temperature"] > 1.5 * decision["temperature"]
    assert other["operating_points"] != decision["operating_points"]


def test_the_set_of_an_image_is_that_of_what_is_known():
    table, diagnoses, _ = _with_hidden(rows=400)
    decision = fit_decision(table, diagnoses, COUNTS, "weighted")
    bare = np.arange(400) % 3 == 0
    found = apply_decision(table.assign(known_fields=np.where(bare, 0, 2)), decision)
    assert list(found.columns) == ["image", *CLASSES, "without_metadata"]
    np.testing.assert_array_equal(found["without_metadata"] == 1, bare)
    raw = table[list(CLASSES)].to_numpy()
    other = decision["without_metadata"]
    for rows, one in ((bare, other), (~bare, decision)):
        natural = np.array([decision["priors"]["natural"][name] for name in CLASSES])
        shift = one["strength"] * np.log(8 * natural)
        by_hand = examples.softmax(np.log(raw[rows]) / one["temperature"] + shift)
        np.testing.assert_allclose(found.loc[rows, list(CLASSES)], by_hand, atol=1e-12)
    np.testing.assert_array_equal(
        calibrate(raw[bare], without_metadata(decision)), found.loc[bare, list(CLASSES)]
    )
    with pytest.raises(InputError, match="known_fields is missing"):
        apply_decision(table[["image", *CLASSES]], decision)


def test_lesions_are_counted_for_points_and_classes():
    table, diagnoses, truth = _miscalibrated(1.0, balanced=True, rows=400)
    groups = [
        f"melanoma {number % 6}" if name == "MEL" else f"lesion {number}"
        for number, name in enumerate(diagnoses)
    ]
    decision = fit_decision(table, diagnoses, COUNTS, "weighted", groups=groups)
    validation = decision["validation"]
    assert validation["melanoma_lesions"] == 6 < validation["melanomas"] == (truth == 0).sum()
    assert validation["lesions"] == len(set(groups))
    specific = {f"specificity_{target}" for target in (80, 90, 95)}
    assert set(decision["operating_points"]) == {"sensitivity_80"} | specific
    assert decision["default"] is None
    assert "at least 9 melanoma lesions" in decision["absent_points"]["sensitivity_90"]
    counts = np.bincount(truth, minlength=8)
    assert validation["few_lesions"] == [n for n, k in zip(CLASSES, counts, strict=True) if k < 5]
    with pytest.raises(InputError, match="399 lesions"):
        fit_decision(table, diagnoses, COUNTS, "weighted", groups=groups[1:])


def test_a_decision_is_made_of_what_catalogue_and_splits_know():
    table = examples.catalogue(120)
    raw = examples.predictions(table)
    splits = pd.DataFrame({"image": table["image"], "fold": 0, "split": "train"})
    half = np.arange(len(table)) % 2 == 0
    splits.loc[half, "split"] = "val"
    parts = {"model": {"metadata": False}, "training": {"exclude_sources": ["BCN"]}}
    one = config.parse({"experiments": {"one": parts}}).experiment("one")
    decision = decide(raw[half], table, splits, [0], one, tta=True)
    trained, natural = training_counts(table, splits, 0, ["BCN"])
    rows = table[half]
    expected = fit_decision(
        raw[half],
        list(rows["diagnosis"]),
        trained,
        "weighted",
        groups=list(rows["group"]),
        natural_counts=natural,
        tta=True,
    )
    assert decision == expected
    with pytest.raises(InputError, match=r"column .*_without_metadata is missing"):
        decide(raw[half], table, splits, [0], config.parse({}).experiment("fusion"), tta=False)
    with pytest.raises(InputError, match=r"image .* is not in the catalogue"):
        decide(raw[half], table[1:], splits, [0], one, tta=False)


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
