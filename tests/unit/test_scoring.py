import json
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from melanoma.errors import InputError
from melanoma.isic import CLASSES, UNKNOWN
from melanoma.scoring import PER_CLASS, official_scores, partial_areas

NINE = [*CLASSES, UNKNOWN]


def _case(seed, *, rows=120, ties=False, weights=False, absent=(), unknown=True):
    """Random truth and predictions; ties come from rounding and from equal largest values."""
    rng = np.random.default_rng(seed)
    names = NINE if unknown else list(CLASSES)
    usable = [i for i, name in enumerate(names) if name not in absent]
    truth = rng.choice(usable, size=rows)
    scores = rng.random((rows, len(names)))
    scores[np.arange(rows), truth] += rng.random(rows)
    scores /= scores.max()
    if ties:
        scores = scores.round(1)
    images = [f"ISIC_{n:07d}" for n in range(rows)]
    gold = pd.DataFrame(np.eye(len(names))[truth], columns=names)
    gold.insert(0, "image", images)
    if weights:
        gold["score_weight"] = rng.choice([0.0, 0.5, 1.0, 2.0], size=rows)
        gold["validation_weight"] = rng.choice([0.0, 1.0], size=rows)
    guess = pd.DataFrame(scores, columns=names)
    guess.insert(0, "image", images)
    return gold, guess


def _reference_class(truth, scores, weight):
    """One class, the slow way: counts in a loop, areas by scikit-learn."""
    counts = {"tp": 0.0, "fn": 0.0, "fp": 0.0, "tn": 0.0}
    for gold, score, mass in zip(truth, scores, weight, strict=True):
        counts[("t" if gold == (score > 0.5) else "f") + ("p" if score > 0.5 else "n")] += mass
    tp, fn, fp, tn = counts["tp"], counts["fn"], counts["fp"], counts["tn"]
    result = {
        "accuracy": (tp + tn) / (tp + tn + fp + fn),
        "sensitivity": tp / (tp + fn) if tp + fn else 1.0,
        "specificity": tn / (tn + fp) if tn + fp else 1.0,
        "dice": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 1.0,
        "ppv": tp / (tp + fp) if tp + fp else 1.0,
        "npv": tn / (tn + fn) if tn + fn else 1.0,
    }
    if not (weight[truth].sum() and weight[~truth].sum()):
        return result | dict.fromkeys(("auc", "auc_sens_80", "pauc_80", "ap"))
    result["auc"] = reference.roc_auc_score(truth, scores, sample_weight=weight)
    result["ap"] = reference.average_precision_score(truth, scores, sample_weight=weight)
    x, y, _ = reference.roc_curve(truth, scores, sample_weight=weight, drop_intermediate=False)
    # scikit-learn has no partial area over a range of sensitivities: fine steps over the curve.
    result["pauc_80"] = _area_above(x, y)
    result["auc_sens_80"] = result["pauc_80"] + 0.8 * (1 - _first_at(x, y))
    return result


def _first_at(x, y, least=0.8):
    for i in range(1, len(y)):
        if y[i] >= least:
            return x[i - 1] + (x[i] - x[i - 1]) * (least - y[i - 1]) / (y[i] - y[i - 1])
    raise AssertionError


def _area_above(x, y, least=0.8):
    """Area between the curve and the line of `least`, trapezium by trapezium."""
    total = 0.0
    for x0, x1, y0, y1 in zip(x, x[1:], y, y[1:], strict=False):
        if y1 < least or x1 == x0:
            continue
        share = max(0.0, (least - y0) / (y1 - y0)) if y1 > y0 else 0.0
        entry, start = x0 + (x1 - x0) * share, y0 + (y1 - y0) * share
        total += (x1 - entry) * ((start + y1) / 2 - least)
    return total


def _reference_balanced(truth, scores, weight):
    shares = []
    for index in range(truth.shape[1]):
        total = hit = 0.0
        for gold, row, mass in zip(truth, scores, weight, strict=True):
            if gold[index]:
                total += mass
                hit += mass * (list(row).count(max(row)) == 1 and row.argmax() == index)
        if total:
            shares.append(hit / total)
    return sum(shares) / len(shares)


