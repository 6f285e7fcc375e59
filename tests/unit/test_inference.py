import json
import re
from pathlib import Path
from types import SimpleNamespace

import cv2
import explain_examples
import numpy as np
import pandas as pd
import pytest

from melanoma import files, images, inference, inference_input, inference_output, isic
from melanoma.cli import main
from melanoma.errors import InputError
from melanoma.evaluation.calibration import apply_decision, fit_decision
from melanoma.explain import panels, scale
from melanoma.explain.cam import compute_maps
from melanoma.explain.layers import find_layer
from melanoma.notice import NO_MEDICAL_DEVICE
from melanoma.prediction import predict_store
from melanoma.training.checkpoints import load_model

SIZE = 32
CALIBRATED = [f"{name}_calibrated" for name in isic.CLASSES]


def _decision(seed: int) -> dict:
    table = explain_examples.catalogue(40)
    counts = dict.fromkeys(isic.CLASSES, 5) | {"NV": 40}
    raw = explain_examples.probabilities(table, seed)
    return fit_decision(raw, list(table["diagnosis"]), counts, "weighted")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    paths = []
    for seed in (0, 1):
        folder = tmp_path_factory.mktemp(f"fold{seed}")
        paths.append(explain_examples.checkpoint(folder / "model.ckpt", size=SIZE, seed=seed))
        files.write_json(folder / "decision.json", _decision(seed))
    return paths


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    paths = [folder / "a.jpg", folder / "b.JPEG", folder / "inner" / "c.jpg"]
    (folder / "inner").mkdir()
    (folder / "notes.txt").write_text("no image")
    for path, pixels in zip(paths, explain_examples.pixels(3, 48), strict=True):
        path.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
    return paths


def _by_hand(model: Path, paths, told: pd.DataFrame):
    trained = load_model(model)
    pixels = [
        images.prepare(p.read_bytes(), size=SIZE, framing="crop", hair_removal="none")
        for p in paths
    ]
    store = SimpleNamespace(pixels=np.stack(pixels), rows=lambda ids: [int(i) for i in ids])
    rows = told.assign(image=[str(i) for i in range(len(paths))])
    raw = predict_store(trained, store, rows, list(rows["image"]))
    decision = files.read_json(model.parent / "decision.json")
    held = apply_decision(raw, decision)
    return raw[list(isic.CLASSES)].to_numpy(), held[list(isic.CLASSES)].to_numpy()


def test_probabilities_are_the_pipelines(models, photographs):
    told = pd.DataFrame({"age": [55.0] * 3, "sex": ["female"] * 3, "site": ["head/neck"] * 3})
    given = {"age": 55, "sex": "female", "site": "head/neck"}
    table = inference.predict_files(photographs, models[:1], metadata=given)
    raw, held = _by_hand(models[0], photographs, told)
    assert tuple(table.columns) == inference.COLUMNS
    np.testing.assert_allclose(table[list(isic.CLASSES)], raw, atol=1e-6)
    np.testing.assert_allclose(table[CALIBRATED], held, atol=1e-6)
    assert table["predicted"].tolist() == [isic.CLASSES[i] for i in raw.argmax(axis=1)]
    assert table["image"].tolist() == ["a", "b", "c"]
    assert (table["error"] == "").all()
    point = files.read_json(models[0].parent / "decision.json")["operating_points"][
        "sensitivity_90"
    ]
    assert (table["operating_point"] == "sensitivity_90").all()
    wanted = np.where(held[:, 0] >= point["threshold"], "yes", "no")
    assert table["melanoma"].tolist() == wanted.tolist()


def test_several_models_are_averaged(models, photographs):
    told = pd.DataFrame({"age": [np.nan] * 3, "sex": [""] * 3, "site": [""] * 3})
    table = inference.predict_files(photographs, models, operating_point="specificity_80")
    parts = [_by_hand(model, photographs, told) for model in models]
    np.testing.assert_allclose(
        table[list(isic.CLASSES)], np.mean([raw for raw, _ in parts], axis=0), atol=1e-6
    )
    np.testing.assert_allclose(
        table[CALIBRATED], np.mean([held for _, held in parts], axis=0), atol=1e-6
    )
    points = [files.read_json(m.parent / "decision.json")["operating_points"] for m in models]
    thresholds = [p["specificity_80"]["threshold"] for p in points]
    assert table["threshold"].to_numpy() == pytest.approx(np.mean(thresholds))


