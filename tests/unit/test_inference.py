import io
import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import explain_examples
import image_examples
import numpy as np
import pandas as pd
import pytest

from melanoma import files, images, inference, inference_input, inference_output, isic
from melanoma.cli import main
from melanoma.errors import InputError
from melanoma.evaluation.calibration import apply_decision, calibrate
from melanoma.explain import panels, scale
from melanoma.explain.cam import compute_maps
from melanoma.explain.layers import find_layer
from melanoma.notice import NO_MEDICAL_DEVICE
from melanoma.prediction import predict_store
from melanoma.training.checkpoints import load_model

SIZE = 32
CALIBRATED = [f"{name}_calibrated" for name in isic.CLASSES]


def _without_points(decision: dict, points: tuple[str, ...] = ()) -> dict:
    """A decision of too few lesions for other points than some."""
    reason = {"sensitivity_90": "90 % sensitivity takes at least 9 melanoma lesions"}
    for one in (decision, decision["without_metadata"]):
        kept = {name: one["operating_points"][name] for name in points}
        one |= {"operating_points": kept, "absent_points": reason, "default": None}
    return decision


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    paths = []
    for seed in (0, 1):
        folder = tmp_path_factory.mktemp(f"fold{seed}")
        paths.append(explain_examples.checkpoint(folder / "model.ckpt", size=SIZE, seed=seed))
        files.write_json(folder / "decision.json", explain_examples.decision(seed))
    return paths


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """Two folds of an experiment, each with its own decision, and the one of both together."""
    results = tmp_path_factory.mktemp("results")
    for fold in (0, 1):
        folder = results / f"training/one/fold{fold}"
        explain_examples.checkpoint(folder / "model.ckpt", size=SIZE, seed=fold)
        files.write_json(folder / "decision.json", explain_examples.decision(fold))
    members = [f"../../training/one/fold{fold}/model.ckpt" for fold in (0, 1)]
    together = explain_examples.decision(7, members=members)
    files.write_json(results / "predictions/one/decision.json", together)
    return results


def _members(results: Path) -> list[Path]:
    return sorted(results.glob("training/one/fold*/model.ckpt"))


GIVEN = {"age": 55, "sex": "female", "site": "head/neck"}


def test_an_experiments_models_are_judged_by_their_common_decision(experiment, photographs):
    """By the raw mean, calibrated and cut by hand."""
    told = pd.DataFrame(dict.fromkeys(range(3), GIVEN.values()), index=GIVEN).T
    told = told.astype({"age": float}).reset_index(drop=True)
    raw = np.mean([_by_hand(model, photographs, told)[0] for model in _members(experiment)], axis=0)
    decision = files.read_json(experiment / "predictions/one/decision.json")
    held = calibrate(raw, decision)
    threshold = decision["operating_points"]["sensitivity_90"]["threshold"]
    for models in ([experiment / "predictions/one"], _members(experiment)):
        table = inference.predict_files(photographs, models, metadata=GIVEN)
        np.testing.assert_allclose(table[list(isic.CLASSES)].astype(float), raw, atol=1e-6)
        np.testing.assert_allclose(table[CALIBRATED].astype(float), held, atol=1e-6)
        assert table["threshold"].to_numpy() == pytest.approx(threshold)
        wanted = np.where(held[:, 0] >= threshold, "yes", "no")
        assert table["melanoma"].tolist() == wanted.tolist()


def test_one_checkpoint_of_an_experiment_keeps_its_own_decision(experiment, photographs):
    own = files.read_json(experiment / "training/one/fold1/decision.json")
    table = inference.predict_files(photographs, _members(experiment)[1:], metadata=GIVEN)
    threshold = own["operating_points"]["sensitivity_90"]["threshold"]
    assert table["threshold"].to_numpy() == pytest.approx(threshold)


def test_models_of_no_common_experiment_have_no_common_decision(experiment, models, photographs):
    mixed = [_members(experiment)[0], models[0]]
    table = inference.predict_files(photographs, mixed, metadata=GIVEN)
    own = [files.read_json(m.parent / "decision.json")["operating_points"] for m in mixed]
    thresholds = [points["sensitivity_90"]["threshold"] for points in own]
    assert table["threshold"].to_numpy() == pytest.approx(np.mean(thresholds))


