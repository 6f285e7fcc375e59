"""What a JPEG file says of itself, read from its markers without decoding a pixel.

Sources: ITU-T T.81, annex B (markers, frame header).
"""

from __future__ import annotations

from pathlib import Path

from melanoma.errors import InputError

MAX_BYTES = 100_000_000
"""Largest image file that is read; the largest of ISIC 2019 is about 3 MB."""

MAX_PIXELS = 100_000_000
"""Largest image that is decoded; the largest of ISIC 2019 has 1.05 million pixels."""

MAX_SCANS = 100
"""Most passes over the image that a progressive file may make; encoders make about ten. Each costs
time by the number of pixels and next to no bytes: thousands of them in a small file, hours."""

_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Markers of a frame header (SOF0 to SOF15 without DHT, JPG and DAC)."""

_LOSSLESS_OR_ARITHMETIC = frozenset({0xC3, *range(0xC5, 0xD0)})
"""Frames of kinds that no photograph is and few decoders take (T.81, table B.1)."""

_SEQUENTIAL = frozenset({0xC0, 0xC1})
"""Frames that are decoded in one pass over their components, unlike progressive ones."""

_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a length: TEM, RST0 to RST7, SOI."""

_START = b"\xff\xd8"
_END = b"\xff\xd9"
_END_MARKER = 0xD9
_SCAN = 0xDA
_SCAN_START = b"\xff\xda"

_OTHERS = {
    b"\x89PNG": "a PNG image",
    b"GIF8": "a GIF image",
    b"BM": "a BMP image",
    b"RIFF": "a WebP image",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"<": "a web page",
}


def read_file(path: Path | str) -> bytes:
    """A file's content, which need not be a JPEG, but may be one by its kind and length.

    Raises:
        InputError: no ordinary file (a folder, a pipe, a device), or above `MAX_BYTES`.
        OSError: no such file, not readable, or the disk failed.
    """
    path = Path(path)
    size = path.stat().st_size
    if not path.is_file():
        raise InputError("no ordinary file")
    if size > MAX_BYTES:
        raise InputError(f"{size} bytes, more than the {MAX_BYTES} that an image may have")
    return path.read_bytes()


def read_size(jpeg: bytes) -> tuple[int, int]:
    """Width and height of a complete, ordinary JPEG file.

    Nothing is decoded. That the end marker is there is checked too, since decoders fill what is
    missing of a truncated file with grey and say nothing.

    Args:
        jpeg: the whole file.

    Returns:
        Width and height in pixels, as stored (no EXIF rotation).

    Raises:
        InputError: empty, not a JPEG, truncated, of more than 8 bits, lossless or arithmetic, or
            above `MAX_PIXELS` or `MAX_SCANS`; says what it is.
    """
    if not jpeg:
        raise InputError("empty file")
    if not jpeg.startswith(_START):
        kind = next((name for start, name in _OTHERS.items() if jpeg.startswith(start)), None)
        raise InputError(f"{kind}, not a JPEG" if kind else f"not a JPEG: starts {jpeg[:4]!r}")
    size, scan, whole = _walk(jpeg)
    if jpeg.rfind(_END, scan) < 0:
        raise InputError("truncated: no end marker after the image data")
    # A scan of all components of a sequential image is its last, and decoders stop there.
    # Nothing else in image data looks so: there, 0xFF is followed by 0 (T.81, B.1.1.5).
    scans = 1 if whole else 1 + jpeg.count(_SCAN_START, scan)
    if scans > MAX_SCANS:
        raise InputError(f"{scans} scans, more than the {MAX_SCANS} that an image may have")
    return size


def _walk(jpeg: bytes) -> tuple[tuple[int, int], int, bool]:
    """Size from the frame header, where the first scan starts, and whether it is all there is."""
    size: tuple[int, int] | None = None
    components = 0
    at = 2
    while at + 4 <= len(jpeg):
        if jpeg[at] != 0xFF:
            raise InputError(f"damaged: no marker at byte {at}")
        marker = jpeg[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _BARE:
            at += 2
            continue
        length = int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if marker == _SCAN and size is not None:
            return size, at + 2 + length, jpeg[at + 4 : at + 5] == bytes([components])
        if marker in (_SCAN, _END_MARKER) or length < 2:
            break
        if marker in _FRAMES:
            size = _frame(marker, jpeg[at + 4 : at + 9])
            components = jpeg[at + 9] if marker in _SEQUENTIAL and at + 9 < len(jpeg) else 0
        at += 2 + length
    raise InputError("truncated or damaged: its headers end before the image data")


def _frame(marker: int, header: bytes) -> tuple[int, int]:
    """Width and height of a frame header, its precision and kind checked."""
    if len(header) < 5:
        raise InputError("truncated: the frame header is cut off")
    bits = header[0]
    height, width = int.from_bytes(header[1:3], "big"), int.from_bytes(header[3:5], "big")
    if marker in _LOSSLESS_OR_ARITHMETIC:
        raise InputError("a lossless, hierarchical or arithmetic JPEG; save it as an ordinary one")
    if bits != 8:
        raise InputError(f"{bits} bits a channel; save it with 8")
    if width == 0 or height == 0:
        raise InputError(f"{width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise InputError(f"{width} x {height} pixels, more than {MAX_PIXELS} in all")
    return width, height
