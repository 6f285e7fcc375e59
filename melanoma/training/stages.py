"""The two stages and the learning rate: pure functions of the step, so that nothing is lost.

Stage one trains the head on a backbone that stays as it is; stage two trains everything, with
learning rates that fall from the head to the stem. Both follow one cosine that reaches zero at the
end of the last epoch; each stage begins with a warm-up of what it starts to train.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from melanoma import config

LAYER_DECAY = 0.75
"""Factor of the learning rate from one layer group to the next deeper one (0.65 to 0.85 is usual:
Clark et al. 2020, ELECTRA, arXiv:2003.10555; Bao et al. 2021, BEiT, arXiv:2106.08254)."""

WARMUP_EPOCHS = 1.0
WARMUP_SHARE = 0.1
"""A warm-up lasts one epoch, or a tenth of its stage where that is shorter."""

Stage = Literal["head", "all"]


@dataclass(frozen=True)
class Schedule:
    """Learning rates and stages of one training.

    Attributes:
        lr: highest learning rate of the head.
        epochs: all epochs.
        freeze_epochs: epochs of stage one.
        steps_per_epoch: optimiser steps in an epoch, the same on every rank.
    """

    lr: float
    epochs: int
    freeze_epochs: int
    steps_per_epoch: int

    @classmethod
    def of(cls, settings: config.Experiment, steps_per_epoch: int) -> Schedule:
        """The schedule of an experiment; without a backbone there is nothing to freeze."""
        training = settings.training
        freeze = min(training.freeze_epochs, training.max_epochs) if settings.model.image else 0
        return cls(training.lr, training.max_epochs, freeze, steps_per_epoch)

    def stage(self, epoch: int) -> Stage:
        """The stage that an epoch, counted from 0, belongs to."""
        return "head" if epoch < self.freeze_epochs else "all"

    def lr_at(self, step: int, depth: int) -> float:
        """Learning rate.

        Args:
            step: counted from 0 over all epochs.
            depth: of the layer group: 0 for the head, 1 for the backbone's last stage, and so on.

        Returns:
            0 for the backbone in stage one.
        """
        begin = self.freeze_epochs * self.steps_per_epoch if depth else 0
        total = self.epochs * self.steps_per_epoch
        if step < begin:
            return 0.0
        warmup = min(WARMUP_EPOCHS * self.steps_per_epoch, WARMUP_SHARE * (total - begin))
        rise = min(1.0, (step - begin + 1) / max(warmup, 1.0))
        fall = 0.5 * (1 + math.cos(math.pi * step / total))
        return float(self.lr * LAYER_DECAY**depth * rise * fall)
