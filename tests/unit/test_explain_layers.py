"""The layer that is explained: found by the shapes of outputs, for every backbone and size."""

import explain_examples
import pytest
import torch
from torch import nn

from melanoma import config
from melanoma.backbones import BACKBONES
from melanoma.errors import InputError
from melanoma.explain.cam import to_input
from melanoma.explain.layers import LEAST_CELLS, Layer, find_layer, grid_side, to_grid
from melanoma.model import FusionModel


def _model(backbone):
    torch.manual_seed(0)
    return FusionModel(config.Model(backbone=backbone, metadata=False), 0).eval()


@pytest.fixture(scope="module")
def models():
    """Each backbone once: they are built in a second or more."""
    built = {}
    return lambda backbone: built.setdefault(backbone, _model(backbone))


@pytest.mark.parametrize(
    ("size", "name", "cells"),
    [
        (32, "layer1", 8),
        (64, "layer2", 8),
        (80, "layer2", 10),
        (96, "layer3", 6),
        (128, "layer3", 8),
        (160, "layer3", 10),
        (192, "layer4", 6),
        (224, "layer4", 7),
    ],
)
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_a_resnet_is_explained_at_its_last_stage_of_six_cells(models, backbone, size, name, cells):
    assert find_layer(models(backbone), size) == Layer(name, cells)


@pytest.mark.parametrize(
    ("backbone", "size", "cells"),
    [
        ("resnet34", 96, 6),
        ("resnet34", 224, 7),
        ("resnet101", 96, 6),
        ("resnet101", 224, 7),
        ("efficientnet_v2_s", 64, 8),
        ("efficientnet_v2_s", 96, 6),
        ("efficientnet_v2_s", 224, 7),
        ("convnext_tiny", 64, 8),
        ("convnext_tiny", 96, 6),
        ("convnext_tiny", 224, 7),
        ("swin_v2_t", 64, 8),
        ("swin_v2_t", 96, 6),
        ("swin_v2_t", 224, 7),
        ("mnasnet0_5", 96, 6),
        ("mnasnet0_5", 224, 7),
        # Plain vision transformers have the grid of their patches, at any depth.
        ("vit_b_32", 224, 7),
    ],
)
def test_others_have_six_cells_too(models, backbone, size, cells):
    assert find_layer(models(backbone), size).cells == cells


@pytest.mark.parametrize("backbone", BACKBONES)
def test_everything_goes_through_the_layer(models, backbone):
    """Another image through the network changes nothing where the layer's output is put back."""
    model = models(backbone)
    images = to_input(torch.from_numpy(explain_examples.pixels(2)))
    module = model.backbone.get_submodule(find_layer(model, 64).name)
    kept = []
    with torch.inference_mode():
        handle = module.register_forward_hook(lambda *call: kept.append(call[2].clone()))
        first, second = model(images[:1], None), model(images[1:], None)
        handle.remove()
        handle = module.register_forward_hook(lambda *call: kept[0].clone())
        again = model(images[1:], None)
        handle.remove()
    assert torch.equal(again, first)
    assert not torch.equal(again, second)


def test_the_model_is_left_as_it_was(models):
    model = models("resnet18").requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert find_layer(model, 64).name == "layer2", "a frozen model has the same layer"
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


class _Grids(nn.Module):
    """Halves the image again and again, into the given numbers of cells, then pools."""

    def __init__(self, *, halvings, pooled=1):
        super().__init__()
        self.steps = nn.Sequential(*[nn.Conv2d(3, 3, 2, stride=2) for _ in range(halvings)])
        self.pool = nn.AdaptiveAvgPool2d(pooled)

    def forward(self, images):
        return self.pool(self.steps(images)).flatten(1)


@pytest.mark.parametrize(
    ("size", "halvings", "pooled", "expected"),
    [
        (48, 3, 1, Layer("steps", LEAST_CELLS)),
        (48, 4, 1, Layer("steps.2", LEAST_CELLS)),
        # Pooling to 7 x 7, as VGG does, makes no cells of 3 x 3.
        (48, 4, 7, Layer("steps.2", LEAST_CELLS)),
        # No grid is fine enough: the finest.
        (8, 2, 1, Layer("steps.0", 4)),
    ],
)
def test_the_last_grid_that_is_fine_enough(models, size, halvings, pooled, expected):
    model = _model("resnet18")
    model.backbone = _Grids(halvings=halvings, pooled=pooled)
    assert find_layer(model, size) == expected


def test_without_an_image_there_is_no_layer():
    model = explain_examples.fusion_model(image=False)[2]
    with pytest.raises(InputError, match="metadata only"):
        find_layer(model, 64)


def test_a_network_without_places_is_refused():
    model = _model("resnet18")
    model.backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    with pytest.raises(InputError, match=r"no layer with a grid.*model\.backbone"):
        find_layer(model, 8)


@pytest.mark.parametrize(
    ("shape", "side", "expected"),
    [
        ((2, 5, 3, 3), 3, (2, 5, 3, 3)),
        ((2, 3, 3, 5), 3, (2, 5, 3, 3)),
        ((2, 9, 5), 3, (2, 5, 3, 3)),
        ((2, 10, 5), 3, (2, 5, 3, 3)),
    ],
)
def test_activations_become_a_grid(shape, side, expected):
    assert grid_side(shape) == side
    assert tuple(to_grid(torch.zeros(shape)).shape) == expected


def test_a_class_token_is_dropped():
    tokens = torch.arange(10.0).reshape(1, 10, 1)
    assert to_grid(tokens).flatten().tolist() == list(range(1, 10))


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 3, 4)])
def test_activations_without_places_are_refused(shape):
    assert grid_side(shape) == 0
    with pytest.raises(InputError, match="no grid"):
        to_grid(torch.zeros(shape))
