"""What each job asks of a cluster: memory, time, cores and GPUs, following from the configuration.

Memory is in MB and per node, as `sbatch --mem` counts it; runtime is in minutes. The names of the
resources are those of Snakemake's SLURM executor (snakemake-executor-plugin-slurm 2.8); outside a
cluster they do nothing.
"""

from __future__ import annotations

import math

from melanoma.cluster.site import ANY_SITE, Site
from melanoma.config import Experiment, GradCam, Images, Training

Resources = dict[str, int | str | None]
"""Resource name to value; None where a resource isn't asked for (Snakemake leaves it out)."""

OFFICIAL_IMAGES = 25_331
"""Images of the official training set: what a job must be able to hold and to get through."""

SNAKEMAKE_MB = 300
"""A cluster job holds two processes of Snakemake besides its own command."""
IMPORTS_MB = 700
"""numpy, cv2 and torch imported: 546 MB measured, with room for what comes on top."""
CPU_RANK_MB = 900
"""Private memory of a process that trains on the CPU: 850 MB measured with resnet18 at 64 px, whose
activations come on top here."""
CUDA_MB = 600
"""Host memory of a CUDA context and its pinned buffers (an estimate)."""
COMPILE_MB = 3_000
"""Host memory of torch.compile's workers (an estimate)."""
COMPILE_SIZE = 128
"""Below this image size a training is too short for `compile: auto` to repay."""

SECONDS_AN_IMAGE = {"none": 0.004, "lines": 0.006, "dullrazor": 0.12}
"""CPU time from JPEG to frame at 224 px, measured on ISIC 2019."""
INSPECT_SECONDS = 0.004
"""CPU time to read one JPEG and to decode it at 1/8."""
SLOWER = 6
"""How much slower than measured a busy core with a network file system may be."""

GFLOPS = {
    "resnet18": 1.8,
    "resnet34": 3.7,
    "resnet50": 4.1,
    "resnet101": 7.8,
    "resnet152": 11.5,
    "densenet121": 2.8,
    "efficientnet_b0": 0.4,
    "efficientnet_b3": 1.8,
    "efficientnet_v2_s": 2.9,
    "convnext_tiny": 4.5,
    "convnext_small": 8.7,
    "convnext_base": 15.4,
    "vit_b_16": 17.6,
    "swin_t": 4.5,
    "swin_v2_t": 4.6,
}
"""Forward pass of one image at 224 px, from torchvision's table of models; where that is of a
larger size, by the number of pixels."""
OTHER_GFLOPS = 12.0
CPU_GFLOPS = 9.0
"""Trained in a second by one core, in GFLOPS of forward pass: resnet50 at 224 px 2.2 images."""
GPU_GFLOPS = 1_200.0
"""The same for a slow GPU (V100): 300 images."""
ACTIVATIONS_MB = 100.0
"""Kept for the backward pass of one image at 224 px (resnet50: 90-100 MB in fp32)."""
PREDICT_BATCH = 256
DELETION_PASSES = 16 * (7 + 20 * 5)
"""Images that the deletion check classifies: 16, with 7 shares blurred in the order of their map
and 5 in that of each of 20 random ones (`melanoma/explain/checks.py`, which would import torch)."""
EPOCH_SECONDS = 600
"""An epoch on the CPU should take no longer; cores are asked for accordingly."""

SIGNAL_SECONDS = 120
"""Ranks get SIGUSR1 this long before the time limit; SLURM may send it up to 60 s earlier."""