def _tables_by_views(photographs, model):
    return [
        inference.predict_files(photographs, [model], tta=tta)[list(isic.CLASSES)].astype(float)
        for tta in (False, True)
    ]


@pytest.mark.parametrize("fitted", [False, True, None])
def test_views_are_those_that_the_decision_was_fitted_with(
    photographs, tmp_path, caplog, capsys, fitted
):
    model = explain_examples.checkpoint(tmp_path / "model.ckpt", size=SIZE)
    one, eight = _tables_by_views(photographs, model)
    assert np.abs(one - eight).to_numpy().max() > 1e-4
    assert "test-time" not in caplog.text
    decision = _decision(0) | {"tta": fitted}
    files.write_json(
        tmp_path / "decision.json", {k: v for k, v in decision.items() if v is not None}
    )
    found = inference.predict_files(photographs, [model])[list(isic.CLASSES)].astype(float)
    np.testing.assert_allclose(found, eight if fitted else one, atol=1e-7)
    assert "test-time" not in caplog.text
    arguments = ["predict", str(photographs[0]), "--model", str(model), "--accelerator", "cpu"]
    for option, wanted in (("--tta", True), ("--no-tta", False)):
        assert main([*arguments, option, "--format", "json"]) == 0
        told = capsys.readouterr()
        raw = json.loads(told.out)["predictions"][0]["probabilities"]["raw"]
        expected = (eight if wanted else one).iloc[0]
        assert [raw[name] for name in isic.CLASSES] == pytest.approx(list(expected), abs=1e-6)
        differs = wanted != bool(fitted)
        assert ("test-time augmentation and is applied" in told.err) == differs


def test_batches_change_nothing(models, photographs, monkeypatch):
    whole = inference.predict_files(photographs, models[:1])
    monkeypatch.setattr(inference, "_BATCH", 2)
    parts = inference.predict_files(photographs, models[:1])
    pd.testing.assert_frame_equal(whole, parts, rtol=1e-5, atol=1e-7)


def test_without_a_decision_nothing_is_calibrated(photographs, tmp_path):
    model = explain_examples.checkpoint(tmp_path / "model.ckpt", size=SIZE)
    table = inference.predict_files(photographs[:1], [model])
    assert table["melanoma"].tolist() == ["uncalibrated"]
    assert table[CALIBRATED].isna().all(axis=None)
    assert table[list(isic.CLASSES)].sum(axis=1).item() == pytest.approx(1)


def test_a_decision_without_points_leaves_it_undecided(photographs, tmp_path):
    model = explain_examples.checkpoint(tmp_path / "model.ckpt", size=SIZE)
    decision = _decision(0) | {"operating_points": {}, "default": None}
    files.write_json(tmp_path / "decision.json", decision)
    table = inference.predict_files(photographs[:1], [model])
    assert table["melanoma"].tolist() == ["undecided"]
    assert table[CALIBRATED].notna().all(axis=None)
    text = inference_output.render(table, "table", models=[model])
    assert "holds no operating point" in text


def test_a_file_that_cannot_be_read_costs_no_other(models, photographs, tmp_path):
    whole = photographs[0].read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("no image")
    paths = [tmp_path / "half.jpg", photographs[0], tmp_path / "text.jpg", tmp_path / "none.jpg"]
    table = inference.predict_files(paths, models[:1], gradcam_folder=tmp_path / "maps")
    assert [error != "" for error in table["error"]] == [True, False, True, True]
    assert "No such file" in table["error"].iloc[3]
    alone = inference.predict_files(photographs[:1], models[:1])
    np.testing.assert_allclose(
        table.loc[1, list(isic.CLASSES)].astype(float),
        alone.loc[0, list(isic.CLASSES)].astype(float),
    )
    assert table.loc[0, ["predicted", "melanoma"]].tolist() == ["", ""]
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["a.png"]
    record = json.loads(inference_output.render(table, "json", models=models[:1]))
    assert "error" in record["predictions"][0]
    text = inference_output.render(table, "table", models=models[:1])
    assert "3 of 4 files could not be read" in text


