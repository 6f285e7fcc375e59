import itertools

import pytest
import training_examples

from melanoma.training.stages import LAYER_DECAY, Schedule

SCHEDULE = Schedule(lr=1.0, epochs=20, freeze_epochs=5, steps_per_epoch=10)


def test_stages():
    assert [SCHEDULE.stage(epoch) for epoch in (0, 4, 5, 19)] == ["head", "head", "all", "all"]


def test_backbone_rests_in_stage_one_and_warms_up_after_it():
    assert SCHEDULE.lr_at(49, 1) == 0.0
    rises = [SCHEDULE.lr_at(step, 1) for step in range(50, 59)]
    assert rises == sorted(rises)
    assert 0 < rises[0] < 0.2 * rises[-1]


def test_head_warms_up_once_and_follows_the_cosine_to_its_end():
    rates = [SCHEDULE.lr_at(step, 0) for step in range(200)]
    assert max(rates) == pytest.approx(1.0, abs=0.01)
    assert rates.index(max(rates)) == 9
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0 < rates[-1] < 1e-3


def test_layers_decay_from_head_to_stem():
    rates = [SCHEDULE.lr_at(120, depth) for depth in range(6)]
    ratios = [deep / shallow for shallow, deep in itertools.pairwise(rates)]
    assert ratios == pytest.approx([LAYER_DECAY] * 5)


@pytest.mark.parametrize(
    ("model", "training", "freeze"),
    [
        ({}, {"freeze_epochs": 2}, 2),
        ({}, {"freeze_epochs": 9}, 3),
        ({"image": False}, {"freeze_epochs": 2}, 0),
    ],
)
def test_of_an_experiment(model, training, freeze):
    schedule = Schedule.of(training_examples.experiment(model, training), 7)
    assert (schedule.freeze_epochs, schedule.steps_per_epoch, schedule.epochs) == (freeze, 7, 3)


def test_a_schedule_of_one_step_trains():
    assert Schedule(lr=1.0, epochs=1, freeze_epochs=0, steps_per_epoch=1).lr_at(0, 0) == 1.0
