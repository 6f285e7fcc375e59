import json
from pathlib import Path

import evaluation_examples as examples
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from melanoma.catalogue import COLUMNS
from melanoma.errors import InputError
from melanoma.evaluation.calibration import fit_decision
from melanoma.evaluation.combine import combine
from melanoma.evaluation.metrics import HEADLINE
from melanoma.evaluation.outputs import table_files
from melanoma.evaluation.report import evaluate
from melanoma.files import read_json, sha256_of, write_json, write_table
from melanoma.isic import CLASSES
from melanoma.prediction_columns import WITHOUT_METADATA


def _with_metadata(raw, share):
    """Predictions of a model that uses metadata, of which some images have none."""
    logits = np.log(raw[list(CLASSES)].to_numpy()) * 0.4
    hidden = pd.DataFrame(examples.softmax(logits), columns=list(WITHOUT_METADATA))
    bare = np.random.default_rng(len(raw)).random(len(raw)) < share
    raw = pd.concat([raw, hidden], axis=1).assign(known_fields=np.where(bare, 0, 3))
    raw.loc[bare, list(CLASSES)] = hidden.loc[bare].to_numpy()
    return raw


def _write(
    folder,
    *,
    lesions=160,
    subsets=("val", "test"),
    relabel=None,
    rename=None,
    seed=0,
    bare=0.0,
):
    """Catalogue and combined predictions of an experiment; the keyword arguments of `evaluate`."""
    table = examples.catalogue(lesions)
    table["diagnosis"] = table["diagnosis"].replace(rename or {})
    found = examples.parts(table)
    raw = {name: examples.predictions(found[name], seed, temperature=1.6) for name in subsets}
    if bare:
        raw = {name: _with_metadata(one, bare) for name, one in raw.items()}
    if relabel:
        table.loc[found[relabel].index, "diagnosis"] = np.random.default_rng(1).permutation(
            found[relabel]["diagnosis"].to_numpy()
        )
    write_table(folder / "catalogue.csv", table[list(COLUMNS)])
    truth = table.loc[found["val"].index]
    decision = fit_decision(
        raw["val"],
        list(truth["diagnosis"]),
        table["diagnosis"].value_counts().to_dict(),
        "weighted",
        groups=list(truth["group"]),
    )
    write_json(folder / "decision.json", decision | {"members": ["a.ckpt", "b.ckpt"]})
    for name in subsets:
        joined, calibrated = combine(name, [raw[name]], decision)
        write_table(folder / f"{name}.csv", joined)
        write_table(folder / f"{name}_calibrated.csv", calibrated)
    return {
        "raw": {name: folder / f"{name}.csv" for name in subsets},
        "calibrated": {name: folder / f"{name}_calibrated.csv" for name in subsets},
        "decision": folder / "decision.json",
        "catalogue": folder / "catalogue.csv",
    }


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluated experiment: inputs, and numbers in out/."""
    folder = tmp_path_factory.mktemp("experiment")
    evaluate(**_write(folder), output=folder / "out", resamples=60)
    return folder


def _tables(folder, name):
    return pd.read_csv(folder / "out" / name)


def test_every_file_is_written_and_no_other(evaluated):
    names = sorted(path.name for path in (evaluated / "out").iterdir())
    assert names == sorted(["metrics.json", *table_files(["val", "test"])])


def test_headline_figures_are_plain_numbers_with_intervals(evaluated):
    found = read_json(evaluated / "out/metrics.json")
    table = pd.read_csv(evaluated / "catalogue.csv").set_index("image")
    for subset in ("val", "test"):
        predictions = pd.read_csv(evaluated / f"{subset}.csv")
        truth = table.loc[predictions["image"], "diagnosis"].to_numpy()
        decided = np.array(CLASSES)[predictions[list(CLASSES)].to_numpy().argmax(axis=1)]
        figures = found[subset]
        assert tuple(figures) == HEADLINE
        assert figures["accuracy"] == pytest.approx((truth == decided).mean())
        assert figures["balanced_accuracy"] == pytest.approx(
            reference.balanced_accuracy_score(truth, decided)
        )
        assert figures["weighted_f1"] == pytest.approx(
            reference.f1_score(truth, decided, average="weighted")
        )
        for name, (low, high) in found["intervals"][subset].items():
            assert low <= figures[name] <= high
        assert set(found["intervals"][subset]) == set(HEADLINE)
        assert found["n"][subset]["images"] == len(predictions)
        assert sum(found["n"][subset]["classes"].values()) == len(predictions)
    assert found["inputs"]["test.csv"] == sha256_of(evaluated / "test.csv")
    assert found["bootstrap"]["resamples"] == 60
    assert (
        found["calibration"]["val"]["calibrated"]["nll"] < found["calibration"]["val"]["raw"]["nll"]
    )


def test_calibration_has_intervals_beside_it(evaluated):
    found = read_json(evaluated / "out/metrics.json")["calibration"]
    table = _tables(evaluated, "calibration.csv").set_index(["subset", "probabilities", "figure"])
    for subset in ("val", "test"):
        for kind in ("raw", "calibrated"):
            figures = dict(found[subset][kind])
            ends = figures.pop("intervals")
            assert set(ends) >= {"debiased_error", "melanoma_slope", "melanoma_intercept"}
            assert set(figures) == set(table.xs((subset, kind), level=[0, 1]).index)
            for name, value in figures.items():
                row = table.loc[(subset, kind, name)]
                assert row["value"] == pytest.approx(value)
                if name in ends:
                    assert [row["low"], row["high"]] == pytest.approx(ends[name])
                    assert row["low"] <= value <= row["high"]


def test_per_class_and_confusion_tables(evaluated):
    table = _tables(evaluated, "per_class.csv")
    assert list(table["class"]) == [*CLASSES, *CLASSES]
    assert list(table["subset"].unique()) == ["val", "test"]
    for name in ("precision", "recall", "specificity", "f1", "auroc", "average_precision"):
        assert {name, f"{name}_low", f"{name}_high"} <= set(table)
    counts = _tables(evaluated, "confusion_test.csv")
    test = table[table["subset"] == "test"].set_index("class")
    np.testing.assert_array_equal(counts[list(CLASSES)].sum(axis=1), test["support"])
    hits = np.diagonal(counts[list(CLASSES)])
    np.testing.assert_allclose(hits / test["support"], test["recall"])


def test_operating_points_carry_validation_thresholds(evaluated):
    table = _tables(evaluated, "operating_points.csv").set_index(["subset", "point"])
    summary = read_json(evaluated / "out/metrics.json")["melanoma"]
    catalogue = pd.read_csv(evaluated / "catalogue.csv").set_index("image")
    for subset in ("val", "test"):
        predictions = pd.read_csv(evaluated / f"{subset}_calibrated.csv")
        melanoma = (catalogue.loc[predictions["image"], "diagnosis"] == "MEL").to_numpy()
        for name, threshold in summary["thresholds"].items():
            row = table.loc[(subset, name)]
            assert row["threshold"] == threshold
            called = (predictions["MEL"] >= threshold).to_numpy()
            assert row["sensitivity"] == pytest.approx(called[melanoma].mean())
            assert row["specificity"] == pytest.approx((~called[~melanoma]).mean())
            assert row["ppv"] == pytest.approx(melanoma[called].mean())
            assert row["npv"] == pytest.approx((~melanoma[~called]).mean())
            assert row["sensitivity_low"] <= row["sensitivity"] <= row["sensitivity_high"]
            reached = summary["reached"][subset][name]
            assert reached["specificity"] == pytest.approx(row["specificity"])
    decision = read_json(evaluated / "decision.json")
    points = decision["operating_points"]
    assert summary["thresholds"] == {name: one["threshold"] for name, one in points.items()}
    assert summary["absent"] == decision["absent_points"]
    assert summary["models"] == 2
    assert summary["without_metadata"] is None
    for name, one in points.items():
        assert table.loc[("val", name), one["goal"]] == pytest.approx(one[one["goal"]])


def test_images_without_metadata_are_held_against_their_own_threshold(tmp_path):
    evaluate(**_write(tmp_path, bare=0.4, lesions=400), output=tmp_path / "out", resamples=30)
    decision = read_json(tmp_path / "decision.json")
    summary = read_json(tmp_path / "out/metrics.json")["melanoma"]
    table = _tables(tmp_path, "operating_points.csv").set_index(["subset", "point"])
    parts = _tables(tmp_path, "subgroups.csv").set_index(["subset", "variable", "part"])
    catalogue = pd.read_csv(tmp_path / "catalogue.csv", keep_default_na=False).set_index("image")
    others = decision["without_metadata"]["operating_points"]
    for subset in ("val", "test"):
        calibrated = pd.read_csv(tmp_path / f"{subset}_calibrated.csv")
        bare = calibrated["without_metadata"] == 1
        assert summary["without_metadata"]["images"][subset] == bare.sum() > 0
        rows = catalogue.loc[calibrated["image"]]
        melanoma = (rows["diagnosis"] == "MEL").to_numpy()
        for name, one in decision["operating_points"].items():
            cuts = np.where(bare, others[name]["threshold"], one["threshold"])
            called = (calibrated["MEL"] >= cuts).to_numpy()
            row = table.loc[(subset, name)]
            assert row["sensitivity"] == pytest.approx(called[melanoma].mean())
            assert row["specificity"] == pytest.approx((~called[~melanoma]).mean())
            assert row["sensitivity_low"] <= row["sensitivity"] <= row["sensitivity_high"]
            assert row["threshold"] == one["threshold"]
            if name == "sensitivity_90":
                inside = (rows["sex"] == "male").to_numpy()
                found = parts.loc[(subset, "sex", "male"), "specificity_at_point"]
                assert found == pytest.approx((~called[~melanoma & inside]).mean())
    older = pd.read_csv(tmp_path / "test_calibrated.csv").drop(columns="without_metadata")
    write_table(tmp_path / "test_calibrated.csv", older)
    paths = {name: tmp_path / f"{name}.csv" for name in ("val", "test")}
    held = {name: tmp_path / f"{name}_calibrated.csv" for name in paths}
    files = [tmp_path / name for name in ("decision.json", "catalogue.csv", "out")]
    with pytest.raises(InputError, match=r"test_calibrated\.csv: row 1: column without_metadata"):
        evaluate(paths, held, *files, resamples=0)
    thresholds = {name: one["threshold"] for name, one in others.items()}
    assert summary["without_metadata"]["thresholds"] == thresholds != summary["thresholds"]


def test_predictive_values_follow_bayes(evaluated):
    points = _tables(evaluated, "operating_points.csv").set_index(["subset", "point"])
    for _, row in _tables(evaluated, "predictive_values.csv").iterrows():
        point = points.loc[(row["subset"], row["point"])]
        hits = row["prevalence"] * point["sensitivity"]
        alarms = (1 - row["prevalence"]) * (1 - point["specificity"])
        assert row["ppv"] == pytest.approx(hits / (hits + alarms))
        assert row["ppv_low"] <= row["ppv"] <= row["ppv_high"]


def test_net_benefit_by_definition(evaluated):
    table = _tables(evaluated, "decision_curve.csv")
    row = table[(table["subset"] == "test") & (table["threshold"] == 0.2)].iloc[0]
    predictions = pd.read_csv(evaluated / "test_calibrated.csv")
    catalogue = pd.read_csv(evaluated / "catalogue.csv").set_index("image")
    melanoma = (catalogue.loc[predictions["image"], "diagnosis"] == "MEL").to_numpy()
    called = (predictions["MEL"] >= 0.2).to_numpy()
    expected = ((called & melanoma).sum() - 0.25 * (called & ~melanoma).sum()) / len(called)
    assert row["model"] == pytest.approx(expected)
    assert row["all"] == pytest.approx(melanoma.mean() - 0.25 * (~melanoma).mean())
    assert row["model_low"] < row["model"] < row["model_high"]


@pytest.mark.parametrize("percent", [2, 5, 10, 20])
@pytest.mark.parametrize("threshold", [0.05, 0.2])
def test_net_benefit_at_another_prevalence(evaluated, percent, threshold):
    """As counted in a crowd that has the images as often as the prevalence asks for."""
    table = _tables(evaluated, "decision_curve.csv")
    row = table[(table["subset"] == "test") & (table["threshold"] == threshold)].iloc[0]
    predictions = pd.read_csv(evaluated / "test_calibrated.csv")
    catalogue = pd.read_csv(evaluated / "catalogue.csv").set_index("image")
    melanoma = (catalogue.loc[predictions["image"], "diagnosis"] == "MEL").to_numpy()
    times = np.where(melanoma, percent * (~melanoma).sum(), (100 - percent) * melanoma.sum())
    crowd = np.repeat(np.arange(len(melanoma)), times)
    truth = melanoma[crowd]
    assert truth.mean() == pytest.approx(percent / 100)
    called = (predictions["MEL"] >= threshold).to_numpy()[crowd]
    odds = threshold / (1 - threshold)
    expected = ((called & truth).sum() - odds * (called & ~truth).sum()) / len(crowd)
    name = f"model_at_{percent}_percent"
    assert row[name] == pytest.approx(expected)
    assert row[f"all_at_{percent}_percent"] == pytest.approx(truth.mean() - odds * (~truth).mean())
    assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]


def test_curves_end_where_they_must(evaluated):
    for _, curve in _tables(evaluated, "roc.csv").groupby(["subset", "class"]):
        assert curve[["false_positive_rate", "sensitivity"]].iloc[-1].tolist() == [1.0, 1.0]
        assert (curve[["false_positive_rate", "sensitivity"]].diff().dropna() >= 0).all().all()
    areas = _tables(evaluated, "per_class.csv").set_index(["subset", "class"])
    for key, curve in _tables(evaluated, "pr.csv").groupby(["subset", "class"]):
        assert curve["recall"].iloc[-1] == 1.0
        steps = np.diff(curve["recall"], prepend=0) * curve["precision"]
        assert steps.sum() == pytest.approx(areas.loc[key, "average_precision"])


def test_the_roc_table_has_the_area_of_the_curve(evaluated):
    areas = _tables(evaluated, "per_class.csv").set_index(["subset", "class"])
    for key, curve in _tables(evaluated, "roc.csv").groupby(["subset", "class"]):
        x, y = np.r_[0, curve["false_positive_rate"]], np.r_[0, curve["sensitivity"]]
        assert np.trapezoid(y, x) == pytest.approx(areas.loc[key, "auroc"])


def test_test_labels_move_no_threshold(tmp_path, evaluated):
    found = {}
    for name, relabel in (("as it is", None), ("shuffled", "test"), ("control", "val")):
        folder = tmp_path / name
        arguments = _write(folder, relabel=relabel)
        found[name] = evaluate(**arguments, output=folder / "out", resamples=0)
    thresholds = {name: summary["melanoma"]["thresholds"] for name, summary in found.items()}
    assert thresholds["as it is"] == thresholds["shuffled"]
    assert thresholds["as it is"] != thresholds["control"]
    assert found["as it is"]["test"] != found["shuffled"]["test"]


def test_the_same_inputs_give_the_same_bytes(tmp_path, evaluated):
    evaluate(**_write(tmp_path), output=tmp_path / "out", resamples=60)
    for name in ("metrics.json", *table_files(["val", "test"])):
        assert (tmp_path / "out" / name).read_bytes() == (evaluated / "out" / name).read_bytes()


def test_without_a_test_part_and_without_resamples(tmp_path):
    found = evaluate(**_write(tmp_path, subsets=("val",)), output=tmp_path / "out", resamples=0)
    assert "test" not in found
    assert found["intervals"] == {"val": {}}
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == sorted(["metrics.json", *table_files(["val"])])
    assert _tables(tmp_path, "per_class.csv")["recall_low"].isna().all()


def test_absent_classes_are_null_with_a_reason(tmp_path):
    arguments = _write(tmp_path, lesions=40, rename={"MEL": "NV"})
    found = evaluate(**arguments, output=tmp_path / "out", resamples=10)
    assert found["test"]["melanoma_auroc"] is None
    assert "melanoma_auroc" in found["undefined"]["test"]
    assert found["test"]["macro_auroc"] is not None
    assert found["melanoma"]["default"] is None
    assert found["melanoma"]["thresholds"] == {}
    assert "no melanoma" in found["melanoma"]["absent"]["sensitivity_90"]
    assert "NaN" not in json.dumps(found)


def test_extra_subgroups(tmp_path):
    arguments = _write(tmp_path, subsets=("val",))
    images = pd.read_csv(tmp_path / "catalogue.csv")["image"]
    extra = pd.DataFrame(
        {
            "image": images,
            "skin": ["light", "dark"] * (len(images) // 2) + ["light"] * (len(images) % 2),
        }
    )
    evaluate(**arguments, output=tmp_path / "out", resamples=0, extra_parts=extra)
    table = _tables(tmp_path, "subgroups.csv")
    assert set(table["part"][table["variable"] == "skin"]) == {"light", "dark"}


def test_inputs_that_do_not_fit_are_refused(tmp_path):
    arguments = _write(tmp_path)
    swapped = arguments | {"raw": {"val": tmp_path / "test.csv"}}
    with pytest.raises(InputError, match=r"val_calibrated\.csv: not the images of"):
        evaluate(**swapped, output=tmp_path / "out", resamples=0)
    alone = {"test": tmp_path / "test.csv"}, {"test": tmp_path / "test_calibrated.csv"}
    rest = tmp_path / "decision.json", tmp_path / "catalogue.csv", tmp_path / "out"
    with pytest.raises(InputError, match="validation predictions are missing"):
        evaluate(*alone, *rest, resamples=0)
    table = pd.read_csv(tmp_path / "catalogue.csv", keep_default_na=False)
    write_table(tmp_path / "catalogue.csv", table.assign(diagnosis="UNK"))
    with pytest.raises(InputError, match="no image of known diagnosis"):
        evaluate(**arguments, output=tmp_path / "out", resamples=0)
