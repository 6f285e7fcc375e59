"""Near-duplicates: photographs in the archive twice, resized, cropped, turned or saved anew.

Candidates come from the fingerprints of all pairs; each is then confirmed on the pixels, aligned
first. Confirmed pairs join the groups that splits keep whole. Cuts off the centre are found up to
3 % of the side (91 % of 150), hardly at 6 %: another crop of a photograph may be missed. What lies
around a round field, or between bars, decides nothing (`melanoma.surround`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.archive import Archive
from melanoma.errors import InputError
from melanoma.fingerprint import (
    Floats,
    Pixels,
    best_correlation,
    centre_square,
    decode_fingerprints,
    decode_grey,
    split_parity,
    thumbnail,
    turn,
    view_correlations,
)
from melanoma.surround import fill_surround, find_field
from melanoma.wording import counted

_LOG = logging.getLogger(__name__)

PAIR_COLUMNS = (
    "image_a",
    "image_b",
    "similarity",
    "view",
    "lesion_a",
    "lesion_b",
    "same_lesion",
    "diagnosis_a",
    "diagnosis_b",
    "same_diagnosis",
)
"""Columns of a table of pairs; a pair of two diagnoses is label noise."""

CANDIDATE = 0.7
"""Least correlation of fingerprints of a pair that is looked at. Copies measure 0.95 and more,
pairs of one lesion photographed twice anything from 0.6, unrelated pairs up to 0.88."""

STRONG = 0.9
"""Correlation from which hardly any unrelated pair is met: all such pairs are looked at."""

CONFIRMED = 0.6
"""Least similarity on the pixels. Over 500 planted copies it was 0.88 and more, over 616 of the
most alike unrelated pairs 0.38 and less."""

_KEPT = 3
"""Weak candidates kept per image: blurred spots resemble hundreds of others."""

_KEPT_STRONG = 32
"""Strong candidates kept per image: bounds memory in an archive of one image a thousand times."""

_BLOCK = 1024
"""Images a side of one block of the matrix of all pairs: 20 MB at a time."""

_SIDE = 96
"""Side in pixels of the thumbnails that confirm a pair."""

_BLUR = {False: 3.0, True: 1.5}
"""Standard deviation in pixels of the blur that is taken off: what is left is detail. Finer beside
a surround (True): a round field has few tiles, and one spot fills them. There 1.5 gives copies 0.82
and more, and 1,123 of the most alike unrelated pairs 0.49 and less but for two; 3 gave 25 above
0.6."""

_TILES = 4
"""Tiles a side; the median over them keeps a frame, a ruler or a vignette from deciding."""

_SCALES = (0.75, 1 / 0.75)
"""Alignments beyond these scales are solutions in which a spot is blown up to fill the frame."""

LARGEST_GROUP = 10
LARGEST_SHARE = 0.005
"""Lesions, and share of all lesions, that near-duplicates may tie into one group."""

_STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-3)

_REPORT_EVERY = 1000


def find_duplicates(
    table: pd.DataFrame,
    archive: Path | str,
    other: pd.DataFrame | None = None,
    other_archive: Path | str | None = None,
) -> pd.DataFrame:
    """Find pairs of near-duplicate images within one set, or across two.

    Args:
        table: columns image, lesion_id, diagnosis, member, width, height, bytes, crc,
            fingerprint: a catalogue, or one without its groups.
        archive: its zip.
        other: the second set, whose images then are image_b; None looks within `table`.
        other_archive: its zip.

    Returns:
        One row per pair with the columns `PAIR_COLUMNS`, sorted by image: similarity in
        [0.6, 1] rounded to 4 places, view 0 to 7 as in `melanoma.fingerprint.VIEWS`. Pairs of
        one lesion are there only if they are nearly the same file (`STRONG`), since they are
        together anyway.

    Raises:
        InputError: an archive cannot be read.
    """
    second = table if other is None else other
    pairs = find_candidates(table, None if other is None else other)
    lesion_a = table["lesion_id"].to_numpy(str)[pairs["a"]]
    lesion_b = second["lesion_id"].to_numpy(str)[pairs["b"]]
    same = (lesion_a == lesion_b) & (lesion_a != "")
    pairs = pairs[~same | (pairs["correlation"] >= STRONG).to_numpy()]
    _LOG.info("%s of images to compare by their pixels", counted(len(pairs), "pair"))
    found = confirm(pairs, table, Path(archive), second, Path(other_archive or archive))
    _LOG.info("%s of near-duplicate images", counted(len(found), "pair"))
    return _describe(found, table, second)


def find_candidates(table: pd.DataFrame, other: pd.DataFrame | None = None) -> pd.DataFrame:
    """Pairs of images whose fingerprints are alike under some flip or turn.

    Every image is compared with every other, block by block, in at most 200 MB.

    Args:
        table: columns crc, bytes and fingerprint.
        other: the second set; None looks within `table`.

    Returns:
        Columns a and b (int64 row positions in `table` and in `other`, or a < b within one
        table), correlation (float32; 1 for files of the same content), sorted by a and b.
    """
    first = decode_fingerprints(table["fingerprint"])
    second = first if other is None else decode_fingerprints(other["fingerprint"])
    straight, turned = split_parity(second), split_parity(second, transposed=True)
    parts = straight if other is None else split_parity(first)
    found = [_same_content(table, other)]
    for top in range(0, len(first), _BLOCK):
        start = top if other is None else 0
        for left in range(start, len(second), _BLOCK):
            columns = slice(left, left + _BLOCK)
            block = best_correlation(
                parts[:, top : top + _BLOCK], straight[:, columns], turned[:, columns]
            )
            if other is None and top == left:
                block[np.tril_indices(len(block))] = 0
            a, b = np.nonzero(block >= CANDIDATE)
            pairs = pd.DataFrame({"a": a + top, "b": b + left, "correlation": block[a, b]})
            found.append(_thin(pairs))
    pairs = _thin(pd.concat(found, ignore_index=True))
    pairs = pairs.drop_duplicates(["a", "b"]).sort_values(["a", "b"], ignore_index=True)
    return pairs.astype({"a": "int64", "b": "int64", "correlation": "float32"})


def _same_content(table: pd.DataFrame, other: pd.DataFrame | None) -> pd.DataFrame:
    """Pairs of files equal by CRC and length, which even images of one shade are found by."""
    keys = ["crc", "bytes"]
    first = table[keys].assign(a=np.arange(len(table)))
    if other is None:
        first = first[first.duplicated(keys, keep=False)]
        pairs = first.assign(b=first.groupby(keys)["a"].shift(-1)).dropna(subset=["b"])
    else:
        pairs = first.merge(other[keys].assign(b=np.arange(len(other))), on=keys)
    return pairs[["a", "b"]].astype("int64").assign(correlation=np.float32(1))


def no_pairs() -> pd.DataFrame:
    """The table of pairs where none was looked for."""
    return pd.DataFrame(columns=list(PAIR_COLUMNS))


def _thin(pairs: pd.DataFrame) -> pd.DataFrame:
    """Keep of each image its best pairs only; a pair stays if it is among either image's best."""
    pairs = pairs.sort_values(["correlation", "a", "b"], ascending=[False, True, True])
    limit = np.where(pairs["correlation"] >= STRONG, _KEPT_STRONG, _KEPT)
    rank_a = pairs.groupby("a").cumcount()
    rank_b = pairs.groupby("b").cumcount()
    return pairs[(rank_a < limit) | (rank_b < limit)]


