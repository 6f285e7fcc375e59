"""Which weights a model starts from, and that damaged ones are refused."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from melanoma import config, weights
from melanoma.backbones import OFFICIAL_WEIGHTS
from melanoma.errors import InputError
from melanoma.weights import (
    BASE_URL,
    digest_in_name,
    fetch_weights,
    source_of_file,
    weights_file,
    weights_source,
)


def test_a_backbone_that_torchvision_lacks_is_told_pretrained_or_not():
    weights.check_backbone(config.Model(backbone="resnet18"))
    weights.check_backbone(config.Model(backbone="resnet99", image=False))
    for pretrained in (True, False):
        with pytest.raises(InputError, match="did you mean"):
            weights.check_backbone(config.Model(backbone="resnet19", pretrained=pretrained))


def test_table_agrees_with_torchvision():
    from torchvision.models import get_model_weights

    for backbone, name in OFFICIAL_WEIGHTS.items():
        urls = {weights.url for weights in get_model_weights(backbone)}
        assert BASE_URL + name in urls, backbone


def test_needs_no_torch():
    code = "import sys, melanoma.weights; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "resnet50-11ad3fa6.pth"),
        ({"backbone": "swin_v2_t"}, "swin_v2_t-b137f0e2.pth"),
        ({"pretrained": False}, None),
        ({"pretrained": False, "backbone": "vgg11"}, None),
        ({"image": False}, None),
        ({"weights": "https://example.org/a/my%20own.pth?token=1"}, "my_own.pth"),
        ({"weights": "models/mine-0123abcd.pth", "backbone": "vgg11"}, "mine-0123abcd.pth"),
        ({"weights": "models/100%25.pth"}, "100_25.pth"),
        ({"weights": "$(rm x) {y};\n'.pth"}, "__rm_x___y____.pth"),
    ],
)
def test_weights_file(settings, name):
    assert weights_file(config.Model(**settings)) == name


def test_weights_source_is_the_official_one_unless_given():
    assert weights_source(config.Model()) == BASE_URL + "resnet50-11ad3fa6.pth"
    assert weights_source(config.Model(weights="a/b.pth")) == "a/b.pth"


def test_unknown_backbone_names_the_key():
    with pytest.raises(InputError, match=r"model\.backbone: .*'vgg11'.*model\.weights"):
        weights_file(config.Model(backbone="vgg11"))


def test_weights_without_a_name():
    with pytest.raises(InputError, match=r"model\.weights: 'https://example\.org/'"):
        weights_file(config.Model(weights="https://example.org/"))


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("resnet50-11ad3fa6.pth", "11ad3fa6"),
        ("b0_rwightman-7f5810bc.pth", "7f5810bc"),
        ("mine.pth", None),
        ("model-20240101x.pth", None),
        ("model-abc.pth", None),
    ],
)
def test_digest_in_name(name, digest):
    assert digest_in_name(name) == digest


def test_a_file_has_one_source():
    models = [config.Model(weights=name) for name in ("a/net.pth", "b/other.pth", "a/net.pth")]
    assert source_of_file("net.pth", models) == "a/net.pth"
    with pytest.raises(InputError, match=r"net\.pth needs one source, found a/net\.pth and c/net"):
        source_of_file("net.pth", [*models, config.Model(weights="c/net.pth")])
    with pytest.raises(InputError, match="found none"):
        source_of_file("third.pth", models)


def test_fetch_weights_holds_the_file_to_its_name(tmp_path):
    content = b"PK weights"
    digest = hashlib.sha256(content).hexdigest()
    good = tmp_path / f"net-{digest[:8]}.pth"
    bad = tmp_path / "net-00000000.pth"
    unnamed = tmp_path / "net.pth"
    for path in (good, bad, unnamed):
        path.write_bytes(content)
    target = tmp_path / "out" / "weights.pth"
    for path in (good, unnamed):
        for source in (str(path), path.as_uri()):
            fetch_weights(source, target)
            assert target.resolve() == path
    with pytest.raises(InputError, match=f"expected sha256 00000000, found {digest}"):
        fetch_weights(str(bad), target)
    assert target.resolve() == unnamed
