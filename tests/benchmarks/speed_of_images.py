"""From JPEG bytes to stored pixels: against the usual recipe, and against decoding alone."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from melanoma.archive import Archive
from melanoma.config import Images
from melanoma.hair import dullrazor
from melanoma.images import decode, denominator_for, prepare, read_size
from melanoma.inspection import inspect_shard
from melanoma.shards import remove_hair_shard, resize_shard
from melanoma.store import Store, pack
from tests.benchmarks.figures import Figure, cpu_times, figure, ratios
from tests.benchmarks.samples import Pixels, photographs, save

SIZES = ((600, 450), (1024, 768), (1024, 1024), (1504, 1129), (2000, 1500))
SIZE = 224
COUNT = 8
"""Images of each size."""

ROUNDS = 3
GOOD, HEAVY = 90, 100
"""JPEG qualities: of most files, and of those that are 3 times as large, as in HAM10000."""

OVERALL, SLOWEST = {GOOD: 15, HEAVY: 11}, 8
"""How many times faster than the usual recipe: all sizes together, and each."""

COSTLIEST = {GOOD: 8, HEAVY: 3}
"""How many times the scaled decode: what is not decoding costs the same for both."""

SHARED, SHARDS = 200, 2
"""Images, and shards, for the rules' own way."""

Times = dict[str, tuple[float, ...]]
"""By way, CPU seconds in each round."""

IMAGES = Images(size=SIZE, shards=SHARDS)


def usual(jpeg: bytes) -> Pixels:
    """The usual recipe at native size, then an antialiased resize."""
    bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    rgb = dullrazor(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8))
    height, width = rgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = rgb[top : top + side, left : left + side]
    return np.asarray(cv2.resize(square, (SIZE, SIZE), interpolation=cv2.INTER_AREA), np.uint8)


def ours(jpeg: bytes) -> Pixels:
    """This workflow's way."""
    return prepare(jpeg, size=SIZE, framing="crop", hair_removal="lines")


def decoded(jpeg: bytes) -> Pixels:
    """The limit: the scaled decode alone."""
    return decode(jpeg, denominator=denominator_for(*read_size(jpeg), SIZE))


def measure(archive: Path | None) -> Iterator[Figure]:
    """Figures of all sizes and of the rules' own way."""
    cv2.setNumThreads(1)
    measured: dict[int, list[Times]] = {GOOD: [], HEAVY: []}
    for width, height in SIZES:
        images = photographs(archive, width, height, COUNT)
        for quality, times in measured.items():
            times.append(_times([save(rgb, quality) for rgb in images]))
            name, bounds = f"{width} x {height}, q{quality}", (SLOWEST, COSTLIEST[quality])
            yield from _figures(times[-1], COUNT, name, *bounds)
    for quality, times in measured.items():
        summed = {way: tuple(np.sum([each[way] for each in times], axis=0)) for way in times[0]}
        bounds = (OVERALL[quality], COSTLIEST[quality])
        yield from _figures(summed, COUNT * len(SIZES), f"all sizes, q{quality}", *bounds)
    yield from _rules(archive)


def _times(jpegs: list[bytes]) -> Times:
    def each(way: object) -> list[Pixels]:
        return [way(jpeg) for jpeg in jpegs]  # type: ignore[operator]

    ways = {way.__name__: partial(each, way) for way in (usual, ours, decoded)}
    return cpu_times(ways, rounds=ROUNDS)


def _figures(times: Times, images: int, name: str, least: int, most: int) -> Iterator[Figure]:
    told = f"{np.median(times['ours']) / images * 1000:.1f} ms an image"
    faster = ratios(times["usual"], times["ours"])
    costs = ratios(times["ours"], times["decoded"])
    yield figure("images", name, faster, target=f">= {least}", against=f"usual recipe; {told}")
    yield figure(
        "images", name, costs, target=f"<= {most}", against="CPU time of the scaled decode alone"
    )


def _rules(archive: Path | None) -> Iterator[Figure]:
    """What the jobs cost over `prepare` alone, and whether they make the same pixels."""
    with tempfile.TemporaryDirectory() as folder:
        images = [
            rgb for size in SIZES for rgb in photographs(archive, *size, SHARED // len(SIZES) // 2)
        ]
        zipped = Path(folder) / "images.zip"
        write_zip(zipped, [save(rgb, GOOD) for rgb in images])
        with Archive(zipped) as members:
            names = list(members.images)
            jpegs = [members.read(members.member(image)) for image in names]
            catalogue = pd.DataFrame({"image": names, "member": map(members.member, names)})
        run = partial(_run_rules, zipped, catalogue, Path(folder))
        times = cpu_times({"rules": run, "prepare": partial(prepare_all, jpegs)}, rounds=ROUNDS)
        same = (Store.open(Path(folder) / "store.npy").pixels == np.stack(prepare_all(jpegs))).all()
    costs = ratios(times["rules"], times["prepare"])
    what = "inspect, remove_hair, resize, pack"
    yield figure("images", what, costs, target="<= 1.5", against="prepare on the same images")
    yield figure(
        "images",
        "stored pixels that equal prepare's",
        float(same),
        unit="of 1",
        target=">= 1",
        against=f"{len(jpegs)} images, byte for byte",
    )


def prepare_all(jpegs: list[bytes]) -> list[Pixels]:
    """Each image as it is stored."""
    return [ours(jpeg) for jpeg in jpegs]


def _run_rules(zipped: Path, catalogue: pd.DataFrame, folder: Path) -> None:
    shards = []
    for shard in range(SHARDS):
        inspect_shard(zipped, shard, SHARDS)
        frames, resized = folder / f"{shard}.frames", folder / f"{shard}.npy"
        parts = {"images": IMAGES, "shard": shard, "shards": SHARDS}
        remove_hair_shard(zipped, catalogue, frames, **parts)
        resize_shard(frames, resized, images=IMAGES)
        shards.append(resized)
    recipe = {"hair_removal": "lines", "framing": "crop", "size": SIZE, "code": ""}
    pack(shards, catalogue, folder / "store.npy", recipe=recipe)


def write_zip(path: Path, jpegs: list[bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number, jpeg in enumerate(jpegs):
            archive.writestr(f"images/ISIC_{number:07d}.jpg", jpeg)
