import evaluation_examples as examples
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as reference

from melanoma.catalogue import COLUMNS
from melanoma.errors import InputError
from melanoma.evaluation import figures
from melanoma.evaluation.combine import join_seeds
from melanoma.evaluation.compare import PRIMARY, compare
from melanoma.evaluation.differences import (
    SeedVariance,
    difference_over_seeds,
    holm,
    seed_variance,
)
from melanoma.evaluation.figures import comparison
from melanoma.files import write_table
from melanoma.isic import CLASSES
from melanoma.seeds import runs
from tests.benchmarks.differences_of_experiments import one_repeat


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ([[0.5], [0.7]], None),
        ([[0.5, np.nan], [0.7]], None),
        ([[0.5, 0.7], [0.9]], (0.02, 1)),
        ([[0.5, 0.7], [0.1, 0.1, 0.1]], (0.02 / 3, 3)),
        ([[0.5, 0.7, np.nan], [0.0, 0.3, 0.6]], ((0.02 + 0.18) / 3, 3)),
    ],
)
def test_the_variance_of_seeds_is_pooled_around_each_experiments_own_mean(figures, expected):
    found = seed_variance([np.array(values) for values in figures])
    if expected is None:
        assert found is None
    else:
        assert (found.variance, found.freedom) == pytest.approx(expected)


def test_a_difference_has_the_variance_of_lesions_and_of_seeds():
    luck = SeedVariance(0.01**2, 4)
    found = difference_over_seeds(0.03, 0.01, (3, 2), luck)
    lesions, of_seeds = 0.01**2, 0.01**2 * (1 / 3 + 1 / 2)
    error = np.sqrt(lesions + of_seeds)
    # Satterthwaite's, the lesions' part with infinite degrees of freedom.
    freedom = error**4 / (of_seeds**2 / 4)
    half = stats.t.ppf(0.975, freedom) * error
    assert found.ends == pytest.approx((0.03 - half, 0.03 + half))
    assert found.p == pytest.approx(2 * stats.t.sf(0.03 / error, freedom))
    assert found.excludes_zero is bool(found.p < 0.05)


def test_p_is_the_level_whose_interval_just_reaches_zero():
    luck = SeedVariance(0.02**2, 2)
    half = difference_over_seeds(0.0, 0.01, (3, 3), luck).ends[1]
    for change, out in ((0.999 * half, False), (1.001 * half, True), (-1.001 * half, True)):
        found = difference_over_seeds(change, 0.01, (3, 3), luck)
        assert found.excludes_zero is out
        assert (found.p < 0.05) is out
        assert found.p == pytest.approx(0.05, abs=5e-4)


def test_without_luck_the_lesions_interval_is_left_and_without_any_spread_nothing():
    still = SeedVariance(0.0, 2)
    half = 0.01 * stats.norm.ppf(0.975)
    found = difference_over_seeds(0.03, 0.01, (3, 3), still)
    assert found.ends == pytest.approx((0.03 - half, 0.03 + half))
    assert difference_over_seeds(0.0, 0.0, (3, 3), still) is None


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.6, np.nan, 0.7], [1.0, np.nan, 1.0]),
        ([0.02, 0.02], [0.04, 0.04]),
    ],
)
def test_holm(p, expected):
    np.testing.assert_allclose(holm(np.array(p, dtype=float)), expected)


def test_noise_is_marked_as_rarely_as_promised():
    """Figures of 12 experiments alike, their seeds moved by half a point to two points."""
    rng = np.random.default_rng(0)
    repeats, seeds, lesions = 1000, 3, 0.01
    error = lesions * np.sqrt(2)
    for deviation in (0.005, 0.01, 0.02):
        single, family = 0, 0
        for _ in range(repeats):
            own = rng.normal(0, deviation, (12, seeds))
            means = own.mean(axis=1) + rng.normal(0, lesions, 12)
            luck = seed_variance(list(own))
            found = [
                difference_over_seeds(c, error, (seeds, seeds), luck) for c in means[1:] - means[0]
            ]
            single += found[0].excludes_zero
            family += bool((holm(np.array([each.p for each in found])) < 0.05).any())
        # The resamples here are exact: 5 %, and two standard errors of 1,000 repeats.
        assert 0.035 < single / repeats < 0.065
        assert 0.015 < family / repeats < 0.065


def test_simulated_experiments_are_told_apart_where_they_differ_alone():
    """A small part of tests/benchmarks/differences_of_experiments.py."""

    def shares(effect, repeats):
        rng = np.random.default_rng(3)
        found = [one_repeat(rng, 1000, 3, 2.0, effect) for _ in range(repeats)]
        return pd.DataFrame(found).mean()

    repeats = 40
    noise = shares(0.0, repeats)
    most = 0.07 + 2 * np.sqrt(0.07 * 0.93 / repeats)
    assert noise["one"] <= most
    assert noise["any_by_holm"] <= most
    assert shares(15.0, 8)["one_by_holm"] >= 0.9


