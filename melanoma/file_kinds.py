"""Kinds of image files: which are read, and what the others are by name and by content."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from melanoma.wording import counted

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
"""File name endings of the images that are read, all JPEG, in any case."""

SUFFIXES_TOLD = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
"""The same for messages."""

_SUFFIXES_OF_OTHERS = {
    "PNG": "png apng",
    "WEBP": "webp",
    "TIF": "tif tiff",
    "BMP": "bmp dib",
    "GIF": "gif",
    "HEIC": "heic heif heics heifs hif",
    "AVIF": "avif avifs",
    "JP2": "jp2 j2k jpf jpx jpm j2c jpc",
    "JXL": "jxl",
    "DICOM": "dcm dicom dic",
    "RAW": "raw dng cr2 cr3 crw nef nrw arw srf sr2 orf rw2 raf pef srw x3f 3fr iiq rwl erf kdc",
    "MPO": "mpo",
    "PSD": "psd",
    "PNM": "pnm ppm pgm pbm",
    "TGA": "tga",
}
_BY_SUFFIX = {
    f".{suffix}": kind
    for kind, suffixes in _SUFFIXES_OF_OTHERS.items()
    for suffix in suffixes.split()
}

_AS_JPEG = "save it as JPEG"
_EXPORT = "export its picture as JPEG"

_STARTS = (
    (b"\x89PNG", "a PNG image", _AS_JPEG),
    (b"GIF8", "a GIF image", _AS_JPEG),
    (b"BM", "a BMP image", _AS_JPEG),
    (b"II*\0", "a TIFF image", _AS_JPEG),
    (b"MM\0*", "a TIFF image", _AS_JPEG),
    (b"\0\0\0\x0cjP  ", "a JP2 (JPEG 2000) image", _AS_JPEG),
    (b"\xff\x4f\xff\x51", "a JP2 (JPEG 2000) image", _AS_JPEG),
    (b"\0\0\0\x0cJXL ", "a JXL (JPEG XL) image", _AS_JPEG),
    (b"\xff\x0a", "a JXL (JPEG XL) image", _AS_JPEG),
    (b"8BPS", "a PSD (Photoshop) image", _AS_JPEG),
    (b"FUJIFILM", "a RAW image", _AS_JPEG),
    (b"%PDF", "a PDF document", _EXPORT),
    (b"PK\x03\x04", "a zip", "unpack it"),
    (b"\0\x05\x16\x07", "a companion file of macOS", "remove it"),
    (b"<svg", "an SVG drawing", _EXPORT),
    (b"<", "a web page", "download the image itself"),
)
"""First bytes, what the file is, what to do; of the formats' own specifications."""

_DICOM_AT = 128
"""Length of the preamble before "DICM" (DICOM PS3.10, section 7.1)."""

_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)
"""Brands in the first box of a file (ISO/IEC 23008-12, annex B; AV1 Image File Format, section 6).
mif1 and msf1 say no codec: AVIF files have them beside their own."""


def kind_by_name(name: str) -> str:
    """Kind of an image file that is not read, by its name's ending.

    Args:
        name: file name, or a path with "/".

    Returns:
        E.g. "PNG"; "" for JPEG files and for what is no image.
    """
    return _BY_SUFFIX.get(_suffix(name), "")


def is_image_name(name: str) -> bool:
    """Whether a file is taken for one of the images that are read, by its name's ending."""
    return _suffix(name) in SUFFIXES


def _suffix(name: str) -> str:
    """As that of `pathlib`, in lower case; opening an archive asks for tens of thousands."""
    stem, dot, suffix = name.rpartition("/")[2].rpartition(".")
    return dot + suffix.lower() if stem else ""


def is_hidden(name: str) -> bool:
    """Whether a path inside a folder or zip is nobody's image.

    Args:
        name: relative to the folder or zip, with "/"; hidden are names that start with a dot,
            such as the companions that macOS writes beside each file, and all in a folder of such
            a name or called __MACOSX.
    """
    parts = name.split("/")
    return any((part[:1] == "." and part != ".") or part == "__MACOSX" for part in parts)


def tell_passed_over(names: Iterable[str]) -> str:
    """Count the image files among others that are not read, by kind, and say what to do.

    Args:
        names: of files of any kind, none hidden; what is read or no image is left out.

    Returns:
        E.g. "3 PNG files passed over, e.g. a/x.png: save them as JPEG"; "" where there is none.
    """
    found = defaultdict(list)
    for name in names:
        if kind := kind_by_name(name):
            found[kind].append(name)
    parts = [
        f"{counted(len(of_kind), f'{kind} file')} passed over, e.g. {min(of_kind)}"
        for kind, of_kind in sorted(found.items())
    ]
    return f"{'; '.join(parts)}: save them as JPEG" if parts else ""


def tell_content(data: bytes) -> str:
    """What a file that is no JPEG is, by its content, and what to do.

    Args:
        data: at least the first few hundred bytes.

    Returns:
        E.g. "a PNG image, not a JPEG; save it as JPEG"; "" for what is not known.
    """
    kind, cure = _by_content(data)
    return f"{kind}, not a JPEG; {cure}" if kind else ""


def _by_content(data: bytes) -> tuple[str, str]:
    """Kind with its article, and what to do; both "" for what is not known."""
    if data[4:8] == b"ftyp":
        return _by_brand(data)
    if data.startswith(b"RIFF"):
        webp = data[8:12] == b"WEBP"
        return ("a WEBP image", _AS_JPEG) if webp else ("a video or sound", _EXPORT)
    if data[_DICOM_AT : _DICOM_AT + 4] == b"DICM":
        return "a DICOM file", _EXPORT
    found = (rest for start, *rest in _STARTS if data.startswith(start))
    kind, cure = next(found, ("", ""))
    return kind, cure


def _by_brand(data: bytes) -> tuple[str, str]:
    """Kind of an ISO media file, by the brands that its first box names."""
    length = int.from_bytes(data[:4], "big")
    brands = {data[at : at + 4] for at in (8, *range(16, min(length, 256), 4))}
    if brands & _AVIF_BRANDS:
        return "an AVIF image", _AS_JPEG
    if brands & _HEIC_BRANDS:
        return "a HEIC image", _AS_JPEG
    if b"crx " in brands:
        return "a RAW image", _AS_JPEG
    return "a video", _EXPORT
