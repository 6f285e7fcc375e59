"""Jobs on a cluster: what they ask for, how ranks are started, and what runs must outlive."""

from __future__ import annotations

from melanoma.cluster.executor import follow_jobs, mend_executor
from melanoma.cluster.rules import (
    gradcam_resources,
    inspect_resources,
    pack_resources,
    predict_resources,
    shard_resources,
    table_resources,
    train_resources,
)
from melanoma.cluster.runs import begin_run
from melanoma.cluster.site import Site, launcher

__all__ = [
    "Site",
    "begin_run",
    "follow_jobs",
    "gradcam_resources",
    "inspect_resources",
    "launcher",
    "mend_executor",
    "pack_resources",
    "predict_resources",
    "shard_resources",
    "table_resources",
    "train_resources",
]
