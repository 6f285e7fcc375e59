"""Reading every image of an archive once."""

import zlib

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_examples import encode, picture, write_zip

from melanoma import inspection as module
from melanoma.archive import Archive
from melanoma.errors import InputError
from melanoma.fingerprint import decode_grey, fingerprint
from melanoma.inspection import COLUMNS, inspect_shard, shard_of

SIZES = ((96, 72), (72, 96), (600, 450), (1, 1), (64, 64))
NO_TABLES = (
    b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x10\x00\x10\x01\x01\x11\x00\xff\xda\x00\x08"
    b"\x01\x01\x00\x00\x3f\x00\xff\xd9"
)
GOOD = {f"deep/in/ISIC_{n}.jpg": encode(picture(n, *size)) for n, size in enumerate(SIZES)}
BAD = {
    "empty": (b"", "empty file"),
    "text": (b"hello", "not a JPEG: starts b'hell'"),
    "png": (b"\x89PNG", "a PNG image, not a JPEG; save it as JPEG"),
    "truncated": (encode(picture())[:-2], "truncated: no end marker after the image data"),
    "no_tables": (
        NO_TABLES,
        "damaged: does not decode whole (Quantization table 0x00 was not defined); "
        "use an undamaged copy",
    ),
}


@pytest.fixture
def archive(tmp_path):
    bad = {f"in/{name}.JPG": data for name, (data, _) in BAD.items()}
    return write_zip(tmp_path / "images.zip", {**bad, **GOOD, "in/LICENSE.txt": b"text"})


def test_a_good_image_is_described(archive):
    table = inspect_shard(archive, 0, 1).set_index("image")
    for number, ((width, height), (member, data)) in enumerate(
        zip(SIZES, GOOD.items(), strict=True)
    ):
        assert table.loc[f"ISIC_{number}"].to_dict() == {
            "member": member,
            "bytes": len(data),
            "crc": f"{zlib.crc32(data):08x}",
            "width": width,
            "height": height,
            "error": "",
            "fingerprint": fingerprint(decode_grey(data, min(width, height))),
            "surround": 0.0,
        }


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_has_a_row_that_says_why(archive, name):
    data, message = BAD[name]
    assert inspect_shard(archive, 0, 1).set_index("image").loc[name].to_dict() == {
        "member": f"in/{name}.JPG",
        "bytes": len(data),
        "crc": f"{zlib.crc32(data):08x}",
        "width": 0,
        "height": 0,
        "error": message,
        "fingerprint": "",
        "surround": 0.0,
    }


def test_a_damaged_member_is_told_on_one_line_and_without_the_archives_path(archive):
    good = GOOD["deep/in/ISIC_1.jpg"]
    archive.write_bytes(archive.read_bytes().replace(good, good[:-10] + bytes(8) + good[-2:]))
    table = inspect_shard(str(archive), 0, 1).set_index("image")
    error = table.loc["ISIC_1", "error"]
    assert error.startswith("'deep/in/ISIC_1.jpg' is damaged (Bad CRC-32")
    assert "\n" not in error
    assert str(archive.parent) not in error
    assert (table["error"] == "").sum() == len(GOOD) - 1


def test_a_reason_of_several_lines_becomes_one(archive, monkeypatch):
    def refuse(_):
        raise InputError("first line\n   second\tline ")

    monkeypatch.setattr(module, "read_header", refuse)
    assert set(inspect_shard(archive, 0, 1)["error"]) == {"first line second line"}


@pytest.mark.parametrize("shards", [1, 20])
def test_columns_and_their_kinds_are_the_same_with_and_without_rows(archive, shards):
    table = inspect_shard(archive, 0, shards)
    assert len(table) == (0 if shards == 20 else 10)
    assert tuple(table) == COLUMNS
    numbers = ["bytes", "width", "height"]
    assert (table.dtypes[numbers] == "int64").all()
    assert table["surround"].dtype == "float64"
    assert (
        table.drop(columns=[*numbers, "surround"]).dtypes == pd.Series([""], dtype="str").dtype
    ).all()


@pytest.mark.parametrize("shards", [2, 3, 10, 13])
def test_shards_together_are_what_one_shard_is(archive, shards):
    whole = inspect_shard(archive, 0, 1)
    assert whole["image"].is_monotonic_increasing
    parts = [inspect_shard(archive, shard, shards) for shard in range(shards)]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole)


@pytest.mark.parametrize("shard", [-1, 2])
def test_a_shard_that_is_none_is_refused(archive, shard):
    with pytest.raises(ValueError, match=f"shard {shard} of 2: counted from 0"):
        inspect_shard(archive, shard, 2)


def test_an_archive_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.zip: no such file"):
        inspect_shard(tmp_path / "none.zip", 0, 1)


def test_a_failing_disk_is_no_ones_bad_image(archive, monkeypatch):
    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Archive, "read", fail)
    with pytest.raises(OSError, match="Input/output error"):
        inspect_shard(archive, 0, 1)


def test_each_image_is_read_once(archive, monkeypatch):
    read, members = Archive.read, []
    monkeypatch.setattr(Archive, "read", lambda self, m: members.append(m) or read(self, m))
    table = inspect_shard(archive, 0, 1)
    assert members == table["member"].tolist()


def test_opencv_works_on_one_core(archive):
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(2)
        inspect_shard(archive, 0, 1)
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)


def test_progress_is_told(archive, monkeypatch, caplog):
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_LINES", -1.0)
    with caplog.at_level("INFO", logger="melanoma"):
        inspect_shard(archive, 1, 2)
    assert "inspected 2 of 5 images" in caplog.text
    assert "inspected 5 images, shard 2 of 2" in caplog.text


def test_a_flat_image_has_a_fingerprint_of_zeros(tmp_path):
    flat = encode(np.full((80, 90, 3), 120, np.uint8))
    path = write_zip(tmp_path / "a.zip", {"a.jpg": flat})
    assert inspect_shard(path, 0, 1).loc[0, ["error", "fingerprint"]].tolist() == ["", "0" * 512]


@given(count=st.integers(0, 2000), shards=st.integers(1, 300))
def test_shards_hold_every_image_once_in_order_and_evenly(count, shards):
    images = tuple(f"{number:05d}" for number in range(count))
    parts = [shard_of(images, shard, shards) for shard in range(shards)]
    assert tuple(image for part in parts for image in part) == images
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1
