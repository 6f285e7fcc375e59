import numpy as np
import pytest
from scipy.stats import binom, t

from melanoma.evaluation.intervals import (
    Spread,
    Support,
    count_groups,
    difference_error,
    difference_interval,
    interval,
    of_cases,
    of_ranking,
    plain_interval,
)
from melanoma.evaluation.reliability import wilson


def test_undefined_figures_have_no_interval():
    spread = np.array([0.1, 0.2, 0.3, 0.2])
    assert interval(float("nan"), spread, 9, of_cases(10)) is None
    assert interval(0.2, spread, 9, of_cases(1)) is None
    assert interval(0.2, np.array([0.2, np.nan, np.nan]), 9, of_cases(10)) is None
    assert plain_interval(0.2, np.array([0.2, np.nan, np.nan]), 9, groups=10) is None
    assert interval(0.2, np.array([0.1, 0.2, np.nan]), 9, of_cases(10)) is not None


@pytest.mark.parametrize("number", [1, 2, 1000])
def test_a_figure_between_without_spread_has_no_interval(number):
    assert interval(0.125, np.full(number, 0.125), 9, of_cases(40)) is None
    assert interval(0.1, np.full(number, 0.1) + 1e-16, 9, of_cases(40)) is None


def test_freedom_is_never_more_than_the_groups_behind_a_figure_leave():
    draws = 0.5 + 0.02 * np.array([-1.0, 1.0])
    half = 0.02 * np.sqrt(1 + 1 / 4) * t.ppf(0.975, 4)
    assert plain_interval(0.5, draws, 1e9, groups=5) == pytest.approx((0.5 - half, 0.5 + half))
    few, many = (interval(0.5, draws, 1e9, of_cases(groups)) for groups in (6, 10**6))
    assert few[1] - few[0] > 1.3 * (many[1] - many[0])


def test_one_resample_is_no_spread():
    assert interval(0.4, np.array([0.5]), 9, of_cases(40)) is None
    assert plain_interval(0.4, np.array([0.5]), 9, groups=40) is None


def test_what_rests_on_an_unknown_reach_has_no_interval():
    assert interval(1.0, np.ones(100), 9, Support(40, float("nan"))) is None


@pytest.mark.parametrize("share", [0.5, 0.8, 0.99])
def test_equals_wilsons_interval_for_independent_cases(share):
    error = np.sqrt(share * (1 - share) / 500)
    draws = share + error * np.array([-1.0, 1.0])
    found = interval(share, draws, 1e9, of_cases(10**9))
    low, high = wilson(np.array([share]), np.array([500.0]))
    assert found == pytest.approx((low[0], high[0]), abs=1e-6)


def test_intervals_stay_within_bounds_and_lean_to_the_middle():
    low, high = interval(0.98, 0.98 + 0.02 * np.array([-1, 1]), 3, of_cases(20))
    assert 0 < low < 0.98 < high < 1
    assert 0.98 - low > 2 * (high - 0.98)


def test_intervals_of_known_spread():
    draws = np.random.default_rng(0).normal(0.5, 0.02, 100_000)
    low, high = plain_interval(0.5, draws, 9999, groups=10_000)
    assert (low, high) == pytest.approx((0.4608, 0.5392), abs=1e-3)
    wider = plain_interval(0.5, draws, 4, groups=10_000)
    assert wider[1] - wider[0] > 1.4 * (high - low)


def test_a_perfect_share_is_as_sure_as_its_cases():
    for cases in (2, 30, 400):
        low, high = interval(1.0, np.ones(100), 29, of_cases(cases))
        assert high == 1.0
        assert binom.pmf(cases, cases, low) == pytest.approx(0.025)
        assert interval(0.0, np.zeros(100), 29, of_cases(cases)) == pytest.approx((0.0, 1 - low))


def _separated(area_shift, positive, negative, repeats=4000):
    """How often normal scores of two sides, that far apart, do not overlap at all."""
    rng = np.random.default_rng(0)
    lowest = rng.normal(area_shift, 1, (repeats, positive)).min(axis=1)
    highest = rng.normal(0, 1, (repeats, negative)).max(axis=1)
    return (lowest > highest).mean()


@pytest.mark.parametrize(("positive", "negative"), [(8, 46), (3, 500), (40, 40)])
def test_a_perfect_ranking_excludes_only_what_would_hardly_look_perfect(positive, negative):
    from scipy.stats import norm

    support = of_ranking(positive, negative)
    assert support.groups == min(positive, negative)
    # Less is given away than by counting the rarer side as cases, and never half the area.
    assert 0 < support.reach < of_cases(min(positive, negative)).reach
    shift = np.sqrt(2) * norm.ppf(1 - support.reach)
    assert _separated(shift, positive, negative) < 0.025


def test_a_ranking_of_hardly_anything_says_nothing():
    assert of_ranking(0, 10) == Support(0, 1.0)
    assert of_ranking(1, 2).reach == 0.5


def spread(share, cases, noise):
    """A share with its interval, and replicates that vary as the given noise does."""
    error = np.sqrt(share * (1 - share) / cases)
    replicates = share + error * (noise - noise.mean()) / noise.std()
    return Spread(share, interval(share, replicates, 1e9, of_cases(cases)), replicates)


def test_a_difference_of_unrelated_figures_adds_their_variances():
    a, b = np.random.default_rng(0).normal(size=(2, 20_000))
    low, high = difference_interval(spread(0.5, 2000, a), spread(0.6, 2000, b))
    half = 1.96 * np.sqrt((0.5 * 0.5 + 0.6 * 0.4) / 2000)
    assert (low, high) == pytest.approx((0.1 - half, 0.1 + half), abs=1e-3)


def test_a_paired_difference_is_narrower():
    a, b = np.random.default_rng(0).normal(size=(2, 20_000))
    widths = []
    for share in (0.0, 0.5, 0.9):
        other = share * a + np.sqrt(1 - share**2) * b
        low, high = difference_interval(spread(0.5, 2000, a), spread(0.6, 2000, other))
        assert low < 0.1 < high
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
    assert widths[2] < 0.4 * widths[0]


def test_two_that_are_perfect_may_yet_differ():
    perfect = Spread(1.0, interval(1.0, np.ones(100), 1, of_cases(30)), np.ones(100))
    reach = of_cases(30).reach
    assert difference_interval(perfect, perfect) == pytest.approx((-reach, reach))
    nothing = Spread(0.5, None, np.zeros(0))
    assert difference_interval(perfect, nothing) is None
    assert difference_error(perfect, nothing) is None
    assert difference_error(perfect, perfect) == pytest.approx(reach / 1.96, rel=1e-4)
    # Resamples without the figure are left out of the correlation.
    gaps = Spread(0.5, (0.4, 0.6), np.array([0.4, np.nan, 0.6]))
    assert difference_interval(gaps, gaps) == pytest.approx((0.0, 0.0), abs=1e-7)


def test_groups_are_counted_once():
    labels = np.array([0, 0, 1, 2, 3])
    assert count_groups(labels, np.array([True, True, True, False, False])) == 2
    assert count_groups(labels, np.zeros(5, bool)) == 0
