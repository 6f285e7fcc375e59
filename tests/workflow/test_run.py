"""A whole run on the micro configuration, and what a change of it would run again."""

import json
import re
import shutil

import pandas as pd
import pytest
import yaml
from runs import ROOT, planned, snakemake

TRAINING = {"train", "predict", "calibrate", "combine", "evaluate", "figures", "compare"}
IMAGES = {"remove_hair", "resize", "pack"}


def test_the_run_leaves_the_promised_files(finished_run):
    results = finished_run / "results"
    metrics = json.loads((results / "evaluation/fusion/metrics.json").read_text())
    assert set(metrics) >= {"val", "test", "intervals"}
    assert 0 <= metrics["test"]["balanced_accuracy"] <= 1
    for experiment in ("fusion", "metadata_only"):
        fold = results / "training" / experiment / "fold0"
        for name in ("model.ckpt", "last.ckpt", "decision.json", "history.csv"):
            assert (fold / name).stat().st_size > 0
    for name in ("index.csv", "index.html"):
        assert (results / "gradcam" / name).stat().st_size > 0
    assert not list(results.glob("images/train/frames/**/*.frames")), "shards are temporary"


def test_predictions_are_in_the_official_form(finished_run):
    table = pd.read_csv(finished_run / "results/predictions/fusion/test.csv")
    assert list(table.columns) == ["image", "MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC"]
    assert table.drop(columns="image").sum(axis=1).to_numpy() == pytest.approx(1)
    splits = pd.read_csv(finished_run / "results/splits.csv")
    assert set(table["image"]) == set(splits["image"][splits["split"] == "test"])


def test_every_job_left_its_log_and_benchmark(finished_run):
    for rule in ("inspect", "remove_hair", "train", "predict", "evaluate", "combine"):
        assert list((finished_run / "logs" / rule).rglob("*.log"))
        assert list((finished_run / "results/benchmarks" / rule).rglob("*.tsv"))


def test_a_second_run_has_nothing_to_do(finished_run):
    result = snakemake(finished_run)
    assert "Nothing to be done" in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("change", "must", "must_not"),
    [
        ("training={lr: 0.5}", {"train", "predict", "evaluate"}, IMAGES | {"split", "catalogue"}),
        ("gradcam={per_class: 2}", {"gradcam"}, TRAINING | IMAGES | {"split"}),
        ("images={size: 48}", IMAGES | {"train"}, {"split", "catalogue", "inspect"}),
        ("images={shards: 3}", set(), TRAINING | {"split", "catalogue", "gradcam"}),
        ("images={shards: 3}; training={lr: 0.5}", {"train", "predict"}, IMAGES | {"split"}),
        ("training={nodes: 2, gpus_per_node: 4}", set(), TRAINING | IMAGES | {"split"}),
        ("training={compile: 'off', resident: 'off'}", set(), TRAINING | IMAGES),
        ("splits={seed: 1}", {"split", "train"}, IMAGES | {"catalogue"}),
        ("evaluation={bootstrap: 60}", {"evaluate"}, {"train", "predict", "split"} | IMAGES),
    ],
)
def test_a_changed_key_runs_again_what_it_touches(finished_run, change, must, must_not):
    jobs = set(planned(snakemake(finished_run, "-n", "--config", *change.split("; "))))
    assert must <= jobs
    assert not must_not & jobs


def test_more_seeds_train_nothing_again_that_is_there(finished_run):
    seeds = ("-n", "--config", "training={seeds: 3}")
    result = snakemake(finished_run, *seeds)
    trained = re.findall(r"Training (\w+), fold (\S+)", result.stdout + result.stderr)
    more = [(name, f"0-seed{n}") for name in ("fusion", "metadata_only") for n in (1, 2)]
    assert sorted(set(trained)) == more
    jobs = planned(result)
    assert not (IMAGES | {"split", "catalogue", "inspect", "sheets"}) & set(jobs)
    assert {name: jobs[name] for name in ("train", "calibrate", "predict")} == {
        "train": 4,
        "calibrate": 4,
        "predict": 8,
    }
    follows = {"combine": 2, "evaluate": 2, "compare": 1, "training_curves": 2, "summary": 1}
    assert follows == {name: jobs[name] for name in follows}


