"""What a JPEG file says of itself."""

import contextlib
import io
import os

import cv2
import numpy as np
import pytest
from image_examples import encode, picture, psnr, segment
from PIL import Image

from melanoma import jpeg
from melanoma.errors import InputError
from melanoma.jpeg import MAX_SCANS, Header, read_file, read_header, read_size

START, END = b"\xff\xd8", b"\xff\xd9"
DATA = b"\x12\xff\x00\x34"
"""Of a scan: 0xFF stands there with a 0 after it."""


def frame(
    marker: int = 0xC0, bits: int = 8, width: int = 30, height: int = 20, n: int = 3
) -> bytes:
    sizes = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    components = b"".join(bytes([number + 1, 0x11, 0]) for number in range(n))
    return segment(marker, bytes([bits]) + sizes + bytes([n]) + components)


def scan(*components: int) -> bytes:
    tables = b"".join(bytes([number, 0]) for number in components)
    return segment(0xDA, bytes([len(components)]) + tables + b"\0\x3f\0") + DATA


SMALL = START + segment(0xE0, b"JFIF") + segment(0xDB, b"q" * 9) + frame() + scan(1, 2, 3) + END

FILES = {
    "baseline": encode(picture()),
    "progressive": encode(picture(), progressive=True),
    "grey": encode(picture()[..., 0]),
    "CMYK": encode(picture(), mode="CMYK"),
    "restarts": encode(picture(), restart_marker_blocks=2),
    "subsampled": encode(picture(), subsampling=2),
    "turned": encode(picture(), orientation=6),
    "comment and profile": encode(picture(), comment=b"text\xff\xd9", icc_profile=b"p" * 70_000),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_of_every_ordinary_kind_have_a_size(kind):
    data = FILES[kind]
    assert read_size(data) == (96, 72)
    assert read_size(data + b"trailing bytes") == (96, 72)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (257, 258)])
def test_width_comes_before_height(size):
    assert read_size(encode(picture(0, *size))) == size


@pytest.mark.parametrize("marker", [0xC0, 0xC1, 0xC2])
def test_sequential_extended_and_progressive_frames_are_read(marker):
    assert read_size(START + frame(marker) + scan(1, 2, 3) + END) == (30, 20)


SEGMENTS = (*range(0xE0, 0xF0), 0xC4, 0xC8, 0xCC, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF, 0xF0, 0xFD, 0xFE)
BARE = (0x01, *range(0xD0, 0xD9))


@pytest.mark.parametrize("marker", SEGMENTS)
def test_segments_are_passed_over_by_their_length(marker):
    # With a frame of another size, a scan and an end inside, as a thumbnail has.
    inside = segment(marker, START + frame(width=7, height=7) + scan(1) + END)
    for before, after in ((inside, b""), (b"", inside), (inside * 3, segment(marker))):
        assert read_size(START + before + frame() + after + scan(1, 2, 3) + END) == (30, 20)


@pytest.mark.parametrize("marker", BARE)
def test_markers_without_a_length_are_passed_over(marker):
    bare = bytes([0xFF, marker])
    assert read_size(START + bare + frame() + bare * 2 + scan(1, 2, 3) + END) == (30, 20)


@pytest.mark.parametrize("padding", [1, 2, 7, 100_000])
def test_a_marker_may_be_preceded_by_any_number_of_0xff(padding):
    fill = b"\xff" * padding
    parts = (segment(0xE0, b"JFIF"), frame(), scan(1, 2, 3), END)
    assert read_size(START + b"".join(fill + part for part in parts)) == (30, 20)


def test_the_size_of_a_thumbnail_is_not_that_of_the_image():
    exif = Image.Exif()
    thumbnail = encode(picture(0, 16, 12))
    image = Image.fromarray(picture())
    stream = io.BytesIO()
    image.save(stream, "JPEG", exif=exif.tobytes() + thumbnail)
    whole = stream.getvalue()
    assert thumbnail in whole
    assert read_size(whole) == (96, 72)
    # Nor is its end marker the end of the image.
    with pytest.raises(InputError, match="truncated"):
        read_size(whole[:-2])


