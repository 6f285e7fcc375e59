import numpy as np
import pytest

from melanoma.errors import InputError
from melanoma.evaluation.unknown import SHARES, choose_unknown
from tests.benchmarks.gain_of_unknown import GAINING, MEAN_LOSS, WORST_LOSS, gains


def _validation(separation, images=900, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.arange(images) % 8
    scores = rng.normal(size=images)
    masked = rng.normal(size=images) + separation
    return scores, masked, truth, rng.random(images) < 0.8, np.arange(images) // 2


def test_the_gain_is_that_of_the_nine_recalls():
    scores, masked, truth, right, groups = _validation(2.0)
    choice = choose_unknown(scores, masked, truth, right, groups)
    assert choice.share > 0
    cut = choice.rule.threshold

    def mean_of_nine(threshold):
        recalls = [(right & (scores <= threshold))[truth == c].mean() for c in range(8)]
        stand_ins = [(masked > threshold)[truth == c].mean() for c in range(8)]
        return (sum(recalls) + np.mean(stand_ins)) / 9, np.mean(stand_ins)

    chosen, recall = mean_of_nine(cut)
    never, _ = mean_of_nine(np.inf)
    assert choice.gain == pytest.approx(chosen - never)
    assert choice.recall == pytest.approx(recall)
    assert choice.share == (scores > cut).mean()
    others = [mean_of_nine(np.quantile(scores, 1 - s, method="higher"))[0] for s in SHARES]
    assert chosen == pytest.approx(max(others))
    assert choice.best in SHARES
    assert (choice.best_gain, choice.best_error) == (choice.gain, choice.error)


def test_its_error_is_that_of_whole_lesions():
    scores, masked, truth, right, _ = _validation(2.0)
    order = np.argsort(truth, kind="stable")
    parts = [values[order] for values in (scores, masked, truth, right)]
    groups = np.arange(len(truth)) // 2
    found = choose_unknown(*parts, groups)
    cut = found.rule.threshold
    # Lesions of each class drawn anew, against the error without drawing.
    value = (parts[1] > cut) / 8 - (parts[3] & (parts[0] > cut))
    rng, means = np.random.default_rng(0), []
    by_class = [np.unique(groups[parts[2] == c]) for c in range(8)]
    of = {g: np.flatnonzero(groups == g) for g in np.unique(groups)}
    for _ in range(400):
        total = 0.0
        for c, names in enumerate(by_class):
            rows = np.concatenate([of[g] for g in rng.choice(names, len(names))])
            rows = rows[parts[2][rows] == c]
            total += value[rows].mean()
        means.append(total / 9)
    assert found.error == pytest.approx(np.std(means), rel=0.12)
    again = [np.repeat(values, 4) for values in (*parts, groups)]
    assert choose_unknown(*again).error == pytest.approx(found.error, rel=0.05)


def test_never_is_the_choice_where_nothing_is_gained():
    choice = choose_unknown(*_validation(0.0))
    assert choice.rule.never
    assert (choice.share, choice.gain, choice.recall) == (0.0, 0.0, 0.0)
    assert choice.best_gain <= choice.best_error
    assert np.isfinite(choice.rule.threshold)


def test_a_class_that_is_not_there_stands_for_nothing():
    scores, masked, truth, right, groups = _validation(2.0)
    there = truth != 5
    choice = choose_unknown(scores[there], masked[there], truth[there], right[there], groups[there])
    cut, kept = choice.rule.threshold, truth[there]
    lost = [(right[there] & (scores[there] > cut))[kept == c].mean() for c in np.unique(kept)]
    caught = [(masked[there] > cut)[kept == c].mean() for c in np.unique(kept)]
    assert choice.gain == pytest.approx((np.mean(caught) - sum(lost)) / 8)


def test_scores_that_are_no_numbers_are_refused():
    scores, *others = _validation(1.0)
    scores[3] = np.nan
    with pytest.raises(InputError, match="not all finite"):
        choose_unknown(scores, *others)


def test_what_is_chosen_gains_where_the_unknown_can_be_told_and_costs_little_elsewhere():
    table = gains(draws=40, images=2000).set_index("separation")
    assert (table["points"] >= -MEAN_LOSS).all()
    assert (table["fifth"] >= -WORST_LOSS).all()
    assert (table.loc[list(GAINING), "points"] > 1).all()
    assert table.loc[0.0, "never"] > 0.7
