import evaluation_examples as examples
import numpy as np
import pandas as pd
import pytest

from melanoma import config
from melanoma.errors import InputError
from melanoma.evaluation.calibration import apply_decision, calibrate, fit_decision
from melanoma.evaluation.combine import combine, decide_together, join_folds
from melanoma.evaluation.tables import judge, probability_table, read_predictions
from melanoma.files import write_table
from melanoma.isic import CLASSES
from melanoma.prediction_columns import WITHOUT_METADATA
from melanoma.seeds import runs


def _folds(count=3):
    """A catalogue, each fold's predictions of its validation part, and their decision."""
    table = examples.catalogue(90)
    groups = pd.factorize(table["group"])[0] % count
    folds = [table[groups == fold].reset_index(drop=True) for fold in range(count)]
    raw = [examples.predictions(part, seed) for seed, part in enumerate(folds)]
    splits = pd.concat(
        pd.DataFrame({"image": table["image"], "fold": fold, "split": "train"}).assign(
            split=np.where(groups == fold, "val", "train")
        )
        for fold in range(count)
    )
    decision = _decide(raw, table, splits)
    return table, raw, decision, splits


def _decide(raw, table, splits):
    one = config.parse({"experiments": {"one": {"model": {"metadata": False}}}}).experiment("one")
    models = [f"results/training/one/fold{fold}/model.ckpt" for fold in range(len(raw))]
    target = "results/predictions/one/decision.json"
    return decide_together(raw, table, splits, one, models=models, target=target, tta=False)


def test_validation_is_the_out_of_fold_union():
    table, raw, decision, _ = _folds()
    joined, calibrated = combine("val", raw[::-1], decision)
    assert list(joined.columns) == ["image", *CLASSES]
    assert list(joined["image"]) == sorted(table["image"])
    assert list(calibrated["image"]) == list(joined["image"])
    own = apply_decision(raw[1], decision).set_index("image")
    found = calibrated.set_index("image").loc[own.index]
    pd.testing.assert_frame_equal(found, own)


def test_the_decision_is_fitted_on_the_union():
    table, raw, decision, splits = _folds()
    union = pd.concat(raw).sort_values("image", ignore_index=True)
    rows = table.set_index("image").loc[union["image"]]
    trained = splits[splits["split"] == "train"]["image"]
    expected = fit_decision(
        union[["image", *CLASSES]],
        list(rows["diagnosis"]),
        table.set_index("image").loc[trained, "diagnosis"].value_counts().to_dict(),
        "weighted",
        groups=list(rows["group"]),
    )
    members = [f"../../training/one/fold{fold}/model.ckpt" for fold in range(3)]
    assert decision == expected | {"members": members}
    # Every point is that of the union, and of no fold alone.
    for fold in range(3):
        alone = _decide(raw[fold : fold + 1], table, splits[splits["fold"] == fold].assign(fold=0))
        assert alone["temperature"] != decision["temperature"]


def test_other_subsets_are_the_calibrated_mean_of_the_folds():
    table, _, decision, _ = _folds()
    tests = [
        examples.predictions(table, seed).sample(frac=1, random_state=seed) for seed in (7, 8, 9)
    ]
    joined, calibrated = combine("test", tests, decision)
    assert list(joined["image"]) == sorted(table["image"])
    mean = np.mean([t.sort_values("image")[list(CLASSES)].to_numpy() for t in tests], axis=0)
    np.testing.assert_allclose(joined[list(CLASSES)], mean)
    np.testing.assert_allclose(calibrated[list(CLASSES)], calibrate(mean, decision))
    np.testing.assert_allclose(calibrated[list(CLASSES)].sum(axis=1), 1.0)


def test_one_fold_stays_as_it_is():
    _, raw, decision, _ = _folds()
    joined, _ = combine("test", raw[:1], decision)
    pd.testing.assert_frame_equal(joined, raw[0][["image", *CLASSES]])


def test_an_image_is_without_metadata_where_no_model_sees_any():
    table = examples.catalogue(90)
    raw = [examples.predictions(table)]
    hidden = raw[0][list(CLASSES)].set_axis(list(WITHOUT_METADATA), axis=1)
    own = pd.concat([raw[0], hidden], axis=1)
    counts = table["diagnosis"].value_counts().to_dict()
    decision = fit_decision(own, list(table["diagnosis"]), counts, "weighted")
    known = np.arange(len(own)) % 3
    # The second model has never seen one of the categories, and takes it for missing.
    folds = [own.assign(known_fields=known), own.assign(known_fields=np.maximum(known - 1, 0))]
    _, calibrated = combine("test", folds, decision)
    np.testing.assert_array_equal(calibrated["without_metadata"] == 1, known == 0)


def _seeds(count=2, folds=2):
    """As `_folds`, each fold predicted with several seeds: the tables in the order of the runs."""
    table, _, _, splits = _folds(folds)
    parts = [
        table[table["image"].isin(own["image"][own["split"] == "val"])].reset_index(drop=True)
        for _, own in splits.groupby("fold")
    ]
    names = runs(folds, count)
    raw = [examples.predictions(parts[run.fold], 10 * run.seed + run.fold) for run in names]
    return table, names, raw, splits


def test_seeds_of_a_fold_are_averaged_before_folds_are_joined():
    _, names, raw, _ = _seeds(3)
    shuffled = [table.sample(frac=1, random_state=place) for place, table in enumerate(raw)]
    joined = join_folds("val", shuffled, names).set_index("image")
    for fold in range(2):
        own = [
            table.set_index("image")
            for table, run in zip(raw, names, strict=True)
            if run[0] == fold
        ]
        assert len(own) == 3
        mean = sum(each[list(CLASSES)] for each in own) / 3
        pd.testing.assert_frame_equal(joined.loc[mean.index, list(CLASSES)], mean)
    assert len(joined) == len(raw[0]) + len(raw[1])