def confirm(
    pairs: pd.DataFrame,
    table: pd.DataFrame,
    archive: Path,
    other: pd.DataFrame,
    other_archive: Path,
) -> pd.DataFrame:
    """Keep the candidates whose pixels agree.

    Args:
        pairs: from `find_candidates`.
        table: the set of `pairs["a"]`.
        archive: its zip.
        other: the set of `pairs["b"]`.
        other_archive: its zip.

    Returns:
        The rows of `pairs` with similarity (float64, at least `CONFIRMED`) and view (int64).
    """
    thumbnails_a, rows_a = _thumbnails(table, pairs["a"].to_numpy(), archive)
    thumbnails_b, rows_b = _thumbnails(other, pairs["b"].to_numpy(), other_archive)
    views = view_correlations(
        decode_fingerprints(table["fingerprint"].iloc[pairs["a"]]),
        decode_fingerprints(other["fingerprint"].iloc[pairs["b"]]),
    ).argmax(axis=1)
    similarities = np.zeros(len(pairs))
    for number, (a, b, view) in enumerate(zip(rows_a, rows_b, views, strict=True)):
        similarities[number] = similarity(thumbnails_a[a], thumbnails_b[b].turned(int(view)))
        if (number + 1) % _REPORT_EVERY == 0:
            _LOG.info("compared %d of %d pairs", number + 1, len(pairs))
    found = pairs.assign(similarity=similarities, view=views.astype(np.int64))
    return found[found["similarity"] >= CONFIRMED]


