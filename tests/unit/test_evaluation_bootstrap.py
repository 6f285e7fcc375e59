import evaluation_examples as examples
import numpy as np
import pytest

from melanoma.evaluation import bootstrap, metrics
from melanoma.evaluation.bootstrap import Resamples
from melanoma.evaluation.tables import judge


def _judged(lesions=60, seed=0):
    table = examples.catalogue(lesions, seed)
    return judge(examples.predictions(table, seed), table)


def test_equal_to_a_naive_loop():
    judged = _judged()
    draws = Resamples.by_group(judged.groups.to_numpy(str), 25, seed=3)
    found = bootstrap.replicate_figures(judged.truth, judged.probabilities, draws)
    assert found is not None
    names = np.unique(judged.groups)
    rng = np.random.default_rng(3)
    for number in range(25):
        drawn = names[rng.integers(0, len(names), size=len(names))]
        rows = np.concatenate([np.flatnonzero(judged.groups == name) for name in drawn])
        alone = metrics.point_figures(judged.truth[rows], judged.probabilities[rows])
        for name, values in found.headline.items():
            assert values[number] == pytest.approx(alone.headline[name][0], abs=1e-9), name
        for name, values in found.per_class.items():
            np.testing.assert_allclose(
                values[:, number], alone.per_class[name][:, 0], atol=1e-9, err_msg=name
            )


def test_images_of_a_group_are_drawn_together():
    labels = np.array(["a", "b", "a", "c", "b"])
    (counts,) = Resamples.by_group(labels, 50, seed=1).blocks()
    assert counts.shape == (5, 50)
    np.testing.assert_array_equal(counts[0], counts[2])
    np.testing.assert_array_equal(counts[1], counts[4])
    np.testing.assert_array_equal(counts[0] + counts[1] + counts[3], np.full(50, 3))
    assert len(np.unique(counts[0])) > 2


def test_blocks_change_nothing(monkeypatch):
    labels = np.arange(40) // 2
    whole = np.concatenate(list(Resamples.by_group(labels, 30, seed=5).blocks()), axis=1)
    monkeypatch.setattr(bootstrap, "_CELLS", 40 * 7)
    parts = list(Resamples.by_group(labels, 30, seed=5).blocks())
    assert [part.shape[1] for part in parts] == [7, 7, 7, 7, 2]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    other = np.concatenate(list(Resamples.by_group(labels, 30, seed=6).blocks()), axis=1)
    assert (other != whole).any()


def test_estimates_carry_intervals_around_them():
    judged = _judged(150)
    draws = Resamples.by_group(judged.groups.to_numpy(str), 200, seed=0)
    found = bootstrap.estimate(judged.truth, judged.probabilities, draws)
    for name, ends in found.intervals.items():
        assert ends is not None
        assert 0 <= ends[0] <= found.figures[name] <= ends[1] <= 1
        assert ends[1] > ends[0]
    assert len(found.per_class_intervals["recall"]) == 8
    assert bootstrap.estimate(judged.truth, judged.probabilities, draws) == found


def test_images_alike_widen_the_interval():
    judged = _judged(150)
    tenfold = np.repeat(np.arange(len(judged.truth)), 10)
    truth, values = judged.truth[tenfold], judged.probabilities[tenfold]
    grouped = Resamples.by_group(judged.groups.to_numpy(str)[tenfold], 200, seed=0)
    single = Resamples.by_group(np.arange(len(tenfold)), 200, seed=0)
    widths = []
    for draws in (grouped, single):
        low, high = bootstrap.estimate(truth, values, draws).intervals["accuracy"]
        widths.append(high - low)
    assert widths[0] > 2.5 * widths[1]


def test_no_resamples_no_intervals():
    judged = _judged()
    draws = Resamples.by_group(judged.groups.to_numpy(str), 0)
    found = bootstrap.estimate(judged.truth, judged.probabilities, draws)
    assert set(found.intervals.values()) == {None}
    assert not np.isnan(found.figures["accuracy"])
    assert set(found.per_class_intervals["f1"]) == {None}


def test_one_answer_to_everything_has_no_sure_figure():
    truth = np.repeat(np.arange(8), 10)
    probabilities = np.full((80, 8), 0.02)
    probabilities[:, 1] = 0.86
    found = bootstrap.estimate(truth, probabilities, Resamples.by_group(np.arange(80), 200, 0))
    assert found.figures["balanced_accuracy"] == 0.125
    # One class is found in ten of ten lesions, seven in none of ten.
    low, high = found.intervals["balanced_accuracy"]
    assert 0 < low < 0.125 < high < 0.25
    assert found.intervals["macro_auroc"] is None
    assert found.intervals["accuracy"] is not None
    every = [found.intervals.values(), *found.per_class_intervals.values()]
    assert all(low < high for ends in every for low, high in filter(None, ends))


def test_freedom_counts_the_groups_that_decide():
    rng = np.random.default_rng(0)
    values = rng.normal(size=400)
    draws = Resamples.by_group(np.arange(400), 4000, seed=0)

    def statistics(counts):
        few = counts[:20].T @ values[:20]
        return {"all": counts.T @ values, "stacked": np.array([few, few]), "same": few * 0}

    found = draws.freedom(draws.replicate(statistics))
    # A sum's influences are its terms: 2 / (kurtosis - 1) times their number.
    for name, terms in (("all", values), ("stacked", np.where(np.arange(400) < 20, values, 0.0))):
        influence = terms - terms.mean()
        expected = 2 / ((influence**4).sum() / (influence**2).sum() ** 2 - 1 / 400)
        assert found[name] == pytest.approx(expected, rel=0.25)
    assert found["stacked"].shape == (2,)
    assert found["same"] == 399
    assert draws.freedom({}) == {}


def test_freedom_survives_undefined_resamples():
    draws = Resamples.by_group(np.arange(30), 200, seed=0)
    spread = draws.replicate(lambda counts: {"mean": counts[:10].mean(axis=0)})
    spread["mean"][:20] = np.nan
    assert 1 <= draws.freedom(spread)["mean"] <= 29


def test_what_the_figures_rest_on():
    judged = _judged(150)
    names = judged.groups.to_numpy(str)
    _, groups = np.unique(names, return_inverse=True)
    headline, per_class = bootstrap.supports_of(judged.truth, judged.probabilities, groups)
    assert set(headline) == set(metrics.HEADLINE) - set(metrics.AVERAGES)
    assert set(per_class) == set(metrics.PER_CLASS)
    melanoma, called = judged.truth == 0, judged.probabilities.argmax(axis=1) == 0
    assert headline["accuracy"].groups == len(set(names))
    for figure, members in (
        ("sensitivity", melanoma),
        ("specificity", ~melanoma),
        ("average_precision", melanoma),
    ):
        assert headline[f"melanoma_{figure}"].groups == len(set(names[members])), figure
    assert per_class["precision"][0].groups == len(set(names[called]))