def one_scan_a_component(planes: np.ndarray) -> bytes:
    """A baseline file that is not interleaved, of three grey files with the same tables."""
    greys = [encode(planes[..., number], quality=90) for number in range(3)]
    at = greys[0].index(b"\xff\xc0")
    before = greys[0][:at]
    tables = greys[0][at + 13 : greys[0].index(b"\xff\xda")]
    height, width = planes.shape[:2]
    scans = [
        segment(0xDA, bytes([1, number + 1, 0, 0, 63, 0])) + grey[grey.index(b"\xff\xda") + 10 : -2]
        for number, grey in enumerate(greys)
    ]
    return before + frame(width=width, height=height) + tables + b"".join(scans) + END


def test_a_baseline_file_of_several_scans_is_whole():
    planes = picture()
    data = one_scan_a_component(planes)
    assert data.count(b"\xff\xda") == 3
    assert read_size(data) == (96, 72)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    expected = cv2.cvtColor(planes[..., [0, 2, 1]], cv2.COLOR_YCrCb2RGB)
    assert psnr(decoded, expected) > 30


@pytest.mark.parametrize(
    ("header", "first", "more"),
    [(frame(0xC2), scan(1, 2, 3), scan(1)), (frame(0xC0), scan(1), scan(2))],
    ids=["progressive", "not interleaved"],
)
def test_thousands_of_scans_are_refused(header, first, more):
    most = START + header + first + more * (MAX_SCANS - 1)
    assert read_size(most + END) == (30, 20)
    # Between scans, what looks like scans inside a segment is none.
    comment = segment(0xFE, scan(1) * 1000)
    assert read_size(most + comment + END + more * 5000) == (30, 20)
    # Decoders pass over reserved markers alone, and read the scans that lie behind.
    reserved = b"\xff\x02\xff\xff"
    for added in (more, more * 5000, reserved + more * 5000, comment + more, b"\xff\xd0" + more):
        with pytest.raises(InputError, match="more than the 100 scans that an image may have"):
            read_size(most + added + END)


def test_what_follows_the_only_scan_of_a_sequential_image_is_no_scan():
    assert read_size(SMALL + scan(1, 2, 3) * 5000) == (30, 20)


@pytest.mark.parametrize("cut", range(len(SMALL)))
def test_a_file_cut_anywhere_is_refused(cut):
    with pytest.raises(InputError, match=r"empty|not a JPEG|truncated"):
        read_size(SMALL[:cut])


@pytest.mark.parametrize("kind", FILES)
def test_a_real_file_cut_anywhere_is_refused(kind):
    data = FILES[kind]
    for cut in range(0, len(data), 1 if len(data) < 20_000 else 97):
        with pytest.raises(InputError, match=r"empty|not a JPEG|truncated"):
            read_size(data[:cut])


@pytest.mark.parametrize("value", [0x00, 0x01, 0xD9, 0xDA, 0xFF])
@pytest.mark.parametrize("at", range(len(SMALL)))
def test_a_changed_byte_is_passed_over_or_refused_but_no_other_error(at, value):
    data = bytearray(SMALL)
    data[at] = value
    with contextlib.suppress(InputError):
        assert min(read_size(bytes(data))) > 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty file"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image, not a JPEG; save it as JPEG"),
        (b"<!doctype html>", "a web page, not a JPEG; download the image itself"),
        (b"hello", "not a JPEG: starts b'hell'"),
        (b"\0", r"not a JPEG: starts b'\x00'"),
        (END, r"not a JPEG: starts b'\xff\xd9'"),
    ],
)
def test_what_is_no_jpeg_is_named(data, message):
    with pytest.raises(InputError) as caught:
        read_size(data)
    assert str(caught.value) == message


PARTS = (b"\1\3first", b"\2\3second", b"\3\3third")
"""Of a colour profile: number, count, content."""


