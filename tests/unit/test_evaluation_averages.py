import numpy as np
import pytest
from scipy.stats import binomtest, norm

from melanoma.evaluation.averages import (
    Classes,
    average_difference,
    average_interval,
    effective_groups,
    moderated_sizes,
    ranking_size,
)
from melanoma.evaluation.bootstrap import Resamples, estimate, headline_spreads
from melanoma.evaluation.intervals import (
    difference_error,
    difference_interval,
    interval,
    of_cases,
    of_ranking,
)

SIGNS = np.array(
    [[(-1) ** bin(row & column).count("1") for column in range(16)] for row in range(1, 16)]
)
"""Rows that are uncorrelated: replicates of classes that have nothing to do with one another."""


def classes(shares, lesions, *, shares_of_cases=True):
    """Shares of lesions of one image each, with replicates of exactly the binomial variance."""
    shares, lesions = np.array(shares, float), np.array(lesions, float)
    error = np.sqrt(shares * (1 - shares) / lesions)
    return Classes(
        points=shares,
        replicates=shares[:, None] + error[:, None] * SIGNS[: len(shares)],
        freedom=np.maximum(lesions - 1, 1),
        sizes=lesions,
        groups=lesions.astype(int),
        shares=shares_of_cases,
    )


@pytest.mark.parametrize(("hits", "lesions"), [(1, 2), (4, 9), (9, 9), (0, 7), (19, 20)])
def test_of_one_class_it_is_the_exact_interval_of_a_share(hits, lesions):
    found = average_interval(classes([hits / lesions], [lesions]))
    exact = binomtest(hits, lesions).proportion_ci(method="exact")
    # The lesions that a class borrows are at its own share.
    assert found == pytest.approx((exact.low, exact.high), abs=1e-6)


@pytest.mark.parametrize("lesions", [3, 10, 40])
def test_perfect_classes_of_one_size_are_as_sure_as_all_their_lesions(lesions):
    low, high = average_interval(classes([1.0] * 8, [lesions] * 8))
    assert high == 1.0
    assert low ** (8 * lesions) == pytest.approx(0.025, rel=1e-4)


def test_perfect_classes_could_hardly_be_worse():
    lesions = np.array([2, 9, 30])
    low, _ = average_interval(classes([1.0] * 3, lesions))
    # Shares that are perfect together in 2.5 % of the samples, and the least of their means.
    parts = np.random.default_rng(0).dirichlet([1, 1, 1], 50_000)
    worst = (0.025 ** (parts / lesions)).mean(axis=1).min()
    assert low == pytest.approx(worst, abs=2e-3)


def test_the_mirror_image_has_the_mirrored_interval():
    shares, lesions = [0.2, 1.0, 0.75, 0.5], [5, 3, 8, 40]
    low, high = average_interval(classes(shares, lesions))
    mirrored = average_interval(classes(1 - np.array(shares), lesions))
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-6)


def test_a_class_of_one_lesion_may_be_anywhere():
    known = classes([0.8, 0.9, 0.7], [50, 60, 70])
    low, high = average_interval(known)
    for share in (0.0, 1.0):
        found = average_interval(classes([0.8, 0.9, 0.7, share], [50, 60, 70, 1]))
        middle = (0.8 + 0.9 + 0.7 + share) / 4
        down, up = middle - found[0], found[1] - middle
        assert down == pytest.approx(np.hypot(0.75 * (0.8 - low), share / 4), abs=1e-6)
        assert up == pytest.approx(np.hypot(0.75 * (high - 0.8), (1 - share) / 4), abs=1e-6)


def test_a_first_error_changes_nothing_abruptly():
    perfect = average_interval(classes([1.0, 0.8, 0.9], [30, 20, 20]))
    nearly = average_interval(classes([1.0 - 1e-7, 0.8, 0.9], [30, 20, 20]))
    assert nearly == pytest.approx(perfect, abs=1e-5)


