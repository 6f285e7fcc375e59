"""Class activation maps through the grad-cam package, the metadata of each image held fixed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_grad_cam import EigenCAM, GradCAM, GradCAMPlusPlus, LayerCAM
from pytorch_grad_cam.base_cam import BaseCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from melanoma.errors import InputError
from melanoma.model import FusionModel, to_input

Heat = NDArray[np.float32]
"""Heat maps, float32[n, h, w] in 0..1."""

BATCH_SIZE = 16
"""Images per forward and backward pass: 1 GB of activations for ResNet-50 at 224 pixels."""


class _FixedMetadata(nn.Module):
    """The classifier as a function of the image alone: what the grad-cam package wants."""

    def __init__(self, model: FusionModel) -> None:
        super().__init__()
        self.model = model
        self.metadata: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, 8] of float32[n, 3, s, s], with the metadata set before."""
        logits: Tensor = self.model(images, self.metadata)
        return logits


class _SignedEigenCAM(EigenCAM):  # type: ignore[misc]
    """EigenCAM with the sign settled and a thin decomposition.

    The sign of a singular vector is arbitrary, so the package's map may be upside down; and its
    full decomposition makes a channels x channels matrix of which one row is used.
    """

    def get_cam_image(self, *arguments: Any) -> Heat:
        """First principal component of the activations, the fourth argument: float32[n, h, w]."""
        activations: NDArray[np.float32] = arguments[3]
        maps: Heat = np.stack([_first_component(activation) for activation in activations])
        return maps


def _first_component(activation: NDArray[np.float32]) -> Heat:
    channels, height, width = activation.shape
    places = activation.reshape(channels, -1).T
    centred = places - places.mean(axis=0)
    first = np.linalg.svd(centred, full_matrices=False)[2][0]
    sign = -1 if abs((centred @ first).min()) > abs((centred @ first).max()) else 1
    projection: Heat = (centred @ first * sign).reshape(height, width).astype(np.float32)
    return projection


METHODS: dict[str, Callable[..., BaseCAM]] = {
    "gradcam": GradCAM,
    "gradcam++": GradCAMPlusPlus,
    "eigencam": _SignedEigenCAM,
    "layercam": LayerCAM,
}
"""The methods by their name in the configuration."""


def to_grid(activation: Tensor) -> Tensor:
    """Activations of any backbone as a grid with channels second.

    Args:
        activation: [n, c, h, w] (convolutions), [n, h, w, c] (swin) or [n, tokens, c] (plain
            vision transformers, with or without a class token).

    Returns:
        [n, c, h, w], a copy: the next layer may work in place.

    Raises:
        InputError: none of these shapes.
    """
    shape = activation.shape
    if activation.ndim == 4 and shape[2] == shape[3]:
        return activation.clone()
    if activation.ndim == 4 and shape[1] == shape[2]:
        return activation.permute(0, 3, 1, 2).contiguous()
    if activation.ndim == 3:
        side = math.isqrt(shape[1])
        patches = activation[:, shape[1] - side * side :]
        return patches.transpose(1, 2).reshape(shape[0], shape[2], side, side).contiguous()
    raise InputError(
        f"Grad-CAM: the backbone's last layer gives activations of shape {tuple(shape)}, which is "
        "no grid of places: choose another model.backbone, or model.image: false to go without"
    )


def compute_maps(
    model: FusionModel,
    pixels: NDArray[np.uint8],
    metadata: NDArray[np.float32] | None,
    targets: Sequence[int] | NDArray[np.int64],
    *,
    method: str,
    batch_size: int = BATCH_SIZE,
) -> Heat:
    """Heat maps: which places of the image raised the score of a class.

    Args:
        model: in evaluation mode, on any device; left as it was.
        pixels: uint8[n, s, s, 3], what the classifier saw.
        metadata: float32[n, m], encoded; None where the model takes none.
        targets: for each image, the number of the class to explain.
        method: one of `METHODS`.
        batch_size: images per pass.

    Returns:
        float32[n, s, s] in 0..1; a map is all zero where no place raised the score.

    Raises:
        InputError: the model has no image branch.
    """
    if model.backbone is None:
        raise InputError(
            "Grad-CAM: this model sees metadata only (model.image: false): "
            "there is no image to draw a heat map on"
        )
    device = next(model.parameters()).device
    wrapped = _FixedMetadata(model)
    maps = [np.zeros((0, *pixels.shape[1:3]), np.float32)]
    cam = METHODS[method](model=wrapped, target_layers=[model.cam_layer], reshape_transform=to_grid)
    # Not `with cam`: the package's own exit prints and swallows an IndexError.
    try:
        for start in range(0, len(pixels), batch_size):
            part = slice(start, start + batch_size)
            if metadata is not None:
                wrapped.metadata = torch.from_numpy(metadata[part].copy()).to(device)
            maps.append(_maps_of_batch(cam, pixels[part], targets[part], device))
    finally:
        cam.activations_and_grads.release()
        model.zero_grad(set_to_none=True)
    return np.concatenate(maps)


@torch.enable_grad()
def _maps_of_batch(
    cam: BaseCAM,
    pixels: NDArray[np.uint8],
    targets: Sequence[int] | NDArray[np.int64],
    device: torch.device,
) -> Heat:
    images = to_input(torch.from_numpy(np.ascontiguousarray(pixels)).to(device))
    # A frozen model's activations carry gradients only if the image asks for them.
    images.requires_grad_(True)
    wanted = [ClassifierOutputTarget(int(target)) for target in targets]
    heat: Heat = cam(input_tensor=images, targets=wanted)
    return np.clip(np.nan_to_num(heat), 0, 1).astype(np.float32)


@torch.inference_mode()
def predict_probabilities(
    model: FusionModel,
    pixels: NDArray[np.uint8],
    metadata: NDArray[np.float32] | None,
    *,
    batch_size: int = 4 * BATCH_SIZE,
) -> NDArray[np.float32]:
    """Raw softmax of a model in evaluation mode.

    Args:
        model: on any device.
        pixels: uint8[n, s, s, 3].
        metadata: float32[n, m], encoded, or None.
        batch_size: images per pass.

    Returns:
        float32[n, 8].
    """
    device = next(model.parameters()).device
    parts = [np.zeros((0, 8), np.float32)]
    for start in range(0, len(pixels), batch_size):
        part = slice(start, start + batch_size)
        images = to_input(torch.from_numpy(np.ascontiguousarray(pixels[part])).to(device))
        fields = None if metadata is None else torch.from_numpy(metadata[part].copy()).to(device)
        parts.append(torch.softmax(model(images, fields).float(), dim=1).cpu().numpy())
    return np.concatenate(parts)
