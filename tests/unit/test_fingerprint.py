"""Fingerprints: alike for copies of an image, unlike for others."""

import cv2
import numpy as np
import pytest
from image_examples import encode, picture

from melanoma.duplicates import CANDIDATE, STRONG
from melanoma.errors import InputError
from melanoma.fingerprint import (
    SIDE,
    VIEWS,
    best_correlation,
    decode_fingerprints,
    decode_grey,
    fingerprint,
    split_parity,
    thumbnail,
    turn,
    view_correlations,
)

SEEDS = range(8)


def lesion(seed: int, width: int = 400, height: int = 300) -> np.ndarray:
    """A dark spot on bright skin, with structure: all are alike but in detail."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:height, :width]
    middle = rng.uniform(0.4, 0.6, 2) * (height, width)
    spread = 2 * (height * rng.uniform(0.15, 0.3)) ** 2
    spot = np.exp(-((down - middle[0]) ** 2 + (across - middle[1]) ** 2) / spread)
    structure = sum(
        strength * cv2.resize(rng.normal(size=(n, n)), (width, height))
        for n, strength in ((8, 12), (24, 12), (40, 6))
    )
    grey = np.clip(200 - 110 * spot + structure, 0, 255)[..., None]
    return (grey * (1.0, 0.85, 0.8)).astype(np.uint8)


def square(rgb: np.ndarray) -> np.ndarray:
    side = min(rgb.shape[:2])
    top, left = ((length - side) // 2 for length in rgb.shape[:2])
    return rgb[top : top + side, left : left + side]


def scaled(rgb: np.ndarray, factor: float) -> np.ndarray:
    return cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def of_file(data: bytes) -> str:
    height, width = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).shape[:2]
    return fingerprint(decode_grey(data, min(height, width)))


def correlations(first: list[str], second: list[str]) -> np.ndarray:
    a, b = decode_fingerprints(first), decode_fingerprints(second)
    return best_correlation(split_parity(a), split_parity(b), split_parity(b, transposed=True))


@pytest.fixture(scope="module")
def originals() -> list[str]:
    return [of_file(encode(lesion(seed))) for seed in SEEDS]


CHANGES = {
    "the same again": encode,
    "60 %": lambda rgb: encode(scaled(rgb, 0.6)),
    "150 %": lambda rgb: encode(scaled(rgb, 1.5)),
    "quality 50": lambda rgb: encode(rgb, quality=50),
    "progressive": lambda rgb: encode(rgb, progressive=True),
    "cropped to the centre square": lambda rgb: encode(square(rgb)),
    "brighter": lambda rgb: encode(cv2.convertScaleAbs(rgb, alpha=1.1, beta=12)),
    "grey": lambda rgb: encode(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)),
    "turned": lambda rgb: encode(np.rot90(rgb)),
    "mirrored": lambda rgb: encode(rgb[:, ::-1]),
    "all at once": lambda rgb: encode(scaled(np.rot90(square(rgb))[::-1], 0.6), quality=60),
}


@pytest.mark.parametrize("change", CHANGES)
def test_copies_correlate_and_other_images_do_not(change, originals):
    copies = [of_file(CHANGES[change](lesion(seed))) for seed in SEEDS]
    found = correlations(originals, copies)
    assert np.diag(found).min() > STRONG
    assert found[~np.eye(len(SEEDS), dtype=bool)].max() < CANDIDATE


def test_a_crop_off_the_centre_is_another_fingerprint(originals):
    shifted = [of_file(encode(lesion(seed)[:, :300])) for seed in SEEDS]
    assert np.diag(correlations(originals, shifted)).max() < STRONG


def test_plain_thumbnails_would_not_part_them():
    vectors = [thumbnail(cv2.cvtColor(lesion(s), cv2.COLOR_RGB2GRAY), 32).ravel() for s in SEEDS]
    plain = np.corrcoef(vectors)[~np.eye(len(SEEDS), dtype=bool)]
    assert plain.max() > CANDIDATE


@pytest.mark.parametrize(
    ("size", "settings", "shape"),
    [
        ((800, 600), {}, (75, 100)),
        ((600, 800), {}, (100, 75)),
        ((600, 511), {}, (128, 150)),
        ((600, 512), {}, (64, 75)),
        ((255, 300), {}, (150, 128)),
        ((127, 300), {}, (300, 127)),
        ((20, 10), {}, (10, 20)),
        ((800, 600), {"least": 96}, (150, 200)),
        ((800, 600), {"least": 300}, (300, 400)),
        ((800, 600), {"least": 600}, (600, 800)),
        ((800, 600), {"least": 1000}, (600, 800)),
    ],
)
def test_decoding_goes_to_the_smallest_scale_that_is_wanted(size, settings, shape):
    rgb = picture(0, *size)
    grey = decode_grey(encode(rgb), min(size), **settings)
    assert grey.dtype == np.uint8
    assert grey.shape == shape
    expected = cv2.resize(
        cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), shape[::-1], interpolation=cv2.INTER_AREA
    )
    assert np.abs(grey.astype(int) - expected).mean() < 2


@pytest.mark.parametrize("short_side", [72, 600])
@pytest.mark.parametrize("data", [b"", b"no image", b"\xff\xd8", encode(picture())[:40]])
def test_what_does_not_decode_is_refused(data, short_side):
    with pytest.raises(InputError, match="damaged: does not decode"):
        decode_grey(data, short_side)


@pytest.mark.parametrize("least", [64, 600])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_an_exif_orientation_turns_nothing(orientation, least):
    as_stored = decode_grey(encode(picture(0, 800, 600)), 600, least=least)
    turned = decode_grey(encode(picture(0, 800, 600), orientation=orientation), 600, least=least)
    np.testing.assert_array_equal(turned, as_stored)


@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (30, 30), (31, 50)])
def test_a_thumbnail_is_of_the_centre_square(shape):
    grey = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    side = min(shape)
    centre = square(grey)
    np.testing.assert_array_equal(thumbnail(grey, side), centre)
    expected = cv2.resize(centre, (7, 7), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(thumbnail(grey, 7), expected)


def test_a_fingerprint_is_256_levels_in_hex_of_which_one_is_the_largest():
    grey = cv2.cvtColor(lesion(0), cv2.COLOR_RGB2GRAY)
    text = fingerprint(grey)
    levels = np.frombuffer(bytes.fromhex(text), np.int8)
    assert text == fingerprint(grey.copy())
    assert text == text.lower()
    assert levels.shape == (SIDE * SIDE,)
    assert np.abs(levels.astype(int)).max() == 127
    assert levels[0] == 0  # the mean says nothing


@pytest.mark.parametrize("shade", [0, 1, 90, 255])
@pytest.mark.parametrize("shape", [(50, 70), (1, 1), (1, 9)])
def test_one_shade_has_the_fingerprint_of_nothing(shade, shape):
    flat = fingerprint(np.full(shape, shade, np.uint8))
    assert flat == "0" * 512
    vectors = decode_fingerprints([flat, ""])
    assert vectors.shape == (2, SIDE, SIDE)
    assert not vectors.any()


def test_vectors_have_unit_length(originals):
    vectors = decode_fingerprints(originals)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.square(vectors).sum(axis=(1, 2)), 1, rtol=1e-5)
    assert decode_fingerprints([]).shape == (0, SIDE, SIDE)


@pytest.mark.parametrize(
    "texts",
    [["00"], ["0" * 511], ["0" * 514], ["x" * 512], ["0" * 1024], ["0" * 200, "0" * 312]],
    ids=["short", "odd", "long", "no hex", "two in one", "one in two"],
)
def test_what_is_no_fingerprint_is_refused(texts):
    with pytest.raises(ValueError, match=r"fingerprint|hexadecimal"):
        decode_fingerprints(texts)


@pytest.mark.parametrize("view", range(VIEWS))
def test_views_of_coefficients_are_views_of_pixels(view):
    pixels = thumbnail(cv2.cvtColor(lesion(3), cv2.COLOR_RGB2GRAY), 64)
    turned = turn(pixels, view)
    assert turned.flags.c_contiguous
    a, b = decode_fingerprints([fingerprint(turned)]), decode_fingerprints([fingerprint(pixels)])
    by_view = view_correlations(a, b)
    assert by_view.shape == (1, VIEWS)
    assert by_view[0].argmax() == view
    assert by_view[0, view] > 0.999
    (best,) = correlations([fingerprint(turned)], [fingerprint(pixels)])[0]
    assert best == pytest.approx(by_view.max(), abs=1e-6)


def test_the_views_are_the_eight_ways_to_lay_a_square():
    pixels = np.array([[1, 2], [3, 4]], np.uint8)
    found = [turn(pixels, view).ravel().tolist() for view in range(VIEWS)]
    assert found[:5] == [[1, 2, 3, 4], [2, 1, 4, 3], [3, 4, 1, 2], [4, 3, 2, 1], [1, 3, 2, 4]]
    assert len({tuple(laid) for laid in found}) == VIEWS


def test_parities_are_even_and_odd_rows_and_columns():
    vectors = np.arange(2 * SIDE * SIDE, dtype=np.float32).reshape(2, SIDE, SIDE)
    for transposed in (False, True):
        turned = vectors.transpose(0, 2, 1) if transposed else vectors
        parts = split_parity(vectors, transposed=transposed)
        assert parts.shape == (4, 2, SIDE * SIDE // 4)
        for part, (down, across) in zip(parts, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
            np.testing.assert_array_equal(part, turned[:, down::2, across::2].reshape(2, -1))


def test_correlations_lie_between_minus_one_and_one(originals):
    found = correlations(originals, originals)
    assert found.shape == (len(SEEDS), len(SEEDS))
    np.testing.assert_allclose(np.diag(found), 1, atol=1e-5)
    np.testing.assert_allclose(found, found.T, atol=1e-5)
    assert np.abs(found).max() < 1 + 1e-5
