"""A disk that fills up while something is written: one message, the old file kept, nothing left."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import explain_examples
import numpy as np
import pandas as pd
import pytest
import torch
import training_examples
from runs import snakemake

from melanoma import drawing, files, style
from melanoma.config import Images
from melanoma.errors import InputError
from melanoma.explain.run import explain
from melanoma.shards import remove_hair_shard, resize_shard
from melanoma.store import Store, pack
from melanoma.training import checkpoints
from melanoma.training.checkpoints import load_model
from melanoma.training.run import train

Write = Callable[[Path], Any]


@contextlib.contextmanager
def no_room(most: int = 2000) -> Iterator[None]:
    """Let the kernel refuse files of more than `most` bytes, as it does where the disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def catalogue(archive_folder: Path) -> pd.DataFrame:
    """The first images of the drawn archive, as far as shards need them."""
    truth = pd.read_csv(archive_folder / "ISIC_2019_Training_GroundTruth.csv", nrows=6)
    member = "ISIC_2019_Training_Input/" + truth["image"] + ".jpg"
    return pd.DataFrame({"image": truth["image"], "member": member}).sort_values("image")


@pytest.fixture(scope="module")
def writers(
    archive_folder: Path, catalogue: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[str, Write]]:
    """What is written -> file name, and how."""
    made = tmp_path_factory.mktemp("made")
    archive = archive_folder / "ISIC_2019_Training_Input.zip"
    small = Images(size=32, shards=1)

    def hairless(path: Path) -> None:
        remove_hair_shard(archive, catalogue, path, images=small, shard=0, shards=1)

    hairless(made / "0.frames")
    resize_shard(made / "0.frames", made / "0.npy", images=small)
    model = load_model(explain_examples.checkpoint(made / "model.ckpt", image=False))
    recipe = {"hair_removal": "lines", "framing": "crop", "size": 32, "code": "0"}
    pixels = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    return {
        "table": ("t.csv", lambda p: files.write_table(p, pd.DataFrame({"a": range(5000)}))),
        "json": ("t.json", lambda p: files.write_json(p, list(range(5000)))),
        "shard of frames": ("0.frames", hairless),
        "shard of pixels": ("0.npy", lambda p: resize_shard(made / "0.frames", p, images=small)),
        "store": ("s.npy", lambda p: pack([made / "0.npy"], catalogue, p, recipe=recipe)),
        "checkpoint": ("m.ckpt", lambda p: checkpoints.save(p, {"a": torch.ones(5000)})),
        "picture": ("p.png", lambda p: drawing.write_png(p, pixels)),
        "figure": ("f.svg", _figure),
        "heat maps": ("gradcam", lambda p: _explain(model, p)),
    }


def _figure(path: Path) -> None:
    figure, (axes,) = style.new_figure(3, 2)
    axes.plot(range(300))
    style.save_figure(figure, path)


def _explain(model: Any, output: Path) -> None:
    from melanoma import config

    table = explain_examples.catalogue(8)
    raw = explain_examples.probabilities(table)
    settings = config.GradCam(per_class=1)
    explain(model, explain_examples.store(table), table, raw, raw, settings=settings, output=output)


KINDS = (
    *("table", "json", "shard of frames", "shard of pixels", "store", "checkpoint"),
    *("picture", "figure", "heat maps"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_written_is_said_and_can_be_written_later(kind, writers, tmp_path):
    name, write = writers[kind]
    path = tmp_path / name
    with no_room(), pytest.raises(InputError, match=r"no room for .*make room and run the same"):
        write(path)
    assert list(tmp_path.iterdir()) == []
    write(path)
    before = {part.name: part.stat().st_mtime_ns for part in tmp_path.iterdir()}
    with no_room(), pytest.raises(InputError, match="no room for"):
        write(path)
    kept = {part.name: part.stat().st_mtime_ns for part in tmp_path.iterdir()}
    # A store's recipe goes first: without it, what lies there counts as no store.
    assert kept == {part: time for part, time in before.items() if part != "s.json"}
    write(path)
    if kind == "store":
        Store.open(path).verify()


def test_a_training_goes_on_when_there_is_room_again(tmp_path):
    data = tmp_path / "data"
    training_examples.write_data(data)
    model = {"image": False}
    whole = training_examples.job(data, tmp_path / "whole", model)
    train(whole)
    broken = training_examples.job(data, tmp_path / "broken", model)
    for _ in range(3):  # a job is tried again by itself
        with no_room(20_000), pytest.raises(InputError, match=r"no room for best-0\.ckpt"):
            train(broken)
    train(broken)
    for name in ("model.ckpt", "last.ckpt"):
        first, second = (
            torch.load(job.output / name, weights_only=True)["state_dict"]
            for job in (whole, broken)
        )
        assert [key for key in first if not torch.equal(first[key], second[key])] == []


def test_a_report_that_finds_no_room_says_so_and_harms_nothing(finished_run, tmp_path):
    report = tmp_path / "report.html"
    report.symlink_to("/dev/full")
    told = snakemake(finished_run, "--report", str(report), check=False)
    assert told.returncode != 0
    assert "No space left on device" in told.stdout + told.stderr
