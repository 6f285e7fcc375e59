"""The image store: against PNG files, and the cost of opening it."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from melanoma.images import frame
from melanoma.store import Store, pack
from tests.benchmarks.figures import Figure, cpu_times, figure, ratios
from tests.benchmarks.samples import Pixels, photographs

SIZE = 224
COUNT = 64
COPIES = 16
"""How often the images are repeated in the store: what it costs beside them shall not count."""

ROUNDS = 5
FEW, MANY = 100, 100_000
"""Images in two stores that are only opened; the files are sparse."""

RECIPE = {"hair_removal": "lines", "framing": "crop", "size": SIZE, "code": ""}


def measure(archive: Path | None) -> Iterator[Figure]:
    """Figures of writing, reading and opening."""
    pixels = np.stack(
        [frame(rgb, size=SIZE, framing="crop") for rgb in photographs(archive, 600, 450, COUNT)]
    )
    with tempfile.TemporaryDirectory() as folder:
        yield from _against_png(pixels, Path(folder))
        yield from _opening(Path(folder))


def _against_png(pixels: Pixels, folder: Path) -> Iterator[Figure]:
    """Against PNG as Pillow writes and reads it, and as OpenCV does: faster, and larger."""
    many = np.concatenate([pixels] * COPIES)
    shard = folder / "shard.npy"
    _write(many, shard)
    catalogue = pd.DataFrame({"image": [str(n) for n in range(len(many))]})
    pack([shard], catalogue, folder / "store.npy", recipe=RECIPE)
    store = Store.open(folder / "store.npy")
    order = np.random.default_rng(0).permutation(len(many))
    pngs = [_encoded(rgb) for rgb in pixels]
    ways: dict[str, Callable[[], object]] = {
        "write": partial(_write, many, folder / "shard.npy"),
        "write Pillow": lambda: [_encoded(rgb) for rgb in pixels],
        "write OpenCV": lambda: [cv2.imencode(".png", rgb) for rgb in pixels],
        "read": partial(_read, store, order),
        "read Pillow": lambda: [np.asarray(Image.open(io.BytesIO(png))) for png in pngs],
        "read OpenCV": lambda: [
            cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR) for png in pngs
        ],
        "pack": lambda: pack([shard], catalogue, folder / "packed.npy", recipe=RECIPE),
    }
    times = cpu_times(ways, rounds=ROUNDS)
    for way in ("write", "read"):
        told = f"{np.median(times[way]) / len(many) * 1000:.3f} ms"
        for peer, target in (("Pillow", ">= 100"), ("OpenCV", "")):
            faster = [COPIES * ratio for ratio in ratios(times[f"{way} {peer}"], times[way])]
            against = f"PNG by {peer}; {told}"
            yield figure("store", f"{way} an image", faster, target=target, against=against)
    costs = ratios(times["pack"], times["write"])
    yield figure("store", "pack, with checksums", costs, against="writing as much")


def _encoded(rgb: Pixels) -> bytes:
    """A PNG file as Pillow writes it."""
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "PNG")
    return stream.getvalue()


def _write(pixels: Pixels, path: Path) -> None:
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(
            stream, {"descr": "|u1", "fortran_order": False, "shape": pixels.shape}
        )
        for rgb in pixels:
            stream.write(rgb.data)


def _read(store: Store, order: NDArray[np.int64]) -> None:
    """Every image copied out of the store, in a shuffled order, as a loader does."""
    pixels = np.asarray(store.pixels)
    place = np.empty(pixels.shape[1:], np.uint8)
    for row in order:
        place[:] = pixels[row]


def _opening(folder: Path) -> Iterator[Figure]:
    paths = {count: _sparse(folder / f"{count}.npy", count) for count in (FEW, MANY)}
    ways = {
        str(count): lambda path=path: [Store.open(path) for _ in range(50)]
        for count, path in paths.items()
    }
    times = cpu_times(ways, rounds=2 * ROUNDS)
    costs = ratios(times[str(MANY)], times[str(FEW)])
    told = f"opening {FEW}; {np.median(times[str(MANY)]) / 50 * 1000:.2f} ms"
    yield figure("store", f"open a store of {MANY:,}", costs, target="<= 1.5", against=told)


def _sparse(path: Path, count: int) -> Path:
    """A store whose pixels are a hole in the file."""
    catalogue = pd.DataFrame({"image": [str(n) for n in range(count)]})
    one = path.with_name("one.npy")
    np.save(one, np.zeros((1, SIZE, SIZE, 3), np.uint8))
    pack([one], catalogue.head(1), path, recipe=RECIPE)
    shape = (count, SIZE, SIZE, 3)
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(
            stream, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        stream.truncate(stream.tell() + int(np.prod(shape)))
    recipe = path.with_suffix(".json")
    recipe.write_text(recipe.read_text().replace("\n    1,\n", f"\n    {count},\n"))
    return path