def test_a_part_of_an_experiments_models_is_told(experiment, photographs, tmp_path, caplog):
    shutil.copytree(experiment, tmp_path / "results")
    file = tmp_path / "results/predictions/one/decision.json"
    decision = files.read_json(file)
    decision["members"].append("../../training/one/fold2/model.ckpt")
    files.write_json(file, decision)
    table = inference.predict_files(photographs, _members(tmp_path / "results"), metadata=GIVEN)
    threshold = decision["operating_points"]["sensitivity_90"]["threshold"]
    assert table["threshold"].to_numpy() == pytest.approx(threshold)
    assert "decision of 3 models, applied to 2 of them" in caplog.text
    with pytest.raises(InputError, match=r"fold2/model\.ckpt: no such checkpoint"):
        inference.predict_files(photographs, [file.parent])


def test_a_folder_stands_alone_and_must_be_an_experiments(experiment, photographs):
    folder = experiment / "predictions/one"
    with pytest.raises(InputError, match="name it alone"):
        inference.predict_files(photographs, [folder, *_members(experiment)])
    for other in (experiment / "predictions", experiment / "training/one/fold0"):
        with pytest.raises(InputError, match="is a folder without an experiment's decision"):
            inference.predict_files(photographs, [other])


@pytest.mark.parametrize("kind", ["alone", "together"])
def test_a_decision_of_an_older_version_is_refused(experiment, photographs, tmp_path, kind):
    shutil.copytree(experiment, tmp_path / "results")
    models = _members(tmp_path / "results")
    file = models[0].parent / "decision.json"
    if kind == "together":
        file = tmp_path / "results/predictions/one/decision.json"
    decision = files.read_json(file)
    del decision["strength"]
    files.write_json(file, decision | {"prior_correction": True})
    with pytest.raises(InputError, match=r"decision\.json.*strength.*run the workflow again"):
        inference.predict_files(photographs, models[: 1 if kind == "alone" else 2])


def test_an_image_without_metadata_has_its_own_calibration_and_threshold(
    models, photographs, capsys, tmp_path
):
    rows = pd.DataFrame({"image": ["a", "c"], "age": [55.0, np.nan], "sex": ["male", ""]})
    given = rows.assign(site="")
    table = inference.predict_files(photographs, models[:1], metadata=given)
    assert table["without_metadata"].tolist() == ["no", "yes", "yes"]
    decision = files.read_json(models[0].parent / "decision.json")
    sets = [decision, decision["without_metadata"]]
    thresholds = [one["operating_points"]["sensitivity_90"]["threshold"] for one in sets]
    assert table["threshold"].tolist() == [thresholds[0], thresholds[1], thresholds[1]]
    raw = table[list(isic.CLASSES)].to_numpy(float)
    natural = np.array([decision["priors"]["natural"][name] for name in isic.CLASSES])
    for row, one in enumerate((sets[0], sets[1], sets[1])):
        shift = (one["strength"] or 0) * np.log(8 * natural)
        logits = np.log(raw[row]) / one["temperature"] + shift
        expected = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(table.loc[row, CALIBRATED].astype(float), expected, atol=1e-9)
    text = inference_output.render(table, "table", models=models[:1])
    assert f"{thresholds[0]:.3f} or more, and {thresholds[1]:.3f} without metadata" in text
    assert "No metadata are known of 2 of 3 images" in text
    assert "melanoma >= its threshold" in text
    assert f"threshold {thresholds[1]:.3f})" in text.splitlines()[3]
    value = json.loads(inference_output.render(table, "json", models=models[:1]))
    told = [one["melanoma"]["without_metadata"] for one in value["predictions"]]
    assert told == [False, True, True]
    (tmp_path / "table.csv").write_text("image,age,sex\na,55,male\n")
    command = ["predict", *map(str, photographs), "--model", str(models[0])]
    assert main([*command, "--metadata", str(tmp_path / "table.csv")]) == 0
    assert "No metadata are known of 2 of 3 images" in capsys.readouterr().out


def test_metadata_that_the_model_does_not_see_are_none(photographs, tmp_path):
    seen = explain_examples.catalogue().assign(site="head/neck")
    model = explain_examples.checkpoint(tmp_path / "model.ckpt", size=SIZE, trained_on=seen)
    files.write_json(tmp_path / "decision.json", explain_examples.decision())
    for site, expected in (("palms/soles", "yes"), ("head/neck", "no")):
        table = inference.predict_files(photographs[:1], [model], metadata={"site": site})
        assert table["without_metadata"].tolist() == [expected]


