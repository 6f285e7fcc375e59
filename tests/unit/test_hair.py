"""Hair removal, on skin that is known beneath the hairs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree

from melanoma import hair
from melanoma.hair import detection, removal, rulers
from melanoma.hair.reduction import LARGEST_SHORT_SIDE, REDUCTIONS, Reduction
from tests.benchmarks.drawn_hairs import KINDS, draw

SIZES = ((600, 450), (512, 512), (1024, 768))


def skin(width: int, height: int, *, lesion: bool = True, seed: int = 0) -> np.ndarray:
    """Skin with slow shading, fine grain and a soft dark lesion: no line anywhere."""
    rng = np.random.default_rng(seed)
    shade = cv2.resize(rng.normal(0, 8, (4, 5)), (width, height), interpolation=cv2.INTER_CUBIC)
    rgb = np.array([205.0, 165.0, 150.0]) + shade[..., None]
    if lesion:
        y, x = np.mgrid[:height, :width]
        away = np.hypot((x - width / 2) / (0.24 * width), (y - height / 2) / (0.26 * height))
        rgb = rgb - np.array([110.0, 105.0, 95.0]) / (1 + np.exp((away - 1) * 12))[..., None]
    grain = cv2.GaussianBlur(rng.normal(0, 5, (height, width)), (0, 0), 1.2)
    return np.clip(rgb + grain[..., None], 0, 255).astype(np.uint8)


def psnr(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    error = (a.astype(np.float64) - b)[where]
    return float(10 * np.log10(255**2 / max((error**2).mean(), 1e-9)))


@pytest.mark.parametrize("kind", ["thick", "thin", "faint", "crossing", "curved"])
@pytest.mark.parametrize("size", SIZES)
def test_dark_hairs_are_replaced_by_the_skin_beneath(size, kind):
    base = skin(*size)
    hairy, covered = draw(base, KINDS[kind], np.random.default_rng(3))
    cleaned = hair.remove_hair(hairy)
    on = covered > 0.1
    beneath, drawn = (image.astype(np.float64).mean(axis=2) for image in (base, hairy))
    contrast = drawn - beneath
    left = (cleaned.astype(np.float64).mean(axis=2) - beneath)[on]
    assert abs((left * contrast[on]).sum() / (contrast[on] ** 2).sum()) < 0.12
    assert psnr(cleaned, base, on) > psnr(hairy, base, on) + (8 if kind == "faint" else 12)


def test_thin_hairs_of_large_images_are_filled_at_full_detail(monkeypatch):
    rng = np.random.default_rng(1)
    spots = cv2.GaussianBlur(rng.normal(0, 60, (750, 1000)), (0, 0), 3)
    base = np.clip(skin(1000, 750, lesion=False) + spots[..., None], 0, 255).astype(np.uint8)
    hairy, covered = draw(base, KINDS["thin"], np.random.default_rng(3))
    fine = hair.remove_hair(hairy)
    monkeypatch.setattr(removal, "COARSE", 100)
    coarse = hair.remove_hair(hairy)
    assert ((fine != hairy).any(axis=2) == (coarse != hairy).any(axis=2)).mean() > 0.999
    on = covered > 0.1
    assert psnr(fine, base, on) > psnr(coarse, base, on) + 0.5


@pytest.mark.parametrize("size", SIZES)
def test_the_mask_is_where_hairs_are(size):
    base = skin(*size)
    hairy, covered = draw(base, KINDS["thin"], np.random.default_rng(5))
    mask = hair.hair_mask(hairy)
    assert mask.dtype == np.bool_
    assert mask.shape == hairy.shape[:2]
    assert mask[covered > 0.4].mean() > 0.85
    near = cv2.dilate((covered > 0.02).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert near[mask].mean() > 0.95


def ring(rgb: np.ndarray) -> np.ndarray:
    """A dark frame around a bright disc, as many dermatoscopes leave."""
    height, width = rgb.shape[:2]
    y, x = np.mgrid[:height, :width]
    away = np.hypot(x - width / 2, y - height / 2) / (0.5 * width)
    dark = np.clip((away - 0.9) / 0.06, 0, 1)[..., None]
    return (rgb * (1 - dark) + 12 * dark).astype(np.uint8)


def ruler(rgb: np.ndarray) -> np.ndarray:
    """Dark ticks in a row."""
    out = rgb.copy()
    height, width = rgb.shape[:2]
    for place in range(width // 10, width - width // 10, width // 20):
        cv2.line(out, (place, height // 12), (place, height // 12 + height // 30), (40, 40, 40), 2)
    return out


def dots(rgb: np.ndarray) -> np.ndarray:
    """Pigment dots and globules."""
    out, rng = rgb.copy(), np.random.default_rng(1)
    height, width = rgb.shape[:2]
    for place in rng.uniform(0.3, 0.7, (40, 2)) * (width, height):
        cv2.circle(out, tuple(int(p) for p in place), height // 90, (70, 40, 30), -1, cv2.LINE_AA)
    return out


def network(rgb: np.ndarray) -> np.ndarray:
    """A pigment network: the borders of irregular cells, over the lesion."""
    height, width = rgb.shape[:2]
    rng = np.random.default_rng(4)
    step = height / 22
    rows, columns = np.mgrid[
        0.25 * height : 0.75 * height : step, 0.25 * width : 0.75 * width : step
    ]
    centres = np.stack([rows.ravel(), columns.ravel()], axis=1)
    centres += rng.uniform(-0.4, 0.4, centres.shape) * step
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([y.ravel(), x.ravel()], axis=1)
    (near, next_near), _ = (part.T for part in cKDTree(centres).query(pixels, k=2))
    border = np.exp(-(((next_near - near) / (0.22 * step)) ** 2)) * (near < step)
    return np.clip(rgb - 45 * border.reshape(height, width, 1), 0, 255).astype(np.uint8)


def light(rgb: np.ndarray) -> np.ndarray:
    """Light hairs, which are left in."""
    return draw(rgb, KINDS["light"], np.random.default_rng(2))[0]


def scale(rgb: np.ndarray) -> np.ndarray:
    """A slanted ruler: an edge with long and short ticks on one side."""
    out = rgb.copy()
    height, width = rgb.shape[:2]
    start, end = np.array([0.1 * width, 0.9 * height]), np.array([0.8 * width, 0.8 * height])
    along = (end - start) / np.linalg.norm(end - start)
    up = np.array([along[1], -along[0]])
    thick = max(1, height // 300)
    cv2.line(out, start.astype(int), end.astype(int), (45, 40, 40), thick, cv2.LINE_AA)
    for number in range(31):
        foot = start + (end - start) * number / 30
        top = foot + up * height * (0.05 if number % 5 == 0 else 0.03)
        cv2.line(out, foot.astype(int), top.astype(int), (45, 40, 40), thick, cv2.LINE_AA)
    return out


@pytest.mark.parametrize("structure", [skin, ring, ruler, scale, dots, network, light])
@pytest.mark.parametrize("size", SIZES)
def test_what_is_no_dark_hair_stays(size, structure):
    base = skin(*size)
    rgb = base if structure is skin else structure(base)
    cleaned = hair.remove_hair(rgb)
    ours = np.abs(cleaned.astype(np.int16) - rgb).mean()
    usual = np.abs(hair.dullrazor(rgb).astype(np.int16) - rgb).mean()
    share = 3 if structure is network else 5
    assert ours <= max(usual / share, 0.005)


@pytest.mark.parametrize("size", SIZES)
def test_a_ruler_that_hairs_cross_stays_and_the_hairs_do_not(size):
    base = skin(*size)
    ruled = scale(base)
    width, height = size
    hairy = ruled.copy()
    thick = max(2, height // 200)
    for start, end in (
        ((0.2, 0.6), (0.35, 1)),
        ((0.5, 1), (0.62, 0.4)),
        ((0.78, 0.99), (0.7, 0.5)),
    ):
        ends = [(round(x * width), round(y * height)) for x, y in (start, end)]
        cv2.line(hairy, *ends, (60, 45, 40), thick, cv2.LINE_AA)
    hairs = (hairy != ruled).any(axis=2)
    marks = (ruled != base).any(axis=2)
    mask = hair.hair_mask(hairy)
    beside = cv2.dilate(hairs.astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
    assert mask[marks & ~beside].mean() < 0.1
    near = cv2.dilate(marks.astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
    above = np.arange(height)[:, None] < 0.75 * height
    assert mask[hairs & ~near & above].mean() > 0.8


def test_an_edge_is_cleared_on_the_side_that_is_left():
    found = np.zeros((100, 100), np.bool_)
    found[50, 10:31] = found[50, 50:91] = True
    line = rulers.Axes.of_one(np.array([50, 50]), np.array([0, 10]))
    rulers._clear_line(found, line, 0.0)
    assert not found[50, :31].any()
    assert found[50, 50:91].all()


def test_without_hair_nothing_is_copied():
    rgb = np.full((450, 600, 3), 180, np.uint8)
    assert hair.remove_hair(rgb) is rgb
    assert not hair.hair_mask(rgb).any()


def test_the_input_is_left_as_it_was_and_the_result_is_the_same_each_time():
    hairy, _ = draw(skin(600, 450), KINDS["crossing"], np.random.default_rng(0))
    before = hairy.copy()
    first = hair.remove_hair(hairy)
    assert (hairy == before).all()
    assert (hair.remove_hair(hairy) == first).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (7, 5), (33, 64), (40, 3000)])
@pytest.mark.parametrize("fill", ["black", "white", "noise"])
def test_any_shape_is_accepted(shape, fill):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    rgb = {"black": noise * 0, "white": noise | 255, "noise": noise}[fill]
    for method in (hair.remove_hair, hair.dullrazor):
        out = method(rgb)
        assert out.shape == rgb.shape
        assert out.dtype == np.uint8


@pytest.mark.parametrize(
    "size", [(256, 256), (600, 450), (767, 576), (1024, 1024), (1504, 1129), (3072, 2304)]
)
def test_the_search_costs_the_same_for_any_size(size, monkeypatch):
    searched = []
    find = detection.find_hairs
    monkeypatch.setattr(
        removal, "find_hairs", lambda dark, *inside: searched.append(dark.shape) or find(dark)
    )
    hair.remove_hair(np.full((size[1], size[0], 3), 150, np.uint8))
    (shape,) = searched
    assert 150 <= min(shape) < LARGEST_SHORT_SIDE


@pytest.mark.parametrize(("of", "to"), REDUCTIONS)
def test_shrinking_averages(of, to):
    rgb = skin(of * 31 + of - 1, of * 23)
    small = Reduction(of, to).shrink(rgb)
    assert small.shape == (23 * to, 31 * to, 3)
    cut = rgb[:, : of * 31].astype(np.float64)
    if to == 1:
        average = cut.reshape(23, of, 31, of, 3).mean(axis=(1, 3))
        assert np.abs(small - average).max() <= 0.51
    assert np.abs(small.mean(axis=(0, 1)) - cut.mean(axis=(0, 1))).max() < 0.3


@pytest.mark.parametrize(("of", "to"), REDUCTIONS)
def test_a_part_is_enlarged_as_the_whole_is(of, to):
    random = np.random.default_rng(of)
    small = random.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    reduction = Reduction(of, to)
    whole = reduction.enlarge(small, (slice(0, 40), slice(0, 60)), (9999, 9999), cv2.INTER_LINEAR)
    assert whole.shape == (40 * of // to, 60 * of // to, 3)
    for part in ((slice(10, 22), slice(30, 44)), (slice(0, 2), slice(58, 60))):
        there = whole[reduction.full(part)]
        found = reduction.enlarge(small, part, there.shape, cv2.INTER_LINEAR)
        np.testing.assert_array_equal(found, there)


@pytest.mark.parametrize("size", [(601, 451), (1025, 769), (752, 565), (1127, 1002)])
def test_a_hair_is_covered_to_the_very_edge(size):
    base = skin(*size, lesion=False)
    hairy = base.copy()
    width, height = size
    thick = max(2, height // 150)
    for start, end in (
        ((width * 2 // 3, 0), (width // 2, height)),
        ((0, 90), (width, height // 2)),
    ):
        cv2.line(hairy, start, end, (30, 22, 18), thick, cv2.LINE_AA)
    cleaned = hair.remove_hair(hairy)
    for edge in (np.s_[-1], np.s_[:, -1]):
        on = hairy[edge].mean(axis=-1) < 110
        error = np.abs(cleaned[edge].astype(int) - base[edge]).mean(axis=-1)
        assert np.median(error[on]) < 15


def test_the_usual_recipe_fills_dark_lines():
    rgb = np.full((120, 160, 3), 190, np.uint8)
    cv2.line(rgb, (10, 20), (150, 100), (30, 20, 15), 3)
    assert hair.dullrazor(rgb).min() > 150
