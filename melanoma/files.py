"""Writing files so that a killed process leaves the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melanoma.errors import FaultError, InputError

if TYPE_CHECKING:
    import pandas as pd

_BLOCK = 1 << 20

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Nothing more can be written: the disk or the quota is full, or a limit on file sizes is met."""

_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""Nothing can be written at all: permissions, or a disk that is mounted read-only."""


@contextlib.contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path`; on leaving cleanly, sync it and rename it to `path`.

    The temporary name keeps the suffix (writers that look at it work as usual) and is removed
    on any exception. File mode follows the user's umask. What a killed process has left of the
    same file is removed first; a process that still writes it stops: a file has one writer, and
    the one that began last is the one that somebody waits for.

    Args:
        path: the final path; its folder is made if missing.

    Yields:
        The path to write to.

    Raises:
        FaultError: the disk or the quota is full, the folder cannot be written to, or another
            process has begun to write the same file.
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    with _writing(path, partial):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        try:
            yield partial
            if not partial.is_symlink():  # what a link points to is somebody else's file
                with partial.open("rb") as stream:
                    os.fsync(stream.fileno())
            partial.replace(path)
            _sync_folder(path.parent)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Give an empty folder beside `path`; on leaving cleanly it takes the place of `path`.

    Args:
        path: the final folder; an old one is replaced as a whole. What is written inside is
            synced by whoever writes it.

    Yields:
        The folder to write to.

    Raises:
        FaultError: as for `atomic`.
    """
    path = Path(path)
    partial, old = (path.with_name(f".{path.name}.{os.getpid()}.{end}") for end in ("part", "old"))
    with _writing(path, partial):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        partial.mkdir()
        try:
            yield partial
            if path.exists():
                path.rename(old)
            partial.rename(path)
            _sync_folder(path.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _writing(path: Path, partial: Path) -> Iterator[None]:
    """Turn what a user can mend about writing `path` into a `FaultError`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        cause = next((e for e in _chain(error) if isinstance(e, OSError)), None)
        reason = _why_not_written(path, partial, cause) if cause else ""
        if not reason:
            raise
        raise FaultError(reason) from error


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those behind it: writers wrap what the system said."""
    step: BaseException | None = error
    while step is not None:
        yield step
        step = step.__cause__ or step.__context__


def _why_not_written(path: Path, partial: Path, error: OSError) -> str:
    """What keeps `path` from being written and what to do; "" where that is not known."""
    folder, what = path.parent.absolute(), os.strerror(error.errno or 0).lower()
    if error.errno in FULL:
        return (
            f"{folder}: no room for {path.name} ({what}): the disk or your quota is full; "
            "make room and run the same command again"
        )
    about = Path(os.fsdecode(error.filename)) if error.filename else None
    if about not in (partial, *path.parents):
        return ""
    if error.errno in _FORBIDDEN:
        return (
            f"{folder}: {path.name} cannot be written ({what}): change the folder's permissions, "
            "or work in a folder of your own"
        )
    if isinstance(error, FileNotFoundError) and (path.exists() or _leftovers(path)):
        return (
            f"{path}: another process has begun to write it: this one stops; "
            "see that no other run works in this folder"
        )
    return ""


def _remove_leftovers(path: Path) -> None:
    for leftover in _leftovers(path):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _leftovers(path: Path) -> list[Path]:
    """Temporary files and folders of `path`, of whatever process."""
    stem, suffix, name = (re.escape(part) for part in (path.stem, path.suffix, path.name))
    temporary = re.compile(rf"\.{stem}\.\d+\.part{suffix}|\.{name}\.\d+\.(part|old)")
    with os.scandir(path.parent) as entries:
        return [Path(entry.path) for entry in entries if temporary.fullmatch(entry.name)]


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8 atomically, line ends as given."""
    with atomic(path) as partial:
        partial.write_bytes(text.encode())


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as readable JSON atomically; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a UTF-8 JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def sha256_of(path: Path | str) -> str:
    """Lower-case hex sha256 of a file's bytes, read in blocks."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def write_table(path: Path | str, table: pd.DataFrame) -> None:
    """Write a table as CSV atomically: UTF-8, LF, no index, floats in full precision."""
    with atomic(path) as partial:
        table.to_csv(partial, index=False, lineterminator="\n")


def write_rows(
    path: Path | str, columns: Sequence[str], rows: Iterable[Mapping[str, object]]
) -> None:
    """Write rows as CSV atomically, UTF-8, LF: for what must not wait for pandas to be imported."""
    with atomic(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path: Path | str) -> list[dict[str, str]]:
    """Read the rows of a UTF-8 CSV file as text; none where there is no file."""
    path = Path(path)
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