def test_maps_are_those_of_the_gallery_in_one_scale_for_a_photograph(
    models, photographs, tmp_path, monkeypatch
):
    drawn = []

    def draw(example, *, scale):
        drawn.append((example, scale))
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr(panels, "draw_panel", draw)
    table = inference.predict_files(photographs, models[:1], gradcam_folder=tmp_path / "maps")
    trained = load_model(models[0])
    layer = find_layer(trained.model, SIZE)
    assert [example.told["grid"] for example, _ in drawn] == [layer.grid] * 3 == ["8 x 8"] * 3
    for row, (example, words) in zip(table.to_dict("records"), drawn, strict=True):
        fields = trained.encoder.encode(pd.DataFrame([row]))
        targets = [isic.CLASSES.index(name) for name in (row["predicted"], isic.MELANOMA)]
        maps = [
            compute_maps(trained.model, example.pixels[None], fields, [one], method="gradcam")
            for one in targets
        ]
        maxima = [one.maxima[0] for one in maps]
        found = [example.told["heat_maximum"], example.told["melanoma_heat_maximum"]]
        np.testing.assert_allclose(found, maxima, rtol=1e-3)
        assert max(maxima) > 0
        for shown, one in zip((example.heat, example.melanoma_heat), maps, strict=True):
            expected = one.heat[0] * one.maxima[0] / max(maxima)
            np.testing.assert_allclose(shown, expected, atol=1e-3)
        assert words == scale.OF_A_PAIR


def test_nothing_readable_is_still_a_table(models, tmp_path):
    table = inference.predict_files([tmp_path / "none.jpg"], models[:1])
    assert len(table) == 1
    assert table["error"].item()
    assert inference_output.render(table, "csv", models=models).startswith("image,file,predicted")


def test_a_wrong_path_is_told_in_one_line(models, tmp_path, capsys):
    wrong = tmp_path / "none.jpg"
    assert main(["predict", str(wrong), "--model", str(models[0]), "--accelerator", "cpu"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert re.fullmatch(rf"[\d:]+ ERROR {wrong}: No such file or directory\n", told.err)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,Age,gender\nx,66,male\n", r"m\.csv: row 1: none of the columns age, sex, site"),
        ("image,age\nx.jpg,66\n", r"no row is of any image: .* x\.jpg, .*leave out \.jpg"),
    ],
)
def test_metadata_of_no_use_are_refused(photographs, models, tmp_path, text, message):
    table = tmp_path / "m.csv"
    table.write_text(text)
    command = ["predict", str(photographs[0]), "--model", str(models[0]), "--metadata", str(table)]
    with pytest.raises(InputError, match=message):
        inference.predict_files(
            photographs, models[:1], metadata=inference_input.read_metadata(table)
        )
    with pytest.raises(SystemExit) as end:
        main(command)
    assert end.value.code == 2


def test_a_file_in_the_place_of_the_heat_maps_folder_is_told_before(photographs, models, capsys):
    file = str(photographs[0])
    with pytest.raises(SystemExit) as end:
        main(["predict", file, "--model", str(models[0]), "--gradcam", file])
    assert end.value.code == 2
    assert f"{file} is no folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [("photograph", "name a model.ckpt"), ("folder", "is a folder")],
)
def test_what_is_no_checkpoint_is_told(photographs, capsys, name, message):
    wrong = photographs[0] if name == "photograph" else photographs[0].parent
    with pytest.raises(SystemExit):
        main(["predict", str(photographs[0]), "--model", str(wrong)])
    assert message in capsys.readouterr().err


def test_folders_are_walked_and_files_taken_once(photographs):
    folder = photographs[0].parent
    assert inference_input.find_images([folder, photographs[0]]) == photographs
    assert inference_input.find_images([photographs[2], folder])[0] == photographs[2]