def test_elsewhere_all_folds_and_seeds_are_averaged():
    table = examples.catalogue(60)
    raw = [examples.predictions(table, seed) for seed in range(4)]
    joined = join_folds("test", raw, runs(2, 2))
    mean = sum(each[list(CLASSES)] for each in raw) / 4
    pd.testing.assert_frame_equal(joined[list(CLASSES)], mean)


def test_the_decision_of_several_seeds_has_all_of_them_as_members():
    table, names, raw, splits = _seeds()
    one = config.parse({"experiments": {"one": {"model": {"metadata": False}}}}).experiment("one")
    models = [f"results/training/one/fold{run.name}/model.ckpt" for run in names]
    target = "results/predictions/one/decision.json"
    decision = decide_together(
        raw, table, splits, one, models=models, target=target, tta=False, runs=names
    )
    folders = ("fold0", "fold1", "fold0-seed1", "fold1-seed1")
    assert decision["members"] == [f"../../training/one/{name}/model.ckpt" for name in folders]
    union = join_folds("val", raw, names)
    means = [union[union["image"].isin(raw[fold]["image"])] for fold in range(2)]
    expected = decide_together(
        means, table, splits, one, models=models[:2], target=target, tta=False
    )
    assert decision["temperature"] == expected["temperature"]
    assert decision["validation"] == expected["validation"]


def test_seeds_of_a_fold_must_have_the_same_images():
    _, names, raw, _ = _seeds()
    name = raw[2]["image"].iloc[0]
    with pytest.raises(InputError, match=f"fold 0-seed1, val: image {name} is not in every"):
        join_folds("val", [*raw[:2], raw[2][1:], raw[3]], names)


def test_images_that_do_not_fit_are_named():
    _, raw, decision, _ = _folds()
    name = raw[0]["image"].iloc[0]
    with pytest.raises(InputError, match=f"validation parts together: image {name} is there twice"):
        combine("val", [raw[0], pd.concat([raw[1], raw[0][:1]]), raw[2]], decision)
    with pytest.raises(InputError, match=f"fold 0, val: image {name} is there twice"):
        combine("val", [pd.concat([raw[0], raw[0][:1]]), *raw[1:]], decision)
    with pytest.raises(InputError, match=f"fold 1, test: image {name} is not in every"):
        combine("test", [raw[0], raw[0][1:]], decision)
    with pytest.raises(InputError, match="no table of predictions to combine for test"):
        combine("test", [], decision)


def test_other_numbers_are_joined_too():
    _, raw, *_ = _folds()
    joined = join_folds("val", [table[["image", "energy"]] for table in raw])
    assert len(joined) == sum(len(table) for table in raw)
    assert list(joined.columns) == ["image", "energy"]


def test_tables_survive_the_way_through_a_file(tmp_path):
    _, raw, *_ = _folds()
    write_table(tmp_path / "val.csv", raw[0])
    pd.testing.assert_frame_equal(
        read_predictions(tmp_path / "val.csv"), raw[0].astype({"image": "str"}), rtol=1e-14
    )


BROKEN = {
    "no file": (None, "no such file"),
    "missing column": (lambda t: t.drop(columns="DF"), "row 1: column DF is missing"),
    "twice": (lambda t: pd.concat([t[:2], t[:1]]), "row 4, column image: .* is there twice"),
    "text": (lambda t: t.astype({"NV": object}).assign(NV="x"), "row 2, column NV: 'x'"),
    "gap": (lambda t: t.assign(energy=np.nan), "row 2, column energy"),
    "above one": (lambda t: t.assign(MEL=1.5), "row 2, column MEL: 1.5 is not a number"),
    "no distribution": (lambda t: t.assign(MEL=0.0), "do not add up to 1"),
    "half a field": (lambda t: t.assign(known_fields=-1), "row 2, column known_fields: -1"),
    "no distribution without metadata": (
        lambda t: t.assign(**dict.fromkeys(WITHOUT_METADATA, 0.5)),
        "row 2, column image: .* do not add up to 1",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_bad_tables_are_named(tmp_path, name):
    spoil, message = BROKEN[name]
    path = tmp_path / "val.csv"
    if spoil:
        write_table(path, spoil(_folds()[1][0]))
    with pytest.raises(InputError, match=r"val\.csv.*" + message):
        read_predictions(path)


def test_an_empty_file_is_no_table(tmp_path):
    (tmp_path / "val.csv").write_text("")
    with pytest.raises(InputError, match="not a table of predictions"):
        read_predictions(tmp_path / "val.csv")


def test_judging_joins_by_image_and_leaves_unknown_ones_out():
    table = examples.catalogue(30)
    table.loc[3, "diagnosis"] = "UNK"
    raw = examples.predictions(table)
    judged = judge(raw.sample(frac=1, random_state=0), table)
    assert judged.images == tuple(table["image"].drop(3))
    assert judged.unknown == 1
    assert list(judged.groups) == list(table["group"].drop(3))
    assert [CLASSES[k] for k in judged.truth] == list(table["diagnosis"].drop(3))
    np.testing.assert_array_equal(judged.probabilities, raw[list(CLASSES)].drop(3))
    assert judged.support.sum() == len(table) - 1
    with pytest.raises(InputError, match="image stranger"):
        judge(probability_table(["stranger"], np.full((1, 8), 1 / 8)), table)
