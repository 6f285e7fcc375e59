"""The surround of photographs: found where there is one, and nowhere else."""

import cv2
import numpy as np
import pytest
from surround_examples import SIDE, round_field, skin, with_bars

from melanoma.duplicates import CANDIDATE, CONFIRMED, Thumbnail, similarity
from melanoma.fingerprint import best_correlation, decode_fingerprints, fingerprint, split_parity
from melanoma.hair import hair_mask, remove_hair
from melanoma.skin_tone import ita
from melanoma.surround import Field, fill_surround, find_field

BLACK, WHITE, BLUE = (0, 0, 0), (255, 255, 255), (40, 60, 160)


def grey(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    one, other = (decode_fingerprints([fingerprint(grey(p))]) for p in (a, b))
    turned = split_parity(other, transposed=True)
    return float(best_correlation(split_parity(one), split_parity(other), turned)[0, 0])


@pytest.mark.parametrize("radius", [0.3, 0.4, 0.49, 0.58, 0.63])
@pytest.mark.parametrize("soft", [0.004, 0.02])
@pytest.mark.parametrize("centre", [(0.5, 0.5), (0.46, 0.53)])
def test_a_round_field_is_found(radius, soft, centre):
    pixels = round_field(skin(1), radius, soft=soft, centre=centre)
    field = find_field(pixels)
    assert field is not None
    assert field.ellipse is not None
    x, y, across, down = field.ellipse
    assert (x, y) == (pytest.approx(centre[0], abs=0.02), pytest.approx(centre[1], abs=0.02))
    assert (across, down) == (pytest.approx(radius, abs=0.025), pytest.approx(radius, abs=0.025))
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    true = np.hypot(columns - centre[0] * SIDE, rows - centre[1] * SIDE) <= radius * SIDE
    assert np.mean(field.inside(SIDE, SIDE) & ~true) < 0.001
    assert field.surround == pytest.approx(1 - true.mean(), abs=0.055)


def test_a_field_is_the_same_at_every_scale_and_in_grey():
    pixels = round_field(skin(2, 600, 800), 0.52)
    fields = [find_field(cv2.resize(pixels, None, fx=f, fy=f)) for f in (1, 0.5, 0.25)]
    fields.append(find_field(grey(pixels)))
    for field in fields:
        assert field.ellipse == pytest.approx(fields[0].ellipse, abs=0.012)
    assert fields[0].inside(60, 80).mean() == pytest.approx(
        fields[0].inside(600, 800).mean(), abs=0.02
    )


def test_a_stretched_picture_has_an_ellipse():
    pixels = cv2.resize(round_field(skin(3, 300, 400), 0.45), (256, 256))
    field = find_field(pixels)
    assert field.ellipse == pytest.approx((0.5, 0.5, 0.45 * 0.75, 0.45), abs=0.025)


@pytest.mark.parametrize(
    ("bars", "colour"),
    [
        ((0, 32, 0, 32), BLACK),
        ((0, 32, 0, 32), WHITE),
        ((40, 0, 40, 0), BLACK),
        ((0, 30, 0, 12), BLACK),
        ((20, 20, 20, 20), BLUE),
        ((16, 16, 16, 16), (128, 128, 128)),
    ],
)
def test_bars_and_frames_are_found(bars, colour):
    pixels = with_bars(skin(4, 192, 192), bars, colour)
    left, top, right, bottom = bars
    height, width = pixels.shape[:2]
    field = find_field(pixels)
    assert field.ellipse is None
    found = (field.left, field.top, field.right, field.bottom)
    true = (left / width, top / height, 1 - right / width, 1 - bottom / height)
    assert found == pytest.approx(true, abs=1.5 / 64)
    inside = field.inside(height, width)
    assert inside[top : height - bottom, left : width - right].sum() == inside.sum()
    # Nothing is left out where the picture ends at the frame.
    assert inside[height // 2, 0] == (left == 0)


def test_a_frame_with_a_rim_of_its_own_colour():
    pixels = with_bars(with_bars(skin(5, 200, 200), (2, 2, 2, 2), WHITE), (14, 14, 14, 14), BLUE)
    inside = find_field(pixels).inside(*pixels.shape[:2])
    assert not inside[:16].any()
    assert not inside[:, -16:].any()


@pytest.mark.parametrize("colour", [BLACK, WHITE])
def test_a_round_field_between_bars(colour):
    pixels = with_bars(round_field(skin(6, 192, 256), 0.6), (0, 32, 0, 32), colour)
    field = find_field(pixels)
    assert (field.top, field.bottom) == pytest.approx((0.125, 0.875), abs=1.5 / 64)
    assert field.ellipse == pytest.approx((0.5, 0.5, 0.45, 0.45), abs=0.03)


def test_a_light_line_at_the_frame_hides_nothing():
    pixels = round_field(skin(7), 0.45)
    pixels[0] = pixels[-1] = pixels[:, 0] = pixels[:, -1] = 90
    assert find_field(pixels).ellipse == pytest.approx((0.5, 0.5, 0.45, 0.45), abs=0.025)


def shaded(pixels: np.ndarray, depth: float) -> np.ndarray:
    """Vignetting: brightness falls towards the corners."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    return np.rint(pixels * (1 - depth * 2 * (x * x + y * y))[..., None]).astype(np.uint8)


def blotted(pixels: np.ndarray, centre: tuple[int, int], reach: int, level: int) -> np.ndarray:
    """A dark lesion, soft and uneven."""
    generator = np.random.default_rng(3)
    rough = cv2.resize(generator.normal(0, 8, (12, 12)).astype(np.float32), (SIDE, SIDE))
    y, x = np.mgrid[:SIDE, :SIDE]
    spot = (np.hypot(x - centre[0], y - centre[1]) + rough < reach).astype(np.float32)
    share = cv2.GaussianBlur(spot, (0, 0), 3)[..., None]
    return np.rint(pixels * (1 - share) + (level + rough[..., None] / 2) * share).astype(np.uint8)


def with_line(pixels: np.ndarray, ends: tuple[int, int, int, int], width: int) -> np.ndarray:
    drawn = np.ascontiguousarray(pixels)
    cv2.line(drawn, ends[:2], ends[2:], (25, 20, 20), width)
    return drawn


NO_SURROUND = {
    "plain": lambda: skin(8),
    "dark skin": lambda: np.rint(skin(8) * 0.35).astype(np.uint8),
    "vignetting": lambda: shaded(skin(9), 0.7),
    "lesion at a corner": lambda: blotted(skin(10), (0, 0), 110, 30),
    "lesion at a side": lambda: blotted(skin(10), (128, 0), 90, 30),
    "lesion in the middle": lambda: blotted(skin(10), (128, 128), 90, 20),
    "lesions at all corners": lambda: blotted(
        blotted(blotted(skin(10), (0, 0), 70, 30), (255, 0), 50, 30), (0, 255), 90, 30
    ),
    "hair across a corner": lambda: with_line(skin(11), (0, 60, 60, 0), 7),
    "edge of a limb": lambda: np.where(
        (np.mgrid[:SIDE, :SIDE][1] < 60)[..., None], np.uint8(8), skin(12)
    ),
    "diagonal background": lambda: np.where(
        (np.mgrid[:SIDE, :SIDE].sum(axis=0) < 160)[..., None], np.uint8(8), skin(12)
    ),
    "a stripe between wide bars": lambda: with_bars(skin(14, SIDE, 32), (112, 0, 112, 0), BLACK),
    "one shade": lambda: np.full((SIDE, SIDE, 3), 140, np.uint8),
    "black": lambda: np.zeros((SIDE, SIDE, 3), np.uint8),
    "smooth": lambda: (
        np.full((SIDE, SIDE, 3), 190, np.uint8)
        - np.linspace(0, 40, SIDE).astype(np.uint8)[:, None, None]
    ),
}


@pytest.mark.parametrize("name", [n for n in NO_SURROUND if n != "edge of a limb"])
def test_no_surround_is_seen_where_there_is_none(name):
    pixels = NO_SURROUND[name]()
    assert find_field(pixels) is None
    assert find_field(grey(pixels)) is None


def test_a_straight_dark_side_is_a_bar():
    # It shows no skin, whatever it is.
    field = find_field(NO_SURROUND["edge of a limb"]())
    assert field.left == pytest.approx(60 / 256, abs=1.5 / 64)
    assert field.ellipse is None


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 3), (20, 20), (64, 64), (65, 97)])
def test_pictures_of_any_size_are_taken(shape):
    generator = np.random.default_rng(0)
    for pixels in (
        generator.integers(0, 256, shape, np.uint8),
        generator.integers(0, 256, (*shape, 3), np.uint8),
        np.zeros(shape, np.uint8),
    ):
        field = find_field(pixels)
        assert field is None or field.inside(*shape).shape == shape


def test_margins():
    field = Field(0.25, 0.0, 1.0, 1.0, None)
    columns = field.inside(100, 100, margin=0.05)[50]
    assert (columns.argmax(), columns.sum()) == (30, 70)
    assert field.inside(100, 100, margin=0)[50].sum() == 75
    circle = Field(0, 0, 1, 1, (0.5, 0.5, 0.4, 0.4))
    assert circle.inside(200, 200, margin=0.1).mean() == pytest.approx(np.pi * 0.3**2, abs=0.003)


def test_filling_leaves_what_is_inside_and_is_even_outside():
    pixels = round_field(skin(13), 0.4)
    inside = find_field(pixels).inside(SIDE, SIDE)
    for values in (pixels, grey(pixels)):
        filled = fill_surround(values, inside)
        np.testing.assert_array_equal(filled[inside], values[inside])
        assert filled.shape == values.shape
        assert filled[~inside].min() > 60
        assert abs(float(filled[~inside].mean()) - float(values[inside].mean())) < 40


SURROUNDS = {
    "round": lambda pixels: round_field(pixels, 0.45),
    "small round": lambda pixels: round_field(pixels, 0.32),
    "off centre": lambda pixels: round_field(pixels, 0.45, centre=(0.45, 0.52), soft=0.02),
    "letterbox": lambda pixels: with_bars(pixels[32:-32], (0, 32, 0, 32), BLACK),
    "padded with white": lambda pixels: with_bars(pixels[32:-32], (0, 32, 0, 32), WHITE),
    "framed": lambda pixels: with_bars(pixels[16:-16, 16:-16], (16, 16, 16, 16), BLUE),
}


@pytest.mark.parametrize("name", SURROUNDS)
def test_unrelated_pictures_in_one_surround_are_no_near_duplicates(name):
    pictures = [SURROUNDS[name](skin(seed)) for seed in range(20, 32)]
    thumbnails = [Thumbnail.of(grey(picture)) for picture in pictures]
    assert all(thumbnail.inside is not None for thumbnail in thumbnails)
    for i, a in enumerate(pictures):
        for j in range(i):
            alike = correlation(a, pictures[j]) >= CANDIDATE
            assert not alike or similarity(thumbnails[i], thumbnails[j]) < CONFIRMED


@pytest.mark.parametrize("name", SURROUNDS)
@pytest.mark.parametrize("seed", [40, 41])
def test_copies_in_a_surround_are_found(name, seed):
    picture = SURROUNDS[name](skin(seed))
    small = cv2.resize(picture, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    saved = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 1)
    turned, mirrored = np.rot90(picture), picture[:, ::-1]
    for copy in (small, saved, np.ascontiguousarray(turned), np.ascontiguousarray(mirrored)):
        assert correlation(picture, copy) >= 0.9
    one = Thumbnail.of(grey(picture))
    for copy in (small, saved):
        assert similarity(one, Thumbnail.of(grey(copy))) >= 0.8


def with_hairs(pixels: np.ndarray) -> np.ndarray:
    drawn = pixels.copy()
    for ends in ((20, 60, 200, 90), (60, 20, 110, 220), (190, 30, 230, 200), (90, 200, 180, 90)):
        cv2.line(drawn, ends[:2], ends[2:], (60, 40, 35), 2, cv2.LINE_AA)
    return drawn


@pytest.mark.parametrize("name", SURROUNDS)
def test_hair_removal_leaves_the_surround(name):
    hairy = with_hairs(skin(50))
    picture = SURROUNDS[name](hairy)
    inside = find_field(picture).inside(SIDE, SIDE, margin=0.0)
    found = hair_mask(picture)
    np.testing.assert_array_equal(remove_hair(picture)[~inside], picture[~inside])
    assert found.sum() > 0.4 * (hair_mask(hairy) & inside).sum()
    # The rim is no hair.
    bare = SURROUNDS[name](skin(50))
    rim = find_field(bare).inside(SIDE, SIDE, margin=0) & ~find_field(bare).inside(
        SIDE, SIDE, margin=0.05
    )
    assert hair_mask(bare)[rim].mean() <= 0.005


def test_black_corners_too_small_for_a_circle_are_left():
    pixels = skin(51)
    y, x = np.mgrid[:SIDE, :SIDE]
    corner = x + y < 14
    pixels[corner] = 3
    assert find_field(pixels) is None
    np.testing.assert_array_equal(remove_hair(pixels)[corner], pixels[corner])


def test_skin_tone_is_of_the_skin_within_the_field():
    whole = np.stack([skin(seed) for seed in range(60, 72)])
    for radius, most in ((0.58, 1.5), (0.49, 3.0)):
        masked = np.stack([round_field(picture, radius) for picture in whole])
        change = np.abs(ita(masked) - ita(whole))
        assert np.isfinite(change).mean() >= 0.7
        assert np.nanmedian(change) <= most


def test_skin_tone_of_a_field_of_lesion_alone_is_not_measurable():
    even = np.rint(skin(73) * 0.0 + np.array([120, 80, 60])).astype(np.uint8)
    assert np.isnan(ita(round_field(even, 0.35)[None]))[0]
    assert np.isfinite(ita(even[None]))[0]