def _write(folder, signals, seeds, folds=1):
    """Experiments of that signal: their combined predictions, and those of each seed."""
    table = examples.catalogue(200)
    write_table(folder / "catalogue.csv", table[list(COLUMNS)])
    paths, singles = {}, {}
    for number, (signal, count) in enumerate(zip(signals, seeds, strict=True)):
        name = f"experiment_{number}"
        names = runs(folds, count)
        raw = [
            examples.predictions(table, 100 * number + place, signal) for place in range(len(names))
        ]
        if count > 1:
            singles[name] = join_seeds("test", raw, names)
        mean = raw[0].copy()
        mean[list(CLASSES)] = np.mean([each[list(CLASSES)].to_numpy() for each in raw], axis=0)
        paths[name] = folder / f"{number}.csv"
        write_table(paths[name], mean)
    return table, paths, singles


def _recall(table, predictions):
    called = np.array(CLASSES)[predictions[list(CLASSES)].to_numpy().argmax(axis=1)]
    return reference.balanced_accuracy_score(table["diagnosis"], called)


def test_a_difference_is_that_of_single_models_over_their_seeds(tmp_path):
    table, paths, singles = _write(tmp_path, (3.0, 1.0, 3.0), (3, 2, 1), folds=2)
    found = compare(paths, tmp_path / "catalogue.csv", "test", resamples=200, singles=singles)
    rows = found[found["figure"] == PRIMARY].set_index("experiment")
    alone = {name: [_recall(table, each) for each in own] for name, own in singles.items()}
    alone["experiment_2"] = [_recall(table, pd.read_csv(paths["experiment_2"]))]
    for name, values in alone.items():
        assert rows.loc[name, "seeds"] == len(values)
        assert rows.loc[name, "value"] == pytest.approx(_recall(table, pd.read_csv(paths[name])))
        assert rows.loc[name, "single_model"] == pytest.approx(np.mean(values))
        change = np.mean(values) - np.mean(alone["experiment_0"])
        if name != "experiment_0":
            assert rows.loc[name, "difference"] == pytest.approx(change)
    assert rows.loc["experiment_1", "seed_deviation"] == pytest.approx(
        np.std(alone["experiment_1"], ddof=1)
    )
    assert pd.isna(rows.loc["experiment_2", "seed_deviation"])
    assert rows["interval_excludes_zero"].tolist()[1:] == [True, False]
    assert (rows["p_holm"] >= rows["p"])[1:].all()
    assert rows.loc["experiment_1", "p_holm"] < 0.001
    assert rows.loc["experiment_2", "p_holm"] > 0.05
    # One seed of three tells less of an experiment than three do.
    width = rows["difference_high"] - rows["difference_low"]
    squares = [((np.array(values) - np.mean(values)) ** 2).sum() for values in alone.values()]
    assert width["experiment_2"] > 2 * 1.96 * np.sqrt(sum(squares) / 3 * (1 / 3 + 1))
    others = found[found["figure"] != PRIMARY]
    assert others[["p", "p_holm"]].isna().all(axis=None)
    assert others[others["experiment"] != "experiment_0"]["interval_excludes_zero"].notna().all()


def test_filled_dots_are_differences_that_stand(tmp_path, monkeypatch):
    _, paths, singles = _write(tmp_path, (3.0, 1.0, 3.0), (2, 2, 2))
    found = compare(paths, tmp_path / "catalogue.csv", "test", resamples=100, singles=singles)
    kept = []
    monkeypatch.setattr(
        comparison, "differences", lambda axis, rows, filled: kept.append(list(filled))
    )
    write_table(tmp_path / "comparison.csv", found)
    figures.draw_comparison(tmp_path / "comparison.csv", tmp_path / "comparison.svg")
    assert kept == [[True, False], *[[False, False]] * 3]


def test_without_resamples_seeds_mark_nothing(tmp_path):
    _, paths, singles = _write(tmp_path, (3.0, 1.0), (2, 2))
    found = compare(paths, tmp_path / "catalogue.csv", "test", resamples=0, singles=singles)
    assert found["difference"].notna().sum() == len(found) / 2
    assert found[["difference_low", "interval_excludes_zero", "p"]].isna().all(axis=None)


def test_the_models_of_a_seed_must_judge_the_same_images(tmp_path):
    _, paths, singles = _write(tmp_path, (3.0, 1.0), (2, 2))
    singles["experiment_1"][1] = singles["experiment_1"][1][1:]
    with pytest.raises(InputError, match="experiment_1, seed number 1: image ISIC_0000000 is in"):
        compare(paths, tmp_path / "catalogue.csv", "test", resamples=0, singles=singles)
