import json
import logging
import sys

import explain_examples
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from melanoma import export, files, isic
from melanoma.errors import InputError
from melanoma.explain.cam import predict_probabilities
from melanoma.training.checkpoints import load_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fold0")
    explain_examples.checkpoint(folder / "model.ckpt", size=32)
    files.write_json(folder / "decision.json", explain_examples.decision())
    return folder


@pytest.fixture(scope="module")
def expected(folder):
    model = load_model(folder / "model.ckpt")
    pixels = explain_examples.pixels(3, 32)
    metadata = model.encoder.encode(explain_examples.catalogue(3))
    return pixels, metadata, predict_probabilities(model.model, pixels, metadata)


def test_onnx_gives_the_models_probabilities(folder, expected, caplog):
    caplog.set_level(logging.INFO)
    target = export.export_onnx(folder / "model.ckpt", folder / "model.onnx")
    pixels, metadata, probabilities = expected
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    assert [(one.name, one.type) for one in session.get_inputs()] == [
        ("pixels", "tensor(uint8)"),
        ("metadata", "tensor(float)"),
    ]
    for count in (1, 3):
        feed = {"pixels": pixels[:count], "metadata": metadata[:count]}
        found = session.run(None, feed)[0]
        np.testing.assert_allclose(found, probabilities[:count], atol=1e-4)
    # The exporter's own hundred lines are not the user's business.
    assert {record.name for record in caplog.records} == {"melanoma.export"}
    properties = {one.key: json.loads(one.value) for one in onnx.load(target).metadata_props}
    assert list(properties["classes"]) == list(isic.CLASSES)
    assert properties["preprocessing"]["size"] == 32
    assert properties["preprocessing"]["hair_removal"] == "none"
    assert len(properties["metadata"]["entries"]) == properties["metadata"]["width"] == 14
    assert properties["decision"] == explain_examples.decision()
    assert properties["ensemble"] is None
    assert "no medical device" in properties["statement"]
    assert b"melanoma/export.py" not in target.read_bytes()


def test_program_gives_the_models_probabilities(folder, expected):
    target = export.export_program(folder / "model.ckpt", folder / "model.pt2")
    pixels, metadata, probabilities = expected
    extra = {export.DESCRIPTION: ""}
    program = torch.export.load(target, extra_files=extra).module()
    found = program(torch.from_numpy(pixels), torch.from_numpy(metadata)).detach().numpy()
    np.testing.assert_allclose(found, probabilities, atol=1e-4)
    assert list(json.loads(extra[export.DESCRIPTION])["classes"]) == list(isic.CLASSES)


def test_metadata_alone_has_one_input(tmp_path):
    checkpoint = explain_examples.checkpoint(tmp_path / "model.ckpt", image=False)
    target = export.export_onnx(checkpoint, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["metadata"]
    properties = {one.key: json.loads(one.value) for one in onnx.load(target).metadata_props}
    assert properties["preprocessing"] is None
    assert properties["decision"] is None


@pytest.mark.parametrize("tta", [False, True])
def test_a_decision_of_averaged_views_is_told(tmp_path, caplog, tta):
    checkpoint = explain_examples.checkpoint(tmp_path / "model.ckpt", image=False)
    decision = explain_examples.decision(tta=tta)
    files.write_json(tmp_path / "decision.json", decision)
    assert export.describe(load_model(checkpoint))["decision"] == decision
    assert ("all eight and average" in caplog.text) == tta


def test_a_decision_of_an_older_version_is_no_part_of_an_export(tmp_path):
    checkpoint = explain_examples.checkpoint(tmp_path / "model.ckpt", image=False)
    decision = explain_examples.decision()
    del decision["strength"]
    files.write_json(tmp_path / "decision.json", decision)
    with pytest.raises(InputError, match=r"decision\.json.*strength: Field required"):
        export.describe(load_model(checkpoint))


def test_an_experiments_folder_stands_for_its_one_model(tmp_path):
    explain_examples.checkpoint(tmp_path / "training/one/fold0/model.ckpt", image=False)
    predictions = tmp_path / "predictions/one"
    decision = explain_examples.decision(members=["../../training/one/fold0/model.ckpt"])
    files.write_json(predictions / "decision.json", decision)
    target = export.export_onnx(predictions, tmp_path / "model.onnx")
    properties = {one.key: json.loads(one.value) for one in onnx.load(target).metadata_props}
    assert properties["ensemble"] == decision
    assert properties["decision"] is None
    several = decision | {"members": [f"../../training/one/fold{n}/model.ckpt" for n in (0, 1)]}
    files.write_json(predictions / "decision.json", several)
    with pytest.raises(InputError, match=r"has 2 models.*training/one/fold0/model\.ckpt"):
        export.export_onnx(predictions, tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()
    with pytest.raises(InputError, match="without an experiment's decision"):
        export.export_onnx(tmp_path, tmp_path / "other.onnx")


def test_entries_follow_the_encoders_vector():
    _, encoder, _ = explain_examples.fusion_model()
    entries = export._metadata_contract(encoder)["entries"]
    for field, part in encoder.field_slices.items():
        assert all(entry.startswith(field) for entry in entries[part])
        assert entries[part][-1] == f"{field} is missing: 1 or 0"


def test_entries_of_what_training_never_saw():
    seen = explain_examples.catalogue().assign(age=np.nan, sex="male")
    _, encoder, _ = explain_examples.fusion_model(trained_on=seen)
    entries = export._metadata_contract(encoder)["entries"]
    never = "0 (not in training, counts as missing)"
    assert [entries[0], *entries[2:4]] == [
        f"age: {never}",
        f"sex is 'female': {never}",
        "sex is 'male': 1 or 0",
    ]


def test_an_export_that_differs_is_not_written(tmp_path, monkeypatch):
    checkpoint = explain_examples.checkpoint(tmp_path / "model.ckpt", image=False)
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(InputError, match=r"model\.pt2: not written"):
        export.export_program(checkpoint, tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == [checkpoint]


def test_without_onnx_the_cure_is_named(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match=r"onnxscript is not installed; pip install"):
        export.export_onnx(folder / "model.ckpt", tmp_path / "model.onnx")
