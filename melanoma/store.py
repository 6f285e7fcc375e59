"""The image store: all images of a set in one array on disk, mapped into memory, never unpacked.

Beside `{recipe}.npy` (uint8 [n, size, size, 3], RGB, in the catalogue's order) lie `{recipe}.csv`,
which image is in which row, and `{recipe}.json`, what made it and the sha256 of the array. The
JSON is written last: where it lies, the store is whole.
"""

from __future__ import annotations

import csv
import hashlib
import io
import tokenize
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from melanoma import files
from melanoma.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_BLOCK = 1 << 20
"""Bytes copied at a time."""

_INDEX_COLUMNS = ["image", "row"]
_USED = {"shape", "dtype", "size", "sha256", "index_sha256"}
"""Keys of the recipe that are used here."""

_BAD_HEADER = (ValueError, TypeError, SyntaxError, OverflowError, tokenize.TokenError)
"""What numpy raises for the header of a .npy file in which a single byte has changed."""

_AGAIN = "make it again: remove {path} and run rule pack"


@dataclass(frozen=True)
class Store:
    """A store opened for reading; opening costs the same whatever the number of images.

    Attributes:
        path: the .npy file.
        pixels: read-only memory map, uint8 [n, size, size, 3], RGB.
        recipe: what made it: recipe, hair_removal, framing, size, code, n, shape, dtype, sha256
            (of the .npy file), index_sha256 (of the .csv file), opencv and numpy (versions).
    """

    path: Path
    pixels: NDArray[np.uint8]
    recipe: dict[str, Any]

    @classmethod
    def open(cls, path: Path | str) -> Store:
        """Open a store; no pixel and no line of the index is read.

        Args:
            path: the .npy file, with its .csv and .json beside it.

        Raises:
            InputError: a part is missing, cut short, or does not fit the others.
        """
        path = Path(path)
        recipe = _read_recipe(path)
        if not path.is_file():
            raise InputError(f"{path}: no such image store; run rule pack")
        if not path.with_suffix(".csv").is_file():
            raise InputError(f"{path.with_suffix('.csv')}: no such index; {_again(path)}")
        try:
            pixels = np.load(path, mmap_mode="r", allow_pickle=False)
        except (*_BAD_HEADER, EOFError, OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: damaged or cut short ({error}); {_again(path)}") from error
        if not isinstance(pixels, np.memmap):
            raise InputError(f"{path}: not an array of images; {_again(path)}")
        _check_shape(path, pixels, recipe)
        return cls(path, pixels, recipe)

    @cached_property
    def images(self) -> tuple[str, ...]:
        """Ids in order of rows; the index is read at the first use.

        Raises:
            InputError: the index is not that of this store.
        """
        path = self.path.with_suffix(".csv")
        try:
            with path.open(encoding="utf-8", newline="") as stream:
                lines = list(csv.reader(stream))
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{path}: damaged ({error}); {_again(self.path)}") from error
        if not lines or lines[0] != _INDEX_COLUMNS:
            raise InputError(f"{path}: expected the columns image,row; {_again(self.path)}")
        for number, line in enumerate(lines[1:]):
            if len(line) != 2 or line[1] != str(number):
                raise InputError(
                    f"{path}: line {number + 2} is {','.join(line)!r}, expected row {number}; "
                    + _again(self.path)
                )
        if len(lines) - 1 != len(self.pixels):
            raise InputError(
                f"{path}: {len(lines) - 1} images, but the store has {len(self.pixels)}; "
                + _again(self.path)
            )
        return tuple(line[0] for line in lines[1:])

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {image: row for row, image in enumerate(self.images)}

    def rows(self, images: Sequence[str]) -> NDArray[np.int64]:
        """Rows of some images.

        Args:
            images: ids, in any order, repeated or not.

        Returns:
            int64 [len(images)], in the order asked for.

        Raises:
            InputError: an image that the store does not hold.
        """
        try:
            return np.fromiter((self._row_of[i] for i in images), np.int64, len(images))
        except KeyError as error:
            raise InputError(
                f"{self.path}: holds no image {error.args[0]!r}; the store and the table that "
                "names it are from different catalogues: run the workflow again"
            ) from None

    def verify(self) -> None:
        """Read the whole array and its index and compare their sha256 with the recipe's.

        Raises:
            InputError: a byte has changed.
        """
        for path, key in ((self.path, "sha256"), (self.path.with_suffix(".csv"), "index_sha256")):
            found = files.sha256_of(path)
            if found != self.recipe[key]:
                raise InputError(
                    f"{path}: sha256 {found}, but {self.recipe[key]} when it was written: "
                    f"changed since; {_again(self.path)}"
                )


def _again(path: Path) -> str:
    return _AGAIN.format(path=path)


def _read_recipe(path: Path) -> dict[str, Any]:
    """The JSON beside a store, with all the keys that are used here."""
    beside = path.with_suffix(".json")
    if not beside.is_file():
        raise InputError(f"{beside}: no such file; the image store is not complete: run rule pack")
    try:
        recipe = files.read_json(beside)
    except (ValueError, RecursionError):
        recipe = None
    if not isinstance(recipe, dict) or not recipe.keys() >= _USED:
        raise InputError(f"{beside}: not a store's recipe; {_again(path)}")
    return recipe


def _check_shape(path: Path, pixels: NDArray[np.uint8], recipe: Mapping[str, Any]) -> None:
    found = [list(pixels.shape), str(pixels.dtype)]
    expected = [recipe["shape"], recipe["dtype"]]
    size = recipe["size"]
    square = list(pixels.shape[1:]) == [size, size, 3] and pixels.dtype == np.uint8
    if found != expected or not square:
        raise InputError(
            f"{path}: {found[1]} {found[0]}, but its recipe says {expected[1]} {expected[0]} "
            f"of size {size}; {_again(path)}"
        )


def pack(
    shards: Sequence[Path | str],
    catalogue: pd.DataFrame,
    output: Path | str,
    *,
    recipe: Mapping[str, Any],
) -> None:
    """Join shards into a store: one after the other, in blocks, under another name until whole.

    The bytes of all three files are the same whatever the number of shards.

    Args:
        shards: .npy files of `melanoma.shards.resize_shard`, in order.
        catalogue: its column image names the rows.
        output: the store's .npy path; .csv and .json come beside it.
        recipe: what made the pixels: hair_removal, framing, size, code.

    Raises:
        InputError: a shard is missing, damaged, of another size or of another number of images
            than its share of the catalogue.
    """
    output = Path(output)
    size, images = int(recipe["size"]), list(catalogue["image"])
    output.with_suffix(".json").unlink(missing_ok=True)
    shape = (len(images), size, size, 3)
    with files.atomic(output) as partial, partial.open("wb") as stream:
        digest = hashlib.sha256()
        for block in _store_blocks([Path(shard) for shard in shards], shape):
            digest.update(block)
            stream.write(block)
    index = _index_text(images)
    files.write_text(output.with_suffix(".csv"), index)
    made = {
        "recipe": f"{recipe['hair_removal']}-{recipe['framing']}-{size}",
        **recipe,
        "n": len(images),
        "shape": list(shape),
        "dtype": "uint8",
        "sha256": digest.hexdigest(),
        "index_sha256": hashlib.sha256(index.encode()).hexdigest(),
        "opencv": cv2.__version__,
        "numpy": np.__version__,
    }
    files.write_json(output.with_suffix(".json"), made)


def _index_text(images: Sequence[str]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_INDEX_COLUMNS)
    writer.writerows((image, row) for row, image in enumerate(images))
    return text.getvalue()


def _store_blocks(shards: Sequence[Path], shape: tuple[int, ...]) -> Iterator[bytes]:
    """The bytes of the store's .npy file: its header, then the pixels of each shard."""
    header = io.BytesIO()
    description = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, description)
    yield header.getvalue()
    for number, path in enumerate(shards):
        share = len(partition(shape[0], number, len(shards)))
        if not path.is_file():
            raise InputError(f"{path}: no such shard; run rule resize")
        with path.open("rb") as stream:
            _check_shard(path, stream, (share, *shape[1:]))
            while block := stream.read(_BLOCK):
                yield block


