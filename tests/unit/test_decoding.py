"""Strict decoding: a picture is whole, or it is refused."""

import cv2
import numpy as np
import pytest
import simplejpeg
from image_examples import (
    damaged_files,
    encode,
    odd_but_whole_files,
    picture,
    scan_data,
    segment,
    write_zip,
)

from melanoma.decoding import decode
from melanoma.errors import InputError
from melanoma.images import denominator_for, prepare
from melanoma.inspection import inspect_shard
from melanoma.jpeg import read_header

DAMAGED = damaged_files()
WHOLE = odd_but_whole_files()
KINDS = {
    "baseline": encode(picture()),
    "progressive": encode(picture(), progressive=True),
    "restarts": encode(picture(), restart_marker_blocks=2),
    "subsampled": encode(picture(), subsampling=2),
    "grey": encode(picture()[..., 0]),
    "CMYK": encode(picture(), mode="CMYK"),
    "one pixel": encode(picture(0, 1, 1)),
    "odd sides": encode(picture(0, 97, 61), subsampling=1),
}
OPENCV = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


def by_opencv(data: bytes, denominator: int, channels: str) -> np.ndarray:
    colour = cv2.IMREAD_COLOR_RGB if channels == "RGB" else 0
    flags = OPENCV[denominator] | colour | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)


@pytest.mark.parametrize("channels", ["RGB", "GRAY"])
@pytest.mark.parametrize("denominator", OPENCV)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "one pixel"])
def test_pixels_are_those_of_opencv(kind, denominator, channels):
    decoded = decode(KINDS[kind], denominator=denominator, channels=channels)
    np.testing.assert_array_equal(decoded, by_opencv(KINDS[kind], denominator, channels))


@pytest.mark.parametrize("channels", ["RGB", "GRAY"])
@pytest.mark.parametrize("denominator", OPENCV)
def test_a_pixel_is_one_at_any_scale(denominator, channels):
    decoded = decode(KINDS["one pixel"], denominator=denominator, channels=channels)
    assert decoded.shape == ((1, 1, 3) if channels == "RGB" else (1, 1))


@pytest.mark.parametrize("channels", ["RGB", "GRAY"])
@pytest.mark.parametrize("denominator", [1, 8])
@pytest.mark.parametrize("kind", DAMAGED)
def test_what_opencv_reads_though_it_is_damaged_is_refused(kind, denominator, channels):
    data, reason = DAMAGED[kind]
    assert by_opencv(data, denominator, channels) is not None
    with pytest.raises(InputError, match="damaged: does not decode whole") as caught:
        decode(data, denominator=denominator, channels=channels)
    assert reason in str(caught.value)
    assert str(caught.value).endswith("; use an undamaged copy")


@pytest.mark.parametrize("hair_removal", ["lines", "dullrazor", "none"])
@pytest.mark.parametrize("kind", DAMAGED)
def test_nothing_is_prepared_of_a_damaged_file(kind, hair_removal):
    assert read_header(DAMAGED[kind][0]).size == (96, 72)
    with pytest.raises(InputError, match="damaged"):
        prepare(DAMAGED[kind][0], size=32, framing="crop", hair_removal=hair_removal)


@pytest.mark.parametrize("kind", ["baseline", "progressive", "restarts", "subsampled", "CMYK"])
def test_every_cut_that_is_closed_is_found(kind):
    data = KINDS[kind]
    start, end = scan_data(data)
    # Between two scans, a progressive file is whole as far as it goes.
    between = {at for at in range(start, end) if data[at] == 0xFF and data[at + 1] in (0xC4, 0xDA)}
    between |= {at + 1 for at in between}
    # The last bytes may hold no more than what fills up the last one.
    for cut in set(range(start, end - 3, 7)) - between:
        with pytest.raises(InputError, match=r"damaged|truncated"):
            read_grey(data[:cut] + data[end:])


def read_grey(data: bytes) -> np.ndarray:
    """As the archive's inspection reads it."""
    return decode(data, denominator=denominator_for(*read_header(data).size, 8), channels="GRAY")


@pytest.mark.parametrize("channels", ["RGB", "GRAY"])
@pytest.mark.parametrize("denominator", [1, 8])
@pytest.mark.parametrize("kind", WHOLE)
def test_what_harms_no_pixel_is_read(kind, denominator, channels):
    plain = KINDS["progressive" if "progressive" in kind else "baseline"]
    decoded = decode(WHOLE[kind], denominator=denominator, channels=channels)
    expected = decode(plain, denominator=denominator, channels=channels)
    np.testing.assert_array_equal(decoded, expected)


def with_rare_sampling() -> bytes:
    """32 x 16 pixels of one shade, with one sample of chroma for 4 x 2 of luma.

    Ten blocks, eight of luma: those of a grey file of ten blocks, with zeros for the chroma.
    """
    grey = encode(np.full((8, 80), 100, np.uint8))
    at, scan = grey.index(b"\xff\xc0"), grey.index(b"\xff\xda")
    start, _ = scan_data(grey)
    frame = segment(0xC0, b"\x08\0\x10\0\x20\3\1\x42\0\2\x11\0\3\x11\0")
    header = segment(0xDA, b"\3\1\0\2\0\3\0\0\x3f\0")
    return grey[:at] + frame + grey[at + 13 : scan] + header + grey[start:]


def test_chroma_sampled_in_a_rare_way_is_read():
    data = with_rare_sampling()
    with pytest.raises(ValueError, match="subsampling"):
        simplejpeg.decode_jpeg_header(data)
    assert read_header(data).size == (32, 16)
    assert (decode(data) == np.full((16, 32, 3), 100)).all()
    assert (decode(data, denominator=2, channels="GRAY") == np.full((8, 16), 100)).all()


@pytest.mark.parametrize("channels", ["RGB", "GRAY"])
@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"no image at all", KINDS["baseline"][:60]])
def test_what_is_no_picture_is_refused(data, channels):
    with pytest.raises(InputError, match="damaged: does not decode"):
        decode(data, channels=channels)


def test_damage_goes_to_quarantine(tmp_path):
    files = {f"{kind}.jpg": data for kind, (data, _) in DAMAGED.items()}
    files |= {f"{kind}.jpg": data for kind, data in WHOLE.items()}
    table = inspect_shard(write_zip(tmp_path / "a.zip", files), 0, 1).set_index("image")
    assert set(table.index[table["error"] == ""]) == set(WHOLE)
    assert table.loc[list(DAMAGED), "error"].str.startswith("damaged: does not decode whole").all()
