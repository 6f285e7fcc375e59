import numpy as np
import pandas as pd
import pytest
import torch
import training_examples

from melanoma import isic
from melanoma.catalogue import read_catalogue
from melanoma.errors import InputError
from melanoma.metadata import MetadataEncoder
from melanoma.model import FusionModel, to_input
from melanoma.prediction import predict_store, subset_images
from melanoma.prediction_columns import WITHOUT_METADATA
from melanoma.splits import read_splits
from melanoma.store import Store
from melanoma.training.checkpoints import Provenance, contents, load_model, save

FIELDS = ("age", "sex", "site")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    training_examples.write_data(folder, train=9, val=5, test=3)
    return folder


@pytest.fixture(scope="module")
def store(data):
    return Store.open(data / "none-crop-32.npy")


@pytest.fixture(scope="module")
def catalogue(data):
    return read_catalogue(data / "train.csv")


def saved(path, catalogue, size=32, **model):
    """A checkpoint with random weights whose running statistics are not those of a new network."""
    experiment = training_examples.experiment({"backbone": "resnet18", **model})
    experiment = experiment.model_copy(
        update={"images": experiment.images.model_copy(update={"size": size})}
    )
    encoder = MetadataEncoder.fit(catalogue, FIELDS)
    torch.manual_seed(0)
    network = FusionModel(experiment.model, encoder.width)
    with torch.no_grad():
        network(torch.randn(8, 3, 32, 32), torch.randn(8, encoder.width))
    provenance = Provenance(experiment, encoder, isic.CLASSES, {}, 0, "code")
    save(path, contents(provenance, network.state_dict(), epoch=0, metrics={}))
    return load_model(path)


@pytest.fixture(scope="module")
def model(catalogue, tmp_path_factory):
    return saved(tmp_path_factory.mktemp("model") / "model.ckpt", catalogue)


def test_table(model, store, catalogue):
    images = list(store.images)[::-2]
    table = predict_store(model, store, catalogue, images)
    more = [*WITHOUT_METADATA, "known_fields"]
    assert list(table.columns) == ["image", *isic.CLASSES, "energy", *more]
    assert list(table["image"]) == images
    rows = store.rows(images)
    with torch.inference_mode():
        pixels = to_input(torch.from_numpy(store.pixels[rows].copy()))
        known = catalogue.set_index("image").loc[images].reset_index()
        logits = model.model(pixels, torch.from_numpy(model.encoder.encode(known))).double()
    probabilities = table[list(isic.CLASSES)].to_numpy()
    np.testing.assert_allclose(probabilities, logits.softmax(1).numpy(), atol=1e-6)
    np.testing.assert_allclose(table["energy"], -logits.logsumexp(1).numpy(), atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    given = known["age"].notna().astype(int) + (known["sex"] != "") + (known["site"] != "")
    assert table["known_fields"].tolist() == given.tolist()
    assert {0, 3} < set(given)


@pytest.mark.parametrize("tta", [False, True])
@pytest.mark.parametrize("inputs", [{}, {"image": False}, {"fusion": "metablock"}])
def test_what_is_said_without_metadata_is_what_missing_metadata_give(
    store, catalogue, tmp_path, inputs, tta
):
    """By a catalogue that has none, which is what a photograph comes with."""
    model = saved(tmp_path / "model.ckpt", catalogue, **inputs)
    table = predict_store(model, store, catalogue, store.images, tta=tta)
    bare = catalogue.assign(age=np.nan, sex="", site="")
    expected = predict_store(model, store, bare, store.images, tta=tta)
    hidden = table[list(WITHOUT_METADATA)].to_numpy()
    np.testing.assert_allclose(hidden, expected[list(isic.CLASSES)], atol=1e-12)
    np.testing.assert_allclose(hidden, expected[list(WITHOUT_METADATA)], atol=1e-12)
    assert (expected["known_fields"] == 0).all()
    assert not np.allclose(hidden, table[list(isic.CLASSES)], atol=1e-3)


def test_a_model_without_metadata_says_it_once(store, catalogue, tmp_path):
    model = saved(tmp_path / "model.ckpt", catalogue, metadata=False)
    table = predict_store(model, store, catalogue, store.images)
    assert list(table.columns) == ["image", *isic.CLASSES, "energy"]


@pytest.mark.parametrize("tta", [False, True])
def test_results_are_the_same_again_and_in_any_batches(model, store, catalogue, tta):
    whole = predict_store(model, store, catalogue, store.images, tta=tta)
    pd.testing.assert_frame_equal(
        whole, predict_store(model, store, catalogue, store.images, tta=tta)
    )
    parts = predict_store(
        model, store, catalogue, store.images, tta=tta, batch_size=3, device="cpu"
    )
    pd.testing.assert_frame_equal(whole, parts, atol=1e-6, rtol=1e-5)


def test_tta_averages_the_eight_views(model, store, catalogue):
    image = store.images[4]
    pixels = store.pixels[4]
    views = [np.rot90(flipped, turn) for flipped in (pixels, pixels[:, ::-1]) for turn in range(4)]
    known = torch.from_numpy(model.encoder.encode(catalogue.iloc[[4]]))
    with torch.inference_mode():
        softmax = [
            model.model(to_input(torch.from_numpy(view.copy()[None])), known).softmax(1)
            for view in views
        ]
    averaged = predict_store(model, store, catalogue, [image], tta=True)
    plain = predict_store(model, store, catalogue, [image])
    expected = torch.cat(softmax).mean(0).numpy()
    np.testing.assert_allclose(averaged[list(isic.CLASSES)].to_numpy()[0], expected, atol=1e-6)
    assert averaged["energy"][0] == pytest.approx(plain["energy"][0], abs=1e-6)
    assert not np.allclose(averaged["MEL"], plain["MEL"], atol=1e-7)


def test_a_model_without_images_reads_none(store, catalogue, tmp_path):
    model = saved(tmp_path / "model.ckpt", catalogue, image=False)
    table = predict_store(model, store, catalogue, store.images, tta=True)
    pd.testing.assert_frame_equal(table, predict_store(model, store, catalogue, store.images))
    assert len(predict_store(model, store, catalogue, [])) == 0


def test_what_does_not_fit_is_refused(model, store, catalogue, tmp_path):
    with pytest.raises(InputError, match="not in the catalogue"):
        predict_store(model, store, catalogue.iloc[2:], store.images)
    other = saved(tmp_path / "model.ckpt", catalogue, size=64)
    with pytest.raises(InputError, match=r"64 px \(none-crop-64\).*32 px"):
        predict_store(other, store, catalogue, store.images)


def test_subsets(data, catalogue):
    path = data / "splits.csv"
    splits = read_splits(path)
    for subset in ("val", "test"):
        expected = sorted(splits.loc[splits["split"] == subset, "image"])
        assert subset_images(subset, catalogue, path, 0) == expected
    assert subset_images("official", catalogue, "not read", 0) == sorted(catalogue["image"])
    with pytest.raises(InputError, match="fold 4 has no val images"):
        subset_images("val", catalogue, path, 4)
    with pytest.raises(InputError, match="no subset 'train'"):
        subset_images("train", catalogue, path, 0)
