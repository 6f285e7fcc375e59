"""Most memory of a job, each measured in a process of its own; and what grows with the images."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.cost_of_start import ROOT
from tests.benchmarks.figures import Figure, figure
from tests.benchmarks.samples import photographs, save

SHARD_IMAGES = 20
LARGE = (2000, 1500)
FEW, MANY = 10_000, 40_000
"""Images of which pack and split are measured; pack's have 32 x 32 pixels."""

PACK_SIZE = 32
EPOCHS = (10, 110)
"""Lengths of the trainings that are held against each other, both past what caches take once."""

_SHARD = """
import json, sys
import pandas as pd
from melanoma.config import Images
from melanoma.shards import remove_hair_shard, resize_shard
archive, folder, names = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
table = pd.DataFrame({"image": names, "member": [f"images/{name}.jpg" for name in names]})
images = Images(size=224)
remove_hair_shard(archive, table, folder + "/a.frames", images=images, shard=0, shards=1)
resize_shard(folder + "/a.frames", folder + "/a.npy", images=images)
"""

_PACK = """
import sys
import numpy as np
import pandas as pd
from melanoma.store import pack
folder, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
table = pd.DataFrame({"image": [f"ISIC_{n:07d}" for n in range(count)]})
recipe = {"hair_removal": "lines", "framing": "crop", "size": size, "code": ""}
pack([folder + f"/{count}.npy"], table, folder + "/store.npy", recipe=recipe)
"""

_SPLIT = """
import sys
import pandas as pd
from melanoma.splits import assign_splits
count = int(sys.argv[1])
table = pd.DataFrame({
    "image": [f"ISIC_{n:07d}" for n in range(count)],
    "lesion_id": [f"HAM_{n // 2:07d}" for n in range(count)],
    "diagnosis": [("NV", "MEL", "BCC")[n // 2 % 3] for n in range(count)],
})
assign_splits(table, folds=5, val_fraction=0.15, test_fraction=0.15, seed=42)
"""

_TRAIN = """
import sys
from pathlib import Path
from melanoma.training.run import train
from tests.unit import training_examples
folder, epochs = Path(sys.argv[1]), int(sys.argv[2])
training_examples.write_data(folder)
settings = {"max_epochs": epochs, "patience": 0}
train(training_examples.job(folder, folder / "output", training=settings))
"""

_TELL = """
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""
"""Not getrusage, whose figure a process inherits from the one that started it."""


def peak_of(program: str, *arguments: str) -> float:
    """Most memory of a Python program, in MB."""
    command = [sys.executable, "-c", program + _TELL, *arguments]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return int(done.stdout.splitlines()[-1]) / 1024


def measure(archive: Path | None) -> Iterator[Figure]:
    """Figures of the jobs that the images go through."""
    import numpy as np

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield _shard(archive, folder)
        for count in (FEW, MANY):
            shape = (count, PACK_SIZE, PACK_SIZE, 3)
            np.save(folder / f"{count}.npy", np.zeros(shape, np.uint8))
        size = str(PACK_SIZE)
        few, many = (peak_of(_PACK, name, str(count), size) for count in (FEW, MANY))
        yield _growth("pack", few, many)
        few, many = (peak_of(_SPLIT, str(count)) for count in (FEW, MANY))
        yield _growth("split, 5 folds", few, many)
        yield _training(folder)


def _shard(archive: Path | None, folder: Path) -> Figure:
    from tests.benchmarks.speed_of_images import write_zip

    jpegs = [save(rgb, 90) for rgb in photographs(archive, *LARGE, SHARD_IMAGES)]
    write_zip(folder / "images.zip", jpegs)
    names = json.dumps([f"ISIC_{number:07d}" for number in range(len(jpegs))])
    peak = peak_of(_SHARD, str(folder / "images.zip"), str(folder), names)
    what = f"remove_hair and resize, files of {LARGE[0]} x {LARGE[1]}"
    return figure("memory", what, peak, unit="MB", target="<= 500")


def _training(folder: Path) -> Figure:
    short, long = (peak_of(_TRAIN, str(folder / str(count)), str(count)) for count in EPOCHS)
    kilobytes = max(0.0, long - short) * 1024 / (EPOCHS[1] - EPOCHS[0])
    told = f"{long:.0f} MB after {EPOCHS[1]} epochs"
    return figure(
        "memory", "train: growth", kilobytes, unit="kB an epoch", target="<= 100", against=told
    )


def _growth(what: str, few: float, many: float) -> Figure:
    kilobytes = max(0.0, many - few) * 1024 / (MANY - FEW)
    told = f"{many:.0f} MB for {MANY:,} images"
    return figure(
        "memory", f"{what}: growth", kilobytes, unit="kB an image", target="<= 3", against=told
    )
