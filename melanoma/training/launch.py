"""Who starts the ranks, on what hardware, in what precision: decided in one place, before torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from melanoma import config
from melanoma.errors import InputError

if TYPE_CHECKING:
    import torch

LAUNCHER = "MELANOMA_LAUNCHER"
"""Environment variable that says who starts the ranks: "srun", or empty for this process itself."""

BF16_CAPABILITY = (8, 0)
"""First CUDA compute capability with bf16 in hardware (Ampere; CUDA C programming guide)."""

LOST_RANK_TIMEOUT = timedelta(minutes=30)
"""How long ranks wait for one another before they give up: longer than any start-up or epoch's end,
shorter than a night."""

_NO_DEVICES = ("", "-1", "NoDevFiles")
"""Values of CUDA_VISIBLE_DEVICES by which SLURM and users say that there is none."""


@dataclass(frozen=True)
class Launch:
    """How a training runs.

    Attributes:
        accelerator: "cpu" or "gpu".
        devices: processes on each node.
        nodes: nodes.
        by_slurm: whether srun starts the processes, rather than the first process the others.
        precision: as Lightning names it.
        notices: what differs from the settings, for the log.
    """

    accelerator: Literal["cpu", "gpu"]
    devices: int
    nodes: int
    by_slurm: bool
    precision: str
    notices: tuple[str, ...] = ()

    @property
    def ranks(self) -> int:
        """Processes in all."""
        return self.devices * self.nodes


def plan(
    training: config.Training,
    environment: Mapping[str, str],
    *,
    gpus: int,
    capability: tuple[int, int] | None = None,
) -> Launch:
    """Decide how to run.

    Args:
        training: the settings.
        environment: of this process.
        gpus: CUDA devices that this process sees.
        capability: compute capability of the first of them.

    Returns:
        What to run on.

    Raises:
        InputError: GPUs were given or are demanded and none is seen, fewer than a job step needs,
            or srun started another number of processes than the settings ask for.
    """
    if environment.get(LAUNCHER) == "srun":
        return _under_srun(training, environment, gpus, capability)
    if environment.get(LAUNCHER):
        raise InputError(f"{LAUNCHER}: {environment[LAUNCHER]!r} is unknown; use srun, or unset it")
    return _own_ranks(training, environment, gpus, capability)


def _under_srun(
    training: config.Training,
    environment: Mapping[str, str],
    gpus: int,
    capability: tuple[int, int] | None,
) -> Launch:
    per_node = max(training.gpus_per_node, 1)
    started = int(environment.get("SLURM_NTASKS", "1"))
    if started != training.nodes * per_node:
        raise InputError(
            f"srun started {started} processes, but training.nodes x training.gpus_per_node is "
            f"{training.nodes} x {per_node}: start srun with --nodes={training.nodes} "
            f"--ntasks-per-node={per_node}"
        )
    on_cpu = training.accelerator == "cpu" or training.gpus_per_node == 0
    if not on_cpu:
        _require_gpus(training, gpus)
        if gpus < per_node:
            raise InputError(
                f"this process sees {gpus} of the node's {per_node} GPUs (training.gpus_per_node): "
                "every process must see them all; remove --gpus-per-task and --gpu-bind from srun"
            )
    precision, notices = _precision(training, None if on_cpu else capability)
    accelerator: Literal["cpu", "gpu"] = "cpu" if on_cpu else "gpu"
    return Launch(accelerator, per_node, training.nodes, True, precision, notices)


def _own_ranks(
    training: config.Training,
    environment: Mapping[str, str],
    gpus: int,
    capability: tuple[int, int] | None,
) -> Launch:
    notices: list[str] = []
    wanted = training.gpus_per_node
    if training.nodes > 1:
        notices.append(f"training on this machine alone, though training.nodes is {training.nodes}")
    if training.accelerator == "gpu" and wanted == 0:
        raise InputError("training.accelerator: gpu needs training.gpus_per_node of 1 or more")
    if training.accelerator == "cpu":
        used, on_cpu = max(wanted, 1), True
    else:
        if wanted and (training.accelerator == "gpu" or _was_given_gpus(environment)):
            _require_gpus(training, gpus)
        used, on_cpu = min(gpus, wanted), min(gpus, wanted) == 0
        while used > 1 and training.batch_size % used:
            used -= 1
        if on_cpu and wanted:
            notices.append("no GPU on this machine: training on the CPU")
        elif used < wanted:
            notices.append(f"training on {used} GPUs, though training.gpus_per_node is {wanted}")
    precision, more = _precision(training, None if on_cpu else capability)
    accelerator: Literal["cpu", "gpu"] = "cpu" if on_cpu else "gpu"
    return Launch(accelerator, max(used, 1), 1, False, precision, (*notices, *more))


def _was_given_gpus(environment: Mapping[str, str]) -> bool:
    """Whether this is a SLURM job that was allotted GPUs."""
    names = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "CUDA_VISIBLE_DEVICES")
    given = any(environment.get(name, "") not in _NO_DEVICES for name in names)
    return "SLURM_JOB_ID" in environment and given


def _require_gpus(training: config.Training, gpus: int) -> None:
    if gpus == 0:
        raise InputError(
            f"GPUs were asked for (training.gpus_per_node: {training.gpus_per_node}) but torch "
            "sees no CUDA device: check the driver with nvidia-smi and torch.version.cuda, and the "
            "job's --gres; or set training.accelerator: cpu if the CPU is wanted"
        )


def _precision(
    training: config.Training, capability: tuple[int, int] | None
) -> tuple[str, tuple[str, ...]]:
    """Lightning's name of the precision, and notices; no capability means the CPU."""
    if capability is None:
        if training.precision in ("auto", "32"):
            return "32-true", ()
        return "32-true", (f"precision 32 in place of {training.precision}: this is the CPU",)
    has_bf16 = capability >= BF16_CAPABILITY
    if training.precision == "auto":
        return ("bf16-mixed" if has_bf16 else "16-mixed"), ()
    if training.precision == "bf16-mixed" and not has_bf16:
        return "16-mixed", ("precision 16-mixed: this GPU has no bf16 in hardware",)
    return ("32-true" if training.precision == "32" else training.precision), ()