@pytest.mark.parametrize(
    ("parts", "profile"),
    [
        ((), None),
        ((b"\1\1whole",), b"whole"),
        (PARTS, b"firstsecondthird"),
        ((PARTS[2], PARTS[0], PARTS[1]), b"firstsecondthird"),
        (PARTS[:2], b""),
        ((PARTS[0], PARTS[0], PARTS[2]), b""),
        ((b"\0\1none",), b""),
        ((b"\1",), b""),
    ],
    ids=["none", "one", "in order", "out of order", "one lost", "one twice", "from 0", "cut"],
)
def test_a_colour_profile_is_joined_from_its_parts(parts, profile):
    segments = [segment(0xE2, b"ICC_PROFILE\0" + part) for part in parts]
    other = segment(0xE2, b"MPF\0other") + segment(0xE1, b"ICC_PROFILE\0\1\1no")
    data = START + other + b"".join(segments) + frame() + scan(1, 2, 3) + END
    assert read_header(data) == Header(30, 20, 3, profile)


def test_a_colour_profile_of_several_segments_is_read_as_it_was_written():
    profile = np.random.default_rng(0).bytes(150_000)
    assert read_header(encode(picture(), icc_profile=profile)).profile == profile
    # A picture behind the end marker, as telephones write it, has its own.
    assert read_header(encode(picture()) + encode(picture(), icc_profile=profile)).profile is None


@pytest.mark.parametrize(("mode", "components"), [("L", 1), ("RGB", 3), ("CMYK", 4)])
def test_components_are_those_of_the_frame(mode, components):
    assert read_header(encode(picture(), mode=mode)).components == components


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (START + frame(bits=12) + scan(1) + END, "12 bits a channel; save it with 8"),
        (START + frame(0xC1, bits=16) + scan(1) + END, "16 bits a channel; save it with 8"),
        (START + frame(width=0) + scan(1) + END, "0 x 20 pixels"),
        (START + frame(height=0) + scan(1) + END, "30 x 0 pixels"),
        (START + frame()[:8], "truncated: the frame header is cut off"),
        (START + scan(1) + frame() + END, "its headers end before the image data"),
        (START + frame() + END + scan(1), "its headers end before the image data"),
        (START + frame() + b"\xff\xe0\0\x01" + scan(1) + END, "its headers end before"),
        (START + frame() + segment(0xE0) * 3, "its headers end before the image data"),
        (START + frame() + b"\0\0" + scan(1) + END, "damaged: no marker at byte 21"),
        (START + frame() + scan(1) + b"\xff\x00\xd9", "truncated: no end marker after"),
        (START + segment(0xFE, END) + frame() + scan(1), "truncated: no end marker after"),
    ],
)
def test_headers_that_are_damaged_or_of_no_photograph(data, message):
    with pytest.raises(InputError, match=message):
        read_size(data)


@pytest.mark.parametrize(
    "marker", [0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)]
)
def test_lossless_hierarchical_and_arithmetic_frames_are_refused(marker):
    with pytest.raises(InputError, match="a lossless, hierarchical or arithmetic JPEG"):
        read_size(START + frame(marker) + scan(1, 2, 3) + END)


@pytest.mark.parametrize(
    ("width", "height", "accepted"),
    [
        (10_000, 10_000, True),
        (10_001, 10_000, False),
        (65_535, 1525, True),
        (65_535, 65_535, False),
    ],
)
def test_the_number_of_pixels_is_limited(width, height, accepted):
    data = START + frame(width=width, height=height) + scan(1, 2, 3) + END
    if accepted:
        assert read_size(data) == (width, height)
    else:
        with pytest.raises(InputError, match=f"{width} x {height} pixels, more than 100000000"):
            read_size(data)


def test_a_file_is_read_up_to_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(jpeg, "MAX_BYTES", 1000)
    path = tmp_path / "a.jpg"
    for content in (b"", b"no JPEG", bytes(1000)):
        path.write_bytes(content)
        assert read_file(path) == read_file(str(path)) == content
    path.write_bytes(bytes(1001))
    with pytest.raises(InputError, match="1001 bytes, more than the 1000 that an image may have"):
        read_file(path)


def test_what_is_no_ordinary_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for path in (tmp_path / "pipe.jpg", tmp_path / "folder.jpg", "/dev/null"):
        with pytest.raises(InputError, match="no ordinary file"):
            read_file(path)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none.jpg")
