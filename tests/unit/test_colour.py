"""Colour profiles: pixels as they are meant, in sRGB."""

import subprocess
import sys

import numpy as np
import pytest
from image_examples import bare_profile, encode, hairy, icc_profile, in_space, picture, write_zip

from melanoma.colour import to_srgb, why_ignored
from melanoma.decoding import decode
from melanoma.hair import dullrazor, remove_hair
from melanoma.images import clean, frame, prepare, resize
from melanoma.inspection import inspect_shard
from melanoma.jpeg import read_header

OTHERS = ("Display P3", "Adobe RGB", "ProPhoto")
SKIN = np.full((64, 96, 3), (203, 150, 130), np.uint8)
UNUSABLE = {
    "broken": (b"no profile at all", "broken colour profile ignored"),
    "cut": (icc_profile("Display P3")[:300], "broken colour profile ignored"),
    "CMYK": (bare_profile(b"CMYK"), "CMYK colour profile ignored"),
    "grey": (bare_profile(b"GRAY"), "grey colour profile ignored"),
}


def colourful(side: int = 64) -> np.ndarray:
    """Colours of skin and blood, which every one of the spaces has."""
    down, across = np.indices((side, side)) / side
    return np.stack([220 - 120 * down, 170 - 110 * across, 150 - 90 * down], axis=-1).round()


@pytest.mark.parametrize("hair_removal", ["lines", "dullrazor", "none"])
@pytest.mark.parametrize(("space", "as_written"), [*zip(OTHERS, (194, 189, 166), strict=True)])
def test_skin_has_the_same_red_whatever_the_profile(space, as_written, hair_removal):
    data = encode(in_space(SKIN, space), icc_profile=icc_profile(space), subsampling=0)
    assert abs(decode(data)[..., 0].mean() - as_written) < 4
    prepared = prepare(data, size=32, framing="crop", hair_removal=hair_removal)
    assert np.abs(prepared.reshape(-1, 3).mean(axis=0) - SKIN[0, 0]).max() <= 2


@pytest.mark.parametrize("denominator", [1, 2, 8])
@pytest.mark.parametrize("space", OTHERS)
def test_colours_are_those_that_were_meant(space, denominator):
    meant = colourful()
    data = encode(in_space(meant, space), icc_profile=icc_profile(space), subsampling=0)
    found = to_srgb(decode(data, denominator=denominator), read_header(data)).astype(float)
    plain = decode(encode(meant.astype(np.uint8), subsampling=0), denominator=denominator)
    assert np.abs(found - plain).mean() < 1.5
    assert np.abs(found - plain).max() < 10


@pytest.mark.parametrize("hair_removal", ["lines", "dullrazor", "none"])
def test_colours_are_converted_before_hairs_are_looked_for(hair_removal):
    written = in_space(hairy(3, 320, 240), "Adobe RGB")
    data = encode(written, icc_profile=icc_profile("Adobe RGB"))
    remove = {"lines": remove_hair, "dullrazor": dullrazor, "none": lambda rgb: rgb}[hair_removal]
    scale = 1 if hair_removal == "dullrazor" else 2
    rgb = remove(to_srgb(decode(data, denominator=scale), read_header(data)))
    expected = resize(rgb, width=85, height=64)
    cleaned = clean(data, size=64, hair_removal=hair_removal)
    np.testing.assert_array_equal(cleaned, expected)
    prepared = prepare(data, size=64, framing="pad", hair_removal=hair_removal)
    assert prepared.tobytes() == frame(cleaned, size=64, framing="pad").tobytes()


def test_the_profile_of_srgb_changes_no_byte():
    data = encode(picture(), icc_profile=icc_profile("sRGB"))
    assert read_header(data).profile
    decoded = decode(data)
    assert to_srgb(decoded, read_header(data)) is decoded
    assert why_ignored(read_header(data)) == ""
    settings = {"size": 32, "framing": "crop", "hair_removal": "lines"}
    assert prepare(data, **settings).tobytes() == prepare(encode(picture()), **settings).tobytes()


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_profile_of_no_use_is_ignored_and_told(kind):
    profile, why = UNUSABLE[kind]
    data = encode(picture(), icc_profile=profile)
    decoded = decode(data)
    assert to_srgb(decoded, read_header(data)) is decoded
    assert why_ignored(read_header(data)) == why


@pytest.mark.parametrize(
    ("pixels", "mode", "profile", "why"),
    [
        (picture()[..., 0], None, icc_profile("Display P3"), "RGB colour profile of a grey image"),
        (picture()[..., 0], None, bare_profile(b"GRAY"), "grey colour profile"),
        (picture(), "CMYK", icc_profile("Adobe RGB"), "RGB colour profile of a CMYK image"),
        (picture(), "CMYK", bare_profile(b"CMYK"), "CMYK colour profile"),
    ],
)
def test_a_profile_of_other_channels_is_ignored(pixels, mode, profile, why):
    data = encode(pixels, mode=mode, icc_profile=profile)
    decoded = decode(data)
    assert to_srgb(decoded, read_header(data)) is decoded
    assert why_ignored(read_header(data)) == f"{why} ignored"


def test_without_a_profile_there_is_nothing_to_tell():
    assert why_ignored(read_header(encode(picture()))) == ""


def test_profiles_of_no_use_are_counted_when_the_archive_is_inspected(tmp_path, caplog):
    broken, grey = UNUSABLE["broken"][0], UNUSABLE["grey"][0]
    files = {
        "in/a.jpg": encode(picture(0), icc_profile=broken),
        "in/b.jpg": encode(picture(1), icc_profile=broken),
        "in/c.jpg": encode(picture(2), icc_profile=grey),
        "in/d.jpg": encode(picture(3), icc_profile=icc_profile("Display P3")),
        "in/e.jpg": encode(picture(4)),
    }
    table = inspect_shard(write_zip(tmp_path / "a.zip", files), 0, 1)
    assert (table["error"] == "").all()
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == [
        "broken colour profile ignored in 2 images, e.g. in/a.jpg: taken as sRGB",
        "grey colour profile ignored in 1 image, e.g. in/c.jpg: taken as sRGB",
    ]


def test_colour_management_is_not_loaded_for_files_without_a_profile(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encode(picture()))
    code = (
        "import pathlib, sys; from melanoma.images import prepare;"
        "data = pathlib.Path(sys.argv[1]).read_bytes();"
        "prepare(data, size=32, framing='crop', hair_removal='none');"
        "assert 'PIL.ImageCms' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.jpg")], check=True)
