import numpy as np
import pandas as pd
import pytest
import training_examples
from test_prediction import saved

from melanoma import isic
from melanoma.catalogue import read_catalogue
from melanoma.errors import InputError
from melanoma.metadata import MetadataEncoder
from melanoma.metadata_changes import (
    ALL_FIELDS,
    AS_IT_IS,
    HIDDEN,
    PERMUTATIONS,
    PERMUTED,
    Changed,
    changed_metadata,
    predict_changed,
)
from melanoma.prediction import predict_store
from melanoma.store import Store

FIELDS = ("age", "sex", "site")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    training_examples.write_data(folder, train=20, val=7, test=4)
    return folder


@pytest.fixture(scope="module")
def store(data):
    return Store.open(data / "none-crop-32.npy")


@pytest.fixture(scope="module")
def catalogue(data):
    return read_catalogue(data / "train.csv")


def test_changes_touch_their_field_alone(catalogue):
    encoder = MetadataEncoder.fit(catalogue, FIELDS)
    encoded = encoder.encode(catalogue)
    names, tables = changed_metadata(encoder, encoded)
    assert len(names) == len(tables) == 2 + len(FIELDS) * (1 + PERMUTATIONS)
    np.testing.assert_array_equal(tables[0], encoded)
    assert (tables[1] == encoder.missing_row).all()
    for (change, field), table in list(zip(names, tables, strict=True))[2:]:
        own = np.zeros(encoder.width, bool)
        own[encoder.field_slices[field]] = True
        np.testing.assert_array_equal(table[:, ~own], encoded[:, ~own])
        if change == HIDDEN:
            assert (table[:, own] == encoder.missing_row[own]).all()
        else:
            assert change == PERMUTED
            assert (table[:, own] != encoded[:, own]).any()
            # What the field holds is the same, missing flags with their values.
            rows, expected = (sorted(map(tuple, t[:, own])) for t in (table, encoded))
            assert rows == expected


def test_permutations_differ_and_are_the_same_again(catalogue):
    encoder = MetadataEncoder.fit(catalogue, FIELDS)
    encoded = encoder.encode(catalogue)
    names, tables = changed_metadata(encoder, encoded)
    _, again = changed_metadata(encoder, encoded)
    np.testing.assert_array_equal(tables, again)
    _, other = changed_metadata(encoder, encoded, seed=1)
    permuted = [number for number, (change, _) in enumerate(names) if change == PERMUTED]
    assert all((tables[n] != other[n]).any() for n in permuted)
    ages = [tables[n] for n in permuted if names[n][1] == "age"]
    assert len({table.tobytes() for table in ages}) == PERMUTATIONS


@pytest.mark.parametrize("tta", [False, True])
@pytest.mark.parametrize("model", [{}, {"image": False}, {"fusion": "metablock"}])
def test_equals_predictions_of_a_changed_catalogue(store, catalogue, tmp_path, model, tta):
    trained = saved(tmp_path / "model.ckpt", catalogue, **model)
    images = list(store.images[:11])
    found = predict_changed(trained, store, catalogue, images, tta=tta, batch_size=4)
    key = dict(zip(zip(found.changes, found.fields, strict=True), found.probabilities, strict=True))
    for change, field, changed in (
        (AS_IT_IS, ALL_FIELDS, {}),
        (HIDDEN, ALL_FIELDS, {"age": np.nan, "sex": "", "site": ""}),
        (HIDDEN, "age", {"age": np.nan}),
        (HIDDEN, "site", {"site": ""}),
    ):
        expected = predict_store(trained, store, catalogue.assign(**changed), images, tta=tta)
        np.testing.assert_allclose(
            key[change, field], expected[list(isic.CLASSES)], atol=1e-6, err_msg=f"{change} {field}"
        )
    assert found.images == tuple(images)


def test_a_model_without_metadata_is_refused(store, catalogue, tmp_path):
    trained = saved(tmp_path / "model.ckpt", catalogue, metadata=False)
    with pytest.raises(InputError, match="uses no metadata"):
        predict_changed(trained, store, catalogue, store.images)


def test_what_is_written_is_read_again(tmp_path):
    changed = Changed(("b", "a"), (AS_IT_IS,), (ALL_FIELDS,), np.ones((1, 2, 8), np.float32))
    changed.write(tmp_path / "c.npz")
    found = Changed.read(tmp_path / "c.npz")
    assert (found.images, found.changes, found.fields) == (("b", "a"), (AS_IT_IS,), (ALL_FIELDS,))
    np.testing.assert_array_equal(found.probabilities, changed.probabilities)


@pytest.mark.parametrize("content", [None, b"", b"no archive", "other"])
def test_files_that_are_something_else(tmp_path, content):
    path = tmp_path / "c.npz"
    if content == "other":
        np.savez(path, a=np.ones(2))
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="not predictions under changed metadata"):
        Changed.read(path)


def test_truncated_and_changed_files_are_named(tmp_path):
    path = tmp_path / "c.npz"
    changed = Changed(("b", "a"), (AS_IT_IS,), (ALL_FIELDS,), np.ones((1, 2, 8), np.float32))
    changed.write(path)
    whole = path.read_bytes()
    spoilt = [whole[: len(whole) * part // 8] for part in range(8)]
    spoilt.append(whole.replace(np.float32(1).tobytes(), np.float32(2).tobytes()))
    for content in spoilt:
        path.write_bytes(content)
        with pytest.raises(InputError, match="not predictions under changed metadata"):
            Changed.read(path)


def test_probabilities_are_rows_that_add_up(store, catalogue, tmp_path):
    trained = saved(tmp_path / "model.ckpt", catalogue)
    found = predict_changed(trained, store, catalogue, store.images)
    sums = pd.DataFrame(found.probabilities.sum(axis=2))
    np.testing.assert_allclose(sums, 1, atol=1e-5)
