import numpy as np
import pytest
import training_examples

from melanoma.catalogue import read_catalogue
from melanoma.errors import InputError
from melanoma.splits import read_splits
from melanoma.store import Store
from melanoma.training.fold import class_weights, fold_tables


@pytest.fixture
def inputs(tmp_path):
    training_examples.write_data(tmp_path)
    store = Store.open(tmp_path / "none-crop-32.npy")
    return store, read_catalogue(tmp_path / "train.csv"), read_splits(tmp_path / "splits.csv")


def tables(inputs, **options):
    return fold_tables(*inputs, **{"fold": 0, "fields": ("age", "sex", "site"), **options})


def test_rows_of_a_fold(inputs):
    store, catalogue, splits = inputs
    found = tables(inputs)
    assert (len(found.train), len(found.val)) == (40, 13)
    for part, split in ((found.train, "train"), (found.val, "val")):
        assert list(part.images) == sorted(splits.loc[splits["split"] == split, "image"])
        assert [store.images[row] for row in part.rows] == list(part.images)
    by_image = dict(zip(catalogue["image"], catalogue["diagnosis"], strict=True))
    classes = training_examples.isic.CLASSES
    assert [classes[label] for label in found.val.labels] == [by_image[i] for i in found.val.images]


def test_excluded_sources_leave_training_alone(inputs):
    catalogue = inputs[1].set_index("image")
    everything, some = tables(inputs), tables(inputs, exclude_sources=["BCN"])
    assert some.val.images == everything.val.images
    kept = [i for i in everything.train.images if catalogue.loc[i, "source"] != "BCN"]
    assert list(some.train.images) == kept
    assert len(kept) < 40


def test_the_encoder_sees_training_rows_only(inputs):
    store, catalogue, splits = inputs
    val = splits.loc[splits["split"] != "train", "image"]
    older = catalogue.assign(age=catalogue["age"].where(~catalogue["image"].isin(val), 85.0))
    assert tables((store, older, splits)).encoder == tables(inputs).encoder


def test_class_weights_have_a_mean_of_one_over_the_samples():
    labels = np.array([0] * 6 + [1] * 3 + [7])
    weights = class_weights(labels)
    assert weights[labels].mean() == pytest.approx(1.0)
    np.testing.assert_allclose(weights[[0, 1, 7]] * [6, 3, 1], 10 / 3, rtol=1e-6)
    assert (weights[2:7] == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fold": 3}, "no rows for fold 3"),
        ({"exclude_sources": ["BCN", "HAM"]}, "no training images once excluded"),
    ],
)
def test_empty_parts_are_refused(inputs, options, message):
    with pytest.raises(InputError, match=message):
        tables(inputs, **options)


def test_inputs_of_different_runs_are_refused(inputs):
    store, catalogue, splits = inputs
    with pytest.raises(InputError, match="fold 0 has no validation images"):
        tables((store, catalogue, splits[splits["split"] != "val"]))
    with pytest.raises(InputError, match="is not in the catalogue"):
        tables((store, catalogue.iloc[5:], splits))
    with pytest.raises(InputError, match="diagnosis 'UNK'"):
        tables((store, catalogue, splits.assign(diagnosis="UNK")))
