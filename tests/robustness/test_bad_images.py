"""One table of images that people have: the catalogue and `melanoma predict` judge them alike."""

from __future__ import annotations

import io
import os
import zipfile

import cv2
import explain_examples
import image_examples
import numpy as np
import pytest
from PIL import Image

from melanoma import inference, isic, jpeg
from melanoma.inspection import inspect_shard

GOOD = ""
"""In the place of a message: the image is used."""


def picture(width: int = 96, height: int = 72) -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def encode(pixels: np.ndarray, suffix: str = ".jpg", *settings: int) -> bytes:
    return cv2.imencode(suffix, pixels, list(settings))[1].tobytes()


def other_kind(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, kind)
    return stream.getvalue()


def pillow(
    pixels: np.ndarray, mode: str, orientation: int = 1, profile: bytes | None = None
) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(pixels, mode).save(stream, "JPEG", exif=exif, icc_profile=profile)
    return stream.getvalue()


def with_frame(bits: int = 8, width: int = 96, height: int = 72) -> bytes:
    """A real file whose header says something else."""
    whole = encode(picture())
    at = whole.index(b"\xff\xc0") + 4
    header = bytes([bits]) + height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return whole[:at] + header + whole[at + 5 :]


def with_scans(count: int) -> bytes:
    """A progressive file whose last scan comes again and again."""
    whole = encode(picture(), ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * count + whole[-2:]


WHOLE = encode(picture())

DAMAGED = {
    kind: (data, "damaged: does not decode whole")
    for kind, (data, _) in image_examples.damaged_files().items()
}
ODD = {kind: (data, GOOD) for kind, data in image_examples.odd_but_whole_files().items()}
PROFILES = {
    f"profile of {space}": (pillow(picture(), "RGB", profile=profile), GOOD)
    for space, profile in {
        **{space: image_examples.icc_profile(space) for space in image_examples.SPACES},
        "CMYK": image_examples.bare_profile(b"CMYK"),
        "grey": image_examples.bare_profile(b"GRAY"),
        "nothing": b"broken",
    }.items()
}

IMAGES = {
    **DAMAGED,
    **ODD,
    **PROFILES,
    "ordinary": (WHOLE, GOOD),
    "progressive": (encode(picture(), ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1), GOOD),
    "grey": (encode(picture()[..., 0]), GOOD),
    "cmyk": (pillow(np.dstack([picture(), picture()[..., 0]]), "CMYK"), GOOD),
    "turned by EXIF": (pillow(picture(), "RGB", 6), GOOD),
    "one pixel": (encode(picture(1, 1)), GOOD),
    "one row": (encode(picture(300, 1)), GOOD),
    "empty": (b"", "empty file"),
    "zero bytes alone": (bytes(5000), "not a JPEG: starts"),
    "text": (b"hello, this is text", "not a JPEG: starts"),
    "web page": (b"<!doctype html><p>log in", "a web page, not a JPEG"),
    "png named jpg": (encode(picture(), ".png"), "a PNG image, not a JPEG; save it as JPEG"),
    "webp named jpg": (other_kind("WEBP"), "a WEBP image, not a JPEG; save it as JPEG"),
    "tiff named jpg": (other_kind("TIFF"), "a TIFF image, not a JPEG; save it as JPEG"),
    "bmp named jpg": (other_kind("BMP"), "a BMP image, not a JPEG; save it as JPEG"),
    "gif named jpg": (other_kind("GIF"), "a GIF image, not a JPEG; save it as JPEG"),
    "avif named jpg": (other_kind("AVIF"), "an AVIF image, not a JPEG; save it as JPEG"),
    "jp2 named jpg": (other_kind("JPEG2000"), "a JP2 (JPEG 2000) image, not a JPEG; save it"),
    "pdf named jpg": (other_kind("PDF"), "a PDF document, not a JPEG; export its picture"),
    "heic named jpg": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image, not a JPEG"),
    "jxl named jpg": (b"\xff\x0a" + bytes(99), "a JXL (JPEG XL) image, not a JPEG; save it"),
    "dicom named jpg": (bytes(128) + b"DICM" + bytes(99), "a DICOM file, not a JPEG; export"),
    "16-bit png named jpg": (
        encode(picture().astype(np.uint16) * 257, ".png"),
        "a PNG image, not a JPEG",
    ),
    "12-bit": (with_frame(bits=12), "12 bits a channel; save it with 8"),
    "16-bit": (with_frame(bits=16), "16 bits a channel; save it with 8"),
    "no width": (with_frame(width=0), "0 x 72 pixels"),
    "20,000 x 20,000": (with_frame(8, 20_000, 20_000), "20000 x 20000 pixels, more than 100000000"),
    "cut in the header": (WHOLE[:100], "truncated or damaged: its headers end"),
    "cut in the middle": (WHOLE[: len(WHOLE) // 2], "truncated"),
    "cut at the end": (WHOLE[:-2], "truncated: no end marker"),
    "a thousand scans": (with_scans(1000), "more than the 100 scans that an image may have"),
}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str, bool]]:
    """Name -> what the catalogue says, what `melanoma predict` says, and if it gave a result."""
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / f"{number}.jpg" for number in range(len(IMAGES))]
    with zipfile.ZipFile(folder / "images.zip", "w") as out:
        for path, (data, _) in zip(paths, IMAGES.values(), strict=True):
            path.write_bytes(data)
            out.writestr(f"in/{path.name}", data)
    seen = inspect_shard(folder / "images.zip", 0, 1).set_index("image")["error"]
    model = explain_examples.checkpoint(folder / "model.ckpt", size=32)
    table = inference.predict_files(paths, [model]).set_index("image")
    sums = table[list(isic.CLASSES)].sum(axis=1)
    return {
        name: (seen[path.stem], table.loc[path.stem, "error"], abs(sums[path.stem] - 1) < 1e-3)
        for name, path in zip(IMAGES, paths, strict=True)
    }


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_used_or_its_fault_is_named(name, judged):
    _, message = IMAGES[name]
    in_catalogue, by_predict, has_result = judged[name]
    for told in (in_catalogue, by_predict):
        assert (told == GOOD) == (message == GOOD)
        assert message in told
    assert has_result == (message == GOOD)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("folder.jpg", "no ordinary file"),
        ("pipe.jpg", "no ordinary file"),
        ("big.jpg", "bytes, more"),
    ],
)
def test_no_pipe_is_waited_for_and_no_huge_file_is_read(tmp_path, monkeypatch, kind, message):
    monkeypatch.setattr(jpeg, "MAX_BYTES", 1000)
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "big.jpg").write_bytes(bytes(1001))
    with pytest.raises(jpeg.InputError, match=message):
        jpeg.read_file(tmp_path / kind)


def test_a_folder_with_odd_files_in_it_is_predicted_without_them(tmp_path):
    (tmp_path / "in" / "a.jpg").parent.mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(WHOLE)
    (tmp_path / "in" / "b.jpg").write_bytes(b"")
    (tmp_path / "in" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "in" / "pipe.jpg")
    model = explain_examples.checkpoint(tmp_path / "model.ckpt", size=32)
    table = inference.predict_files([tmp_path / "in"], [model])
    assert dict(zip(table["image"], table["error"], strict=True)) == {"a": "", "b": "empty file"}