@pytest.mark.parametrize("by", ["folder", "checkpoints"])
def test_the_command_takes_an_experiment(experiment, photographs, capsys, by):
    models = [experiment / "predictions/one"] if by == "folder" else _members(experiment)
    options = [part for model in models for part in ("--model", str(model))]
    assert main(["predict", str(photographs[0]), *options, "--accelerator", "cpu"]) == 0
    text = capsys.readouterr().out
    assert "2 models, averaged" in text
    assert "each predicted by the one model that has not seen it" in text
    assert "mean of the models' thresholds" not in text
    assert main(["predict", str(photographs[0]), *options, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["models"]
    assert [Path(path).resolve() for path in found] == _members(experiment)


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
    assert (table["without_metadata"] == "yes").all()
    parts = [_by_hand(model, photographs, told) for model in models]
    np.testing.assert_allclose(
        table[list(isic.CLASSES)], np.mean([raw for raw, _ in parts], axis=0), atol=1e-6
    )
    np.testing.assert_allclose(
        table[CALIBRATED], np.mean([held for _, held in parts], axis=0), atol=1e-6
    )
    sets = [files.read_json(m.parent / "decision.json")["without_metadata"] for m in models]
    thresholds = [one["operating_points"]["specificity_80"]["threshold"] for one in sets]
    assert table["threshold"].to_numpy() == pytest.approx(np.mean(thresholds))


def _tables_by_views(photographs, model):
    return [
        inference.predict_files(photographs, [model], tta=tta)[list(isic.CLASSES)].astype(float)
        for tta in (False, True)
    ]


@pytest.mark.parametrize("fitted", [False, True])
def test_views_are_those_that_the_decision_was_fitted_with(
    photographs, tmp_path, caplog, capsys, fitted
):
    model = explain_examples.checkpoint(tmp_path / "model.ckpt", size=SIZE)
    one, eight = _tables_by_views(photographs, model)
    assert np.abs(one - eight).to_numpy().max() > 1e-4
    assert "test-time" not in caplog.text
    files.write_json(tmp_path / "decision.json", explain_examples.decision(tta=fitted))
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
        differs = wanted != fitted
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


@pytest.mark.parametrize("points", [(), ("sensitivity_80",)])
def test_a_decision_without_points_leaves_it_undecided(photographs, tmp_path, capsys, points):
    model = explain_examples.checkpoint(tmp_path / "model.ckpt", size=SIZE)
    decision = _without_points(explain_examples.decision(), points)
    files.write_json(tmp_path / "decision.json", decision)
    table = inference.predict_files(photographs[:1], [model])
    assert table["melanoma"].tolist() == ["undecided"]
    assert table[CALIBRATED].notna().all(axis=None)
    command = ["predict", str(photographs[0]), "--model", str(model), "--accelerator", "cpu"]
    assert main(command) == 0
    text = capsys.readouterr().out
    reason = "90 % sensitivity takes at least 9 melanoma lesions"
    assert f"holds no operating point: {reason}" in text
    assert ("--operating-point takes sensitivity_80." in text) == bool(points)
    with pytest.raises(InputError, match=f"'sensitivity_90', since {reason}; known: "):
        inference.predict_files(photographs[:1], [model], operating_point="sensitivity_90")
    for point in points:
        table = inference.predict_files(photographs[:1], [model], operating_point=point)
        assert set(table["melanoma"]) <= {"yes", "no"}


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
        (
            "image,height\nx,66\n",
            r"m\.csv: row 1: column age_approx \(or sex, anatom_site_general, age, gender and \d+ "
            r"more\) missing among image, height",
        ),
        (
            "image,age\nx.jpg,66\n",
            r"m\.csv: no row is of any image: .* has x\.jpg, the images are a, b, c; name",
        ),
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


def test_folders_hold_jpeg_files_of_any_name_and_others_are_told(tmp_path, caplog):
    read = ("a.jpg", "b.JPEG", "c.jfif", "d.JPE", "in/e.jpg")
    others = ("in/f.png", "g.PNG", "h.heic", "i.dcm", "j.txt", "._k.png")
    hidden = ("._a.jpg", ".b.jpg", "in/.cache/c.jpg", "__MACOSX/d.jpg")
    for name in (*read, *others, *hidden):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = inference_input.find_images([tmp_path, tmp_path / "in"])
    assert sorted(found) == sorted(tmp_path / name for name in read)
    assert [record.getMessage() for record in caplog.records] == [
        f"1 DICOM file passed over, e.g. {tmp_path / 'i.dcm'}; "
        f"1 HEIC file passed over, e.g. {tmp_path / 'h.heic'}; "
        f"2 PNG files passed over, e.g. {tmp_path / 'g.PNG'}: save them as JPEG"
    ]
    # What is named is read whatever it is called, and told what it is then.
    named = [tmp_path / "in" / "f.png", tmp_path / "._a.jpg"]
    assert inference_input.find_images(named) == named


def test_a_folder_below_a_hidden_one_is_read(tmp_path):
    folder = tmp_path / ".data" / "photographs"
    folder.mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"")
    assert inference_input.find_images([folder]) == [folder / "a.jpg"]


def test_a_folder_of_images_of_other_kinds_alone_is_refused_with_what_to_do(tmp_path):
    for name in ("a.png", "b.png", "c.webp"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError) as caught:
        inference_input.find_images([tmp_path])
    assert str(caught.value) == (
        f"{tmp_path}: holds no .jpg, .jpeg, .jpe or .jfif file; 2 PNG files passed over, "
        "e.g. a.png; 1 WEBP file passed over, e.g. c.webp: save them as JPEG"
    )


def test_a_colour_profile_of_no_use_is_told_with_the_file(models, tmp_path, caplog):
    for name, profile in (("a", b"broken"), ("b", image_examples.icc_profile("Display P3"))):
        data = image_examples.encode(image_examples.picture(), icc_profile=profile)
        (tmp_path / f"{name}.jpg").write_bytes(data)
    table = inference.predict_files([tmp_path], models[:1])
    assert (table["error"] == "").all()
    told = [r.getMessage() for r in caplog.records if "profile" in r.getMessage()]
    assert told == [
        f"{tmp_path / 'a.jpg'}: broken colour profile ignored: its pixels are taken as sRGB"
    ]


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
        ("a,old,male,", "age: 1 value not an age in years, from 0 to 120, e.g. 'old' in row 2"),
        ("a,130,male,", "e.g. '130' in row 2: taken as missing"),
        ("a,,divers,", "sex: 1 value not one of female, male, e.g. 'divers' in row 2"),
        ("a,,,moon", "site: 1 value not one of anterior torso, "),
    ],
)
def test_wrong_metadata_is_named_by_row_and_taken_as_missing(tmp_path, caplog, row, message):
    path = tmp_path / "table.csv"
    path.write_text(f"image,age,sex,site\n{row}\n")
    table = inference_input.read_metadata(path)
    assert message in caplog.text
    wrong = [place for place, cell in enumerate(row.split(",")) if cell][-1]
    told = table.iloc[0, 1 if row.count("male") else wrong]
    assert told == "" or told != told  # noqa: PLR0124


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ({}, {"age": None, "sex": "", "site": ""}),
        ({"age": 55, "sex": None}, {"age": 55.0, "sex": "", "site": ""}),
        (
            {"age": "45,5", "sex": "Male", "site": "Head/Neck"},
            {"age": 45.5, "sex": "male", "site": "head/neck"},
        ),
        (
            {"age": "unknown", "sex": "NaN", "site": "back"},
            {"age": None, "sex": "", "site": "posterior torso"},
        ),
    ],
)
def test_what_is_given_for_all_is_read_as_a_table_is(given, known):
    assert inference_input.read_given(given) == known


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"site": "moon"}, "site 'moon': write one of anterior torso, "),
        ({"site": "torso"}, "site 'torso': write one of "),
        ({"sex": "divers"}, "sex 'divers': write one of female, male, or nothing"),
        ({"age": 130}, "age 130: write years from 0 to 120, or nothing"),
        ({"age": "old"}, "age 'old': write years"),
    ],
)
def test_wrong_values_given_for_all_are_named(models, photographs, given, message):
    with pytest.raises(InputError, match=message):
        inference.predict_files(photographs, models[:1], metadata=given)


