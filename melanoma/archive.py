"""Reading the official image archive where it lies: a zip of JPEG files, never unpacked.

Unpacking would cost tens of thousands of files; a zip's directory is read once and any member
found by its offset. Nothing is ever written under a member's name, and still names that would
leave a folder are refused, since an archive that holds them is not the official one.
"""

from __future__ import annotations

import errno
import lzma
import struct
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from types import TracebackType

from melanoma.errors import InputError
from melanoma.file_kinds import SUFFIXES_TOLD, is_hidden, is_image_name, tell_passed_over
from melanoma.image_names import ImageNames, as_path, stem_of, without_common_folder
from melanoma.jpeg import MAX_BYTES
from melanoma.wording import first_few, quoted

MAX_RATIO = 100
"""Largest ratio of unpacked to packed size: JPEG data do not compress, bombs a thousandfold."""

_RATIO_FROM = 1_000_000
"""Below this size a member may compress as well as it likes: tiny flat images do."""

_ENCRYPTED = 0x1
"""Bit of a member's flags (APPNOTE.TXT 4.4.4)."""

_UTF8 = 0x800
"""Bit of a member's flags: its name is UTF-8 (APPNOTE.TXT 4.4.4)."""

_METHODS = {
    1: "Shrink",
    **dict.fromkeys((2, 3, 4, 5), "Reduce"),
    6: "Implode",
    9: "Deflate64",
    10: "PKWARE's Implode",
    16: "IBM z/OS CMPSC",
    18: "IBM TERSE",
    19: "IBM LZ77",
    20: "Zstandard",
    93: "Zstandard",
    95: "XZ",
    96: "a JPEG packer",
    97: "WavPack",
    98: "PPMd",
}
"""Ways of compression that Python's zipfile cannot undo (APPNOTE.TXT 4.4.5)."""

_DEFLATE64 = 9
_ZSTANDARD = 93
"""The latter Python can from 3.14 on."""

_REPACK = "Python cannot read that: unpack the zip and zip it again, as plain Deflate or stored"

_SHOWN = 5
"""Members named in one message."""


class Archive:
    """A zip of JPEG images, by image id; several processes may each open their own.

    The id of an image is its member's file name without .jpg, .jpeg, .jpe or .jfif; members may
    lie in any inner folder, and other files are passed over. Where two folders hold files of one
    name, the ids of all are their paths instead, without suffix and without the folders that all
    lie in. Ids are in composed form (see `melanoma.image_names`). Use as a context manager, or
    call `close`.

    Attributes:
        path: the zip.
        images: ids in sorted order.
    """

    def __init__(self, path: Path | str) -> None:
        """Open an archive and read its directory.

        Raises:
            InputError: not a zip, or truncated; a member encrypted, compressed in a way that
                Python cannot read, with a name that leaves its folder, or with the id of
                another; no image at all.
        """
        self.path = Path(path)
        self._zip = _open(self.path)
        try:
            members = _by_image(self.path, self._zip.infolist())
        except BaseException:
            self._zip.close()
            raise
        self.images: tuple[str, ...] = tuple(sorted(members))
        self._members = {image: info.filename for image, (info, _) in members.items()}
        self._paths = [members[image][1] for image in self.images]

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; reading is over."""
        self._zip.close()

    @cached_property
    def names(self) -> ImageNames:
        """Finds images by what tables call them; places are those of `images`."""
        return ImageNames(self._paths)

    def member(self, image: str) -> str:
        """Name of an image's member.

        Raises:
            InputError: no such image.
        """
        try:
            return self._members[image]
        except KeyError:
            raise InputError(f"{self.path}: holds no image {quoted(image)}") from None

    def passed_over(self) -> str:
        """Which images of other kinds it holds and what to do; "" where it holds none."""
        return _passed_over(self._zip.infolist())

    def size(self, member: str) -> int:
        """Unpacked size of a member in bytes, as the archive's directory declares it."""
        return self._info(member).file_size

    def crc(self, member: str) -> str:
        """CRC-32 of a member's content as 8 lower-case hex digits, as the directory declares it."""
        return f"{self._info(member).CRC:08x}"

    def read(self, member: str) -> bytes:
        """Content of a member, its length and CRC verified.

        At most the declared size is ever unpacked, so a lying header cannot fill the memory.

        Args:
            member: name inside the zip, from `member`.

        Raises:
            InputError: no such member, damaged, too large, or of an unknown compression.
            OSError: the disk failed to read: not the archive's fault, worth another try.
        """
        info = self._info(member)
        _refuse_bomb(self.path, info)
        try:
            with self._zip.open(info) as stream:
                data = stream.read(info.file_size)
        except OSError as error:
            if not _is_bad_offset(error):
                raise
            raise _damaged(self.path, member, error) from error
        except (
            zipfile.BadZipFile,
            zlib.error,
            lzma.LZMAError,
            struct.error,
            EOFError,
            NotImplementedError,
            RuntimeError,
            ValueError,
        ) as error:
            raise _damaged(self.path, member, error) from error
        # Of what is whole, zipfile has verified the CRC when it read the last byte.
        if len(data) != info.file_size:
            raise _damaged(self.path, member, "content shorter than declared")
        return data

    def _info(self, member: str) -> zipfile.ZipInfo:
        try:
            return self._zip.getinfo(member)
        except KeyError:
            raise InputError(f"{self.path}: holds no member {quoted(member)}") from None


