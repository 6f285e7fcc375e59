"""Trainings by two processes on the CPU: what the ranks must agree on, and how they end."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import training_examples

from melanoma.catalogue import read_catalogue
from melanoma.model import to_input
from melanoma.splits import read_splits
from melanoma.store import Store
from melanoma.training.checkpoints import load_model
from melanoma.training.figures import validation_figures
from melanoma.training.fold import fold_tables
from melanoma.training.run import train

WORKER = Path(__file__).with_name("ddp_worker.py")
RESNET = {"backbone": "resnet18"}
TWO = {"gpus_per_node": 2, "max_epochs": 4, "freeze_epochs": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    training_examples.write_data(folder)
    return folder


def work(data, output, **options):
    command = [sys.executable, str(WORKER), str(data), str(output), json.dumps(options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("ddp")
    done = work(data, output / "fold0", model=RESNET, training=TWO, dump=str(output / "dump"))
    assert done.returncode == 0, done.stderr
    return output, done.stderr


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_ranks_are_bit_identical_after_every_epoch_of_both_stages(trained):
    output, _ = trained
    states = []
    for epoch in range(4):
        first, second = (
            json.loads((output / "dump" / f"epoch{epoch}-rank{rank}.json").read_text())
            for rank in (0, 1)
        )
        assert first == second
        states.append(first)
    backbone = [key for key in states[0] if key.startswith("backbone.")]
    head = [key for key in states[0] if key.startswith("classifier.")]
    assert {key for key in backbone if states[0][key] != states[1][key]} == set()
    moved = {key for key in backbone if states[1][key] != states[2][key]}
    assert moved == set(backbone)
    assert all(states[0][key] != states[1][key] for key in head)


def test_two_ranks_validate_like_one(data, trained):
    output, _ = trained
    model = load_model(output / "fold0" / "model.ckpt")
    store = Store.open(data / "none-crop-32.npy")
    tables = fold_tables(
        store,
        read_catalogue(data / "train.csv"),
        read_splits(data / "splits.csv"),
        fold=0,
        fields=model.experiment.model.metadata_fields,
    )
    assert len(tables.val) % 2 == 1
    with torch.inference_mode():
        images = to_input(torch.from_numpy(store.pixels[tables.val.rows].copy()))
        logits = model.model(images, torch.from_numpy(tables.val.metadata))
    figures = validation_figures(
        logits,
        torch.from_numpy(tables.val.labels),
        loss="weighted",
        weights=torch.from_numpy(tables.class_weights),
    )
    row = rows(output / "fold0" / "history.csv")[model.epoch]
    for name, value in figures.values.items():
        assert float(row[f"val_{name}"]) == pytest.approx(value, abs=1e-6), name


def test_only_rank_zero_speaks(trained):
    _, said = trained
    assert said.count("epoch 3 (all)") == 1
    assert all(" INFO " in line for line in said.splitlines()), said


def test_killed_in_the_middle_of_an_epoch(data, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(training_examples.job(data, whole, RESNET))
    killed = work(data, broken, model=RESNET, action={"do": "SIGKILL", "epoch": 1, "step": 1})
    assert killed.returncode == -9
    done = work(data, broken, model=RESNET)
    assert done.returncode == 0, done.stderr
    assert "resuming after epoch 0" in done.stderr
    assert "epoch 0 (head)" not in done.stderr
    for name in ("model.ckpt", "last.ckpt"):
        first, second = (
            torch.load(out / name, weights_only=True)["state_dict"] for out in (whole, broken)
        )
        assert [key for key in first if not torch.equal(first[key], second[key])] == []
    assert [row["epoch"] for row in rows(broken / "history.csv")] == ["0", "1", "2"]
    assert "ended without notice" in rows(broken / "restarts.csv")[0]["cause"]


@pytest.mark.parametrize(
    ("action", "cause"),
    [("SIGKILL", "lost another process"), ("raise", "lost another process")],
)
def test_the_loss_of_a_rank_ends_the_others(data, tmp_path, action, cause):
    act = {"do": action, "epoch": 0, "step": 0, "rank": 1}
    done = work(data, tmp_path, training=TWO, action=act)
    assert done.returncode != 0
    (folder,) = tmp_path.glob("resume-*")
    (row,) = rows(folder / "restarts.csv")
    assert row["cause"].startswith(cause)
    assert (folder / "failure-1.json").exists() == (action == "raise")


def test_a_rank_that_lags_changes_nothing(data, trained, tmp_path):
    act = {"do": "sleep", "epoch": 1, "step": 0, "rank": 1}
    done = work(data, tmp_path, model=RESNET, training=TWO, action=act)
    assert done.returncode == 0, done.stderr
    for name in ("model.ckpt", "last.ckpt"):
        first, second = (
            torch.load(out / name, weights_only=True)["state_dict"]
            for out in (trained[0] / "fold0", tmp_path)
        )
        assert [key for key in first if not torch.equal(first[key], second[key])] == []


def test_a_signal_ends_all_ranks_at_once(data, tmp_path):
    act = {"do": "SIGTERM", "epoch": 0, "step": 1, "rank": 0}
    done = work(data, tmp_path, training=TWO, action=act)
    assert done.returncode == 143, done.stderr
    assert "SIGTERM: stopping after 0 epochs, where the next start goes on" in done.stderr
    (folder,) = tmp_path.glob("resume-*")
    assert [row["cause"] for row in rows(folder / "restarts.csv")] == ["SIGTERM"]
