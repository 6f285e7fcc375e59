"""Batches for training: against the usual loader, and against copying memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from melanoma.images import frame
from melanoma.training.batches import HostPixels
from tests.benchmarks.figures import Figure, cpu_times, figure, ratios
from tests.benchmarks.samples import Pixels, photographs

SIZE = 224
COUNT = 48
COPIES = 40
"""How often the images are repeated in the store: 1,920 of them, 290 MB."""

BATCH = 128
ROUNDS = 5
RATE = 12_000
"""Images a second that half a core must give."""


class Files(Dataset[tuple[torch.Tensor, int]]):
    """The usual data set: a PNG file an image, opened and changed by PIL."""

    def __init__(self, folder: Path, pixels: Pixels) -> None:
        self.paths = [folder / f"{number}.png" for number in range(len(pixels))]
        for path, rgb in zip(self.paths, pixels, strict=True):
            Image.fromarray(rgb).save(path)
        self.change = transforms.Compose(
            [
                transforms.RandomHorizontalFlip(),
                transforms.RandomVerticalFlip(),
                transforms.RandomAffine(180, translate=(0.06, 0.06), scale=(0.8, 1.25)),
                transforms.ColorJitter(0.2, 0.2, 0.2, 0.04),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.paths[number]) as image:
            return self.change(image.convert("RGB")), number


def measure(archive: Path | None) -> Iterator[Figure]:
    """Figures of one process; the usual loader's workers are as many such processes."""
    torch.set_num_threads(1)
    photos = photographs(archive, 600, 450, COUNT)
    few = np.stack([frame(rgb, size=SIZE, framing="crop") for rgb in photos])
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "store.npy", np.concatenate([few] * COPIES))
        store = np.load(Path(folder) / "store.npy", mmap_mode="r")
        loader = DataLoader(Files(Path(folder), few), batch_size=BATCH)
        order = np.random.default_rng(0).permutation(len(store))
        parts = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        source = HostPixels(store, np.arange(len(store)), torch.device("cpu"))
        block, place = np.ascontiguousarray(store), np.empty_like(store)
        ways = {
            "ours": lambda: [len(batch) for batch in source.stream(parts)],
            "usual": lambda: [len(batch) for batch in loader],
            "memcpy": partial(np.copyto, place, block),
        }
        times = cpu_times(ways, rounds=ROUNDS)
    faster = [COPIES * ratio for ratio in ratios(times["usual"], times["ours"])]
    yield figure(
        "loader",
        "images a second",
        faster,
        target=">= 150",
        against="PIL and torchvision, per core",
    )
    share = ratios(times["memcpy"], times["ours"])
    yield figure("loader", "speed", share, target=">= 0.5", against="memcpy")
    rates = [len(order) / seconds / 2 for seconds in times["ours"]]
    yield figure("loader", "half a core", rates, unit="img/s", target=f">= {RATE}")
