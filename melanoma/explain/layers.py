"""Which layer of a network is explained: the last one whose places are fine enough to tell."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from melanoma.errors import InputError
from melanoma.model import FusionModel

LEAST_CELLS = 6
"""Cells a side of the coarsest grid that is explained.

Chosen here: ResNets and their kin see images of 224 pixels as 7 x 7 cells, on which Grad-CAM was
published. On 3 x 3, nearly half of the maps of resnet18 at 96 pixels have no heat at all, and the
rest are blurs."""

_IMAGES = 2
"""Images of the trial: more than one, to tell outputs for each image from tables of weights."""


@dataclass(frozen=True)
class Layer:
    """The layer of a network that is explained.

    Attributes:
        name: of the module within the backbone.
        cells: cells a side of its grid.
    """

    name: str
    cells: int

    @property
    def grid(self) -> str:
        """The grid in words, e.g. "7 x 7"."""
        return f"{self.cells} x {self.cells}"


def find_layer(model: FusionModel, size: int) -> Layer:
    """The last layer with at least `LEAST_CELLS` cells a side, through which everything goes.

    Found by trying: random images go through the backbone and the shapes of all outputs are looked
    at. What a shortcut goes around, such as a convolution within a residual block, does not count.
    A plain vision transformer has one grid of tokens; its layer is the last whose patches, and not
    only its class token, reach the answer. Where all grids are coarser, it is the finest one.

    Args:
        model: in evaluation mode, on any device; left as it was.
        size: side of the images, pixels.

    Raises:
        InputError: the model has no image branch, or a backbone without a grid of places.
    """
    if model.backbone is None:
        raise InputError(
            "Grad-CAM: this model sees metadata only (model.image: false): "
            "there is no image to draw a heat map on"
        )
    images = _noise(model.backbone, size)
    outputs = _outputs(model.backbone, images)
    tokens = _read_tokens(outputs)
    grids = {name: grid_side(output.shape) for name, output in outputs.layers.items()}
    fine = [name for name, cells in grids.items() if cells >= LEAST_CELLS]
    coarse = sorted(
        (name for name in grids if 0 < grids[name] < LEAST_CELLS), key=grids.__getitem__
    )
    for name in [*reversed(fine), *reversed(coarse)]:
        if name in tokens or (
            outputs.layers[name].ndim == 4 and _all_goes_through(model.backbone, name, images)
        ):
            return Layer(name, grids[name])
    raise InputError(
        "Grad-CAM: the backbone has no layer with a grid of places that its answer depends on: "
        "choose another model.backbone (resnet50, convnext_tiny, swin_v2_t …)"
    )


def grid_side(shape: Sequence[int]) -> int:
    """Cells a side of an output; 0 where it is no grid.

    Args:
        shape: [n, c, h, w] (convolutions), [n, h, w, c] (swin) or [n, tokens, c] (plain vision
            transformers, with or without a class token).
    """
    if len(shape) == 4 and shape[2] == shape[3]:
        return shape[2]
    if len(shape) == 4 and shape[1] == shape[2]:
        return shape[1]
    return math.isqrt(shape[1]) if len(shape) == 3 else 0


def to_grid(activation: Tensor) -> Tensor:
    """Activations of any backbone as a grid with channels second.

    Args:
        activation: one of the shapes that `grid_side` knows.

    Returns:
        [n, c, h, w], a copy: the next layer may work in place.

    Raises:
        InputError: none of these shapes.
    """
    shape = activation.shape
    side = grid_side(shape)
    if not side:
        raise InputError(
            f"Grad-CAM: a layer with outputs of shape {tuple(shape)} has no grid of places: "
            "choose another model.backbone, or model.image: false to go without"
        )
    if activation.ndim == 3:
        patches = activation[:, shape[1] - side * side :]
        return patches.transpose(1, 2).reshape(shape[0], shape[2], side, side).contiguous()
    if shape[2] == shape[3]:
        return activation.clone()
    return activation.permute(0, 3, 1, 2).contiguous()


def _noise(backbone: nn.Module, size: int) -> Tensor:
    device = next(backbone.parameters()).device
    generator = torch.Generator().manual_seed(0)
    return torch.randn(_IMAGES, 3, size, size, generator=generator).to(device)


@dataclass(frozen=True)
class _Outputs:
    """What a trial gives.

    Attributes:
        layers: outputs of the modules that run once, in the order in which they are done.
        total: a scalar that follows from all of the backbone's features.
    """

    layers: dict[str, Tensor]
    total: Tensor


@torch.enable_grad()
def _outputs(backbone: nn.Module, images: Tensor) -> _Outputs:
    seen: list[tuple[str, Tensor]] = []

    def keep(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and len(output) == _IMAGES:
                seen.append((name, output))

        return hook

    # Pooling to a set number of cells may repeat what are fewer.
    handles = [
        module.register_forward_hook(keep(name))
        for name, module in backbone.named_modules()
        if name and not isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d)
    ]
    try:
        total = _total(backbone(images.clone().requires_grad_()))
    finally:
        for handle in handles:
            handle.remove()
    names = [name for name, _ in seen]
    return _Outputs({name: one for name, one in seen if names.count(name) == 1}, total)


def _total(features: Tensor) -> Tensor:
    """A weighted sum: the plain one is the same for every output of a layer norm."""
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(0))
    return (features * weights.to(features.device)).sum()


def _read_tokens(outputs: _Outputs) -> set[str]:
    """Layers of tokens whose patches the features depend on.

    In a plain vision transformer the class token alone is read at the end: what the last block
    makes of the patches, nothing depends on.
    """
    layers = {name: one for name, one in outputs.layers.items() if one.ndim == 3}
    if not layers:
        return set()
    gradients: Sequence[Tensor | None] = torch.autograd.grad(
        outputs.total, list(layers.values()), allow_unused=True
    )
    return {
        name
        for name, gradient in zip(layers, gradients, strict=True)
        if gradient is not None and to_grid(gradient).any()
    }


@torch.enable_grad()
def _all_goes_through(backbone: nn.Module, name: str, images: Tensor) -> bool:
    """Do the features depend on a layer's output, and on the image through it alone?"""
    image = images.clone().requires_grad_()
    kept: list[Tensor] = []

    def cut(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        kept.append(output.detach().clone().requires_grad_())
        # The next layer may work in place, which a leaf does not allow.
        return kept[0].clone()

    handle = backbone.get_submodule(name).register_forward_hook(cut)
    try:
        total = _total(backbone(image))
    finally:
        handle.remove()
    gradients: Sequence[Tensor | None] = torch.autograd.grad(
        total, [image, kept[0]], allow_unused=True
    )
    around, through = gradients
    return around is None and through is not None
