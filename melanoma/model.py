"""The classifier: a torchvision backbone and a small network for metadata, fused."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch
import torchvision
from torch import Tensor, nn

from melanoma import config, isic
from melanoma.config_errors import nearest
from melanoma.errors import InputError

METADATA_FEATURES = 128
HIDDEN_FEATURES = 256
METADATA_DROPOUT = 0.2
HIDDEN_DROPOUT = 0.4

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Mean and deviation of ImageNet's colours in [0, 1]: what torchvision's weights expect
(https://pytorch.org/vision/stable/models.html)."""


def to_input(pixels: Tensor) -> Tensor:
    """Stored pixels as the backbone wants them.

    Args:
        pixels: uint8[n, s, s, 3], RGB.

    Returns:
        float32[n, 3, s, s], normalised by ImageNet's mean and deviation; channels last in memory.
    """
    mean = torch.tensor(IMAGENET_MEAN, device=pixels.device) * 255
    std = torch.tensor(IMAGENET_STD, device=pixels.device) * 255
    return ((pixels.float() - mean) / std).permute(0, 3, 1, 2)


class MetaBlock(nn.Module):
    """Gates image features by metadata: sigmoid(tanh(features * f(m)) + g(m)).

    Pacheco and Krohling, "An attention-based mechanism to combine images and metadata in deep
    learning models applied to skin cancer classification", IEEE J-BHI 2021,
    doi:10.1109/JBHI.2021.3062002; here on the pooled features, one gate for each.
    """

    def __init__(self, features: int, metadata_width: int) -> None:
        super().__init__()
        self.scale = nn.Sequential(nn.Linear(metadata_width, features), nn.BatchNorm1d(features))
        self.shift = nn.Sequential(nn.Linear(metadata_width, features), nn.BatchNorm1d(features))

    def forward(self, features: Tensor, metadata: Tensor) -> Tensor:
        """Gated features: float[n, features]."""
        gate = torch.tanh(features * self.scale(metadata)) + self.shift(metadata)
        return torch.sigmoid(gate)


