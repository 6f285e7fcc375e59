"""Numbers that can be published: ablations, folds, a user's splits, the official test set."""

import io
import json
import shutil
import zipfile

import pandas as pd
import pytest
import yaml
from runs import MICRO, ROOT, planned, snakemake, write_config

from melanoma.catalogue import read_catalogue
from melanoma.cli import main
from melanoma.submission import read_submission


@pytest.fixture
def copy(finished_run, tmp_path):
    """A copy of the finished run to go on from."""
    shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    return tmp_path / "run"


def test_ablations_share_what_they_have_in_common(tmp_path):
    write_config(tmp_path, {})
    files = [str(ROOT / "config" / name) for name in ("config.yaml", "ablations.yaml")]
    jobs = planned(snakemake(tmp_path, "-n", "--configfile", *files))
    experiments = yaml.safe_load((ROOT / "config/ablations.yaml").read_text())["experiments"]
    assert len(experiments) == 12
    assert jobs["train"] == 12
    assert jobs["pack"] == 3
    assert jobs["inspect"] == 16
    assert jobs["metadata"] == 11
    assert jobs["compare"] == jobs["split"] == jobs["gradcam"] == 1


def test_the_official_test_set_must_be_configured(tmp_path):
    write_config(tmp_path, {"data": {"test": None}})
    result = snakemake(tmp_path, "-n", "results/official", check=False)
    assert result.returncode != 0
    assert "data.test is not configured" in result.stdout + result.stderr


def test_the_official_score(copy, archive_folder):
    snakemake(copy, "results/official")
    official = copy / "results/official"
    truth = pd.read_csv(archive_folder / "ISIC_2019_Test_GroundTruth.csv")
    assert len(read_submission(official / "submission.csv", list(truth["image"]))) == len(truth)
    scores = json.loads((official / "scores.json").read_text())
    assert scores["all"]["nine_class"]["images"] == len(truth)
    assert scores["all"]["eight_class"]["images"] == int((truth["UNK"] == 0).sum())
    rows = pd.read_csv(official / "scores.csv").set_index(["images", "score"])
    headline = rows.loc[("all", "nine_class")]
    assert headline["balanced_accuracy"] == pytest.approx(scores["all"]["balanced_accuracy"])
    assert headline["balanced_accuracy_low"] <= headline["balanced_accuracy"]
    assert (copy / "results/catalogue/official_matches.csv").stat().st_size > 0
    assert "<h1>Official score</h1>" in (official / "index.html").read_text()
    again = snakemake(copy, "results/official")
    assert "Nothing to be done" in again.stdout + again.stderr
    assert not set(planned(snakemake(copy, "-n"))), "the rest is as it was"


