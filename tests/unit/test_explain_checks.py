import math

import explain_examples
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from melanoma import isic
from melanoma.cluster import needs
from melanoma.explain import cam, checks, figures
from melanoma.explain.layers import Layer
from melanoma.pages import heat_maps


@pytest.fixture(scope="module")
def model():
    return explain_examples.fusion_model(metadata=False)[2]


def _batch(model, count=2):
    pixels = explain_examples.pixels(count)
    targets = np.arange(count) % 8
    maps = cam.compute_maps(model, pixels, None, targets, method="layercam")
    return checks.Batch(pixels, None, targets, maps.heat, maps.layer)


def test_random_weights_change_the_maps_and_not_the_model(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batch = _batch(model)
    table = checks.randomised_weights(model, batch, method="layercam", seed=3)
    assert table["item"].tolist() == [name for name, _ in model.layer_groups()]
    assert table["value"].abs().max() < 0.999
    assert (table["images"] == 2).all()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    again = checks.randomised_weights(model, batch, method="layercam", seed=3)
    pd.testing.assert_frame_equal(table, again)


def test_a_map_that_ignores_the_weights_is_found_out(model):
    batch = _batch(model)
    untouched = [(name, []) for name, _ in model.layer_groups()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model), "layer_groups", lambda self: untouched)
        table = checks.randomised_weights(model, batch, method="layercam")
    assert table["value"].min() > 0.999


def test_random_weights_keep_mean_and_deviation():
    parameter = torch.nn.Parameter(torch.randn(200, 200) * 0.3 + 2)
    before = parameter.detach().clone()
    checks._randomise(parameter, torch.Generator().manual_seed(0))
    assert parameter.mean().item() == pytest.approx(2, abs=0.01)
    assert parameter.std().item() == pytest.approx(0.3, rel=0.02)
    assert np.corrcoef(before.flatten(), parameter.detach().flatten())[0, 1] < 0.05


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    maps = rng.random((2, 48, 48), dtype=np.float32)
    found = checks.rank_correlations(maps[:1], maps[1:])[0]
    assert found == pytest.approx(spearmanr(maps[0].ravel(), maps[1].ravel()).statistic)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("ramp", "ramp", 1.0),
        ("ramp", "turned", -1.0),
        ("ramp", "flat", 0.0),
        ("flat", "ramp", None),
    ],
)
def test_rank_correlation_of_plain_maps(before, after, expected):
    ramp = np.linspace(0, 1, 48 * 48, dtype=np.float32).reshape(1, 48, 48)
    maps = {"ramp": ramp, "turned": 1 - ramp, "flat": np.zeros_like(ramp)}
    found = checks.rank_correlations(maps[before], maps[after])[0]
    assert np.isnan(found) if expected is None else found == pytest.approx(expected)


def test_masks_cover_what_they_should():
    centre, border = checks.centre_mask(200), checks.border_mask(200)
    assert centre.mean() == pytest.approx(np.pi * checks.CENTRE_RADIUS**2, rel=0.01)
    assert border.mean() == pytest.approx(0.36, rel=0.01)
    assert centre[100, 100]
    assert not (centre & border).any()


@pytest.mark.parametrize(
    ("where", "outside", "border"),
    [((32, 32), 0.0, 0.0), ((1, 32), 1.0, 1.0), ((10, 10), 1.0, 0.0)],
)
def test_shares_of_heat(where, outside, border):
    heat = np.zeros((2, 64, 64), np.float32)
    heat[(0, *where)] = 0.5
    table = checks.heat_shares(heat, ["MEL", "MEL"]).set_index("check")
    assert table.loc[checks.OUTSIDE, "value"] == pytest.approx(outside)
    assert table.loc[checks.BORDER, "value"] == pytest.approx(border)
    # The second map has no heat and counts nowhere.
    assert (table["images"] == 1).all()


def test_even_heat_has_the_share_of_the_area():
    table = checks.heat_shares(np.ones((8, 32, 32), np.float32), list(isic.CLASSES))
    np.testing.assert_allclose(table["value"], table["expected_by_chance"], rtol=1e-5)
    assert len(table) == 16


class _Corner(torch.nn.Module):
    """Probability of class 0 rises with the brightness of the upper left quarter, nothing else."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, images, metadata):
        corner = images[:, :, :16, :16].mean(dim=(1, 2, 3))
        return torch.stack([corner * self.scale, *[torch.zeros_like(corner)] * 7], dim=1)


GRID = Layer("", 8)


def _lit(count, *, seed=0):
    """Images with a bright upper left quarter, which is all that `_Corner` looks at."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 60, (count, 32, 32, 3), dtype=np.uint8)
    pixels[:, :16, :16] += rng.integers(100, 190, (count, 1, 1, 1), dtype=np.uint8)
    return pixels


def _heat(count, kind):
    heat = np.zeros((count, 32, 32), np.float32)
    if kind == "where it looks":
        heat[:, :16, :16] = 1
    elif kind == "elsewhere":
        heat[:, 16:, 16:] = 1
    elif kind == "random":
        heat = checks.random_maps(count, 32, 99, cells=8)
    return heat


