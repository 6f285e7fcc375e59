"""The whole workflow on names, values and files that somebody has made up to do harm."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import hostile
import pytest
import torch
import torchvision
from runs import MICRO, snakemake, write_config

from melanoma import cli
from melanoma.synthetic import write_archive

WATCHING = Path(__file__).with_name("watching")
"""On the path of every process of the run, it notes connections and look-ups of names."""


TARGETS = ("results/provenance.json", "results/gradcam", "results/sheets/classes.png")
"""Every rule that handles names, but not all figures, which cost more."""


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Working folder of a finished run, report included."""
    folder = tmp_path_factory.mktemp("hostile")
    write_archive(folder / "drawn", images=120, test_images=9, seed=3, sizes=((160, 120),))
    train = hostile.write(folder / "drawn", folder / "sources")
    weights = folder / "sources" / hostile.WEIGHTS
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), weights)
    model = {**MICRO["model"], "pretrained": True, "weights": str(weights)}
    values = {**MICRO, "data": {"train": train}, "model": model, "experiments": {"fusion": {}}}
    # All test images, so that odd ids are shown whatever this small model makes of them.
    values["gradcam"] = {"per_class": 12}
    working = folder / hostile.FOLDER
    write_config(working, values)
    watched = {
        "PYTHONPATH": f"{WATCHING}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "WATCHED": str(folder / "watched"),
    }
    (folder / "watched").write_text("")
    snakemake(working, *TARGETS, **watched)
    snakemake(working, *TARGETS, "--report", "results/report.html", **watched)
    return working


def written(folder: Path) -> Iterator[Path]:
    """What the run wrote, and not the sources that it links to."""
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def test_no_name_reached_a_shell(working):
    assert not list(working.parent.rglob(hostile.PLANT))
    assert not list(Path.cwd().glob(hostile.PLANT))


def test_every_image_is_in_the_catalogue_or_in_quarantine(working):
    def images(name: str) -> set[str]:
        path = working / "results" / "catalogue" / f"train{name}.csv"
        with path.open(newline="", encoding="utf-8") as stream:
            return {row["image"] for row in csv.DictReader(stream)}

    assert set(hostile.IDS) <= images("")
    assert len(images("_quarantine")) == 3
    with zipfile.ZipFile(next(working.parent.glob("sources/*images.zip"))) as archive:
        members = [name for name in archive.namelist() if name.lower().endswith((".jpg", ".jpeg"))]
    assert len(images("") | images("_quarantine")) == len(members) - 1  # a hidden companion


def test_a_class_without_images_is_evaluated_as_such(working):
    metrics = json.loads((working / "results/evaluation/fusion/metrics.json").read_text())
    assert 0 <= metrics["test"]["balanced_accuracy"] <= 1
    path = working / "results" / "evaluation" / "fusion" / "per_class.csv"
    with path.open(newline="", encoding="utf-8") as stream:
        support = {(row["class"], row["support"]) for row in csv.DictReader(stream)}
    assert (hostile.ABSENT, "0") in support


def test_values_that_cannot_be_are_named_in_the_audit(working):
    path = working / "results" / "catalogue" / "train_audit.csv"
    with path.open(newline="", encoding="utf-8") as stream:
        lost = {row["value"] for row in csv.DictReader(stream) if row["severity"] == "warning"}
    assert {"-5", "200", "abc", "robot", "moon", "NaN"} <= lost


def test_columns_that_are_not_the_challenges_are_in_no_file(working):
    holds = [path for path in written(working) if hostile.SECRET.encode() in path.read_bytes()]
    assert holds == []
    assert hostile.SECRET in next(working.parent.glob("sources/*truth.csv")).read_text()


def test_no_process_talked_to_anybody(working):
    told = (working.parent / "watched").read_text()
    assert told == ""
    check = "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"
    watched = {"PYTHONPATH": str(WATCHING), "WATCHED": str(working.parent / "control")}
    subprocess.run([sys.executable, "-c", check], env={**os.environ, **watched}, check=True)
    assert "127.0.0.1" in (working.parent / "control").read_text(), "nothing was watched"


def test_the_gallery_escapes_what_it_shows(working):
    with (working / "results" / "gradcam" / "index.csv").open(newline="") as stream:
        shown = {row["image"] for row in csv.DictReader(stream)}
    page = (working / "results" / "gradcam" / "index.html").read_text(encoding="utf-8")
    assert shown & set(hostile.IDS), "no odd id is shown: the test has nothing to see"
    assert "<img src=x" not in page
    assert "<script>alert" not in page


def test_the_results_are_verified(working, capsys):
    assert cli.main(["verify", str(working), "--images"]) == 0
    assert "everything that is here is as it was written" in capsys.readouterr().out


def test_nothing_is_writable_by_others(working):
    files = [path for path in written(working) if ".snakemake" not in path.parts]
    assert [path for path in files if path.stat().st_mode & 0o022] == []
