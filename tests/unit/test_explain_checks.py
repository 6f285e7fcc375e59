import explain_examples
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from melanoma import isic
from melanoma.explain import cam, checks, figures


@pytest.fixture(scope="module")
def model():
    return explain_examples.fusion_model(metadata=False)[2]


def _batch(model, count=2):
    pixels = explain_examples.pixels(count)
    targets = np.arange(count) % 8
    heat = cam.compute_maps(model, pixels, None, targets, method="layercam")
    return checks.Batch(pixels, None, targets, heat)


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


def test_deleting_what_counts_lowers_the_probability_sooner():
    pixels = np.zeros((2, 32, 32, 3), np.uint8)
    pixels[:, :16, :16] = 255
    heat = np.zeros((2, 32, 32), np.float32)
    heat[:, :16, :16] = 1
    batch = checks.Batch(pixels, None, np.zeros(2, np.int64), heat)
    table = checks.deletion_curve(_Corner(), batch).set_index("item")
    assert table.loc["mean", "value"] < table.loc["mean", "expected_by_chance"] - 0.05
    assert table.loc["0.00", "value"] == table.loc["0.00", "expected_by_chance"]
    assert table.loc["1.00", "value"] == pytest.approx(table.loc["1.00", "expected_by_chance"])
    wrong = checks.Batch(pixels, None, batch.targets, 1 - heat)
    other = checks.deletion_curve(_Corner(), wrong).set_index("item")
    assert other.loc["mean", "value"] > table.loc["mean", "value"]


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
        checks.DELETION,
    }
    assert tuple(table.columns) == checks.COLUMNS
    for name in ("a", "b"):
        figures.draw_checks(table, tmp_path / f"{name}.{suffix}")
    first = (tmp_path / f"a.{suffix}").read_bytes()
    assert first == (tmp_path / f"b.{suffix}").read_bytes()
    figures.draw_checks(table[:0], tmp_path / f"c.{suffix}", note="nothing")
    assert (tmp_path / f"c.{suffix}").read_bytes() != first
