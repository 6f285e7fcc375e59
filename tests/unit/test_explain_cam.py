import explain_examples
import numpy as np
import pytest
import torch

from melanoma import config
from melanoma.errors import InputError
from melanoma.explain import cam
from melanoma.explain.layers import find_layer
from melanoma.model import FusionModel


@pytest.fixture(scope="module")
def parts():
    _, encoder, model = explain_examples.fusion_model()
    metadata = encoder.encode(explain_examples.catalogue(5))
    return model, explain_examples.pixels(5), metadata


@pytest.mark.parametrize("method", config.GradCam.model_fields["method"].annotation.__args__)
def test_every_configured_method_gives_maps(parts, method):
    model, pixels, metadata = parts
    maps = cam.compute_maps(model, pixels, metadata, [0, 1, 2, 3, 4], method=method, batch_size=2)
    heat = maps.heat
    assert maps.layer.cells == 8
    assert maps.maxima.shape == (5,)
    assert ((maps.maxima > 0) == heat.any(axis=(1, 2))).all()
    assert heat.shape == (5, 64, 64)
    assert heat.dtype == np.float32
    assert heat.min() >= 0
    assert heat.max() <= 1
    assert heat.max() > 0.99


def test_maps_do_not_depend_on_the_batch(parts):
    model, pixels, metadata = parts
    whole = cam.compute_maps(model, pixels, metadata, [0] * 5, method="layercam")
    single = cam.compute_maps(model, pixels, metadata, [0] * 5, method="layercam", batch_size=1)
    np.testing.assert_allclose(whole.heat, single.heat, atol=1e-4)
    np.testing.assert_allclose(whole.maxima, single.maxima, rtol=1e-4)


def test_gradcam_is_the_weighted_sum_of_the_feature_map(parts):
    model = parts[0]
    # One image eight times, once for each class: the map of one class or another has heat.
    pixels, metadata = parts[1][[0] * 8], parts[2][[0] * 8]
    images = cam.to_input(torch.from_numpy(pixels)).requires_grad_()
    kept = []
    module = model.backbone.get_submodule(find_layer(model, 64).name)
    hook = module.register_forward_hook(lambda *given: kept.append(given[2]))
    logits = model(images, torch.from_numpy(metadata))
    hook.remove()
    gradient = torch.autograd.grad(logits.diagonal().sum(), kept[0])[0]
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    grid = torch.relu((weights * kept[0]).sum(dim=1)).detach().numpy()
    maxima = grid.max(axis=(1, 2))
    assert (maxima > 0).any()
    maps = cam.compute_maps(model, pixels, metadata, range(8), method="gradcam")
    np.testing.assert_allclose(maps.maxima, maxima, rtol=1e-4)
    whole = cam.enlarge(grid, 64)
    tops = whole.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(maps.heat, whole / np.where(tops > 0, tops, 1), atol=1e-3)
    # The corners of a map are those of its grid, whatever the interpolation.
    corners = np.ix_(range(8), [0, -1], [0, -1])
    np.testing.assert_allclose(whole[corners], grid[corners], rtol=1e-4)


def test_metadata_is_held_fixed_and_counts(parts):
    model, pixels, metadata = parts
    other = metadata.copy()
    other[:, 0] += 30
    one = cam.compute_maps(model, pixels, metadata, [0] * 5, method="layercam")
    two = cam.compute_maps(model, pixels, other, [0] * 5, method="layercam")
    assert not np.allclose(one.heat, two.heat)


@pytest.mark.parametrize("backbone", ["vit_b_32", "mnasnet0_5"])
def test_other_families_of_backbones_are_explained(backbone):
    torch.manual_seed(0)
    model = FusionModel(config.Model(backbone=backbone, metadata=False), 0).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), np.uint8)
    heat = cam.compute_maps(model, pixels, None, [1], method="layercam").heat
    assert heat.shape == (1, 224, 224)
    assert np.ptp(heat) > 0.5


def test_a_frozen_model_is_explained_and_left_as_it_was(parts):
    _, pixels, metadata = parts
    model = explain_examples.fusion_model()[2].requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    heat = cam.compute_maps(model, pixels, metadata, [1] * 5, method="layercam").heat
    assert heat.max() > 0.99
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_transformer_keeps_its_places():
    settings = config.Model(backbone="swin_v2_t", pretrained=False, metadata=False)
    torch.manual_seed(0)
    model = FusionModel(settings, 0).eval()
    pixels = explain_examples.pixels(1)[[0] * 8]
    heat = cam.compute_maps(model, pixels, None, range(8), method="gradcam").heat
    assert heat.shape == (8, 64, 64)
    assert heat.max() > 0.99


def test_metadata_alone_has_no_map():
    _, encoder, model = explain_examples.fusion_model(image=False)
    metadata = encoder.encode(explain_examples.catalogue(2))
    with pytest.raises(InputError, match="metadata only"):
        cam.compute_maps(model, explain_examples.pixels(2), metadata, [0, 0], method="gradcam")


def test_probabilities_are_the_softmax_of_the_logits(parts):
    model, pixels, metadata = parts
    found = cam.predict_probabilities(model, pixels, metadata, batch_size=2)
    with torch.inference_mode():
        logits = model(cam.to_input(torch.from_numpy(pixels)), torch.from_numpy(metadata))
    np.testing.assert_allclose(found, logits.softmax(1).numpy(), atol=1e-5)
