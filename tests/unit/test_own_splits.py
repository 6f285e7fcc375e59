import numpy as np
import pandas as pd
import pytest

from melanoma.errors import InputError
from melanoma.own_splits import user_splits
from melanoma.split_audit import audit_splits
from melanoma.splits import COLUMNS

IMAGES = ("anna/1", "bert/1", "l\u00e4sion", "NA")


@pytest.fixture
def catalogue() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image": IMAGES,
            "member": [f"in/{image}.jpg" for image in IMAGES],
            "lesion_id": ["L1", "L2", "L\u00e4", ""],
            "diagnosis": ["NV", "NV", "MEL", "MEL"],
        }
    )


def rows(names=IMAGES, lesions=("L1", "L2", "L\u00e4", "")) -> pd.DataFrame:
    parts = ["train", "val", "train", "val"]
    cells = zip(names, lesions, ["NV", "NV", "MEL", "MEL"], [0] * 4, parts, strict=True)
    return pd.DataFrame(cells, columns=list(COLUMNS))


def read(path, catalogue, table, *, end="\n", code="utf-8", **form):
    path.write_bytes(table.to_csv(index=False, lineterminator=end, **form).encode(code))
    return user_splits(path, catalogue, folds=1, test_fraction=0)


SPELLINGS = {
    "as the workflow writes them": ({}, {}),
    "excel, semicolons": ({}, {"sep": ";", "end": "\r\n", "code": "utf-8-sig"}),
    "excel, unicode text": ({}, {"sep": "\t", "end": "\r\n", "code": "utf-16"}),
    "with suffix": ({"names": [f"{image}.jpg" for image in IMAGES]}, {}),
    "backslashes": ({"names": [f"in\\{i}.jpg".replace("/", "\\") for i in IMAGES]}, {}),
    "decomposed": (
        {
            "names": ("anna/1", "bert/1", "la\u0308sion", "NA"),
            "lesions": ("L1", "L2", "La\u0308", ""),
        },
        {},
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_own_splits_are_read_as_people_write_them(tmp_path, catalogue, name):
    changed, form = SPELLINGS[name]
    found = read(tmp_path / "s.csv", catalogue, rows(**changed), **form)
    expected = rows().sort_values("image", ignore_index=True).astype({"fold": np.int64})
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_near_duplicates_may_be_torn_but_no_lesion(tmp_path, catalogue, caplog):
    described = catalogue.assign(
        group=["G", "G", "L\u00e4", "NA"], source="none", age=50.0, sex="", site="", surround=0.0
    )
    splits = read(tmp_path / "s.csv", described, rows())
    assert "1 group of near-duplicates is in several parts, e.g. of G" in caplog.text
    audit = audit_splits(splits, described).set_index("quantity")
    row = audit.loc["near-duplicates in several parts"]
    assert row[["value", "train", "val", "test", "all"]].tolist() == ["G", "1", "1", "0", "2"]
    one_lesion = described.assign(lesion_id=["L1", "L1", "L\u00e4", ""])
    with pytest.raises(InputError, match="lesion L1 is in train and val of fold 0"):
        read(tmp_path / "s.csv", one_lesion, rows(lesions=("L1", "L1", "L\u00e4", "")))


WRONG = {
    "fold": (lambda t: t.assign(fold=["0", "0", "0", "x"]), r"row 5, column fold: found 'x'; "),
    "split": (lambda t: t.assign(split="Train"), r"row 2, column split: found 'Train'; one of"),
    "column": (lambda t: t.drop(columns="split"), r"row 1: column split missing among image, les"),
    "bare name": (
        lambda t: t.assign(image=["1", *IMAGES[1:]]),
        r"row 2, column image: found '1': several images have this name \(in/anna/1\.jpg, in/bert",
    ),
    "unknown": (
        lambda t: t.assign(image=["x", *IMAGES[1:]]),
        "fold 0 has images not in the catalogue: x",
    ),
    "twice": (
        lambda t: t.assign(image=["bert/1.jpg", *IMAGES[1:]]),
        "fold 0 has images twice: bert/1",
    ),
    "folds": (lambda t: t.assign(fold=[0, 0, 1, 1]), r"s\.csv: 2 folds, but splits\.folds is 1"),
    "test": (lambda t: t.assign(split=["test", *t["split"][1:]]), "has a test part, but splits"),
    "leak": (
        lambda t: t.assign(split=["train", "train", "train", "train"]),
        "fold 0 has no image in val",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_own_splits_that_stop_the_run(tmp_path, catalogue, name):
    change, message = WRONG[name]
    with pytest.raises(InputError, match=message):
        read(tmp_path / "s.csv", catalogue, change(rows()))
