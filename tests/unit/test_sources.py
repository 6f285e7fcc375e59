"""Where the files that the workflow starts from come from."""

import pytest

from melanoma import config, isic
from melanoma.errors import InputError
from melanoma.sources import check_sources, sources

IMAGE_ALONE = {"model": {"metadata": False}}


def test_every_file_has_its_key_and_place():
    found = {key: place for key, _, place in sources(config.parse({}))}
    assert found == {
        "data.train.images": "resources/isic2019/train/images.zip",
        "data.train.ground_truth": "resources/isic2019/train/ground_truth.csv",
        "data.train.metadata": "resources/isic2019/train/metadata.csv",
        "model.weights": "resources/weights/resnet50-11ad3fa6.pth",
    }


def test_files_may_be_linked_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "truth.csv").write_text("image")
    place = tmp_path / "resources/isic2019/train/ground_truth.csv"
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "truth.csv")
    values = with_source("ground_truth", "truth.csv")
    check_sources(config.parse({**values, **IMAGE_ALONE}))


def test_a_link_to_the_workflows_own_copy_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "resources/isic2019/train/images.zip"
    place.parent.mkdir(parents=True)
    place.touch()
    (tmp_path / "mine.zip").symlink_to(place)
    with pytest.raises(InputError, match="would remove it"):
        check_sources(config.parse({**with_source("images", "mine.zip"), **IMAGE_ALONE}))


@pytest.mark.parametrize("absolute", [False, True])
def test_the_workflows_own_copy_is_refused_as_a_source(tmp_path, monkeypatch, absolute):
    monkeypatch.chdir(tmp_path)
    place = "resources/isic2019/train/images.zip"
    source = str(tmp_path / place) if absolute else place
    with pytest.raises(InputError, match=r"data\.train\.images: .*would remove it"):
        check_sources(config.parse({**with_source("images", source), **IMAGE_ALONE}))


def test_so_are_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = {"weights": "resources/weights/mine.pth"}
    with pytest.raises(InputError, match=r"^model\.weights: .*mine\.pth"):
        check_sources(config.parse({"model": model}))
    with pytest.raises(InputError, match=r"^experiments\.b\.model\.weights: .*mine\.pth"):
        check_sources(config.parse({"experiments": {"a": {}, "b": {"model": model}}}))


def test_metadata_that_are_not_there_cannot_be_learnt_from():
    values = with_source("images", "mine.zip")
    values["experiments"] = {"plain": {"model": {"metadata": False}}}
    check_sources(config.parse(values))
    values["experiments"]["fusion"] = {}
    with pytest.raises(InputError, match=r"data\.train\.metadata: .*experiment fusion learns"):
        check_sources(config.parse(values))


def with_source(kind: str, source: str) -> dict[str, object]:
    """A configuration with one file from elsewhere."""
    official = {k: isic.OFFICIAL_FILES["train", k].url for k in ("images", "ground_truth")}
    return {"data": {"train": {**official, kind: source}}}