def test_an_unknown_operating_point_is_named(models, photographs):
    with pytest.raises(InputError, match=r"no operating point 'best'.*sensitivity_90"):
        inference.predict_files(photographs, models[:1], operating_point="best")


def test_no_model(photographs):
    with pytest.raises(InputError, match="no model"):
        inference.predict_files(photographs, [])


@pytest.fixture
def two_folders(photographs, tmp_path):
    """anna/lesion1, anna/lesion2 and bert/lesion1, in a folder of photographs."""
    for name, photograph in zip(
        ("anna/lesion1.jpg", "anna/lesion2.jpg", "bert/lesion1.JPG"), photographs, strict=True
    ):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photograph.read_bytes())
    return tmp_path / "photos"


def described(paths, metadata):
    table = inference_input.describe_files(inference_input.find_images(paths), paths, metadata)
    return table.fillna({"age": -1})[["image", "age"]].to_numpy().tolist()


BY_PATH = {
    "relative paths": (["anna/lesion1", "anna/lesion2", "bert/lesion1"], None),
    "with suffix": (
        ["anna/lesion1.jpg", "anna/lesion2.jpg", "bert/lesion1.JPG"],
        ["anna/lesion1", "anna/lesion2", "bert/lesion1"],
    ),
    "of another time": (
        ["anna/lesion1.png", "anna/lesion2.JPEG", "bert/lesion1.tif"],
        ["anna/lesion1", "anna/lesion2", "bert/lesion1"],
    ),
    "backslashes": (
        ["anna\\lesion1.jpg", ".\\anna\\lesion2", "bert\\lesion1"],
        ["anna/lesion1", "anna/lesion2", "bert/lesion1"],
    ),
    "with the outer folder": (
        ["photos/anna/lesion1", "photos/anna/lesion2", "photos/bert/lesion1"],
        None,
    ),
    "a bare name that is clear": (["anna/lesion1", "lesion2", "bert/lesion1"], None),
}


