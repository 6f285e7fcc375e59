"""What TensorBoard is given, read back as TensorBoard reads it."""

import cv2
import numpy as np
import pytest
import training_examples as examples
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.summary.writer import event_file_writer

from melanoma import board, isic
from melanoma.board import Board, Samples, draw_samples, sample_positions
from melanoma.training.run import train


def read(folder):
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    return events


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    examples.write_data(folder / "data")
    job = examples.job(folder / "data", folder / "fold0", training={"max_epochs": 3})
    return job, train(job)


def test_a_training_shows_its_figures_in_every_epoch(trained):
    job, _ = trained
    events = read(job.tensorboard)
    for name in ("train_loss", "val_balanced_accuracy", "lr_head", "images_per_second"):
        assert [event.step for event in events.Scalars(name)] == [0, 1, 2]
    assert {"precision/MEL", "f1/SCC"} <= set(events.Tags()["scalars"])


def test_a_training_shows_pictures_of_its_predictions(trained):
    job, _ = trained
    events = read(job.tensorboard)
    assert set(events.Tags()["images"]) == {"confusion", "samples"}
    last = events.Images("samples")[-1]
    assert last.step == 2
    sheet = cv2.imdecode(np.frombuffer(last.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    assert sheet.shape[1] > sheet.shape[0] > board._SIDE


def test_settings_stand_beside_the_figures_of_the_best_epoch(trained):
    job, result = trained
    events = read(job.tensorboard)
    found = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    data = plugin_data_pb2.HParamsPluginData.FromString(found).session_start_info.hparams
    assert data["training.lr"].number_value == job.experiment.training.lr
    assert data["model.backbone"].string_value == job.experiment.model.backbone
    assert data["model.metadata_fields"].string_value == "age, sex, site"
    best = events.Scalars("best/balanced_accuracy")
    assert best[0].value == pytest.approx(result.metrics["balanced_accuracy"])
    assert events.Scalars("best/epoch")[0].value == result.best_epoch


def test_a_model_without_images_shows_none(tmp_path):
    examples.write_data(tmp_path / "data")
    job = examples.job(
        tmp_path / "data", tmp_path / "out", {"image": False}, {"max_epochs": 1, "freeze_epochs": 0}
    )
    train(job)
    assert read(job.tensorboard).Tags()["images"] == ["confusion"]


def test_a_new_start_replaces_what_it_repeats(tmp_path, monkeypatch):
    for first, epochs in ((0, 4), (2, 3)):
        # TensorBoard reads files in the order of the seconds in their names.
        monkeypatch.setattr(event_file_writer.time, "time", lambda now=first: 1e9 + now)
        written = Board(tmp_path, first)
        for epoch in range(first, epochs):
            written.epoch({"epoch": epoch, "loss": first}, {"recall": [np.nan] * 8}, epoch)
        written.close()
    losses = [(event.step, event.value) for event in read(tmp_path).Scalars("loss")]
    assert losses == [(0, 0), (1, 0), (2, 2)]


def test_samples_are_the_first_of_each_class():
    labels = np.array([3, 0, 3, 3, 0, 0, 7])
    assert sample_positions(labels).tolist() == [1, 4, 0, 2, 6]
    assert sample_positions(labels[:0]).tolist() == []


def test_right_and_wrong_predictions_have_colours_of_their_own(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        board.drawing, "draw_sheet", lambda rows, **_: drawn.extend(rows) or np.zeros((1, 1, 3))
    )
    probabilities = np.eye(8, dtype=np.float32)[[0, 1]]
    pixels = np.zeros((2, 32, 32, 3), np.uint8)
    draw_samples(Samples(np.arange(2), pixels, np.array([0, 2])), probabilities)
    right, wrong = drawn[0].cells
    assert (right.colour, wrong.colour) == (board.drawing.RIGHT, board.drawing.WRONG)
    assert wrong.caption == (f"{isic.CLASSES[1]} 1.00", "true: BCC")
