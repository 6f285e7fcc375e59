import math

import pytest
import torch

from melanoma.model import to_input
from melanoma.training import augment
from melanoma.training.augment import Augmentation, geometry, uniforms


def pixels(n=4, size=16):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, size, size, 3), dtype=torch.uint8, generator=generator)


SLICES = {"age": slice(0, 2), "sex": slice(2, 5)}
MISSING = torch.tensor([5.5, 6.0, 5.0, 5.0, 6.0])


def augmentation(chance=0.0, all_=0.0):
    return Augmentation(1, SLICES, MISSING, chance, all_)


def test_uniforms_are_uniform_and_independent():
    first = uniforms(torch.arange(20_000), 6, seed=3, epoch=0)
    second = uniforms(torch.arange(20_000), 6, seed=3, epoch=1)
    assert first.dtype == torch.float32
    assert ((first >= 0) & (first < 1)).all()
    torch.testing.assert_close(first.mean(0), torch.full((6,), 0.5), atol=0.01, rtol=0)
    torch.testing.assert_close(first.var(0), torch.full((6,), 1 / 12), atol=0.003, rtol=0)
    both = torch.cat([first, second, first.roll(1, 0)], dim=1)
    correlations = torch.corrcoef(both.T).fill_diagonal_(0)
    assert correlations.abs().max() < 0.035
    counts = torch.histc(first[:, 0], bins=20, min=0, max=1)
    assert ((counts - 1000).pow(2) / 1000).sum() < 43.8  # chi-square, 19 degrees, p = 0.001


def test_uniforms_depend_on_seed_epoch_and_row_alone():
    rows = torch.tensor([7, 3, 11])
    torch.manual_seed(0)
    base = uniforms(rows, 4, seed=1, epoch=2)
    torch.manual_seed(1)
    torch.testing.assert_close(uniforms(rows.flip(0), 4, seed=1, epoch=2), base.flip(0))
    assert not torch.equal(uniforms(rows, 4, seed=2, epoch=2), base)
    assert not torch.equal(uniforms(rows, 4, seed=1, epoch=3), base)


def test_an_image_is_changed_alike_in_any_batch():
    batch, rows = pixels(), torch.tensor([5, 6, 7, 8])
    whole = augmentation().images(batch, rows, 0)
    parts = [augmentation().images(batch[i : i + 1], rows[i : i + 1], 0) for i in range(4)]
    torch.testing.assert_close(torch.cat(parts), whole)
    assert whole.shape == (4, 3, 16, 16)
    assert whole.is_contiguous(memory_format=torch.channels_last)


def test_without_change_it_is_plain_normalisation(monkeypatch):
    identity = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).expand(4, 2, 3)
    monkeypatch.setattr(augment, "geometry", lambda random: identity)
    for name in ("BRIGHTNESS", "CONTRAST", "SATURATION", "MAX_HUE"):
        monkeypatch.setattr(augment, name, 0.0)
    changed = augmentation().images(pixels(), torch.arange(4), 0)
    torch.testing.assert_close(changed, to_input(pixels()), atol=1e-4, rtol=1e-4)


def test_geometry_covers_turns_flips_and_scales():
    maps = geometry(uniforms(torch.arange(4000), 5, seed=1, epoch=0))
    determinants = torch.linalg.det(maps[:, :, :2])
    assert 0.45 < (determinants < 0).float().mean() < 0.55
    scales = determinants.abs().rsqrt()
    assert scales.min() >= 1 / augment.MAX_SCALE - 1e-5
    assert scales.max() <= augment.MAX_SCALE + 1e-5
    assert (scales < 0.9).any()
    assert (scales > 1.1).any()
    angles = torch.atan2(-maps[:, 0, 1], maps[:, 1, 1]) % (2 * math.pi)
    assert (torch.histc(angles, bins=8, min=0, max=2 * math.pi) > 350).all()


