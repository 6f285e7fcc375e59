"""The trained model in use: what the pipeline found for an image is what a user is told of it."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest

from melanoma import isic
from melanoma.catalogue import read_catalogue
from melanoma.cli import main

CLASSES = list(isic.CLASSES)
CALIBRATED = [f"{name}_calibrated" for name in CLASSES]

RUN_ALONE = """
import builtins, json, sys

for name in ("torch", "torchvision", "melanoma", "pandas", "onnx"):
    sys.modules[name] = None
import numpy as np
import onnxruntime

path, store, wanted = sys.argv[1:]
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
told = session.get_modelmeta().custom_metadata_map
encoder = json.loads(told["metadata"])["encoder"]


def encode(patient):
    vector = []
    for field in encoder["fields"]:
        value = patient[field]
        unseen = encoder["unseen"][field]
        if value in unseen or field in unseen:
            value = None
        if field == "age":
            age = encoder["age_median"] if value is None else value
            vector += [(age - encoder["age_mean"]) / encoder["age_deviation"], value is None]
        else:
            vector += [value == one for one in encoder["categories"][field]] + [not value]
    return vector


wanted = json.loads(wanted)
rows = [one["row"] for one in wanted]
pixels = np.load(store, mmap_mode="r")[rows]
metadata = np.array([encode(one) for one in wanted], np.float32)
found = session.run(["probabilities"], {"pixels": pixels, "metadata": metadata})[0]
print(json.dumps({"classes": list(json.loads(told["classes"])), "found": found.tolist()}))
"""


@pytest.fixture(scope="module")
def catalogue(finished_run):
    return read_catalogue(finished_run / "results/catalogue/train.csv").set_index("image")


@pytest.fixture(scope="module")
def photographs(finished_run, catalogue, tmp_path_factory):
    """The original JPEG files of images of each part."""
    folder = tmp_path_factory.mktemp("photographs")
    splits = pd.read_csv(finished_run / "results/splits.csv")
    chosen = splits.groupby("split").head(4)["image"]
    with zipfile.ZipFile(finished_run / "resources/isic2019/train/images.zip") as archive:
        for image in chosen:
            member = catalogue.loc[image, "member"]
            (folder / f"{image}.jpg").write_bytes(archive.read(member))
    return folder


@pytest.fixture(scope="module")
def metadata(catalogue, tmp_path_factory):
    path = tmp_path_factory.mktemp("metadata") / "table.csv"
    catalogue[["age", "sex", "site"]].to_csv(path)
    return path


def predicted(finished_run, photographs, metadata, capsys, *more):
    model = finished_run / "results/training/fusion/fold0/model.ckpt"
    arguments = ["predict", str(photographs), "--model", str(model), "--metadata", str(metadata)]
    assert main([*arguments, *more]) == 0
    return capsys.readouterr().out


def test_a_stored_image_gets_the_pipelines_probabilities(
    finished_run, photographs, metadata, capsys
):
    told = json.loads(predicted(finished_run, photographs, metadata, capsys, "--format", "json"))
    found = {one["image"]: one for one in told["predictions"]}
    compared = set()
    for subset in ("val", "test"):
        for kind, suffix in (("raw", ""), ("calibrated", "_calibrated")):
            path = finished_run / f"results/predictions/fusion/{subset}{suffix}.csv"
            pipeline = pd.read_csv(path).set_index("image")
            images = [image for image in found if image in pipeline.index]
            assert images
            for image in images:
                given = [found[image]["probabilities"][kind][name] for name in CLASSES]
                np.testing.assert_allclose(given, pipeline.loc[image, CLASSES], atol=1e-5)
            compared |= set(images)
    assert len(compared) == 8


def test_too_few_melanomas_in_validation_leave_it_undecided_and_say_so(
    finished_run, photographs, metadata, capsys
):
    folder = finished_run / "results/training/fusion/fold0"
    decision = json.loads((folder / "decision.json").read_text())
    reason = decision["absent_points"]["sensitivity_90"]
    assert decision["default"] is None
    assert "at least 9 melanoma lesions in validation" in reason
    text = predicted(finished_run, photographs, metadata, capsys)
    assert f"decision.json holds no operating point: {reason}" in text
    card = (finished_run / "results/MODEL_CARD.md").read_text()
    assert f"There is no melanoma threshold: {reason}." in card


def test_one_fold_alone_is_the_experiment(finished_run, photographs, metadata, capsys):
    results = finished_run / "results"
    own = json.loads((results / "training/fusion/fold0/decision.json").read_text())
    together = json.loads((results / "predictions/fusion/decision.json").read_text())
    assert together == own | {"members": ["../../training/fusion/fold0/model.ckpt"]}


def test_heat_maps_are_drawn_for_photographs(finished_run, photographs, metadata, capsys, tmp_path):
    text = predicted(
        finished_run, photographs, metadata, capsys, "--gradcam", str(tmp_path / "maps")
    )
    assert "no medical device" in text
    names = {path.stem for path in photographs.iterdir()}
    assert {path.stem for path in (tmp_path / "maps").iterdir()} == names


def test_the_exported_model_runs_alone(finished_run, catalogue, tmp_path):
    folder = finished_run / "results/training/fusion/fold0"
    target = tmp_path / "model.onnx"
    assert main(["export", str(folder / "model.ckpt"), str(target)]) == 0
    pipeline = pd.read_csv(finished_run / "results/predictions/fusion/test.csv").set_index("image")
    store = finished_run / "results/images/train/lines-crop-32.npy"
    rows = pd.read_csv(store.with_suffix(".csv")).set_index("image")["row"]
    wanted = [
        {
            "row": int(rows[image]),
            "age": None if np.isnan(age := catalogue.loc[image, "age"]) else float(age),
            "sex": str(catalogue.loc[image, "sex"]),
            "site": str(catalogue.loc[image, "site"]),
        }
        for image in pipeline.index
    ]
    command = [sys.executable, "-c", RUN_ALONE, str(target), str(store), json.dumps(wanted)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    np.testing.assert_allclose(told["found"], pipeline[told["classes"]], atol=1e-4)
