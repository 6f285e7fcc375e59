"""Augmentation in batches on the device, a function of (seed, epoch, row) and of nothing else.

Random numbers come from a hash instead of a generator: a training that starts again in the middle,
or on another number of processes, changes each image in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from melanoma.model import IMAGENET_MEAN, IMAGENET_STD

MAX_SCALE = 1.25
"""Images are scaled by 1/1.25 to 1.25, evenly in the logarithm."""
MAX_SHIFT = 0.06
"""Largest shift, as a share of the side."""
BRIGHTNESS = 0.2
CONTRAST = 0.2
SATURATION = 0.2
"""Factors are drawn from 1 - x to 1 + x."""
MAX_HUE = 0.04
"""Largest turn of the hue, as a share of the circle: dermoscopes differ little in it."""

_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""

_MASK = 0xFFFFFFFF
_METADATA_STREAM = 0x4D455441

Bits = TypeVar("Bits", int, Tensor)


class Augmentation(nn.Module):
    """Flips, turns, scales, shifts and recolours images, and hides metadata fields.

    It has no parameters and nothing that a checkpoint keeps; its constants live on the device,
    since sending them at each step would make the host wait for it.

    Args:
        seed: of the training.
        slices: where each metadata field lies in the vector, in order and without gaps.
        missing: float32[width], the vector of a patient of whom nothing is known.
        metadata_dropout: chance of hiding a metadata field, as if it had been missing.
        metadata_dropout_all: chance of hiding all fields of a row together.
    """

    mean: Tensor
    std: Tensor
    grey: Tensor
    identity: Tensor
    cross: Tensor
    missing: Tensor
    field_of: Tensor

    def __init__(
        self,
        seed: int,
        slices: Mapping[str, slice],
        missing: Tensor,
        metadata_dropout: float,
        metadata_dropout_all: float,
    ) -> None:
        super().__init__()
        self._seed = seed
        self._fields = len(slices)
        self._dropout = metadata_dropout
        self._dropout_all = metadata_dropout_all
        axis = 1 / math.sqrt(3)
        constants = {
            "mean": IMAGENET_MEAN,
            "std": IMAGENET_STD,
            "grey": [_LUMA] * 3,
            "identity": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            "cross": [[0, -axis, axis], [axis, 0, -axis], [-axis, axis, 0]],
        }
        for name, values in constants.items():
            self.register_buffer(name, torch.tensor(values), persistent=False)
        self.register_buffer("missing", missing.clone(), persistent=False)
        self.register_buffer("field_of", _field_of(list(slices.values())), persistent=False)

    def images(self, pixels: Tensor, rows: Tensor, epoch: int) -> Tensor:
        """Change and normalise a batch.

        Args:
            pixels: uint8[n, s, s, 3], RGB.
            rows: int64[n]: what each image is drawn by.
            epoch: counted from 0.

        Returns:
            float32[n, 3, s, s], normalised as by `melanoma.model.to_input`.
        """
        random = uniforms(rows, 9, seed=self._seed, epoch=epoch)
        images = pixels.permute(0, 3, 1, 2).to(torch.float32)
        grid = F.affine_grid(geometry(random[:, :5]), list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
        matrix, offset = self._colour(random[:, 5:])
        n, _, height, width = images.shape
        channels_last = images.permute(0, 2, 3, 1).reshape(n, height * width, 3)
        recoloured = torch.baddbmm(offset[:, None, :], channels_last, matrix.transpose(1, 2))
        return recoloured.reshape(n, height, width, 3).permute(0, 3, 1, 2)

    def metadata(self, vectors: Tensor, rows: Tensor, epoch: int) -> Tensor:
        """Hide each field of each row with a chance, and all of a row with another.

        Args:
            vectors: float32[n, width].
            rows: int64[n]: what each row is drawn by.
            epoch: counted from 0.

        Returns:
            float32[n, width].
        """
        if max(self._dropout, self._dropout_all) <= 0:
            return vectors
        random = uniforms(rows, self._fields + 1, seed=self._seed ^ _METADATA_STREAM, epoch=epoch)
        # The last number is the whole row's: those of the fields are the same with it and without.
        fields = (random[:, :-1] < self._dropout) | (random[:, -1:] < self._dropout_all)
        return torch.where(fields.index_select(1, self.field_of), self.missing, vectors)

    def _colour(self, random: Tensor) -> tuple[Tensor, Tensor]:
        """Maps from 0..255 to recoloured, normalised values: matrix [n, 3, 3], offset [n, 3].

        Brightness, contrast, saturation and hue are linear in the pixel: one small matrix does all.
        """
        spread = random * 2 - 1
        brightness = 1 + BRIGHTNESS * spread[:, 0]
        contrast = 1 + CONTRAST * spread[:, 1]
        saturation = (1 + SATURATION * spread[:, 2])[:, None, None]
        matrix = saturation * self.identity + (1 - saturation) * self.grey
        matrix = matrix @ self._hue_turn(spread[:, 3] * (2 * math.pi * MAX_HUE))
        gain = contrast[:, None] / self.std
        matrix = gain[:, :, None] * matrix * (brightness[:, None, None] / 255)
        return matrix, -gain * self.mean

    def _hue_turn(self, angle: Tensor) -> Tensor:
        """Turns of the colour space round its grey axis: [n, 3, 3] (Rodrigues' formula)."""
        cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
        return cos * self.identity + sin * self.cross + (1 - cos) / 3


def _field_of(slices: Sequence[slice]) -> Tensor:
    """The number of the field that each entry of the vector belongs to: int64[width]."""
    widths = torch.tensor([part.stop - part.start for part in slices])
    return torch.arange(len(slices)).repeat_interleave(widths)


def geometry(random: Tensor) -> Tensor:
    """Affine maps from output to input coordinates.

    Args:
        random: float32[n, 5] in [0, 1).

    Returns:
        float32[n, 2, 3], for `torch.nn.functional.affine_grid`.
    """
    angle = random[:, 0] * (2 * math.pi)
    scale = torch.exp((random[:, 1] * 2 - 1) * math.log(MAX_SCALE))
    # A turn by any angle and one flip make every flip there is.
    flip = torch.where(random[:, 2] < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    # Coordinates run from -1 to 1, so a share of the side counts twice.
    shift = (random[:, 3:5] * 2 - 1) * (2 * MAX_SHIFT)
    rows = [
        torch.stack([cos * flip, -sin, shift[:, 0]], dim=1),
        torch.stack([sin * flip, cos, shift[:, 1]], dim=1),
    ]
    return torch.stack(rows, dim=1)


def uniforms(rows: Tensor, columns: int, *, seed: int, epoch: int) -> Tensor:
    """Random numbers for each row.

    Args:
        rows: int64[n], not negative: what the numbers belong to.
        columns: how many for each row.
        seed: below 2**32.
        epoch: counted from 0.

    Returns:
        float32[n, columns] in [0, 1), on the device of `rows`.
    """
    key = _mix(_mix(seed & _MASK) ^ (epoch & _MASK))
    by_row = _mix(_mix(rows & _MASK) ^ key)
    # Steps of 2**32 over the golden ratio, as in splitmix.
    steps = torch.arange(1, columns + 1, device=rows.device) * 0x9E3779B9
    bits = _mix((by_row[:, None] + steps[None, :]) & _MASK)
    return (bits >> 8).to(torch.float32) * 2.0**-24


def _mix(values: Bits) -> Bits:
    """A 32-bit integer hash, on 64-bit integers with 32 bits used.

    "lowbias32" of Chris Wellons, https://nullprogram.com/blog/2018/07/31/.
    """
    values = values ^ (values >> 16)
    values = (values * 0x7FEB352D) & _MASK
    values = values ^ (values >> 15)
    values = (values * 0x846CA68B) & _MASK
    return values ^ (values >> 16)
