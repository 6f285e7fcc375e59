"""Losses of single samples, so that ranks with unequal shares of a batch can weigh them rightly."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

FOCAL_GAMMA = 2.0
"""Lin et al. 2017, "Focal loss for dense object detection", arXiv:1708.02002."""


def sample_losses(
    logits: Tensor, labels: Tensor, kind: Literal["weighted", "focal", "plain"], weights: Tensor
) -> Tensor:
    """Loss of each sample.

    Args:
        logits: float[n, classes], of any precision; the loss is computed in float32.
        labels: int64[n].
        kind: cross-entropy times the class's weight, focal loss, or cross-entropy.
        weights: float32[classes], used by "weighted" alone.

    Returns:
        float32[n].
    """
    entropy = F.cross_entropy(logits.float(), labels, reduction="none")
    if kind == "weighted":
        return entropy * weights.index_select(0, labels)
    if kind == "focal":
        return entropy * (1 - torch.exp(-entropy)) ** FOCAL_GAMMA
    return entropy