def train(experiment: Experiment, *, attempt: int = 1, site: Site = ANY_SITE) -> Resources:
    """What a training job asks for: `gpus_per_node` tasks with a GPU each on each of `nodes` nodes.

    The time asked for doesn't grow with attempts, since every attempt goes on where the last one
    stopped, and a job that asks for more than its partition allows is never started.

    Args:
        experiment: its images, model and training.
        attempt: 1 for the first; later ones get half as much memory again.
        site: partitions and GPU type.

    Returns:
        Resources of Snakemake's SLURM executor.
    """
    training = experiment.training
    tasks = max(training.gpus_per_node, 1)
    cpus = _train_cpus(experiment)
    memory = SNAKEMAKE_MB + store_mb(experiment.images) + tasks * _rank_mb(experiment)
    return {
        "mem_mb": _round_up(memory * (1.0 if attempt == 1 else 1.5), 100),
        "runtime": _round_up(20 + 3 * _train_minutes(experiment, cpus), 30),
        "cpus_per_task": cpus,
        "gres": site.gres(training.gpus_per_node) if training.gpus_per_node else None,
        "slurm_partition": site.partition_for(training.gpus_per_node),
        "slurm_extra": f"{site.extra} --signal=USR1@{SIGNAL_SECONDS}".strip(),
        **_tasks(training),
    }


def cpu_epoch_seconds(experiment: Experiment, cores: int) -> float:
    """How long one epoch of the official training set takes on so many cores of a CPU."""
    return OFFICIAL_IMAGES * _gflops(experiment) / (CPU_GFLOPS * cores)


def _tasks(training: Training) -> Resources:
    """How the executor must be told the number of tasks.

    It refuses `mpi` with one task in all or one task a node, hence "" and `tasks`; any `tasks` of
    a GPU job it would make `--ntasks-per-gpu`, unless `tasks_per_gpu` is 0. With `mpi`, even "",
    the job step starts the command without an srun of its own.
    """
    several = training.ranks > 1
    by_node = training.gpus_per_node > 1
    one_a_node = several and not by_node
    return {
        "mpi": "srun" if several else "",
        "nodes": training.nodes,
        "tasks_per_node": training.gpus_per_node if by_node else None,
        "tasks": training.nodes if one_a_node else None,
        "tasks_per_gpu": 0 if one_a_node and training.gpus_per_node else None,
    }


def predict(
    experiment: Experiment, *, tta: bool = False, attempt: int = 1, site: Site = ANY_SITE
) -> Resources:
    """What a prediction job asks for: one GPU where training has any."""
    scale = _pixels(experiment.images)
    layers = 0.0 if not experiment.model.image else PREDICT_BATCH * ACTIVATIONS_MB / 10 * scale
    work = OFFICIAL_IMAGES * (8 if tta else 1) * _gflops(experiment) / 3
    return _one_gpu(experiment, layers, work, attempt, site)


def gradcam(
    experiment: Experiment, gradcam: GradCam, *, attempt: int = 1, site: Site = ANY_SITE
) -> Resources:
    """What the Grad-CAM job asks for: one GPU where training has any."""
    # Right and wrong examples of eight classes, each with a map for two or more classes.
    images = gradcam.per_class * 2 * 8
    layers = 8 * ACTIVATIONS_MB * _pixels(experiment.images)
    work = (images * 8 + DELETION_PASSES / 3) * _gflops(experiment)
    return _one_gpu(experiment, layers, work, attempt, site)


def _one_gpu(
    experiment: Experiment, layers_mb: float, gflop: float, attempt: int, site: Site
) -> Resources:
    gpus = min(experiment.training.gpus_per_node, 1)
    on_gpu = gpus and experiment.training.accelerator != "cpu"
    cpus = _train_cpus(experiment)
    minutes = gflop / (GPU_GFLOPS if on_gpu else CPU_GFLOPS * cpus) / 60
    memory = SNAKEMAKE_MB + IMPORTS_MB + store_mb(experiment.images)
    memory += CUDA_MB if on_gpu else layers_mb
    return {
        **_growing(memory, 20 + 3 * minutes, attempt),
        "cpus_per_task": cpus,
        "gres": site.gres(gpus) if gpus else None,
        "slurm_partition": site.partition_for(gpus),
    }


def inspect(shards: int, *, attempt: int = 1) -> Resources:
    """What one shard of the inspection asks for."""
    return _cpu_job(
        SNAKEMAKE_MB + 500, SLOWER * INSPECT_SECONDS * OFFICIAL_IMAGES / shards, attempt
    )


