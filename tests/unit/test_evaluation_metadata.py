import evaluation_examples as examples
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from melanoma.catalogue import COLUMNS
from melanoma.errors import InputError
from melanoma.evaluation.figures.metadata import draw_metadata
from melanoma.evaluation.metadata_table import FIGURES, metadata_table
from melanoma.files import write_table
from melanoma.isic import CLASSES
from melanoma.metadata_changes import ALL_FIELDS, AS_IT_IS, HIDDEN, PERMUTED, Changed

NAMES = [(AS_IT_IS, ALL_FIELDS), (HIDDEN, ALL_FIELDS), (HIDDEN, "age"), *[(PERMUTED, "age")] * 2]
SIGNALS = (3.0, 0.5, 3.0, 2.0, 1.0)


def write(folder, folds=1):
    """Predictions that lean less to the diagnosis under some changes; all alike in the folds."""
    table = examples.catalogue(150)
    write_table(folder / "catalogue.csv", table[list(COLUMNS)])
    values = [examples.predictions(table, signal=s)[list(CLASSES)].to_numpy() for s in SIGNALS]
    changes, fields = zip(*NAMES, strict=True)
    paths = []
    for fold in range(folds):
        paths.append(folder / f"{fold}.npz")
        Changed(tuple(table["image"]), changes, fields, np.stack(values)).write(paths[-1])
    return table, values, paths


def test_figures_and_paired_differences(tmp_path):
    table, values, paths = write(tmp_path)
    found = metadata_table(paths, tmp_path / "catalogue.csv", "test", resamples=100)
    assert len(found) == 4 * len(FIGURES)
    rows = found[found["figure"] == "balanced_accuracy"].set_index(["change", "field"])
    truth = table["diagnosis"].to_numpy()
    recalls = [
        reference.balanced_accuracy_score(truth, np.array(CLASSES)[v.argmax(axis=1)])
        for v in values
    ]
    assert rows.loc[(AS_IT_IS, ALL_FIELDS), "value"] == pytest.approx(recalls[0])
    assert rows.loc[(PERMUTED, "age"), "value"] == pytest.approx(np.mean(recalls[3:]))
    assert rows.loc[(PERMUTED, "age"), "difference"] == pytest.approx(
        np.mean(recalls[3:]) - recalls[0]
    )
    same, worse = rows.loc[(HIDDEN, "age")], rows.loc[(HIDDEN, ALL_FIELDS)]
    assert same["difference_low"] <= same["difference"] == 0 <= same["difference_high"]
    assert not same["interval_excludes_zero"]
    assert worse["difference_low"] < worse["difference"] < worse["difference_high"] < 0
    assert worse["interval_excludes_zero"]
    assert pd.isna(rows.loc[(AS_IT_IS, ALL_FIELDS), "difference"])
    write_table(tmp_path / "metadata.csv", found)
    draw_metadata(pd.read_csv(tmp_path / "metadata.csv"), tmp_path / "a.svg")
    draw_metadata(found, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_the_mean_over_folds_counts(tmp_path):
    _, _, paths = write(tmp_path, folds=2)
    one = metadata_table(paths[:1], tmp_path / "catalogue.csv", "test", resamples=0)
    two = metadata_table(paths, tmp_path / "catalogue.csv", "test", resamples=0)
    pd.testing.assert_frame_equal(one, two)
    assert one["difference_low"].isna().all()
    draw_metadata(one, tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text().rstrip().endswith("</svg>")
    with pytest.raises(InputError, match="is there twice"):
        metadata_table(paths, tmp_path / "catalogue.csv", "val", resamples=0)


def test_folds_of_other_changes_are_refused(tmp_path):
    table, values, paths = write(tmp_path)
    other = tmp_path / "other.npz"
    Changed(tuple(table["image"]), (AS_IT_IS,), (ALL_FIELDS,), np.stack(values[:1])).write(other)
    with pytest.raises(InputError, match="not the changes of the other folds"):
        metadata_table([*paths, other], tmp_path / "catalogue.csv", "test", resamples=0)
    with pytest.raises(InputError, match="no predictions"):
        metadata_table([], tmp_path / "catalogue.csv", "test", resamples=0)
