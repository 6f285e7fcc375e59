"""Kinds of image files, by name and by content."""

import io

import pytest
from image_examples import picture
from PIL import Image

from melanoma.file_kinds import (
    is_hidden,
    is_image_name,
    kind_by_name,
    tell_content,
    tell_passed_over,
)

BOX = b"\0\0\0\x18ftyp"

CONTENTS = {
    b"\x89PNG\r\n\x1a\n": "a PNG image, not a JPEG; save it as JPEG",
    b"GIF89a": "a GIF image, not a JPEG; save it as JPEG",
    b"BM\0\0": "a BMP image, not a JPEG; save it as JPEG",
    b"RIFF\0\0\0\0WEBPVP8 ": "a WEBP image, not a JPEG; save it as JPEG",
    b"RIFF\0\0\0\0AVI ": "a video or sound, not a JPEG; export its picture as JPEG",
    b"II*\0": "a TIFF image, not a JPEG; save it as JPEG",
    b"MM\0*": "a TIFF image, not a JPEG; save it as JPEG",
    BOX + b"avif\0\0\0\0mif1miaf": "an AVIF image, not a JPEG; save it as JPEG",
    BOX + b"mif1\0\0\0\0mif1avif": "an AVIF image, not a JPEG; save it as JPEG",
    BOX + b"heic\0\0\0\0mif1heic": "a HEIC image, not a JPEG; save it as JPEG",
    BOX + b"mif1\0\0\0\0mif1heic": "a HEIC image, not a JPEG; save it as JPEG",
    BOX + b"crx \0\0\0\0crx isom": "a RAW image, not a JPEG; save it as JPEG",
    BOX + b"qt  \0\0\0\0qt      ": "a video, not a JPEG; export its picture as JPEG",
    b"\0\0\0\x0cjP  \r\n\x87\n": "a JP2 (JPEG 2000) image, not a JPEG; save it as JPEG",
    b"\xff\x4f\xff\x51\0": "a JP2 (JPEG 2000) image, not a JPEG; save it as JPEG",
    b"\0\0\0\x0cJXL \r\n\x87\n": "a JXL (JPEG XL) image, not a JPEG; save it as JPEG",
    b"\xff\x0a\0": "a JXL (JPEG XL) image, not a JPEG; save it as JPEG",
    bytes(128) + b"DICM": "a DICOM file, not a JPEG; export its picture as JPEG",
    b"%PDF-1.7": "a PDF document, not a JPEG; export its picture as JPEG",
    b"8BPS\0\1": "a PSD (Photoshop) image, not a JPEG; save it as JPEG",
    b"PK\3\4": "a zip, not a JPEG; unpack it",
    b"\0\5\x16\7\0\2": "a companion file of macOS, not a JPEG; remove it",
    b"<!doctype html>": "a web page, not a JPEG; download the image itself",
    b"hello": "",
    b"": "",
    bytes(4000): "",
    bytes(127) + b"DICM": "",
}


@pytest.mark.parametrize("content", CONTENTS)
def test_content_is_named_with_what_to_do(content):
    assert tell_content(content) == CONTENTS[content]


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "JPEG2000"])
def test_files_that_are_written_are_named(kind):
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, kind)
    assert {"JPEG2000": "JPEG 2000"}.get(kind, kind) in tell_content(stream.getvalue())


@pytest.mark.parametrize(
    ("name", "read", "kind"),
    [
        ("a.jpg", True, ""),
        ("a.JPG", True, ""),
        ("a.jpeg", True, ""),
        ("in/deep/a.Jpe", True, ""),
        ("a.jfif", True, ""),
        ("a.b.JFIF", True, ""),
        (".jpg", False, ""),
        ("jpg", False, ""),
        ("a.jpg/", False, ""),
        ("a.jpg.txt", False, ""),
        ("", False, ""),
        ("LICENSE.txt", False, ""),
        ("a.png", False, "PNG"),
        ("a.WEBP", False, "WEBP"),
        ("a.tif", False, "TIF"),
        ("a.tiff", False, "TIF"),
        ("a.bmp", False, "BMP"),
        ("a.gif", False, "GIF"),
        ("a.HEIC", False, "HEIC"),
        ("a.heif", False, "HEIC"),
        ("a.avif", False, "AVIF"),
        ("a.jp2", False, "JP2"),
        ("a.j2k", False, "JP2"),
        ("a.jxl", False, "JXL"),
        ("a.dcm", False, "DICOM"),
        ("a.dicom", False, "DICOM"),
        ("a.DNG", False, "RAW"),
        ("a.cr3", False, "RAW"),
    ],
)
def test_names_say_what_is_read_and_what_else_is_an_image(name, read, kind):
    assert (is_image_name(name), kind_by_name(name)) == (read, kind)


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("a.jpg", False),
        ("in/a.b/c.jpg", False),
        ("./a.jpg", False),
        ("._a.jpg", True),
        ("in/.a.jpg", True),
        (".thumbnails/a.jpg", True),
        ("__MACOSX/in/a.jpg", True),
        ("in/__MACOSX/a.jpg", True),
        ("in/MACOSX/a.jpg", False),
    ],
)
def test_hidden_files_are_nobodys(name, hidden):
    assert is_hidden(name) == hidden


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], ""),
        (["a.jpg", "notes.txt", "a.jfif"], ""),
        (["x.png"], "1 PNG file passed over, e.g. x.png: save them as JPEG"),
        (
            ["in/z.png", "in/x.PNG", "b.HEIC", "in/y.png", "a.jpg"],
            "1 HEIC file passed over, e.g. b.HEIC; 3 PNG files passed over, e.g. in/x.PNG: "
            "save them as JPEG",
        ),
    ],
)
def test_what_is_passed_over_is_counted_by_kind(names, told):
    assert tell_passed_over(names) == told
