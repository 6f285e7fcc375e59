import json

import pytest
import torch
import training_examples

from melanoma import isic
from melanoma.errors import InputError
from melanoma.metadata import MetadataEncoder
from melanoma.model import FusionModel
from melanoma.training import checkpoints
from melanoma.training.checkpoints import Provenance, contents, load_model, save

ENCODER = MetadataEncoder(("age", "sex"), 50.0, 48.0, 12.0, {"sex": isic.SEXES})


def written(path, **changes):
    experiment = training_examples.experiment()
    torch.manual_seed(0)
    model = FusionModel(experiment.model, ENCODER.width)
    provenance = Provenance(experiment, ENCODER, isic.CLASSES, {"sha256": "ab"}, 2, "code")
    metrics = {"balanced_accuracy": 0.5, "macro_auroc": float("nan")}
    values = contents(provenance, model.state_dict(), epoch=4, metrics=metrics)
    save(path, values | changes)
    return model


def test_round_trip(tmp_path):
    path = tmp_path / "model.ckpt"
    model = written(path)
    plain = torch.load(path, weights_only=True)
    assert plain["recipe"] == {"sha256": "ab"}
    loaded = load_model(path)
    assert (loaded.epoch, loaded.fold, loaded.path) == (4, 2, path)
    assert loaded.metrics["balanced_accuracy"] == 0.5
    assert loaded.classes == isic.CLASSES
    assert loaded.encoder == ENCODER
    assert loaded.experiment == training_examples.experiment()
    assert not loaded.model.training
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[key], value)


def test_a_checkpoint_of_before_all_metadata_were_dropped_says_so(tmp_path):
    """The default of today is not how it was trained."""
    path = tmp_path / "model.ckpt"
    settings = training_examples.experiment().model_dump(mode="json")
    assert settings["training"].pop("metadata_dropout_all") == 0.1
    written(path, experiment=json.dumps(settings))
    assert load_model(path).experiment.training.metadata_dropout_all == 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "no checkpoint of this pipeline"),
        ({"version": checkpoints.VERSION + 1}, r"format version 2.*train again"),
        ({"format": torch.ones(2)}, "no checkpoint of this pipeline"),
        ({"version": torch.ones(2)}, r"format version tensor.*train again"),
        ({"classes": ["MEL", "NV"]}, "does not fit this version"),
        ({"epoch": None}, "does not fit this version"),
        ({"experiment": torch.ones(2)}, "does not fit this version"),
        ({"encoder": [1]}, "does not fit this version"),
        ({"state_dict": [1]}, "does not fit this version"),
        ({"experiment": "{}"}, "does not fit this version"),
        ({"encoder": {}}, "does not fit this version"),
        ({"state_dict": {}}, "does not fit this version"),
    ],
)
def test_foreign_contents_are_refused(tmp_path, changes, message):
    path = tmp_path / "model.ckpt"
    written(path, **changes)
    with pytest.raises(InputError, match=message) as raised:
        load_model(path)
    assert str(path) in str(raised.value)


def test_broken_files_are_refused(tmp_path):
    path = tmp_path / "model.ckpt"
    with pytest.raises(InputError, match="no such checkpoint"):
        load_model(path)
    written(path)
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"GIF89a"):
        path.write_bytes(data)
        with pytest.raises(InputError, match="truncated or no checkpoint"):
            load_model(path)
    torch.save([1, 2], path)
    with pytest.raises(InputError, match="no checkpoint of this pipeline"):
        load_model(path)


def test_one_changed_bit_is_noticed(tmp_path):
    path = tmp_path / "model.ckpt"
    model = written(path)
    data = bytearray(path.read_bytes())
    weights = model.classifier[0].weight.detach().numpy().tobytes()
    data[data.index(weights) + len(weights) // 2] ^= 1
    path.write_bytes(data)
    assert torch.load(path, weights_only=True), "torch alone does not notice"
    with pytest.raises(InputError, match=r"its part 'archive/data/\d+' has changed since"):
        load_model(path)


def test_a_failing_disk_is_not_the_files_fault(tmp_path, monkeypatch):
    path = tmp_path / "model.ckpt"
    written(path)

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(checkpoints.zipfile.ZipFile, "testzip", fail)
    with pytest.raises(OSError, match="Input/output error"):
        load_model(path)


def test_code_in_a_file_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (exec, ("raise SystemExit(3)",))

    path = tmp_path / "model.ckpt"
    torch.save({"format": Evil()}, path)
    with pytest.raises(InputError, match="cannot be read"):
        load_model(path)
