"""What a JPEG file says of itself, read from its markers without decoding a pixel.

Sources: ITU-T T.81, annex B (markers, frame header); ICC.1:2022, annex B.4 (colour profiles).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from melanoma.errors import InputError
from melanoma.file_kinds import tell_content

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

_APP0, _APP2, _APP15, _COMMENT = 0xE0, 0xE2, 0xEF, 0xFE

_WITH_LENGTH = frozenset({*range(0xC0, 0xD0), *range(0xDA, 0xF0), _COMMENT})
"""Markers that decoders pass over by their length between scans; the others are reserved, and no
decoder goes by what would be their length."""

_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""The next marker in image data: there, 0xFF is followed by 0 or a restart (T.81, B.1.1.5)."""

_PROFILE = b"ICC_PROFILE\0"
"""Start of a segment APP2 with a part of a colour profile, before the part's number, from 1, and
the number of parts (ICC.1:2022, annex B.4)."""

_FULL_SPECTRUM = b"\0\x3f\0"
"""End of the scan header of every sequential image (T.81, table B.3)."""


@dataclass(frozen=True)
class Header:
    """What a file says of its picture before the image data.

    Attributes:
        width: in pixels, as stored (no EXIF rotation).
        height: in pixels.
        components: 1 (grey), 3 (colour) or 4 (CMYK).
        profile: the embedded colour profile; None where there is none, b"" where its parts do
            not make one.
    """

    width: int
    height: int
    components: int
    profile: bytes | None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height


@dataclass
class _Walk:
    """Where things lie before the image data."""

    marker: int = 0
    size: tuple[int, int] | None = None
    components: int = 0
    segments: list[tuple[int, int, int]] = field(default_factory=list)
    """Marker, start and end of each segment up to the first scan's, whose header is the last."""
    interleaved: bool = False
    """Whether the first scan holds all components."""

    @property
    def image_data(self) -> int:
        return self.segments[-1][2]

    @property
    def one_scan(self) -> bool:
        """Whether decoders stop after the first scan."""
        return self.interleaved and self.marker in _SEQUENTIAL


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
    """Width and height of a complete, ordinary JPEG file; see `read_header`."""
    return read_header(jpeg).size


def read_header(jpeg: bytes) -> Header:
    """What a complete, ordinary JPEG file says of its picture.

    Nothing is decoded: that the image data are sound is for `melanoma.decoding` to tell.

    Args:
        jpeg: the whole file; what follows the picture's end marker does not count.

    Returns:
        Size, number of components and colour profile.

    Raises:
        InputError: empty, not a JPEG, truncated, of more than 8 bits, lossless or arithmetic, or
            above `MAX_PIXELS` or `MAX_SCANS`; says what it is.
    """
    if not jpeg:
        raise InputError("empty file")
    if not jpeg.startswith(_START):
        raise InputError(tell_content(jpeg) or f"not a JPEG: starts {jpeg[:4]!r}")
    walk = _walk(jpeg)
    _check_scans(jpeg, walk)
    assert walk.size is not None
    return Header(*walk.size, walk.components, _profile(jpeg, walk))


def picture_alone(jpeg: bytes) -> bytes:
    """The file without what decoders warn of though no pixel depends on it.

    Segments of applications and comments are left out, and the scan header of a sequential image,
    which can have one end only, gets it. Colours may change: what an application says of them is
    lost.

    Args:
        jpeg: a file that `read_header` accepts.

    Raises:
        InputError: see `read_header`.
    """
    walk = _walk(jpeg)
    kept = [
        jpeg[start:end]
        for marker, start, end in walk.segments
        if not _APP0 <= marker <= _APP15 and marker != _COMMENT
    ]
    if walk.marker in _SEQUENTIAL:
        kept[-1] = kept[-1][: -len(_FULL_SPECTRUM)] + _FULL_SPECTRUM
    return b"".join([_START, *kept, jpeg[walk.image_data :]])


def _walk(jpeg: bytes) -> _Walk:
    """Go through the headers up to the first scan's."""
    walk = _Walk()
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
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if marker == _END_MARKER or end < at + 4 or (marker == _SCAN and walk.size is None):
            break
        walk.segments.append((marker, at, end))
        if marker == _SCAN:
            walk.interleaved = jpeg[at + 4 : at + 5] == bytes([walk.components])
            return walk
        if marker in _FRAMES:
            walk.marker = marker
            walk.size = _frame(marker, jpeg[at + 4 : at + 9])
            walk.components = jpeg[at + 9] if at + 9 < len(jpeg) else 0
        at = end
    raise InputError("truncated or damaged: its headers end before the image data")


def _check_scans(jpeg: bytes, walk: _Walk) -> None:
    """Check that the picture ends, after scans that are not too many.

    A scan of all components of a sequential image is its last. Else scans are counted up to the
    picture's own end: behind it, phones put films, whose bytes look like anything.
    """
    if walk.one_scan:
        # Searched from the file's end, which is quick: decoding tells where the picture ends.
        whole = jpeg.rfind(_END, walk.image_data) >= 0
        scans = 1
    else:
        scans, whole = _count_scans(jpeg, walk.image_data)
    if scans > MAX_SCANS:
        raise InputError(f"more than the {MAX_SCANS} scans that an image may have; save it anew")
    if not whole:
        raise InputError("truncated: no end marker after the image data")


def _count_scans(jpeg: bytes, at: int) -> tuple[int, bool]:
    """Scans, the first of which has its data at `at`, and whether an end marker follows them.

    Counting stops above `MAX_SCANS`.
    """
    scans = 1
    while scans <= MAX_SCANS:
        found = _MARKER.search(jpeg, at)
        if found is None:
            return scans, False
        at = found.end()
        marker = jpeg[at - 1]
        if marker == _END_MARKER:
            return scans, True
        if marker in _WITH_LENGTH:
            scans += marker == _SCAN
            at += int.from_bytes(jpeg[at : at + 2], "big")
    return scans, True


def _profile(jpeg: bytes, walk: _Walk) -> bytes | None:
    """The embedded colour profile, joined from its parts, which may come in any order."""
    found = [
        jpeg[start + 4 + len(_PROFILE) : end]
        for marker, start, end in walk.segments
        if marker == _APP2 and jpeg.startswith(_PROFILE, start + 4)
    ]
    if not found:
        return None
    parts = {part[0]: part[2:] for part in found if len(part) > 2 and part[1] == len(found)}
    if sorted(parts) != list(range(1, len(found) + 1)):
        return b""
    return b"".join(parts[number] for number in sorted(parts))


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