@pytest.mark.parametrize(("make", "message"), [(True, "holds no .jpg"), (False, "no image")])
def test_no_image_at_all(tmp_path, make, message):
    with pytest.raises(InputError, match=message):
        inference_input.find_images([tmp_path] if make else [])


def test_metadata_is_matched_by_image(models, photographs, tmp_path, caplog):
    (tmp_path / "table.csv").write_text(
        "image,age_approx,anatom_site_general,sex\r\nc,70,palms/soles,male\r\na,,,female\r\n"
    )
    given = inference_input.read_metadata(tmp_path / "table.csv")
    table = inference.predict_files(photographs, models[:1], metadata=given)
    assert table["age"].fillna(-1).tolist() == [-1, -1, 70]
    assert table["sex"].tolist() == ["female", "", "male"]
    assert table["site"].tolist() == ["", "", "palms/soles"]
    assert "no metadata for 1 image, e.g. b" in caplog.text


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,old,male,", r"row 2, column age, found 'old'|row 2, column age: found 'old'"),
        ("a,130,male,", "years from 0 to 120"),
        ("a,,divers,", "female, male"),
        ("a,,,nose", "anterior torso"),
    ],
)
def test_wrong_metadata_is_named_by_row(tmp_path, row, message):
    path = tmp_path / "table.csv"
    path.write_text(f"image,age,sex,site\n{row}\n")
    with pytest.raises(InputError, match=message):
        inference_input.read_metadata(path)


def test_wrong_values_given_for_all_are_named(models, photographs):
    with pytest.raises(InputError, match="site 'nose'"):
        inference.predict_files(photographs, models[:1], metadata={"site": "nose"})


def test_an_unknown_operating_point_is_named(models, photographs):
    with pytest.raises(InputError, match=r"no operating point 'best'.*sensitivity_90"):
        inference.predict_files(photographs, models[:1], operating_point="best")


def test_no_model(photographs):
    with pytest.raises(InputError, match="no model"):
        inference.predict_files(photographs, [])


def test_pictures_of_one_name_do_not_overwrite_each_other(models, photographs, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(photographs[0].read_bytes())
    for _ in range(2):
        inference.predict_files([tmp_path], models[:1], gradcam_folder=tmp_path / "maps")
    names = sorted(path.name for path in (tmp_path / "maps").iterdir())
    assert names == ["a-2.png", "a.png"]


def test_numbered_pictures_leave_other_names_alone():
    found = [Path("a/x.jpg"), Path("b/x.jpg"), Path("c/x-2.jpg"), Path("d/x.jpg"), Path("e/y.jpg")]
    names = inference._picture_names(found)
    assert list(names.values()) == ["x", "x-3", "x-2", "x-4", "y"]
    assert list(names) == [str(path) for path in found]


def test_missing_metadata_are_told_once(models, photographs, caplog):
    caplog.set_level("INFO")
    inference.predict_files(photographs, models)
    assert caplog.text.count("age, sex, site count as missing") == 1
    caplog.clear()
    inference.predict_files(photographs, models, metadata={"age": 40})
    assert "count as missing" not in caplog.text


def test_metadata_that_training_never_saw_change_nothing(photographs, tmp_path, caplog):
    seen = explain_examples.catalogue().assign(age=np.nan, site="head/neck")
    model = explain_examples.checkpoint(tmp_path / "model.ckpt", size=SIZE, trained_on=seen)
    given = {"age": 55, "sex": "male", "site": "palms/soles"}
    found = inference.predict_files(photographs, [model, model], metadata=given)
    assert caplog.text.count("taken as missing: age, site 'palms/soles'") == 1
    caplog.clear()
    plain = inference.predict_files(photographs, [model], metadata={"sex": "male"})
    assert "taken as missing" not in caplog.text
    np.testing.assert_allclose(
        found[list(isic.CLASSES)].astype(float), plain[list(isic.CLASSES)].astype(float), atol=1e-7
    )


@pytest.mark.parametrize(("dropout", "told"), [(0.0, True), (0.1, False)])
def test_gaps_that_nothing_has_taught_are_told(photographs, tmp_path, caplog, dropout, told):
    whole = explain_examples.catalogue().assign(sex="male")
    path = tmp_path / "model.ckpt"
    model = explain_examples.checkpoint(path, size=SIZE, trained_on=whole, metadata_dropout=dropout)
    inference.predict_files(photographs[:1], [model], metadata={"age": 55})
    assert ("sex: missing here but never" in caplog.text) == told


@pytest.mark.parametrize(("likeliest", "told"), [("NV", True), ("MEL", False)])
def test_two_answers_for_one_image_are_explained(models, photographs, likeliest, told):
    table = inference.predict_files(photographs, models)
    table["predicted"] = "MEL"
    table[CALIBRATED] = 0.0
    table[f"{likeliest}_calibrated"] = 1.0
    text = inference_output.render(table, "table", models=models)
    assert ("weighs all classes alike" in text) == told


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (("MEL", "MEL", "no"), True),
        (("MEL", "NV", "no"), True),
        (("NV", "MEL", "no"), True),
        (("NV", "NV", "no"), False),
        (("MEL", "MEL", "yes"), False),
    ],
)
def test_melanoma_may_be_likeliest_and_below(models, photographs, answer, told):
    predicted, likeliest, decision = answer
    table = inference.predict_files(photographs[:1], models[:1])
    table["predicted"], table["melanoma"], table["threshold"] = predicted, decision, 0.95
    table[CALIBRATED] = 0.0
    table[f"{likeliest}_calibrated"] = 0.9
    text = inference_output.render(table, "table", models=models[:1])
    assert ("Below is no all-clear" in text) == told


