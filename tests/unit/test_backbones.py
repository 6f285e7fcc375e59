"""Every backbone that the documents name: trained, saved and loaded, explained, exported."""

import numpy as np
import onnxruntime
import pytest
import torch
import training_examples as examples

from melanoma import export
from melanoma.backbones import BACKBONES
from melanoma.explain.cam import compute_maps, predict_probabilities
from melanoma.training.checkpoints import load_model
from melanoma.training.run import train


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    examples.write_data(folder, train=16, val=8)
    return folder


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_backbone_goes_the_whole_way(data, tmp_path, backbone):
    # Both stages, one step each; a rate that moves the stem too.
    training = {"max_epochs": 2, "freeze_epochs": 1, "lr": 0.01}
    job = examples.job(data, tmp_path, {"backbone": backbone}, training)
    assert train(job).epochs == 2
    model = load_model(tmp_path / "model.ckpt")
    again = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    first = next(name for name in again if name.startswith("backbone."))
    start = dict(_untrained(job, model).named_parameters())
    assert not torch.equal(again[first], start[first]), "the second stage trains the first layer"

    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    metadata = random.random((8, model.encoder.width), dtype=np.float32)
    maps = compute_maps(model.model, pixels, metadata, range(8), method="gradcam")
    heat = maps.heat
    assert maps.layer.cells == 8, "of 64 pixels, the last layer of at least 6 x 6 cells"
    assert heat.shape == (8, 64, 64)
    assert heat.min() == 0
    assert heat.max() == pytest.approx(1, abs=1e-5)

    target = export.export_onnx(tmp_path / "model.ckpt", tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    small = pixels[:, : examples.SIZE, : examples.SIZE].copy()
    found = session.run(None, {"pixels": small, "metadata": metadata})[0]
    expected = predict_probabilities(model.model, small, metadata)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def _untrained(job, model):
    from melanoma.model import FusionModel

    torch.manual_seed(job.experiment.training.seed)
    return FusionModel(job.experiment.model, model.encoder.width)
