"""The drawn archive: official format, honest proportions, same seed same bytes."""

from __future__ import annotations

import io
import zipfile

import cv2
import numpy as np
import pandas as pd
import pytest

from melanoma import isic
from melanoma.cli import main
from melanoma.synthetic import draw_hairs, draw_image, write_archive
from melanoma.synthetic.tables import class_counts, draw_cases

NAMES = {
    f"ISIC_2019_{part}_{kind}"
    for part in ("Training", "Test")
    for kind in ("Input.zip", "GroundTruth.csv", "Metadata.csv")
}


@pytest.fixture(scope="module")
def cases():
    return draw_cases(np.random.default_rng([0, 0]), 600, test=False)


@pytest.fixture(scope="module")
def table(cases):
    return pd.DataFrame(
        [
            {
                "image": case.image,
                "lesion_id": case.lesion_id,
                "diagnosis": case.lesion.diagnosis,
                "source": isic.source_of(case.lesion_id),
                "age": case.age,
                "sex": case.sex,
                "site": case.site,
            }
            for case in cases
        ]
    )


def test_official_files_and_nothing_else(archive_folder):
    assert {path.name for path in archive_folder.iterdir()} == NAMES


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("Training_GroundTruth", isic.GROUND_TRUTH_COLUMNS),
        ("Training_Metadata", isic.METADATA_COLUMNS),
        ("Test_GroundTruth", (*isic.GROUND_TRUTH_COLUMNS, *isic.WEIGHT_COLUMNS)),
        ("Test_Metadata", isic.TEST_METADATA_COLUMNS),
    ],
)
def test_tables_have_official_columns_and_line_ends(archive_folder, name, columns):
    content = (archive_folder / f"ISIC_2019_{name}.csv").read_bytes()
    lines = content.decode().split("\r\n")
    assert lines[0] == ",".join(columns)
    assert lines[-1] == ""
    assert content.count(b"\n") == content.count(b"\r\n")


@pytest.mark.parametrize(("part", "rows"), [("Training", 64), ("Test", 24)])
def test_zip_tables_and_members_agree(archive_folder, part, rows):
    truth = pd.read_csv(archive_folder / f"ISIC_2019_{part}_GroundTruth.csv")
    metadata = pd.read_csv(archive_folder / f"ISIC_2019_{part}_Metadata.csv")
    with zipfile.ZipFile(archive_folder / f"ISIC_2019_{part}_Input.zip") as archive:
        names = archive.namelist()
        first = archive.read(next(name for name in names if name.endswith(".jpg")))
    inner = f"ISIC_2019_{part}_Input/"
    pictures = [name for name in names if name.endswith(".jpg")]
    assert set(names) - set(pictures) == {inner + "ATTRIBUTION.txt", inner + "LICENSE.txt"}
    assert pictures == [f"{inner}{image}.jpg" for image in truth["image"]]
    assert metadata["image"].equals(truth["image"])
    assert len(truth) == rows
    assert (truth[list(isic.GROUND_TRUTH_COLUMNS[1:])].sum(axis=1) == 1.0).all()
    assert cv2.imdecode(np.frombuffer(first, np.uint8), cv2.IMREAD_COLOR) is not None


def test_values_are_written_as_the_challenge_does(archive_folder):
    lines = (archive_folder / "ISIC_2019_Training_GroundTruth.csv").read_text().splitlines()
    assert {value for line in lines[1:] for value in line.split(",")[1:]} == {"0.0", "1.0"}


def test_test_set_has_unknown_images_and_weights(archive_folder):
    truth = pd.read_csv(archive_folder / "ISIC_2019_Test_GroundTruth.csv")
    assert truth["UNK"].sum() == round(24 * 2047 / 8238)
    assert (truth[list(isic.CLASSES)].sum() > 0).all()
    assert (truth["score_weight"] + truth["validation_weight"] == 1.0).all()


def test_same_seed_same_bytes(tmp_path):
    sizes = ((64, 48), (80, 60))
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_archive(tmp_path / name, images=8, test_images=9, seed=seed, sizes=sizes)
    for name in NAMES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    name = "ISIC_2019_Training_Input.zip"
    assert (tmp_path / "a" / name).read_bytes() != (tmp_path / "c" / name).read_bytes()


def test_progress_and_sizes(tmp_path):
    seen: list[tuple[int, int]] = []
    write_archive(
        tmp_path,
        images=8,
        test_images=9,
        sizes=((72, 54),),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(done, 17) for done in range(1, 18)]
    with zipfile.ZipFile(tmp_path / "ISIC_2019_Test_Input.zip") as archive:
        member = next(name for name in archive.namelist() if name.endswith(".jpg"))
        encoded = np.frombuffer(archive.read(member), np.uint8)
    assert cv2.imdecode(encoded, cv2.IMREAD_COLOR).shape == (54, 72, 3)


@pytest.mark.parametrize(("images", "test"), [(8, False), (9, True), (64, False), (601, True)])
def test_class_counts_add_up_and_leave_no_class_out(images, test):
    counts = class_counts(images, test=test)
    assert sum(counts.values()) == images
    assert min(counts.values()) >= 1
    assert ("UNK" in counts) == test
    assert counts["NV"] == max(counts[c] for c in isic.CLASSES)


@pytest.mark.parametrize(("images", "test"), [(7, False), (8, True)])
def test_too_few_images(images, test):
    with pytest.raises(ValueError, match="one of each class"):
        class_counts(images, test=test)