@pytest.mark.parametrize("name", BY_PATH)
@pytest.mark.parametrize("given", [["."], ["anna", "bert"]], ids=["one folder", "two folders"])
def test_files_of_one_name_are_named_by_path(two_folders, tmp_path, name, given):
    names, images = BY_PATH[name]
    table = tmp_path / "t.csv"
    rows = [f"{image},{age}" for image, age in zip(names, (10, 20, 30), strict=True)]
    table.write_text("\n".join(["image,age", *reversed(rows)]))
    metadata = inference_input.read_metadata(table)
    found = described([two_folders / folder for folder in given], metadata)
    assert found == [[image, age] for image, age in zip(images or names, (10, 20, 30), strict=True)]


WRONG_NAMES = {
    "of two files": (
        ["lesion2,1", "lesion1,30"],
        r"t\.csv: row 3, column image: found 'lesion1': several images have this name \("
        r"\S+photos/anna/lesion1\.jpg, \S+photos/bert/lesion1\.JPG\); name each by its path, "
        r"e\.g\. anna/lesion1$",
    ),
    "of two files, another by path": (["bert/lesion1,1", "lesion1,2"], "row 3.*name each by its"),
    "of one file twice": (
        ["anna/lesion1,1", "anna/lesion1.jpg,2"],
        r"row 3, .* is the image of row 2 \(anna/lesion1\) too; keep one",
    ),
}


@pytest.mark.parametrize("name", WRONG_NAMES)
def test_names_that_are_ambiguous_stop_with_both_paths(two_folders, tmp_path, name):
    rows, message = WRONG_NAMES[name]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["image,age", *rows]))
    with pytest.raises(InputError, match=message):
        described([two_folders], inference_input.read_metadata(table))


def test_files_are_told_apart_without_a_table(two_folders, tmp_path, monkeypatch):
    names = ["anna/lesion1", "lesion2", "bert/lesion1"]
    assert described([two_folders], None) == [[name, -1] for name in names]
    monkeypatch.chdir(two_folders)
    files = [Path("anna/lesion1.jpg"), Path("anna/lesion2.jpg"), Path("bert/lesion1.JPG")]
    assert described(files, None) == [[name, -1] for name in names]
    Path("anna/lesion1.jpeg").write_bytes(b"")
    beside = [[f"anna/lesion1.{end}", -1] for end in ("jpeg", "jpg")]
    for given in (Path("anna"), Path()):
        assert described([given], None)[:2] == beside


