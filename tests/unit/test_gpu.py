"""What only a GPU can show: that the host never waits for it, and that it agrees with the CPU."""

import numpy as np
import pytest
import torch
import training_examples

from melanoma.catalogue import read_catalogue
from melanoma.explain.cam import compute_maps
from melanoma.prediction import predict_store
from melanoma.store import Store
from melanoma.training import history
from melanoma.training.augment import Augmentation
from melanoma.training.batches import HostPixels, ResidentPixels
from melanoma.training.checkpoints import load_model
from melanoma.training.module import Classifier
from melanoma.training.run import train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

GPU = {"gpus_per_node": 1, "accelerator": "gpu", "batch_size": 16}
WIDTH = 20


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    training_examples.write_data(folder, train=480, val=40, test=16)
    return folder


@pytest.fixture
def images(data):
    return Store.open(data / "none-crop-32.npy").pixels


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("trained") / "fold0"
    training = {**GPU, "max_epochs": 4, "lr": 1e-2, "compile": "off"}
    return train(training_examples.job(data, output, training=training))


@pytest.mark.parametrize("where", [ResidentPixels, HostPixels])
def test_batches_arrive_as_they_lie_in_the_store(images, where):
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(images))[:300]
    parts = [rng.permutation(300)[:size] for size in [64] * 20 + [7]]
    device = torch.device("cuda", 0)
    for part, pixels in zip(parts, where(images, rows, device).stream(parts), strict=True):
        # Work that is under way while the next batch is being copied.
        torch.randn(2000, 2000, device=device).pow(3).sum()
        assert np.array_equal(pixels.cpu().numpy(), images[rows[part]])


def test_augmentation_is_the_cpus(images):
    fields = {"age": slice(0, 5), "site": slice(5, WIDTH)}
    augmentation = Augmentation(3, fields, torch.zeros(WIDTH), 0.3)
    pixels, rows = torch.from_numpy(images[:16].copy()), torch.arange(16)
    vectors = torch.randn(16, WIDTH)
    expected = augmentation.images(pixels, rows, 2), augmentation.metadata(vectors, rows, 2)
    augmentation = augmentation.cuda()
    found = (
        augmentation.images(pixels.cuda(), rows.cuda(), 2),
        augmentation.metadata(vectors.cuda(), rows.cuda(), 2),
    )
    # Matrix products of the GPU round to 10 bits; pixels have 8.
    assert torch.allclose(found[0].cpu(), expected[0], atol=0.02)
    assert torch.equal(found[1].cpu(), expected[1])


@pytest.mark.parametrize("resident", ["on", "off"])
def test_the_host_never_waits_within_an_epoch(data, tmp_path, monkeypatch, resident):
    before, after = Classifier.on_train_batch_start, Classifier.on_train_batch_end
    watched = []

    def begin(module, batch, batch_idx):
        if module.current_epoch and batch_idx == 5:
            torch.cuda.set_sync_debug_mode("error")
        before(module, batch, batch_idx)

    def end(module, outputs, batch, batch_idx):
        if module.current_epoch and batch_idx == 20:
            torch.cuda.set_sync_debug_mode("default")
            watched.append(module.current_epoch)
        after(module, outputs, batch, batch_idx)

    monkeypatch.setattr(Classifier, "on_train_batch_start", begin)
    monkeypatch.setattr(Classifier, "on_train_batch_end", end)
    training = {**GPU, "max_epochs": 2, "resident": resident, "compile": "off"}
    try:
        train(training_examples.job(data, tmp_path / "fold0", training=training))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert watched == [1]


def test_learning_shows_and_memory_is_told(trained):
    assert trained.metrics["balanced_accuracy"] > 0.2
    epochs = history.read(trained.output / "history.csv")
    losses = [float(epoch["train_loss"]) for epoch in epochs]
    assert losses[-1] < losses[0]
    assert all(float(epoch["gpu_memory_mb"]) > 0 for epoch in epochs)


@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed", "32"])
def test_precisions_train(data, tmp_path, precision):
    training = {**GPU, "max_epochs": 4, "lr": 1e-2, "precision": precision, "compile": "off"}
    result = train(training_examples.job(data, tmp_path / "fold0", training=training))
    assert np.isfinite(list(result.metrics.values())).all()
    assert result.metrics["balanced_accuracy"] > 0.2


def test_a_compiled_training_leaves_the_same_checkpoint(data, trained, tmp_path):
    training = {**GPU, "max_epochs": 4, "lr": 1e-2, "compile": "on"}
    result = train(training_examples.job(data, tmp_path / "fold0", training=training))
    compiled, plain = (
        training_examples.weights_of(folder / "model.ckpt")
        for folder in (result.output, trained.output)
    )
    assert compiled.keys() == plain.keys()
    assert result.metrics["balanced_accuracy"] > 0.2


def test_a_resumed_training_equals_an_undisturbed_one(data, tmp_path, monkeypatch):
    training = {**GPU, "max_epochs": 3, "deterministic": True}
    whole = train(training_examples.job(data, tmp_path / "whole", training=training))
    job = training_examples.job(data, tmp_path / "part", training=training)
    failing = pytest.raises(OSError, match="disk gone")
    with training_examples.interrupted(monkeypatch, 2, 3), failing:
        train(job)
    part = train(job)
    training_examples.assert_same_weights(whole.output / "last.ckpt", part.output / "last.ckpt")


def test_predictions_and_heat_maps_are_the_cpus(data, trained):
    store = Store.open(data / "none-crop-32.npy")
    catalogue = read_catalogue(data / "train.csv")
    chosen = list(catalogue["image"][:32])
    tables, maps = [], []
    for device in ("cpu", "cuda"):
        model = load_model(trained.output / "model.ckpt", device=device)
        tables.append(predict_store(model, store, catalogue, chosen).iloc[:, 1:].to_numpy(float))
        metadata = model.encoder.encode(catalogue.iloc[:32])
        targets = tables[0][:, :8].argmax(axis=1)
        pixels = np.asarray(store.pixels[store.rows(chosen)])
        found = compute_maps(model.model, pixels, metadata, targets, method="gradcam")
        maps.append(found.heat)
    assert np.allclose(tables[0], tables[1], atol=2e-3)
    assert np.abs(maps[0] - maps[1]).mean() < 0.02
