"""Colours of maps that stand beside each other: a map of nothing looks like nothing."""

import explain_examples
import numpy as np
import pytest

from melanoma import drawing
from melanoma.explain import cam, scale
from melanoma.explain.layers import Layer

RAMP = np.linspace(0, 1, 16 * 16, dtype=np.float32).reshape(16, 16)


def _maps(maxima):
    maxima = np.array(maxima, np.float32)
    heat = np.stack([RAMP * (one > 0) for one in maxima]) if len(maxima) else RAMP[None][:0]
    return cam.Maps(heat, maxima, Layer("layer3", 6))


@pytest.mark.parametrize(
    ("maxima", "expected"),
    [
        ([1, 2, 3], 1),
        # Maps without heat tell nothing of how strong a map is.
        ([0, 0, 0, 1, 3], 1),
        ([0, 0], 0),
        ([], 0),
    ],
)
def test_the_scale_of_a_gallery_is_half_of_its_median(maxima, expected):
    assert scale.of_gallery(np.array(maxima, np.float32)) == expected


@pytest.mark.parametrize(
    ("maxima", "common", "hottest"),
    [
        # At the scale and above, a map is as bright as can be; below, by its share of it.
        ([2, 4, 9], 4, [0.5, 1, 1]),
        # A thousandth of the others' heat, which by its own maximum would look like theirs.
        ([4, 4, 0.004], 4, [1, 1, 0.001]),
        ([0, 4], 4, [0, 1]),
        ([0, 0], 0, [0, 0]),
        # A scale for each, as for the two maps of one photograph.
        ([1, 2], [4, 2], [0.25, 1]),
        ([], 0, []),
    ],
)
def test_weak_maps_are_dimmed(maxima, common, hottest):
    maps = _maps(maxima)
    shown = scale.dimmed(maps, common if np.isscalar(common) else np.array(common, np.float32))
    assert shown.dtype == np.float32
    np.testing.assert_allclose(shown.max(axis=(1, 2), initial=0), hottest, rtol=1e-6)
    for one, strength in zip(shown, hottest, strict=True):
        np.testing.assert_allclose(one, RAMP * strength, rtol=1e-5)


def test_a_map_of_nothing_has_the_colour_of_nothing():
    shown = scale.dimmed(_maps([4, 4, 0.01]), 4)
    nothing = drawing.heat_picture(np.zeros((1, 1), np.float32))[0, 0].astype(int)
    strong, weak = (drawing.heat_picture(one).astype(int) - nothing for one in shown[1:])
    assert np.abs(strong).max() > 150
    assert np.abs(weak).max() <= 2


def test_maxima_are_those_of_the_weighted_activations():
    """Twice the class's weights in the last layer: the same map, of twice the maximum."""
    model = explain_examples.fusion_model(metadata=False)[2]
    pixels = explain_examples.pixels(4)
    once = cam.compute_maps(model, pixels, None, [1] * 4, method="gradcam")
    model.classifier[-1].weight.data[1] *= 2
    twice = cam.compute_maps(model, pixels, None, [1] * 4, method="gradcam")
    assert (once.maxima > 0).any()
    np.testing.assert_allclose(twice.maxima, 2 * once.maxima, rtol=1e-4)
    np.testing.assert_allclose(twice.heat, once.heat, atol=1e-4)