def test_the_right_patient_is_predicted_and_drawn(models, two_folders, tmp_path, capsys):
    table = tmp_path / "t.csv"
    table.write_text("image,age,sex\nanna/lesion1,30,male\nbert/lesion1,60,Female\n")
    command = ["predict", str(two_folders), "--model", str(models[0]), "--accelerator", "cpu"]
    command += ["--metadata", str(table), "--gradcam", str(tmp_path / "maps"), "--format", "json"]
    assert main(command) == 0
    shown = {
        one["image"]: one["metadata"] for one in json.loads(capsys.readouterr().out)["predictions"]
    }
    assert shown == {
        "anna/lesion1": {"age": 30.0, "sex": "male", "site": None},
        "lesion2": {"age": None, "sex": None, "site": None},
        "bert/lesion1": {"age": 60.0, "sex": "female", "site": None},
    }
    pictures = sorted(path.name for path in (tmp_path / "maps").iterdir())
    assert pictures == ["anna_lesion1.png", "bert_lesion1.png", "lesion2.png"]


def test_pictures_of_one_name_do_not_overwrite_each_other(models, photographs, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(photographs[0].read_bytes())
    for _ in range(2):
        inference.predict_files([tmp_path], models[:1], gradcam_folder=tmp_path / "maps")
    names = sorted(path.name for path in (tmp_path / "maps").iterdir())
    assert names == ["one_a.png", "two_a.png"]


@pytest.mark.parametrize("code", ["utf-8", "ascii", "cp1252"])
def test_any_name_of_a_file_is_written(models, photographs, tmp_path, monkeypatch, code):
    path = os.fsencode(tmp_path) + b"/l\xe4sion \xc3\xa4.jpg"
    Path(os.fsdecode(path)).write_bytes(photographs[0].read_bytes())
    stream = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(stream, code, "strict", write_through=True))
    command = ["predict", str(tmp_path), "--model", str(models[0]), "--accelerator", "cpu"]
    assert main([*command, "--format", "csv", "--age", "45,5", "--sex", "Male"]) == 0
    row = stream.getvalue().decode(code).splitlines()[1]
    assert row.startswith(r"l\udce4sion " + (r"\xe4" if code == "ascii" else "ä") + ",")
    assert ",45.5,male,," in row


def test_names_are_matched_in_composed_form(photographs, tmp_path):
    path = tmp_path / "la\u0308sion.jpg"
    path.write_bytes(photographs[0].read_bytes())
    (tmp_path / "t.csv").write_text("image,age\nl\u00e4sion,50\n")
    metadata = inference_input.read_metadata(tmp_path / "t.csv")
    assert described([path], metadata) == [["l\u00e4sion", 50.0]]


def test_rows_of_no_image_are_told(photographs, tmp_path, caplog):
    caplog.set_level("INFO")
    (tmp_path / "t.csv").write_text("image,age\na,50\nz,60\ny,70\n")
    described(photographs[:1], inference_input.read_metadata(tmp_path / "t.csv"))
    assert "2 rows of the metadata are of none of the images, e.g. z" in caplog.text


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


@pytest.mark.parametrize(
    ("chances", "told"),
    [
        ((0.0, 0.0), {"something": True, "nothing": True}),
        ((0.1, 0.0), {"something": False, "nothing": False}),
        ((0.0, 0.1), {"something": True, "nothing": False}),
    ],
)
def test_gaps_that_nothing_has_taught_are_told(photographs, caplog, tmp_path, chances, told):
    whole = explain_examples.catalogue().assign(sex="male")
    path = tmp_path / "model.ckpt"
    drops = dict(zip(("metadata_dropout", "metadata_dropout_all"), chances, strict=True))
    model = explain_examples.checkpoint(path, size=SIZE, trained_on=whole, **drops)
    for name, given in (("something", {"age": 55}), ("nothing", {})):
        caplog.clear()
        inference.predict_files(photographs[:1], [model], metadata=given)
        found = re.search("sex.*: missing here but never", caplog.text) is not None
        assert found == told[name], name


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