@pytest.mark.parametrize("count", [1, 2])
def test_a_threshold_is_claimed_for_one_model_alone(models, photographs, count):
    table = inference.predict_files(photographs[:1], models[:count])
    table["predicted"], table["melanoma"], table["threshold"] = "MEL", "no", 0.95
    text = inference_output.render(table, "table", models=models[:count])
    assert ("each chosen for one model alone" in text) == (count > 1)
    assert ("on validation images by one model each" in text) == (count > 1)


def test_every_number_says_which_it_is(models, photographs, tmp_path):
    table = inference.predict_files(photographs[:1], models[:1])
    table["predicted"], table["melanoma"], table["threshold"] = "MEL", "no", 0.95
    table["MEL"], table["MEL_calibrated"] = 0.612, 0.943
    head, _, line, *_ = inference_output.render(table, "table", models=models[:1]).splitlines()
    assert re.split(r"  +", head)[1:] == [
        "predicted class, raw",
        "calibrated probabilities",
        "melanoma >= 0.950",
    ]
    assert "MEL (melanoma) 0.612" in line
    assert line.endswith("below (0.943)")
    bare = explain_examples.checkpoint(tmp_path / "model.ckpt", size=SIZE)
    table = inference.predict_files(photographs[:1], [bare])
    head = inference_output.render(table, "table", models=[bare]).splitlines()[0]
    assert re.split(r"  +", head)[2:] == ["raw probabilities", "melanoma"]


def test_the_forms(models, photographs):
    table = inference.predict_files(photographs, models, metadata={"age": 40})
    text = inference_output.render(table, "table", models=models)
    lines = text.splitlines()
    assert lines[2].startswith("a ")
    assert isic.DIAGNOSIS_NAMES[table["predicted"].iloc[0]] in lines[2]
    assert "2 models, averaged" in text
    assert text.endswith(NO_MEDICAL_DEVICE + "\n")
    value = json.loads(inference_output.render(table, "json", models=models))
    assert value["statement"] == NO_MEDICAL_DEVICE
    first = value["predictions"][0]
    assert first["probabilities"]["calibrated"]["MEL"] == table["MEL_calibrated"].iloc[0]
    assert first["metadata"] == {"age": 40.0, "sex": None, "site": None}
    assert first["melanoma"]["operating_point"] == "sensitivity_90"
    rows = inference_output.render(table, "csv", models=models).splitlines()
    assert rows[0].split(",") == list(inference.COLUMNS)
    assert len(rows) == 4
