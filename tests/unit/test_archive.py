import contextlib
import io
import random
import re
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import pytest

from melanoma import archive as module
from melanoma.archive import Archive
from melanoma.errors import InputError


def make_zip(path: Path, members: dict[str, bytes], **settings) -> Path:
    with zipfile.ZipFile(path, "w", **settings) as out:
        for name, data in members.items():
            out.writestr(name, data)
    return path


def patch(path: Path, old: bytes, new: bytes, count: int = -1) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, count))


def test_reads_members_of_any_folder_in_order_of_id(tmp_path):
    path = make_zip(
        tmp_path / "a.zip",
        {
            "in/": b"",
            "in/deep/B.JPG": b"bb",
            "in/A.jpeg": b"a",
            "in/D.jfif": b"d",
            "in/E.JPE": b"e",
            "in/ATTRIBUTION.txt": b"x",
            "__MACOSX/in/._A.jpeg": b"hidden",
            "in/.C.jpg": b"hidden",
            "in/.thumbnails/F.jpg": b"hidden",
            "it's $(a) name\n.jpg": b"odd",
        },
    )
    with Archive(path) as archive:
        assert archive.images == ("A", "B", "D", "E", "it's $(a) name\n")
        assert archive.member("B") == "in/deep/B.JPG"
        assert archive.read("in/deep/B.JPG") == b"bb"
        assert archive.size("in/deep/B.JPG") == 2
        assert archive.crc("in/A.jpeg") == f"{zlib.crc32(b'a'):08x}"
        with pytest.raises(InputError, match="no image 'C'"):
            archive.member("C")
        with pytest.raises(InputError, match=r"no member 'C\.jpg'"):
            archive.read("C.jpg")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty; download it again"),
        (b"hello, this is text", "not a zip: it starts with b'hello, t'"),
        (b"<!DOCTYPE html><html>log in</html>", "a web page, not a zip"),
        (None, "a zip cut short or damaged at its end"),
    ],
)
def test_files_that_are_no_zip(tmp_path, content, message):
    path = make_zip(tmp_path / "a.zip", {"A.jpg": b"a" * 500})
    path.write_bytes(path.read_bytes()[:300] if content is None else content)
    with pytest.raises(InputError, match=message) as caught:
        Archive(path)
    assert str(path) in str(caught.value)


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        Archive(tmp_path / "none.zip")


@pytest.mark.parametrize(
    "name", ["../A.jpg", "in/../../A.jpg", "/A.jpg", "C:/A.jpg", "..\\A.jpg", "../notes.txt"]
)
def test_names_that_leave_their_folder(tmp_path, name):
    path = make_zip(tmp_path / "a.zip", {name: b"a", "B.jpg": b"b"})
    with pytest.raises(InputError, match="leave their folder") as caught:
        Archive(path)
    assert repr(name) in str(caught.value)


def test_a_member_without_a_name(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"X": b"x", "B.jpg": b"b"})
    data = bytearray(path.read_bytes())
    # In the directory, the name's one byte becomes one of the extra field that follows it.
    struct.pack_into("<HH", data, data.index(b"PK\x01\x02") + 28, 0, 1)
    path.write_bytes(data)
    with pytest.raises(InputError, match="leave their folder"):
        Archive(path)


PATHS = {
    "one folder": (["in/A.jpg", "in/B.jpg"], ["A", "B"]),
    "two folders without a name in common": (["a/A.jpg", "b/B.jpg"], ["A", "B"]),
    "two folders": (["a/1.jpg", "b/1.jpg", "b/2.JPEG"], ["a/1", "b/1", "b/2"]),
    "inner folders": (["x/y/a/1.jpg", "x/y/b/1.jpg"], ["a/1", "b/1"]),
    "one outside": (["1.jpg", "a/1.jpg"], ["1", "a/1"]),
    "backslashes": (["in\\a\\1.jpg", "in\\a\\2.jpg"], ["1", "2"]),
    "backslashes, two folders": (["in\\a\\1.jpg", "in\\b\\1.jpg"], ["a/1", "b/1"]),
    "decomposed": (["in/u\u0308.jpg"], ["\u00fc"]),
    "companions of macOS": (["a/1.jpg", "__MACOSX/a/._1.jpg", "__MACOSX/b/1.jpg"], ["1"]),
}


