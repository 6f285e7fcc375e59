"""The backbones that are tested, and where torchvision keeps their pretrained weights."""

from __future__ import annotations

OFFICIAL_WEIGHTS = {
    "resnet18": "resnet18-f37072fd.pth",
    "resnet34": "resnet34-b627a593.pth",
    # The first recipe's, not V2's: label smoothing, as V2 uses, makes features that transfer less
    # well (Kornblith et al., Why do better loss functions lead to less transferable features?,
    # NeurIPS 2021).
    "resnet50": "resnet50-11ad3fa6.pth",
    "resnet101": "resnet101-cd907fc2.pth",
    "efficientnet_v2_s": "efficientnet_v2_s-dd5fe13b.pth",
    "convnext_tiny": "convnext_tiny-983f1562.pth",
    "swin_v2_t": "swin_v2_t-b137f0e2.pth",
}
"""Backbone: file name of its ImageNet-1k weights, from torchvision 0.29's model registry."""

BACKBONES = tuple(OFFICIAL_WEIGHTS)
"""What the tests train, save, explain and export; others of torchvision may work."""