def test_what_has_no_interval():
    still = classes([0.5, 0.5], [20, 20])
    flat = Classes(still.points, np.full((2, 16), 0.5), *[getattr(still, n) for n in NAMES])
    assert average_interval(flat) is None
    bare = Classes(still.points, np.zeros((2, 0)), *[getattr(still, n) for n in NAMES])
    assert average_interval(bare) is None
    assert average_interval(classes([np.nan, np.nan], [5, 5])) is None
    assert average_interval(classes([1.0], [1])) is None
    # A class that is not there counts neither way.
    assert average_interval(classes([0.5, np.nan], [20, 5])) == average_interval(
        classes([0.5], [20])
    )
    both = classes([0.5, 0.9], [20, 5])
    assert average_interval(both.over(np.array([True, False]))) == average_interval(
        classes([0.5], [20])
    )


NAMES = ("freedom", "sizes", "groups", "shares")

WORLDS = {
    "few, .5": ((3, 4, 5, 6, 7, 8, 9, 10), (0.5,) * 8),
    "few, .9": ((3, 4, 5, 6, 7, 8, 9, 10), (0.9,) * 8),
    "few, .99": ((3, 4, 5, 6, 7, 8, 9, 10), (0.99,) * 8),
    "few, mixed with perfect": ((3, 4, 5, 6, 7, 8, 9, 10), (0.5, 1, 0.9, 1, 0.99, 0.7, 1, 0.9)),
    "few, perfect": ((3, 4, 5, 6, 7, 8, 9, 10), (1.0,) * 8),
    "as in ISIC, .9": ((45, 127, 33, 9, 26, 2, 3, 6), (0.9,) * 8),
    "as in ISIC, mixed": ((45, 127, 33, 9, 26, 2, 3, 6), (0.5, 1, 0.9, 1, 0.99, 0.7, 1, 0.9)),
    "20, .5": ((20,) * 8, (0.5,) * 8),
    "20, .9": ((20,) * 8, (0.9,) * 8),
}


@pytest.mark.parametrize("name", WORLDS)
def test_averages_are_covered_as_often_as_they_should_be(name):
    lesions, recalls = WORLDS[name]
    rng = np.random.default_rng(0)
    truth, held = np.mean(recalls), []
    for _ in range(300):
        shares = rng.binomial(lesions, recalls) / lesions
        low, high = average_interval(classes(shares, lesions))
        held.append(low - 1e-9 <= truth <= high + 1e-9)
    assert np.mean(held) >= 0.93
    if name.startswith("20"):
        assert np.mean(held) <= 0.98


def test_where_the_bootstrap_of_the_average_alone_is_not():
    lesions, recalls = WORLDS["as in ISIC, .9"]
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        one = classes(rng.binomial(lesions, recalls) / lesions, lesions)
        found = interval(one.point, one.replicates.mean(axis=0), 20.0, of_cases(sum(lesions)))
        held.append(found is not None and found[0] <= 0.9 <= found[1])
    assert np.mean(held) < 0.93


def test_lesions_of_many_images_count_by_their_weight():
    groups = np.array([0, 0, 0, 1, 2, 3, 3])
    members = np.array([True, True, True, True, True, False, False])
    assert effective_groups(groups, members) == pytest.approx(25 / 11)
    assert effective_groups(groups, members, np.array([1, 1, 1, 3, 3, 9, 9.0])) == 3.0
    assert effective_groups(groups, ~members & False) == 0.0


def test_images_alike_add_nothing():
    rng = np.random.default_rng(3)
    truth = np.repeat(np.arange(8), 12)
    probabilities = rng.dirichlet(np.ones(8), len(truth))
    probabilities[np.arange(len(truth)), truth] += 0.4
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    lesion = np.arange(len(truth))
    found = []
    for times in (1, 6):
        rows = np.repeat(lesion, times)
        draws = Resamples.by_group(rows, 1000, 0)
        found.append(estimate(truth[rows], probabilities[rows], draws))
    for name in ("balanced_accuracy", "macro_f1", "macro_auroc", "macro_average_precision"):
        assert found[0].intervals[name] == pytest.approx(found[1].intervals[name], abs=0.005)


