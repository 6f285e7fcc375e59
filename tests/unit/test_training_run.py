"""Whole trainings in this process: what comes out, resuming, stopping."""

import csv
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import training_examples

from melanoma.errors import InputError
from melanoma.training import bookkeeping, run, starts
from melanoma.training.checkpoints import load_model
from melanoma.training.module import Classifier, NonFiniteLossError
from melanoma.training.run import train
from melanoma.training.stages import Schedule

METADATA_ONLY = {"image": False}
FAST = {"max_epochs": 4, "lr": 1e-2}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    training_examples.write_data(folder)
    return folder


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_what_a_training_leaves(data, tmp_path, caplog):
    caplog.set_level(logging.INFO, "melanoma")
    job = training_examples.job(data, tmp_path / "fold0", training={"max_epochs": 2})
    result = train(job)
    starts.tidy(job.output)
    names = {path.name for path in job.output.iterdir()} - {"tensorboard"}
    assert names == set(starts.RESULTS)
    history = rows(job.output / "history.csv")
    assert [(row["epoch"], row["stage"]) for row in history] == [("0", "head"), ("1", "all")]
    assert float(history[0]["lr_stem"]) == 0 < float(history[1]["lr_stem"])
    scores = [float(row["val_balanced_accuracy"]) for row in history]
    assert result.best_epoch == int(np.argmax(scores))
    assert result.metrics["balanced_accuracy"] == pytest.approx(max(scores))
    assert (result.epochs, result.stopped_early) == (2, False)
    best, last = load_model(job.output / "model.ckpt"), load_model(job.output / "last.ckpt")
    assert (best.epoch, last.epoch) == (result.best_epoch, 1)
    assert best.metrics == result.metrics
    assert best.recipe["sha256"]
    assert rows(job.output / "restarts.csv") == []
    assert list(job.tensorboard.glob("events*"))
    said = caplog.text
    assert "epoch 0 (head)" in said
    assert "epoch 1 (all)" in said


def test_results_that_were_deleted_are_put_back_without_training(data, tmp_path, caplog):
    """As when a job is requeued between the end of its training and its own."""
    job = training_examples.job(data, tmp_path / "fold0", METADATA_ONLY, {"max_epochs": 2})
    first = train(job)
    before = {name: (job.output / name).read_bytes() for name in starts.RESULTS}
    for name in starts.RESULTS:
        (job.output / name).unlink()
    caplog.set_level(logging.INFO, "melanoma")
    again = train(job)
    assert "images/s" not in caplog.text
    assert again == first
    for name in ("history.csv", "restarts.csv"):
        assert (job.output / name).read_bytes() == before[name]


def test_stage_one_leaves_the_backbone_as_it_is(data, tmp_path):
    job = training_examples.job(data, tmp_path, training={"max_epochs": 2, "freeze_epochs": 2})
    train(job)
    trained = load_model(job.output / "last.ckpt").model
    torch.manual_seed(job.experiment.training.seed)
    fresh = type(trained)(job.experiment.model, 14)
    for (key, value), start in zip(
        trained.state_dict().items(), fresh.state_dict().values(), strict=True
    ):
        is_same = torch.equal(value, start)
        assert is_same == key.startswith("backbone."), key


