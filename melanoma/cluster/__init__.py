"""Jobs on a cluster: what each rule asks for, and how the ranks of a training are started."""

from __future__ import annotations

from melanoma.cluster.executor import outlive_outages
from melanoma.cluster.rules import (
    gradcam_resources,
    inspect_resources,
    pack_resources,
    predict_resources,
    shard_resources,
    table_resources,
    train_resources,
)
from melanoma.cluster.site import Site, launcher

__all__ = [
    "Site",
    "gradcam_resources",
    "inspect_resources",
    "launcher",
    "outlive_outages",
    "pack_resources",
    "predict_resources",
    "shard_resources",
    "table_resources",
    "train_resources",
]
