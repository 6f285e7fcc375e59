import pytest
import torch

from melanoma import config
from melanoma.backbones import BACKBONES
from melanoma.errors import InputError
from melanoma.model import IMAGENET_MEAN, IMAGENET_STD, METADATA_FEATURES, FusionModel, to_input


def model(width=14, **settings):
    torch.manual_seed(0)
    return FusionModel(config.Model(**{"backbone": "resnet18", **settings}), width).eval()


def images(n=2, size=64):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_to_input_normalises_in_rgb_order():
    pixels = torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8)
    expected = [
        (value / 255 - mean) / std
        for value, mean, std in zip((0, 128, 255), IMAGENET_MEAN, IMAGENET_STD, strict=True)
    ]
    torch.testing.assert_close(to_input(pixels).flatten(), torch.tensor(expected))
    assert to_input(torch.zeros(2, 5, 5, 3, dtype=torch.uint8)).shape == (2, 3, 5, 5)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_backbones(backbone):
    network = model(backbone=backbone)
    with torch.no_grad():
        logits = network(images(), torch.zeros(2, 14))
    assert logits.shape == (2, 8)
    with torch.no_grad():
        width = network.backbone(images()).shape[1]
    assert network.classifier[0].in_features == width + METADATA_FEATURES
    groups = network.layer_groups()
    grouped = [id(p) for _, parameters in groups for p in parameters]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters())
    assert (groups[0][0], groups[-1][0]) == ("head", "stem")


def test_groups_of_a_resnet_run_from_head_to_stem():
    network = model()
    groups = dict(network.layer_groups())
    assert list(groups) == ["head", "layer4", "layer3", "layer2", "layer1", "stem"]
    stem = [network.backbone.conv1.weight, network.backbone.bn1.weight, network.backbone.bn1.bias]
    assert {id(p) for p in groups["stem"]} == {id(p) for p in stem}
    assert model(image=False).layer_groups()[0][0] == "head"
    assert len(model(image=False).layer_groups()) == 1


def test_variants_use_what_they_say():
    pictures, metadata = images(), torch.randn(2, 14)
    with torch.no_grad():
        image_only = model(metadata=False)
        torch.testing.assert_close(image_only(pictures, None), image_only(pictures, metadata))
        metadata_only = model(image=False)
        assert metadata_only.backbone is None
        assert metadata_only(None, metadata).shape == (2, 8)
        for fusion in ("concat", "metablock"):
            network = model(fusion=fusion)
            base = network(pictures, metadata)
            assert not torch.equal(base, network(pictures, metadata + 1))
            assert not torch.equal(base, network(pictures + 1, metadata))


def test_fusion_has_the_published_shape():
    network = model(backbone="resnet50")
    assert network.classifier[0].in_features == 2048 + 128
    assert network.classifier[0].out_features == 256
    assert network.classifier[-1].out_features == 8


def test_metablock_gates_features_into_the_unit_interval():
    gate = model(fusion="metablock").gate
    features, metadata = torch.randn(3, 512) * 50, torch.randn(3, 14)
    gated = gate(features, metadata)
    expected = torch.sigmoid(torch.tanh(features * gate.scale(metadata)) + gate.shift(metadata))
    torch.testing.assert_close(gated, expected)
    assert ((gated > 0) & (gated < 1)).all()


@pytest.mark.parametrize("name", ["resnet", "squeezenet1_0", "fasterrcnn_resnet50_fpn"])
def test_unusable_backbones_are_refused(name):
    with pytest.raises(InputError, match=r"model\.backbone"):
        model(backbone=name)


def test_backbone_weights(tmp_path):
    import torchvision

    torch.manual_seed(5)
    published = torchvision.models.resnet18(weights=None)
    path = tmp_path / "resnet18.pth"
    torch.save(published.state_dict(), path)
    network = model()
    network.load_backbone(path)
    torch.testing.assert_close(network.backbone.conv1.weight, published.conv1.weight)
    model(image=False).load_backbone(tmp_path / "not there")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"\x00\x01", "cannot be read as weights"),
        ({"epoch": 3}, "no plain state_dict"),
        ({"conv1.weight": torch.zeros(64, 3, 7, 7)}, "do not fit the backbone"),
    ],
)
def test_bad_weights_are_named(tmp_path, content, message):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InputError, match=message):
        model().load_backbone(path)