def test_effective_cases_are_those_of_the_lesions_where_nothing_is_seen():
    points = np.array([1.0, 0.0, 0.5])
    variances = np.array([0.0, 0.0, 0.5 * 0.5 / 4])
    sizes = np.array([7.0, 3.0, 20.0])
    found = moderated_sizes(points, variances, sizes, np.array([0.0, 0.0, 1e9]))
    assert found == pytest.approx([7.0, 3.0, 4.0], rel=1e-6)
    # Two degrees of freedom for the lesions' number beside two for what is seen.
    even = moderated_sizes(np.array([0.5]), np.array([0.5 * 0.5 / 4]), sizes[2:], np.array([2.0]))
    assert even == pytest.approx([1 / ((1 / 4 + 1 / 20) / 2)])


def test_a_perfect_ranking_counts_as_cases_that_reach_as_far():
    for positive, negative in ((3, 60), (20, 140)):
        reach = of_ranking(positive, negative).reach
        assert (1 - reach) ** ranking_size(reach) == pytest.approx(0.025)
    assert ranking_size(1.0) < 0.2


def spread_of(right, lesions, seed=0):
    """Headline figures of a classifier that is right on some images, each of its own lesion."""
    truth = np.repeat(np.arange(8), lesions)
    decided = np.where(right, truth, (truth + 1) % 8)
    probabilities = np.full((len(truth), 8), 0.02)
    probabilities[np.arange(len(truth)), decided] = 0.86
    return headline_spreads(
        truth, probabilities, Resamples.by_group(np.arange(len(truth)), 400, seed)
    )


def test_two_that_are_alike_may_yet_differ():
    lesions = [10] * 8
    right = np.ones(80, bool)
    perfect = spread_of(right, lesions)["balanced_accuracy"]
    reach = 1 - perfect.ends[0]
    assert difference_interval(perfect, perfect) == pytest.approx((-reach, reach), abs=1e-6)
    # Lesions that are not there may yet tell them apart.
    assert difference_error(perfect, perfect) == pytest.approx(reach / norm.ppf(0.975), abs=1e-6)
    right[[0, 13, 27, 55]] = False
    same = spread_of(right, lesions)
    for name in ("balanced_accuracy", "macro_f1", "macro_auroc"):
        low, high = difference_interval(same[name], same[name])
        assert low == pytest.approx(-high, abs=1e-9)
        assert 0.02 < high < 0.2
    assert difference_interval(same["balanced_accuracy"], perfect)[1] > 0.05


def test_the_error_of_a_difference_is_that_of_its_resamples():
    first = np.arange(400) % 3 > 0
    second = np.arange(400) % 4 > 0
    pair = [spread_of(right, [50] * 8)["balanced_accuracy"] for right in (first, second)]
    change = pair[1].replicates - pair[0].replicates
    assert difference_error(*pair) == pytest.approx(change.std())


def test_a_difference_is_covered_with_perfect_classes_too():
    lesions, rng = np.array([3, 4, 5, 6, 7, 8, 9, 10]), np.random.default_rng(1)
    one, two = (
        np.array([0.5, 1, 0.9, 1, 0.99, 0.7, 1, 0.9]),
        np.array([0.4, 1, 0.8, 1, 0.9, 0.7, 1, 0.8]),
    )
    truth, held, widths = np.repeat(np.arange(8), lesions), [], []
    for seed in range(60):
        ease = rng.random(len(truth))
        pair = [
            spread_of(ease < share[truth], lesions, seed)["balanced_accuracy"]
            for share in (one, two)
        ]
        low, high = difference_interval(*pair)
        held.append(low <= np.mean(two - one) <= high)
        widths.append(high - low)
    assert np.mean(held) >= 0.93
    unpaired = average_interval(classes(one.round(1), lesions))
    assert np.mean(widths) < 1.4 * (unpaired[1] - unpaired[0])


def test_averages_over_other_classes_have_no_difference():
    known = classes([0.8, 0.9], [20, 20])
    assert average_difference(known, classes([np.nan, np.nan], [20, 20])) is None