@dataclass(frozen=True)
class Thumbnail:
    """A small grey centre square and which of its pixels are of the field.

    Attributes:
        pixels: uint8[side, side]; what lies around a field is filled from the field's rim.
        inside: bool[side, side]; None where there is no surround.
    """

    pixels: Pixels
    inside: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, grey: Pixels) -> Thumbnail:
        """Of a whole frame, uint8[height, width]."""
        field = find_field(centre_square(grey))
        pixels = thumbnail(grey, _SIDE)
        if field is None:
            return cls(pixels)
        inside = field.inside(_SIDE, _SIDE)
        return cls(fill_surround(pixels, inside), inside)

    def turned(self, view: int) -> Thumbnail:
        """One of its eight views."""
        inside = None if self.inside is None else turn(self.inside, view)
        return Thumbnail(turn(self.pixels, view), inside)


def _thumbnails(
    table: pd.DataFrame, positions: NDArray[np.int64], archive: Path
) -> tuple[list[Thumbnail], NDArray[np.int64]]:
    """Thumbnails of the images at `positions`, each read once, and where each position's lies."""
    wanted, rows = np.unique(positions, return_inverse=True)
    thumbnails: list[Thumbnail] = []
    if not len(wanted):
        return thumbnails, rows
    chosen = table.iloc[wanted]
    short_sides = chosen[["width", "height"]].min(axis=1)
    with Archive(archive) as images:
        for member, short in zip(chosen["member"], short_sides, strict=True):
            jpeg = images.read(member)
            try:
                grey = decode_grey(jpeg, int(short), least=_SIDE)
            except InputError as error:
                raise InputError(
                    f"{archive}: {member!r} no longer decodes ({error}); inspect it again"
                ) from error
            thumbnails.append(Thumbnail.of(grey))
    return thumbnails, rows