def test_a_quarter_turn_is_a_quarter_turn(monkeypatch):
    quarter = torch.tensor([0.25, 0.5, 0.9, 0.5, 0.5]).expand(4, 5)
    maps = geometry(quarter)
    monkeypatch.setattr(augment, "geometry", lambda random: maps)
    for name in ("BRIGHTNESS", "CONTRAST", "SATURATION", "MAX_HUE"):
        monkeypatch.setattr(augment, name, 0.0)
    changed = augmentation().images(pixels(), torch.arange(4), 0)
    plain = to_input(pixels())
    matches = [torch.allclose(changed, torch.rot90(plain, k, (2, 3)), atol=1e-2) for k in (1, 3)]
    assert any(matches)


def test_grey_keeps_its_hue_and_saturation():
    grey = torch.full((64, 2, 2, 3), 120, dtype=torch.uint8)
    changed = augmentation().images(grey, torch.arange(64), 0)
    std = torch.tensor(augment.IMAGENET_STD)[None, :, None, None]
    mean = torch.tensor(augment.IMAGENET_MEAN)[None, :, None, None]
    colours = changed * std + mean
    # Contrast pulls towards the mean colour, which is nearly grey.
    assert (colours.amax(1) - colours.amin(1)).max() < 0.03
    assert colours.std() > 0.02


def test_hidden_metadata_have_nothing_to_do_with_the_images_changes():
    rows = torch.arange(5000)
    changed = augmentation(0.3).metadata(torch.ones(5000, 5), rows, 0)
    hidden = torch.stack([changed[:, part.start] != 1 for part in SLICES.values()])
    drawn = uniforms(rows, 9, seed=1, epoch=0)
    together = torch.corrcoef(torch.cat([hidden.float(), drawn.T]))[:2, 2:]
    assert together.abs().max() < 0.06


@pytest.mark.parametrize(
    ("one", "all_", "rows"), [(0, 0.1, 20_000), (0.3, 0.1, 20_000), (0, 0, 99)]
)
def test_all_metadata_of_a_row_are_dropped_together(one, all_, rows):
    """The shares follow from two independent draws: of each field, and of the row."""
    changed = augmentation(one, all_).metadata(torch.ones(rows, 5), torch.arange(rows), 2)
    hidden = torch.stack(
        [(changed[:, part] == MISSING[part]).all(dim=1) for part in SLICES.values()], dim=1
    )
    both = float(hidden.all(dim=1).float().mean())
    assert both == pytest.approx(all_ + (1 - all_) * one**2, abs=0.008)
    each = hidden.float().mean(dim=0).tolist()
    assert each == pytest.approx([all_ + (1 - all_) * one] * 2, abs=0.012)


def test_rows_dropped_whole_are_a_function_of_seed_epoch_and_row():
    rows = torch.arange(3000)
    vectors = torch.ones(3000, 5)
    whole = augmentation(0.2, 0.1).metadata(vectors, rows, 4)
    order = torch.randperm(3000, generator=torch.Generator().manual_seed(0))
    parts = [augmentation(0.2, 0.1).metadata(vectors[p], p, 4) for p in order.split(64)]
    assert torch.equal(whole[order], torch.cat(parts))
    assert not torch.equal(whole, augmentation(0.2, 0.1).metadata(vectors, rows, 5))
    # The fields that are dropped one by one are those of before.
    alone = augmentation(0.2, 0.0).metadata(vectors, rows, 4)
    assert torch.equal(
        whole == MISSING, (alone == MISSING) | (whole == MISSING).all(dim=1)[:, None]
    )


@pytest.mark.parametrize("chance", [0.0, 0.3])
def test_metadata_fields_are_dropped_whole(chance):
    metadata = torch.ones(5000, 5)
    changed = augmentation(chance).metadata(metadata, torch.arange(5000), 0)
    shares = []
    for part in SLICES.values():
        hidden = (changed[:, part] == MISSING[part]).all(dim=1)
        kept = (changed[:, part] == 1).all(dim=1)
        assert (hidden ^ kept).all()
        shares.append(float(hidden.float().mean()))
    assert shares == pytest.approx([chance, chance], abs=0.02)
