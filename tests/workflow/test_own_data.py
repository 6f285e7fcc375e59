"""The three images of the document on own data, run through as it says."""

import re
import zipfile

import pytest
from runs import ROOT, snakemake

DOCUMENT = (ROOT / "docs/own-data.md").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, archive_folder):
    """The folder that the document describes, the images taken from a drawn archive."""
    folder = tmp_path_factory.mktemp("mine-run")
    (folder / "mine").mkdir()
    (folder / "config").mkdir()
    for name in ("diagnoses", "patients"):
        table = re.search(rf"`mine-run/mine/{name}\.csv`:\n\n```\n(.*?)```", DOCUMENT, re.S)[1]
        (folder / f"mine/{name}.csv").write_text(table)
    config = re.search(r"```yaml\n# mine-run/config/config.yaml\n(.*?)```", DOCUMENT, re.S)[1]
    (folder / "config/config.yaml").write_text(config)
    with (
        zipfile.ZipFile(archive_folder / "ISIC_2019_Training_Input.zip") as drawn,
        zipfile.ZipFile(folder / "mine/images.zip", "w") as mine,
    ):
        pictures = [name for name in drawn.namelist() if name.endswith(".jpg")]
        for name, picture in zip("abc", pictures, strict=False):
            mine.writestr(f"{name}.jpg", drawn.read(picture))
    return folder


def test_three_images_run_through_to_the_report(folder):
    result = snakemake(folder)
    assert f"Done, in {folder}" in result.stderr
    snakemake(folder, "--report", "results/report.html")
    card = (folder / "results/MODEL_CARD.md").read_text()
    assert "trained on 2 images of 2 lesions and validated on 1" in card
    assert "not the official ISIC 2019 training set" in card


def test_without_metadata_it_runs_as_the_document_says(folder):
    config = folder / "config/config.yaml"
    whole = config.read_text()
    changed = whole.replace(", metadata: mine/patients.csv", "")
    image_alone = changed.replace("model: {", "model: {metadata: false, ")
    try:
        config.write_text(changed)
        refused = snakemake(folder, "-n", check=False)
        config.write_text(image_alone)
        snakemake(folder, "results/training/fusion/fold0/model.ckpt", "results/provenance.json")
    finally:
        config.write_text(whole)
    assert refused.returncode
    assert "experiment fusion learns from one" in refused.stdout + refused.stderr


def test_a_broken_table_ends_with_the_row_that_is_wrong(folder):
    table = folder / "mine/diagnoses.csv"
    whole = table.read_text()
    table.write_text(whole.replace("b,0,1", "b,0,2"))
    try:
        result = snakemake(folder, "results/splits.csv", check=False)
    finally:
        table.write_text(whole)
    end = result.stderr[result.stderr.index("Stopped before the end") :]
    assert result.returncode != 0
    assert "catalogue" in end
    source = "ground_truth.csv (mine/diagnoses.csv): row 3, column NV, image b: found '2'"
    assert source in end
