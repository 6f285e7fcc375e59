"""What tables call images: with or without folder and suffix, from any system that people use.

A table names an image by its file name, or by as much of the end of its path as tells it apart
from others: "anna/lesion1", "study/anna/lesion1.jpg", or the same with Windows' backslashes. Names
that look equal are equal: letters with accents are compared in Unicode's composed form (NFC),
whatever form the file system or the program that wrote the table prefers (macOS decomposes them).
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".jp2", ".heic", ".avif", ".dcm"),
)
"""Endings of names, in any case, that tables may have: of images as they were before they became
JPEG files too (PAD-UFES-20's table has .png)."""


def composed(text: str) -> str:
    """A text in the form in which equal-looking texts are equal (Unicode NFC)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def as_path(name: str) -> str:
    """A name with forward slashes, composed, without "./" before it."""
    path = composed(name).replace("\\", "/")
    while path.startswith("./"):
        path = path[2:]
    return path


def without_suffix(name: str) -> str:
    """A name or path without the ending of an image file, if it has one."""
    for suffix in IMAGE_SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def without_common_folder(paths: Sequence[str]) -> list[str]:
    """Paths (forward slashes) without the folders that all of them lie in."""
    folders = [path.split("/")[:-1] for path in paths]
    common = 0
    for parts in zip(*folders, strict=False):
        if len(set(parts)) > 1:
            break
        common += 1
    return ["/".join(path.split("/")[common:]) for path in paths]


@dataclass(frozen=True)
class _Image:
    """An image: folders of its path, its file name, and the file name without suffix."""

    folders: tuple[str, ...]
    file: str
    stem: str


class ImageNames:
    """Finds images by the names that tables give them.

    Attributes:
        paths: of the images, forward slashes, composed.
        inner: the same from the folder that was given on, or that all lie in.
    """

    def __init__(self, paths: Iterable[str], inner: Iterable[str] | None = None) -> None:
        """Prepare to find images.

        Args:
            paths: of the image files, as they are written.
            inner: the same paths from the folder that was given on; None: without the folders
                that all of them lie in.
        """
        self.paths = [as_path(path) for path in paths]
        self.inner = (
            without_common_folder(self.paths) if inner is None else [as_path(p) for p in inner]
        )
        self._images = [_parts(path) for path in self.paths]
        # By folder too: thousands of patients' folders may each hold a 1.jpg.
        self._by_end: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for place, image in enumerate(self._images):
            self._by_end[(image.stem,)].append(place)
            if image.folders:
                self._by_end[image.folders[-1], image.stem].append(place)

    def find(self, name: str) -> list[int]:
        """Places of the images that `name` may mean, in the order of `paths`.

        A name with the suffix of an image file means the file that is called so, before files
        that are called so but for the suffix.
        """
        *folders, last = as_path(name).split("/")
        bare = without_suffix(last)
        stems = [self._in(folders, stem) for stem in (last, bare)]
        called = [place for place in stems[1] if self._images[place].file.lower() == last.lower()]
        return sorted({*stems[0], *called}) or stems[1]

    def _in(self, folders: list[str], stem: str) -> list[int]:
        """Places of the images with this file name, in folders that end in these."""
        depth = len(folders)
        return [
            place
            for place in self._by_end.get((*folders[-1:], stem), ())
            if not depth or list(self._images[place].folders[-depth:]) == folders
        ]

    def match(self, names: Sequence[str]) -> list[list[int]]:
        """Places of the images that each of several names may mean, read together.

        Where "x" may be x.jpg or anna/x.jpg, it is x.jpg if another name is that of anna/x.jpg.

        Args:
            names: of one table.

        Returns:
            For each name its places: none where no image is called so, several where it is
            ambiguous.
        """
        found = [self.find(name) for name in names]
        taken = {places[0] for places in found if len(places) == 1}
        unclear = [number for number, places in enumerate(found) if len(places) > 1]
        for number in sorted(unclear, key=lambda number: -as_path(names[number]).count("/")):
            free = [place for place in found[number] if place not in taken]
            if len(free) == 1 and _same(self.inner[free[0]], names[number]):
                found[number] = free
                taken.add(free[0])
        return found


def _parts(path: str) -> _Image:
    *folders, file = path.split("/")
    return _Image(tuple(folders), file, stem_of(file))


def stem_of(path: str) -> str:
    """A path without what follows the last dot of its file name."""
    dot = path.rfind(".")
    return path[:dot] if dot > path.rfind("/") + 1 else path


def _same(inner: str, name: str) -> bool:
    return as_path(name) in (inner, stem_of(inner)) or without_suffix(as_path(name)) == stem_of(
        inner
    )


def as_file_names(images: Sequence[str], longest: int = 150) -> list[str]:
    """Names of files, without suffix, for images whose ids may hold slashes; no two are the same.

    Args:
        images: ids.
        longest: bytes of a name: file systems take 255, and suffixes and numbers are to come.

    Returns:
        In the same order: the id itself where it can be a file's name, else with "_" for what
        cannot; of two that would be the same on any system, the later gets a number.
    """
    plain = [_as_file_name(image, longest) for image in images]
    # Names that images have of their own are no numbered one's.
    taken = {name.casefold() for name in plain}
    used: set[str] = set()
    names = list(plain)
    for place in sorted(range(len(plain)), key=lambda place: plain[place] != images[place]):
        number, key = 1, plain[place].casefold()
        while key in used or (number > 1 and key in taken):
            number += 1
            names[place] = f"{plain[place]}-{number}"
            key = names[place].casefold()
        used.add(key)
    return names


def _as_file_name(image: str, longest: int) -> str:
    name = "".join("_" if sign in "/\\" or ord(sign) < 32 else sign for sign in image)
    name = name.encode("utf-8", "replace")[:longest].decode("utf-8", "ignore")
    return name if name.strip(".") else f"_{name}"
