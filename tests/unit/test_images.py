"""From a JPEG file to the pixels that are trained on."""

import io
import itertools

import cv2
import numpy as np
import pytest
from image_examples import encode, hairy, picture, psnr
from PIL import Image

from melanoma import images
from melanoma.errors import InputError
from melanoma.hair import dullrazor, remove_hair
from melanoma.images import DETAIL, clean, decode, denominator_for, frame, prepare, resize

FRAMINGS = ("crop", "pad", "stretch")
REMOVALS = ("lines", "dullrazor", "none")


def places(width: int, height: int) -> np.ndarray:
    """Each pixel tells its column and row."""
    down, across = np.indices((height, width))
    return np.stack([across, down, np.full_like(down, 255)], axis=-1).astype(np.uint8)


def checkerboard(side: int) -> np.ndarray:
    board = np.indices((side, side)).sum(axis=0) % 2 * 255
    return np.repeat(board[..., None], 3, axis=2).astype(np.uint8)


def skin_like(width: int = 600, height: int = 450) -> np.ndarray:
    """Noise that fades with its frequency, as photographs do."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    frequency[0, 0] = 1
    noise = np.fft.fft2(rng.normal(size=(3, height, width))) / frequency**1.5
    waves = np.fft.ifft2(noise).real
    waves = (waves - waves.mean()) / waves.std()
    return np.clip(128 + 45 * waves, 0, 255).astype(np.uint8).transpose(1, 2, 0)


@pytest.mark.parametrize("denominator", [1, 2, 4, 8])
def test_decoding_at_a_reduced_scale_averages_pixels(denominator):
    rgb = picture(width=160, height=96)
    high, wide = 96 // denominator, 160 // denominator
    averages = rgb.reshape(high, denominator, wide, denominator, 3).mean(axis=(1, 3))
    decoded = decode(encode(rgb, subsampling=0), denominator=denominator)
    assert decoded.dtype == np.uint8
    assert decoded.shape == (high, wide, 3)
    assert psnr(decoded, averages) > 38


@pytest.mark.parametrize("denominator", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (97, 61), (8, 16)])
def test_reduced_sides_are_rounded_up(size, denominator):
    decoded = decode(encode(picture(0, *size)), denominator=denominator)
    assert decoded.shape == (-(-size[1] // denominator), -(-size[0] // denominator), 3)


@pytest.mark.parametrize("denominator", [1, 2, 4, 8])
def test_grey_becomes_three_equal_channels(denominator):
    grey = picture()[..., 0]
    decoded = decode(encode(grey), denominator=denominator)
    assert (decoded == decoded[..., :1]).all()
    assert denominator > 1 or psnr(decoded[..., 0], grey) > 38


@pytest.mark.parametrize("denominator", [1, 2, 4, 8])
def test_cmyk_becomes_rgb(denominator):
    data = encode(picture(), mode="CMYK")
    decoded = decode(data, denominator=denominator)
    assert decoded.shape == (72 // denominator, 96 // denominator, 3)
    assert denominator > 1 or psnr(decoded, picture()) > 35


@pytest.mark.parametrize("denominator", [1, 2, 4, 8])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_an_exif_orientation_turns_nothing(orientation, denominator):
    turned = encode(picture(), orientation=orientation)
    as_stored = decode(encode(picture()), denominator=denominator)
    np.testing.assert_array_equal(decode(turned, denominator=denominator), as_stored)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"no image at all",
        encode(picture())[:60],
        # Whole by its markers, but without any table to decode with.
        b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x10\x00\x10\x01\x01\x11\x00\xff\xda\x00\x08"
        b"\x01\x01\x00\x00\x3f\x00\xff\xd9",
    ],
    ids=["empty", "start alone", "text", "cut", "no tables"],
)
@pytest.mark.parametrize("denominator", [1, 8])
def test_what_does_not_decode_is_refused(data, denominator):
    with pytest.raises(InputError, match="damaged: does not decode"):
        decode(data, denominator=denominator)
    with pytest.raises(InputError):
        prepare(data, size=32, framing="crop", hair_removal="none")


@pytest.mark.parametrize(
    ("width", "height", "size", "denominator"),
    [
        (600, 450, 224, 1),
        (1024, 768, 224, 2),
        (768, 1024, 224, 2),
        (1024, 762, 224, 2),
        (1024, 761, 224, 1),
        (1024, 1024, 128, 4),
        (3047, 4000, 224, 8),
        (3046, 4000, 224, 4),
        (50_000, 50_000, 224, 8),
        (100, 80, 224, 1),
        (1, 1, 32, 1),
        (9000, 30, 32, 1),
        (600, 450, 32, 8),
    ],
)
def test_the_strongest_reduction_that_keeps_the_detail(width, height, size, denominator):
    assert denominator_for(width, height, size) == denominator
    assert denominator == 1 or min(width, height) / denominator >= DETAIL * size


@pytest.mark.parametrize("hair_removal", REMOVALS)
@pytest.mark.parametrize(
    ("file", "working"),
    [
        ((96, 72), (43, 32)),
        ((72, 96), (32, 43)),
        ((97, 97), (32, 32)),
        ((256, 192), (43, 32)),  # decoded at half scale first
        ((601, 450), (43, 32)),  # and at an eighth
        ((40, 32), (40, 32)),
        ((40, 31), (40, 31)),
        ((9, 200), (9, 200)),
        ((1, 1), (1, 1)),
    ],
)
def test_the_short_side_of_a_cleaned_picture_is_the_size_if_the_file_has_it(
    file, working, hair_removal
):
    cleaned = clean(encode(picture(0, *file)), size=32, hair_removal=hair_removal)
    assert cleaned.dtype == np.uint8
    assert cleaned.shape == (working[1], working[0], 3)


def test_hairs_are_removed_at_the_scale_of_decoding_or_at_full_scale():
    data = encode(hairy(3, 320, 240))
    native, half = decode(data), decode(data, denominator=2)
    expected = {"lines": remove_hair(half), "dullrazor": dullrazor(native), "none": half}
    found = {kind: clean(data, size=64, hair_removal=kind) for kind in expected}
    for kind, rgb in expected.items():
        np.testing.assert_array_equal(found[kind], resize(rgb, width=85, height=64))
    assert all((found[a] != found[b]).any() for a, b in itertools.combinations(found, 2))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty file"),
        (b"\x89PNG\r\n", "a PNG image, not a JPEG"),
        (encode(picture())[:-2], "truncated"),
    ],
)
def test_a_file_is_judged_before_it_is_decoded(data, message, monkeypatch):
    monkeypatch.setattr(images, "decode", None)
    with pytest.raises(InputError, match=message):
        clean(data, size=32, hair_removal="lines")


@pytest.mark.parametrize(("width", "height"), [(40, 30), (41, 30), (30, 41), (30, 30), (200, 30)])
def test_crop_takes_the_centre_square(width, height):
    rgb = places(width, height)
    top, left = (height - 30) // 2, (width - 30) // 2
    square = rgb[top : top + 30, left : left + 30]
    np.testing.assert_array_equal(frame(rgb, size=30, framing="crop"), square)
    smaller = frame(rgb, size=20, framing="crop")
    np.testing.assert_array_equal(smaller, resize(square, width=20, height=20))


@pytest.mark.parametrize(
    ("width", "height", "inner"),
    [
        (40, 20, (40, 20)),
        (20, 40, (20, 40)),
        (40, 21, (40, 21)),
        (40, 40, (40, 40)),
        (80, 30, (40, 15)),
        (20, 10, (40, 20)),
        (300, 1, (40, 1)),
        (1, 300, (1, 40)),
    ],
)
def test_pad_puts_the_whole_frame_amid_black(width, height, inner):
    rgb = places(width, height)
    framed = frame(rgb, size=40, framing="pad")
    wide, high = inner
    top, left = (40 - high) // 2, (40 - wide) // 2
    expected = np.zeros((40, 40, 3), np.uint8)
    expected[top : top + high, left : left + wide] = resize(rgb, width=wide, height=high)
    np.testing.assert_array_equal(framed, expected)
    # Black is beyond the frame only: inside, the third channel is full.
    assert np.count_nonzero(framed[..., 2]) == wide * high


@pytest.mark.parametrize(("width", "height"), [(80, 40), (40, 80), (60, 20), (40, 40)])
def test_stretch_shows_the_whole_frame_in_other_proportions(width, height):
    framed = frame(places(width, height), size=40, framing="stretch").astype(int)
    middle = (np.arange(40) + 0.5) / 40
    assert np.abs(framed[..., 0] - (middle * width - 0.5)).max() <= 1
    assert np.abs(framed[..., 1] - (middle * height - 0.5)[:, None]).max() <= 1


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("shape", [(50, 70), (70, 50), (32, 32), (5, 7), (1, 1)])
def test_a_framed_picture_is_a_contiguous_square(shape, framing):
    framed = frame(picture(0, *shape), size=32, framing=framing)
    assert framed.shape == (32, 32, 3)
    assert framed.dtype == np.uint8
    assert framed.flags.c_contiguous


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("hair_removal", REMOVALS)
def test_preparing_is_framing_what_was_cleaned_byte_for_byte(hair_removal, framing):
    prepared = []
    for width, height in ((300, 200), (200, 300), (64, 64), (50, 40)):
        data = encode(hairy(1, width, height))
        whole = prepare(data, size=64, framing=framing, hair_removal=hair_removal)
        cleaned = clean(data, size=64, hair_removal=hair_removal)
        assert whole.tobytes() == frame(cleaned, size=64, framing=framing).tobytes()
        prepared.append(whole)
    others = {"crop": "pad", "pad": "stretch", "stretch": "crop"}
    data = encode(hairy(1, 300, 200))
    other = prepare(data, size=64, framing=others[framing], hair_removal=hair_removal)
    assert (other != prepared[0]).any()


@pytest.mark.parametrize("scale", [2, 2.2, 2.5, 2.8, 3, 3.3, 3.45, 3.6, 4, 6, 10.3])
def test_a_fine_checkerboard_becomes_flat(scale):
    side = round(420 / scale)
    inner = resize(checkerboard(420), width=side, height=side)[2:-2, 2:-2]
    assert np.abs(inner.astype(float) - 127.5).max() < 8


@pytest.mark.parametrize("scale", [4, 6, 10, 20])
def test_beyond_a_few_pixels_a_step_whole_areas_are_averaged(scale):
    noise = np.random.default_rng(0).integers(0, 256, (120, 240, 3), dtype=np.uint8)
    high, wide = 120 // scale, 240 // scale
    means = noise.reshape(high, scale, wide, scale, 3).mean(axis=(1, 3))
    assert np.abs(resize(noise, width=wide, height=high) - means).max() <= 0.5


def test_sampling_alone_would_not_make_it_flat():
    sampled = cv2.resize(checkerboard(420), (140, 140), interpolation=cv2.INTER_LINEAR)
    assert sampled.std() > 100


@pytest.mark.parametrize(
    ("width", "height"),
    [(480, 50), (240, 50), (240, 100), (240, 20), (160, 400), (120, 160), (480, 10), (480, 200)],
)
def test_stripes_become_flat_whatever_the_other_direction_does(width, height):
    stripes = np.zeros((50, 960, 3), np.uint8)
    stripes[:, ::2] = 255
    across = resize(stripes, width=width, height=height)
    assert across.shape == (height, width, 3)
    assert np.abs(across[:, 1:-1].astype(float) - 127.5).max() < 8
    down = resize(stripes.transpose(1, 0, 2), width=height, height=width)
    np.testing.assert_allclose(down, across.transpose(1, 0, 2), atol=1)


@pytest.mark.parametrize(
    ("width", "height"), [(500, 375), (400, 300), (299, 224), (224, 224), (172, 129), (150, 112)]
)
def test_reducing_is_as_sharp_as_lanczos_nearly(width, height):
    rgb = skin_like()
    ours = resize(rgb, width=width, height=height)
    lanczos, bilinear = (
        np.asarray(Image.fromarray(rgb).resize((width, height), kind))
        for kind in (Image.Resampling.LANCZOS, Image.Resampling.BILINEAR)
    )
    assert psnr(ours, lanczos) > 42
    assert psnr(ours, lanczos) > psnr(bilinear, lanczos) + 0.5


def test_nothing_changes_where_the_size_is_right_already():
    rgb = picture()
    assert resize(rgb, width=96, height=72) is rgb


@pytest.mark.parametrize("factor", [1.1, 2, 5])
def test_enlarging_interpolates_between_pixels(factor):
    wide, high = round(40 * factor), round(30 * factor)
    larger = resize(places(40, 30), width=wide, height=high).astype(float)
    assert larger.shape == (high, wide, 3)
    across = ((np.arange(wide) + 0.5) * 40 / wide - 0.5).clip(0, 39)
    down = ((np.arange(high) + 0.5) * 30 / high - 0.5).clip(0, 29)
    assert np.abs(larger[..., 0] - across).max() < 0.75
    assert np.abs(larger[..., 1] - down[:, None]).max() < 0.75
    assert (larger[..., 2] == 255).all()


@pytest.mark.parametrize("scale", [0.5, 0.9, 1.05, 1.2, 1.5, 2, 2.3, 3, 3.49, 3.51, 5, 20])
def test_colours_and_places_stay_at_any_scale(scale):
    wide, high = round(240 / scale), round(180 / scale)
    flat = np.full((180, 240, 3), (10, 130, 250), np.uint8)
    assert (resize(flat, width=wide, height=high) == (10, 130, 250)).all()
    found = resize(places(240, 180), width=wide, height=high).astype(float)
    inner = slice(2, -2)  # at the edges, what smooths has one side only
    across, down = (np.arange(wide) + 0.5) * 240 / wide, (np.arange(high) + 0.5) * 180 / high
    assert np.abs(found[..., 0] - (across - 0.5))[inner, inner].max() <= 1.5
    assert np.abs(found[..., 1] - (down - 0.5)[:, None])[inner, inner].max() <= 1.5


def test_a_picture_from_a_view_of_another_is_resized_as_a_copy_is():
    rgb = picture(0, 120, 90)
    view = rgb[::-1, 10:100]
    np.testing.assert_array_equal(
        resize(view, width=30, height=30), resize(view.copy(), width=30, height=30)
    )


def test_decoding_needs_no_writable_bytes():
    data = encode(picture())
    stream = io.BytesIO(data)
    np.testing.assert_array_equal(decode(stream.getbuffer().toreadonly()), decode(data))