def _check_shard(path: Path, stream: BinaryIO, expected: tuple[int, ...]) -> None:
    """Read a shard's header: its shape is the expected one, and all of its bytes are there."""
    try:
        np.lib.format.read_magic(stream)
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    except _BAD_HEADER as error:
        raise InputError(f"{path}: not a shard ({error}); remove it and run again") from error
    if shape != expected or dtype != np.uint8 or fortran_order:
        raise InputError(
            f"{path}: {dtype} {list(shape)}, expected uint8 {list(expected)}: the catalogue, the "
            "size or the number of shards has changed since; remove it and run again"
        )
    size = stream.tell() + int(np.prod(expected))
    if path.stat().st_size != size:
        raise InputError(
            f"{path}: {path.stat().st_size} bytes, expected {size}; remove it and run again"
        )


def partition(count: int, shard: int, shards: int) -> range:
    """The rows of one shard: contiguous, shards as equal as can be.

    Args:
        count: rows in all.
        shard: from 0 to `shards` - 1.
        shards: how many there are.

    Returns:
        Its rows; none where there are more shards than rows.

    Raises:
        ValueError: no such shard.
    """
    if not 0 <= shard < shards:
        raise ValueError(f"shard {shard} of {shards}: counted from 0")
    return range(shard * count // shards, (shard + 1) * count // shards)
