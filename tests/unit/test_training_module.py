"""The module by itself: losses, learning rates, frozen layers, rows brought together."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import training_examples

from melanoma.metadata import MetadataEncoder
from melanoma.model import FusionModel, to_input
from melanoma.training.batches import Batch
from melanoma.training.fold import FoldTables, Part
from melanoma.training.losses import sample_losses
from melanoma.training.module import Classifier, NonFiniteLossError, gather_rows
from melanoma.training.stages import Schedule

CPU = torch.device("cpu")
ENCODER = MetadataEncoder(("age",), 50.0, 48.0, 12.0, {})


def module(start_epoch=0, **training):
    settings = training_examples.experiment({"metadata_fields": ["age"]}, training)
    part = Part(("a",), np.zeros(1, int), np.zeros(1, int), np.zeros((1, 2), np.float32))
    weights = np.linspace(0.5, 2, 8, dtype=np.float32)
    tables = FoldTables(part, part, ENCODER, weights)
    torch.manual_seed(0)
    made = Classifier(
        FusionModel(settings.model, 2), tables, settings, Schedule.of(settings, 5), start_epoch
    )
    made._trainer = SimpleNamespace(world_size=1, current_epoch=0, global_rank=0)
    return made


def batch(rows, total):
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (7, 32, 32, 3), dtype=torch.uint8, generator=generator)
    labels = torch.tensor([0, 1, 2, 3, 4, 5, 7])
    every = torch.arange(7)
    known = torch.randn(7, 2, generator=generator)
    chosen = torch.tensor(rows)
    return Batch(pixels[chosen], known[chosen], labels[chosen], every[chosen], every[chosen], total)


def test_the_mean_of_the_ranks_is_the_mean_of_the_batch():
    made = module().eval()
    whole = made.training_step(batch(range(7), 7), 0).item()
    made._trainer.world_size = 2
    shares = [made.training_step(batch(rows, 7), 0).item() for rows in ((0, 2, 4, 6), (1, 3, 5))]
    assert sum(shares) / 2 == pytest.approx(whole, rel=1e-5)
    assert shares[0] != pytest.approx(shares[1])


def test_training_loss_is_that_of_the_augmented_batch():
    made = module(metadata_dropout=0.0, metadata_dropout_all=0.0).eval()
    made.augmentation.images = lambda pixels, rows, epoch: to_input(pixels)
    given = batch(range(7), 7)
    logits = made.model(to_input(given.pixels), given.metadata)
    expected = sample_losses(logits, given.labels, "weighted", made.class_weights).mean()
    torch.testing.assert_close(made.training_step(given, 0), expected)
    assert made.epoch_loss() == pytest.approx(expected.item())


def test_every_parameter_is_optimised_once_and_only_matrices_decay():
    made = module()
    groups = made.configure_optimizers().param_groups
    optimised = [id(p) for group in groups for p in group["params"]]
    assert sorted(optimised) == sorted(id(p) for p in made.model.parameters())
    for group in groups:
        is_matrix = {parameter.ndim > 1 for parameter in group["params"]}
        assert is_matrix == {group["weight_decay"] > 0}
    assert sorted({group["depth"] for group in groups}) == list(range(6))


def test_learning_rates_follow_the_schedule():
    made = module()
    optimiser = made.configure_optimizers()
    made._trainer.optimizers = [optimiser]
    made._trainer.current_epoch = 2
    made.on_train_batch_start(batch([0], 1), 3)
    for group in optimiser.param_groups:
        assert group["lr"] == made.schedule.lr_at(2 * 5 + 3, group["depth"])
    assert made.lr_of(0) == made.schedule.lr_at(13, 0)
    assert made.lr_of(-1) == made.schedule.lr_at(13, 5)


def _dropout_of(rank, epoch=0, seed=42):
    made = module(seed=seed)
    made.setup("fit")
    made._trainer.global_rank, made._trainer.current_epoch = rank, epoch
    made._trainer.strategy = SimpleNamespace(model=None)
    made.on_train_epoch_start()
    return torch.rand(1000)


def test_dropout_is_drawn_for_each_seed_epoch_and_rank():
    torch.testing.assert_close(_dropout_of(0), _dropout_of(0), atol=0, rtol=0)
    drawn = [_dropout_of(0), _dropout_of(1), _dropout_of(0, 1), _dropout_of(1, 1)]
    drawn.append(_dropout_of(0, seed=43))
    together = torch.corrcoef(torch.stack(drawn)).fill_diagonal_(0)
    assert together.abs().max() < 0.15


@pytest.mark.parametrize(("start_epoch", "frozen"), [(0, True), (1, False)])
def test_the_first_epoch_decides_what_is_frozen_at_first(start_epoch, frozen):
    made = module(start_epoch)
    made.setup("fit")
    learning = {p.requires_grad for p in made.model.backbone.parameters()}
    assert learning == {not frozen}
    assert all(p.requires_grad for p in made.model.classifier.parameters())


def test_a_frozen_backbone_has_no_backward_pass():
    made = module()
    made.setup("fit")
    made.eval()
    seen = {}
    made.model.backbone.register_forward_hook(
        lambda *call: seen.update(learns=call[2].requires_grad)
    )
    assert made.training_step(batch(range(7), 7), 0).requires_grad
    assert seen["learns"] is False


def test_the_first_bad_step_is_the_one_that_is_named():
    made = module()
    for step, loss in enumerate([1.0, float("inf"), float("nan")]):
        made._watch(torch.tensor(loss), step)
    with pytest.raises(NonFiniteLossError) as raised:
        made._stop_if_not_finite()
    assert (raised.value.epoch, raised.value.step) == (0, 1)


def test_rows_come_back_in_order():
    values = torch.arange(10.0).reshape(5, 2)
    parts = [(torch.tensor([3, 0]), values[[3, 0]]), (torch.tensor([1, 4, 2]), values[[1, 4, 2]])]
    torch.testing.assert_close(gather_rows(parts, 5, CPU), values)
    for wrong in (parts[:1], [*parts, parts[0]]):
        with pytest.raises(RuntimeError, match="missing or counted twice"):
            gather_rows(wrong, 5, CPU)
