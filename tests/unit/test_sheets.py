import zipfile
from types import SimpleNamespace

import cv2
import explain_examples
import numpy as np
import pandas as pd
import pytest

from melanoma import config, drawing, sheets
from melanoma.duplicates import PAIR_COLUMNS


@pytest.fixture
def drawn(monkeypatch):
    """The rows and titles of the sheets that are drawn."""
    kept = []
    original = drawing.draw_sheet

    def keep(rows, **options):
        kept.append((rows, options["title"]))
        return original(rows, **options)

    monkeypatch.setattr(drawing, "draw_sheet", keep)
    return kept


def _store(table):
    store = explain_examples.store(table, 32)
    return SimpleNamespace(pixels=store.pixels, rows=store.rows, images=tuple(table["image"]))


def test_examples_of_each_class_one_of_a_lesion(tmp_path, drawn):
    table = explain_examples.catalogue(40)
    table["group"] = table["lesion_id"].where(table.index < 16, table["image"])
    sheets.class_examples(
        _store(table), table, tmp_path / "a.png", chosen=table["image"][:39], per_class=3
    )
    sheets.class_examples(
        _store(table), table[::-1], tmp_path / "b.png", chosen=table["image"][:39], per_class=3
    )
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    rows = drawn[0][0]
    assert [row.label[0] for row in rows] == ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC"]
    shown = [cell.caption[2] for row in rows for cell in row.cells]
    groups = table.set_index("image")["group"]
    assert len(set(groups[shown])) == len(shown)
    assert all(len(row.cells) <= 3 for row in rows)
    assert table["image"].iloc[39] not in shown


def test_lesions_of_a_class_are_counted_as_the_splits_count_them(tmp_path, drawn):
    table = explain_examples.catalogue(40)
    table = table.iloc[:6].assign(diagnosis="NV", lesion_id=["A", "A", "B", "", "", "C"])
    sheets.class_examples(_store(table), table, tmp_path / "a.png")
    table = table.assign(lesion_id="A")
    sheets.class_examples(_store(table), table, tmp_path / "b.png")
    labels = [rows[0].label[3:] for rows, *_ in drawn]
    assert labels == [("3 lesions", "2 without id"), ("1 lesion",)]


def _archive(path, count):
    """Images of skin, every second with dark lines across."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            picture = np.full((90, 120, 3), (190, 160, 150), np.uint8)
            picture += rng.integers(0, 4, picture.shape, dtype=np.uint8)
            if number % 2:
                for _ in range(number + 3):
                    ends = rng.integers(0, 90, (2, 2))
                    cv2.line(picture, tuple(map(int, ends[0])), tuple(map(int, ends[1])), (30,) * 3)
            data = cv2.imencode(".jpg", picture)[1].tobytes()
            archive.writestr(f"inner/I{number:02d}.jpg", data)
    names = [f"I{number:02d}" for number in range(count)]
    return pd.DataFrame({"image": names, "member": [f"inner/{name}.jpg" for name in names]})


@pytest.mark.parametrize("method", ["lines", "dullrazor"])
def test_hair_shows_the_most_and_the_least_changed(tmp_path, drawn, method):
    table = _archive(tmp_path / "images.zip", 12)
    settings = config.Images(size=64, hair_removal=method)
    path = tmp_path / "hair.png"
    sheets.hair_before_after(tmp_path / "images.zip", table, settings, path, count=6)
    rows, title = drawn[0]
    cells = [cell for row in rows for cell in row.cells if cell]
    shares = [(cell.pictures[2][..., 0] > 0).mean() for cell in cells]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]
    assert len(cells) == 6
    assert method in title[0]
    assert path.stat().st_size > 0


def test_hair_that_is_left_in(tmp_path, drawn):
    table = _archive(tmp_path / "images.zip", 4)
    settings = config.Images(size=64, hair_removal="none")
    sheets.hair_before_after(tmp_path / "images.zip", table, settings, tmp_path / "hair.png")
    rows, title = drawn[0]
    assert "off" in title[0]
    for cell in (cell for row in rows for cell in row.cells if cell):
        np.testing.assert_array_equal(cell.pictures[0], cell.pictures[1])


def test_only_a_sample_is_read(tmp_path, drawn):
    table = _archive(tmp_path / "images.zip", 8)
    settings = config.Images(size=64)
    path = tmp_path / "hair.png"
    sheets.hair_before_after(tmp_path / "images.zip", table, settings, path, sampled=3)
    assert sum(cell is not None for row in drawn[0][0] for cell in row.cells) == 3


def _pairs():
    rows = [
        ("ISIC_0000000", "ISIC_0000001", 0.95, 0, "", "", True, "NV", "NV", True),
        ("ISIC_0000002", "ISIC_0000003", 0.70, 0, "", "", False, "NV", "MEL", False),
        ("ISIC_0000004", "ISIC_0000005", 0.99, 0, "", "", False, "DF", "DF", True),
        ("ISIC_0000004", "elsewhere", 0.99, 0, "", "", False, "DF", "DF", False),
    ]
    return pd.DataFrame(rows, columns=list(PAIR_COLUMNS))


def test_pairs_of_two_diagnoses_come_first(tmp_path, drawn):
    store = _store(explain_examples.catalogue(8))
    sheets.duplicate_pairs(store, _pairs(), tmp_path / "pairs.png")
    cells = [cell for row in drawn[0][0] for cell in row.cells]
    assert [cell.caption[1] for cell in cells] == ["ISIC_0000002", "ISIC_0000004", "ISIC_0000000"]
    assert "NV or MEL" in cells[0].caption[0]
    np.testing.assert_array_equal(cells[0].pictures[1], store.pixels[3])


def test_no_pair_is_said(tmp_path, drawn):
    store = _store(explain_examples.catalogue(8))
    sheets.duplicate_pairs(store, _pairs()[:0], tmp_path / "pairs.png")
    assert "No near-duplicate pair" in drawn[0][1][1]
    assert (tmp_path / "pairs.png").stat().st_size > 0