class FusionModel(nn.Module):
    """Image features and metadata, fused: [backbone's width + 128] -> 256 -> classes.

    Args:
        settings: which backbone, which inputs, which fusion. Weights are random: see
            `load_backbone`.
        metadata_width: length of the metadata vector; not used when settings.metadata is false.
        classes: number of logits.

    Raises:
        InputError: a backbone that torchvision does not have or that cannot be used.
    """

    def __init__(
        self, settings: config.Model, metadata_width: int, classes: int = len(isic.CLASSES)
    ) -> None:
        super().__init__()
        self.backbone: nn.Module | None = None
        self.metadata_layers: nn.Module | None = None
        self.gate: MetaBlock | None = None
        width = 0
        if settings.image:
            self.backbone, self._removed, width = _headless(settings.backbone)
        if settings.metadata and settings.fusion == "metablock":
            self.gate = MetaBlock(width, metadata_width)
        elif settings.metadata:
            self.metadata_layers = _block(metadata_width, METADATA_FEATURES, METADATA_DROPOUT)
            width += METADATA_FEATURES
        self.classifier = nn.Sequential(
            *_block(width, HIDDEN_FEATURES, HIDDEN_DROPOUT), nn.Linear(HIDDEN_FEATURES, classes)
        )

    def forward(self, images: Tensor | None, metadata: Tensor | None) -> Tensor:
        """Classify.

        Args:
            images: float32[n, 3, s, s] as from `to_input`; None only without a backbone.
            metadata: float32[n, metadata_width]; None only when the model uses none.

        Returns:
            Logits, float[n, classes].
        """
        return self.classify(None if self.backbone is None else self.backbone(images), metadata)

    def classify(self, features: Tensor | None, metadata: Tensor | None) -> Tensor:
        """Classify images whose features are known: what `forward` does after the backbone.

        Args:
            features: float[n, backbone's width]; None only without a backbone.
            metadata: as for `forward`.

        Returns:
            Logits, float[n, classes].
        """
        parts = [] if features is None else [features]
        if self.metadata_layers is not None:
            parts.append(self.metadata_layers(metadata))
        if self.gate is not None:
            parts = [self.gate(parts[0], metadata)]
        return cast(Tensor, self.classifier(torch.cat(parts, dim=1)))

    def layer_groups(self) -> list[tuple[str, list[nn.Parameter]]]:
        """Parameters by depth, from "head" to "stem", each in exactly one group.

        "head" is everything but the backbone. "stem" is what comes before the backbone's first
        stage (conv1 and bn1 of a ResNet).
        """
        inside = set() if self.backbone is None else {id(p) for p in self.backbone.parameters()}
        head = [p for p in self.parameters() if id(p) not in inside]
        if self.backbone is None:
            return [("head", head)]
        return [("head", head), *_backbone_groups(self.backbone)]

    def load_backbone(self, path: Path) -> None:
        """Load pretrained weights into the backbone; those of its removed head are left out.

        Args:
            path: a state_dict as torchvision publishes it (.pth).

        Raises:
            InputError: unreadable file, or weights of another architecture.
        """
        if self.backbone is None:
            return
        weights = _read_weights(path)
        prefix = f"{self._removed}."
        weights = {key: value for key, value in weights.items() if not key.startswith(prefix)}
        try:
            self.backbone.load_state_dict(weights, strict=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise InputError(
                f"{path}: these weights do not fit the backbone ({reason} …); "
                "check model.backbone and model.weights"
            ) from None


def _block(inputs: int, outputs: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        # BatchNorm has its own bias.
        nn.Linear(inputs, outputs, bias=False),
        nn.BatchNorm1d(outputs),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
    )


def check_backbone(name: str) -> None:
    """Raise where torchvision has no classification model of a name.

    Raises:
        InputError: names the model that may be meant.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise InputError(
            f"model.backbone: torchvision has no classification model {name!r}; "
            f"{nearest(name, known)}"
        )


def _headless(name: str) -> tuple[nn.Module, str, int]:
    """A torchvision classifier without its last linear layer, that layer's name, and its width."""
    check_backbone(name)
    model = torchvision.models.get_model(name, weights=None)
    linear = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    if not linear or getattr(model, "aux_logits", False):
        raise InputError(
            f"model.backbone: {name} has no single linear head to replace; "
            "use e.g. resnet50, efficientnet_v2_s, convnext_tiny or swin_v2_t"
        )
    removed, head = linear[-1]
    parent, _, child = removed.rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())
    return model, removed, head.in_features


def _backbone_groups(backbone: nn.Module) -> list[tuple[str, list[nn.Parameter]]]:
    """Stages of a backbone from last to first; single layers join the stage before them."""
    stages: list[tuple[str, list[nn.Parameter]]] = [("stem", _own_parameters([backbone]))]
    for name, module in _stages(backbone):
        parameters = list(module.parameters())
        if not parameters:
            continue
        is_first = not stages[0][1] and len(stages) == 1
        if is_first or not list(module.children()) or name in ("classifier", "heads", "norm"):
            stages[-1][1].extend(parameters)
        else:
            stages.append((name, parameters))
    return stages[::-1]


def _stages(backbone: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    for name, module in backbone.named_children():
        if name in ("features", "blocks", "trunk_output"):
            yield from ((f"{name}.{child}", m) for child, m in module.named_children())
        else:
            yield name, module


def _own_parameters(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    return [p for module in modules for p in module.parameters(recurse=False)]


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; it should hold the backbone's weights")
    try:
        weights: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a broken file
        reason = str(error).splitlines()[0][:200]
        raise InputError(f"{path}: cannot be read as weights ({reason}); fetch it again") from None
    if not isinstance(weights, dict) or not all(isinstance(v, Tensor) for v in weights.values()):
        raise InputError(f"{path}: is no plain state_dict of tensors")
    return weights