def _open(path: Path) -> zipfile.ZipFile:
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the path of the images' zip")
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, struct.error, NotImplementedError, ValueError, OSError) as error:
        if isinstance(error, OSError) and not _is_bad_offset(error):
            raise
        with path.open("rb") as stream:
            start = stream.read(64)
        raise InputError(f"{path}: {_why_no_zip(start, path.stat().st_size)} ({error})") from error


def _is_bad_offset(error: OSError) -> bool:
    """Whether an error comes from the archive's content and not from the disk.

    A damaged offset makes a seek to before the file (EINVAL); bz2 gives no number at all.
    """
    return error.errno in (None, errno.EINVAL)


def _why_no_zip(start: bytes, size: int) -> str:
    """What a file that does not open as a zip probably is, and what to do."""
    if not start:
        return "empty; download it again"
    if start.startswith(b"PK"):
        return f"a zip cut short or damaged at its end, {size} bytes; download it again"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, not a zip; was a login needed? Download it again"
    return f"not a zip: it starts with {start[:8]!r}; give the zip of the images"


def _by_image(
    path: Path, infos: Sequence[zipfile.ZipInfo]
) -> dict[str, tuple[zipfile.ZipInfo, str]]:
    """Members and their readable paths by image id; every problem of one kind told at once."""
    images: list[tuple[zipfile.ZipInfo, str]] = []
    unsafe: list[str] = []
    encrypted: list[str] = []
    packed: defaultdict[int, list[str]] = defaultdict(list)
    for info in infos:
        if _is_unsafe(info.filename):
            unsafe.append(quoted(info.filename))
        readable = _image_path(info)
        if readable is None:
            continue
        images.append((info, readable))
        if info.flag_bits & _ENCRYPTED:
            encrypted.append(quoted(info.filename))
        if _is_unreadable(info.compress_type):
            packed[info.compress_type].append(quoted(info.filename))
    _refuse(path, unsafe, "member names that leave their folder; use the official archive")
    _refuse(path, encrypted, "encrypted members; make a zip without a password")
    for method, names in packed.items():
        _refuse(path, names, f"members compressed by {_said(method)}; {_REPACK}")
    if not images:
        cure = _passed_over(infos) or "give the zip of the images"
        raise InputError(f"{path}: holds no {SUFFIXES_TOLD} file; {cure}")
    return _identified(path, images)


def _identified(
    path: Path, images: Sequence[tuple[zipfile.ZipInfo, str]]
) -> dict[str, tuple[zipfile.ZipInfo, str]]:
    """Members by id: the file name alone, or the path where two folders hold one name."""
    ids = [stem_of(PurePosixPath(readable).name) for _, readable in images]
    if len(set(ids)) < len(ids):
        ids = [stem_of(inner) for inner in without_common_folder([name for _, name in images])]
    members: dict[str, tuple[zipfile.ZipInfo, str]] = {}
    twice: list[str] = []
    for image, (info, readable) in zip(ids, images, strict=True):
        if image in members:
            twice.append(f"{quoted(members[image][0].filename)} and {quoted(info.filename)}")
        members[image] = (info, readable)
    _refuse(path, twice, "two members of one image; keep one of each")
    return members


def _is_unreadable(method: int) -> bool:
    """Whether Python has no means to undo a known way of compression."""
    return method in _METHODS and not (method == _ZSTANDARD and hasattr(zipfile, "ZIP_ZSTANDARD"))


def _said(method: int) -> str:
    """A way of compression in words."""
    who = ", as Windows' Explorer does in large zips" if method == _DEFLATE64 else ""
    return f"{_METHODS[method]} (method {method}){who}"


def _is_unsafe(name: str) -> bool:
    """Whether unpacking `name` could write outside its folder, on any system."""
    parts = name.replace("\\", "/").split("/")
    return parts[0] == "" or ".." in parts or parts[0].endswith(":")


def _image_path(info: zipfile.ZipInfo) -> str | None:
    """Path of an image member; None for folders, other files and macOS's hidden companions."""
    path = as_path(_readable(info))
    if not is_image_name(path) or info.is_dir():  # which fails on an empty name
        return None
    return None if is_hidden(path) else path


def _passed_over(infos: Iterable[zipfile.ZipInfo]) -> str:
    """Which members are images of other kinds, and what to do."""
    names = (as_path(_readable(info)) for info in infos)
    return tell_passed_over(name for name in names if not is_hidden(name))


def _readable(info: zipfile.ZipInfo) -> str:
    """A member's name: macOS writes UTF-8 without the bit that says so."""
    if info.flag_bits & _UTF8 or info.filename.isascii():
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _refuse(path: Path, names: list[str], what: str) -> None:
    if names:
        raise InputError(f"{path}: {what}: {first_few(names, _SHOWN)}")


def _refuse_bomb(path: Path, info: zipfile.ZipInfo) -> None:
    size, packed = info.file_size, max(info.compress_size, 1)
    if size > MAX_BYTES:
        raise InputError(
            f"{path}: {quoted(info.filename)} declares {size} bytes, more than the {MAX_BYTES} "
            "that an image may have; remove it"
        )
    if size > _RATIO_FROM and size > MAX_RATIO * packed:
        raise InputError(
            f"{path}: {quoted(info.filename)} unpacks {packed} bytes into {size}, as no image "
            "does; remove it"
        )


def _damaged(path: Path, member: str, why: object) -> InputError:
    return InputError(f"{path}: {quoted(member)} is damaged ({why}); download the archive again")