def test_learning_shows(data, tmp_path):
    job = training_examples.job(
        data,
        tmp_path,
        {"backbone": "resnet18"},
        {"max_epochs": 5, "freeze_epochs": 0, "metadata_dropout": 0.5},
    )
    train(job)
    losses = [float(row["train_loss"]) for row in rows(job.output / "history.csv")]
    assert losses[-1] < 0.8 * losses[0]


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    job = training_examples.job(data, tmp_path_factory.mktemp("whole"))
    train(job)
    return job


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_resumed_training_equals_an_undisturbed_one(data, whole, tmp_path, monkeypatch, epoch):
    broken = training_examples.job(data, tmp_path / "broken")
    failing = pytest.raises(OSError, match="disk gone")
    with training_examples.interrupted(monkeypatch, epoch, 1), failing:
        train(broken)
    begun = []
    original = Classifier.on_train_epoch_start
    monkeypatch.setattr(
        Classifier,
        "on_train_epoch_start",
        lambda self: (begun.append(self.current_epoch), original(self)),
    )
    torch.rand(7)
    result = train(broken)
    assert begun == list(range(epoch, 3))
    assert result.epochs == 3
    for name in ("model.ckpt", "last.ckpt"):
        training_examples.assert_same_weights(whole.output / name, broken.output / name)
    timeless = [
        [{k: v for k, v in row.items() if "second" not in k} for row in rows(out / "history.csv")]
        for out in (whole.output, broken.output)
    ]
    assert timeless[0] == timeless[1]
    (restart,) = rows(broken.output / "restarts.csv")
    assert restart["cause"] == "error: OSError: disk gone"
    assert restart["epoch"] == str(epoch)


def test_patience_ends_training_and_survives_a_restart(data, tmp_path, monkeypatch):
    settings = {**FAST, "max_epochs": 30, "patience": 2, "lr": 1e-9}
    whole = training_examples.job(data, tmp_path / "whole", METADATA_ONLY, settings)
    undisturbed = train(whole)
    assert undisturbed.stopped_early
    assert undisturbed.epochs == undisturbed.best_epoch + 3 < 30
    broken = training_examples.job(data, tmp_path / "broken", METADATA_ONLY, settings)
    failing = pytest.raises(OSError, match="disk gone")
    with training_examples.interrupted(monkeypatch, undisturbed.epochs - 1, 0), failing:
        train(broken)
    again = train(broken)
    assert (again.epochs, again.best_epoch) == (undisturbed.epochs, undisturbed.best_epoch)
    training_examples.assert_same_weights(whole.output / "model.ckpt", broken.output / "model.ckpt")


@pytest.mark.parametrize(("freeze", "stops"), [(0, 3), (1, 3), (2, 3), (3, 4), (5, 6)])
def test_patience_begins_with_stage_two(tmp_path, freeze, stops):
    """The best epoch is 1; patience is 2."""
    folder = starts.ResumeFolder(tmp_path, 0)
    kept = bookkeeping.Bookkeeping(folder, None, tmp_path)
    settings = training_examples.experiment(
        None, {"max_epochs": 20, "freeze_epochs": freeze, "patience": 2}
    )
    module = SimpleNamespace(settings=settings.training, schedule=Schedule.of(settings, 5))
    for epoch in range(1, 20):
        kept.best_epoch = 1
        kept._decide(None, module, epoch)
        if kept.stopped_early:
            break
    assert epoch == stops


def test_killed_between_the_end_and_its_results(data, tmp_path, monkeypatch):
    job = training_examples.job(data, tmp_path, METADATA_ONLY, FAST)
    with monkeypatch.context() as patch:
        patch.setattr(run, "publish_results", lambda *_: None)
        before = train(job)
    assert not (job.output / "model.ckpt").exists()
    after = train(job)
    assert (after.epochs, after.best_epoch) == (4, before.best_epoch)
    assert len(rows(job.output / "history.csv")) == 4
    assert load_model(job.output / "model.ckpt").epoch == before.best_epoch


def test_a_loss_that_is_not_finite_stops_and_names_the_batch(data, tmp_path, monkeypatch):
    original = Classifier.training_step

    def poisoned(self, batch, batch_idx):
        if (self.current_epoch, batch_idx) == (1, 1):
            batch.metadata.fill_(float("nan"))
        return original(self, batch, batch_idx)

    monkeypatch.setattr(Classifier, "training_step", poisoned)
    job = training_examples.job(data, tmp_path, METADATA_ONLY, FAST)
    with pytest.raises(NonFiniteLossError, match=r"epoch 1, step 1.*lower training\.lr"):
        train(job)
    (table,) = job.output.glob("resume-*/not-finite-epoch1-step1.csv")
    images = [row["image"] for row in rows(table)]
    assert len(set(images)) == 16
    assert [row["epoch"] for row in rows(table.parent / "history.csv")] == ["0"]
    with pytest.raises(NonFiniteLossError):
        train(job)
    with pytest.raises(InputError, match="last two starts"):
        train(job)