def test_proportions_are_skewed_with_a_floor(table):
    counts = table["diagnosis"].value_counts()
    assert counts["NV"] > 3 * counts["SCC"]
    assert counts.min() >= 18
    with_id = table[table["lesion_id"] != ""]
    assert with_id.groupby("diagnosis")["lesion_id"].nunique().min() >= 8


def test_lesions_are_coherent(table):
    with_id = table[table["lesion_id"] != ""]
    groups = with_id.groupby("lesion_id")
    assert groups["diagnosis"].nunique().max() == 1
    assert groups["source"].nunique().max() == 1
    assert groups.size().max() > 3
    assert table["image"].is_unique
    assert table["image"].is_monotonic_increasing
    assert set(table["source"]) == {"BCN", "HAM", "MSK", "none"}
    assert table["image"].str.endswith("_downsampled").any()


def test_missing_values_depend_on_class_and_source():
    drawn = draw_cases(np.random.default_rng(3), 6000, test=False)
    missing = pd.DataFrame(
        {
            "diagnosis": [case.lesion.diagnosis for case in drawn],
            "site": [case.site == "" for case in drawn],
            "age": [case.age == "" for case in drawn],
            "sex": [case.sex == "" for case in drawn],
            "lesion_id": [case.lesion_id == "" for case in drawn],
        }
    )
    by_class = missing.groupby("diagnosis")["site"].mean()
    # Official: NV 16 %, MEL 3 %, all 10 %; age 1.7 %, sex 1.5 %, lesion_id 8.2 %.
    assert 0.12 < by_class["NV"] < 0.2
    assert 0.01 < by_class["MEL"] < 0.06
    assert 0.01 < missing["age"].mean() < 0.025
    assert 0.01 < missing["sex"].mean() < 0.025
    assert 0.06 < missing["lesion_id"].mean() < 0.1


def test_views_of_a_lesion_are_alike_and_not_the_same():
    first, second = (draw_image("VASC", [0, 5], view, width=96, height=96) for view in (0, 1))
    other = draw_image("NV", [0, 6], 0, width=96, height=96)
    assert first.shape == (96, 96, 3)
    assert first.dtype == np.uint8
    assert not np.array_equal(first, second)
    middle = np.s_[40:56, 40:56]
    colours = [image[middle].reshape(-1, 3).mean(axis=0) for image in (first, second, other)]
    assert np.abs(colours[0] - colours[1]).max() < np.abs(colours[0] - colours[2]).max()


def test_a_lesion_is_the_same_at_any_resolution():
    small = draw_image("BKL", [4, 1], 0, width=200, height=150)
    large = draw_image("BKL", [4, 1], 0, width=800, height=600)
    shrunk = cv2.resize(large, (200, 150), interpolation=cv2.INTER_AREA)
    close = cv2.GaussianBlur(small, (0, 0), 6).astype(int) - cv2.GaussianBlur(shrunk, (0, 0), 6)
    assert np.abs(close).mean() < 6


def test_hairs_lie_where_the_mask_says():
    skin = np.full((120, 160, 3), 200, np.uint8)
    hairy, mask = draw_hairs(skin, np.random.default_rng(0), count=10, width=0.015)
    assert mask.dtype == np.bool_
    assert mask.shape == (120, 160)
    assert 0.005 < mask.mean() < 0.4
    assert (skin == 200).all()
    darker = 200 - hairy.astype(int).max(axis=2)
    assert darker[mask].min() > 20
    assert darker[~mask].max() < 100
    near = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert (darker[~near] < 60).all()


def test_classes_can_be_told_apart_by_a_nearest_mean(tmp_path):
    """Even mean colours of rings tell classes apart: a network can only do better."""
    features, labels = [], []
    rows, columns = np.mgrid[-1:1:48j, -1:1:48j]
    rings = [np.hypot(rows, columns) < r for r in (0.2, 0.4, 0.7)]
    for number in range(160):
        label = number % 8
        rgb = draw_image(isic.CLASSES[label], [9, number], 0, width=64, height=64)
        lab = cv2.cvtColor(cv2.resize(rgb, (48, 48)), cv2.COLOR_RGB2LAB).astype(float)
        skin = np.median(lab.reshape(-1, 3), axis=0)
        parts = [lab[ring].mean(axis=0) - skin for ring in rings]
        features.append(np.concatenate([*parts, lab[rings[1]].std(axis=0)]))
        labels.append(label)
    x, y = np.array(features), np.array(labels)
    means = np.stack([x[:80][y[:80] == label].mean(axis=0) for label in range(8)])
    distance = ((x[80:, None] - means) ** 2 / x[:80].var(axis=0)).sum(axis=2)
    assert (distance.argmin(axis=1) == y[80:]).mean() > 0.5


def test_members_are_stored_and_dated_once(archive_folder):
    content = (archive_folder / "ISIC_2019_Test_Input.zip").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in archive.infolist()} == {(2019, 5, 13, 0, 0, 0)}


@pytest.mark.parametrize("counts", [("--images", "5"), ("--images", "-4"), ("--test-images", "8")])
def test_too_few_images_are_told_in_one_line(tmp_path, capsys, counts):
    with pytest.raises(SystemExit) as end:
        main(["demo-data", str(tmp_path / "drawn"), *counts])
    assert end.value.code == 2
    assert "--images 8 and --test-images 9 at least" in capsys.readouterr().err
    assert not (tmp_path / "drawn").exists()
