"""What the measured speeds rest on, counted: calls, bytes and allocations, which no noise touches.

The speeds themselves are measured by `make bench`.
"""

from __future__ import annotations

import cProfile
import math
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
import simplejpeg
import torch

from melanoma import images, splits
from melanoma.archive import Archive
from melanoma.evaluation import bootstrap, metrics
from melanoma.inspection import inspect_shard
from melanoma.store import Store, pack
from melanoma.synthetic import draw_image
from melanoma.training.batches import HostPixels
from tests.benchmarks.cost_of_start import ROOT, SHARD_SCRIPTS, imports_of
from tests.benchmarks.samples import save

SIZE = 224


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Calls of OpenCV's functions and of the JPEG decoder, and the bytes that they gave back."""
    told = SimpleNamespace(calls=Counter(), bytes=0)

    def counting(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **settings: object) -> object:
            result = function(*arguments, **settings)
            told.calls[name] += 1
            parts = result if isinstance(result, tuple | list) else [result]
            told.bytes += sum(part.nbytes for part in parts if isinstance(part, np.ndarray))
            return result

        return call

    for name in dir(cv2):
        function = getattr(cv2, name)
        if name[0].islower() and callable(function) and not isinstance(function, type):
            monkeypatch.setattr(cv2, name, counting(name, function))
    decode = simplejpeg.decode_jpeg
    monkeypatch.setattr(simplejpeg, "decode_jpeg", counting("decode_jpeg", decode))
    return told


@pytest.mark.parametrize(
    ("width", "height", "denominator", "most"),
    [(600, 450, 1, 14.5), (1024, 768, 2, 20.5), (1024, 1024, 2, 14.5), (2000, 1500, 2, 15.3)],
)
def test_an_image_is_decoded_once_at_reduced_scale_and_worked_on_small(
    counted, width, height, denominator, most
):
    jpeg = save(draw_image("MEL", [1], 0, width=width, height=height), 90)
    counted.calls.clear()
    counted.bytes = 0
    images.prepare(jpeg, size=SIZE, framing="crop", hair_removal="lines")
    assert (counted.calls["decode_jpeg"], counted.calls["imdecode"]) == (1, 0)
    assert counted.calls["inpaint"] == 0
    decoded = 3 * math.ceil(width / denominator) * math.ceil(height / denominator)
    assert counted.bytes <= most * decoded


def test_memory_for_an_image_is_a_few_times_its_pixels():
    jpeg = save(draw_image("NV", [2], 0, width=1024, height=1024), 90)
    images.prepare(jpeg, size=SIZE, framing="crop", hair_removal="lines")
    peak = peak_of(lambda: images.prepare(jpeg, size=SIZE, framing="crop", hair_removal="lines"))
    assert peak <= 8 * 3 * 512 * 512