def shard(images: Images, *, attempt: int = 1) -> Resources:
    """What one shard of remove_hair or resize asks for: room for all its frames."""
    frames = 1.4 * store_mb(images) / images.shards
    seconds = SECONDS_AN_IMAGE[images.hair_removal] * OFFICIAL_IMAGES / images.shards
    if images.hair_removal != "dullrazor":  # which works at native size
        seconds *= max(1.0, _pixels(images))
    # Full decodes of the largest originals (6000 x 4000) and their working copies.
    native = 500 if images.hair_removal == "dullrazor" else 0
    return _cpu_job(SNAKEMAKE_MB + IMPORTS_MB + native + frames, SLOWER * seconds, attempt)


def pack(images: Images, *, attempt: int = 1) -> Resources:
    """What packing a store asks for: time to write and to hash it all."""
    store = store_mb(images)
    # 20 MB/s, which is slow even for a busy network file system.
    return _cpu_job(SNAKEMAKE_MB + IMPORTS_MB + store / 10, store / 20, attempt)


def table(*, attempt: int = 1) -> Resources:
    """What a job on tables and figures asks for."""
    return _cpu_job(2_000, 600, attempt)


def _cpu_job(memory: float, seconds: float, attempt: int) -> Resources:
    return {**_growing(memory, 10 + seconds / 60, attempt), "cpus_per_task": 1}


def _growing(memory: float, minutes: float, attempt: int) -> Resources:
    """Memory and time that grow by half with each new attempt, at most to the double."""
    factor = min(1 + (attempt - 1) / 2, 2)
    return {
        "mem_mb": _round_up(memory * factor, 100),
        "runtime": _round_up(minutes * factor, 5),
    }


def _round_up(value: float, step: int) -> int:
    return math.ceil(value / step) * step


def _pixels(images: Images) -> float:
    """Pixels of an image in units of 224 x 224."""
    return (images.size / 224) ** 2


def store_mb(images: Images) -> float:
    """Size of the image store of the official training set, in MB."""
    return OFFICIAL_IMAGES * images.size**2 * 3 / 1e6


def _gflops(experiment: Experiment) -> float:
    """Cost of one image's forward pass; a network on metadata alone costs next to nothing."""
    if not experiment.model.image:
        return 0.001
    return GFLOPS.get(experiment.model.backbone, OTHER_GFLOPS) * _pixels(experiment.images)


def _rank_mb(experiment: Experiment) -> float:
    """Host memory of one training process."""
    training, images = experiment.training, experiment.images
    if training.gpus_per_node and training.accelerator != "cpu":
        compiles = training.compile == "on" or (
            training.compile == "auto" and images.size >= COMPILE_SIZE
        )
        return IMPORTS_MB + CUDA_MB + (COMPILE_MB if compiles else 0)
    if not experiment.model.image:
        return CPU_RANK_MB
    return CPU_RANK_MB + training.batch_size / training.ranks * ACTIVATIONS_MB * _pixels(images)


def _train_cpus(experiment: Experiment) -> int:
    """Cores of each task: on a GPU they feed it, on the CPU they do the work."""
    training = experiment.training
    if training.gpus_per_node and training.accelerator != "cpu":
        return min(max(experiment.images.size // 56, 1), 8)
    seconds = OFFICIAL_IMAGES * _gflops(experiment) / CPU_GFLOPS / training.ranks
    return min(max(math.ceil(seconds / EPOCH_SECONDS), 1), 16)


def _train_minutes(experiment: Experiment, cpus: int) -> float:
    training = experiment.training
    on_gpu = training.gpus_per_node and training.accelerator != "cpu"
    speed = (GPU_GFLOPS if on_gpu else CPU_GFLOPS * cpus) * training.ranks
    return training.max_epochs * OFFICIAL_IMAGES * _gflops(experiment) / speed / 60