@pytest.mark.parametrize(
    ("lost", "rule"),
    [
        ("catalogue/skin_tone.csv", "skin_tone"),
        ("sheets/classes.png", "sheets"),
        ("provenance.json", "provenance"),
        ("training/fusion/fold0/model.ckpt", "train"),
        ("training/fusion/fold0/decision.json", "calibrate"),
        ("predictions/fusion/test.csv", "combine"),
        ("predictions/fusion/decision.json", "combine"),
        ("evaluation/fusion/metrics.json", "evaluate"),
        ("evaluation/fusion/per_class.csv", "evaluate"),
        ("evaluation/fusion/metadata.csv", "metadata"),
        ("evaluation/metadata_only/metadata.svg", "metadata"),
        ("evaluation/fusion/training_curves.csv", "training_curves"),
        ("MODEL_CARD.md", "summary"),
    ],
)
def test_a_lost_result_is_made_again(finished_run, tmp_path, lost, rule):
    shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    (tmp_path / "run/results" / lost).unlink()
    assert rule in planned(snakemake(tmp_path / "run", "-n"))


@pytest.mark.parametrize("lost", ["catalogue/train_quarantine.csv", "splits_audit.csv"])
def test_a_lost_table_trains_nothing_anew(finished_run, tmp_path, lost):
    shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    (tmp_path / "run/results" / lost).unlink()
    assert not planned(snakemake(tmp_path / "run", "-n"))


def test_resources_run_nothing_again(finished_run):
    result = snakemake(finished_run, "-n", "--set-resources", "train:mem_mb=9000")
    assert not planned(result)


@pytest.mark.parametrize(
    ("module", "must", "must_not"),
    [
        ("hair/removal.py", IMAGES | {"train", "gradcam"}, {"split", "catalogue", "inspect"}),
        ("evaluation/figures/curves.py", {"figures"}, {"train", "evaluate", "gradcam"} | IMAGES),
        ("splits.py", {"split", "train"}, IMAGES | {"catalogue"}),
    ],
)
def test_edited_code_runs_again_what_follows(finished_run, tmp_path, module, must, must_not):
    edit(module, tmp_path)
    result = snakemake(finished_run, "-n", PYTHONPATH=str(tmp_path))
    jobs = set(planned(result))
    assert must <= jobs
    assert not must_not & jobs


def edit(module, folder):
    """A copy of the package with a change in one module."""
    shutil.copytree(ROOT / "melanoma", folder / "melanoma")
    edited = folder / "melanoma" / module
    edited.write_text(edited.read_text() + "\nEDITED = True\n")


def test_edited_inspection_reads_all_again_whatever_the_number_of_shards(finished_run, tmp_path):
    edit("fingerprint.py", tmp_path)
    shards = ["--config", "images={shards: 3}"]
    jobs = planned(snakemake(finished_run, "-n", *shards, PYTHONPATH=str(tmp_path)))
    assert jobs["inspect"] == 3


def test_heat_maps_are_those_of_the_experiment_that_comes_first(finished_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run, symlinks=True)
    for folder in ("training", "predictions", "evaluation"):
        shutil.copytree(run / "results" / folder / "fusion", run / "results" / folder / "other")

    def jobs(experiments):
        return planned(snakemake(run, "-n", "results/gradcam", "--config", experiments))

    assert not jobs("experiments={fusion: {}, other: {}}")
    assert jobs("experiments={other: {}, fusion: {}}") == {"gradcam": 1}


def test_another_file_of_own_splits_is_read(finished_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run, symlinks=True)
    for name in ("first.csv", "second.csv"):
        shutil.copy2(run / "results/splits.csv", run / name)
    split = ["results/splits.csv", "--config"]
    snakemake(run, *split, "splits={file: first.csv}")
    assert not planned(snakemake(run, "-n", *split, "splits={file: first.csv}"))
    assert planned(snakemake(run, "-n", *split, "splits={file: second.csv}")) == {"split": 1}


def test_the_report_holds_every_category(finished_run, tmp_path):
    report = tmp_path / "report.html"
    snakemake(finished_run, "--report", str(report))
    text = report.read_text()
    for category in ("Data", "Training", "Evaluation", "Explanation", "Provenance"):
        assert category in text


def test_another_number_of_shards_gives_the_same_store(finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    recipe = json.loads((finished_run / "results/images/train/lines-crop-32.json").read_text())
    target = "results/images/train/lines-crop-32.json"
    snakemake(tmp_path / "run", target, "--config", "images={shards: 3}")
    again = json.loads((tmp_path / "run" / target).read_text())
    assert again["sha256"] == recipe["sha256"]


def test_the_configuration_of_the_run_is_in_its_provenance(finished_run):
    provenance = json.loads((finished_run / "results/provenance.json").read_text())
    written = yaml.safe_load((finished_run / "config/config.yaml").read_text())
    assert provenance["config"]["training"]["lr"] == written["training"]["lr"]
    assert provenance["versions"]["torch"]