def peak_of(work: Callable[[], object]) -> int:
    """Most bytes that Python and numpy held at once for some work."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_inspecting_reads_and_decodes_each_image_once(archive_folder, counted, monkeypatch):
    reads = Counter()
    read = Archive.read

    def counting(archive: Archive, member: str) -> bytes:
        reads[member] += 1
        return read(archive, member)

    monkeypatch.setattr(Archive, "read", counting)
    table = inspect_shard(archive_folder / "ISIC_2019_Training_Input.zip", 0, 4)
    assert set(reads) == set(table["member"])
    assert set(reads.values()) == {1}
    assert (counted.calls["decode_jpeg"], counted.calls["imdecode"]) == (len(table), 0)


def packed(folder: Path, count: int, size: int = 8) -> Path:
    """A store of so many images."""
    folder.mkdir()
    np.save(folder / "shard.npy", np.zeros((count, size, size, 3), np.uint8))
    recipe = {"hair_removal": "lines", "framing": "crop", "size": size, "code": ""}
    table = pd.DataFrame({"image": [f"ISIC_{number:07d}" for number in range(count)]})
    pack([folder / "shard.npy"], table, folder / "store.npy", recipe=recipe)
    return folder / "store.npy"


def test_opening_a_store_costs_the_same_whatever_it_holds(tmp_path):
    few, many = packed(tmp_path / "few", 10), packed(tmp_path / "many", 20_000)
    Store.open(few)
    small, large = (peak_of(lambda path=path: Store.open(path)) for path in (few, many))
    assert large <= 1.2 * small + 2_000


def test_packing_holds_no_images(tmp_path):
    packed(tmp_path / "first", 10)
    pixels = 4_000 * 32 * 32 * 3
    assert peak_of(lambda: packed(tmp_path / "many", 4_000, size=32)) <= pixels + 6_000_000
    shard = tmp_path / "many" / "shard.npy"
    table = pd.DataFrame({"image": [f"ISIC_{number:07d}" for number in range(4_000)]})
    recipe = {"hair_removal": "lines", "framing": "crop", "size": 32, "code": ""}
    peak = peak_of(lambda: pack([shard], table, tmp_path / "store.npy", recipe=recipe))
    assert peak <= 4_000_000


def test_a_batch_is_copied_once_into_memory_that_is_there_already(monkeypatch):
    store = np.zeros((64, 16, 16, 3), np.uint8)
    source = HostPixels(store, np.arange(64), torch.device("cpu"))
    parts = [np.arange(start, start + 16) for start in range(0, 64, 16)]
    list(source.stream(parts))
    copied = []
    select = torch.index_select

    def counting(*arguments: object, out: torch.Tensor) -> torch.Tensor:
        copied.append(out.numel())
        return select(*arguments, out=out)

    monkeypatch.setattr(torch, "index_select", counting)
    peak = peak_of(lambda: list(source.stream(parts)))
    assert copied == [16 * 16 * 16 * 3] * 4
    assert peak < 16 * 16 * 16 * 3


def test_resamples_are_counted_in_blocks_not_one_by_one(monkeypatch):
    rng = np.random.default_rng(0)
    truth, probabilities = rng.integers(0, 8, 1_000), rng.dirichlet(np.ones(8), 1_000)
    calls = []
    compute = metrics.compute
    monkeypatch.setattr(
        metrics, "compute", lambda *given: calls.append(given[2].shape) or compute(*given)
    )
    resamples = bootstrap.Resamples.by_group(np.arange(1_000), 4_000)
    bootstrap.replicate_figures(truth, probabilities, resamples)
    assert sum(columns for _, columns in calls) == 4_000
    assert len(calls) <= math.ceil(1_000 * 4_000 / bootstrap._CELLS)


def test_splitting_takes_a_few_calls_a_lesion():
    lesions = 5_000
    table = pd.DataFrame(
        {
            "image": [f"ISIC_{number:07d}" for number in range(2 * lesions)],
            "lesion_id": [f"HAM_{number // 2:07d}" for number in range(2 * lesions)],
            "diagnosis": [("NV", "MEL", "BCC")[number // 2 % 3] for number in range(2 * lesions)],
        }
    )
    settings = {"folds": 5, "val_fraction": 0.15, "test_fraction": 0.0, "seed": 1}
    splits.assign_splits(table, **settings)
    profile = cProfile.Profile()
    profile.runcall(splits.assign_splits, table, **settings)
    calls = sum(entry.callcount for entry in profile.getstats())
    assert calls <= 20 * lesions + 10_000


@pytest.mark.parametrize("script", SHARD_SCRIPTS)
def test_a_shards_job_imports_little(script):
    program = f"import sys\n{imports_of(ROOT / 'scripts' / f'{script}.py')}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    tops = {name.split(".")[0] for name in done.stdout.split()}
    assert not tops & {
        "torch",
        "torchvision",
        "pytorch_lightning",
        "matplotlib",
        "sklearn",
        "scipy",
    }
