"""What a cluster is told apart from numbers: partitions, GPU type, and how ranks are started."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LAUNCHER = "MELANOMA_LAUNCHER=srun srun --kill-on-bad-exit=1"


@dataclass(frozen=True)
class Site:
    """What only the user knows of a cluster: the first block of the profile.

    Attributes:
        partition: partition of CPU jobs; "" takes the cluster's default.
        gpu_partition: partition of GPU jobs; "" takes `partition`.
        gpu_type: type of GPU as SLURM names it, e.g. "h100"; "" takes any.
        extra: further options of sbatch for all jobs, e.g. "--exclude=node7".
    """

    partition: str = ""
    gpu_partition: str = ""
    gpu_type: str = ""
    extra: str = ""

    @classmethod
    def from_defaults(cls, defaults: Mapping[str, Any] | None) -> Site:
        """Read the profile's `default-resources`.

        Args:
            defaults: `workflow.resource_settings.default_resources` (name to an object whose
                `raw` is the text of the profile, or to a plain value), or None without a profile.
        """

        def text(name: str) -> str:
            value = (defaults or {}).get(name)
            written = str(getattr(value, "raw", value) or "")
            quoted = len(written) > 1 and written[0] == written[-1] and written[0] in "'\""
            return written[1:-1] if quoted else written

        names = ("slurm_partition", "gpu_partition", "gpu_type", "slurm_extra")
        return cls(*map(text, names))

    def gres(self, gpus: int) -> str:
        """The GRES request of `gpus` GPUs on each node."""
        return f"gpu:{self.gpu_type}:{gpus}" if self.gpu_type else f"gpu:{gpus}"

    def partition_for(self, gpus: int) -> str | None:
        """Partition of a job with `gpus` GPUs; None leaves the choice to the cluster."""
        return (self.gpu_partition if gpus else "") or self.partition or None


ANY_SITE = Site()
"""No wishes: default partition, any GPU."""


def launcher(
    resources: Mapping[str, Any], *, remote: bool, environment: Mapping[str, str] | None = None
) -> str:
    """What stands before `melanoma train` to start one process per GPU.

    In a SLURM job of the workflow it is srun, for a single process too: the warning before the
    time limit goes to job steps, and without srun Snakemake itself would be hit. Its numbers
    repeat those of the job, since the executor takes SLURM's task variables away. Elsewhere, a
    user's own allocation included, it is empty and the process starts its own ranks.

    Args:
        resources: of the job, as made by `train_resources` and changed by the profile.
        remote: whether this is the job step of a submitted job (`workflow.remote_exec`).
        environment: environment variables; None takes this process's.

    Returns:
        A shell prefix, or "".
    """
    environment = os.environ if environment is None else environment
    if not remote or "SLURM_JOB_ID" not in environment:
        return ""
    return (
        f"{LAUNCHER} --nodes={resources['nodes']}"
        f" --ntasks-per-node={resources.get('tasks_per_node') or 1}"
        f" --cpus-per-task={resources['cpus_per_task']}"
    )