def _deleted(kind, count=12, groups=None):
    targets = np.zeros(count, np.int64)
    batch = checks.Batch(_lit(count), None, targets, _heat(count, kind), GRID, groups)
    return checks.deletion_curve(_Corner(), batch)


@pytest.mark.parametrize(
    ("kind", "better", "words"),
    [
        ("where it looks", True, "sooner than blurring random ones does (mean probability lower"),
        ("elsewhere", False, "no better than chance here"),
        ("random", False, "no better than chance here"),
        ("nowhere", False, "No map of the images checked has any heat"),
    ],
)
def test_maps_are_judged_against_random_ones(kind, better, words):
    table = _deleted(kind)
    assert heat_maps.beat_chance(table) is better
    assert words in heat_maps.verdict(table)
    assert (heat_maps.NO_BETTER in heat_maps.verdict(table)) is not better


def test_deleting_what_counts_lowers_the_probability_sooner():
    table = _deleted("where it looks").set_index("item")
    mean = table.loc["mean"]
    assert mean["value"] < mean["expected_by_chance"] - 0.02
    assert mean["difference"] == pytest.approx(mean["expected_by_chance"] - mean["value"])
    assert 0 < mean["low"] < mean["difference"] < mean["high"]
    assert table.loc["0.00", "value"] == table.loc["0.00", "expected_by_chance"]
    assert table.loc["1.00", "value"] == table.loc["1.00", "expected_by_chance"]
    other = _deleted("elsewhere").set_index("item").loc["mean"]
    assert other["value"] > mean["value"]
    assert other["high"] < 0
    assert other["expected_by_chance"] == mean["expected_by_chance"], "the same random maps"


def test_maps_without_heat_are_left_out_of_the_deletion():
    heat = np.concatenate([_heat(6, "where it looks"), _heat(6, "nowhere")])
    batch = checks.Batch(_lit(12), None, np.zeros(12, np.int64), heat, GRID)
    assert (checks.deletion_curve(_Corner(), batch)["images"] == 6).all()


def test_images_of_one_lesion_are_one_witness():
    alone, paired = (
        _deleted("where it looks", groups=groups).iloc[-1]
        for groups in (None, [f"lesion {i // 6}" for i in range(12)])
    )
    assert paired["difference"] == alone["difference"]
    assert paired["high"] - paired["low"] > alone["high"] - alone["low"]


@pytest.mark.parametrize(
    ("values", "groups", "expected"),
    [
        # Student's t of 3 degrees of freedom, 3.182, times the standard error 1.291 / 2.
        ([1, 2, 3, 4], None, (2.5, 2.5 - 2.054, 2.5 + 2.054)),
        # Twins tell nothing more: as of two values, 12.706 x 1.
        ([1, 1, 3, 3], ["a", "a", "b", "b"], (2, 2 - 12.706, 2 + 12.706)),
        ([1, 1, 3, 3], ["a"] * 4, (2, None, None)),
        ([5], None, (5, None, None)),
        ([0, 0, 0], None, (0, 0, 0)),
    ],
)
def test_the_interval_of_a_mean(values, groups, expected):
    found = checks.mean_interval(np.array(values, float), groups)
    for one, other in zip(found, expected, strict=True):
        assert math.isnan(one) if other is None else one == pytest.approx(other, abs=2e-3)


@pytest.mark.parametrize("cells", [6, 7, 14])
def test_random_maps_have_the_grid_of_the_network(cells):
    maps = checks.random_maps(3, 16 * cells, 5, cells=cells)
    assert maps.shape == (3, 16 * cells, 16 * cells)
    # Linear within a cell and between two: no second difference but at the cells' centres.
    bends = np.abs(np.diff(maps, 2, axis=1)).max(axis=(0, 2)) > 1e-4
    assert cells - 2 <= bends.sum() <= 2 * cells
    np.testing.assert_array_equal(maps, checks.random_maps(3, 16 * cells, 5, cells=cells))


def test_a_cluster_job_has_time_for_the_check():
    inner = len(checks.DELETED) - 2
    passes = checks.CHECKED * (len(checks.DELETED) + checks.DRAWS * inner)
    assert passes == needs.DELETION_PASSES


def test_classes_take_turns():
    diagnoses = ["MEL"] * 5 + ["NV"] * 3 + ["DF"]
    assert checks.spread(diagnoses, 5) == [0, 1, 5, 6, 8]
    assert checks.spread(diagnoses, 50) == list(range(9))


@pytest.fixture(scope="module")
def table(model):
    return checks.run_checks(model, _batch(model, 2), ["MEL", "NV"], method="layercam", seed=1)


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_figure_is_the_same_each_time(tmp_path, table, suffix):
    assert set(table["check"]) == {
        checks.RANDOMISED,
        checks.OUTSIDE,
        checks.BORDER,
        heat_maps.DELETION,
    }
    assert tuple(table.columns) == checks.COLUMNS
    for name in ("a", "b"):
        figures.draw_checks(table, tmp_path / f"{name}.{suffix}")
    first = (tmp_path / f"a.{suffix}").read_bytes()
    assert first == (tmp_path / f"b.{suffix}").read_bytes()
    figures.draw_checks(table[:0], tmp_path / f"c.{suffix}", note="nothing")
    assert (tmp_path / f"c.{suffix}").read_bytes() != first