@pytest.mark.parametrize("name", PATHS)
def test_ids_are_names_or_where_these_are_not_enough_paths(tmp_path, name):
    members, images = PATHS[name]
    path = make_zip(tmp_path / "a.zip", {member: member.encode() for member in members})
    with Archive(path) as archive:
        assert list(archive.images) == images
        assert archive.names.match(images) == [[place] for place in range(len(images))]
        for image, member in zip(images, members, strict=False):
            assert archive.read(archive.member(image)) == member.encode()


def test_names_that_macos_writes_without_saying_that_they_are_utf8(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"in/xx.jpg": b"a", "in/\u00e4.jpg": b"b"})
    patch(path, b"in/xx.jpg", "in/\u00fc.jpg".encode())
    with Archive(path) as archive:
        assert archive.images == ("\u00e4", "\u00fc")
        assert archive.read(archive.member("\u00fc")) == b"a"


@pytest.mark.parametrize(
    "members",
    [["a/1.jpg", "a/1.jpeg"], ["a/\u00fc.jpg", "a/u\u0308.jpg"], ["a/1.jpg", "a\\1.jpg"]],
    ids=["two suffixes", "equal to the eye", "two separators"],
)
def test_two_members_of_one_image(tmp_path, members):
    path = make_zip(tmp_path / "a.zip", dict.fromkeys([*members, "b/1.jpg"], b"a"))
    first, second = (re.escape(repr(member)) for member in members)
    with pytest.raises(InputError, match=f"two members of one image.*: {first} and {second}$"):
        Archive(path)


def test_many_doubtful_members_are_counted(tmp_path):
    members = {f"a/{n}.{end}": b"a" for n in range(7) for end in ("jpg", "jpeg")}
    with pytest.raises(InputError, match=r"'a/0\.jpg' and 'a/0\.jpeg'.* and 2 more$"):
        Archive(make_zip(tmp_path / "a.zip", members))


def test_the_same_member_twice(tmp_path):
    path = tmp_path / "a.zip"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(path, "w") as out:
            out.writestr("A.jpg", b"1")
            out.writestr("A.jpg", b"2")
    with pytest.raises(InputError, match="two members of one image"):
        Archive(path)


def test_encrypted_member(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"A.jpg": b"a"})
    data = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        struct.pack_into("<H", data, data.index(signature) + at, 1)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"encrypted members.*'A\.jpg'"):
        Archive(path)


def test_no_image(tmp_path):
    with pytest.raises(InputError, match=r"no \.jpg, \.jpeg, \.jpe or \.jfif file; give the zip"):
        Archive(make_zip(tmp_path / "a.zip", {"README.txt": b"a"}))


def test_images_of_other_kinds_are_told(tmp_path):
    others = {"in/a.png": b"", "in/b.PNG": b"", "in/c.heic": b"", "in/._d.png": b"", "e.txt": b""}
    told = (
        "1 HEIC file passed over, e.g. in/c.heic; 2 PNG files passed over, e.g. in/a.png: "
        "save them as JPEG"
    )
    with Archive(make_zip(tmp_path / "a.zip", {**others, "in/f.jpg": b"f"})) as archive:
        assert archive.images == ("f",)
        assert archive.passed_over() == told
    with pytest.raises(InputError) as caught:
        Archive(make_zip(tmp_path / "b.zip", others))
    assert str(caught.value) == (
        f"{tmp_path / 'b.zip'}: holds no .jpg, .jpeg, .jpe or .jfif file; {told}"
    )
    with Archive(make_zip(tmp_path / "c.zip", {"f.jpg": b"f", "e.txt": b""})) as archive:
        assert archive.passed_over() == ""


def test_changed_content_is_an_error_of_its_member(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"A.jpg": b"content of A", "B.jpg": b"content of B"})
    patch(path, b"content of A", b"CONTENT of A")
    with Archive(path) as archive:
        assert archive.read("B.jpg") == b"content of B"
        with pytest.raises(InputError, match=r"'A\.jpg' is damaged .*CRC") as caught:
            archive.read("A.jpg")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_compressed_data(tmp_path, kind):
    content = random.Random(0).randbytes(2000)
    path = make_zip(tmp_path / "a.zip", {"A.jpg": content}, compression=kind)
    data = bytearray(path.read_bytes())
    for at in range(200, 1800, 7):
        data[at] ^= 0x5A
    path.write_bytes(data)
    with Archive(path) as archive, pytest.raises(InputError, match="damaged"):
        archive.read("A.jpg")


