"""Class activation maps through the grad-cam package, the metadata of each image held fixed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_grad_cam import EigenCAM, GradCAM, GradCAMPlusPlus, LayerCAM
from pytorch_grad_cam.base_cam import BaseCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from melanoma.explain.layers import Layer, find_layer, to_grid
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


@dataclass(frozen=True)
class Maps:
    """Heat maps of some images.

    Attributes:
        heat: float32[n, s, s] in 0..1, each scaled to its own maximum; all zero where no place
            raised the score.
        maxima: float32[n], the greatest value of each on the network's grid, before scaling:
            weighted activations, which can be compared between images of one network and method;
            0 where there is no heat.
        layer: whose activations were weighted.
    """

    heat: Heat
    maxima: NDArray[np.float32]
    layer: Layer


def compute_maps(
    model: FusionModel,
    pixels: NDArray[np.uint8],
    metadata: NDArray[np.float32] | None,
    targets: Sequence[int] | NDArray[np.int64],
    *,
    method: str,
    layer: Layer | None = None,
    batch_size: int = BATCH_SIZE,
) -> Maps:
    """Heat maps: which places of the image raised the score of a class.

    Args:
        model: in evaluation mode, on any device; left as it was.
        pixels: uint8[n, s, s, 3], what the classifier saw.
        metadata: float32[n, m], encoded; None where the model takes none.
        targets: for each image, the number of the class to explain.
        method: one of `METHODS`.
        layer: which to explain; None to find it (`layers.find_layer`), which costs the passes of a
            few images.
        batch_size: images per pass.

    Raises:
        InputError: the model has no image branch, or no layer with a grid of places.
    """
    layer = layer or find_layer(model, pixels.shape[1])
    module = model.get_submodule(f"backbone.{layer.name}")
    device = next(model.parameters()).device
    wrapped = _FixedMetadata(model)
    grids = [np.zeros((0, layer.cells, layer.cells), np.float32)]
    cam = METHODS[method](model=wrapped, target_layers=[module], reshape_transform=to_grid)
    # Not `with cam`: the package's own exit prints and swallows an IndexError.
    try:
        for start in range(0, len(pixels), batch_size):
            part = slice(start, start + batch_size)
            if metadata is not None:
                wrapped.metadata = torch.from_numpy(metadata[part].copy()).to(device)
            grids.append(_grids_of_batch(cam, module, pixels[part], targets[part], device))
    finally:
        cam.activations_and_grads.release()
        model.zero_grad(set_to_none=True)
    grid = np.concatenate(grids)
    maxima = grid.max(axis=(1, 2), initial=0)
    heat = enlarge(grid, pixels.shape[1])
    # Between cells, where no pixel may lie on the hottest one.
    tops = heat.max(axis=(1, 2), initial=0)[:, None, None]
    heat /= np.where(tops > 0, tops, 1).astype(np.float32)
    return Maps(heat, maxima, layer)


def enlarge(grids: Heat, side: int) -> Heat:
    """Grids at the size of their images, smoothly.

    Args:
        grids: float32[n, h, w].
        side: of the images, pixels.

    Returns:
        float32[n, side, side].
    """
    maps = [cv2.resize(one, (side, side), interpolation=cv2.INTER_LINEAR) for one in grids]
    return np.stack(maps) if maps else np.zeros((0, side, side), np.float32)


@torch.enable_grad()
def _grids_of_batch(
    cam: BaseCAM,
    module: nn.Module,
    pixels: NDArray[np.uint8],
    targets: Sequence[int] | NDArray[np.int64],
    device: torch.device,
) -> Heat:
    images = to_input(torch.from_numpy(np.ascontiguousarray(pixels)).to(device))
    # A frozen model's activations carry gradients only if the image asks for them.
    images.requires_grad_(True)
    wanted = [ClassifierOutputTarget(int(target)) for target in targets]
    # Not `cam(...)`: the package scales each map to 0..1, after which none can be told from a map
    # of next to nothing.
    logits = cam.activations_and_grads(images)
    sum(target(row) for target, row in zip(wanted, logits, strict=True)).backward()
    activations, gradients = (
        found[0].numpy()
        for found in (cam.activations_and_grads.activations, cam.activations_and_grads.gradients)
    )
    raw: Heat = cam.get_cam_image(images, module, wanted, activations, gradients, False)
    heat: Heat = np.nan_to_num(raw).clip(0).astype(np.float32)
    return heat


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
