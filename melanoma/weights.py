"""Pretrained weights of the backbones: which file, from where, and whether it arrived whole."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from melanoma import config
from melanoma.backbones import BACKBONES, OFFICIAL_WEIGHTS
from melanoma.config_errors import nearest
from melanoma.download import fetch, scheme_of
from melanoma.errors import InputError

BASE_URL = "https://download.pytorch.org/models/"
"""Where torchvision publishes its weights."""

_ODD = re.compile(r"[^A-Za-z0-9._-]")
_DIGEST_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.pth$")
"""PyTorch's convention: the name ends in the start of the file's sha256."""


def check_backbone(model: config.Model) -> None:
    """Check that torchvision has a model's backbone, which it is asked for untested ones alone.

    Raises:
        InputError: names the backbone that may be meant.
    """
    if model.image and model.backbone not in BACKBONES:
        # Takes seconds to load.
        from melanoma.model import check_backbone

        check_backbone(model.backbone)


def weights_file(model: config.Model) -> str | None:
    """Name of the weights' file under resources/weights.

    Args:
        model: its `backbone`, `pretrained`, `weights` and `image` decide.

    Returns:
        The file name, that of the source with an underscore for whatever a shell or Snakemake
        might take for more than a name; None where no weights are needed: nothing pretrained, or
        no image.

    Raises:
        InputError: no weights are known for the backbone and none are given.
    """
    if not (model.pretrained and model.image):
        return None
    return _ODD.sub("_", _name_of(weights_source(model)))


def weights_source(model: config.Model) -> str:
    """URL or path of a model's pretrained weights.

    Args:
        model: `weights` where given, else torchvision's own for `backbone`.

    Returns:
        As `download.fetch` takes it.

    Raises:
        InputError: no weights are known for the backbone and none are given.
    """
    if model.weights:
        return model.weights
    if model.backbone not in OFFICIAL_WEIGHTS:
        raise InputError(
            f"model.backbone: no weights are known for {model.backbone!r}: give their URL or path "
            "as model.weights, or set model.pretrained: false; "
            f"{nearest(model.backbone, OFFICIAL_WEIGHTS)}"
        )
    return BASE_URL + OFFICIAL_WEIGHTS[model.backbone]


def source_of_file(file: str, models: Iterable[config.Model]) -> str:
    """Where a file under resources/weights comes from.

    Args:
        file: as `weights_file` names it.
        models: of all experiments.

    Returns:
        The source that every model of this file has.

    Raises:
        InputError: the models name two sources of that name, or none.
    """
    sources = {weights_source(model) for model in models if weights_file(model) == file}
    if len(sources) != 1:
        found = " and ".join(sorted(sources)) or "none"
        raise InputError(f"model.weights: {file} needs one source, found {found}: rename one")
    return sources.pop()


def fetch_weights(source: str, target: Path | str) -> None:
    """Fetch a model's weights; a name like resnet50-11ad3fa6.pth is held to its digest.

    Args:
        source: as from `weights_source`.
        target: what to write.

    Raises:
        InputError: they cannot be fetched or are damaged.
    """
    fetch(source, target, sha256=digest_in_name(_name_of(source)))


def digest_in_name(name: str) -> str | None:
    """The start of a file's sha256 that its name carries, None where it carries none."""
    match = _DIGEST_IN_NAME.search(name)
    return match[1] if match else None


def _name_of(source: str) -> str:
    is_url = len(scheme_of(source)) > 1
    name = PurePosixPath(unquote(urlsplit(source).path) if is_url else source).name
    if not name:
        raise InputError(f"model.weights: {source!r} does not end in a file name")
    return name
