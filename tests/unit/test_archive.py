import contextlib
import io
import random
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


def test_two_members_of_one_image(tmp_path):
    members = {f"{folder}/{i}.jpg": b"a" for i in range(7) for folder in ("a", "b")}
    path = make_zip(tmp_path / "a.zip", members)
    with pytest.raises(InputError, match=r"'a/0\.jpg' and 'b/0\.jpg'.* and 2 more"):
        Archive(path)


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


def test_unknown_compression(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"A.jpg": b"a"})
    data = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        struct.pack_into("<H", data, data.index(signature) + at, 97)
    path.write_bytes(data)
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