CASES = {
    "plain": {},
    "ties": {"ties": True},
    "weights": {"weights": True},
    "ties and weights": {"ties": True, "weights": True, "rows": 300},
    "absent classes": {"absent": ("DF", "VASC"), "ties": True},
    "no unknown images": {"absent": (UNKNOWN,), "weights": True},
    "eight columns": {"unknown": False, "ties": True},
    "one class": {"absent": tuple(n for n in NINE if n != "MEL"), "rows": 20},
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", range(2))
def test_equals_the_slow_reference(name, seed):
    gold, guess = _case(seed, **CASES[name])
    scores = official_scores(gold, guess.sample(frac=1, random_state=seed))
    json.dumps(scores, allow_nan=False)
    weight = gold.get("score_weight", pd.Series(1.0, gold.index)).to_numpy()
    known = gold[list(CLASSES)].any(axis=1).to_numpy()
    parts = {"eight_class": (list(CLASSES), known)}
    if UNKNOWN in gold:
        parts["nine_class"] = (NINE, np.full(len(gold), True))
    for part, (names, rows) in parts.items():
        found, truth = scores[part], gold.loc[rows, names].to_numpy() == 1
        values, mass = guess.loc[rows, names].to_numpy(), weight[rows]
        assert found["balanced_accuracy"] == pytest.approx(
            _reference_balanced(truth, values, mass), abs=1e-9
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = {
                name: _reference_class(truth[:, i], values[:, i], mass)
                for i, name in enumerate(names)
            }
        for class_name, figures in expected.items():
            assert tuple(found["per_class"][class_name]) == PER_CLASS
            for figure, value in figures.items():
                assert found["per_class"][class_name][figure] == (
                    None if value is None else pytest.approx(value, abs=1e-9)
                ), (part, class_name, figure)
        for figure in PER_CLASS:
            defined = [v[figure] for v in expected.values() if v[figure] is not None]
            mean = pytest.approx(np.mean(defined), abs=1e-9) if defined else None
            assert found["macro_average"][figure] == mean


def test_eight_and_nine_classes_are_kept_apart():
    gold, guess = _case(1)
    scores = official_scores(gold, guess)
    assert scores["classes"] == 9
    assert scores["balanced_accuracy"] == scores["nine_class"]["balanced_accuracy"]
    assert scores["eight_class"]["images"] == int((gold[UNKNOWN] == 0).sum())
    assert scores["nine_class"]["images"] == len(gold)
    guess[UNKNOWN] = 0.0
    never = official_scores(gold, guess)
    assert never["nine_class"]["balanced_accuracy"] == pytest.approx(
        never["eight_class"]["balanced_accuracy"] * 8 / 9
    )


def test_predictions_without_unknown_score_over_eight():
    gold, guess = _case(2, absent=(UNKNOWN,))
    scores = official_scores(gold, guess.drop(columns=UNKNOWN))
    assert scores["classes"] == 8
    assert scores["nine_class"] is None
    assert scores["balanced_accuracy"] == scores["eight_class"]["balanced_accuracy"]


def test_a_tie_is_wrong():
    gold, guess = _case(3, rows=40, unknown=False)
    guess[list(CLASSES)] = gold[list(CLASSES)] * 0.4 + 0.1
    assert official_scores(gold, guess)["balanced_accuracy"] == 1.0
    guess[list(CLASSES)] = 0.125
    assert official_scores(gold, guess)["balanced_accuracy"] == 0.0


def test_the_threshold_is_exclusive():
    gold, guess = _case(4, unknown=False)
    guess[list(CLASSES)] = 0.5
    assert official_scores(gold, guess)["eight_class"]["per_class"]["MEL"]["sensitivity"] == 0.0


def test_weights():
    gold, guess = _case(5, weights=True)
    heavy = official_scores(gold, guess)["eight_class"]
    assert heavy["weight"] == pytest.approx(
        gold["score_weight"][gold[UNKNOWN] == 0].sum(), abs=1e-9
    )
    swapped = gold.assign(
        score_weight=gold["validation_weight"], validation_weight=gold["score_weight"]
    )
    other = official_scores(swapped, guess)["eight_class"]
    assert heavy["validation_balanced_accuracy"] == other["balanced_accuracy"]
    plain = official_scores(gold.drop(columns=["score_weight", "validation_weight"]), guess)
    assert plain["eight_class"]["validation_balanced_accuracy"] is None


def test_the_image_that_the_challenge_leaves_out_has_no_weight():
    gold, guess = _case(6, unknown=False)
    gold.loc[0, "image"] = guess.loc[0, "image"] = "ISIC_0035068"
    assert official_scores(gold, guess)["eight_class"]["weight"] == len(gold) - 1


def test_the_threshold_stands_beside_the_figures_that_it_decides():
    gold, guess = _case(6)
    found = official_scores(gold, guess)
    for score in ("nine_class", "eight_class"):
        assert found[score]["threshold"] == 0.5
    said = guess.assign(MEL=np.where(guess["MEL"] > 0.5, 1.0, 0.0))
    sides = ("sensitivity", "specificity")
    before, after = (
        f["nine_class"]["per_class"]["MEL"] for f in (found, official_scores(gold, said))
    )
    assert [before[side] for side in sides] == [after[side] for side in sides]


def test_undefined_figures_say_why():
    gold, guess = _case(7, absent=("DF",))
    eight = official_scores(gold, guess)["eight_class"]
    assert set(eight["undefined"]) == {f"DF {f}" for f in ("auc", "auc_sens_80", "pauc_80", "ap")}


def test_all_weights_zero():
    gold, guess = _case(8, unknown=False)
    eight = official_scores(gold.assign(score_weight=0.0), guess)["eight_class"]
    assert eight["balanced_accuracy"] is None
    assert eight["per_class"]["MEL"]["accuracy"] is None


@pytest.mark.parametrize(
    ("scores", "whole", "above"),
    [
        ([0.2, 0.4, 0.6, 0.8], 1.0, 0.2),
        ([0.3, 0.7, 0.3, 0.7], 0.18, 0.02),
        ([0.8, 0.6, 0.4, 0.2], 0.0, 0.0),
    ],
)
def test_partial_areas_of_known_curves(scores, whole, above):
    x, y, _ = reference.roc_curve([0, 0, 1, 1], scores, drop_intermediate=False)
    assert partial_areas(x, y) == pytest.approx((whole, above))


BROKEN_TRUTH = {
    "missing column": (lambda t: t.drop(columns="DF"), "column DF"),
    "no image column": (lambda t: t.drop(columns="image"), "column image"),
    "duplicate": (lambda t: pd.concat([t, t[:1]]), "ISIC_0000000 is there twice"),
    "two classes": (lambda t: t.assign(MEL=1.0, NV=1.0), "ISIC_0000000"),
    "soft label": (lambda t: t.assign(MEL=t["MEL"] * 0.5), "exactly one"),
    "negative weight": (lambda t: t.assign(score_weight=-1.0), "weight"),
    "no weight": (lambda t: t.assign(score_weight=np.nan), "weight"),
}


@pytest.mark.parametrize("name", BROKEN_TRUTH)
def test_bad_ground_truth_is_refused(name):
    spoil, message = BROKEN_TRUTH[name]
    gold, guess = _case(9)
    with pytest.raises(InputError, match=message):
        official_scores(spoil(gold), guess)


def test_broken_predictions_are_refused():
    gold, guess = _case(10)
    with pytest.raises(InputError, match="column UNK is missing"):
        official_scores(gold, guess.drop(columns=UNKNOWN))
    with pytest.raises(InputError, match="column FOO is not allowed"):
        official_scores(gold, guess.assign(FOO=0.0))