def similarity(a: Thumbnail, b: Thumbnail) -> float:
    """How far two thumbnails agree in detail, as they lie or after aligning the second.

    Args:
        a: one.
        b: another, in the view that fits `a`.

    Returns:
        Median over tiles of the correlation of what a blur takes off, within both fields; 1 for
        equal thumbnails.
    """
    if np.array_equal(a.pixels, b.pixels):
        return 1.0
    as_it_lies = _detail_agreement(a, b)
    warp = _align(a.pixels, b.pixels)
    if warp is None:
        return as_it_lies
    size, flags = a.pixels.shape[::-1], cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(
        b.pixels, warp, size, flags=flags | cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    whole = np.ones(b.pixels.shape, np.uint8) if b.inside is None else b.inside.view(np.uint8)
    inside = cv2.warpAffine(whole, warp, size, flags=flags | cv2.INTER_NEAREST)
    moved_b = Thumbnail(np.asarray(moved, np.uint8), np.asarray(inside > 0, np.bool_))
    return max(as_it_lies, _detail_agreement(a, moved_b))


def _align(a: Pixels, b: Pixels) -> Floats | None:
    """Affine map from `a` to `b` of the highest correlation; None where there is none near.

    Found at half size, a quarter of the work, and doubled, pixel centres kept in place.
    """
    small_a, small_b = (
        cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for p in (a, b)
    )
    start = np.eye(2, 3, dtype=np.float32)
    everywhere = np.ones(small_b.shape, np.uint8)
    try:
        _, found = cv2.findTransformECC(
            small_a, small_b, start, cv2.MOTION_AFFINE, _STEPS, everywhere, 3
        )
    except cv2.error:
        return None  # nothing to hold on to, or no convergence
    warp = np.asarray(found, np.float32)
    linear = warp[:, :2]
    warp[:, 2] = 2 * warp[:, 2] + 0.5 * (1 - linear.sum(axis=1))
    scale = np.sqrt(abs(float(np.linalg.det(linear))))
    return warp if _SCALES[0] <= scale <= _SCALES[1] else None


def _detail_agreement(a: Thumbnail, b: Thumbnail) -> float:
    """Median correlation over the tiles that lie half or more inside both."""
    rows, columns = _box(a.inside)
    weight = np.ones((_SIDE, _SIDE), np.bool_)
    for inside in (a.inside, b.inside):
        if inside is not None:
            weight &= inside
    blur = _BLUR[not weight.all()]
    details = (_detail(each.pixels, blur) for each in (a, b))
    p, q, w = (_by_tile(values[rows, columns]) for values in (*details, weight))
    area = w.sum(axis=1)
    p = (p - ((p * w).sum(axis=1) / np.maximum(area, 1))[:, None]) * w
    q = (q - ((q * w).sum(axis=1) / np.maximum(area, 1))[:, None]) * w
    lengths = np.sqrt(np.square(p).sum(axis=1) * np.square(q).sum(axis=1))
    found = (p * q).sum(axis=1) / np.maximum(lengths, 1e-6)
    found = found[area >= 0.5 * w.shape[1]]
    return float(np.median(found)) if len(found) >= _TILES else 0.0


def _box(inside: NDArray[np.bool_] | None) -> tuple[slice, slice]:
    """Rows and columns that a field takes, a whole number of tiles."""
    if inside is None:
        return slice(0, _SIDE), slice(0, _SIDE)
    bounds = []
    for axis in (1, 0):
        taken = np.flatnonzero(inside.any(axis=axis))
        start, length = int(taken[0]), int(taken[-1]) + 1 - int(taken[0])
        short = max(length // _TILES, 1) * _TILES
        start = min(start + (length - short) // 2, _SIDE - short)
        bounds.append(slice(start, start + short))
    return bounds[0], bounds[1]


def _detail(pixels: Pixels, blur: float) -> Floats:
    values = pixels.astype(np.float32)
    return np.asarray(values - cv2.GaussianBlur(values, (0, 0), blur), np.float32)


def _by_tile(values: NDArray[Any]) -> Floats:
    """Cut [height, width] into float32[_TILES ** 2, pixels of a tile]."""
    high, wide = (length // _TILES for length in values.shape)
    cut = values.reshape(_TILES, high, _TILES, wide).swapaxes(1, 2)
    return cut.reshape(_TILES**2, high * wide).astype(np.float32)


def _describe(pairs: pd.DataFrame, table: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Name the images, lesions and diagnoses of confirmed pairs."""
    a, b = table.iloc[pairs["a"]], other.iloc[pairs["b"]]
    lesion_a, lesion_b = a["lesion_id"].to_numpy(str), b["lesion_id"].to_numpy(str)
    diagnosis_a, diagnosis_b = a["diagnosis"].to_numpy(str), b["diagnosis"].to_numpy(str)
    values = (
        a["image"].to_numpy(str),
        b["image"].to_numpy(str),
        pairs["similarity"].round(4).to_numpy(),
        pairs["view"].to_numpy(),
        lesion_a,
        lesion_b,
        (lesion_a == lesion_b) & (lesion_a != ""),
        diagnosis_a,
        diagnosis_b,
        diagnosis_a == diagnosis_b,
    )
    described = pd.DataFrame(dict(zip(PAIR_COLUMNS, values, strict=True)))
    return described.sort_values(["image_a", "image_b"], ignore_index=True)


@dataclass(frozen=True)
class Groups:
    """Images that stay together, and pairs that would have tied too many.

    Attributes:
        names: the group of each image, with the table's index.
        cut: rows of the pairs that were taken for errors of the search.
        limit: lesions that a group may have, unless its files are the same.
    """

    names: pd.Series[str]
    cut: pd.DataFrame
    limit: int


def join_groups(table: pd.DataFrame, pairs: pd.DataFrame) -> Groups:
    """Group of each image: its lesion, joined with those that near-duplicates tie it to.

    Pairs of the same file always count. Where others tie more than `LARGEST_GROUP` lesions, or
    `LARGEST_SHARE` of all, into one group, the search has seen something that many unrelated
    pictures share: such a group is cut at its weakest links, until no part is as large.

    Args:
        table: columns image and lesion_id ("" where missing: the image is on its own), and bytes
            and crc, by which the same file is known.
        pairs: columns image_a and image_b, both in `table`, and similarity.

    Returns:
        Groups by name: of all the lesion ids in the group the first in sorted order, of its images
        where it has no lesion; the pairs cut, weakest first.
    """
    own = table["lesion_id"].where(table["lesion_id"] != "", table["image"]).to_numpy(str)
    by_image = dict(zip(table["image"], own, strict=True))
    files = dict(zip(table["image"], zip(table["crc"], table["bytes"], strict=True), strict=True))
    limit = max(LARGEST_GROUP, int(LARGEST_SHARE * len(set(own))))
    ties = _Ties(dict.fromkeys(own, 1), set(table["lesion_id"]), limit)
    cut = []
    ranked = pairs.assign(
        same=[files[a] == files[b] for a, b in zip(pairs["image_a"], pairs["image_b"], strict=True)]
    ).sort_values(
        ["same", "similarity", "image_a", "image_b"], ascending=[False, False, True, True]
    )
    for row in ranked.itertuples():
        ends = by_image[str(row.image_a)], by_image[str(row.image_b)]
        if not ties.join(*ends, always=bool(row.same)):
            cut.append(row.Index)
    names = [ties.find(name) for name in own]
    group = pd.Series(names, index=table.index, dtype="str", name="group")
    return Groups(group, pairs.loc[cut[::-1]], limit)


@dataclass
class _Ties:
    """Joins lesions from the strongest link to the weakest, as long as groups stay small.

    Attributes:
        size: lesions of each group, by the group's name; one file's lesions count as one.
        lesions: names that are lesion ids and not images.
        limit: of lesions that are joined.
        leader: a name nearer to that of the group, by lesion.
        closed: groups that would have grown beyond the limit: no weaker link joins more.
    """

    size: dict[str, int]
    lesions: set[str]
    limit: int
    leader: dict[str, str] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)

    def find(self, name: str) -> str:
        """Name of the group of a lesion."""
        while (nearer := self.leader.get(name, name)) != name:
            self.leader[name] = self.leader.get(nearer, nearer)
            name = nearer
        return name

    def join(self, a: str, b: str, *, always: bool) -> bool:
        """Join two lesions' groups; whether they are one now."""
        ends = self.find(a), self.find(b)
        if ends[0] == ends[1]:
            return True
        first, last = sorted(ends, key=lambda name: (name not in self.lesions, name))
        total = self.size[first] + self.size[last]
        if not always and (total > self.limit or self.closed & set(ends)):
            self.closed |= set(ends)
            return False
        self.leader[last] = first
        self.size[first] = 1 if always else total
        return True