def set_method(path: Path, method: int) -> None:
    """Say in header and directory that the first member is compressed so."""
    data = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        struct.pack_into("<H", data, data.index(signature) + at, method)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (9, r"Deflate64 \(method 9\), as Windows' Explorer does in large zips; .*zip it again"),
        (1, r"Shrink \(method 1\); Python cannot read that: unpack the zip and zip it again"),
        (98, r"PPMd \(method 98\); .*zip it again"),
    ],
)
def test_ways_of_compression_that_python_lacks(tmp_path, method, name):
    path = make_zip(tmp_path / "a.zip", {"A.jpg": b"a", "B.jpg": b"b"})
    set_method(path, method)
    with pytest.raises(InputError, match=rf"a\.zip: members compressed by {name}.*: 'A\.jpg'$"):
        Archive(path)


def test_other_members_may_be_compressed_as_they_like(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"A.txt": b"a", "B.jpg": b"b"})
    set_method(path, 9)
    with Archive(path) as archive:
        assert archive.read("B.jpg") == b"b"


def test_a_way_of_compression_that_is_none(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"A.jpg": b"a"})
    set_method(path, 77)
    with Archive(path) as archive, pytest.raises(InputError, match="damaged"):
        archive.read("A.jpg")


def test_directory_that_declares_more_than_there_is(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"A.jpg": b"a" * 50})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    struct.pack_into("<II", data, at + 20, 60, 60)
    path.write_bytes(data)
    with Archive(path) as archive, pytest.raises(InputError, match="damaged"):
        archive.read("A.jpg")


def test_damaged_offset(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"A.jpg": b"a", "B.jpg": b"b"})
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 42, 5)
    struct.pack_into("<I", data, data.index(b"PK\x05\x06") + 16, 400)
    path.write_bytes(data)
    with pytest.raises(InputError), Archive(path) as archive:
        archive.read("A.jpg")


def test_lying_header_unpacks_no_more_than_declared(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"A.jpg": bytes(500_000)}, compression=zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 1000)
    path.write_bytes(data)
    with Archive(path) as archive, pytest.raises(InputError, match="damaged"):
        archive.read("A.jpg")


def test_bombs(tmp_path, monkeypatch):
    bomb = bytes(2_000_000)
    path = make_zip(
        tmp_path / "a.zip",
        {"bomb.jpg": bomb, "flat.jpg": bytes(1000)},
        compression=zipfile.ZIP_DEFLATED,
    )
    with Archive(path) as archive:
        assert archive.read("flat.jpg") == bytes(1000)
        with pytest.raises(InputError, match=r"'bomb\.jpg' unpacks \d+ bytes into 2000000"):
            archive.read("bomb.jpg")
    monkeypatch.setattr(module, "MAX_BYTES", 999)
    with Archive(path) as archive, pytest.raises(InputError, match="declares 1000 bytes"):
        archive.read("flat.jpg")


def test_a_failing_disk_is_not_the_archives_fault(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "a.zip", {"A.jpg": b"a"})

    def fail(*_):
        raise OSError(5, "Input/output error")

    with Archive(path) as archive:
        monkeypatch.setattr(zipfile.ZipExtFile, "read", fail)
        with pytest.raises(OSError, match="Input/output error"):
            archive.read("A.jpg")


def test_closing_and_failing_to_open_leave_no_open_file(tmp_path):
    good = make_zip(tmp_path / "a.zip", {"A.jpg": b"a"})
    bad = make_zip(tmp_path / "b.zip", {"../A.jpg": b"a"})
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with Archive(good) as archive:
            archive.read("A.jpg")
        with pytest.raises(InputError):
            Archive(bad)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_ends_in_an_error_that_is_told_or_in_what_was_written(tmp_path, seed):
    content = b"some content " * 20
    generator = random.Random(seed)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as out:
        for name in ("in/A.jpg", "in/B.jpg"):
            out.writestr(name, content)
    data = bytearray(stream.getvalue())
    for _ in range(generator.randint(1, 6)):
        data[generator.randrange(len(data))] = generator.randrange(256)
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    with contextlib.suppress(InputError), Archive(path) as archive:
        for image in archive.images:
            assert archive.read(archive.member(image)) == content