def test_a_users_splits_are_taken_as_they_are(copy):
    own = pd.read_csv(copy / "results/splits.csv", dtype=str, keep_default_na=False)
    swapped = own["split"].map({"train": "train", "val": "test", "test": "val"})
    own.assign(split=swapped).sample(frac=1, random_state=0).to_csv(copy / "own.csv", index=False)
    snakemake(copy, "results/splits.csv", "--config", "splits={file: own.csv}")
    found = pd.read_csv(copy / "results/splits.csv", dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(found, own.assign(split=swapped))


def test_a_users_splits_that_leak_stop_the_run(copy):
    own = pd.read_csv(copy / "results/splits.csv", dtype=str, keep_default_na=False)
    lesions = own["lesion_id"].where(own["lesion_id"] != "").value_counts()
    first = own.index[own["lesion_id"] == lesions.index[0]][0]
    part = own.loc[first, "split"]
    own.loc[first, "split"] = "val" if part != "val" else "test"
    own.to_csv(copy / "own.csv", index=False)
    result = snakemake(
        copy, "results/splits.csv", "--config", "splits={file: own.csv}", check=False
    )
    assert result.returncode != 0
    assert "the same lesion would be learnt and tested" in result.stdout + result.stderr


@pytest.fixture(scope="module")
def folds_run(finished_run, tmp_path_factory):
    """Two folds of two experiments, predicted by eight views, as far as the tables go."""
    directory = tmp_path_factory.mktemp("folds") / "run"
    shutil.copytree(finished_run, directory, symlinks=True)
    values = yaml.safe_load((directory / "config/config.yaml").read_text())
    values |= {"splits": {"folds": 2}, "evaluation": {**MICRO["evaluation"], "tta": True}}
    write_config(directory, values)
    snakemake(
        directory,
        "results/evaluation/comparison.csv",
        "results/evaluation/fusion/metadata.csv",
        "results/evaluation/fusion/metrics.json",
        *(f"results/predictions/{name}/val.csv" for name in ("fusion", "metadata_only")),
    )
    return directory / "results"


def test_folds_predict_every_image_once(folds_run):
    splits = pd.read_csv(folds_run / "splits.csv")
    rest = set(splits["image"][splits["split"] != "test"])
    for experiment in ("fusion", "metadata_only"):
        val = pd.read_csv(folds_run / f"predictions/{experiment}/val.csv")
        assert len(val) == len(rest)
        assert set(val["image"]) == rest
        folds = [
            pd.read_csv(folds_run / f"predictions/{experiment}/fold{fold}/test.csv")
            for fold in range(2)
        ]
        test = pd.read_csv(folds_run / f"predictions/{experiment}/test.csv")
        mean = (folds[0]["MEL"] + folds[1]["MEL"]) / 2
        assert test["MEL"].to_numpy() == pytest.approx(mean.to_numpy(), abs=1e-12)
        assert not folds[0]["MEL"].equals(folds[1]["MEL"])


@pytest.mark.parametrize("by", ["folder", "checkpoints"])
def test_what_is_predicted_is_what_is_counted(folds_run, tmp_path, capsys, by):
    """Of every test image, at every threshold, by the files that a user has."""
    catalogue = read_catalogue(folds_run / "catalogue/train.csv").set_index("image")
    splits = pd.read_csv(folds_run / "splits.csv")
    test = sorted(splits.loc[splits["split"] == "test", "image"].unique())
    with zipfile.ZipFile(folds_run.parent / "resources/isic2019/train/images.zip") as archive:
        for image in test:
            member = archive.read(catalogue.loc[image, "member"])
            (tmp_path / f"{image}.jpg").write_bytes(member)
    catalogue.loc[test, ["age", "sex", "site"]].to_csv(tmp_path / "metadata.csv")
    models = [folds_run / "predictions/fusion"]
    if by == "checkpoints":
        models = [folds_run / f"training/fusion/fold{fold}/model.ckpt" for fold in range(2)]
    command = ["predict", *(str(tmp_path / f"{image}.jpg") for image in test), "--format", "csv"]
    command += [part for model in models for part in ("--model", str(model))]
    command += ["--metadata", str(tmp_path / "metadata.csv"), "--accelerator", "cpu"]
    melanoma = (catalogue.loc[test, "diagnosis"] == "MEL").to_numpy()
    counted = json.loads((folds_run / "evaluation/fusion/metrics.json").read_text())["melanoma"]
    assert counted["models"] == 2
    assert counted["thresholds"]
    for point in counted["thresholds"]:
        assert main([*command, "--operating-point", point]) == 0
        table = pd.read_csv(io.StringIO(capsys.readouterr().out))
        called = (table["melanoma"] == "yes").to_numpy()
        assert (table["MEL_calibrated"] - table["threshold"]).abs().min() > 1e-6
        reached = counted["reached"]["test"][point]
        assert reached["sensitivity"] == pytest.approx(called[melanoma].mean())
        assert reached["specificity"] == pytest.approx((~called[~melanoma]).mean())


def test_decisions_note_the_views_they_are_fitted_on(folds_run, finished_run):
    for results, tta in ((folds_run, True), (finished_run / "results", False)):
        decisions = [*results.glob("training/fusion/fold*/decision.json")]
        for decision in (*decisions, results / "predictions/fusion/decision.json"):
            assert json.loads(decision.read_text())["tta"] is tta


def test_folds_are_compared_and_metadata_weighed(folds_run):
    table = pd.read_csv(folds_run / "evaluation/comparison.csv")
    assert list(table["experiment"].unique()) == ["fusion", "metadata_only"]
    other = table[table["experiment"] == "metadata_only"].set_index("figure")
    assert other.loc["balanced_accuracy", ["difference_low", "difference_high"]].notna().all()
    metadata = pd.read_csv(folds_run / "evaluation/fusion/metadata.csv")
    found = set(zip(metadata["change"], metadata["field"], strict=True))
    fields = ("age", "sex", "site")
    assert found == {
        ("as it is", "all"),
        ("hidden", "all"),
        *((change, field) for change in ("hidden", "permuted") for field in fields),
    }
    as_it_is = metadata[metadata["change"] == "as it is"].set_index("figure")["value"]
    fusion = table[table["experiment"] == "fusion"].set_index("figure")["value"]
    for figure in ("balanced_accuracy", "macro_auroc"):
        assert as_it_is[figure] == pytest.approx(fusion[figure], abs=1e-3)


def test_skin_tone_is_a_subgroup(finished_run):
    table = pd.read_csv(finished_run / "results/evaluation/fusion/subgroups.csv")
    tones = table[(table["variable"] == "skin tone") & (table["subset"] == "test")]
    whole = table[(table["variable"] == "sex") & (table["subset"] == "test")]
    assert tones["images"].sum() == whole["images"].sum() > 0


def test_a_second_run_gives_the_same_bytes(copy, finished_run):
    results = copy / "results"
    for name in ("training", "predictions", "evaluation"):
        shutil.rmtree(results / name)
    (results / "splits.csv").unlink()
    names = [
        "splits.csv",
        "evaluation/fusion/metrics.json",
        *(f"predictions/fusion/{n}.csv" for n in ("val", "test", "test_calibrated")),
        "predictions/fusion/decision.json",
    ]
    snakemake(copy, "results/evaluation/fusion/metrics.json")
    for name in names:
        first, second = (folder / "results" / name for folder in (finished_run, copy))
        assert first.read_bytes() == second.read_bytes(), name
