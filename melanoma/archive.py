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
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType

from melanoma.errors import InputError
from melanoma.file_kinds import SUFFIXES_TOLD, is_hidden, is_image_name, tell_passed_over
from melanoma.jpeg import MAX_BYTES

MAX_RATIO = 100
"""Largest ratio of unpacked to packed size: JPEG data do not compress, bombs a thousandfold."""

_RATIO_FROM = 1_000_000
"""Below this size a member may compress as well as it likes: tiny flat images do."""

_ENCRYPTED = 0x1
"""Bit of a member's flags (APPNOTE.TXT 4.4.4)."""

_SHOWN = 5
"""Members named in one message."""


class Archive:
    """A zip of JPEG images, by image id; several processes may each open their own.

    The id of an image is its member's file name without .jpg, .jpeg, .jpe or .jfif; members may
    lie in any inner folder, and other files are passed over. Use as a context manager, or call
    `close`.

    Attributes:
        path: the zip.
        images: ids in sorted order.
    """

    def __init__(self, path: Path | str) -> None:
        """Open an archive and read its directory.

        Raises:
            InputError: not a zip, or truncated; a member encrypted, with a name that leaves its
                folder, or with the id of another; no image at all.
        """
        self.path = Path(path)
        self._zip = _open(self.path)
        try:
            self._members = _by_image(self.path, self._zip.infolist())
        except BaseException:
            self._zip.close()
            raise
        self.images: tuple[str, ...] = tuple(sorted(self._members))

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

    def member(self, image: str) -> str:
        """Name of an image's member.

        Raises:
            InputError: no such image.
        """
        try:
            return self._members[image]
        except KeyError:
            raise InputError(f"{self.path}: holds no image {image!r}") from None

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
        if len(data) != info.file_size or zlib.crc32(data) != info.CRC:
            raise _damaged(self.path, member, "content shorter than declared or of another CRC")
        return data

    def _info(self, member: str) -> zipfile.ZipInfo:
        try:
            return self._zip.getinfo(member)
        except KeyError:
            raise InputError(f"{self.path}: holds no member {member!r}") from None


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


def _by_image(path: Path, infos: Sequence[zipfile.ZipInfo]) -> dict[str, str]:
    """Members by image id; every problem of one kind told at once."""
    members: dict[str, str] = {}
    unsafe: list[str] = []
    encrypted: list[str] = []
    twice: list[str] = []
    for info in infos:
        if _is_unsafe(info.filename):
            unsafe.append(repr(info.filename))
        name = _image_name(info)
        if name is None:
            continue
        if info.flag_bits & _ENCRYPTED:
            encrypted.append(repr(info.filename))
        if name in members:
            twice.append(f"{members[name]!r} and {info.filename!r}")
        members[name] = info.filename
    _refuse(path, unsafe, "member names that leave their folder; use the official archive")
    _refuse(path, encrypted, "encrypted members; make a zip without a password")
    _refuse(path, twice, "two members of one image; keep one of each")
    if not members:
        cure = _passed_over(infos) or "give the zip of the images"
        raise InputError(f"{path}: holds no {SUFFIXES_TOLD} file; {cure}")
    return members


def _is_unsafe(name: str) -> bool:
    """Whether unpacking `name` could write outside its folder, on any system."""
    parts = name.replace("\\", "/").split("/")
    return parts[0] == "" or ".." in parts or parts[0].endswith(":")


def _image_name(info: zipfile.ZipInfo) -> str | None:
    """Id of an image member; None for folders, other files and macOS's hidden companions."""
    if not is_image_name(info.filename) or info.is_dir():  # which fails on an empty name
        return None
    return None if is_hidden(info.filename) else PurePosixPath(info.filename).stem


def _passed_over(infos: Iterable[zipfile.ZipInfo]) -> str:
    """Which members are images of other kinds, and what to do."""
    return tell_passed_over(info.filename for info in infos if not is_hidden(info.filename))


def _refuse(path: Path, names: list[str], what: str) -> None:
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise InputError(f"{path}: {what}: {', '.join(names[:_SHOWN])}{more}")


def _refuse_bomb(path: Path, info: zipfile.ZipInfo) -> None:
    size, packed = info.file_size, max(info.compress_size, 1)
    if size > MAX_BYTES:
        raise InputError(
            f"{path}: {info.filename!r} declares {size} bytes, more than the {MAX_BYTES} "
            "that an image may have; remove it"
        )
    if size > _RATIO_FROM and size > MAX_RATIO * packed:
        raise InputError(
            f"{path}: {info.filename!r} unpacks {packed} bytes into {size}, as no image does; "
            "remove it"
        )


def _damaged(path: Path, member: str, why: object) -> InputError:
    return InputError(f"{path}: {member!r} is damaged ({why}); download the archive again")