def rank_of(environment: Mapping[str, str], *, local: bool = False) -> int:
    """This process's rank, or its rank among those of its node, before anything is set up."""
    by_slurm = "SLURM_LOCALID" if local else "SLURM_PROCID"
    name = by_slurm if environment.get(LAUNCHER) == "srun" else "LOCAL_RANK"
    return int(environment.get(name, "0"))


def trainer_arguments(launch: Launch) -> dict[str, Any]:
    """Lightning's arguments for a launch: accelerator, devices, num_nodes, strategy and so on."""
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from pytorch_lightning.strategies import DDPStrategy

    # Given explicitly: Lightning would take any SLURM allocation round it for its own launcher.
    # Requeueing is Snakemake's to do, so Lightning's own handling of signals stays off.
    ranks = SLURMEnvironment(auto_requeue=False) if launch.by_slurm else LightningEnvironment()
    strategy: Any = "auto"
    if launch.ranks > 1:
        strategy = DDPStrategy(
            process_group_backend="nccl" if launch.accelerator == "gpu" else "gloo",
            timeout=LOST_RANK_TIMEOUT,
            # Statistics are averaged once an epoch instead: no collective in forward, so ranks may
            # validate on unequal numbers of batches.
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
        )
    return {
        "accelerator": launch.accelerator,
        "devices": launch.devices,
        "num_nodes": launch.nodes,
        "strategy": strategy,
        "plugins": [ranks],
        "precision": launch.precision,
        # It refuses to work on the CPU.
        "sync_batchnorm": launch.accelerator == "gpu" and launch.ranks > 1,
    }


def visible_gpus() -> tuple[int, tuple[int, int] | None]:
    """CUDA devices that this process sees, and the compute capability of the first."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return count, torch.cuda.get_device_capability(0) if count else None


def device_for(accelerator: str) -> torch.device:
    """The device of a command that uses at most one.

    Args:
        accelerator: "cpu", "gpu", or "auto": a GPU where there is one.

    Raises:
        InputError: a GPU is demanded, or was given to this SLURM job, and none is seen.
    """
    import torch

    gpus, _ = visible_gpus()
    if accelerator == "cpu" or (
        accelerator == "auto" and not gpus and not _was_given_gpus(os.environ)
    ):
        return torch.device("cpu")
    if not gpus:
        raise InputError(
            "a GPU was asked for but torch sees no CUDA device: check nvidia-smi and the job's "
            "--gres, or use --accelerator cpu"
        )
    return torch.device("cuda", 0)