@pytest.mark.parametrize(
    ("model", "training"),
    [
        ({"metadata": False}, {"loss": "plain", "resident": "on"}),
        ({"fusion": "metablock", "metadata_fields": ["site"]}, {"loss": "focal"}),
        (METADATA_ONLY, {"batch_size": 64, "exclude_sources": ["BCN"]}),
    ],
)
def test_variants_train(data, tmp_path, model, training):
    job = training_examples.job(data, tmp_path, model, {"max_epochs": 2, **training})
    assert train(job).epochs == 2
    load_model(job.output / "model.ckpt")


@pytest.mark.parametrize("wanted", ["on", "off"])
def test_whole_batches_of_the_second_stage_are_compiled(data, tmp_path, monkeypatch, wanted):
    compiled = []

    def compile(forward, dynamic):
        def run(images, metadata):
            compiled.append(len(images))
            return forward(images, metadata)

        return run

    monkeypatch.setattr(torch, "compile", compile)
    training = {"compile": wanted, "max_epochs": 3, "batch_size": 12}
    job = training_examples.job(data, tmp_path / "fold0", training=training)
    train(job)
    # 40 images: three whole batches, and a last one of four; two epochs after the frozen one.
    assert compiled == ([12] * 6 if wanted == "on" else [])
    assert not any(
        "_orig_mod" in name for name in training_examples.weights_of(job.output / "model.ckpt")
    )


@pytest.mark.parametrize(
    ("accelerator", "training", "compiler", "expected"),
    [
        ("gpu", {"max_epochs": 2000}, "/usr/bin/cc", True),
        ("gpu", {"max_epochs": 2000}, None, False),
        ("gpu", {"max_epochs": 2000, "deterministic": True}, "/usr/bin/cc", False),
        ("gpu", {"max_epochs": 10}, "/usr/bin/cc", False),
        ("cpu", {"max_epochs": 2000}, "/usr/bin/cc", False),
    ],
)
def test_it_compiles_by_itself_where_that_repays(
    monkeypatch, accelerator, training, compiler, expected
):
    monkeypatch.setattr(run.shutil, "which", lambda name: compiler)
    setting = SimpleNamespace(
        job=SimpleNamespace(experiment=training_examples.experiment(training=training)),
        how=SimpleNamespace(accelerator=accelerator, ranks=1),
        tables=SimpleNamespace(train=range(1000)),
    )
    assert run._compiles(setting) is expected


def test_deterministic_algorithms_are_used_and_give_the_same_weights(data, tmp_path):
    settings = {"max_epochs": 2, "deterministic": True}
    jobs = [training_examples.job(data, tmp_path / name, training=settings) for name in "ab"]
    try:
        for job in jobs:
            train(job)
            assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    training_examples.assert_same_weights(*(job.output / "last.ckpt" for job in jobs))


def test_progress_is_said_within_an_epoch(data, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "melanoma")
    monkeypatch.setattr(bookkeeping, "PROGRESS_SECONDS", 0.0)
    train(training_examples.job(data, tmp_path, METADATA_ONLY, {"max_epochs": 1}))
    assert "epoch 0, step 2 of 3: loss" in caplog.text


def test_pretrained_weights(data, tmp_path):
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(9)
    weights = tmp_path / "resnet18.pth"
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), weights)
    settings = {"max_epochs": 1, "freeze_epochs": 1}
    model = {"backbone": "resnet18", "pretrained": True}
    job = training_examples.job(data, tmp_path / "out", model, settings)
    with pytest.raises(InputError, match="no file of weights"):
        train(job)
    object.__setattr__(job, "weights", weights)
    train(job)
    stem = load_model(job.output / "last.ckpt").model.backbone.conv1.weight
    torch.testing.assert_close(stem, torch.load(weights)["conv1.weight"])
